//! One generation of configuration, ready to serve: built once on the side thread, shared by all
//! workers, never changed.
//!
//! A worker swaps its generation between two requests. A request keeps the one that it began with;
//! sockets and connections belong to none.

mod serving;

use std::sync::Arc;

use sallyport_config::ir::Snapshot;
use sallyport_core::tables::Tables;

use crate::tls::{TlsConfigs, TlsProblem};

pub(crate) use serving::Serving;

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
    /// Its settings, as the parsers and the header rules take them.
    pub(crate) serving: Serving,
}

impl Generation {
    /// Arranges a snapshot for serving. Reads certificate files and computes indexes, so it
    /// belongs on the side thread. Chains whose certificates are broken refuse handshakes; each is
    /// reported, and all else is served.
    pub(crate) fn build(id: u64, snapshot: Arc<Snapshot>) -> (Self, Vec<TlsProblem>) {
        let (tls, problems) = TlsConfigs::build(&snapshot);
        let generation = Self {
            id,
            tables: Arc::new(Tables::build(Arc::clone(&snapshot))),
            tls: Arc::new(tls),
            serving: Serving::new(&snapshot.settings),
            snapshot,
        };
        (generation, problems)
    }
}
