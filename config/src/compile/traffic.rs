//! Traffic policies: which blocks of which rules apply to a port, and what they mean.
//!
//! Istio `pilot/pkg/networking/util/util.go` (`MergeTrafficPolicy`): settings of a port replace all
//! blocks of the policy they stand in; a subset's blocks replace those of the host, block by block,
//! those of the host's port too; the mesh's default fills what is left of connection pool and outlier
//! detection.

use super::millis;
use crate::api::destination_rule::{
    ClientTlsSettings, ConnectionPoolSettings, ConsistentHashLb, HttpSettings,
    LoadBalancerSettings, OutlierDetection, ProxyProtocol, ProxyProtocolVersion,
    RetryBudget as Budget, SimpleLb, TrafficPolicy, TunnelSettings,
};
use crate::api::mesh_config::MeshConfig;
use crate::ir::{
    Balance, Breakers, HashCookie, HashKey, HashPolicy, HashTable, Keepalive, Millis, Outlier,
    Ping, Ppm, ProxyVersion, RetryBudget, Traffic, Warmup,
};
use std::time::Duration;

/// Points of a ring where nothing says otherwise.
const RING_SIZE: u32 = 1_024;
/// Most points of a ring (Envoy's `maximum_ring_size`).
const RING_SIZE_MAX: u64 = 8_388_608;
/// Slots of Maglev's table where nothing says otherwise.
const MAGLEV_SIZE: u32 = 65_537;
/// Envoy's limit for idle TCP connections where nothing says otherwise.
pub(super) const IDLE_BYTES: Millis = Millis(3_600_000);
/// Errors in a row that eject where nothing says otherwise.
const CONSECUTIVE_ERRORS: u32 = 5;
const OUTLIER_INTERVAL: Millis = Millis(10_000);
const BASE_EJECTION: Millis = Millis(30_000);
/// Envoy's `max_ejection_time`, which Istio leaves alone.
const MAX_EJECTION: Millis = Millis(300_000);
const MAX_EJECTION_PERCENT: u8 = 10;
/// Panic threshold of a cluster without outlier detection, as Envoy has it.
const PANIC_THRESHOLD: u8 = 50;
const WARMUP_MINIMUM: Ppm = Ppm(100_000);
const BUDGET_SHARE: Ppm = Ppm(200_000);
const BUDGET_CONCURRENCY: u32 = 3;

/// The blocks that apply to a port.
#[derive(Debug, Default)]
pub(super) struct Policy<'w> {
    pub balancer: Option<&'w LoadBalancerSettings>,
    pub pool: Option<&'w ConnectionPoolSettings>,
    pub outlier: Option<&'w OutlierDetection>,
    pub tls: Option<&'w ClientTlsSettings>,
    pub tunnel: Option<&'w TunnelSettings>,
    pub proxy: Option<&'w ProxyProtocol>,
    pub budget: Option<&'w Budget>,
}

impl<'w> Policy<'w> {
    /// Those of a host's and a subset's policy, over the mesh's.
    pub(super) fn of(
        mesh: &'w MeshConfig,
        host: Option<&'w TrafficPolicy>,
        subset: Option<&'w TrafficPolicy>,
        port: u16,
    ) -> Self {
        let mut policy = Self::declared(host, subset, port);
        if let Some(default) = &mesh.default_traffic_policy {
            policy.pool = policy.pool.or(default.connection_pool.as_ref());
            policy.outlier = policy.outlier.or(default.outlier_detection.as_ref());
        }
        policy
    }

    fn declared(
        host: Option<&'w TrafficPolicy>,
        subset: Option<&'w TrafficPolicy>,
        port: u16,
    ) -> Self {
        // what is set for the port of the host is the host's policy, which a subset's goes over
        [host, subset]
            .into_iter()
            .flatten()
            .fold(Self::default(), |below, policy| below.under(policy, port))
    }

    /// These blocks, with those of another policy over them: one by one, but together where that has
    /// settings of the port. Ports have no tunnel, PROXY header and budget of their own.
    fn under(self, over: &'w TrafficPolicy, port: u16) -> Self {
        let own = over.port_level_settings.iter().find(|settings| {
            let number = settings.port.as_ref().map(|p| p.number);
            number == Some(u32::from(port))
        });
        let rest = Self {
            tunnel: over.tunnel.as_ref().or(self.tunnel),
            proxy: over.proxy_protocol.as_ref().or(self.proxy),
            budget: over.retry_budget.as_ref().or(self.budget),
            ..Self::default()
        };
        match own {
            Some(own) => Self {
                balancer: own.load_balancer.as_ref(),
                pool: own.connection_pool.as_ref(),
                outlier: own.outlier_detection.as_ref(),
                tls: own.tls.as_ref(),
                ..rest
            },
            None => Self {
                balancer: over.load_balancer.as_ref().or(self.balancer),
                pool: over.connection_pool.as_ref().or(self.pool),
                outlier: over.outlier_detection.as_ref().or(self.outlier),
                tls: over.tls.as_ref().or(self.tls),
                ..rest
            },
        }
    }

