//! TLS towards upstreams, and whom either side of a handshake believes.

use super::CertificateId;
use std::sync::Arc;

/// TLS towards an upstream. What cannot be served is a refusal, never a fallback to cleartext.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpstreamTls {
    /// Cleartext.
    Plain,
    /// On every connection.
    Always(Arc<ClientTls>),
    /// Automatic mutual TLS: to endpoints that speak it ([`super::Endpoint::mtls`]); cleartext to
    /// the others.
    ByEndpoint(Arc<ClientTls>),
    /// The settings cannot be served: requests get 503, for this reason.
    Refused(String),
}

impl UpstreamTls {
    /// The settings of connections that are encrypted; `None` where none is.
    #[must_use]
    pub fn client(&self) -> Option<&Arc<ClientTls>> {
        match self {
            Self::Always(tls) | Self::ByEndpoint(tls) => Some(tls),
            Self::Plain | Self::Refused(_) => None,
        }
    }
}

/// The client's side of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// What is shown, and what protocols are offered.
    pub mode: ClientTlsMode,
    /// The certificate shown when asked for; `None` in mode SIMPLE.
    pub certificate: Option<CertificateId>,
    /// Who may have signed the peer's certificate.
    pub roots: Roots,
    /// Certificates that were revoked.
    pub crl: Option<Bundle>,
    /// Server name that is sent.
    pub sni: ServerName,
    /// Names of which the peer's certificate must have one.
    pub names: PeerNames,
}

/// Which kind of TLS an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientTlsMode {
    /// Only the server shows a certificate.
    Simple,
    /// Both sides show one.
    Mutual,
    /// Both sides show one of the mesh.
    IstioMutual,
}

/// What is spoken inside a TLS connection to an upstream: it decides what the handshake offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Bytes that nobody looks at.
    Tcp,
}

impl ClientTls {
    /// Protocols offered, in order (ALPN, RFC 7301). In the mesh the names tell the peer's proxy
    /// that one of its kind calls (Istio `pilot/pkg/xds/filters/filters.go`); `istio-peer-exchange`
    /// is left out, because it announces a preamble that is not sent here.
    #[must_use]
    pub fn alpn(&self, wire: Wire) -> &'static [&'static str] {
        match (self.mode, wire) {
            (ClientTlsMode::IstioMutual, Wire::Http1) => &["istio-http/1.1", "istio", "http/1.1"],
            (ClientTlsMode::IstioMutual, Wire::Http2) => &["istio-h2", "istio", "h2"],
            (ClientTlsMode::IstioMutual, Wire::Tcp) => &["istio"],
            (_, Wire::Http2) => &["h2"],
            (_, Wire::Http1 | Wire::Tcp) => &[],
        }
    }
}

/// The server name that a client sends (RFC 6066 §3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerName {
    /// Always this one.
    Fixed(String),
    /// The host of each request as the upstream sees it, without port (Envoy's `auto_sni`). For
    /// bytes that are not HTTP it is the cluster's host.
    Authority,
}

/// Names of which a peer's certificate must have one, beside a chain that leads to a root.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerNames {
    /// None: the root vouches for whoever it signs.
    Any,
    /// The server name that was sent.
    ServerName,
    /// One of these, compared exactly with its DNS names (which may be wildcards), URIs and
    /// addresses.
    OneOf(Vec<String>),
}

/// Who may have signed a peer's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The authorities that the operating system trusts.
    System,
    /// These.
    Given(Bundle),
    /// Anybody (`insecureSkipVerify`): the chain and the names are not looked at.
    Unchecked,
}

/// PEM text of authorities or revocation lists, by content or by place. A change of content
/// changes the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bundle {
    /// The text.
    Inline(Arc<[u8]>),
    /// A file that the shell reads and watches.
    File(String),
    /// The roots that came with the workload's own identity.
    Workload,
    /// Nowhere to be found, and why: handshakes fail until it is.
    Missing(String),
}
