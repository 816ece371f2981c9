//! Upstreams and their endpoints.

use super::values::{ads, any, duration, host, limit, number, object, place, structure, text};
use super::{Form, traffic, upstream_tls};
use sallyport_config::ir::{
    Cluster as Upstream, Discovery, Endpoint as Address, Millis, PeerNames, ServerName, Snapshot,
    UpstreamProtocol,
};
use sallyport_wire::envoy::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, circuit_breakers::Thresholds, cluster,
};
use sallyport_wire::envoy::envoy::config::core::v3::{
    Address as EnvoyAddress, Http1ProtocolOptions, Http2ProtocolOptions,
    HttpProtocolOptions as Common, Locality, Metadata, UpstreamHttpProtocolOptions,
};
use sallyport_wire::envoy::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use sallyport_wire::envoy::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions, http_protocol_options as options,
};
use sallyport_wire::envoy::google::protobuf::Any;
use std::collections::HashMap;

/// Cluster without endpoints, for what must end: Istio's name.
pub(super) const BLACK_HOLE: &str = "BlackHoleCluster";
/// Key of a cluster's HTTP options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Namespace of Istio's metadata.
const ISTIO: &str = "istio";

/// How long an answer of DNS is good that says nothing itself (Istio's `dnsRefreshRate`).
const DNS_REFRESH: Millis = Millis(60_000);
/// Namespace of the metadata by which a transport socket is chosen, and its key.
const SOCKET_MATCH: &str = "envoy.transport_socket_match";
/// Key of that metadata: what an endpoint speaks.
pub(super) const TLS_MODE: &str = "tlsMode";
/// Its value where it speaks mutual TLS of the mesh.
pub(super) const ISTIO_TLS: &str = "istio";

/// An upstream.
pub(super) fn cluster(snapshot: &Snapshot, upstream: &Upstream, form: Form) -> Cluster {
    let socket = upstream_tls::sockets(snapshot, upstream, form);
    let mut out = Cluster {
        name: upstream.name.clone(),
        connect_timeout: duration(upstream.connect_timeout),
        typed_extension_protocol_options: HashMap::from([(
            HTTP_OPTIONS.to_owned(),
            http_options(upstream),
        )]),
        metadata: Some(service(upstream)),
        transport_socket: socket.always,
        transport_socket_matches: socket.by_endpoint,
        ..Cluster::default()
    };
    traffic::apply(upstream, &mut out);
    let served = upstream_tls::is_served(snapshot, upstream);
    let kind = match (&upstream.discovery, form) {
        // Envoy wants a name where names are looked up
        (Discovery::LogicalDns(_), _) if !served => cluster::DiscoveryType::Static,
        (Discovery::StrictDns(_), _) => cluster::DiscoveryType::StrictDns,
        (Discovery::LogicalDns(_), _) => cluster::DiscoveryType::LogicalDns,
        (Discovery::Static | Discovery::OnDemand { .. }, Form::Inline) => {
            cluster::DiscoveryType::Static
        }
        (Discovery::Static | Discovery::OnDemand { .. }, Form::Discovery) => {
            cluster::DiscoveryType::Eds
        }
    };
    if kind == cluster::DiscoveryType::Eds {
        out.eds_cluster_config = Some(cluster::EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: upstream.name.clone(),
        });
    } else {
        out.load_assignment = Some(endpoints(snapshot, upstream));
    }
    if !is_static(upstream) {
        by_dns(&mut out);
    }
    out.cluster_discovery_type = Some(cluster::ClusterDiscoveryType::Type(kind.into()));
    out
}

#[expect(
    deprecated,
    reason = "the extension in their place is younger than many of the proxies"
)]
fn by_dns(out: &mut Cluster) {
    out.dns_refresh_rate = duration(DNS_REFRESH);
    out.respect_dns_ttl = true;
    out.set_dns_lookup_family(cluster::DnsLookupFamily::All);
}

/// Whether its endpoints are told, not looked up.
pub(super) fn is_static(upstream: &Upstream) -> bool {
    upstream.discovery.names().is_empty()
}

/// The cluster that nothing comes back from.
pub(super) fn black_hole() -> Cluster {
    Cluster {
        name: BLACK_HOLE.to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Static.into(),
        )),
        ..Cluster::default()
    }
}

/// Envoy's own limits are 1024 of each; Istio's are none.
fn unlimited() -> CircuitBreakers {
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: number(u32::MAX),
            max_pending_requests: number(u32::MAX),
            max_requests: number(u32::MAX),
            max_retries: number(u32::MAX),
            track_remaining: true,
            ..Thresholds::default()
        }],
        ..CircuitBreakers::default()
    }
}

/// Takes Envoy's own limits off a cluster.
pub(super) fn without_limits(cluster: &mut Cluster) {
    cluster.circuit_breakers = Some(unlimited());
}

/// Makes a cluster speak HTTP/2.
pub(super) fn speak_http2(cluster: &mut Cluster) {
    let protocol = options::ExplicitHttpConfig {
        protocol_config: Some(
            options::explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
                Http2ProtocolOptions::default(),
            ),
        ),
    };
    let protocol = options::UpstreamProtocolOptions::ExplicitHttpConfig(protocol);
    let config = HttpProtocolOptions {
        upstream_protocol_options: Some(protocol),
        ..HttpProtocolOptions::default()
    };
    cluster
        .typed_extension_protocol_options
        .insert(HTTP_OPTIONS.to_owned(), any(&config));
}

