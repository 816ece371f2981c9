//! Servers that speak HTTP: which VirtualServices answer for which of their hosts.
//!
//! Istio `pilot/pkg/networking/core/gateway.go` (`buildGatewayHTTPRouteConfig`): every host that a
//! server and a VirtualService have in common gets the routes, in order; a host of a redirecting
//! server exists without any.

use super::draft::Draft;
use super::hosts::{ServerHosts, bare, of_service};
use super::listeners::Server;
use super::routes::{self, At};
use super::tables::{ListId, Table};
use crate::api::VirtualService;
use crate::ir::{HostPattern, HttpService, RouteTableId, Service};
use crate::world::{Named, Typed};
use std::collections::HashMap;

/// Annotation of a Gateway: status of `httpsRedirect`.
const REDIRECT_CODE: &str = "sallyport.io/redirect-code";

/// Annotation of a Gateway: `off` keeps its HTTPS servers to TCP.
const HTTP3: &str = "sallyport.io/http3";

/// Annotation of a Gateway: `on` has its HTTP/3 servers take early data.
const EARLY_DATA: &str = "sallyport.io/http3-early-data";

/// The server that a list of routes was made for: Gateway, declared port, TLS; none for all.
type OnServer = Option<(Named, u16, bool)>;

/// VirtualServices of each Gateway as the view sees them: private ones first, then those exported
/// by name, then public ones; each group by age.
#[derive(Debug, Default)]
pub(super) struct Services<'w> {
    of: HashMap<Named, Vec<Typed<'w, VirtualService>>>,
    lists: HashMap<(usize, OnServer), ListId>,
}

impl<'w> Services<'w> {
    /// Those of a server's Gateway.
    pub(super) fn of(
        &mut self,
        draft: &Draft<'w>,
        server: &Server<'w>,
    ) -> Vec<Typed<'w, VirtualService>> {
        let default = &draft.world.mesh.default_virtual_service_export_to;
        let all = || {
            let all = draft.world.virtual_services_of(server.gateway.resource);
            let seen = all.filter_map(|s| {
                Some((
                    draft
                        .view
                        .exported(&s.spec.export_to, default, &s.resource.meta.namespace)?,
                    s,
                ))
            });
            let mut seen: Vec<_> = seen.collect();
            seen.sort_by_key(|(how, _)| *how);
            seen.into_iter().map(|(_, service)| service).collect()
        };
        self.of
            .entry(server.name.clone())
            .or_insert_with(all)
            .clone()
    }

    /// The list of routes of a VirtualService on a server, made once; once for all servers when
    /// nothing in it depends on the server.
    fn list(
        &mut self,
        draft: &mut Draft<'w>,
        service: Typed<'w, VirtualService>,
        at: At<'_>,
    ) -> ListId {
        let address = std::ptr::from_ref(service.spec).addr();
        let server =
            routes::depend_on_server(draft, service).then(|| (at.gateway.clone(), at.port, at.tls));
        let key = (address, server);
        if let Some(known) = self.lists.get(&key) {
            return *known;
        }
        let routes = routes::routes(draft, service, at);
        let list = draft.tables.list(routes);
        self.lists.insert(key, list);
        list
    }
}

/// HTTP on a socket or chain, with the routes of its servers.
pub(super) fn http<'w>(
    draft: &mut Draft<'w>,
    services: &mut Services<'w>,
    servers: &[Server<'w>],
    name: String,
    tls: bool,
) -> Service {
    let table = table(draft, services, servers, name, tls);
    let first = servers.first();
    let web = |s: &Server<'_>| {
        s.declared
            .port
            .as_ref()
            .is_some_and(|p| p.protocol.eq_ignore_ascii_case("grpc-web"))
    };
    let http3 = tls && !servers.iter().any(refuses_http3);
    Service::Http(HttpService {
        routes: table,
        server_port: first.map_or(0, |s| s.number),
        grpc_web: servers.iter().any(web),
        http3,
        early_data: http3 && servers.iter().all(takes_early_data),
    })
}

fn table<'w>(
    draft: &mut Draft<'w>,
    services: &mut Services<'w>,
    servers: &[Server<'w>],
    name: String,
    tls: bool,
) -> RouteTableId {
    let mut table = Table::new(name);
    for server in servers {
        let redirect = redirect_code(server);
        let index = ServerHosts::new(&server.hosts);
        let at = At {
            gateway: &server.name,
            port: server.number,
            tls,
        };
        for service in services.of(draft, server) {
            if service.spec.http.is_empty() {
                continue;
            }
            let namespace = &service.resource.meta.namespace;
            let common =
                index.intersect(namespace, of_service(service, &draft.world.domain_suffix));
            if common.is_empty() {
                continue;
            }
            let list = services.list(draft, service, at);
            for pattern in common {
                let host = table.host(pattern);
                if host.lists.last() != Some(&list) {
                    host.lists.push(list);
                }
                host.https_redirect = host.https_redirect.or(redirect);
            }
        }
        if redirect.is_some() {
            for host in &server.hosts {
                let host = table.host(HostPattern::parse(bare(host)));
                host.https_redirect = host.https_redirect.or(redirect);
            }
        }
    }
    draft.tables.add(table)
}

/// Whether the server's Gateway wants no HTTP/3.
fn refuses_http3(server: &Server<'_>) -> bool {
    says(server, HTTP3, "off")
}

/// Whether the server's Gateway wants early data.
fn takes_early_data(server: &Server<'_>) -> bool {
    says(server, EARLY_DATA, "on")
}

fn says(server: &Server<'_>, annotation: &str, text: &str) -> bool {
    let annotation = server.gateway.resource.meta.annotations.get(annotation);
    annotation.is_some_and(|said| said == text)
}

/// Status of the server's `httpsRedirect`, if it has one.
fn redirect_code(server: &Server<'_>) -> Option<u16> {
    server
        .declared
        .tls
        .as_ref()
        .filter(|tls| tls.https_redirect)?;
    let annotation = server.gateway.resource.meta.annotations.get(REDIRECT_CODE);
    let code = annotation
        .and_then(|text| text.parse().ok())
        .filter(|code| matches!(code, 301 | 302 | 303 | 307 | 308));
    Some(code.unwrap_or(301))
}
