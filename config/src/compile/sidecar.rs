//! What a sidecar has to do: the same rules as a gateway's, for what its workload calls and for
//! who calls it.
//!
//! Istio `pilot/pkg/networking/core/{listener,listener_builder,listener_inbound,httproute}.go`.
//! `scope` reads the Sidecar object, `outbound` makes routes of services and of the
//! VirtualServices of the mesh, `inbound` asks PeerAuthentications about the workload's ports,
//! `protocol` tells what a port speaks.

mod inbound;
mod outbound;
mod protocol;
mod scope;
mod tables;
#[cfg(test)]
mod tests;

use super::draft::Draft;
use super::{authn, authz, settings};
use crate::diag::Diagnostics;
use crate::ir::{Capture, ConnectionSettings, Policies, Sidecar};
use crate::view::SidecarView;
use crate::world::World;
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
    let mut draft = Draft::new(world, &view.workload);
    draft.settings = settings::settings(&world.mesh, &view.workload);
    // the limits of an edge are for those who face the internet
    draft.settings.connection = ConnectionSettings::sidecar();
    draft.policies = Policies {
        jwt: authn::rules(&mut draft),
        authorization: authz::policies(&mut draft),
    };
    let scope = Scope::of(world, &view.workload);
    let inbound = inbound::ports(world, view, scope.chosen);
    let rest = inbound::mode(world, view, 0);
    let outbound = outbound::build(&mut draft, view, &scope);
    let mut trust_domains = vec![draft.settings.trust_domain.clone()];
    trust_domains.extend(world.mesh.trust_domain_aliases.iter().cloned());
    let (compiled, outbound) = draft.finish_outbound(outbound);
    CompiledSidecar {
        sidecar: Sidecar {
            snapshot: compiled.snapshot,
            capture: capture(world, view),
            inbound,
            rest,
            outbound,
            allow_any: scope.allow_any,
            trust_domains,
        },
        diagnostics: compiled.diagnostics,
    }
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