    /// All but localities, which need the endpoints.
    pub(super) fn traffic(&self, mesh: &MeshConfig) -> Traffic {
        let tcp = self.pool.and_then(|p| p.tcp.as_ref());
        let http = self.pool.and_then(|p| p.http.as_ref());
        let streams = http.and_then(|h| u32::try_from(h.max_concurrent_streams).ok());
        let outlier = self.outlier.map(outlier);
        let threshold = self.outlier.map_or(PANIC_THRESHOLD, |o| {
            u8::try_from(o.min_health_percent.clamp(0, 100)).unwrap_or(0)
        });
        Traffic {
            breakers: self.breakers(),
            retry_budget: self.budget.map(retry_budget),
            outlier,
            panic_threshold: threshold,
            warmup: self.balancer.and_then(warmup),
            locality_weights: Vec::new(),
            keepalive: keepalive(mesh, tcp.and_then(|t| t.tcp_keepalive.as_ref())),
            max_connection_duration: tcp
                .and_then(|t| t.max_connection_duration)
                .map(millis)
                .filter(|age| age.0 > 0),
            proxy_protocol: self.proxy.map(|proxy| match proxy.version {
                ProxyProtocolVersion::V1 => ProxyVersion::V1,
                ProxyProtocolVersion::V2 => ProxyVersion::V2,
            }),
            max_streams: streams.filter(|count| *count > 0),
            ping: http.and_then(ping),
            health: None,
        }
    }

    /// How long connections that carry bytes may be idle; `None` for ever.
    pub(super) fn idle_bytes(&self) -> Option<Millis> {
        let tcp = self.pool.and_then(|p| p.tcp.as_ref());
        match tcp.and_then(|t| t.idle_timeout).map(millis) {
            Some(Millis(0)) => None,
            Some(given) => Some(given),
            None => Some(IDLE_BYTES),
        }
    }

    fn breakers(&self) -> Breakers {
        let limit = |value: i32| u32::try_from(value).ok().filter(|limit| *limit > 0);
        let tcp = self.pool.and_then(|p| p.tcp.as_ref());
        let http = self.pool.and_then(|p| p.http.as_ref());
        Breakers {
            max_connections: tcp.and_then(|t| limit(t.max_connections)),
            max_pending: http.and_then(|h| limit(h.http1_max_pending_requests)),
            max_requests: http.and_then(|h| limit(h.http2_max_requests)),
            max_retries: http.and_then(|h| limit(h.max_retries)),
        }
    }

    /// The rule's limit for connecting.
    pub(super) fn connect_timeout(&self) -> Option<Millis> {
        let tcp = self.pool.and_then(|p| p.tcp.as_ref());
        let timeout = tcp.and_then(|t| t.connect_timeout).map(millis);
        timeout.filter(|t| t.0 > 0)
    }

    /// How an endpoint is chosen.
    pub(super) fn balance(&self) -> Balance {
        let Some(settings) = self.balancer else {
            return Balance::LeastRequest;
        };
        if let Some(hash) = settings.consistent_hash.as_ref().and_then(hash_policy) {
            return Balance::Hash(Box::new(hash));
        }
        match settings.simple {
            Some(SimpleLb::RoundRobin) => Balance::RoundRobin,
            Some(SimpleLb::Random) => Balance::Random,
            _ => Balance::LeastRequest,
        }
    }
}

/// `None` for one without a key, which its check has reported.
fn hash_policy(hash: &ConsistentHashLb) -> Option<HashPolicy> {
    let cookie = hash.http_cookie.as_ref().map(|cookie| {
        let attributes = cookie.attributes.iter();
        HashKey::Cookie(HashCookie {
            name: cookie.name.clone(),
            path: cookie.path.clone(),
            ttl: cookie.ttl.map(millis),
            attributes: attributes
                .map(|a| (a.name.clone(), a.value.clone()))
                .collect(),
        })
    });
    let header = hash.http_header_name.as_ref();
    let query = hash.http_query_parameter_name.as_ref();
    let key = header
        .map(|name| HashKey::Header(name.to_ascii_lowercase()))
        .or(cookie)
        .or_else(|| {
            hash.use_source_ip
                .filter(|yes| *yes)
                .map(|_| HashKey::SourceIp)
        })
        .or_else(|| query.map(|name| HashKey::Query(name.clone())))?;
    let ring = |size: u64| {
        let size = if size == 0 {
            u64::from(RING_SIZE)
        } else {
            size.min(RING_SIZE_MAX)
        };
        HashTable::Ring(u32::try_from(size).unwrap_or(RING_SIZE))
    };
    let table = match (&hash.maglev, &hash.ring_hash) {
        (Some(maglev), _) => {
            let size = maglev.table_size.and_then(|size| u32::try_from(size).ok());
            HashTable::Maglev(size.filter(|size| *size > 0).unwrap_or(MAGLEV_SIZE))
        }
        (None, Some(own)) => ring(own.minimum_ring_size),
        (None, None) => ring(hash.minimum_ring_size),
    };
    Some(HashPolicy { key, table })
}

