//! Sockets, filter chains, TLS towards the client.

use super::{Bundle, CertificateId, ClusterId, HostPattern, Millis, Origin, RouteTableId};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use zeroize::Zeroize as _;

/// One socket to bind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Stable name, `<bind>_<port>` as Istio: `0.0.0.0_8443`.
    pub name: String,
    /// Address to bind.
    pub bind: Bind,
    /// Port to bind, after port translation.
    pub port: u16,
    /// What is spoken on it.
    pub kind: ListenerKind,
}

/// Address of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bind {
    /// The proxy's default address.
    Default,
    /// One address.
    Ip(IpAddr),
    /// A unix socket; `@name` is abstract.
    Unix(String),
}

/// What a listener speaks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// Cleartext.
    Plain(Service),
    /// TLS: chain by most specific SNI; no chain: the connection is closed (flag NR).
    Tls(Vec<FilterChain>),
}

/// Protocols that proxies of the mesh offer by ALPN, and nobody else (Istio `allIstioMtlsALPNs`).
pub const MESH_ALPN: [&str; 5] = [
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];

/// One TLS server of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FilterChain {
    /// Name for logs: the server's RDS name.
    pub name: String,
    /// Server names; empty matches any.
    pub sni: Vec<HostPattern>,
    /// Only clients that offer one of [`MESH_ALPN`]; others find no chain (flag NR).
    pub mesh_only: bool,
    /// Termination; `None` passes the bytes through.
    pub tls: Option<ServerTls>,
    /// What is inside.
    pub service: Service,
    /// The Gateway server that asked for it.
    pub origin: Origin,
}

/// TLS towards the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// Client certificate policy.
    pub mode: ServerTlsMode,
    /// Key pairs, RSA and ECDSA. Empty: handshakes are refused until one arrives.
    pub certificates: Vec<CertificateId>,
    /// The CAs for client certificates.
    pub client_ca: Option<Bundle>,
    /// Certificates of clients that were revoked.
    pub client_crl: Option<Bundle>,
    /// Exact subject alternative names that a client certificate must have one of.
    pub subject_alt_names: Vec<String>,
    /// Digests of which a client certificate must have one; empty: any.
    pub pins: Vec<Pin>,
    /// Lowest version.
    pub min_version: TlsVersion,
    /// Highest version.
    pub max_version: TlsVersion,
    /// Names of cipher suites; empty: the provider's.
    pub cipher_suites: Vec<String>,
    /// Protocols offered, in order.
    pub alpn: Vec<String>,
}

/// A digest that a client certificate is recognised by (SHA-256).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Of its public key (`verifyCertificateSpki`).
    Key([u8; 32]),
    /// Of the whole (`verifyCertificateHash`).
    Certificate([u8; 32]),
}

/// Client certificate policy of a TLS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerTlsMode {
    /// None asked for.
    Simple,
    /// Required and verified.
    Mutual,
    /// Verified if given.
    OptionalMutual,
    /// Mesh identity required.
    IstioMutual,
}

/// TLS protocol version that the proxy can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What is inside a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Service {
    /// HTTP, routed by a table.
    Http(HttpService),
    /// Bytes, routed by weight.
    Tcp(TcpService),
    /// Nothing routes here: the connection is closed (flag NR).
    Close,
}

/// HTTP on a listener or chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpService {
    /// Which hosts and routes.
    pub routes: RouteTableId,
    /// `servers[].port.number` as declared: what `derivePort` means.
    pub server_port: u16,
    /// gRPC-Web is translated here (protocol GRPC-WEB).
    pub grpc_web: bool,
    /// Offered over QUIC too, where TLS allows it (annotation `sallyport.io/http3`).
    pub http3: bool,
    /// Over QUIC, safe requests are served that come before the handshake is complete and could be
    /// replayed (annotation `sallyport.io/http3-early-data`).
    pub early_data: bool,
}

/// Bytes on a listener or chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TcpService {
    /// Targets with weights; the sum is positive.
    pub targets: Vec<(TcpTarget, u32)>,
    /// Idle timeout, `None` for never.
    pub idle_timeout: Option<Millis>,
    /// A connection ends at this age, `None` for never.
    pub max_duration: Option<Millis>,
    /// Where the endpoints, which are proxies, shall connect to; `None`: they are meant themselves.
    pub tunnel: Option<Tunnel>,
    /// The rule that routes here.
    pub origin: Origin,
}

/// A way through a proxy: the bytes are the bodies of one request and its response, over what the
/// cluster speaks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Host and port at its other end, as CONNECT names them: `far.example:443`.
    pub target: String,
    /// How the proxy is asked.
    pub method: TunnelMethod,
}

/// How a proxy is asked for a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TunnelMethod {
    /// `CONNECT` (RFC 9110 §9.3.6).
    Connect,
    /// `POST /` with the target as its host (Envoy's `use_post`).
    Post,
}

/// Where bytes go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TcpTarget {
    /// A known cluster.
    Cluster(ClusterId),
    /// A cluster name that nothing defines: reset, flag NC.
    Missing(String),
}

/// A certificate that is shown to peers, by content or by place. A change of content changes the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// Name for logs, `/certs` and metrics: `kubernetes://name` or `file://path`.
    pub name: String,
    /// Where the bytes are.
    pub source: CertificateSource,
    /// What its authority says about it, for handshakes: an OCSP response as DER (RFC 6960 §4.2.1).
    pub staple: Option<Arc<[u8]>>,
    /// Who asked for it.
    pub origin: Origin,
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateSource {
    /// In a Secret.
    Inline {
        /// PEM chain, leaf first.
        chain: Arc<[u8]>,
        /// PEM key.
        key: Secret,
    },
    /// In files that the shell reads and watches.
    Files {
        /// Path of the PEM chain.
        chain: String,
        /// Path of the PEM key.
        key: String,
    },
    /// The workload's own: the identity that the shell was given.
    Workload,
    /// Nowhere yet: handshakes are refused until it appears.
    Missing,
}

/// Bytes that never show in logs, dumps or `Debug`, and are overwritten when nobody holds them any
/// more.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(pub Arc<[u8]>);

impl Drop for Secret {
    fn drop(&mut self) {
        if let Some(bytes) = Arc::get_mut(&mut self.0) {
            bytes.zeroize();
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_and_who_shares_it_keeps_it() {
        let one = Secret(Arc::from(b"PRIVATE".as_slice()));
        let other = one.clone();
        assert_eq!(format!("{one:?}"), "[redacted]");
        drop(one);
        assert_eq!(&*other.0, b"PRIVATE");
    }
}
