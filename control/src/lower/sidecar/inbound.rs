//! Who calls the workload.

use super::super::http::{self, Role};
use super::super::listeners::{HANDSHAKE, inspector, to_cluster};
use super::super::values::{any, duration, limit, number, socket};
use super::super::{Form, clusters, policies, tls};
use super::{chain, original, tls_inspector};
use sallyport_config::ir::{Capture, Inbound, PeerTls, Sidecar, Wire};
use sallyport_wire::envoy::envoy::config::cluster::v3::{Cluster, cluster};
use sallyport_wire::envoy::envoy::config::core::v3::TrafficDirection;
use sallyport_wire::envoy::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use sallyport_wire::envoy::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener,
};
use sallyport_wire::envoy::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action,
    route_match::PathSpecifier,
};
use sallyport_wire::envoy::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use sallyport_wire::envoy::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Cluster of redirected connections to ports that no service names.
const PASSTHROUGH: &str = "InboundPassthroughCluster";
/// The address that connections to the workload come from when they were redirected.
const FROM_SIDECAR: &str = "127.0.0.6";
/// Protocols by which proxies of the mesh say in a handshake that they are one.
const MESH_PROTOCOLS: [&str; 5] = [
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];

/// Every listener for who calls.
pub(crate) fn listeners(sidecar: &Sidecar, form: Form) -> Vec<Listener> {
    match &sidecar.capture {
        Capture::Redirect { inbound, .. } => vec![redirected(sidecar, *inbound, form)],
        Capture::Ports { inbound, .. } => {
            let at = |ip: &IpAddr, port: &Inbound| {
                let address = SocketAddr::new(*ip, port.port);
                Listener {
                    name: format!("inbound_{address}"),
                    address: Some(socket(address)),
                    filter_chains: chains(sidecar, port, None, form),
                    listener_filters: vec![tls_inspector()],
                    traffic_direction: TrafficDirection::Inbound.into(),
                    ..Listener::default()
                }
            };
            let ports = sidecar.inbound.iter();
            ports
                .flat_map(|port| inbound.iter().map(move |ip| at(ip, port)))
                .collect()
        }
    }
}

/// The one listener that everything is redirected to.
fn redirected(sidecar: &Sidecar, own: u16, form: Form) -> Listener {
    let to = |port: u16| Some(u32::from(port));
    // what was meant for this port itself would come back for ever
    let mut all = vec![chain(
        "virtualInbound-blackhole",
        FilterChainMatch {
            destination_port: to(own).and_then(number),
            ..FilterChainMatch::default()
        },
        vec![to_cluster(
            &sidecar.snapshot,
            clusters::BLACK_HOLE,
            "inbound_blackhole",
        )],
    )];
    for port in &sidecar.inbound {
        all.extend(chains(sidecar, port, to(port.port), form));
    }
    let rest = Inbound {
        port: 0,
        app: None,
        wire: Wire::Tcp,
        tls: sidecar.rest,
    };
    all.extend(chains(sidecar, &rest, None, form));
    let original = any(&OriginalDst::default());
    Listener {
        name: "virtualInbound".to_owned(),
        address: Some(socket(SocketAddr::from((Ipv4Addr::UNSPECIFIED, own)))),
        filter_chains: all,
        listener_filters: vec![
            inspector("envoy.filters.listener.original_dst", original),
            tls_inspector(),
        ],
        traffic_direction: TrafficDirection::Inbound.into(),
        ..Listener::default()
    }
}

