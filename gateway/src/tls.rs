//! TLS towards clients and upstreams: from certificates to handshake configurations, one per filter
//! chain and cluster, built on the side thread and shared by all workers.
//!
//! What cannot be built refuses handshakes and is reported; a mode that is not served is never
//! replaced by a weaker one.

mod build;
pub(crate) mod client;
pub(crate) mod handshake;
mod material;
mod peer;
mod quic;
pub(crate) mod session;
mod suites;
mod trust;
mod visitor;

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use sallyport_config::ir::{ClusterId, ListenerKind, ServerTls, Service, Snapshot};
use sallyport_core::tables::{ChainIdx, ListenerIdx};

use client::Security;
use material::Material;
pub(crate) use peer::Peer;
pub(crate) use quic::serves_quic;
use session::Session;
pub(crate) use trust::system_bundle;

/// Handshake configurations of all filter chains and clusters of one generation.
#[derive(Debug, Default)]
pub(crate) struct TlsConfigs {
    chains: HashMap<(ListenerIdx, ChainIdx), Arc<ServerConfig>>,
    clusters: Vec<Security>,
    /// URIs of the certificate that a chain shows, where it asks for one.
    own: HashMap<(ListenerIdx, ChainIdx), Vec<String>>,
}

/// A chain that refuses handshakes, or a certificate of it that is not used, or a cluster that is
/// not spoken to, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsProblem {
    /// The listener and the chain, or the cluster.
    pub(crate) about: String,
    /// The certificate concerned, empty when the whole is.
    pub(crate) certificate: String,
    /// What is wrong, in words for the operator.
    pub(crate) reason: String,
}

impl TlsConfigs {
    /// Builds what can be built; the rest is reported. Reads certificate files.
    pub(crate) fn build(snapshot: &Snapshot) -> (Self, Vec<TlsProblem>) {
        let mut configs = Self::default();
        let mut problems = Vec::new();
        let mut material = Material::new(snapshot);
        for (listener, index) in snapshot.listeners.iter().zip(0_u32..) {
            let ListenerKind::Tls(chains) = &listener.kind else {
                continue;
            };
            for (chain, chain_index) in chains.iter().zip(0_u32..) {
                let Some(tls) = &chain.tls else { continue };
                let mut report = |certificate: &str, reason: String| {
                    problems.push(TlsProblem {
                        about: format!("listener {}, server {}", listener.name, chain.name),
                        certificate: certificate.to_owned(),
                        reason,
                    });
                };
                let http = matches!(chain.service, Service::Http(_));
                match build::chain(&mut material, tls, http, &mut report) {
                    Ok(config) => {
                        let at = (ListenerIdx(index), ChainIdx(chain_index));
                        configs.chains.insert(at, config);
                        if let Some(uris) = own_uris(&mut material, tls) {
                            configs.own.insert(at, uris);
                        }
                    }
                    Err(reason) => report("", reason),
                }
            }
        }
        let builder = client::Builder::new();
        for cluster in &snapshot.clusters {
            let security = builder.cluster(&mut material, cluster);
            let security = security.unwrap_or_else(|reason| {
                problems.push(TlsProblem {
                    about: format!("cluster {}", cluster.name),
                    certificate: String::new(),
                    reason: format!("requests are refused: {reason}"),
                });
                Security::Refused
            });
            configs.clusters.push(security);
        }
        (configs, problems)
    }

    /// TLS towards a cluster.
    pub(crate) fn towards(&self, cluster: ClusterId) -> Security {
        let index = usize::try_from(cluster.0).ok();
        let found = index.and_then(|index| self.clusters.get(index));
        // A cluster of another generation: nothing is known, so nothing is allowed.
        found.cloned().unwrap_or(Security::Refused)
    }

    /// The client of a connection, as its certificate tells; `None` when it showed none, or one
    /// that nobody verified.
    pub(crate) fn peer(
        &self,
        listener: ListenerIdx,
        chain: ChainIdx,
        session: &Session,
    ) -> Option<Peer> {
        let own = self.own.get(&(listener, chain))?;
        Peer::read(session.peer()?.first()?, own)
    }

    /// The configuration of a chain; `None` when it refuses handshakes.
    pub(crate) fn of(&self, listener: ListenerIdx, chain: ChainIdx) -> Option<&Arc<ServerConfig>> {
        self.chains.get(&(listener, chain))
    }
}

/// URIs of the certificate that a server shows to clients whose own it verifies; `None` when it
/// verifies none.
fn own_uris(material: &mut Material<'_>, tls: &ServerTls) -> Option<Vec<String>> {
    tls.client_ca.as_ref()?;
    let own = material.key(*tls.certificates.first()?).ok()?;
    Some(own.cert.first().map(peer::own_uris).unwrap_or_default())
}

#[cfg(test)]
mod tests;
