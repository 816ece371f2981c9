//! Traffic policies of a cluster as text: only what differs from the defaults.

use super::{Out, limit, millis};
use crate::ir::*;

pub(super) fn balance(balance: &Balance) -> String {
    let Balance::Hash(policy) = balance else {
        return format!("{balance:?}");
    };
    let key = match &policy.key {
        HashKey::Header(name) => format!("header {name}"),
        HashKey::SourceIp => "source ip".to_owned(),
        HashKey::Query(name) => format!("query {name}"),
        HashKey::Cookie(cookie) => {
            let mut text = format!("cookie {} ttl {}", cookie.name, millis(cookie.ttl));
            if !cookie.path.is_empty() {
                text = format!("{text} path {}", cookie.path);
            }
            for (name, value) in &cookie.attributes {
                text = format!("{text} {name}={value}");
            }
            text
        }
    };
    match policy.table {
        HashTable::Ring(size) => format!("hash ({key}) ring {size}"),
        HashTable::Maglev(size) => format!("hash ({key}) maglev {size}"),
    }
}

pub(super) fn traffic(out: &mut Out, traffic: &Traffic) {
    let default = Traffic::default();
    if traffic.breakers != default.breakers {
        let b = &traffic.breakers;
        out.line(&format!(
            "breakers connections {} pending {} requests {} retries {}",
            limit(b.max_connections),
            limit(b.max_pending),
            limit(b.max_requests),
            limit(b.max_retries)
        ));
    }
    if let Some(budget) = &traffic.retry_budget {
        out.line(&format!(
            "retry_budget {}ppm min {} interval {}",
            budget.share.0,
            budget.min_concurrency,
            millis(Some(budget.interval))
        ));
    }
    if let Some(o) = &traffic.outlier {
        outlier(out, o);
    }
    if traffic.panic_threshold != default.panic_threshold {
        out.line(&format!("panic_threshold {}", traffic.panic_threshold));
    }
    if let Some(warmup) = &traffic.warmup {
        out.line(&format!(
            "warmup {} minimum {}ppm aggression {}/1000",
            millis(Some(warmup.duration)),
            warmup.minimum.0,
            warmup.aggression_milli
        ));
    }
    for share in &traffic.locality_weights {
        out.line(&format!(
            "locality {} share {}",
            share.locality, share.weight
        ));
    }
    if let Some(k) = &traffic.keepalive {
        out.line(&format!(
            "keepalive probes {} time {} interval {}",
            limit(k.probes),
            limit(k.time),
            limit(k.interval)
        ));
    }
    if traffic.max_connection_duration.is_some() {
        let age = millis(traffic.max_connection_duration);
        out.line(&format!("max_connection_duration {age}"));
    }
    if let Some(version) = traffic.proxy_protocol {
        out.line(&format!("proxy_protocol {version:?}"));
    }
    if traffic.max_streams.is_some() {
        out.line(&format!("max_streams {}", limit(traffic.max_streams)));
    }
    if let Some(ping) = traffic.ping {
        let (interval, timeout) = (millis(Some(ping.interval)), millis(Some(ping.timeout)));
        out.line(&format!("ping interval {interval} timeout {timeout}"));
    }
    if let Some(check) = &traffic.health {
        health(out, check);
    }
}

fn health(out: &mut Out, check: &HealthCheck) {
    out.line(&format!(
        "health check {:?} interval {} timeout {} unhealthy {} healthy {}",
        check.probe,
        millis(Some(check.interval)),
        millis(Some(check.timeout)),
        check.unhealthy,
        check.healthy
    ));
}

fn outlier(out: &mut Out, o: &Outlier) {
    let codes: Vec<String> = o.error_codes.iter().map(u16::to_string).collect();
    let codes = if codes.is_empty() {
        "5xx".to_owned()
    } else {
        codes.join(",")
    };
    let local = o
        .consecutive_local
        .map_or_else(String::new, |count| format!(" local {count}"));
    out.line(&format!(
        "outlier errors {} of {codes} gateway {}{local} interval {} ejection {}..{} at most {}%",
        o.consecutive_5xx,
        o.consecutive_gateway,
        millis(Some(o.interval)),
        millis(Some(o.base_ejection)),
        millis(Some(o.max_ejection)),
        o.max_ejection_percent
    ));
}
