//! TLS towards clients and upstreams: from certificates to handshake configurations, one per filter
//! chain and cluster, built on the side thread and shared by all workers.
//!
//! What cannot be built refuses handshakes and is reported; a mode that is not served is never
//! replaced by a weaker one.

mod build;
pub(crate) mod client;
pub(crate) mod handshake;
mod material;
mod quic;
pub(crate) mod session;
mod suites;
mod tickets;
mod trust;
mod visitor;

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use sallyport_config::ir::{ClusterId, ListenerKind, ServerTls, Service, Snapshot};
use sallyport_core::peer;
pub(crate) use sallyport_core::peer::Peer;
use sallyport_core::tables::{ChainIdx, ListenerIdx};

use client::Security;
use material::Material;
pub(crate) use quic::serves_quic;
use session::Session;
use tickets::Seal;
use visitor::ClientVerifier;
pub(crate) use visitor::Verdict;

/// Handshake configurations of all filter chains and clusters of one generation.
#[derive(Debug, Default)]
pub(crate) struct TlsConfigs {
    chains: HashMap<(ListenerIdx, ChainIdx), Arc<ServerConfig>>,
    /// How chains check their clients, where they do, and the seal of their rules.
    visitors: HashMap<(ListenerIdx, ChainIdx), (Arc<ClientVerifier>, Seal)>,
    clusters: Vec<Security>,
    /// URIs of the certificate that a chain shows, where it asks for one.
    own: HashMap<(ListenerIdx, ChainIdx), Vec<String>>,
}

/// The certificates that a client showed, and the rules by which they were accepted last.
#[derive(Debug)]
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    seal: Seal,
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
                let server = format!("{} {}", listener.name, chain.name);
                match build::chain(&mut material, &server, tls, http, &mut report) {
                    Ok(built) => {
                        let at = (ListenerIdx(index), ChainIdx(chain_index));
                        configs.chains.insert(at, built.config);
                        if let Some(verifier) = built.verifier {
                            configs.visitors.insert(at, (verifier, built.seal));
                        }
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

    /// What the client of a connection showed; `None` when that was nothing, or nobody looks.
    pub(crate) fn shown(
        &self,
        listener: ListenerIdx,
        chain: ChainIdx,
        session: &Session,
    ) -> Option<Shown> {
        let (_, seal) = self.visitors.get(&(listener, chain))?;
        Some(Shown {
            chain: session.peer()?.to_vec(),
            seal: *seal,
        })
    }

    /// Whether a chain would let a client in now. One that asks for no certificates, or refuses all
    /// handshakes, has nothing against those who are there.
    pub(crate) fn accepts(&self, listener: ListenerIdx, chain: ChainIdx, shown: &Shown) -> bool {
        let visitor = self.visitors.get(&(listener, chain));
        visitor.is_none_or(|(verifier, _)| verifier.accepts(&shown.chain))
    }

    /// What becomes of a client that was let in. By the same rules as before the verdict is the same.
    pub(crate) fn verdict(
        &self,
        listener: ListenerIdx,
        chain: ChainIdx,
        shown: &mut Shown,
    ) -> Verdict {
        match self.visitors.get(&(listener, chain)) {
            Some((verifier, seal)) if *seal != shown.seal => {
                shown.seal = *seal;
                verifier.verdict(&shown.chain)
            }
            _ => Verdict::Stays,
        }
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
