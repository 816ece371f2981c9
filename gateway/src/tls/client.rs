//! TLS towards upstreams: what the settings of a cluster become, once per generation, on the side
//! thread. What cannot be built is refused, and never replaced by cleartext.

mod build;
mod failure;
mod handshake;
mod verify;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use sallyport_config::ir;
use sallyport_core::peer::own_uris;

use super::session::Session;

pub(super) use build::Builder;
pub(crate) use failure::TlsFailure;
pub(crate) use handshake::{Broken, connect};

/// Sessions that a worker remembers for each cluster: enough for the peers of a large one.
const SESSIONS_MAX: usize = 256;

/// TLS towards a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) enum Security {
    /// Cleartext.
    #[default]
    Plain,
    /// On every connection.
    Always(Arc<ClientSide>),
    /// To the endpoints that speak it; cleartext to the others.
    ByEndpoint(Arc<ClientSide>),
    /// Not at all: requests are refused.
    Refused,
}

impl Security {
    /// TLS towards one endpoint of the cluster; `None` for cleartext.
    ///
    /// # Errors
    /// The cluster cannot be spoken to.
    pub(crate) fn towards(
        &self,
        endpoint: &ir::Endpoint,
    ) -> Result<Option<&Arc<ClientSide>>, Refused> {
        match self {
            Self::Plain => Ok(None),
            Self::Always(side) => Ok(Some(side)),
            Self::ByEndpoint(side) => Ok(endpoint.mtls.then_some(side)),
            Self::Refused => Err(Refused),
        }
    }
}

/// A cluster cannot be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// The client's side of handshakes with one cluster.
pub(crate) struct ClientSide {
    /// Equal for equal settings, keys and authorities: connections are shared, and sessions
    /// resumed, only between equals.
    pub(crate) fingerprint: u64,
    settings: Arc<ir::ClientTls>,
    config: Arc<ClientConfig>,
    /// URI of the certificate that we show; empty for none.
    own: Arc<str>,
}

impl fmt::Debug for ClientSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSide")
            .field("fingerprint", &self.fingerprint)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// As one worker uses it: with sessions of its own to resume, so that nothing is shared.
pub(crate) struct Dialer {
    settings: Arc<ir::ClientTls>,
    config: Arc<ClientConfig>,
    own: Arc<str>,
}

/// Who speaks with whom on a connection, for `source_principal` and `destination_principal`: the first
/// URI of each certificate, as Istio's proxies take it. Empty for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principals {
    /// Ours.
    pub(crate) own: Rc<str>,
    /// The upstream's, verified.
    pub(crate) peer: Rc<str>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialer").field(&self.settings).finish()
    }
}

impl Dialer {
    /// For one worker.
    pub(crate) fn new(side: &ClientSide) -> Self {
        let mut config = ClientConfig::clone(&side.config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Self {
            settings: Arc::clone(&side.settings),
            config: Arc::new(config),
            own: Arc::clone(&side.own),
        }
    }

    /// Who speaks with whom, after a handshake.
    pub(crate) fn principals(&self, session: &Session) -> Principals {
        let peer = session.peer().and_then(|chain| chain.first());
        let peer = peer.and_then(|leaf| own_uris(leaf).into_iter().next());
        Principals {
            own: (*self.own).into(),
            peer: peer.unwrap_or_default().into(),
        }
    }

    /// The server name to send, where it is the request's and not the cluster's: connections are
    /// then shared by requests to the same name only.
    pub(crate) fn own_name<'n>(&self, authority: &'n str) -> Option<&'n str> {
        match &self.settings.sni {
            ir::ServerName::Fixed(_) => None,
            ir::ServerName::Authority => Some(authority),
        }
    }
}
