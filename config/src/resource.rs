//! Objects: their names, their metadata, and the ordered set of all of them.

use std::sync::Arc;

use crate::api;
use crate::api::Map;
use crate::message::{Cx, FromNode, Message, MessageInfo, same_name};
use crate::source::{FileId, Shift, Span};
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

/// One object. A copy shares the typed object and the tree.
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
    /// Set if tree and object were read, and judged to be good, in an earlier run: how far the text
    /// has moved since.
    pub(crate) moved: Option<Shift>,
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
    /// An object that was just read.
    #[must_use]
    pub fn new(meta: Meta, spec: Spec, node: Arc<Node>, file: FileId) -> Self {
        Self {
            meta,
            spec,
            node,
            file,
            moved: None,
        }
    }

    /// The same object, whose unchanged text is found elsewhere now.
    pub(crate) fn again(&self, file: FileId, order: u64, moved: Shift) -> Self {
        Self {
            meta: Meta {
                order,
                ..self.meta.clone()
            },
            file,
            moved: Some(moved),
            ..self.clone()
        }
    }

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

    /// The place of a field's value, like `spec.http[0].route`, or of its nearest ancestor that
    /// exists; both spellings of a name find it.
    #[must_use]
    pub fn span_at(&self, path: &str) -> Span {
        // the tree of an embedded MeshConfig begins below the key that its paths begin with
        let path = if self.spec.kind() == Kind::MeshConfig {
            path.strip_prefix("mesh").unwrap_or(path)
        } else {
            path
        };
        let span = find(&self.node, path);
        self.moved
            .map_or(span, |shift| shift.apply(span, self.file))
    }

    /// Whether the text has the field at all, be it null.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        walk(&self.node, path).1.is_empty()
    }
}

/// Writes everything that is once per kind, from one list: the kind, the typed object, its
/// decoder, and the iteration over a set.
macro_rules! kinds {
    ($($kind:ident($ty:ty) $group:ident $iter:ident $iter_doc:literal;)*) => {
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

            /// Its API group with the versions that are served.
            pub(crate) fn group(self) -> &'static Group {
                match self {
                    $(Self::$kind => &$group,)*
                }
            }

            /// Fields of its `spec` (of the whole object for Kubernetes' own kinds).
            #[must_use]
            pub fn schema(self) -> &'static MessageInfo {
                match self {
                    $(Self::$kind => <$ty as Message>::INFO,)*
                }
            }
        }

        /// A typed object of some kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Spec {
            $(#[doc = concat!("`", stringify!($kind), "`.")]
            $kind(Arc<$ty>),)*
        }

        impl Spec {
            /// Which kind it is.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            /// An object of a kind with nothing set.
            #[must_use]
            pub fn empty(kind: Kind) -> Self {
                match kind {
                    $(Kind::$kind => Self::$kind(Arc::default()),)*
                }
            }

            /// Decodes an object of a kind; an absent node is an empty message.
            pub(crate) fn decode<'n>(kind: Kind, node: Option<&'n Node>, cx: &mut Cx<'n>) -> Option<Self> {
                match kind {
                    $(Kind::$kind => message_or_default::<$ty>(node, cx).map(|m| Self::$kind(Arc::new(m))),)*
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

/// The place of a path, or of its nearest ancestor.
fn find(node: &Node, path: &str) -> Span {
    walk(node, path).0.span
}

/// Follows a path as far as it exists; what could not be followed comes back.
fn walk<'n, 'p>(mut node: &'n Node, mut path: &'p str) -> (&'n Node, &'p str) {
    loop {
        let step = path.strip_prefix('.').unwrap_or(path);
        let next = match step.strip_prefix('[').and_then(|s| s.split_once(']')) {
            Some((index, rest)) => index
                .parse::<usize>()
                .ok()
                .and_then(|i| node.items().get(i))
                .map(|item| (item, rest)),
            None => longest_key(node, step),
        };
        match next {
            Some((below, rest)) if !step.is_empty() => (node, path) = (below, rest),
            _ => return (node, step),
        }
    }
}

/// The entry whose key begins the path. Keys may have dots, like header names, so the longest wins.
fn longest_key<'n, 'p>(node: &'n Node, path: &'p str) -> Option<(&'n Node, &'p str)> {
    let ends = path
        .match_indices(['.', '['])
        .map(|(i, _)| i)
        .chain([path.len()]);
    let mut best = None;
    for end in ends {
        let (key, rest) = path.split_at(end);
        if let Some(entry) = node.entries().iter().find(|e| same_name(&e.key, key)) {
            best = Some((&entry.value, rest));
        }
    }
    best
}

fn message_or_default<'n, M: Message>(node: Option<&'n Node>, cx: &mut Cx<'n>) -> Option<M> {
    match node {
        Some(node) if !node.is_null() => M::from_node(node, cx),
        _ => Some(M::default()),
    }
}

/// An API group, and which of its versions are read; all versions of a kind have one schema.
#[derive(Debug)]
pub(crate) struct Group {
    /// Name; empty for Kubernetes' core.
    pub(crate) name: &'static str,
    /// Versions, the best first.
    pub(crate) versions: &'static [&'static str],
}

