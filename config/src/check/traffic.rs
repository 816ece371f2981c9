//! Load balancing and connection pools.

use std::time::Duration;

use super::{Path, Scope, words};
use crate::api::destination_rule::{
    ConnectionPoolSettings, ConsistentHashLb, HttpSettings, LoadBalancerSettings,
    LocalityDistribute, LocalityFailover, LocalityLoadBalancerSetting, SimpleLb, TcpSettings,
};
use crate::diag::codes;

/// Greatest table of Maglev in Envoy.
const MAX_MAGLEV: u64 = 5_000_011;
/// Below this a connect timeout breaks on the first lost packet.
const SHORT_CONNECT: Duration = Duration::from_millis(100);
/// Up to this many requests a connection is hardly reused.
const FEW_REQUESTS: i32 = 10;

/// `loadBalancer`; `ejects` says whether outlier detection stands beside it.
pub(super) fn load_balancer(
    lb: &LoadBalancerSettings,
    ejects: bool,
    at: &Path<'_>,
    scope: &mut Scope<'_>,
) {
    if let Some(hash) = &lb.consistent_hash {
        consistent_hash(hash, &at.field("consistentHash"), scope);
    }
    if let Some(locality) = &lb.locality_lb_setting {
        locality_setting(locality, ejects, &at.field("localityLbSetting"), scope);
    }
    if lb.simple == Some(SimpleLb::LeastConn) {
        scope.note(
            codes::IST0002,
            &at.field("simple"),
            "`LEAST_CONN` is deprecated",
            "write LEAST_REQUEST, which is the same",
        );
    }
    let slow = matches!(lb.simple, Some(SimpleLb::Random | SimpleLb::Passthrough))
        || lb.consistent_hash.is_some();
    if slow && (lb.warmup.is_some() || lb.warmup_duration_secs.is_some()) {
        scope.error(
            &at.field("warmup"),
            "`warmup` works with ROUND_ROBIN and LEAST_REQUEST only",
            "change `simple`, or remove `warmup`",
        );
    }
    if lb.warmup.is_some() && lb.warmup_duration_secs.is_some() {
        scope.error(
            &at.field("warmupDurationSecs"),
            "only one of `warmup` and `warmupDurationSecs` may be set",
            "keep `warmup`",
        );
    } else if let Some(duration) = lb.warmup_duration_secs {
        let help = format!("write warmup: {{duration: {}s}}", duration.as_secs());
        scope.note(
            codes::IST0002,
            &at.field("warmupDurationSecs"),
            "`warmupDurationSecs` is deprecated",
            &help,
        );
    }
    let Some(warmup) = &lb.warmup else { return };
    let at = at.field("warmup");
    match warmup.duration {
        Some(duration) => scope.judge(&at.field("duration"), words::duration(duration), ""),
        None => scope.error(&at, "`duration` is missing", "add duration: 60s"),
    }
    if let Some(percent) = warmup.minimum_percent {
        scope.judge(&at.field("minimumPercent"), words::percentage(percent), "");
    }
    if let Some(aggression) = warmup.aggression.filter(|a| *a < 1.0) {
        scope.error(
            &at.field("aggression"),
            format!("aggression {aggression} is below 1"),
            "use 1 for a straight line, more for a slower start",
        );
    }
}

fn consistent_hash(hash: &ConsistentHashLb, at: &Path<'_>, scope: &mut Scope<'_>) {
    let keyed = hash.http_header_name.is_some()
        || hash.http_cookie.is_some()
        || hash.use_source_ip.is_some()
        || hash.http_query_parameter_name.is_some();
    if !keyed {
        let help = "set `httpHeaderName`, `httpCookie`, `useSourceIp` or `httpQueryParameterName`";
        scope.error(at, "the consistent hash has no key", help);
    }
    if let Some(name) = &hash.http_header_name {
        scope.judge(&at.field("httpHeaderName"), words::header_name(name), "");
    }
    if let Some(cookie) = &hash.http_cookie {
        let at = at.field("httpCookie");
        scope.require(
            !cookie.name.is_empty(),
            &at,
            "`name` of the cookie is missing",
            "",
        );
        for (i, attribute) in cookie.attributes.iter().enumerate() {
            scope.require(
                !attribute.name.is_empty(),
                &at.item("attributes", i),
                "`name` of the attribute is missing",
                "",
            );
        }
    }
    if hash.minimum_ring_size != 0 {
        let help = format!(
            "write ringHash: {{minimumRingSize: {}}}",
            hash.minimum_ring_size
        );
        scope.note(
            codes::IST0002,
            &at.field("minimumRingSize"),
            "`minimumRingSize` is deprecated here",
            &help,
        );
        if hash.ring_hash.is_some() || hash.maglev.is_some() {
            scope.error(
                &at.field("minimumRingSize"),
                "the algorithm is chosen twice",
                "remove `minimumRingSize`",
            );
        }
    }
    if let Some(size) = hash.maglev.as_ref().and_then(|m| m.table_size) {
        let at = at.field("maglev.tableSize");
        if size >= MAX_MAGLEV {
            scope.error(
                &at,
                format!("table size {size} is not below {MAX_MAGLEV}"),
                "use 65537, the default",
            );
        } else if !is_prime(size) {
            scope.error(
                &at,
                format!("table size {size} is not a prime"),
                "use 65537, the default, or another prime",
            );
        }
    }
}

