//! What a sidecar has beside a gateway's: listeners for both directions, and the clusters of
//! connections that go where they were going.
//!
//! Istio `pilot/pkg/networking/core/listener_builder.go`, `listener_inbound.go`, `cluster.go`.

pub(super) mod inbound;
pub(super) mod outbound;

use super::values::{any, flag};
use sallyport_wire::envoy::envoy::config::cluster::v3::{Cluster, cluster};
use sallyport_wire::envoy::envoy::config::core::v3::{BindConfig, SocketAddress, socket_address};
use sallyport_wire::envoy::envoy::config::listener::v3::ListenerFilter;
use sallyport_wire::envoy::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch};
use sallyport_wire::envoy::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;

/// Limit for connecting to a workload or through to somewhere (Istio's).
const CONNECT_TIMEOUT: sallyport_config::ir::Millis = sallyport_config::ir::Millis(10_000);

/// A cluster of whatever address a connection was going to; `from` is the address that it then
/// comes from, by which iptables know that it has been here.
fn original(name: &str, from: Option<&str>) -> Cluster {
    let mut out = Cluster {
        name: name.to_owned(),
        connect_timeout: super::values::duration(CONNECT_TIMEOUT),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::OriginalDst.into(),
        )),
        upstream_bind_config: from.map(|address| BindConfig {
            source_address: Some(SocketAddress {
                address: address.to_owned(),
                port_specifier: Some(socket_address::PortSpecifier::PortValue(0)),
                ..SocketAddress::default()
            }),
            freebind: flag(true),
            ..BindConfig::default()
        }),
        ..Cluster::default()
    };
    out.set_lb_policy(cluster::LbPolicy::ClusterProvided);
    out
}

/// Makes a cluster one of whatever address a connection was going to.
pub(super) fn go_on(cluster: &mut Cluster) {
    let kind = cluster::DiscoveryType::OriginalDst;
    cluster.cluster_discovery_type = Some(cluster::ClusterDiscoveryType::Type(kind.into()));
    cluster.set_lb_policy(cluster::LbPolicy::ClusterProvided);
    cluster.lb_config = None;
    cluster.eds_cluster_config = None;
    cluster.load_assignment = None;
}

fn tls_inspector() -> ListenerFilter {
    let config = any(&TlsInspector::default());
    super::listeners::inspector("envoy.filters.listener.tls_inspector", config)
}

/// A chain for connections that look like this.
fn chain(name: &str, which: FilterChainMatch, filters: Vec<Filter>) -> FilterChain {
    FilterChain {
        name: name.to_owned(),
        filter_chain_match: Some(which),
        filters,
        ..FilterChain::default()
    }
}