fn outlier(detection: &OutlierDetection) -> Outlier {
    let positive = |duration: Option<Duration>, default| {
        duration.map(millis).filter(|d| d.0 > 0).unwrap_or(default)
    };
    // no longer part of Istio, but of documents that people follow
    let outdated = u32::try_from(detection.consecutive_errors)
        .ok()
        .filter(|n| *n > 0);
    let base_ejection = positive(detection.base_ejection_time, BASE_EJECTION);
    let percent = u8::try_from(detection.max_ejection_percent.clamp(0, 100)).unwrap_or(0);
    let codes = detection.outlier_detection_http_error_codes.iter();
    Outlier {
        consecutive_5xx: detection
            .consecutive_5xx_errors
            .or(outdated)
            .unwrap_or(CONSECUTIVE_ERRORS),
        consecutive_gateway: detection.consecutive_gateway_errors.unwrap_or(0),
        consecutive_local: detection.split_external_local_origin_errors.then(|| {
            detection
                .consecutive_local_origin_failures
                .unwrap_or(CONSECUTIVE_ERRORS)
        }),
        error_codes: codes.filter_map(|code| u16::try_from(*code).ok()).collect(),
        interval: positive(detection.interval, OUTLIER_INTERVAL),
        base_ejection,
        max_ejection: MAX_EJECTION.max(base_ejection),
        max_ejection_percent: if percent == 0 {
            MAX_EJECTION_PERCENT
        } else {
            percent
        },
    }
}

fn warmup(settings: &LoadBalancerSettings) -> Option<Warmup> {
    let slow = settings.consistent_hash.is_none()
        && !matches!(
            settings.simple,
            Some(SimpleLb::Random | SimpleLb::Passthrough)
        );
    let own = settings.warmup.as_ref();
    let duration = own
        .and_then(|w| w.duration)
        .or(settings.warmup_duration_secs)
        .map(millis)
        .filter(|duration| slow && duration.0 > 0)?;
    Some(Warmup {
        duration,
        minimum: own
            .and_then(|w| w.minimum_percent)
            .map_or(WARMUP_MINIMUM, share),
        aggression_milli: own.and_then(|w| w.aggression).map_or(1_000, thousandths),
    })
}

fn ping(http: &HttpSettings) -> Option<Ping> {
    let alive = http.http2_keep_alive.as_ref()?;
    let positive = |time: Option<Duration>| time.map(millis).filter(|time| time.0 > 0);
    Some(Ping {
        interval: positive(alive.interval)?,
        timeout: positive(alive.timeout)?,
    })
}

fn retry_budget(budget: &Budget) -> RetryBudget {
    RetryBudget {
        share: budget.percent.map_or(BUDGET_SHARE, share),
        min_concurrency: match budget.min_retry_concurrency {
            0 => BUDGET_CONCURRENCY,
            given => given,
        },
        interval: budget.budget_interval.map(millis).unwrap_or_default(),
    }
}

/// A percentage as parts of a million.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=100 before, and a cast of a float saturates"
)]
fn share(percent: f64) -> Ppm {
    Ppm((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
}

/// A number in thousandths, at least 1.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped before, and a cast of a float saturates"
)]
fn thousandths(value: f64) -> u32 {
    (value.clamp(1.0, 1_000_000.0) * 1_000.0).round() as u32
}

/// The rule's, else the mesh's.
fn keepalive(
    mesh: &MeshConfig,
    own: Option<&crate::api::destination_rule::TcpKeepalive>,
) -> Option<Keepalive> {
    let seconds = |time: Option<Duration>| {
        time.and_then(|t| u32::try_from(t.as_secs()).ok())
            .filter(|t| *t > 0)
    };
    let probes = |count: u32| Some(count).filter(|count| *count > 0);
    if let Some(own) = own {
        return Some(Keepalive {
            probes: probes(own.probes),
            time: seconds(own.time),
            interval: seconds(own.interval),
        });
    }
    mesh.tcp_keepalive.as_ref().map(|mesh| Keepalive {
        probes: probes(mesh.probes),
        time: seconds(mesh.time),
        interval: seconds(mesh.interval),
    })
}