fn is_prime(n: u64) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

fn locality_setting(
    setting: &LocalityLoadBalancerSetting,
    ejects: bool,
    at: &Path<'_>,
    scope: &mut Scope<'_>,
) {
    let (distribute, failover) = (!setting.distribute.is_empty(), !setting.failover.is_empty());
    if distribute && failover {
        let help = "keep `distribute` to split traffic at all times, or `failover` to move it only when endpoints fail";
        scope.note(
            codes::SP0104,
            &at.field("failover"),
            "`distribute` and `failover` exclude each other: `failover` is ignored",
            help,
        );
    } else if distribute && !setting.failover_priority.is_empty() {
        scope.error(
            &at.field("failoverPriority"),
            "only one of `distribute` and `failoverPriority` may be set",
            "keep one of them",
        );
    }
    shares(&setting.distribute, at, scope);
    if !distribute {
        failovers(&setting.failover, at, scope);
        if failover && !ejects {
            let help = "add outlierDetection: without it no endpoint is ever known to be bad";
            scope.warn(
                &at.field("failover"),
                "`failover` has no effect without `outlierDetection`",
                help,
            );
        }
    }
    for (i, key) in setting.failover_priority.iter().enumerate() {
        let name = key.split_once('=').map_or(key.as_str(), |(name, _)| name);
        scope.judge(
            &at.item("failoverPriority", i),
            words::label_key(name),
            "write the key of a label, or key=value",
        );
    }
}

fn failovers(list: &[LocalityFailover], at: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, rule) in list.iter().enumerate() {
        let at = at.item("failover", i);
        if rule.from == rule.to {
            scope.error(
                &at,
                format!("failover from `{}` to itself", rule.from),
                "name another region",
            );
        }
        for (name, region) in [("from", &rule.from), ("to", &rule.to)] {
            if region.contains(['/', '*']) || region.is_empty() {
                scope.error(
                    &at.field(name),
                    format!("`{region}` is not a region"),
                    "regions are written without zones and wildcards",
                );
            }
        }
    }
}

fn shares(list: &[LocalityDistribute], at: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, rule) in list.iter().enumerate() {
        let at = at.item("distribute", i);
        locality(&rule.from, &at.field("from"), scope);
        let overlap = list
            .iter()
            .take(i)
            .position(|other| covers(&other.from, &rule.from) || covers(&rule.from, &other.from));
        if let Some(first) = overlap {
            let message = format!(
                "`{}` overlaps with the locality of distribute[{first}]",
                rule.from
            );
            scope.error(&at.field("from"), message, "make them exclude each other");
        }
        let mut total: u64 = 0;
        for (to, weight) in rule.to.iter() {
            locality(to, &at.field("to"), scope);
            if *weight == 0 {
                scope.error(
                    &at.field("to"),
                    format!("the share of `{to}` is 0"),
                    "remove it: localities that are not named get nothing",
                );
            }
            total += u64::from(*weight);
        }
        if total != 100 {
            scope.error(
                &at.field("to"),
                format!("the shares add up to {total}, not to 100"),
                "",
            );
        }
    }
}

/// `region`, `region/zone`, `region/zone/subzone`; a `*` stands last.
fn locality(text: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    let parts: Vec<&str> = text.split('/').collect();
    let star = text.find('*');
    let last = star.is_none_or(|i| i + 1 == text.len());
    if text.is_empty() || parts.len() > 3 || parts.iter().any(|p| p.is_empty()) || !last {
        scope.error(
            at,
            format!("`{text}` is not a locality"),
            "write region/zone/subzone; a `*` may stand at the end",
        );
    }
}

