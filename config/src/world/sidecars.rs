//! What sidecars ask a world: everything that may be called, and who restricts it.

use super::{Service, Typed, World};
use crate::api;
use crate::resource::Spec;

impl World {
    /// Every Sidecar, oldest first.
    pub fn sidecars(&self) -> impl Iterator<Item = Typed<'_, api::Sidecar>> {
        let all = self.sidecars.iter();
        all.filter_map(|resource| match &resource.spec {
            Spec::Sidecar(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        })
    }

    /// Every service, ordered by host and namespace.
    #[must_use]
    pub fn services(&self) -> Vec<&Service> {
        let mut all: Vec<&Service> = self.services.values().flatten().collect();
        all.sort_by(|a, b| (&a.host, &a.namespace).cmp(&(&b.host, &b.namespace)));
        all
    }

    /// VirtualServices for sidecars, oldest first: those that name `mesh`, or no gateway at all.
    pub fn virtual_services_of_mesh(&self) -> impl Iterator<Item = Typed<'_, api::VirtualService>> {
        let all = (0..self.virtual_services.len()).filter_map(|at| self.virtual_service_at(at));
        all.filter(|service| {
            let gateways = &service.spec.gateways;
            // a delegate has no hosts, and is part of whoever names it
            !service.spec.hosts.is_empty()
                && (gateways.is_empty() || gateways.iter().any(|g| g == "mesh"))
        })
    }
}
