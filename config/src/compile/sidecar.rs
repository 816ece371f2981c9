//! What a sidecar has to do: the same rules as a gateway's, for what its workload calls and for
//! who calls it.
//!
//! Istio `pilot/pkg/networking/core/{listener,listener_builder,listener_inbound,httproute}.go`.
//! `scope` reads the Sidecar object, `rules` finds VirtualServices by host, `outbound` makes routes of services and of the
//! VirtualServices of the mesh, `inbound` asks PeerAuthentications about the workload's ports,
//! `protocol` tells what a port speaks.

mod inbound;
mod outbound;
mod protocol;
mod rules;
mod scope;
mod tables;
#[cfg(test)]
mod tests;

use super::draft::Draft;
use super::{authn, authorizers, authz, limits, settings};
use crate::api::envoy_filter::PatchContext;
use crate::api::service_entry::Resolution;
use crate::diag::Diagnostics;
use crate::ir::{
    Capture, Cluster, ClusterId, ConnectionSettings, PeerTls, Policies, PolicyTest, Sidecar,
};
use crate::resource::Spec;
use crate::view::SidecarView;
use crate::world::{Service, World};
use scope::Scope;

/// Istio's port for what the workload calls.
const OUTBOUND_PORT: u16 = 15_001;
/// Istio's port for who calls the workload.
const INBOUND_PORT: u16 = 15_006;

/// What a sidecar has to do, and what is wrong with what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledSidecar {
    /// Everything that works.
    pub sidecar: Sidecar,
    /// What does not, sorted by place.
    pub diagnostics: Diagnostics,
}

/// Compiles what a sidecar has to do.
#[must_use]
pub fn compile_sidecar(world: &World, view: &SidecarView) -> CompiledSidecar {
    let mut compiled = compile_outbound(world, view);
    let inbound = compile_inbound(world, view);
    compiled.sidecar.inbound = inbound.sidecar.inbound;
    compiled.sidecar.rest = inbound.sidecar.rest;
    let (from, to) = (inbound.sidecar.snapshot, &mut compiled.sidecar.snapshot);
    to.policies = Policies {
        authorizers: authorizers::moved(
            from.policies.authorizers,
            &from.clusters,
            &mut to.clusters,
        ),
        ..from.policies
    };
    to.limits = from.limits;
    compiled.diagnostics.extend(inbound.diagnostics);
    compiled.diagnostics = compiled.diagnostics.sorted();
    compiled
}

/// The part that is about what the workload calls: no ports of its own, and of policies only whom they
/// could ask, so that the clusters for that are there. Of its
/// labels only those count that [`World::outbound_labels`] names, its addresses do not, and of its
/// own ports only where it listens for what it calls: workloads that are alike in that share it.
#[must_use]
pub fn compile_outbound(world: &World, view: &SidecarView) -> CompiledSidecar {
    let mut draft = draft(world, view);
    let scope = Scope::of(world, &view.workload);
    let outbound = outbound::build(&mut draft, view, &scope);
    draft.policies.authorizers = authorizers::all(&mut draft);
    let trust_domains = trust_domains(&draft);
    let (compiled, outbound) = draft.finish_outbound(outbound);
    let as_called = match view.ports {
        // where nothing is redirected nobody knows what was called
        Some(_) => Vec::new(),
        None => as_called(world, &compiled.snapshot.clusters),
    };
    CompiledSidecar {
        sidecar: Sidecar {
            snapshot: compiled.snapshot,
            capture: capture(world, view),
            inbound: Vec::new(),
            rest: PeerTls::Permissive,
            outbound,
            as_called,
            allow_any: scope.allow_any,
            trust_domains,
        },
        diagnostics: compiled.diagnostics,
    }
}

/// The part that is about who calls the workload: nothing to call, and no clusters but those of whom
/// policies ask, which [`compile_outbound`] has too.
#[must_use]
pub fn compile_inbound(world: &World, view: &SidecarView) -> CompiledSidecar {
    let mut draft = draft(world, view);
    draft.policies.jwt = authn::rules(&mut draft);
    draft.policies.authorization = authz::policies(&mut draft);
    draft.limits = limits::limits(&draft, PatchContext::SidecarInbound);
    for condition in draft.limits.iter_mut().flat_map(|limit| &mut limit.when) {
        // Istio names what is inbound by the port of the service
        if let PolicyTest::Port(ports) = &mut condition.test {
            let targets = ports
                .iter()
                .flat_map(|port| inbound::targets(world, view, *port));
            *ports = targets.collect();
        }
    }
    let scope = Scope::of(world, &view.workload);
    let trust_domains = trust_domains(&draft);
    let compiled = draft.finish();
    CompiledSidecar {
        sidecar: Sidecar {
            snapshot: compiled.snapshot,
            capture: capture(world, view),
            inbound: inbound::ports(world, view, scope.chosen),
            rest: inbound::mode(world, view, 0),
            outbound: Vec::new(),
            as_called: Vec::new(),
            allow_any: scope.allow_any,
            trust_domains,
        },
        diagnostics: compiled.diagnostics,
    }
}

fn draft<'w>(world: &'w World, view: &'w SidecarView) -> Draft<'w> {
    let mut draft = Draft::new(world, &view.workload);
    draft.settings = settings::settings(&world.mesh, &view.workload);
    // the limits of an edge are for those who face the internet
    draft.settings.connection = ConnectionSettings::sidecar();
    draft
}

fn trust_domains(draft: &Draft<'_>) -> Vec<String> {
    let mut all = vec![draft.settings.trust_domain.clone()];
    all.extend(draft.world.mesh.trust_domain_aliases.iter().cloned());
    all
}

/// Clusters of services without endpoints of their own.
fn as_called(world: &World, clusters: &[Cluster]) -> Vec<ClusterId> {
    let none = |service: &Service| match &service.resource.spec {
        Spec::ServiceEntry(entry) => entry.resolution == Resolution::None,
        _ => false,
    };
    let is = |cluster: &Cluster| {
        let mut services = world.services_of(&cluster.host).iter();
        services.any(|s| *s.namespace == *cluster.service_namespace && none(s))
    };
    let numbered = (0..).map(ClusterId).zip(clusters);
    numbered.filter(|(_, c)| is(c)).map(|(id, _)| id).collect()
}

fn capture(world: &World, view: &SidecarView) -> Capture {
    if let Some(ports) = &view.ports {
        return Capture::Ports {
            outbound: ports.outbound,
            inbound: view.addresses.clone(),
        };
    }
    let port = |said: i32, default: u16| {
        u16::try_from(said)
            .ok()
            .filter(|p| *p > 0)
            .unwrap_or(default)
    };
    Capture::Redirect {
        outbound: port(world.mesh.proxy_listen_port, OUTBOUND_PORT),
        inbound: port(world.mesh.proxy_inbound_listen_port, INBOUND_PORT),
    }
}
