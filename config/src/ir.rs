//! Everything one proxy must do, and nothing else.
//!
//! A [`Snapshot`] is plain data: `Eq + Hash`, explicit order, ids instead of references, every
//! default already applied. It is the only thing that leaves the compiler. Three consumers read
//! it: the gateway's tables (indexed for speed), the lowering to Envoy (control), and
//! [`crate::model`], the naive interpreter that says what should happen.
//!
//! Broken input is a value here, not an error: a route whose delegate is missing or whose regex
//! does not compile is [`Action::Fail`], a chain without certificate refuses handshakes, and all
//! else is served.

mod authorizer;
mod cluster;
mod limit;
mod listener;
mod policy;
mod route;
mod settings;
mod sidecar;
mod tls;
mod traffic;

pub use authorizer::*;
pub use cluster::*;
pub use limit::*;
pub use listener::*;
pub use policy::*;
pub use route::*;
pub use settings::*;
pub use sidecar::*;
pub use tls::*;
pub use traffic::*;

use std::fmt;
use std::sync::Arc;

/// Index of a [`RouteTable`] in [`Snapshot::route_tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteTableId(pub u32);

/// Index of a [`Cluster`] in [`Snapshot::clusters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u32);

/// Index of a [`Certificate`] in [`Snapshot::certificates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId(pub u32);

/// A duration in whole milliseconds, the resolution that Istio's API has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

/// A share in parts per million, because a float is neither `Eq` nor `Hash`. 1_000_000 is always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ppm(pub u32);

impl Ppm {
    /// Always.
    pub const ALL: Self = Self(1_000_000);
    /// Whether a die thrown uniformly in `0..1_000_000` falls into this share.
    #[must_use]
    pub fn hit(self, die: u32) -> bool {
        die < self.0
    }
}

/// Where something in the snapshot was written: for access logs, `explain` and diagnostics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Kind of the resource, e.g. `VirtualService`.
    pub kind: &'static str,
    /// Namespace of the resource.
    pub namespace: Arc<str>,
    /// Name of the resource.
    pub name: Arc<str>,
    /// Path inside the resource, e.g. `spec.http[0].match[1]`.
    pub path: String,
    /// `file:line` of that path, empty when the resource did not come from text.
    pub location: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/{} {}",
            self.kind, self.namespace, self.name, self.path
        )
    }
}

/// Everything one proxy must do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Snapshot {
    /// Mesh-wide and proxy-wide settings.
    pub settings: Settings,
    /// Sockets to bind, ordered by (port, bind).
    pub listeners: Vec<Listener>,
    /// Host-to-routes tables, referenced by listeners.
    pub route_tables: Vec<RouteTable>,
    /// Upstreams, ordered by name.
    pub clusters: Vec<Cluster>,
    /// Certificates, referenced by filter chains and clusters.
    pub certificates: Vec<Certificate>,
    /// Who may pass.
    pub policies: Policies,
    /// How many may, in the order in which they are asked.
    pub limits: Vec<Limit>,
}
