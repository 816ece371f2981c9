//! A call and its verdict: what [`super::decide`] takes and gives.

use std::net::{IpAddr, Ipv4Addr};

/// A request, in the plainest form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Call {
    /// Port of the listener that it came in by (after port translation).
    pub port: u16,
    /// Server name of the handshake; `None` for cleartext, `Some("")` for TLS without SNI.
    pub sni: Option<String>,
    /// Protocols that the handshake offers by ALPN.
    pub alpn: Vec<String>,
    /// Method.
    pub method: String,
    /// Authority, with port if it was sent.
    pub authority: String,
    /// Path, already normalised, with query.
    pub path: String,
    /// Request fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Claims of a verified token by dotted path: a list is several values.
    pub claims: Vec<(Vec<String>, Vec<String>)>,
    /// The status with which whoever is asked about it refuses; unset: it may pass.
    pub refused: Option<u16>,
    /// So many have come before it that no limit that it counts for has a token left.
    pub spent: bool,
    /// SPIFFE identity of the peer's verified certificate: `spiffe://cluster.local/ns/x/sa/y`.
    pub identity: Option<String>,
    /// Address of the direct peer; unset: 127.0.0.1.
    pub peer: Option<IpAddr>,
    /// Address of the client behind trusted hops; unset: the peer's.
    pub client: Option<IpAddr>,
    /// Our address of the connection; unset: 127.0.0.1.
    pub local: Option<IpAddr>,
    /// Thrown dice, so that chance is an input.
    pub dice: Dice,
}

impl Call {
    const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Address of the direct peer.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer.unwrap_or(Self::SOMEWHERE)
    }

    /// Address of the client.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client.unwrap_or_else(|| self.peer())
    }

    /// Our address.
    #[must_use]
    pub fn local(&self) -> IpAddr {
        self.local.unwrap_or(Self::SOMEWHERE)
    }
}

/// Thrown dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dice {
    /// Chooses among weighted targets: taken modulo the sum of weights.
    pub target: u64,
    /// 0..1_000_000, for the delay fault.
    pub delay: u32,
    /// 0..1_000_000, for the abort fault.
    pub abort: u32,
    /// 0..1_000_000, for each mirror alike.
    pub mirror: u32,
}

/// What policies say of a call without deciding about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// An AUDIT policy matches; `None` where there is none, or none was asked.
    pub audited: Option<bool>,
    /// What the DENY policies that run dry would do.
    pub deny: Option<Shadow>,
    /// What the ALLOW policies that run dry would do.
    pub allow: Option<Shadow>,
}

/// What policies that run dry (`istio.io/dry-run`) would do if they decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shadow {
    /// They would let the call pass.
    pub allowed: bool,
    /// Id of the rule that matches, if one does.
    pub policy: Option<Box<str>>,
}

/// What should happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing listens on the port.
    Refused,
    /// The connection is closed without an answer: no filter chain, TCP without route.
    Closed,
    /// TCP service: bytes go to this cluster.
    Tcp(String),
    /// The handshake is refused: no certificate.
    NoCertificate,
    /// A policy or a rate limit refuses it.
    Denied {
        /// 403, or 401 without a token where one is asked for; 429 for a rate limit.
        status: u16,
        /// Envoy's details: `rbac_access_denied_matched_policy[none]`.
        details: String,
    },
    /// 421: the authority belongs to another certificate or TLS policy than the connection's.
    Misdirected,
    /// 404 NR.
    NoRoute,
    /// 3xx; route origin, status, location.
    Redirect {
        /// Name of the route, empty for an httpsRedirect.
        route: String,
        /// Status.
        status: u16,
        /// `location`.
        location: String,
    },
    /// A fixed answer or an injected abort or a broken route.
    Direct {
        /// Name of the route.
        route: String,
        /// Status.
        status: u16,
        /// Body.
        body: Vec<u8>,
        /// Envoy's details: `direct_response`, `fault_filter_abort`, `route_broken`.
        details: &'static str,
    },
    /// CORS preflight answered here: 200 with these fields.
    Preflight(Vec<(String, String)>),
    /// To an upstream.
    Forward(Box<Forwarded>),
}

/// A forwarded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Name of the route.
    pub route: String,
    /// Origin of the route: `VirtualService ns/name spec.http[0].match[0]`.
    pub origin: String,
    /// Cluster name.
    pub cluster: String,
    /// The cluster exists (otherwise 503 NC).
    pub known: bool,
    /// Injected delay in milliseconds, 0 for none.
    pub delay: u64,
    /// Authority that the upstream sees.
    pub authority: String,
    /// Path with query that the upstream sees.
    pub path: String,
    /// Request fields that the upstream sees as far as rules decide: the call's fields after
    /// header operations, plus `x-envoy-original-path` / `x-envoy-original-host` of rewrites;
    /// without the gateway's own hygiene. Operators in templates other than `%REQ()%` are empty.
    pub headers: Vec<(String, String)>,
    /// Response edits in order: `-name`, `name=value` (set), `name+=value` (add); CORS fields
    /// included as sets.
    pub response: Vec<String>,
    /// Route timeout in milliseconds, 0 for none.
    pub timeout: u64,
    /// Retry attempts.
    pub attempts: u32,
    /// Clusters that get a copy.
    pub mirrors: Vec<String>,
}
