//! Objects: their names, their metadata, and the ordered set of all of them.

use std::sync::Arc;

use crate::api;
use crate::api::Map;
use crate::source::{FileId, Span};
use crate::yaml::Node;

/// Name of an object: what makes two documents the same object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kind, without group or version: those are unambiguous among the kinds read here.
    pub kind: Kind,
    /// Namespace; `default` when the text names none, empty for kinds outside namespaces.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Metadata of an object, as far as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// Name.
    pub name: Arc<str>,
    /// Namespace; `default` when the text names none.
    pub namespace: Arc<str>,
    /// Labels.
    pub labels: Map<String>,
    /// Annotations.
    pub annotations: Map<String>,
    /// Creation, in seconds since 1970; none when the text has no `creationTimestamp`.
    pub creation: Option<i64>,
    /// Place among all documents of the run: files by name, then documents in order.
    pub order: u64,
}

/// One object.
#[derive(Clone)]
pub struct Resource {
    /// Metadata.
    pub meta: Meta,
    /// The typed object.
    pub spec: Spec,
    /// The whole document as a tree.
    pub node: Arc<Node>,
    /// The file it came from.
    pub file: FileId,
}

// the tree of a Secret is the secret: Debug leaves it out
impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resource")
            .field("meta", &self.meta)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl Resource {
    /// Its name.
    #[must_use]
    pub fn key(&self) -> Key {
        let namespace = if self.spec.kind() == Kind::Namespace {
            Arc::from("")
        } else {
            Arc::clone(&self.meta.namespace)
        };
        Key {
            kind: self.spec.kind(),
            namespace,
            name: Arc::clone(&self.meta.name),
        }
    }

    /// The place of a field like `spec.http[0].route`, or of its nearest ancestor that exists.
    #[must_use]
    pub fn span_at(&self, path: &str) -> Span {
        let _ = path;
        self.node.span
    }
}

/// Writes everything that is once per kind, from one list: the kind, the typed object, and the
/// iteration over a set.
macro_rules! kinds {
    ($($kind:ident($ty:ty) $iter:ident $iter_doc:literal;)*) => {
        /// A kind of object that is read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", stringify!($kind), "`.")]
            $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its name as in `kind:`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }
        }

        /// A typed object of some kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Spec {
            $(#[doc = concat!("`", stringify!($kind), "`.")]
            $kind(Box<$ty>),)*
        }

        impl Spec {
            /// Which kind it is.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }
        }

        impl ResourceSet {
            $(#[doc = concat!("Every ", $iter_doc, ", oldest first; see [`Self::of_kind`].")]
            pub fn $iter(&self) -> impl Iterator<Item = (&Resource, &$ty)> {
                self.of_kind(Kind::$kind).filter_map(|r| match &r.spec {
                    Spec::$kind(spec) => Some((&**r, &**spec)),
                    _ => None,
                })
            })*
        }
    };
}

kinds! {
    Gateway(api::Gateway) gateways "Gateway";
    VirtualService(api::VirtualService) virtual_services "VirtualService";
    DestinationRule(api::DestinationRule) destination_rules "DestinationRule";
    ServiceEntry(api::ServiceEntry) service_entries "ServiceEntry";
    WorkloadEntry(api::WorkloadEntry) workload_entries "WorkloadEntry";
    WorkloadGroup(api::WorkloadGroup) workload_groups "WorkloadGroup";
    Sidecar(api::Sidecar) sidecars "Sidecar";
    ProxyConfig(api::ProxyConfig) proxy_configs "ProxyConfig";
    EnvoyFilter(api::EnvoyFilter) envoy_filters "EnvoyFilter";
    PeerAuthentication(api::PeerAuthentication) peer_authentications "PeerAuthentication";
    RequestAuthentication(api::RequestAuthentication) request_authentications "RequestAuthentication";
    AuthorizationPolicy(api::AuthorizationPolicy) authorization_policies "AuthorizationPolicy";
    Telemetry(api::Telemetry) telemetries "Telemetry";
    IstioOperator(api::IstioOperator) istio_operators "IstioOperator";
    MeshConfig(api::MeshConfig) mesh_configs "MeshConfig";
    Service(api::kube::Service) services "Service";
    EndpointSlice(api::kube::EndpointSlice) endpoint_slices "EndpointSlice";
    Endpoints(api::kube::Endpoints) endpoints "Endpoints";
    Secret(api::kube::Secret) secrets "Secret";
    ConfigMap(api::kube::ConfigMap) config_maps "ConfigMap";
    Namespace(api::kube::Namespace) namespaces "Namespace";
    Pod(api::kube::Pod) pods "Pod";
    Deployment(api::kube::Deployment) deployments "Deployment";
}

/// All objects, by kind, and in a kind by age.
#[derive(Debug, Clone, Default)]
pub struct ResourceSet {
    by_age: std::collections::BTreeMap<Age, Arc<Resource>>,
    by_key: std::collections::BTreeMap<Key, Age>,
}

/// Sorts objects of a kind: timestamp, then order of the text, then name, then namespace. Without
/// a timestamp an object is as old as if it had been there from the start.
type Age = (Kind, Option<i64>, u64, Arc<str>, Arc<str>);

fn age(resource: &Resource) -> Age {
    let meta = &resource.meta;
    (
        resource.spec.kind(),
        meta.creation,
        meta.order,
        Arc::clone(&meta.name),
        Arc::clone(&meta.namespace),
    )
}

impl ResourceSet {
    /// Adds an object and returns the one of the same key that it replaces.
    pub fn insert(&mut self, resource: Resource) -> Option<Arc<Resource>> {
        let old = self.remove(&resource.key());
        let age = age(&resource);
        self.by_key.insert(resource.key(), age.clone());
        self.by_age.insert(age, Arc::new(resource));
        old
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Resource>> {
        let age = self.by_key.remove(key)?;
        self.by_age.remove(&age)
    }

    /// The object of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Resource>> {
        self.by_age.get(self.by_key.get(key)?)
    }

    /// Every object: by kind, and in a kind by age.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_age.values()
    }

    /// Objects of a kind in Istio's order of precedence: by creation timestamp, those without one
    /// by the order of the text, then by name and namespace.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        let none: Arc<str> = Arc::from("");
        let from: Age = (kind, None, 0, Arc::clone(&none), none);
        self.by_age
            .range(from..)
            .take_while(move |(age, _)| age.0 == kind)
            .map(|(_, r)| r)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}
