//! Upstreams and their endpoints.

use super::{Millis, Traffic, UpstreamTls};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// One upstream: a service port, or a subset of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// Envoy's name: `outbound|8080|v1|reviews.default.svc.cluster.local`.
    pub name: String,
    /// Host of the service.
    pub host: String,
    /// Service port.
    pub port: u16,
    /// Subset, empty for none.
    pub subset: String,
    /// Service name for metrics (`destination_service_name`).
    pub service_name: String,
    /// Service namespace for metrics (`destination_service_namespace`).
    pub service_namespace: String,
    /// What is spoken.
    pub protocol: UpstreamProtocol,
    /// Endpoints whose addresses are written down, in a stable order.
    pub endpoints: Vec<Endpoint>,
    /// How the others are found.
    pub discovery: Discovery,
    /// How one is chosen.
    pub balance: Balance,
    /// Limit for connecting, TLS included. Default 10 s.
    pub connect_timeout: Millis,
    /// Idle upstream connections are closed after this. Default 1 h; `None` never.
    pub idle_timeout: Option<Millis>,
    /// Requests per connection; 0 is no limit.
    pub max_requests_per_connection: u32,
    /// TLS towards the upstream.
    pub tls: UpstreamTls,
    /// Breakers, ejection, localities.
    pub traffic: Traffic,
}

impl Default for Cluster {
    /// A nameless HTTP/1 cluster without endpoints, and nothing but defaults.
    fn default() -> Self {
        Self {
            name: String::new(),
            host: String::new(),
            port: 80,
            subset: String::new(),
            service_name: String::new(),
            service_namespace: String::new(),
            protocol: UpstreamProtocol::Http1,
            endpoints: Vec::new(),
            discovery: Discovery::Static,
            balance: Balance::LeastRequest,
            connect_timeout: Millis(10_000),
            idle_timeout: Some(Millis(3_600_000)),
            max_requests_per_connection: 0,
            tls: UpstreamTls::Plain,
            traffic: Traffic::default(),
        }
    }
}

/// How endpoints are found that have no address in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Discovery {
    /// There are none.
    #[default]
    Static,
    /// Every address that DNS gives for these names is an endpoint, beside the written ones
    /// (Envoy's `STRICT_DNS`). In a stable order.
    StrictDns(Vec<NamedEndpoint>),
    /// The first address of the newest answer is the only endpoint (Envoy's `LOGICAL_DNS`).
    LogicalDns(NamedEndpoint),
    /// Each request's own host is looked up (`DYNAMIC_DNS`, Envoy's dynamic forward proxy).
    OnDemand {
        /// Lower-case domain that hosts must be under: `example.com` for `*.example.com`.
        domain: String,
        /// What every address becomes; of its own address only the port counts.
        like: Endpoint,
    },
}

impl Discovery {
    /// Whether the configuration alone says where the endpoints are.
    #[must_use]
    pub fn is_static(&self) -> bool {
        *self == Self::Static
    }

    /// The endpoints that wait for DNS.
    #[must_use]
    pub fn names(&self) -> &[NamedEndpoint] {
        match self {
            Self::Static | Self::OnDemand { .. } => &[],
            Self::StrictDns(names) => names,
            Self::LogicalDns(name) => std::slice::from_ref(name),
        }
    }
}

/// An endpoint with a name instead of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedEndpoint {
    /// Lower-case fully qualified name without its last dot.
    pub name: String,
    /// What every address of it becomes; of its own address only the port counts.
    pub like: Endpoint,
}

/// What is spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpstreamProtocol {
    /// HTTP/1.1, also where the port's protocol is unknown or TCP.
    Http1,
    /// HTTP/2 (port protocol http2 or grpc, or `h2UpgradePolicy: UPGRADE`).
    Http2,
    /// The downstream's (`useClientProtocol`).
    Client,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Balance {
    /// Fewest active requests of two drawn by weight (default).
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
    /// Drawn by weight.
    Random,
    /// By a hash of the request, so that equal requests meet the same endpoint.
    Hash(Box<HashPolicy>),
}

/// `consistentHash`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HashPolicy {
    /// What is hashed; a request without it is balanced at random.
    pub key: HashKey,
    /// How hashes find endpoints.
    pub table: HashTable,
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// A header, lower-case; several lines count whatever their order.
    Header(String),
    /// A cookie.
    Cookie(HashCookie),
    /// The client's address without port.
    SourceIp,
    /// The first query parameter of this name, undecoded.
    Query(String),
}

/// A cookie that is hashed, and made when it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HashCookie {
    /// Name.
    pub name: String,
    /// `Path`, empty for none.
    pub path: String,
    /// `None`: never made. 0: made without `Max-Age`, for the session.
    pub ttl: Option<Millis>,
    /// Further attributes; an empty value stands for the bare name.
    pub attributes: Vec<(String, String)>,
}

/// How hashes find endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashTable {
    /// Ketama: a ring of at least so many points. Default 1024.
    Ring(u32),
    /// Maglev: a table of so many slots, a prime. Default 65537.
    Maglev(u32),
}

impl Default for Endpoint {
    /// An endpoint nowhere, of weight 1.
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            socket: None,
            weight: 1,
            locality: String::new(),
            workload: String::new(),
            mtls: false,
            priority: 0,
        }
    }
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where. No other endpoint of the cluster has the same.
    pub address: SocketAddr,
    /// A unix socket instead, `@name` an abstract one: the address is [`Endpoint::stand_in`] then.
    pub socket: Option<Arc<str>>,
    /// Load-balancing weight, positive.
    pub weight: u32,
    /// `region/zone/subzone`, empty when unknown.
    pub locality: String,
    /// Workload name for metrics, `unknown` if none.
    pub workload: String,
    /// It speaks mutual TLS of the mesh: what [`UpstreamTls::ByEndpoint`] asks.
    pub mtls: bool,
    /// 0 is asked first; no gaps.
    pub priority: u32,
}

/// Network whose addresses stand for unix sockets: what is sent there is discarded (RFC 6666), so it
/// is nobody else's.
const DISCARD: u128 = 0x0100 << 112;

impl Endpoint {
    /// The address that stands for a unix socket wherever endpoints are told apart by theirs.
    #[must_use]
    pub fn stand_in(path: &str) -> SocketAddr {
        // FNV-1a, so that it is the same in every process
        let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let address = Ipv6Addr::from_bits(DISCARD | u128::from(hash));
        SocketAddr::from((address, 0))
    }

    /// Where it is, as tables and logs say it: address and port, or the path of its socket.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.socket {
            Some(path) => path.to_string(),
            None => self.address.to_string(),
        }
    }
}
