//! PeerAuthentications: whether workloads demand, allow or refuse mutual TLS.
//!
//! Istio `pilot/pkg/security/authn/policy_applier.go` (`ComposePeerAuthentication`) and
//! `pilot/pkg/model/authentication.go`: the mesh's mode, under the namespace's, under the
//! workload's, under that of its port. In each scope the oldest object counts; UNSET inherits.

use super::{Typed, covers};
use crate::api::peer_authentication::{MutualTls, MutualTlsMode};
use crate::api::{Map, PeerAuthentication};
use crate::resource::{Kind, Resource, ResourceSet, Spec};
use std::collections::HashMap;
use std::sync::Arc;

/// Every PeerAuthentication by namespace, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    by_namespace: HashMap<Arc<str>, Vec<Arc<Resource>>>,
}

impl Peers {
    /// Indexes every PeerAuthentication of a set.
    #[must_use]
    pub fn build(set: &ResourceSet) -> Self {
        let mut peers = Self::default();
        for resource in set.of_kind(Kind::PeerAuthentication) {
            let namespace = Arc::clone(&resource.meta.namespace);
            let list = peers.by_namespace.entry(namespace).or_default();
            list.push(Arc::clone(resource));
        }
        peers
    }

    fn of(&self, namespace: &str) -> impl Iterator<Item = Typed<'_, PeerAuthentication>> {
        let list = self.by_namespace.get(namespace).into_iter().flatten();
        list.filter_map(|resource| match &resource.spec {
            Spec::PeerAuthentication(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        })
    }

    /// The oldest object of a namespace that selects no workloads.
    fn general(&self, namespace: &str) -> Option<MutualTlsMode> {
        let mut all = self.of(namespace).filter(|p| labels(p.spec).is_none());
        said(all.next()?.spec.mtls.as_ref())
    }

    /// The mode of a namespace: its own, else the mesh's (of the root namespace), else PERMISSIVE.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str, root: &str) -> MutualTlsMode {
        let own = self.general(namespace).or_else(|| self.general(root));
        own.unwrap_or(MutualTlsMode::Permissive)
    }

    /// The mode of a workload's port, which is the number that the workload listens on.
    #[must_use]
    pub fn of_workload(
        &self,
        namespace: &str,
        root: &str,
        workload: &Map<String>,
        port: u16,
    ) -> MutualTlsMode {
        let above = self.of_namespace(namespace, root);
        let mut selecting = self
            .of(namespace)
            .filter(|p| labels(p.spec).is_some_and(|selector| covers(workload, selector)));
        let Some(own) = selecting.next() else {
            return above;
        };
        let mode = said(own.spec.mtls.as_ref()).unwrap_or(above);
        let port = own.spec.port_level_mtls.get(&port.to_string());
        said(port).unwrap_or(mode)
    }
}

/// What an object selects workloads by; none when it means all.
fn labels(spec: &PeerAuthentication) -> Option<&Map<String>> {
    let selector = spec.selector.as_ref()?;
    (!selector.match_labels.is_empty()).then_some(&selector.match_labels)
}

fn said(mtls: Option<&MutualTls>) -> Option<MutualTlsMode> {
    let mode = mtls?.mode;
    (mode != MutualTlsMode::Unset).then_some(mode)
}
