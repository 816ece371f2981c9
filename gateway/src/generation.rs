//! One generation of configuration, ready to serve: built once on the side thread, shared by all
//! workers, never changed.
//!
//! A worker swaps its generation between two requests. A request keeps the one that it began with;
//! sockets and connections belong to none.
//!
//! What is learned while a configuration is served (addresses of names, keys of issuers) makes a generation of the
//! same number that shares everything else with the one before.

mod rings;
mod serving;

use std::sync::Arc;

use sallyport_config::ir::{Cluster, ClusterId, Snapshot};
use sallyport_core::admit::KeyStore;
use sallyport_core::balance::Rings;
use sallyport_core::tables::Tables;

use crate::quic;
use crate::tls::{TlsConfigs, TlsProblem};

pub(crate) use serving::{Http2, Serving};

/// Everything that a request needs to know, in the form that is quickest to ask.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Counts up from 1; later is newer.
    pub(crate) id: u64,
    /// What it was built from.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The snapshot arranged for speed.
    pub(crate) tables: Arc<Tables>,
    /// Handshake configurations of its filter chains.
    pub(crate) tls: Arc<TlsConfigs>,
    /// Handshake configurations of the listeners that serve HTTP/3.
    pub(crate) quic: Arc<quic::Configs>,
    /// Its settings, as the parsers and the header rules take them.
    pub(crate) serving: Arc<Serving>,
    found: Found,
    /// What the hashes of its clusters are looked up in.
    rings: rings::All,
    /// Keys of token issuers that were fetched.
    pub(crate) keys: Arc<KeyStore>,
}

/// Clusters by id whose endpoints are not all in the snapshot, with all their endpoints; empty when
/// there are none.
pub(crate) type Found = Arc<[Option<Arc<Cluster>>]>;

impl Generation {
    /// Arranges a snapshot for serving. Reads certificate files and computes indexes, so it
    /// belongs on the side thread. Chains whose certificates are broken refuse handshakes; each is
    /// reported, and all else is served.
    pub(crate) fn build(id: u64, snapshot: Arc<Snapshot>) -> (Self, Vec<TlsProblem>) {
        let (tls, problems) = TlsConfigs::build(&snapshot);
        let tables = Arc::new(Tables::build(Arc::clone(&snapshot)));
        let generation = Self {
            id,
            quic: Arc::new(quic::Configs::build(&snapshot, &tables, &tls)),
            tables,
            tls: Arc::new(tls),
            serving: Arc::new(Serving::new(&snapshot.settings)),
            snapshot,
            found: Found::default(),
            rings: rings::All::default(),
            keys: Arc::default(),
        };
        (generation, problems)
    }

    /// The same with other endpoints and keys; what hashes are looked up in is still to be made.
    pub(crate) fn with(&self, found: Found, keys: Arc<KeyStore>) -> Self {
        Self {
            id: self.id,
            snapshot: Arc::clone(&self.snapshot),
            tables: Arc::clone(&self.tables),
            tls: Arc::clone(&self.tls),
            quic: Arc::clone(&self.quic),
            serving: Arc::clone(&self.serving),
            found,
            rings: rings::All::default(),
            keys,
        }
    }

    /// The same with what hashes are looked up in, as far as possible that of the one before. Takes
    /// its time, so it belongs on a thread of its own.
    pub(crate) fn with_rings(self, before: &Self) -> Self {
        Self {
            rings: rings::of(&self, before),
            ..self
        }
    }

    /// What the hashes of a cluster are looked up in, if that was made.
    pub(crate) fn rings(&self, id: ClusterId) -> Option<Arc<Rings>> {
        let index = usize::try_from(id.0).ok()?;
        self.rings.get(index)?.clone()
    }

    /// The endpoints that were found.
    pub(crate) fn found(&self) -> &Found {
        &self.found
    }

    /// A cluster with all its endpoints.
    pub(crate) fn cluster(&self, id: ClusterId) -> Option<&Cluster> {
        let found = usize::try_from(id.0).ok();
        let found = found.and_then(|index| self.found.get(index)?.as_deref());
        found.or_else(|| self.tables.cluster(id))
    }

    /// All clusters with all their endpoints.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        let clusters = self.snapshot.clusters.iter().enumerate();
        clusters.map(|(index, cluster)| {
            let found = self.found.get(index).and_then(Option::as_deref);
            found.unwrap_or(cluster)
        })
    }

    /// Whether a cluster is the very same in a generation that followed this one without another
    /// configuration in between.
    pub(crate) fn shares(&self, other: &Self, index: usize) -> bool {
        let found = |generation: &Self| {
            let found = generation.found.get(index).and_then(Option::as_ref);
            found.map(Arc::as_ptr)
        };
        Arc::ptr_eq(&self.tables, &other.tables) && found(self) == found(other)
    }
}
