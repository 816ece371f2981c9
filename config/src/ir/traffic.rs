//! What a DestinationRule says about the traffic to a cluster, beside who gets it: breakers,
//! ejection, localities, warm-up, sockets.

use super::{Millis, Ppm};

/// Policies of a cluster; the default is what no DestinationRule says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Traffic {
    /// Counts over all workers that are never exceeded.
    pub breakers: Breakers,
    /// Retries beside first tries; takes the place of [`Breakers::max_retries`].
    pub retry_budget: Option<RetryBudget>,
    /// When an endpoint is left out for a while.
    pub outlier: Option<Outlier>,
    /// Below this percentage of healthy endpoints, health is disregarded; 0 never. Envoy's default
    /// is 50, Istio's with outlier detection 0.
    pub panic_threshold: u8,
    /// New endpoints get their share gradually.
    pub warmup: Option<Warmup>,
    /// Shares of localities (`distribute`); empty: all endpoints of a priority alike.
    pub locality_weights: Vec<LocalityWeight>,
    /// The kernel's keep-alive probes.
    pub keepalive: Option<Keepalive>,
    /// A connection takes no request more after this age.
    pub max_connection_duration: Option<Millis>,
    /// Connections begin by saying whose they are.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Streams of an HTTP/2 connection at a time, if the upstream takes as many; `None`: 100.
    pub max_streams: Option<u32>,
    /// PINGs on HTTP/2 connections.
    pub ping: Option<Ping>,
    /// Endpoints are asked whether they are well (annotation `sallyport.io/health-check`).
    pub health: Option<HealthCheck>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            breakers: Breakers::default(),
            retry_budget: None,
            outlier: None,
            panic_threshold: 50,
            warmup: None,
            locality_weights: Vec::new(),
            keepalive: None,
            max_connection_duration: None,
            proxy_protocol: None,
            max_streams: None,
            ping: None,
            health: None,
        }
    }
}

/// Limits of a cluster over all workers; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Breakers {
    /// Connections (`tcp.maxConnections`).
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection (`http1MaxPendingRequests`).
    pub max_pending: Option<u32>,
    /// Requests in flight (`http2MaxRequests`, for HTTP/1 as well).
    pub max_requests: Option<u32>,
    /// Retries under way (`maxRetries`).
    pub max_retries: Option<u32>,
}

/// How many retries may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    /// Share of the requests in flight and waiting. Default 20 %.
    pub share: Ppm,
    /// So many at least. Default 3.
    pub min_concurrency: u32,
    /// Requests that began within this count, ended or not; 0: those under way.
    pub interval: Millis,
}

/// Envoy's outlier detection, as Istio configures it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outlier {
    /// Errors in a row that eject; 0 never. Default 5.
    pub consecutive_5xx: u32,
    /// Gateway errors (502, 503, 504) in a row that eject; 0 never, the default.
    pub consecutive_gateway: u32,
    /// Failures without a response in a row that eject, if these are counted by themselves; else
    /// `None` and they count as 5xx and gateway errors. 0 never.
    pub consecutive_local: Option<u32>,
    /// Statuses that are errors instead of the 5xx; empty for 5xx.
    pub error_codes: Vec<u16>,
    /// How often endpoints return and multipliers shrink. Default 10 s.
    pub interval: Millis,
    /// Time of the first ejection; the n-th in a row takes n times this. Default 30 s.
    pub base_ejection: Millis,
    /// Longest ejection: 300 s, or the base if that is more.
    pub max_ejection: Millis,
    /// No more of the endpoints are ejected, though always one may be. Default 10.
    pub max_ejection_percent: u8,
}

/// Slow start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Warmup {
    /// Time from the first to the full share.
    pub duration: Millis,
    /// Share at the beginning, at least. Default 10 %.
    pub minimum: Ppm,
    /// Exponent is `1000 / aggression`: 1000, the default, is a straight line, more is faster at
    /// the beginning.
    pub aggression_milli: u32,
}

/// Share of a locality within its priority.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalityWeight {
    /// `region/zone/subzone` as endpoints have it.
    pub locality: String,
    /// Share of the sum of weights, positive.
    pub weight: u32,
}

/// Version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The kernel's keep-alive probes; what is `None` is the kernel's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Keepalive {
    /// Probes without answer that end a connection.
    pub probes: Option<u32>,
    /// Seconds without data before the first probe.
    pub time: Option<u32>,
    /// Seconds between probes.
    pub interval: Option<u32>,
}

/// PINGs that tell a dead HTTP/2 connection from a quiet one (RFC 9113 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ping {
    /// Time from one to the next; positive.
    pub interval: Millis,
    /// A connection that does not answer within this is closed; positive.
    pub timeout: Millis,
}

/// How endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: HealthProbe,
    /// Time from one check of an endpoint to the next.
    pub interval: Millis,
    /// A check that takes longer has failed.
    pub timeout: Millis,
    /// Failures in a row that leave an endpoint out; positive.
    pub unhealthy: u32,
    /// Successes in a row that bring it back; positive.
    pub healthy: u32,
}

/// What an endpoint is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HealthProbe {
    /// To take a connection, with TLS where the cluster has it.
    Tcp,
    /// `GET`, answered with 2xx.
    Http {
        /// Path with query.
        path: String,
        /// Host, empty for the service's.
        host: String,
    },
    /// `grpc.health.v1.Health/Check`, answered with `SERVING`.
    Grpc {
        /// Service, empty for the whole server; at most 127 bytes.
        service: String,
    },
}
