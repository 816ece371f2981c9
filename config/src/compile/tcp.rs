//! `tcp` and `tls` rules: bytes to destinations by weight.
//!
//! Istio `pilot/pkg/networking/core/gateway.go` (`buildGatewayNetworkFiltersFromTCPRoutes`,
//! `…FromTLSRoutes`): of `tcp` rules the first that concerns the server counts; every `tls` match
//! is a chain of its own by its server names.

use super::clusters::{self, Asker};
use super::draft::Draft;
use super::hosts::{ServerHosts, of_service};
use super::traffic::IDLE_BYTES;
use crate::api::VirtualService;
use crate::api::virtual_service::RouteDestination;
use crate::diag::codes;
use crate::ir::{ClusterRef, HostPattern, Origin, TcpService, TcpTarget};
use crate::resource::Resource;
use crate::world::{Named, Typed, World, gateway_name};

/// A server that carries bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a> {
    /// Its Gateway.
    pub gateway: &'a Named,
    /// Declared port.
    pub port: u16,
    /// Its hosts.
    pub hosts: &'a ServerHosts,
}

impl Bytes<'_> {
    fn shares_a_host(&self, world: &World, service: Typed<'_, VirtualService>) -> bool {
        let namespace = &service.resource.meta.namespace;
        let hosts = of_service(service, &world.domain_suffix);
        !self.hosts.intersect(namespace, hosts).is_empty()
    }

    fn concerns(
        &self,
        draft: &Draft<'_>,
        root: &Resource,
        gateways: &[String],
        port: u32,
        labels: &crate::api::Map<String>,
        namespace: &str,
    ) -> bool {
        if port != 0 && port != u32::from(self.port) {
            return false;
        }
        if !gateways.is_empty() {
            return gateways
                .iter()
                .any(|g| gateway_name(g, &root.meta.namespace) == *self.gateway);
        }
        draft.view.selected_by(labels)
            && (namespace.is_empty() || namespace == draft.view.namespace)
    }
}

/// The first `tcp` rule that concerns the server.
pub(super) fn route<'w>(
    draft: &mut Draft<'w>,
    services: &[Typed<'w, VirtualService>],
    at: Bytes<'_>,
) -> Option<TcpService> {
    let world = draft.world;
    for service in services.iter().filter(|s| at.shares_a_host(world, **s)) {
        for (index, rule) in service.spec.tcp.iter().enumerate() {
            let applies = rule.match_.is_empty()
                || rule.match_.iter().any(|m| {
                    at.concerns(
                        draft,
                        service.resource,
                        &m.gateways,
                        m.port,
                        &m.source_labels,
                        &m.source_namespace,
                    )
                });
            if applies {
                let path = format!("spec.tcp[{index}]");
                return bytes(draft, service.resource, &rule.route, at.port, &path);
            }
        }
    }
    None
}

/// Chains of passed-through TLS: server names and where their bytes go.
pub(super) fn passthrough<'w>(
    draft: &mut Draft<'w>,
    services: &[Typed<'w, VirtualService>],
    at: Bytes<'_>,
) -> Vec<(Vec<HostPattern>, TcpService)> {
    let mut out = Vec::new();
    let world = draft.world;
    for service in services.iter().filter(|s| at.shares_a_host(world, **s)) {
        for (index, rule) in service.spec.tls.iter().enumerate() {
            for (number, m) in rule.match_.iter().enumerate() {
                if !at.concerns(
                    draft,
                    service.resource,
                    &m.gateways,
                    m.port,
                    &m.source_labels,
                    &m.source_namespace,
                ) {
                    continue;
                }
                let path = format!("spec.tls[{index}]");
                let Some(mut found) = bytes(draft, service.resource, &rule.route, at.port, &path)
                else {
                    continue;
                };
                found.origin = draft
                    .world
                    .origin(service.resource, format!("{path}.match[{number}]"));
                out.push((names(&m.sni_hosts), found));
            }
        }
    }
    out
}

fn names(hosts: &[String]) -> Vec<HostPattern> {
    let patterns: Vec<HostPattern> = hosts.iter().map(|h| HostPattern::parse(h)).collect();
    if patterns.contains(&HostPattern::Any) {
        Vec::new()
    } else {
        patterns
    }
}

fn bytes(
    draft: &mut Draft<'_>,
    resource: &Resource,
    route: &[RouteDestination],
    server_port: u16,
    path: &str,
) -> Option<TcpService> {
    let asker = Asker {
        resource,
        namespace: &resource.meta.namespace,
        server_port,
    };
    let several = route.len() > 1;
    let mut targets = Vec::new();
    let mut first = None;
    for (index, to) in route.iter().enumerate() {
        let weight = u32::try_from(to.weight).unwrap_or(0);
        let weight = if several { weight } else { weight.max(1) };
        let Some(destination) = to.destination.as_ref().filter(|_| weight > 0) else {
            continue;
        };
        let path = format!("{path}.route[{index}].destination");
        let target = match clusters::resolve(draft, asker, destination, &path) {
            ClusterRef::Known(id) => {
                let (_, way) = draft.clusters.way(id);
                if *first.get_or_insert_with(|| way.clone()) != way {
                    let text = "all destinations of a rule for bytes must be reached through the \
                                same tunnel: connections to this one are closed";
                    draft.report(codes::SP0401, resource, &path, text.to_owned());
                }
                TcpTarget::Cluster(id)
            }
            ClusterRef::Missing(name) => TcpTarget::Missing(name),
        };
        targets.push((target, weight));
    }
    let origin = draft.world.origin(resource, path.to_owned());
    (!targets.is_empty()).then(|| service(draft, targets, origin))
}

/// Bytes to these targets. What the first one's rule says of idle and of old connections and of the
/// way counts, as Envoy can be told only one of each; who must be reached in another way is not.
pub(super) fn service(
    draft: &Draft<'_>,
    mut targets: Vec<(TcpTarget, u32)>,
    origin: Origin,
) -> TcpService {
    let clusters = &draft.clusters;
    let known = targets.iter().find_map(|(target, _)| match target {
        TcpTarget::Cluster(id) => Some((clusters.limits_of_bytes(*id), clusters.way(*id).1)),
        TcpTarget::Missing(_) => None,
    });
    let nothing = ((Some(IDLE_BYTES), None), None);
    let ((idle_timeout, max_duration), tunnel) = known.unwrap_or(nothing);
    for (target, _) in &mut targets {
        if let TcpTarget::Cluster(id) = target {
            let (name, own) = clusters.way(*id);
            if own != tunnel {
                *target = TcpTarget::Missing(name.to_owned());
            }
        }
    }
    TcpService {
        targets,
        idle_timeout,
        max_duration,
        tunnel,
        origin,
    }
}
