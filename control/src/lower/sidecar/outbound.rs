//! What the workload calls.

use super::super::http::{self, Role};
use super::super::listeners::{bytes, inspector, to_cluster};
use super::super::values::{any, flag, limit, socket};
use super::super::{Form, clusters, dynamic, routes};
use super::{chain, original, tls_inspector};
use sallyport_config::ir::{
    Capture, HttpService, Outbound, RouteTable, Sidecar, TcpService,
};
use sallyport_wire::envoy::envoy::config::cluster::v3::Cluster;
use sallyport_wire::envoy::envoy::config::core::v3::TrafficDirection;
use sallyport_wire::envoy::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter,
};
use sallyport_wire::envoy::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route,
    route_action, route_match::PathSpecifier,
};
use sallyport_wire::envoy::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use sallyport_wire::envoy::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Cluster of what nobody knows and everybody may call.
const PASSTHROUGH: &str = "PassthroughCluster";
/// Answer to what nobody may call.
const BLOCKED: u32 = 502;
/// What the first bytes of HTTP are recognised as.
const HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

/// Where what is not known goes, if anywhere: a connection that was not redirected was going here.
fn passthrough(sidecar: &Sidecar) -> Option<&'static str> {
    let redirected = matches!(sidecar.capture, Capture::Redirect { .. });
    (sidecar.allow_any && redirected).then_some(PASSTHROUGH)
}

/// Every listener for what is called.
pub(crate) fn listeners(sidecar: &Sidecar, form: Form) -> Vec<Listener> {
    let mut out = Vec::new();
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let (bind, own) = match &sidecar.capture {
        Capture::Redirect { outbound, .. } => {
            out.push(redirected(sidecar, *outbound));
            (any, false)
        }
        Capture::Ports { outbound, .. } => (*outbound, true),
    };
    for called in &sidecar.outbound {
        let address = SocketAddr::new(called.address.unwrap_or(bind), called.port);
        out.push(Listener {
            address: Some(socket(address)),
            bind_to_port: (!own).then(|| flag(false)).flatten(),
            ..listener(sidecar, called, &address, form)
        });
    }
    out
}

/// The one listener that everything is redirected to. It hands connections to the listener of the
/// address that was called, and keeps those of which there is none.
fn redirected(sidecar: &Sidecar, port: u16) -> Listener {
    let cluster = passthrough(sidecar).unwrap_or(clusters::BLACK_HOLE);
    let rest = to_cluster(&sidecar.snapshot, cluster, cluster);
    Listener {
        name: "virtualOutbound".to_owned(),
        address: Some(socket(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))),
        use_original_dst: flag(true),
        filter_chains: vec![chain(
            "virtualOutbound-catchall-tcp",
            FilterChainMatch::default(),
            vec![rest],
        )],
        traffic_direction: TrafficDirection::Outbound.into(),
        ..Listener::default()
    }
}

fn listener(sidecar: &Sidecar, called: &Outbound, address: &SocketAddr, form: Form) -> Listener {
    let name = format!("{}_{}", address.ip(), called.port);
    let stat = format!("outbound_{name}");
    let snapshot = &sidecar.snapshot;
    let mut chains = by_name(sidecar, &called.tls, &stat);
    let mut filters: Vec<ListenerFilter> = Vec::new();
    if !chains.is_empty() {
        filters.push(tls_inspector());
    }
    let http = called
        .http
        .as_ref()
        .and_then(|h| manager(sidecar, h, &stat, form));
    let rest = match (&called.tcp, passthrough(sidecar)) {
        (Some(tcp), _) => Some(bytes(snapshot, tcp, &stat)),
        // where only some names are known, others may be meant for elsewhere
        (None, Some(cluster)) if called.http.is_none() => {
            Some(to_cluster(snapshot, cluster, &stat))
        }
        (None, _) => None,
    };
    match (http, rest) {
        (Some(http), Some(rest)) => {
            let config = any(&HttpInspector::default());
            filters.push(inspector("envoy.filters.listener.http_inspector", config));
            chains.push(chain("http", recognised(), vec![http]));
            chains.push(chain("tcp", FilterChainMatch::default(), vec![rest]));
        }
        (Some(one), None) | (None, Some(one)) => {
            chains.push(chain("default", FilterChainMatch::default(), vec![one]));
        }
        (None, None) => {}
    }
    Listener {
        name,
        filter_chains: chains,
        listener_filters: filters,
        traffic_direction: TrafficDirection::Outbound.into(),
        ..Listener::default()
    }
}

