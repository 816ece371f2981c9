//! What a sidecar must do, beside what it has in common with a gateway.

use super::{ClusterId, HostPattern, HttpService, Snapshot, TcpService, Wire};
use std::net::{IpAddr, SocketAddr};

/// Everything that one sidecar must do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sidecar {
    /// Settings, route tables, clusters and certificates of outbound traffic, and the policies of
    /// inbound traffic. It has no listeners.
    pub snapshot: Snapshot,
    /// How connections come.
    pub capture: Capture,
    /// Ports of the workload, in order.
    pub inbound: Vec<Inbound>,
    /// Redirected connections to other ports of the workload.
    pub rest: PeerTls,
    /// Sockets for what the workload calls, ordered by port and address.
    pub outbound: Vec<Outbound>,
    /// Clusters whose endpoint is whatever address a redirected connection was going to (a
    /// ServiceEntry of resolution NONE), in order.
    pub as_called: Vec<ClusterId>,
    /// What is not known may be called (`ALLOW_ANY`); else it is refused (`REGISTRY_ONLY`).
    pub allow_any: bool,
    /// Names of the trust domain: identities of peers must be under one of them.
    pub trust_domains: Vec<String>,
}

/// How connections reach a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Capture {
    /// iptables redirects them to one port for each direction; each knows where it was going.
    Redirect {
        /// `proxyListenPort`
        outbound: u16,
        /// `proxyInboundListenPort`
        inbound: u16,
    },
    /// They are made to the sidecar's own ports.
    Ports {
        /// Address of outbound listeners.
        outbound: IpAddr,
        /// Addresses of inbound listeners.
        inbound: Vec<IpAddr>,
    },
}

/// One port of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inbound {
    /// The port that peers connect to.
    pub port: u16,
    /// Where the application listens; `None`: where the connection was going.
    pub app: Option<SocketAddr>,
    /// What is spoken.
    pub wire: Wire,
    /// Whether peers must show an identity.
    pub tls: PeerTls,
}

/// Mutual TLS from peers (PeerAuthentication).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerTls {
    /// Cleartext only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// One socket for what the workload calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outbound {
    /// The address that was called; `None` is any.
    pub address: Option<IpAddr>,
    /// The port that was called.
    pub port: u16,
    /// HTTP, routed by host.
    pub http: Option<HttpService>,
    /// Bytes by server name of a TLS handshake, first match wins.
    pub tls: Vec<(Vec<HostPattern>, TcpService)>,
    /// All other bytes. Beside `http` the first bytes decide.
    pub tcp: Option<TcpService>,
}
