//! All of what the user wrote, indexed and immutable.
//!
//! A [`World`] answers questions in constant time (a host, a gateway's VirtualServices, a secret)
//! and knows no proxy: what is visible to whom is the [`crate::view::View`]'s business.

mod endpoints;
mod mesh;
mod networks;
mod peers;
mod rules;
mod services;
mod sidecars;

use crate::api;
use crate::ir::Origin;
use crate::resource::{Kind, Resource, ResourceSet, Spec};
use crate::source::SourceMap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(crate) use networks::NETWORK;
pub use peers::Peers;
pub use rules::{Merged, RuleIndex};
pub(crate) use services::full_name;
pub use services::{Instance, Place, Resolution, Service, ServicePort};

/// A name in a namespace.
pub type Named = (Arc<str>, Arc<str>);

/// An object with its typed content.
#[derive(Debug)]
pub struct Typed<'w, T> {
    /// Metadata and places.
    pub resource: &'w Resource,
    /// The object.
    pub spec: &'w T,
}

impl<T> Clone for Typed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Typed<'_, T> {}

/// Everything, indexed.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Settings of the mesh, of all sources merged.
    pub mesh: api::MeshConfig,
    /// Suffix of Kubernetes' service names.
    pub domain_suffix: String,
    files: Vec<Arc<str>>,
    gateways: Vec<Arc<Resource>>,
    virtual_services: Vec<Arc<Resource>>,
    by_gateway: HashMap<Named, Vec<usize>>,
    by_name: HashMap<Named, usize>,
    rules: RuleIndex,
    peers: Peers,
    services: HashMap<Arc<str>, Vec<Service>>,
    workloads: sidecars::Workloads,
    networks: BTreeMap<Arc<str>, Vec<Place>>,
    secrets: HashMap<Named, Arc<Resource>>,
    config_maps: HashMap<Named, Arc<Resource>>,
    kube_services: Vec<Arc<Resource>>,
    pods: Vec<Arc<Resource>>,
    authorization: Vec<Arc<Resource>>,
    authentication: Vec<Arc<Resource>>,
    rate_limits: Vec<Arc<Resource>>,
    envoy_filters: Vec<Arc<Resource>>,
    sidecars: Vec<Arc<Resource>>,
}

impl World {
    /// Indexes a set whose texts are in `sources`.
    #[must_use]
    pub fn build(set: &ResourceSet, sources: &SourceMap, domain_suffix: &str) -> Self {
        let all = |kind| set.of_kind(kind).map(Arc::clone).collect::<Vec<_>>();
        let named = |kind| {
            set.of_kind(kind)
                .map(|r| (name_of(r), Arc::clone(r)))
                .collect()
        };
        let services = services::index(set, domain_suffix);
        let mut world = Self {
            mesh: mesh::merged(set),
            domain_suffix: domain_suffix.to_owned(),
            files: sources
                .iter()
                .map(|(_, source)| Arc::clone(&source.name))
                .collect(),
            gateways: all(Kind::Gateway),
            virtual_services: all(Kind::VirtualService),
            rules: RuleIndex::build(set, domain_suffix),
            peers: Peers::build(set),
            workloads: sidecars::Workloads::of(&services),
            services,
            networks: networks::gateways(set, domain_suffix),
            secrets: named(Kind::Secret),
            config_maps: named(Kind::ConfigMap),
            kube_services: all(Kind::Service),
            pods: all(Kind::Pod),
            authorization: all(Kind::AuthorizationPolicy),
            authentication: all(Kind::RequestAuthentication),
            rate_limits: all(Kind::RateLimit),
            envoy_filters: all(Kind::EnvoyFilter),
            sidecars: all(Kind::Sidecar),
            ..Self::default()
        };
        for (index, resource) in world.virtual_services.iter().enumerate() {
            world.by_name.insert(name_of(resource), index);
            let Spec::VirtualService(spec) = &resource.spec else {
                continue;
            };
            // the reserved name means sidecars, also beside a Gateway of that name
            for gateway in spec.gateways.iter().filter(|g| *g != "mesh") {
                let list = world
                    .by_gateway
                    .entry(gateway_name(gateway, &resource.meta.namespace))
                    .or_default();
                if list.last() != Some(&index) {
                    list.push(index);
                }
            }
        }
        world
    }