fn recognised() -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: "raw_buffer".to_owned(),
        application_protocols: HTTP.map(str::to_owned).to_vec(),
        ..FilterChainMatch::default()
    }
}

/// Chains by server name. A name belongs to the first rule that has it: Envoy takes no listener in
/// which two chains want the same.
fn by_name(
    sidecar: &Sidecar,
    tls: &[(Vec<sallyport_config::ir::HostPattern>, TcpService)],
    stat: &str,
) -> Vec<FilterChain> {
    let mut taken = HashSet::new();
    let mut chains = Vec::new();
    for (patterns, tcp) in tls {
        let names: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        let free = names.iter().filter(|name| taken.insert((*name).clone()));
        let free: Vec<String> = free.cloned().collect();
        if free.is_empty() {
            continue;
        }
        let which = FilterChainMatch {
            server_names: free,
            transport_protocol: "tls".to_owned(),
            ..FilterChainMatch::default()
        };
        chains.push(chain(
            "tls",
            which,
            dynamic::by_server_name(&sidecar.snapshot, tcp, stat),
        ));
    }
    chains
}

fn manager(sidecar: &Sidecar, http: &HttpService, stat: &str, form: Form) -> Option<Filter> {
    let snapshot = &sidecar.snapshot;
    let at = usize::try_from(http.routes.0).ok();
    let found = at.and_then(|at| snapshot.route_tables.get(at))?;
    let routes = match form {
        Form::Inline => RouteSpecifier::RouteConfig(table(sidecar, found)),
        Form::Discovery => http::by_name(&found.name),
    };
    Some(http::manager(
        snapshot,
        Role::Outbound,
        routes,
        http.grpc_web,
        stat,
    ))
}

/// A table, and what becomes of hosts that are not in it.
pub(crate) fn table(sidecar: &Sidecar, table: &RouteTable) -> RouteConfiguration {
    let mut out = routes::table(&sidecar.snapshot, table);
    let mut domains = out.virtual_hosts.iter().flat_map(|host| &host.domains);
    if domains.any(|domain| domain == "*") {
        return out;
    }
    let (name, action) = match passthrough(sidecar) {
        Some(cluster) => {
            let cluster = route_action::ClusterSpecifier::Cluster(cluster.to_owned());
            let action = RouteAction {
                timeout: limit(None),
                cluster_specifier: Some(cluster),
                ..RouteAction::default()
            };
            ("allow_any", route::Action::Route(action))
        }
        None => {
            let action = DirectResponseAction {
                status: BLOCKED,
                ..DirectResponseAction::default()
            };
            ("block_all", route::Action::DirectResponse(action))
        }
    };
    out.virtual_hosts.push(VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![Route {
            name: name.to_owned(),
            r#match: Some(RouteMatch {
                path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                ..RouteMatch::default()
            }),
            action: Some(action),
            ..Route::default()
        }],
        ..VirtualHost::default()
    });
    out
}

/// Clusters of what is not known.
pub(crate) fn clusters(sidecar: &Sidecar) -> Vec<Cluster> {
    passthrough(sidecar)
        .map(|name| {
            let mut cluster = original(name, None);
            clusters::without_limits(&mut cluster);
            cluster
        })
        .into_iter()
        .collect()
}