const NETWORKING: Group = Group {
    name: "networking.istio.io",
    versions: &["v1", "v1beta1", "v1alpha3"],
};
const SECURITY: Group = Group {
    name: "security.istio.io",
    versions: &["v1", "v1beta1"],
};
const TELEMETRY: Group = Group {
    name: "telemetry.istio.io",
    versions: &["v1", "v1alpha1"],
};
/// Our own, for what Istio has no kind for.
const SALLYPORT: Group = Group {
    name: "sallyport.io",
    versions: &["v1alpha1"],
};
const INSTALL: Group = Group {
    name: "install.istio.io",
    versions: &["v1alpha1"],
};
const CORE: Group = Group {
    name: "",
    versions: &["v1"],
};
const DISCOVERY: Group = Group {
    name: "discovery.k8s.io",
    versions: &["v1", "v1beta1"],
};
const APPS: Group = Group {
    name: "apps",
    versions: &["v1"],
};
/// Not an object of its own: found inside a ConfigMap.
const EMBEDDED: Group = Group {
    name: "",
    versions: &[],
};

impl Kind {
    /// Whether it is Istio's or our own: `spec` holds the message, and unknown fields are errors.
    #[must_use]
    pub fn is_istio(self) -> bool {
        let group = self.group().name;
        group.ends_with(".istio.io") || group == SALLYPORT.name
    }

    /// Whether its objects are outside namespaces.
    #[must_use]
    pub fn is_cluster_scoped(self) -> bool {
        self == Self::Namespace
    }
}

