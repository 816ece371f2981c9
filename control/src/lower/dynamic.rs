//! Clusters whose endpoint each request names itself (`DYNAMIC_DNS`), in sidecars: Envoy's dynamic
//! forward proxy. Istio `pilot/pkg/networking/core/cluster.go` (`buildDFPCluster`).
//!
//! Only hosts under the wildcard get there: routes match the Host, and chains the server name. A stock
//! Envoy at an edge gets no endpoints instead: it could not be kept from internal addresses.

use super::listeners::bytes;
use super::values::{any, number};
use sallyport_config::ir::{Cluster as Upstream, Discovery, Snapshot, TcpService, TcpTarget};
use sallyport_wire::envoy::envoy::config::cluster::v3::{Cluster, cluster};
use sallyport_wire::envoy::envoy::config::listener::v3::{Filter, filter};
use sallyport_wire::envoy::envoy::extensions::clusters::dynamic_forward_proxy::v3 as of_cluster;
use sallyport_wire::envoy::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use sallyport_wire::envoy::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as of_http;
use sallyport_wire::envoy::envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3 as of_sni;

/// Name of the HTTP filter.
pub(super) const HTTP: &str = "envoy.filters.http.dynamic_forward_proxy";
/// Name of the network filter.
const SNI: &str = "envoy.filters.network.sni_dynamic_forward_proxy";
/// Name of the kind of cluster.
const CLUSTER: &str = "envoy.clusters.dynamic_forward_proxy";
/// Names that are remembered at a time.
const HOSTS_MAX: u32 = 1_024;

/// The one cache of names: whoever uses it must say the same of it.
fn cache() -> DnsCacheConfig {
    let mut cache = DnsCacheConfig {
        name: "dynamic_forward_proxy_cache".to_owned(),
        max_hosts: number(HOSTS_MAX),
        ..DnsCacheConfig::default()
    };
    cache.set_dns_lookup_family(cluster::DnsLookupFamily::All);
    cache
}

/// The port of a cluster whose endpoint is named by requests.
fn port(upstream: &Upstream) -> Option<u16> {
    match &upstream.discovery {
        Discovery::OnDemand { like, .. } => Some(like.address.port()),
        Discovery::Static | Discovery::StrictDns(_) | Discovery::LogicalDns(_) => None,
    }
}

/// Names of such clusters.
pub(super) fn names(snapshot: &Snapshot) -> Vec<&str> {
    let dynamic = snapshot.clusters.iter().filter(|c| port(c).is_some());
    dynamic.map(|c| c.name.as_str()).collect()
}

/// Makes a cluster one.
pub(super) fn follow_requests(cluster: &mut Cluster) {
    use of_cluster::cluster_config::ClusterImplementationSpecifier;
    let config = of_cluster::ClusterConfig {
        // what name is verified is said where its TLS is
        allow_insecure_cluster_options: true,
        cluster_implementation_specifier: Some(ClusterImplementationSpecifier::DnsCacheConfig(
            cache(),
        )),
        ..of_cluster::ClusterConfig::default()
    };
    cluster.cluster_discovery_type = Some(cluster::ClusterDiscoveryType::ClusterType(
        cluster::CustomClusterType {
            name: CLUSTER.to_owned(),
            typed_config: Some(any(&config)),
        },
    ));
    cluster.set_lb_policy(cluster::LbPolicy::ClusterProvided);
    cluster.lb_config = None;
    cluster.eds_cluster_config = None;
    cluster.load_assignment = None;
    if let Some(common) = &mut cluster.common_lb_config {
        common.locality_config_specifier = None;
    }
}

/// What of HTTP looks names up; it leaves requests to other clusters alone.
pub(super) fn http() -> of_http::FilterConfig {
    of_http::FilterConfig {
        implementation_specifier: Some(
            of_http::filter_config::ImplementationSpecifier::DnsCacheConfig(cache()),
        ),
        ..of_http::FilterConfig::default()
    }
}

/// Filters of connections whose server name is known: it is looked up where it says the endpoint.
pub(super) fn by_server_name(snapshot: &Snapshot, tcp: &TcpService, stat: &str) -> Vec<Filter> {
    let known = tcp.targets.iter().filter_map(|(target, _)| match target {
        TcpTarget::Cluster(id) => super::find_cluster(snapshot, *id),
        TcpTarget::Missing(_) => None,
    });
    let port = known.filter_map(port).next();
    let looked_up = port.map(|port| {
        let config = of_sni::FilterConfig {
            dns_cache_config: Some(cache()),
            port_specifier: Some(of_sni::filter_config::PortSpecifier::PortValue(port.into())),
            ..of_sni::FilterConfig::default()
        };
        Filter {
            name: SNI.to_owned(),
            config_type: Some(filter::ConfigType::TypedConfig(any(&config))),
        }
    });
    let rest = bytes(snapshot, tcp, stat);
    looked_up.into_iter().chain([rest]).collect()
}
