//! What a proxy is given, as Envoy's resources: the one function from a world and a proxy.

use sallyport_config::World;

use crate::proxy::Proxy;
use crate::resources::Resources;

/// Everything that `proxy` is given. A pure function: equal arguments give equal resources, and the
/// server shares them between proxies and restarts by that.
#[must_use]
pub fn generate(_world: &World, _proxy: &Proxy) -> Resources {
    Resources::default()
}
