//! Sockets and filter chains.

use super::clusters::BLACK_HOLE;
use super::http::{self, Role};
use super::values::{any, duration, limit, number, socket};
use super::{Form, log, policies, tls};
use sallyport_config::ir::{
    Bind, FilterChain as Chain, Listener as Socket, ListenerKind, MESH_ALPN, Millis, Service,
    Snapshot, TcpService, TcpTarget, TunnelMethod,
};
use sallyport_wire::envoy::envoy::config::core::v3::{Address, Pipe, TrafficDirection, address};
use sallyport_wire::envoy::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter, listener_filter,
};
use sallyport_wire::envoy::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use sallyport_wire::envoy::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use sallyport_wire::envoy::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy, tcp_proxy,
};
use sallyport_wire::envoy::google::protobuf::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Limit of a TLS handshake (Istio's).
pub(super) const HANDSHAKE: Millis = Millis(15_000);
/// Name of the network filter that carries bytes.
const TCP_PROXY: &str = "envoy.filters.network.tcp_proxy";

/// Every listener of a gateway.
pub(super) fn listeners(snapshot: &Snapshot, form: Form) -> Vec<Listener> {
    let listeners = snapshot.listeners.iter();
    listeners.map(|l| listener(snapshot, l, form)).collect()
}

fn listener(snapshot: &Snapshot, listener: &Socket, form: Form) -> Listener {
    let settings = &snapshot.settings;
    let mut filters = Vec::new();
    if settings.proxy_protocol {
        let config = any(&ProxyProtocol::default());
        filters.push(inspector("envoy.filters.listener.proxy_protocol", config));
    }
    let port = listener.port;
    let chains = match &listener.kind {
        ListenerKind::Plain(service) => {
            vec![FilterChain {
                filters: network(snapshot, service, &stat(&listener.name), form, port),
                ..FilterChain::default()
            }]
        }
        ListenerKind::Tls(chains) => {
            let config = any(&TlsInspector::default());
            filters.push(inspector("envoy.filters.listener.tls_inspector", config));
            let one = |c| chain(snapshot, c, form, port);
            chains.iter().map(one).collect()
        }
    };
    Listener {
        name: listener.name.clone(),
        address: Some(address(&listener.bind, listener.port)),
        filter_chains: chains,
        listener_filters: filters,
        traffic_direction: TrafficDirection::Outbound.into(),
        per_connection_buffer_limit_bytes: settings.connection.buffer_limit.and_then(number),
        ..Listener::default()
    }
}

fn stat(name: &str) -> String {
    format!("outbound_{name}")
}

/// A listener filter by name.
pub(super) fn inspector(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..ListenerFilter::default()
    }
}

fn address(bind: &Bind, port: u16) -> Address {
    match bind {
        Bind::Default => socket(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)),
        Bind::Ip(ip) => socket(SocketAddr::new(*ip, port)),
        Bind::Unix(path) => Address {
            address: Some(address::Address::Pipe(Pipe {
                path: path.clone(),
                mode: 0,
            })),
        },
    }
}

fn chain(snapshot: &Snapshot, chain: &Chain, form: Form, port: u16) -> FilterChain {
    let socket = chain
        .tls
        .as_ref()
        .map(|tls| tls::downstream(snapshot, tls, form));
    let filters = match &socket {
        // a handshake that nobody can answer ends at once
        Some(None) => network(snapshot, &Service::Close, &chain.name, form, port),
        _ => network(snapshot, &chain.service, &chain.name, form, port),
    };
    let names = chain.sni.iter().map(ToString::to_string).collect();
    FilterChain {
        name: chain.name.clone(),
        filter_chain_match: Some(FilterChainMatch {
            server_names: names,
            application_protocols: if chain.mesh_only {
                MESH_ALPN.map(str::to_owned).into()
            } else {
                Vec::new()
            },
            ..FilterChainMatch::default()
        }),
        filters,
        transport_socket: socket.flatten(),
        transport_socket_connect_timeout: duration(HANDSHAKE),
        ..FilterChain::default()
    }
}

/// The network filters of a service.
fn network(
    snapshot: &Snapshot,
    service: &Service,
    stat: &str,
    form: Form,
    port: u16,
) -> Vec<Filter> {
    let role = Role::Gateway { port };
    match service {
        Service::Http(inside) => http::specifier(snapshot, inside, form)
            .map(|routes| http::manager(snapshot, role, routes, inside.grpc_web, stat))
            .into_iter()
            .collect(),
        Service::Tcp(tcp) => {
            let mut filters = policies::network(snapshot, stat);
            filters.push(bytes(snapshot, tcp, stat));
            filters
        }
        Service::Close => vec![to_cluster(snapshot, BLACK_HOLE, stat)],
    }
}

/// Bytes to one cluster by name.
pub(super) fn to_cluster(snapshot: &Snapshot, name: &str, stat: &str) -> Filter {
    let cluster = tcp_proxy::ClusterSpecifier::Cluster(name.to_owned());
    filter_of(TcpProxy {
        stat_prefix: stat.to_owned(),
        idle_timeout: limit(None),
        access_log: log::access_log(snapshot.settings.access_log.as_ref()),
        cluster_specifier: Some(cluster),
        ..TcpProxy::default()
    })
}

/// Bytes to where a service says.
pub(super) fn bytes(snapshot: &Snapshot, service: &TcpService, stat: &str) -> Filter {
    let name = |target: &TcpTarget| match target {
        TcpTarget::Cluster(id) => super::cluster_name(snapshot, *id),
        TcpTarget::Missing(name) => name.clone(),
    };
    let specifier = match service.targets.as_slice() {
        [(only, _)] => tcp_proxy::ClusterSpecifier::Cluster(name(only)),
        several => {
            let weight =
                |(target, weight): &(TcpTarget, u32)| tcp_proxy::weighted_cluster::ClusterWeight {
                    name: name(target),
                    weight: *weight,
                    metadata_match: None,
                };
            // Envoy refuses a weight of nothing
            let weighted = several.iter().filter(|(_, weight)| *weight > 0);
            tcp_proxy::ClusterSpecifier::WeightedClusters(tcp_proxy::WeightedCluster {
                clusters: weighted.map(weight).collect(),
            })
        }
    };
    let clusters = service
        .targets
        .iter()
        .filter_map(|(target, _)| match target {
            TcpTarget::Cluster(id) => super::find_cluster(snapshot, *id),
            TcpTarget::Missing(_) => None,
        });
    let mut hashed = clusters.map(|c| super::traffic::of_connection(&c.balance));
    let hashed = hashed.find(|p| !p.is_empty()).unwrap_or_default();
    filter_of(TcpProxy {
        stat_prefix: stat.to_owned(),
        idle_timeout: limit(service.idle_timeout),
        max_downstream_connection_duration: service.max_duration.and_then(duration),
        access_log: log::access_log(snapshot.settings.access_log.as_ref()),
        hash_policy: hashed,
        tunneling_config: service
            .tunnel
            .as_ref()
            .map(|tunnel| tcp_proxy::TunnelingConfig {
                hostname: tunnel.target.clone(),
                use_post: tunnel.method == TunnelMethod::Post,
                ..tcp_proxy::TunnelingConfig::default()
            }),
        cluster_specifier: Some(specifier),
        ..TcpProxy::default()
    })
}

fn filter_of(proxy: TcpProxy) -> Filter {
    Filter {
        name: TCP_PROXY.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(any(&proxy))),
    }
}
