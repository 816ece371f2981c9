//! The one translation of Istio's semantics: a [`World`] seen by a [`View`] becomes a [`Snapshot`].
//!
//! Passes, one a file: `listeners` merges Gateway servers into sockets, `tls`, `tcp` and
//! `auto_passthrough` fill filter chains, `hosts` intersects names, `virtual_hosts` binds rules to them, `delegates` flattens VirtualServices, `routes`,
//! `matches`, `actions`, `headers` and `retries` translate rules, `clusters` and `discovery` resolve
//! destinations (`traffic` their policies, `networks` and `locality` who is asked first), `upstream_tls` says how
//! they are encrypted, `settings` reads the mesh's, `authn`, `authz` and `limits` choose policies. Compiling never
//! fails: what is broken disables itself and says so.

mod actions;
mod authn;
mod authorizers;
mod authz;
mod auto_passthrough;
mod certificates;
mod clusters;
mod delegates;
mod discovery;
mod draft;
mod headers;
mod hosts;
mod limits;
mod listeners;
mod locality;
mod matches;
mod networks;
mod retries;
mod routes;
mod settings;
mod sidecar;
mod tables;
mod tcp;
mod tls;
mod traffic;
mod upstream_tls;
mod virtual_hosts;

use crate::api::envoy_filter::PatchContext;
use crate::diag::Diagnostics;
use crate::ir::{Millis, Snapshot};
use crate::view::View;
use crate::world::World;
pub use authn::key_sources;
pub use sidecar::{CompiledSidecar, compile_inbound, compile_outbound, compile_sidecar};

use draft::Draft;
use std::time::Duration;

/// What a proxy has to do, and what is wrong with what it was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compiled {
    /// Everything that works.
    pub snapshot: Snapshot,
    /// What does not, sorted by place.
    pub diagnostics: Diagnostics,
}

/// Compiles what the proxy of a view has to do.
#[must_use]
pub fn compile(world: &World, view: &View) -> Compiled {
    let mut draft = Draft::new(world, view);
    draft.settings = settings::settings(&world.mesh, view);
    policies(&mut draft);
    draft.limits = limits::limits(&draft, PatchContext::Gateway);
    listeners::build(&mut draft);
    draft.finish()
}

fn policies(draft: &mut Draft<'_>) {
    draft.policies.jwt = authn::rules(draft);
    let chosen = authz::policies(draft);
    draft.policies.authorization = chosen;
}

fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
