//! What a DestinationRule says about the traffic to a cluster: balance, breakers, ejection,
//! localities, sockets. Istio `pilot/pkg/networking/core/cluster_traffic_policy.go`.

use super::matches::header_text;
use super::values::{duration, exact, number};
use sallyport_config::ir::{
    Balance, Cluster as Upstream, HashKey, HashTable, Keepalive, Outlier, Ppm, RetryBudget, Warmup,
};
use sallyport_wire::envoy::envoy::config::cluster::v3::circuit_breakers::{Thresholds, thresholds};
use sallyport_wire::envoy::envoy::config::cluster::v3::cluster::{
    CommonLbConfig, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig,
    RoundRobinLbConfig, SlowStartConfig, common_lb_config,
};
use sallyport_wire::envoy::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection, UpstreamConnectionOptions,
};
use sallyport_wire::envoy::envoy::config::common::matcher::v3::{
    HttpHeadersMatch, MatchPredicate, match_predicate,
};
use sallyport_wire::envoy::envoy::config::core::v3::{
    Http2ProtocolOptions, KeepaliveSettings, RuntimeDouble, TcpKeepalive,
};
use sallyport_wire::envoy::envoy::config::route::v3::route_action::{HashPolicy, hash_policy};
use sallyport_wire::envoy::envoy::extensions::upstreams::http::v3::http_protocol_options;
use sallyport_wire::envoy::envoy::r#type::v3::{self as kinds, Percent};
use sallyport_wire::envoy::google::protobuf::UInt64Value;

/// Envoy's own panic threshold, which need not be said.
const PANIC: u8 = 50;

/// Adds the policies of an upstream to its cluster.
pub(super) fn apply(upstream: &Upstream, out: &mut Cluster) {
    let traffic = &upstream.traffic;
    out.set_lb_policy(match &upstream.balance {
        Balance::LeastRequest => LbPolicy::LeastRequest,
        Balance::RoundRobin => LbPolicy::RoundRobin,
        Balance::Random => LbPolicy::Random,
        Balance::Hash(policy) => match policy.table {
            HashTable::Ring(_) => LbPolicy::RingHash,
            HashTable::Maglev(_) => LbPolicy::Maglev,
        },
    });
    out.lb_config = balance(&upstream.balance, traffic.warmup);
    out.circuit_breakers = Some(breakers(upstream));
    out.outlier_detection = traffic.outlier.as_ref().map(ejection);
    let weighted = common_lb_config::LocalityWeightedLbConfig {};
    let weighted = common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(weighted);
    out.common_lb_config = Some(CommonLbConfig {
        healthy_panic_threshold: (traffic.panic_threshold != PANIC).then(|| Percent {
            value: f64::from(traffic.panic_threshold),
        }),
        locality_config_specifier: (!traffic.locality_weights.is_empty()).then_some(weighted),
        ..CommonLbConfig::default()
    });
    out.upstream_connection_options = traffic.keepalive.map(|probes| UpstreamConnectionOptions {
        tcp_keepalive: Some(keepalive(probes)),
        ..UpstreamConnectionOptions::default()
    });
}

/// What is said of HTTP/2 connections.
pub(super) fn http2(upstream: &Upstream) -> Http2ProtocolOptions {
    let traffic = &upstream.traffic;
    Http2ProtocolOptions {
        max_concurrent_streams: traffic.max_streams.and_then(number),
        connection_keepalive: traffic.ping.map(|ping| KeepaliveSettings {
            interval: duration(ping.interval),
            timeout: duration(ping.timeout),
            ..KeepaliveSettings::default()
        }),
        ..Http2ProtocolOptions::default()
    }
}

fn keepalive(probes: Keepalive) -> TcpKeepalive {
    TcpKeepalive {
        keepalive_probes: probes.probes.and_then(number),
        keepalive_time: probes.time.and_then(number),
        keepalive_interval: probes.interval.and_then(number),
    }
}

fn balance(balance: &Balance, warmup: Option<Warmup>) -> Option<LbConfig> {
    let long = |value: u32| {
        Some(UInt64Value {
            value: u64::from(value),
        })
    };
    match balance {
        Balance::Hash(policy) => Some(match policy.table {
            HashTable::Ring(size) => LbConfig::RingHashLbConfig(RingHashLbConfig {
                minimum_ring_size: long(size),
                ..RingHashLbConfig::default()
            }),
            HashTable::Maglev(size) => LbConfig::MaglevLbConfig(MaglevLbConfig {
                table_size: long(size),
            }),
        }),
        Balance::LeastRequest => warmup.map(|warmup| {
            LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                slow_start_config: Some(slow_start(warmup)),
                ..LeastRequestLbConfig::default()
            })
        }),
        Balance::RoundRobin => warmup.map(|warmup| {
            LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
                slow_start_config: Some(slow_start(warmup)),
            })
        }),
        Balance::Random => None,
    }
}

fn slow_start(warmup: Warmup) -> SlowStartConfig {
    SlowStartConfig {
        slow_start_window: duration(warmup.duration),
        aggression: Some(RuntimeDouble {
            default_value: f64::from(warmup.aggression_milli) / 1000.0,
            // Envoy asks for a key, which nobody sets
            runtime_key: "upstream.slow_start.aggression".to_owned(),
        }),
        min_weight_percent: Some(percent(warmup.minimum)),
    }
}

