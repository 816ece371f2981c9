//! TLS towards clients: from certificates to handshake configurations, one per filter chain, built
//! on the side thread and shared by all workers.
//!
//! What cannot be built refuses handshakes and is reported; a mode that is not served is never
//! replaced by a weaker one.

mod build;
pub(crate) mod handshake;
mod quic;
pub(crate) mod session;
mod suites;

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use sallyport_config::ir::{ListenerKind, Snapshot};
use sallyport_core::tables::{ChainIdx, ListenerIdx};

pub(crate) use quic::serves_quic;

/// Handshake configurations of all filter chains of one generation.
#[derive(Debug, Default)]
pub(crate) struct TlsConfigs {
    chains: HashMap<(ListenerIdx, ChainIdx), Arc<ServerConfig>>,
}

/// A chain that refuses handshakes, or a certificate of it that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsProblem {
    /// Listener that the chain belongs to.
    pub(crate) listener: String,
    /// The chain's name.
    pub(crate) chain: String,
    /// The certificate concerned, empty when the chain itself is.
    pub(crate) certificate: String,
    /// What is wrong, in words for the operator.
    pub(crate) reason: String,
}

impl TlsConfigs {
    /// Builds what can be built; the rest is reported. Reads certificate files.
    pub(crate) fn build(snapshot: &Snapshot) -> (Self, Vec<TlsProblem>) {
        let mut configs = Self::default();
        let mut problems = Vec::new();
        let mut builder = build::Builder::new(snapshot);
        for (listener, index) in snapshot.listeners.iter().zip(0_u32..) {
            let ListenerKind::Tls(chains) = &listener.kind else {
                continue;
            };
            for (chain, chain_index) in chains.iter().zip(0_u32..) {
                let Some(tls) = &chain.tls else { continue };
                let mut report = |certificate: &str, reason: String| {
                    problems.push(TlsProblem {
                        listener: listener.name.clone(),
                        chain: chain.name.clone(),
                        certificate: certificate.to_owned(),
                        reason,
                    });
                };
                match builder.chain(tls, &mut report) {
                    Ok(config) => {
                        let at = (ListenerIdx(index), ChainIdx(chain_index));
                        configs.chains.insert(at, config);
                    }
                    Err(reason) => report("", reason),
                }
            }
        }
        (configs, problems)
    }

    /// The configuration of a chain; `None` when it refuses handshakes.
    pub(crate) fn of(&self, listener: ListenerIdx, chain: ChainIdx) -> Option<&Arc<ServerConfig>> {
        self.chains.get(&(listener, chain))
    }
}

#[cfg(test)]
mod tests;
