//! One generation of configuration, ready to serve: built once on the side thread, shared by all
//! workers, never changed.
//!
//! A worker swaps its generation between two requests. A request keeps the one that it began with;
//! sockets and connections belong to none.

use std::sync::Arc;

use sallyport_config::ir::Snapshot;

use crate::tls::{TlsConfigs, TlsProblem};

/// Everything that a request needs to know, in the form that is quickest to ask.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Counts up from 1; later is newer.
    pub(crate) id: u64,
    /// What it was built from.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Handshake configurations of its filter chains.
    pub(crate) tls: Arc<TlsConfigs>,
}

impl Generation {
    /// Arranges a snapshot for serving. Reads certificate files and computes indexes, so it
    /// belongs on the side thread. Chains whose certificates are broken refuse handshakes; each is
    /// reported, and all else is served.
    pub(crate) fn build(id: u64, snapshot: Arc<Snapshot>) -> (Self, Vec<TlsProblem>) {
        let (tls, problems) = TlsConfigs::build(&snapshot);
        let generation = Self {
            id,
            snapshot,
            tls: Arc::new(tls),
        };
        (generation, problems)
    }
}
