//! Servers that pass connections of the mesh on by server name: the gateway between two networks.
//!
//! Istio `pilot/pkg/networking/core/gateway.go` (`builtAutoPassthroughFilterChains`): every port and
//! subset of every service under the server's hosts is a chain by the name that sidecars use for it,
//! `outbound_.PORT_.SUBSET_.HOST`, for clients that offer a protocol of the mesh by ALPN. Routes and
//! policies are not asked: nothing is decrypted here, and the endpoint's own proxy asks its own. That
//! is why only endpoints that speak mutual TLS are reached.

use super::clusters;
use super::draft::Draft;
use super::hosts::ServerHosts;
use super::listeners::Server;
use super::tcp;
use super::upstream_tls::is_external;
use crate::ir::{FilterChain, HostPattern, Origin, Service, TcpTarget};

/// The chains of a server, in the order of hosts, ports and subsets.
pub(super) fn chains<'w>(
    draft: &mut Draft<'w>,
    server: &Server<'w>,
    name: &str,
    origin: &Origin,
) -> Vec<FilterChain> {
    let hosts = ServerHosts::new(&server.hosts);
    let mut chains = Vec::new();
    for service in draft.world.services() {
        let is_meant = !is_external(service)
            && !service.host.contains('*')
            && !hosts
                .intersect(&service.namespace, std::iter::once(&*service.host))
                .is_empty();
        // of several services with a host, the one that routes would find
        let found = clusters::find_service(draft, &service.host, &service.namespace);
        if !is_meant || !found.is_some_and(|found| std::ptr::eq(found, service)) {
            continue;
        }
        let subsets = clusters::subsets(draft, service);
        for port in &service.ports {
            let all = std::iter::once("").chain(subsets.iter().map(String::as_str));
            for subset in all {
                let made = clusters::passed_through(draft, service, port, subset);
                chains.extend(made.map(|(id, sni)| {
                    let to = vec![(TcpTarget::Cluster(id), 1)];
                    FilterChain {
                        name: name.to_owned(),
                        sni: vec![HostPattern::Exact(sni)],
                        mesh_only: true,
                        tls: None,
                        service: Service::Tcp(tcp::service(draft, to, origin.clone())),
                        origin: origin.clone(),
                    }
                }));
            }
        }
    }
    chains
}
