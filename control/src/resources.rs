//! What one proxy is given: by type, resources by name, each encoded once and with the hash of its
//! content, which is its version. Equal content is never sent twice.

mod canonical;
mod layer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use prost::{Message, Name};
use sallyport_wire::document;
use sha2::{Digest as _, Sha256};

use canonical::canonical;
use layer::Types;

pub use layer::{Layer, Pool};

/// Types of resources, in the order in which changes of them are pushed: clusters before the
/// endpoints that they wait for, listeners before the routes that they ask for (ordering rules of
/// the xDS protocol, "eventual consistency considerations").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TypeUrl {
    /// `envoy.config.cluster.v3.Cluster`
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`
    Endpoints,
    /// `envoy.config.listener.v3.Listener`
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`
    Route,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`
    Secret,
    /// `envoy.config.core.v3.TypedExtensionConfig`
    Extension,
    /// `sallyport.config.v1.SecretDocument`: Secrets for our gateways
    SecretDocument,
    /// `sallyport.config.v1.Document`: all else for our gateways
    Document,
}

impl TypeUrl {
    /// All types in push order.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Listener,
        Self::Route,
        Self::Secret,
        Self::Extension,
        Self::SecretDocument,
        Self::Document,
    ];

    /// The URL, as it stands in requests and in `Any`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::SecretDocument => document::SECRET_DOCUMENT,
            Self::Document => document::DOCUMENT,
        }
    }

    /// The type of a URL, if it is one of ours.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.as_str() == url)
    }

    /// Short name, as in metrics and in `proxy-status`.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoints => "eds",
            Self::Listener => "lds",
            Self::Route => "rds",
            Self::Secret => "sds",
            Self::Extension => "ecds",
            Self::SecretDocument => "credentials",
            Self::Document => "config",
        }
    }

    /// A request without names asks for all resources of these types; others are asked for by
    /// name only.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.is_documents() || matches!(self, Self::Cluster | Self::Listener)
    }

    /// Texts for our gateways. What changes at one time comes in one response, because each
    /// response is compiled.
    #[must_use]
    pub fn is_documents(self) -> bool {
        matches!(self, Self::SecretDocument | Self::Document)
    }

    /// What is gone is taken away together with what is new, because nothing refers to it.
    #[must_use]
    pub fn ends_references(self) -> bool {
        matches!(self, Self::Listener | Self::Document)
    }

    /// There are keys in it.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::SecretDocument)
    }
}

impl fmt::Display for TypeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Hash of a resource's content: half of a SHA-256, so that it is the same in every process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u128);

impl Version {
    /// The hash of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let half = digest.iter().take(size_of::<u128>());
        Self(half.fold(0, |hash, byte| hash << 8 | u128::from(*byte)))
    }
}

impl Version {
    /// A version that no content of ours has: something else, or older than this program.
    pub const OTHER: Self = Self(0);

    /// The hash as a number.
    #[must_use]
    pub fn bits(self) -> u128 {
        self.0
    }
}

impl FromStr for Version {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

/// One resource, encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Name, unique in its type.
    pub name: Arc<str>,
    /// Hash of `body`.
    pub version: Version,
    /// The message, encoded: what goes into the `value` of an `Any`. All who are sent it share it.
    pub body: Bytes,
}

impl Resource {
    /// Encodes a message. Its map fields may have any order: they are sorted here.
    pub fn new<M: Message + Name>(name: impl Into<Arc<str>>, message: &M) -> Self {
        let body = canonical(&M::type_url(), message.encode_to_vec());
        Self {
            name: name.into(),
            version: Version::of(&body),
            body: body.into(),
        }
    }

    /// The same for a message without maps.
    pub fn plain<M: Message>(name: impl Into<Arc<str>>, message: &M) -> Self {
        let body = message.encode_to_vec();
        Self {
            name: name.into(),
            version: Version::of(&body),
            body: body.into(),
        }
    }
}

// bodies are long, and those of secrets hold keys
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({}, {} bytes)", self.name, self.body.len())
    }
}

/// Everything that one proxy is given: what is its own, over what it shares with others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    types: Types,
    shared: Option<Arc<Layer>>,
}

impl Resources {
    /// Adds a resource; one of the same type and name is replaced.
    pub fn insert(&mut self, ty: TypeUrl, resource: Resource) {
        self.insert_shared(ty, Arc::new(resource));
    }

    /// The same with a resource that others have as well.
    pub fn insert_shared(&mut self, ty: TypeUrl, resource: Arc<Resource>) {
        let of_type = self.types.entry(ty).or_default();
        of_type.insert(Arc::clone(&resource.name), resource);
    }

    /// A layer of these; `before` itself if they are the same as that.
    #[must_use]
    pub fn into_layer(self, before: Option<&Arc<Layer>>, pool: &Pool) -> Arc<Layer> {
        Layer::new(self.types, before, pool)
    }

    /// The same over a layer.
    #[must_use]
    pub fn over(mut self, layer: Arc<Layer>) -> Self {
        // who may see keys differs: they are everybody's own
        for (ty, secrets) in layer.types.iter().filter(|(ty, _)| ty.is_secret()) {
            let own = self.types.entry(*ty).or_default();
            own.extend(secrets.iter().map(|(n, r)| (Arc::clone(n), Arc::clone(r))));
        }
        self.shared = Some(layer);
        self
    }

    /// The same, with everything that is as it was taken from `before`: versions are compared, not
    /// contents. It is `before` itself if nothing changed.
    #[must_use]
    pub fn sharing(mut self, before: &Arc<Self>) -> Arc<Self> {
        let layer = |of: &Self| of.shared.as_ref().map(Arc::as_ptr);
        let mut same = layer(&self) == layer(before) && self.types.len() == before.types.len();
        for (ty, resources) in &mut self.types {
            let old = before.types.get(ty);
            same &= old.is_some_and(|old| old.len() == resources.len());
            for (name, resource) in resources {
                match old.and_then(|old| old.get(name)) {
                    Some(old) if old.version == resource.version => *resource = Arc::clone(old),
                    _ => same = false,
                }
            }
        }
        if same {
            Arc::clone(before)
        } else {
            Arc::new(self)
        }
    }

    /// Whether there are keys among them.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.types.keys().any(|ty| ty.is_secret())
    }

    /// The same without keys.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut rest = self.clone();
        rest.types.retain(|ty, _| !ty.is_secret());
        rest
    }

    /// The layer's resources of a type.
    fn below(&self, ty: TypeUrl) -> Option<&BTreeMap<Arc<str>, Arc<Resource>>> {
        let layer = self.shared.as_ref().filter(|_| !ty.is_secret());
        layer?.types.get(&ty)
    }

    /// The resources of a type, each once; none when there are none.
    pub fn of_type(&self, ty: TypeUrl) -> impl Iterator<Item = &Arc<Resource>> {
        let own = self.types.get(&ty);
        let below = self.below(ty).into_iter().flatten();
        let below = below.filter(move |(name, _)| own.is_none_or(|own| !own.contains_key(*name)));
        let below = below.map(|(_, resource)| resource);
        own.into_iter().flat_map(BTreeMap::values).chain(below)
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, ty: TypeUrl, name: &str) -> Option<&Arc<Resource>> {
        let own = self.types.get(&ty).and_then(|own| own.get(name));
        own.or_else(|| self.below(ty)?.get(name))
    }

    /// Version of a resource as clients know it. That of an assignment says its cluster's as well:
    /// a client that comes back with a newer cluster than its endpoints is still warming it.
    #[must_use]
    pub fn version(&self, ty: TypeUrl, resource: &Resource) -> Version {
        match ty {
            TypeUrl::Endpoints => {
                let cluster = self.get(TypeUrl::Cluster, &resource.name);
                let cluster = cluster.map_or(0, |cluster| cluster.version.0);
                Version(resource.version.0 ^ cluster)
            }
            _ => resource.version,
        }
    }

    /// How many there are of a type.
    #[must_use]
    pub fn count(&self, ty: TypeUrl) -> usize {
        let (own, below) = (self.types.get(&ty), self.below(ty));
        let length = |map: Option<&BTreeMap<_, _>>| map.map_or(0, BTreeMap::len);
        let both = own.zip(below).map_or(0, |(own, below)| {
            own.keys().filter(|name| below.contains_key(*name)).count()
        });
        length(own) + length(below) - both
    }

    /// Names of a type of which alone the version may be another than in `from`; `None` if that
    /// takes a comparison.
    #[must_use]
    pub fn changes(&self, from: &Self, ty: TypeUrl) -> Option<BTreeSet<Arc<str>>> {
        let mut names = BTreeSet::new();
        // versions of assignments say those of clusters as well
        let types = [
            Some(ty),
            (ty == TypeUrl::Endpoints).then_some(TypeUrl::Cluster),
        ];
        for ty in types.into_iter().flatten() {
            match (&self.shared, &from.shared) {
                (Some(new), Some(old)) => {
                    names.extend(new.changes(old, ty)?.iter().map(Arc::clone));
                }
                (None, None) => {}
                _ => return None,
            }
            let both = [self, from].map(|of| of.types.get(&ty));
            let both = both.into_iter().flatten();
            names.extend(both.flat_map(BTreeMap::keys).map(Arc::clone));
        }
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_wire::envoy::envoy::config::cluster::v3::Cluster;

    fn cluster(name: &str) -> Cluster {
        Cluster {
            name: name.to_owned(),
            ..Cluster::default()
        }
    }

    #[test]
    fn equal_content_has_an_equal_version() {
        let (a, b) = (cluster("a"), cluster("b"));
        assert_eq!(Resource::new("a", &a), Resource::new("a", &a.clone()));
        let versions = [&a, &b].map(|c| Resource::new("a", c).version);
        assert_ne!(versions[0], versions[1]);
        assert_eq!(
            Version::of(b"").to_string(),
            "e3b0c44298fc1c149afbf4c8996fb924"
        );
    }

    #[test]
    fn urls_are_read_as_they_are_written() {
        for ty in TypeUrl::ALL {
            assert_eq!(TypeUrl::parse(ty.as_str()), Some(ty));
        }
        assert_eq!(TypeUrl::parse("type.googleapis.com/x.Y"), None);
    }
}