fn http_options(upstream: &Upstream) -> Any {
    let explicit = |protocol_config| {
        options::UpstreamProtocolOptions::ExplicitHttpConfig(options::ExplicitHttpConfig {
            protocol_config: Some(protocol_config),
        })
    };
    let protocol = match upstream.protocol {
        UpstreamProtocol::Http1 => explicit(
            options::explicit_http_config::ProtocolConfig::HttpProtocolOptions(
                Http1ProtocolOptions::default(),
            ),
        ),
        UpstreamProtocol::Http2 => explicit(
            options::explicit_http_config::ProtocolConfig::Http2ProtocolOptions(traffic::http2(
                upstream,
            )),
        ),
        UpstreamProtocol::Client => options::UpstreamProtocolOptions::UseDownstreamProtocolConfig(
            options::UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(traffic::http2(upstream)),
                http3_protocol_options: None,
            },
        ),
    };
    let requests = upstream.max_requests_per_connection;
    any(&HttpProtocolOptions {
        common_http_protocol_options: Some(Common {
            idle_timeout: limit(upstream.idle_timeout),
            max_connection_duration: upstream.traffic.max_connection_duration.and_then(duration),
            max_requests_per_connection: (requests > 0).then(|| number(requests)).flatten(),
            ..Common::default()
        }),
        upstream_http_protocol_options: sni(upstream),
        outlier_detection: traffic::errors(upstream),
        upstream_protocol_options: Some(protocol),
        ..HttpProtocolOptions::default()
    })
}

/// Where the server name is each request's own host.
fn sni(upstream: &Upstream) -> Option<UpstreamHttpProtocolOptions> {
    let tls = upstream.tls.client()?;
    (tls.sni == ServerName::Authority).then(|| UpstreamHttpProtocolOptions {
        auto_sni: true,
        auto_san_validation: tls.names == PeerNames::ServerName,
        ..UpstreamHttpProtocolOptions::default()
    })
}

/// Which service it is, for metrics, as Istio's telemetry reads it.
fn service(upstream: &Upstream) -> Metadata {
    let service = structure([
        ("host", text(&upstream.host)),
        ("name", text(&upstream.service_name)),
        ("namespace", text(&upstream.service_namespace)),
    ]);
    let services = super::values::list(vec![object(service)]);
    Metadata {
        filter_metadata: HashMap::from([(ISTIO.to_owned(), structure([("services", services)]))]),
        ..Metadata::default()
    }
}

/// Addresses of an upstream by locality.
pub(super) fn endpoints(snapshot: &Snapshot, upstream: &Upstream) -> ClusterLoadAssignment {
    let mut groups: Vec<((u32, &str), Vec<LbEndpoint>)> = Vec::new();
    let served = upstream_tls::is_served(snapshot, upstream);
    let written = upstream.endpoints.iter();
    let written = written.map(|e| (e, place(e)));
    let names = upstream.discovery.names().iter();
    let named = names.map(|n| (&n.like, host(&n.name, n.like.address.port())));
    for (endpoint, at) in written.chain(named).filter(|_| served) {
        let key = (endpoint.priority, endpoint.locality.as_str());
        let endpoint = lb_endpoint(endpoint, at);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, list)) => list.push(endpoint),
            None => groups.push((key, vec![endpoint])),
        }
    }
    groups.sort_by_key(|(key, _)| *key);
    let shares = &upstream.traffic.locality_weights;
    let group = |((priority, name), lb_endpoints): ((u32, &str), Vec<LbEndpoint>)| {
        let weights = lb_endpoints.iter();
        let weights = weights.filter_map(|e| Some(e.load_balancing_weight.as_ref()?.value));
        let share = shares.iter().find(|share| share.locality == name);
        let weight = match share {
            Some(share) => share.weight,
            None => weights.fold(0, u32::saturating_add),
        };
        LocalityLbEndpoints {
            locality: (!name.is_empty()).then(|| locality(name)),
            load_balancing_weight: number(weight),
            lb_endpoints,
            priority,
            ..LocalityLbEndpoints::default()
        }
    };
    ClusterLoadAssignment {
        cluster_name: upstream.name.clone(),
        endpoints: groups.into_iter().map(group).collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn lb_endpoint(endpoint: &Address, address: EnvoyAddress) -> LbEndpoint {
    let workload = text(&format!("{};;;;", endpoint.workload));
    let mut metadata = HashMap::from([(ISTIO.to_owned(), structure([("workload", workload)]))]);
    if endpoint.mtls {
        let mode = structure([(TLS_MODE, text(ISTIO_TLS))]);
        metadata.insert(SOCKET_MATCH.to_owned(), mode);
    }
    LbEndpoint {
        load_balancing_weight: number(endpoint.weight),
        metadata: Some(Metadata {
            filter_metadata: metadata,
            ..Metadata::default()
        }),
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(address),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

/// `region/zone/subzone`.
fn locality(text: &str) -> Locality {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    Locality {
        region: parts.next().unwrap_or_default(),
        zone: parts.next().unwrap_or_default(),
        sub_zone: parts.next().unwrap_or_default(),
    }
}