fn covers(outer: &str, inner: &str) -> bool {
    match outer.strip_suffix('*') {
        Some(prefix) => inner.starts_with(prefix),
        None => {
            outer == inner
                || inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.starts_with('/'))
        }
    }
}

/// `connectionPool`.
pub(super) fn connection_pool(pool: &ConnectionPoolSettings, at: &Path<'_>, scope: &mut Scope<'_>) {
    if pool.tcp.is_none() && pool.http.is_none() {
        scope.error(
            at,
            "`connectionPool` needs `tcp` or `http`",
            "add one of them, or remove it",
        );
    }
    if let Some(tcp) = &pool.tcp {
        tcp_settings(tcp, &at.field("tcp"), scope);
    }
    if let Some(http) = &pool.http {
        http_settings(http, &at.field("http"), scope);
    }
}

fn not_negative(values: &[(&str, i32)], at: &Path<'_>, scope: &mut Scope<'_>) {
    for (name, value) in values {
        if *value < 0 {
            scope.error(
                &at.field(name),
                format!("{value} is negative"),
                "0, also when unset, is no limit",
            );
        }
    }
}

fn durations(values: &[(&str, Option<Duration>)], at: &Path<'_>, scope: &mut Scope<'_>) {
    for (name, value) in values {
        if let Some(value) = value {
            scope.judge(&at.field(name), words::duration(*value), "");
        }
    }
}

fn tcp_settings(tcp: &TcpSettings, at: &Path<'_>, scope: &mut Scope<'_>) {
    not_negative(&[("maxConnections", tcp.max_connections)], at, scope);
    durations(
        &[
            ("connectTimeout", tcp.connect_timeout),
            ("maxConnectionDuration", tcp.max_connection_duration),
        ],
        at,
        scope,
    );
    if tcp.idle_timeout.is_some_and(|t| !t.is_zero()) {
        durations(&[("idleTimeout", tcp.idle_timeout)], at, scope);
    }
    if let Some(timeout) = tcp
        .connect_timeout
        .filter(|t| *t >= Duration::from_millis(1) && *t < SHORT_CONNECT)
    {
        let message = format!(
            "a connect timeout of {}ms fails on the first lost packet, and often across zones",
            timeout.as_millis()
        );
        scope.note(
            codes::SP0201,
            &at.field("connectTimeout"),
            message,
            "use 1s or more; the default is 10s",
        );
    }
    if let Some(alive) = &tcp.tcp_keepalive {
        let at = at.field("tcpKeepalive");
        for (name, value) in [("time", alive.time), ("interval", alive.interval)] {
            if value.is_some_and(|v| v.subsec_nanos() != 0 || v.is_zero()) {
                scope.error(
                    &at.field(name),
                    "keep-alive times are whole seconds",
                    "write it like 75s",
                );
            }
        }
    }
}

fn http_settings(http: &HttpSettings, at: &Path<'_>, scope: &mut Scope<'_>) {
    not_negative(
        &[
            ("http1MaxPendingRequests", http.http1_max_pending_requests),
            ("http2MaxRequests", http.http2_max_requests),
            ("maxRequestsPerConnection", http.max_requests_per_connection),
            ("maxRetries", http.max_retries),
            ("maxConcurrentStreams", http.max_concurrent_streams),
        ],
        at,
        scope,
    );
    if http.idle_timeout.is_some_and(|t| !t.is_zero()) {
        durations(&[("idleTimeout", http.idle_timeout)], at, scope);
    }
    if http.use_client_protocol
        && http.h2_upgrade_policy == crate::api::destination_rule::H2UpgradePolicy::Upgrade
    {
        scope.error(
            &at.field("useClientProtocol"),
            "`useClientProtocol` and h2UpgradePolicy UPGRADE contradict each other",
            "keep one of them",
        );
    }
    let few = http.max_requests_per_connection;
    if (1..=FEW_REQUESTS).contains(&few) {
        let times = if few == 1 {
            "never reused".to_owned()
        } else {
            format!("closed after {few} requests")
        };
        let help = "remove it: 0, the default, is no limit";
        scope.note(
            codes::SP0202,
            &at.field("maxRequestsPerConnection"),
            format!("connections are {times}, which costs a handshake each time"),
            help,
        );
    }
    if let Some(alive) = &http.http2_keep_alive {
        let at = at.field("http2KeepAlive");
        for (name, value) in [("interval", alive.interval), ("timeout", alive.timeout)] {
            match value {
                None => scope.error(&at, format!("`{name}` is missing"), ""),
                Some(value) => scope.judge(&at.field(name), words::duration(value), ""),
            }
        }
    }
}