fn percent(share: Ppm) -> Percent {
    Percent {
        value: f64::from(share.0) / 10_000.0,
    }
}

/// What is no limit has to be said: Envoy's own are 1024.
fn breakers(upstream: &Upstream) -> CircuitBreakers {
    let said = upstream.traffic.breakers;
    let most = |limit: Option<u32>| number(limit.unwrap_or(u32::MAX));
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: most(said.max_connections),
            max_pending_requests: most(said.max_pending),
            max_requests: most(said.max_requests),
            max_retries: most(said.max_retries),
            retry_budget: upstream.traffic.retry_budget.map(budget),
            track_remaining: true,
            ..Thresholds::default()
        }],
        ..CircuitBreakers::default()
    }
}

fn budget(budget: RetryBudget) -> thresholds::RetryBudget {
    thresholds::RetryBudget {
        budget_percent: Some(percent(budget.share)),
        min_retry_concurrency: number(budget.min_concurrency),
        budget_interval: (budget.interval.0 > 0)
            .then(|| duration(budget.interval))
            .flatten(),
    }
}

fn ejection(outlier: &Outlier) -> OutlierDetection {
    /// Always, and never.
    const ALL: u32 = 100;
    let enforced = |errors: u32| number(if errors > 0 { ALL } else { 0 });
    let counted = |errors: u32| (errors > 0).then(|| number(errors)).flatten();
    let local = outlier.consecutive_local;
    OutlierDetection {
        consecutive_5xx: counted(outlier.consecutive_5xx),
        enforcing_consecutive_5xx: enforced(outlier.consecutive_5xx),
        consecutive_gateway_failure: counted(outlier.consecutive_gateway),
        enforcing_consecutive_gateway_failure: enforced(outlier.consecutive_gateway),
        split_external_local_origin_errors: local.is_some(),
        consecutive_local_origin_failure: local.and_then(counted),
        enforcing_consecutive_local_origin_failure: local.and_then(enforced),
        enforcing_success_rate: number(0),
        enforcing_local_origin_success_rate: local.and_then(|_| number(0)),
        interval: duration(outlier.interval),
        base_ejection_time: duration(outlier.base_ejection),
        max_ejection_time: duration(outlier.max_ejection),
        max_ejection_percent: number(u32::from(outlier.max_ejection_percent)),
        ..OutlierDetection::default()
    }
}

/// Which answers are errors, where it is not those with 5xx.
pub(super) fn errors(upstream: &Upstream) -> Option<http_protocol_options::OutlierDetection> {
    let outlier = upstream.traffic.outlier.as_ref();
    let codes = outlier.map(|o| o.error_codes.as_slice())?;
    let is = |code: &u16| MatchPredicate {
        rule: Some(match_predicate::Rule::HttpResponseHeadersMatch(
            HttpHeadersMatch {
                headers: vec![header_text(":status", exact(&code.to_string()))],
            },
        )),
    };
    let matcher = match codes {
        [] => return None,
        [only] => is(only),
        several => MatchPredicate {
            rule: Some(match_predicate::Rule::OrMatch(match_predicate::MatchSet {
                rules: several.iter().map(is).collect(),
            })),
        },
    };
    Some(http_protocol_options::OutlierDetection {
        error_matcher: Some(matcher),
    })
}

/// What of a request is hashed.
pub(super) fn of_request(balance: &Balance) -> Vec<HashPolicy> {
    use hash_policy::{ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier};
    let Balance::Hash(policy) = balance else {
        return Vec::new();
    };
    let specifier = match &policy.key {
        HashKey::Header(name) => PolicySpecifier::Header(Header {
            header_name: name.clone(),
            regex_rewrite: None,
        }),
        HashKey::Cookie(cookie) => {
            let attributes = cookie.attributes.iter();
            PolicySpecifier::Cookie(Cookie {
                name: cookie.name.clone(),
                ttl: cookie.ttl.and_then(duration),
                path: cookie.path.clone(),
                attributes: attributes
                    .map(|(name, value)| CookieAttribute {
                        name: name.clone(),
                        value: value.clone(),
                    })
                    .collect(),
            })
        }
        HashKey::SourceIp => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashKey::Query(name) => {
            PolicySpecifier::QueryParameter(hash_policy::QueryParameter { name: name.clone() })
        }
    };
    vec![HashPolicy {
        terminal: false,
        policy_specifier: Some(specifier),
    }]
}

/// What of a connection is hashed: nothing but where it comes from can be.
pub(super) fn of_connection(balance: &Balance) -> Vec<kinds::HashPolicy> {
    let by_source = matches!(balance, Balance::Hash(policy) if policy.key == HashKey::SourceIp);
    let source = kinds::hash_policy::SourceIp {};
    let policy = kinds::HashPolicy {
        policy_specifier: Some(kinds::hash_policy::PolicySpecifier::SourceIp(source)),
    };
    by_source.then_some(policy).into_iter().collect()
}
