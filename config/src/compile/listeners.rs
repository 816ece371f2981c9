//! Gateway servers become sockets: selection, ports, merging, conflicts.
//!
//! Istio `pilot/pkg/model/gateway.go` (`mergeGateways`, `resolvePorts`, `CheckDuplicates`) and
//! `pilot/pkg/networking/core/gateway.go`. Gateways go from the oldest to the youngest; on every
//! conflict the server that came first stays and the later one is skipped, with a diagnostic.

use super::auto_passthrough;
use super::draft::Draft;
use super::hosts::{ServerHosts, bare, sanitised};
use super::tcp::{self, Bytes};
use super::tls;
use super::virtual_hosts::{Services, http};
use crate::api::gateway::{Server as Declared, ServerTlsMode, ServerTlsSettings};
use crate::api::{Gateway, IntOrString};
use crate::diag::codes;
use crate::ir::{Bind, FilterChain, HostPattern, Listener, ListenerKind, Origin, Service};
use crate::view::View;
use crate::world::{Named, Typed, World, name_of};
use std::collections::{BTreeMap, HashSet};

/// Label by which a Gateway opts out of port translation.
const NO_TRANSLATION: &str = "experimental.istio.io/disable-gateway-port-translation";

/// One server of one Gateway on one socket.
#[derive(Debug, Clone)]
pub(super) struct Server<'w> {
    pub(super) gateway: Typed<'w, Gateway>,
    pub(super) name: Named,
    pub(super) declared: &'w Declared,
    /// `port.number` as written.
    pub(super) number: u16,
    pub(super) hosts: Vec<String>,
    path: String,
}

/// What shares a socket.
#[derive(Debug)]
enum Socket<'w> {
    Http(Vec<Server<'w>>),
    Tcp(Server<'w>),
    Tls(Vec<Server<'w>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Http,
    Tcp,
    Tls,
}

/// Builds every listener of the view's gateways.
pub(super) fn build(draft: &mut Draft<'_>) {
    let sockets = merge(draft);
    let mut services = Services::default();
    for ((port, bind), socket) in sockets {
        let kind = match socket {
            Socket::Http(servers) => {
                let name = format!("http.{port}{}", suffix(&bind));
                ListenerKind::Plain(http(draft, &mut services, &servers, name, false))
            }
            Socket::Tcp(server) => ListenerKind::Plain(tcp_service(draft, &mut services, &server)),
            Socket::Tls(servers) => {
                let chains = servers
                    .iter()
                    .flat_map(|s| chains(draft, &mut services, s, &bind));
                ListenerKind::Tls(chains.collect())
            }
        };
        let name = format!("{}_{port}", text_of(&bind));
        draft.listeners.push(Listener {
            name,
            bind,
            port,
            kind,
        });
    }
}

/// Assigns servers to sockets, first come first served.
fn merge<'w>(draft: &mut Draft<'w>) -> BTreeMap<(u16, Bind), Socket<'w>> {
    let mut sockets: BTreeMap<(u16, Bind), Socket<'w>> = BTreeMap::new();
    let mut names: HashSet<String> = HashSet::new();
    let world = draft.world;
    for gateway in world
        .gateways()
        .filter(|g| draft.view.selected_by(&g.spec.selector))
    {
        for (index, declared) in gateway.spec.servers.iter().enumerate() {
            let path = format!("spec.servers[{index}]");
            let Some(port) = &declared.port else { continue };
            let (Some(transport), Ok(number)) = (transport(declared), u16::try_from(port.number))
            else {
                continue;
            };
            let name = name_of(gateway.resource);
            let hosts = sanitised(&declared.hosts, &gateway.resource.meta.namespace);
            let server = Server {
                gateway,
                name,
                declared,
                number,
                hosts,
                path,
            };
            let bind = bind(&declared.bind);
            for resolved in resolve_ports(world, draft.view, gateway, number) {
                let key = (resolved, bind.clone());
                if let Err(why) = place(&mut sockets, &mut names, key, transport, server.clone()) {
                    let text = format!("the server is not served: {why}");
                    draft.report(codes::IST0145, gateway.resource, &server.path, text);
                }
            }
        }
    }
    sockets
}