    /// Every Gateway, oldest first.
    pub fn gateways(&self) -> impl Iterator<Item = Typed<'_, api::Gateway>> {
        self.gateways
            .iter()
            .filter_map(|resource| match &resource.spec {
                Spec::Gateway(spec) => Some(Typed {
                    resource,
                    spec: &**spec,
                }),
                _ => None,
            })
    }

    /// Every AuthorizationPolicy, oldest first.
    pub fn authorization_policies(
        &self,
    ) -> impl Iterator<Item = Typed<'_, api::AuthorizationPolicy>> {
        let policies = self.authorization.iter();
        policies.filter_map(|resource| match &resource.spec {
            Spec::AuthorizationPolicy(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        })
    }

    /// Every RequestAuthentication, oldest first.
    pub fn request_authentications(
        &self,
    ) -> impl Iterator<Item = Typed<'_, api::RequestAuthentication>> {
        let rules = self.authentication.iter();
        rules.filter_map(|resource| match &resource.spec {
            Spec::RequestAuthentication(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        })
    }

    /// Every RateLimit, oldest first.
    pub fn rate_limits(&self) -> impl Iterator<Item = Typed<'_, api::RateLimit>> {
        let all = self.rate_limits.iter();
        all.filter_map(|resource| match &resource.spec {
            Spec::RateLimit(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        })
    }

    /// Every EnvoyFilter, oldest first.
    pub fn envoy_filters(&self) -> impl Iterator<Item = Typed<'_, api::EnvoyFilter>> {
        let all = self.envoy_filters.iter();
        all.filter_map(|resource| match &resource.spec {
            Spec::EnvoyFilter(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        })
    }

    /// Namespace whose objects are everybody's.
    #[must_use]
    pub fn root_namespace(&self) -> &str {
        match self.mesh.root_namespace.as_str() {
            "" => "istio-system",
            root => root,
        }
    }

    /// VirtualServices that name a Gateway, oldest first.
    pub fn virtual_services_of(
        &self,
        gateway: &Resource,
    ) -> impl Iterator<Item = Typed<'_, api::VirtualService>> {
        let list = self
            .by_gateway
            .get(&name_of(gateway))
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter()
            .filter_map(|index| self.virtual_service_at(*index))
    }

    /// A VirtualService by name: a delegate.
    #[must_use]
    pub fn virtual_service(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<Typed<'_, api::VirtualService>> {
        let key: Named = (Arc::from(namespace), Arc::from(name));
        self.virtual_service_at(*self.by_name.get(&key)?)
    }

    fn virtual_service_at(&self, index: usize) -> Option<Typed<'_, api::VirtualService>> {
        let resource = self.virtual_services.get(index)?;
        match &resource.spec {
            Spec::VirtualService(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        }
    }

    /// DestinationRules by host.
    #[must_use]
    pub fn rules(&self) -> &RuleIndex {
        &self.rules
    }

    /// What PeerAuthentications demand.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Services of a lower-case host, one per namespace.
    #[must_use]
    pub fn services_of(&self, host: &str) -> &[Service] {
        self.services
            .get(host)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The gateways of a network, in a stable order.
    #[must_use]
    pub fn gateways_of_network(&self, network: &str) -> &[Place] {
        let found = self.networks.get(network);
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// Bytes of a Secret's member, from `data` or `stringData`.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Typed<'_, api::kube::Secret>> {
        let resource = self.secrets.get(&(Arc::from(namespace), Arc::from(name)))?;
        match &resource.spec {
            Spec::Secret(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        }
    }

    /// A ConfigMap by name.
    #[must_use]
    pub fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<Typed<'_, api::kube::ConfigMap>> {
        let resource = self
            .config_maps
            .get(&(Arc::from(namespace), Arc::from(name)))?;
        match &resource.spec {
            Spec::ConfigMap(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        }
    }

    /// Kubernetes Services of a namespace, oldest first.
    pub(crate) fn kube_services(
        &self,
        namespace: &str,
    ) -> impl Iterator<Item = Typed<'_, api::kube::Service>> {
        let here = self
            .kube_services
            .iter()
            .filter(move |r| &*r.meta.namespace == namespace);
        here.filter_map(|resource| match &resource.spec {
            Spec::Service(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        })
    }

    /// Port of a container by name, in any pod of a namespace with these labels.
    pub(crate) fn container_port(
        &self,
        namespace: &str,
        selector: &api::Map<String>,
        name: &str,
    ) -> Option<u16> {
        self.pods
            .iter()
            .filter(|pod| &*pod.meta.namespace == namespace && covers(&pod.meta.labels, selector))
            .find_map(|pod| endpoints::container_port(pod, name))
    }

    /// Where a path of an object was written.
    #[must_use]
    pub fn origin(&self, resource: &Resource, path: String) -> Origin {
        let kind = resource.spec.kind().as_str();
        let location = self.location(resource, &path);
        let (namespace, name) = name_of(resource);
        Origin {
            kind,
            namespace,
            name,
            path,
            location,
        }
    }

    fn location(&self, resource: &Resource, path: &str) -> String {
        let file = usize::try_from(resource.file.0)
            .ok()
            .and_then(|i| self.files.get(i));
        file.map_or_else(String::new, |file| {
            format!("{file}:{}", resource.span_at(path).line)
        })
    }
}

/// Namespace and name of an object.
pub(crate) fn name_of(resource: &Resource) -> Named {
    (
        Arc::clone(&resource.meta.namespace),
        Arc::clone(&resource.meta.name),
    )
}

/// `ns/name`, or a name in the namespace of who says it. `mesh` is no Gateway, and finds none.
pub(crate) fn gateway_name(text: &str, namespace: &Arc<str>) -> Named {
    match text.split_once('/') {
        Some((".", name)) => (Arc::clone(namespace), Arc::from(name)),
        Some((namespace, name)) => (Arc::from(namespace), Arc::from(name)),
        None => (Arc::clone(namespace), Arc::from(text)),
    }
}

/// Whether labels have everything that a selector asks for.
pub(crate) fn covers(labels: &api::Map<String>, selector: &api::Map<String>) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
