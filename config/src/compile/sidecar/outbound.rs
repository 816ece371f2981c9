//! What the workload calls: a socket for every port, HTTP by host, bytes by address or server name.
//!
//! Istio `pilot/pkg/networking/core/listener.go` (`buildSidecarOutboundListeners`): HTTP services
//! of a port share a socket; others have one of their own where they have addresses of their own.

use super::super::clusters::{Asker, resolve};
use super::super::draft::Draft;
use super::super::hosts::ServerHosts;
use super::super::tcp::{self, Bytes};
use super::protocol::{Speaks, of_port};
use super::rules::Rules;
use super::scope::Scope;
use super::tables::{self, Called};
use crate::api::VirtualService;
use crate::api::shared::PortSelector;
use crate::api::virtual_service::Destination;
use crate::ir::{
    ClusterRef, HostPattern, HttpService, Outbound, RouteTableId, TcpService, TcpTarget,
};
use crate::resource::Spec;
use crate::view::SidecarView;
use crate::world::{Service, ServicePort, Typed};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Sockets by port and address.
type Sockets = BTreeMap<(u16, Option<IpAddr>), Outbound>;

/// Every socket, ordered by port and address.
pub(super) fn build(draft: &mut Draft<'_>, view: &SidecarView, scope: &Scope<'_>) -> Vec<Outbound> {
    let rules = Rules::seen(draft, scope);
    let mut sockets = Sockets::new();
    let mut http: BTreeMap<u16, Vec<Called<'_>>> = BTreeMap::new();
    for called in called(draft, scope) {
        let Called { service, port } = called;
        // where nothing is redirected nobody can tell what address was meant
        let addresses = match view.ports {
            Some(_) => Vec::new(),
            None => addresses(service),
        };
        let places: Vec<Option<IpAddr>> = match addresses.as_slice() {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        let speaks = of_port(service, port);
        match speaks {
            Speaks::Http | Speaks::Http2 => http.entry(port.number).or_default().push(called),
            Speaks::Unknown if addresses.is_empty() => {
                http.entry(port.number).or_default().push(called);
            }
            Speaks::Unknown => {
                let table = tables::own(draft, view, &rules, called);
                let bytes = bytes(draft, &rules, called);
                for place in places {
                    let socket = socket(&mut sockets, port.number, place);
                    socket.http = Some(routed(table, port.number));
                    socket.tcp = socket.tcp.take().or_else(|| bytes.clone());
                }
            }
            Speaks::Tls | Speaks::Tcp => {
                let names = by_name(draft, &rules, called, speaks == Speaks::Tls);
                let bytes = bytes(draft, &rules, called);
                for place in places {
                    let socket = socket(&mut sockets, port.number, place);
                    socket.tls.extend(names.iter().cloned());
                    // TLS without an address of its own is known by its name only
                    if speaks == Speaks::Tcp || place.is_some() {
                        socket.tcp = socket.tcp.take().or_else(|| bytes.clone());
                    }
                }
            }
        }
    }
    for (port, called) in http {
        let table = tables::shared(draft, view, &rules, port, &called);
        socket(&mut sockets, port, None).http = Some(routed(table, port));
    }
    sockets.into_values().collect()
}

fn socket(sockets: &mut Sockets, port: u16, address: Option<IpAddr>) -> &mut Outbound {
    sockets.entry((port, address)).or_insert(Outbound {
        address,
        port,
        http: None,
        tls: Vec::new(),
        tcp: None,
    })
}

fn routed(routes: RouteTableId, port: u16) -> HttpService {
    HttpService {
        routes,
        server_port: port,
        grpc_web: false,
        http3: false,
        early_data: false,
    }
}

/// Every port of every service that may be called.
fn called<'w>(draft: &Draft<'w>, scope: &Scope<'_>) -> Vec<Called<'w>> {
    let default = &draft.world.mesh.default_service_export_to;
    let services = draft.world.services().into_iter().filter(|s| {
        let seen = draft.view.exported(&s.export_to, default, &s.namespace);
        seen.is_some()
    });
    let ports = services.flat_map(|service| {
        let of = move |port: &'w ServicePort| Called { service, port };
        service.ports.iter().map(of)
    });
    ports
        .filter(|c| scope.allows(&c.service.namespace, &c.service.host, c.port.number))
        .collect()
}

/// Addresses that stand for a service.
pub(super) fn addresses(service: &Service) -> Vec<IpAddr> {
    let parsed = |list: &[String]| list.iter().filter_map(|a| a.parse().ok()).collect();
    match &service.resource.spec {
        Spec::ServiceEntry(entry) => parsed(&entry.addresses),
        Spec::Service(kubernetes) => match kubernetes.spec.as_ref() {
            Some(spec) if !spec.cluster_ips.is_empty() => parsed(&spec.cluster_ips),
            Some(spec) => parsed(std::slice::from_ref(&spec.cluster_ip)),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The cluster of a service's port itself.
pub(super) fn itself(draft: &mut Draft<'_>, called: Called<'_>) -> ClusterRef {
    let Called { service, port } = called;
    let destination = Destination {
        host: service.host.to_string(),
        subset: String::new(),
        port: Some(PortSelector {
            number: u32::from(port.number),
        }),
    };
    let asker = Asker {
        resource: &service.resource,
        namespace: &service.namespace,
        server_port: port.number,
    };
    resolve(draft, asker, &destination, "spec")
}

/// Where the bytes for a service's port go: where a `tcp` rule says, or to the service.
fn bytes<'w>(draft: &mut Draft<'w>, rules: &Rules<'w>, called: Called<'w>) -> Option<TcpService> {
    let hosts = ServerHosts::new(&[called.service.host.to_string()]);
    for rule in rules.sharing(&called.service.host) {
        let gateway = mesh(rule);
        let at = Bytes {
            gateway: &gateway,
            port: called.port.number,
            hosts: &hosts,
        };
        if let Some(found) = tcp::route(draft, std::slice::from_ref(&rule), at) {
            return Some(found);
        }
    }
    Some(to_itself(draft, called))
}

fn to_itself(draft: &mut Draft<'_>, called: Called<'_>) -> TcpService {
    let target = match itself(draft, called) {
        ClusterRef::Known(id) => TcpTarget::Cluster(id),
        ClusterRef::Missing(name) => TcpTarget::Missing(name),
    };
    let resource = &called.service.resource;
    let origin = draft.world.origin(resource, "spec".to_owned());
    tcp::service(draft, vec![(target, 1)], origin)
}

/// Where handshakes for a service's port go by their server name: where `tls` rules say, and where
/// none does and the port is one of TLS, to the service by its own name.
fn by_name<'w>(
    draft: &mut Draft<'w>,
    rules: &Rules<'w>,
    called: Called<'w>,
    own: bool,
) -> Vec<(Vec<HostPattern>, TcpService)> {
    let hosts = ServerHosts::new(&[called.service.host.to_string()]);
    let mut found = Vec::new();
    for rule in rules.sharing(&called.service.host) {
        let gateway = mesh(rule);
        let at = Bytes {
            gateway: &gateway,
            port: called.port.number,
            hosts: &hosts,
        };
        found.extend(tcp::passthrough(draft, std::slice::from_ref(&rule), at));
    }
    if found.is_empty() && own {
        let name = HostPattern::parse(&called.service.host);
        found.push((vec![name], to_itself(draft, called)));
    }
    found
}

/// The reserved gateway, as a rule of its namespace says it.
pub(super) fn mesh(rule: Typed<'_, VirtualService>) -> crate::world::Named {
    (Arc::clone(&rule.resource.meta.namespace), Arc::from("mesh"))
}