kinds! {
    Gateway(api::Gateway) NETWORKING gateways "Gateway";
    VirtualService(api::VirtualService) NETWORKING virtual_services "VirtualService";
    DestinationRule(api::DestinationRule) NETWORKING destination_rules "DestinationRule";
    ServiceEntry(api::ServiceEntry) NETWORKING service_entries "ServiceEntry";
    WorkloadEntry(api::WorkloadEntry) NETWORKING workload_entries "WorkloadEntry";
    WorkloadGroup(api::WorkloadGroup) NETWORKING workload_groups "WorkloadGroup";
    Sidecar(api::Sidecar) NETWORKING sidecars "Sidecar";
    ProxyConfig(api::ProxyConfig) NETWORKING proxy_configs "ProxyConfig";
    EnvoyFilter(api::EnvoyFilter) NETWORKING envoy_filters "EnvoyFilter";
    PeerAuthentication(api::PeerAuthentication) SECURITY peer_authentications "PeerAuthentication";
    RequestAuthentication(api::RequestAuthentication) SECURITY request_authentications "RequestAuthentication";
    AuthorizationPolicy(api::AuthorizationPolicy) SECURITY authorization_policies "AuthorizationPolicy";
    RateLimit(api::RateLimit) SALLYPORT rate_limits "RateLimit";
    Telemetry(api::Telemetry) TELEMETRY telemetries "Telemetry";
    IstioOperator(api::IstioOperator) INSTALL istio_operators "IstioOperator";
    MeshConfig(api::MeshConfig) EMBEDDED mesh_configs "MeshConfig";
    Service(api::kube::Service) CORE services "Service";
    EndpointSlice(api::kube::EndpointSlice) DISCOVERY endpoint_slices "EndpointSlice";
    Endpoints(api::kube::Endpoints) CORE endpoints "Endpoints";
    Secret(api::kube::Secret) CORE secrets "Secret";
    ConfigMap(api::kube::ConfigMap) CORE config_maps "ConfigMap";
    Namespace(api::kube::Namespace) CORE namespaces "Namespace";
    Pod(api::kube::Pod) CORE pods "Pod";
    Deployment(api::kube::Deployment) APPS deployments "Deployment";
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

#[cfg(test)]
mod tests {
    use super::{Key, Kind, ResourceSet};
    use crate::parse;

    fn services(names: &[(&str, &str)]) -> Vec<super::Resource> {
        let one = |(name, host): &(&str, &str)| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{externalName: {host}}}\n---\n"
            )
        };
        let text: String = names.iter().map(one).collect();
        let parsed = parse(&[("f".to_owned(), text)]);
        parsed
            .set
            .iter()
            .map(|r| super::Resource::clone(r))
            .collect()
    }

    fn listed(set: &ResourceSet) -> String {
        let one = |(r, s): (&super::Resource, &crate::api::kube::Service)| {
            format!("{}={}", r.meta.name, s.spec.as_ref().unwrap().external_name)
        };
        set.services().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn objects_are_known_by_key_and_listed_by_age() {
        let mut set = ResourceSet::default();
        for resource in services(&[("b", "x"), ("a", "x")]) {
            assert!(set.insert(resource).is_none());
        }
        assert_eq!(listed(&set), "b=x a=x");
        let newer = services(&[("z", "y"), ("b", "y")]).pop().unwrap();
        assert_eq!(
            set.insert(newer).map(|r| r.meta.order),
            Some(0),
            "the old one comes back"
        );
        assert_eq!(
            (listed(&set).as_str(), set.len()),
            ("a=x b=y", 2),
            "same order, then by name"
        );
        let key = |name: &str| Key {
            kind: Kind::Service,
            namespace: "default".into(),
            name: name.into(),
        };
        assert!(set.get(&key("a")).is_some() && set.remove(&key("a")).is_some());
        assert!(set.get(&key("a")).is_none() && set.remove(&key("a")).is_none());
        assert_eq!((listed(&set).as_str(), set.is_empty()), ("b=y", false));
        assert_eq!(set.gateways().count(), 0);
        assert_eq!(key("a").to_string(), "Service default/a");
    }

    #[test]
    fn keys_with_dots_are_found_in_paths() {
        let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  http:\n  - match:\n    \
                    - headers:\n        x.a: {exact: b}\n        x: {exact: c}\n      withoutHeaders: {x: {exact: d}}\n";
        let parsed = parse(&[("f".to_owned(), text.to_owned())]);
        let (resource, _) = parsed.set.virtual_services().next().unwrap();
        let cases = [
            ("spec.http[0].match[0].headers.x.a.exact", "b"),
            ("spec.http[0].match[0].headers.x.exact", "c"),
            ("spec.http[0].match[0].without_headers.x.exact", "d"),
            ("spec.http[0].match[0].headers.x.exact.more", "c"),
        ];
        for (path, want) in cases {
            assert_eq!(parsed.sources.text(resource.span_at(path)), want, "{path}");
        }
    }
}
