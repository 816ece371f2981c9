//! What endpoints and connections are configured with: keys of the process, limits, and for each
//! listener of a generation a handshake configuration.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::{hkdf, hmac, rand};
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{
    EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, ValidationTokenConfig, VarInt,
};
use sallyport_config::ir::{ListenerKind, Snapshot};
use sallyport_core::decide::Where;
use sallyport_core::tables::{ChainIdx, ListenerIdx, Tables};

use super::cid::{CidKey, Cids};
use super::once;
use crate::tls::TlsConfigs;

/// Requests of one connection at a time (Istio's EDGE profile has the same for HTTP/2).
const STREAMS_MAX: u32 = 100;
/// Unidirectional streams of a client: control, two for QPACK, and a few that mean nothing.
const UNI_STREAMS_MAX: u32 = 8;
/// Bytes of one stream that a client may send ahead of us.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes of one connection that a client may send ahead of us.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes that are sent and not acknowledged, per connection: 80 Mbit/s at 100 ms.
const SEND_WINDOW_BYTES: u64 = 1024 * 1024;
/// A connection on which nothing comes for this long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// Handshake bytes that may arrive out of order.
const CRYPTO_BUFFER_BYTES: usize = 16 * 1024;
/// First packets that wait to be looked at, per endpoint.
const INCOMING_MAX: usize = 4_096;
/// Bytes behind one first packet, and behind all, until it is looked at.
const INCOMING_BYTES: (u64, u64) = (64 * 1024, 16 * 1024 * 1024);
/// Tokens for later connections, where early data is taken: as many as TLS sends tickets.
const TOKENS_SENT: u32 = 2;
/// How long the token of a Retry is good for.
const RETRY_TOKEN_LIFE: Duration = Duration::from_secs(15);

/// Keys that all endpoints of the process share, so that any worker can tell ids, tokens and resets
/// of the others from nonsense.
#[derive(Debug)]
pub(super) struct Keys {
    reset: Arc<hmac::Key>,
    token: Arc<hkdf::Prk>,
    pub(super) cids: CidKey,
}

/// The keys; `None` if the system has no randomness.
pub(super) fn keys() -> Option<&'static Keys> {
    static KEYS: OnceLock<Option<Keys>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let mut secret = [0; 64];
        rand::fill(&mut secret).ok()?;
        Some(Keys {
            reset: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret.get(..32)?)),
            token: Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret.get(32..)?)),
            cids: CidKey::random(),
        })
    });
    keys.as_ref()
}

/// Configuration of one worker's endpoint.
pub(super) fn endpoint_config(keys: &'static Keys, worker: usize, salt: u64) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::clone(&keys.reset) as _);
    let worker = u16::try_from(worker).unwrap_or(u16::MAX);
    config.cid_generator(move || {
        Box::new(Cids {
            key: keys.cids.clone(),
            worker,
            salt,
            serial: 0,
        })
    });
    config
}

/// Wraps a TLS configuration; `None` if QUIC cannot be served with it.
fn server_config(tls: rustls::ServerConfig) -> Option<Arc<ServerConfig>> {
    let early = tls.max_early_data_size > 0;
    let crypto = QuicServerConfig::try_from(tls).ok()?;
    let mut config = ServerConfig::new(Arc::new(crypto), Arc::clone(&keys()?.token) as _);
    config
        .transport_config(Arc::new(transport()))
        .retry_token_lifetime(RETRY_TOKEN_LIFE)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES.0)
        .incoming_buffer_size_total(INCOMING_BYTES.1)
        .validation_token_config(tokens(early));
    Some(Arc::new(config))
}

/// Tokens for the clients' next connections. Early data is acted on only if its client is known to
/// be where it says, which a handshake would show too late; nothing else needs them.
fn tokens(early: bool) -> ValidationTokenConfig {
    let mut tokens = ValidationTokenConfig::default();
    tokens
        .lifetime(once::TOKEN_LIFE)
        .log(once::tokens())
        .sent(if early { TOKENS_SENT } else { 0 });
    tokens
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES)
        .datagram_receive_buffer_size(None);
    transport
}

/// Handshake configurations of the listeners of one generation that serve HTTP/3.
#[derive(Default)]
pub(crate) struct Configs(HashMap<ListenerIdx, Served>);

/// One listener.
struct Served {
    config: Arc<ServerConfig>,
    chains: HashSet<ChainIdx>,
}

impl std::fmt::Debug for Configs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Configs {
    /// Builds what can be built from the TLS configurations of the same snapshot.
    pub(crate) fn build(snapshot: &Snapshot, tables: &Arc<Tables>, tls: &TlsConfigs) -> Self {
        let mut configs = HashMap::new();
        for (listener, index) in snapshot.listeners.iter().zip(0_u32..) {
            let index = ListenerIdx(index);
            if let ListenerKind::Tls(chains) = &listener.kind
                && let Some((config, chains)) = tls.quic(index, chains, tables)
                && let Some(config) = server_config(config)
            {
                configs.insert(index, Served { config, chains });
            }
        }
        Self(configs)
    }

    /// The configuration of a listener; `None` when it does not serve HTTP/3.
    pub(crate) fn of(&self, listener: ListenerIdx) -> Option<&Arc<ServerConfig>> {
        self.0.get(&listener).map(|served| &served.config)
    }

    /// Whether what is served at a place over TCP is served over QUIC too.
    pub(crate) fn serves(&self, place: Where) -> bool {
        let served = self.0.get(&place.listener).zip(place.chain);
        served.is_some_and(|(served, chain)| served.chains.contains(&chain))
    }
}
