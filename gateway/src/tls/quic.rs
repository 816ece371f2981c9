//! One handshake configuration for all servers of a listener that can be served over QUIC. The
//! server name chooses among them inside the handshake.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use sallyport_config::ir::{FilterChain, ServerTlsMode, Service, TlsVersion};
use sallyport_core::tables::{ChainIdx, ListenerIdx, Tables};

use super::{TlsConfigs, build, tickets};
use crate::quic::sessions;

/// The protocol over QUIC (RFC 9114 §3.1).
const HTTP3: &[u8] = b"h3";

impl TlsConfigs {
    /// The configuration for QUIC, and the servers that it serves; `None` when there are none.
    pub(crate) fn quic(
        &self,
        listener: ListenerIdx,
        chains: &[FilterChain],
        tables: &Arc<Tables>,
    ) -> Option<(ServerConfig, HashSet<ChainIdx>)> {
        let mut resolvers = HashMap::new();
        for (chain, index) in chains.iter().zip(0_u32..) {
            let index = ChainIdx(index);
            if serves_quic(chain)
                && let Some(config) = self.of(listener, index)
            {
                resolvers.insert(index, Arc::clone(&config.cert_resolver));
            }
        }
        if resolvers.is_empty() {
            return None;
        }
        let served = resolvers.keys().copied().collect();
        let provider = Arc::new(build::provider(&[]).ok()?);
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .ok()?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(BySni {
                tables: Arc::clone(tables),
                listener,
                resolvers,
            }));
        config.alpn_protocols = vec![HTTP3.to_vec()];
        let early = |chain: &FilterChain| serves_quic(chain) && takes_early_data(chain);
        resume(&mut config, chains.iter().any(early));
        Some((config, served))
    }
}

/// How sessions are resumed. Data in the first flight could be replayed: where it is taken, a session
/// is known to this process alone and can be resumed once; where it is not, a ticket is the session.
fn resume(config: &mut ServerConfig, early: bool) {
    if early {
        config.session_storage = sessions();
        // QUIC knows no other sizes (RFC 9001 §4.6.1); streams have their windows.
        config.max_early_data_size = u32::MAX;
        return;
    }
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    match tickets::bound(tickets::seal_of_quic()) {
        Some(ticketer) => config.ticketer = ticketer,
        None => config.send_tls13_tickets = 0,
    }
}

/// Whether a server takes early data.
fn takes_early_data(chain: &FilterChain) -> bool {
    matches!(&chain.service, Service::Http(http) if http.early_data)
}

/// Whether a server can be served over QUIC as strictly as over TCP: it is HTTP and not
/// switched off, TLS 1.3 is allowed, and no client certificate is asked for (one configuration serves all names, and what a client
/// must show is settled before it is checked who it asked for).
pub(crate) fn serves_quic(chain: &FilterChain) -> bool {
    let http = matches!(&chain.service, Service::Http(http) if http.http3);
    let tls = chain.tls.as_ref();
    http && tls
        .is_some_and(|tls| tls.mode == ServerTlsMode::Simple && tls.max_version >= TlsVersion::V1_3)
}

/// Chooses the chain as TCP does, and lets it choose its certificate.
struct BySni {
    tables: Arc<Tables>,
    listener: ListenerIdx,
    resolvers: HashMap<ChainIdx, Arc<dyn ResolvesServerCert>>,
}

impl std::fmt::Debug for BySni {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BySni")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let chain = self.tables.chain(self.listener, name.as_deref())?;
        self.resolvers.get(&chain)?.resolve(hello)
    }
}
