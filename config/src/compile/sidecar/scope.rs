//! The Sidecar object of a workload: what it may call.
//!
//! Istio `pilot/pkg/model/sidecar.go`: the oldest of the workload's namespace that selects it, else
//! the namespace's own, else that of the root namespace, else everything.

use crate::api::Sidecar;
use crate::api::mesh_config::MeshOutboundMode;
use crate::api::sidecar::OutboundTrafficPolicyMode;
use crate::ir::HostPattern;
use crate::view::View;
use crate::world::{Typed, World};

/// What a sidecar may call.
#[derive(Debug)]
pub(super) struct Scope<'w> {
    /// The object that says so, if there is one.
    pub(super) chosen: Option<Typed<'w, Sidecar>>,
    /// Unknown destinations may be called.
    pub(super) allow_any: bool,
    imports: Vec<Imports>,
}

/// Hosts that may be called, on one port or on any.
#[derive(Debug)]
struct Imports {
    port: Option<u16>,
    hosts: Vec<(Namespace, HostPattern)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Namespace {
    Any,
    One(String),
    None,
}

impl<'w> Scope<'w> {
    /// The scope of a workload.
    pub(super) fn of(world: &'w World, view: &View) -> Self {
        let chosen = choose(world, view);
        let mesh = world.mesh.outbound_traffic_policy.as_ref();
        let policy = chosen.and_then(|c| c.spec.outbound_traffic_policy.as_ref());
        let allow_any = match (policy, mesh) {
            (Some(policy), _) => policy.mode == OutboundTrafficPolicyMode::AllowAny,
            (None, Some(mesh)) => mesh.mode != MeshOutboundMode::RegistryOnly,
            (None, None) => true,
        };
        let egress = chosen.map(|c| c.spec.egress.as_slice()).unwrap_or_default();
        let mut imports: Vec<Imports> = egress
            .iter()
            .map(|listener| Imports {
                port: listener
                    .port
                    .as_ref()
                    .and_then(|p| u16::try_from(p.number).ok())
                    .filter(|port| *port > 0),
                hosts: listener.hosts.iter().map(|h| parse(h, view)).collect(),
            })
            .collect();
        if imports.is_empty() {
            imports.push(Imports {
                port: None,
                hosts: vec![(Namespace::Any, HostPattern::Any)],
            });
        }
        Self {
            chosen,
            allow_any,
            imports,
        }
    }

    /// Whether a host of a namespace may be called on a port. A listener with that port is the only
    /// one that speaks for it.
    pub(super) fn allows(&self, namespace: &str, host: &str, port: u16) -> bool {
        let own = self.imports.iter().any(|i| i.port == Some(port));
        let wanted = if own { Some(port) } else { None };
        let listeners = self.imports.iter().filter(|i| i.port == wanted);
        listeners
            .flat_map(|i| &i.hosts)
            .any(|(ns, pattern)| ns.is(namespace) && pattern.matches(&host.to_ascii_lowercase()))
    }

    /// Whether rules for a host, which may be a wildcard, are of concern at all.
    pub(super) fn imports(&self, namespace: &str, host: &str) -> bool {
        let said = HostPattern::parse(host);
        let overlap = |pattern: &HostPattern| match (&said, pattern) {
            (HostPattern::Any, _) | (_, HostPattern::Any) => true,
            (HostPattern::Exact(name), pattern) => pattern.matches(name),
            (pattern, HostPattern::Exact(name)) => pattern.matches(name),
            (HostPattern::Suffix(a), HostPattern::Suffix(b)) => {
                a.ends_with(b.as_str()) || b.ends_with(a.as_str())
            }
        };
        let mut all = self.imports.iter().flat_map(|i| &i.hosts);
        all.any(|(ns, pattern)| ns.is(namespace) && overlap(pattern))
    }
}

impl Namespace {
    fn is(&self, namespace: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(name) => name == namespace,
            Self::None => false,
        }
    }
}

fn choose<'w>(world: &'w World, view: &View) -> Option<Typed<'w, Sidecar>> {
    let of = |namespace: &str, selecting: bool| {
        world.sidecars().find(|sidecar| {
            let selector = sidecar.spec.workload_selector.as_ref();
            let selector = selector.filter(|s| !s.labels.is_empty());
            *sidecar.resource.meta.namespace == *namespace
                && match selector {
                    Some(selector) => selecting && view.selected_by(&selector.labels),
                    None => !selecting,
                }
        })
    };
    of(&view.namespace, true)
        .or_else(|| of(&view.namespace, false))
        .or_else(|| of(world.root_namespace(), false))
}

/// `namespace/host`; a host alone is in any namespace.
fn parse(text: &str, view: &View) -> (Namespace, HostPattern) {
    let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
    let namespace = match namespace {
        "*" => Namespace::Any,
        "." => Namespace::One(view.namespace.clone()),
        "~" => Namespace::None,
        name => Namespace::One(name.to_owned()),
    };
    (namespace, HostPattern::parse(host))
}
