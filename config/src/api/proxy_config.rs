//! `ProxyConfig` (`networking/v1beta1/proxy_config.proto`), the object; mesh-wide defaults are
//! [`super::mesh_config::MeshProxyConfig`].

use super::shared::WorkloadSelector;
use crate::message::{Map, message};

message! {
    /// Start-up settings of some proxies.
    pub struct ProxyConfig [Later("sidecar configuration")] {
        selector: Option<WorkloadSelector>,
        concurrency: Option<i32>,
        environment_variables: Map<String>,
        image: Option<ProxyImage>,
    }

    /// Flavour of the proxy's image.
    pub struct ProxyImage [NoEffect("this program builds no pods")] {
        image_type: String,
    }
}