fn place<'w>(
    sockets: &mut BTreeMap<(u16, Bind), Socket<'w>>,
    names: &mut HashSet<String>,
    key: (u16, Bind),
    transport: Transport,
    server: Server<'w>,
) -> Result<(), String> {
    let by = |s: &Server<'_>| {
        format!(
            "Conflict with gateways {}/{} (port {}, hosts {:?})",
            s.name.0, s.name.1, s.number, s.declared.hosts
        )
    };
    match (sockets.get_mut(&key), transport) {
        (Some(Socket::Http(servers)), Transport::Http) => servers.push(server),
        (Some(Socket::Tls(servers)), Transport::Tls) => {
            let taken = servers
                .iter()
                .find(|s| s.hosts.iter().any(|h| server.hosts.contains(h)));
            if let Some(other) = taken {
                return Err(format!(
                    "{}: a host belongs to one TLS server of a port",
                    by(other)
                ));
            }
            if !names.insert(chain_name(&server, &key.1)) {
                return Err("two servers of one Gateway have the same port name".to_owned());
            }
            servers.push(server);
        }
        (Some(Socket::Http(servers) | Socket::Tls(servers)), _) => {
            let other = servers.first().map(by).unwrap_or_default();
            return Err(format!("{other}: the port speaks another protocol"));
        }
        (Some(Socket::Tcp(other)), _) => {
            return Err(format!(
                "{}: a TCP server has its port for itself",
                by(other)
            ));
        }
        (None, Transport::Http) => drop(sockets.insert(key, Socket::Http(vec![server]))),
        (None, Transport::Tcp) => drop(sockets.insert(key, Socket::Tcp(server))),
        (None, Transport::Tls) => {
            names.insert(chain_name(&server, &key.1));
            sockets.insert(key, Socket::Tls(vec![server]));
        }
    }
    Ok(())
}

/// What a server speaks first; none for what validation refuses.
fn transport(server: &Declared) -> Option<Transport> {
    match server.port.as_ref()?.protocol.to_ascii_uppercase().as_str() {
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" => Some(Transport::Http),
        "HTTPS" | "TLS" => server.tls.as_ref().map(|_| Transport::Tls),
        "TCP" | "MONGO" | "REDIS" | "MYSQL" => Some(match &server.tls {
            Some(_) => Transport::Tls,
            None => Transport::Tcp,
        }),
        _ => None,
    }
}

fn bind(text: &str) -> Bind {
    if let Some(path) = text.strip_prefix("unix://") {
        return Bind::Unix(path.to_owned());
    }
    text.parse().map_or(Bind::Default, Bind::Ip)
}

fn text_of(bind: &Bind) -> String {
    match bind {
        Bind::Default => "0.0.0.0".to_owned(),
        Bind::Ip(ip) => ip.to_string(),
        Bind::Unix(path) => path.clone(),
    }
}

fn suffix(bind: &Bind) -> String {
    match bind {
        Bind::Default => String::new(),
        other => format!(".{}", text_of(other)),
    }
}

/// The port that a declared port is bound as: what the user said, else the `targetPort` of the
/// gateway's own Services, else itself.
fn resolve_ports(world: &World, view: &View, gateway: Typed<'_, Gateway>, number: u16) -> Vec<u16> {
    if let Some(mapped) = view.mapped_port(number) {
        return vec![mapped];
    }
    if gateway
        .resource
        .meta
        .labels
        .get(NO_TRANSLATION)
        .is_some_and(|v| v == "true")
    {
        return vec![number];
    }
    let mut found = Vec::new();
    for service in world.kube_services(&view.namespace) {
        let Some(spec) = &service.spec.spec else {
            continue;
        };
        if spec.selector.is_empty() || !view.selected_by(&spec.selector) {
            continue;
        }
        let ports = spec.ports.iter().filter(|p| p.port == u32::from(number));
        found.extend(ports.filter_map(|port| match &port.target_port {
            None => Some(number),
            Some(IntOrString::Int(target)) => u16::try_from(*target).ok(),
            Some(IntOrString::Name(name)) => {
                world.container_port(&view.namespace, &spec.selector, name)
            }
        }));
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        vec![number]
    } else {
        found
    }
}

