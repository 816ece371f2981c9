//! A snapshot in the making: parts refer to each other provisionally until all are known.
//!
//! Clusters are numbered in the order in which routes meet them and renumbered by name at the
//! end, so that the snapshot does not depend on the order of the passes.

use super::Compiled;
use super::certificates::Certificates;
use super::clusters::Clusters;
use super::delegates::Rules;
use super::limits;
use super::matches::Regexes;
use super::tables::Tables;
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::ir::{
    Action, ClusterId, ClusterRef, Limit, Listener, ListenerKind, Outbound, Policies, Route,
    Service, Settings, Snapshot, TcpService, TcpTarget,
};
use crate::resource::Resource;
use crate::view::View;
use crate::world::World;

/// The parts, and who asks.
#[derive(Debug)]
pub(super) struct Draft<'w> {
    pub world: &'w World,
    pub view: &'w View,
    pub found: Diagnostics,
    pub regexes: Regexes,
    pub rules: Rules<'w>,
    pub clusters: Clusters,
    pub certificates: Certificates,
    pub tables: Tables,
    pub listeners: Vec<Listener>,
    pub settings: Settings,
    pub policies: Policies,
    pub limits: Vec<Limit>,
}

impl<'w> Draft<'w> {
    pub(super) fn new(world: &'w World, view: &'w View) -> Self {
        Self {
            world,
            view,
            found: Diagnostics::default(),
            regexes: Regexes::default(),
            rules: Rules::default(),
            clusters: Clusters::default(),
            certificates: Certificates::default(),
            tables: Tables::default(),
            listeners: Vec::new(),
            settings: Settings::default(),
            policies: Policies::default(),
            limits: Vec::new(),
        }
    }

    /// Reports something about a field of an object.
    pub(super) fn report(&mut self, code: Code, resource: &Resource, path: &str, message: String) {
        self.found.push(finding(code, resource, path, message));
    }

    /// Numbers everything for good.
    pub(super) fn finish(self) -> Compiled {
        self.finish_outbound(Vec::new()).0
    }

    /// Numbers everything for good, also what a sidecar's sockets refer to.
    pub(super) fn finish_outbound(self, mut outbound: Vec<Outbound>) -> (Compiled, Vec<Outbound>) {
        let (clusters, renumber) = self.clusters.finish();
        let to = |id: ClusterId| {
            let new = usize::try_from(id.0).ok().and_then(|i| renumber.get(i));
            new.copied().unwrap_or(id)
        };
        let route_tables = self.tables.finish(|route| renumber_route(route, &to));
        let mut listeners = self.listeners;
        for listener in &mut listeners {
            match &mut listener.kind {
                ListenerKind::Plain(service) => renumber_service(service, &to),
                ListenerKind::Tls(chains) => {
                    chains
                        .iter_mut()
                        .for_each(|chain| renumber_service(&mut chain.service, &to));
                }
            }
        }
        for socket in &mut outbound {
            let named = socket.tls.iter_mut().map(|(_, tcp)| tcp);
            named
                .chain(&mut socket.tcp)
                .for_each(|tcp| renumber_tcp(tcp, &to));
        }
        listeners.sort_by(|a, b| (a.port, &a.bind).cmp(&(b.port, &b.bind)));
        let mut policies = self.policies;
        for authorizer in &mut policies.authorizers {
            authorizer.cluster = to(authorizer.cluster);
        }
        let certificates = self.certificates.finish();
        let mut limits = self.limits;
        limits::retain_of(&route_tables, &mut limits);
        let snapshot = Snapshot {
            settings: self.settings,
            listeners,
            route_tables,
            clusters,
            certificates,
            policies,
            limits,
        };
        let compiled = Compiled {
            snapshot,
            diagnostics: self.found.sorted(),
        };
        (compiled, outbound)
    }
}

/// A diagnostic about a field of an object, with its place.
pub(super) fn finding(code: Code, resource: &Resource, path: &str, message: String) -> Diagnostic {
    Diagnostic::new(code, message)
        .on(&resource.key())
        .path(path)
        .at(resource.span_at(path))
}

fn renumber_route(route: &mut Route, to: &impl Fn(ClusterId) -> ClusterId) {
    let Action::Forward(forward) = &mut route.action else {
        return;
    };
    let targets = forward.targets.iter_mut().map(|t| &mut t.cluster);
    for cluster in targets.chain(forward.mirrors.iter_mut().map(|m| &mut m.cluster)) {
        if let ClusterRef::Known(id) = cluster {
            *id = to(*id);
        }
    }
}

fn renumber_service(service: &mut Service, to: &impl Fn(ClusterId) -> ClusterId) {
    if let Service::Tcp(tcp) = service {
        renumber_tcp(tcp, to);
    }
}

fn renumber_tcp(tcp: &mut TcpService, to: &impl Fn(ClusterId) -> ClusterId) {
    for (target, _) in &mut tcp.targets {
        if let TcpTarget::Cluster(id) = target {
            *id = to(*id);
        }
    }
}
