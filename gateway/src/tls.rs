//! TLS towards clients: from certificates to handshake configurations.

pub(crate) mod session;

use sallyport_config::ir::Snapshot;

/// Handshake configurations of all filter chains of one generation.
#[derive(Debug, Default)]
pub(crate) struct TlsConfigs {}

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
    /// Builds what can be built; the rest is reported.
    pub(crate) fn build(_snapshot: &Snapshot) -> (Self, Vec<TlsProblem>) {
        (Self::default(), Vec::new())
    }
}