fn chain_name(server: &Server<'_>, bind: &Bind) -> String {
    let port = server
        .declared
        .port
        .as_ref()
        .map_or("", |p| p.name.as_str());
    format!(
        "https.{}.{port}.{}.{}{}",
        server.number,
        server.name.1,
        server.name.0,
        suffix(bind)
    )
}

fn tcp_service<'w>(
    draft: &mut Draft<'w>,
    services: &mut Services<'w>,
    server: &Server<'w>,
) -> Service {
    let hosts = ServerHosts::new(&server.hosts);
    let at = Bytes {
        gateway: &server.name,
        port: server.number,
        hosts: &hosts,
    };
    let services = services.of(draft, server);
    tcp::route(draft, &services, at).map_or(Service::Close, Service::Tcp)
}

/// Server names of a chain; none when any will do.
fn sni(hosts: &[String]) -> Vec<HostPattern> {
    let patterns: Vec<HostPattern> = hosts.iter().map(|h| HostPattern::parse(bare(h))).collect();
    if patterns.contains(&HostPattern::Any) {
        Vec::new()
    } else {
        patterns
    }
}

/// Filter chains of a TLS server: one when it terminates, one per server name match else.
fn chains<'w>(
    draft: &mut Draft<'w>,
    services: &mut Services<'w>,
    server: &Server<'w>,
    bind: &Bind,
) -> Vec<FilterChain> {
    let Some(settings) = &server.declared.tls else {
        return Vec::new();
    };
    let name = chain_name(server, bind);
    let gateway = server.gateway.resource;
    let origin = draft.world.origin(gateway, server.path.clone());
    match settings.mode {
        ServerTlsMode::AutoPassthrough => {
            return auto_passthrough::chains(draft, server, &name, &origin);
        }
        ServerTlsMode::Passthrough => {
            let hosts = ServerHosts::new(&server.hosts);
            let at = Bytes {
                gateway: &server.name,
                port: server.number,
                hosts: &hosts,
            };
            let services = services.of(draft, server);
            let found = tcp::passthrough(draft, &services, at).into_iter();
            return found
                .map(|(sni, bytes)| {
                    let (name, origin) = (name.clone(), origin.clone());
                    FilterChain {
                        name,
                        sni,
                        mesh_only: false,
                        tls: None,
                        service: Service::Tcp(bytes),
                        origin,
                    }
                })
                .collect();
        }
        _ => {}
    }
    terminated(draft, services, server, settings, (name, origin))
        .into_iter()
        .collect()
}

/// The chain of a server that terminates TLS; none when it cannot be served.
fn terminated<'w>(
    draft: &mut Draft<'w>,
    services: &mut Services<'w>,
    server: &Server<'w>,
    settings: &ServerTlsSettings,
    (name, origin): (String, Origin),
) -> Option<FilterChain> {
    let gateway = server.gateway.resource;
    let path = format!("{}.tls", server.path);
    let tls = match tls::server(draft, gateway, settings, &path) {
        Ok(tls) => tls,
        Err(why) => {
            draft.report(
                codes::SP0403,
                gateway,
                &path,
                format!("the server is not served: {why}"),
            );
            return None;
        }
    };
    let protocol = server
        .declared
        .port
        .as_ref()
        .map_or("", |p| p.protocol.as_str());
    let service = if protocol.eq_ignore_ascii_case("https") {
        http(
            draft,
            services,
            std::slice::from_ref(server),
            name.clone(),
            true,
        )
    } else {
        match tcp_service(draft, services, server) {
            // as in Istio, a server without a route has no chain
            Service::Close => return None,
            service => service,
        }
    };
    Some(FilterChain {
        name,
        sni: sni(&server.hosts),
        mesh_only: false,
        tls: Some(tls),
        service,
        origin,
    })
}