/// Chains of a port: one for each way in that is open.
fn chains(sidecar: &Sidecar, port: &Inbound, to: Option<u32>, form: Form) -> Vec<FilterChain> {
    let which = |transport: &str, protocols: &[&str]| FilterChainMatch {
        destination_port: to.and_then(number),
        transport_protocol: transport.to_owned(),
        application_protocols: protocols.iter().map(|&p| p.to_owned()).collect(),
        ..FilterChainMatch::default()
    };
    let name = cluster_name(port);
    let filters = || filters(sidecar, port);
    let mutual = |protocols: &[&str]| FilterChain {
        transport_socket: Some(tls::inbound(&sidecar.trust_domains, form)),
        transport_socket_connect_timeout: duration(HANDSHAKE),
        ..chain(&format!("{name}-mtls"), which("tls", protocols), filters())
    };
    match port.tls {
        PeerTls::Strict => vec![mutual(&[])],
        PeerTls::Disable => vec![chain(&name, which("", &[]), filters())],
        PeerTls::Permissive => {
            let clear = format!("{name}-clear");
            let mut open = vec![
                mutual(&MESH_PROTOCOLS),
                chain(&clear, which("raw_buffer", &[]), filters()),
            ];
            if port.wire == Wire::Tcp {
                // TLS of the application's own
                let through = format!("{name}-tls");
                open.push(chain(&through, which("tls", &[]), filters()));
            }
            open
        }
    }
}

/// Istio's name of the cluster of a port.
fn cluster_name(port: &Inbound) -> String {
    match port.port {
        0 => PASSTHROUGH.to_owned(),
        number => format!("inbound|{number}||"),
    }
}

fn filters(sidecar: &Sidecar, port: &Inbound) -> Vec<Filter> {
    let snapshot = &sidecar.snapshot;
    let stat = format!("inbound_0.0.0.0_{}", port.port);
    match port.wire {
        Wire::Http1 | Wire::Http2 => {
            let routes = RouteSpecifier::RouteConfig(table(sidecar, port));
            let role = Role::Inbound { port: port.port };
            vec![http::manager(snapshot, role, routes, false, &stat)]
        }
        Wire::Tcp => {
            let mut filters = policies::network(snapshot, &stat);
            filters.push(to_cluster(snapshot, &cluster_name(port), &stat));
            filters
        }
    }
}

/// Everything to the workload.
fn table(sidecar: &Sidecar, port: &Inbound) -> RouteConfiguration {
    let name = cluster_name(port);
    let all = Route {
        name: "default".to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(RouteAction {
            // the caller's own limits count
            timeout: limit(None),
            cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(name.clone())),
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    RouteConfiguration {
        virtual_hosts: vec![VirtualHost {
            name: format!("inbound|http|{}", port.port),
            domains: vec!["*".to_owned()],
            routes: vec![all],
            include_request_attempt_count: sidecar.snapshot.settings.attempt_count,
            ..VirtualHost::default()
        }],
        name,
        ..RouteConfiguration::default()
    }
}

/// The workload's ports as clusters.
pub(crate) fn clusters(sidecar: &Sidecar) -> Vec<Cluster> {
    let mut out: Vec<Cluster> = sidecar.inbound.iter().map(cluster).collect();
    if matches!(sidecar.capture, Capture::Redirect { .. }) {
        out.push(original(PASSTHROUGH, Some(FROM_SIDECAR)));
    }
    out
}

fn cluster(port: &Inbound) -> Cluster {
    let name = cluster_name(port);
    let mut out = match port.app {
        None => original(&name, Some(FROM_SIDECAR)),
        Some(app) => Cluster {
            connect_timeout: duration(super::CONNECT_TIMEOUT),
            cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
                cluster::DiscoveryType::Static.into(),
            )),
            load_assignment: Some(ClusterLoadAssignment {
                cluster_name: name.clone(),
                endpoints: vec![LocalityLbEndpoints {
                    lb_endpoints: vec![LbEndpoint {
                        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
                            address: Some(socket(app)),
                            ..Endpoint::default()
                        })),
                        ..LbEndpoint::default()
                    }],
                    ..LocalityLbEndpoints::default()
                }],
                ..ClusterLoadAssignment::default()
            }),
            name,
            ..Cluster::default()
        },
    };
    clusters::without_limits(&mut out);
    if port.wire == Wire::Http2 {
        clusters::speak_http2(&mut out);
    }
    out
}
