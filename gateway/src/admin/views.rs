//! What is, as text for people and as JSON in Envoy's shapes (`admin/v3/*.proto`).

use std::fmt::Write as _;
use std::net::SocketAddr;

use sallyport_config::ir::{CertificateSource, Cluster, Endpoint, Snapshot};
use sallyport_config::print;
use sallyport_core::quota::What;
use serde_json::{Value, json};

use super::http::Answer;
use crate::certificate;
use crate::certificate::now;
use crate::control::Status as Control;
use crate::dns::NameStatus;
use crate::generation::Generation;
use crate::listen::BoundAddress;
use crate::log::Stamp;
use crate::process::{Addresses, Gateway, Status};
use crate::source::{Findings, Problem, problem_json};
use crate::stats::Report;
use crate::upstream::Commons;
use sallyport_issuers::KeyStatus;

/// `/listeners`: those of the snapshot that are bound.
pub(super) fn listeners(snapshot: &Snapshot, addresses: &Addresses, as_json: bool) -> Answer {
    let bound = snapshot.listeners.iter().filter_map(|listener| {
        let addresses = addresses.get(&*listener.name)?;
        Some((listener.name.as_str(), addresses.as_slice()))
    });
    if !as_json {
        let lines = bound.flat_map(|(name, addresses)| {
            addresses
                .iter()
                .map(move |address| format!("{name}::{address}\n"))
        });
        return Answer::text(200, lines.collect::<String>());
    }
    let statuses = bound.map(|(name, addresses)| {
        let mut addresses = addresses.iter().map(address_json);
        let mut status = json!({ "name": name, "local_address": addresses.next() });
        let further: Vec<Value> = addresses.collect();
        if let (false, Some(status)) = (further.is_empty(), status.as_object_mut()) {
            status.insert("additional_local_addresses".to_owned(), further.into());
        }
        status
    });
    Answer::json(&json!({ "listener_statuses": statuses.collect::<Vec<_>>() }))
}

fn address_json(address: &BoundAddress) -> Value {
    match address {
        BoundAddress::Tcp(address) => socket_json(*address),
        BoundAddress::Unix(path) => json!({ "pipe": { "path": path } }),
    }
}

fn socket_json(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn place_json(endpoint: &Endpoint) -> Value {
    match &endpoint.socket {
        Some(path) => json!({ "pipe": { "path": **path } }),
        None => socket_json(endpoint.address),
    }
}

/// `/clusters`: upstreams, their endpoints, their counters.
pub(super) fn clusters(
    generation: &Generation,
    commons: &Commons,
    report: &Report,
    as_json: bool,
) -> Answer {
    if as_json {
        let statuses = generation.clusters();
        let statuses = statuses.map(|c| cluster_json(c, commons));
        return Answer::json(&json!({ "cluster_statuses": statuses.collect::<Vec<_>>() }));
    }
    let mut out = String::new();
    for cluster in generation.clusters() {
        cluster_text(&mut out, cluster, commons, report);
    }
    Answer::text(200, out)
}

// Writing to a string cannot fail, hence the discarded results.
fn cluster_text(out: &mut String, cluster: &Cluster, commons: &Commons, report: &Report) {
    let name = &cluster.name;
    let counters = report
        .upstreams
        .get(name.as_str())
        .copied()
        .unwrap_or_default();
    let series = report.series.iter();
    let requests: u64 = series
        .filter(|(labels, _)| *labels.cluster == **name)
        .map(|(_, series)| series.requests)
        .sum();
    for (what, value) in [
        ("cx_active", counters.active()),
        ("cx_total", counters.connects),
        ("cx_connect_fail", counters.failures),
        ("rq_total", requests),
        ("rq_retry", counters.retries),
    ] {
        let _ = writeln!(out, "{name}::{what}::{value}");
    }
    let limits = cluster.traffic.breakers;
    for (what, limit, count) in [
        ("connections", limits.max_connections, What::Connections),
        ("pending_requests", limits.max_pending, What::Pending),
        ("requests", limits.max_requests, What::Requests),
        ("retries", limits.max_retries, What::Retries),
    ] {
        if let Some(limit) = limit {
            let now = commons.count(name, count);
            let _ = writeln!(out, "{name}::default_priority::max_{what}::{limit}");
            let _ = writeln!(out, "{name}::default_priority::open_{what}::{now}");
        }
    }
    let (ejected, sick) = (commons.ejected(name), commons.sick(name));
    for endpoint in &cluster.endpoints {
        let address = &endpoint.address;
        let health = match (sick.contains(address), ejected.contains(address)) {
            (true, true) => "/failed_active_hc/failed_outlier_check",
            (true, false) => "/failed_active_hc",
            (false, true) => "/failed_outlier_check",
            (false, false) => "healthy",
        };
        let (place, weight, priority) = (endpoint.place(), endpoint.weight, endpoint.priority);
        let _ = writeln!(out, "{name}::{place}::health_flags::{health}");
        let _ = writeln!(out, "{name}::{place}::weight::{weight}");
        let _ = writeln!(out, "{name}::{place}::priority::{priority}");
        let (locality, workload) = (&endpoint.locality, &endpoint.workload);
        for (what, text) in [("locality", locality), ("workload", workload)] {
            if !text.is_empty() {
                let _ = writeln!(out, "{name}::{place}::{what}::{text}");
            }
        }
    }
}

fn cluster_json(cluster: &Cluster, commons: &Commons) -> Value {
    let ejected = commons.ejected(&cluster.name);
    let sick = commons.sick(&cluster.name);
    let hosts = cluster.endpoints.iter().map(|endpoint| {
        let mut parts = endpoint.locality.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        json!({
            "address": place_json(endpoint),
            "health_status": {
                "eds_health_status": "HEALTHY",
                "failed_outlier_check": ejected.contains(&endpoint.address),
                "failed_active_health_check": sick.contains(&endpoint.address),
            },
            "weight": endpoint.weight,
            "priority": endpoint.priority,
            "locality": { "region": part(), "zone": part(), "sub_zone": part() },
        })
    });
    json!({
        "name": cluster.name,
        "added_via_api": true,
        "host_statuses": hosts.collect::<Vec<_>>(),
        "observability_name": cluster.name,
    })
}

/// `/certs`: the chains that are served, without keys.
pub(super) fn certificates(snapshot: &Snapshot) -> Answer {
    let now = now();
    let list = snapshot.certificates.iter().map(|certificate| {
        let chain = match &certificate.source {
            CertificateSource::Inline { chain, .. } => certificate::read_chain(chain),
            CertificateSource::Files { .. }
            | CertificateSource::Workload
            | CertificateSource::Missing => Vec::new(),
        };
        let chain = chain.iter().map(|facts| {
            let names = facts
                .names
                .iter()
                .map(|(kind, name)| json!({ *kind: name }));
            json!({
                "path": certificate.name,
                "serial_number": facts.serial_text(),
                "subject_alt_names": names.collect::<Vec<_>>(),
                "days_until_expiration": ((facts.not_after - now).max(0) / 86_400).to_string(),
                "valid_from": stamp(facts.not_before),
                "expiration_time": stamp(facts.not_after),
            })
        });
        json!({ "ca_cert": [], "cert_chain": chain.collect::<Vec<_>>() })
    });
    Answer::json(&json!({ "certificates": list.collect::<Vec<_>>() }))
}

/// Seconds since 1970 as RFC 3339; before that, 1970.
fn stamp(seconds: i64) -> String {
    let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Stamp(std::time::UNIX_EPOCH + since).to_string()
}

/// `/config_dump`: the snapshot in its own text form, in the frame that Envoy's has.
pub(super) fn config_dump(snapshot: &Snapshot, status: &Status) -> Answer {
    let text = print::snapshot(snapshot);
    Answer::json(&json!({ "configs": [{
        "@type": "type.googleapis.com/sallyport.admin.v1.Snapshot",
        "version_info": status.id.to_string(),
        "last_updated": Stamp(status.since).to_string(),
        "snapshot": text.lines().collect::<Vec<_>>(),
    }] }))
}

/// `/generation`
pub(super) fn generation(status: &Status) -> Answer {
    let error = status.last_error.as_ref();
    let error = error
        .map(|(time, message)| json!({ "time": Stamp(*time).to_string(), "message": message }));
    Answer::json(&json!({
        "id": status.id,
        "hash": format!("{:016x}", status.hash),
        "active_since": Stamp(status.since).to_string(),
        "age_seconds": status.age.as_secs_f64(),
        "rejected": status.rejected,
        "last_error": error,
    }))
}

/// `/dns`
pub(super) fn names(names: &[NameStatus]) -> Answer {
    let names = names.iter().map(|name| {
        json!({
            "name": &*name.name,
            "addresses": name.addresses,
            "answered_seconds_ago": name.seconds.map(|(ago, _)| ago),
            "asked_again_in_seconds": name.seconds.map(|(_, next)| next),
            "failures_in_a_row": name.failures,
            "error": name.error,
        })
    });
    Answer::json(&json!({ "names": names.collect::<Vec<_>>() }))
}

/// `/jwks`: never the keys themselves, which are public but nobody's business here.
pub(super) fn keys(sets: &[KeyStatus]) -> Answer {
    let sets = sets.iter().map(|set| {
        json!({
            "url": &*set.url,
            "keys": set.keys,
            "age_seconds": set.age,
            "failures_in_a_row": set.failures,
            "error": set.error,
        })
    });
    Answer::json(&json!({ "sets": sets.collect::<Vec<_>>() }))
}

/// `/control`
pub(super) fn control(status: Option<&Control>) -> Answer {
    let Some(status) = status else {
        return Answer::json(&json!({ "control": null }));
    };
    let facts = status.facts();
    Answer::json(&json!({ "control": {
        "url": facts.url,
        "connected": facts.connected,
        "seconds": facts.seconds,
        "streams": facts.streams,
        "documents": facts.documents,
        "accepted": facts.accepted,
        "refused": facts.refused,
        "identity": facts.identity,
        "certificates": facts.certificates,
        "error": facts.error,
    }}))
}

/// `/diagnostics`
pub(super) fn diagnostics(findings: &Findings, problems: &[Problem], as_json: bool) -> Answer {
    if !as_json {
        let mut text = findings.text(false);
        for problem in problems {
            let _ = writeln!(text, "{}: {problem}", problem.level);
        }
        if text.is_empty() {
            text.push_str("no findings\n");
        }
        return Answer::text(200, text);
    }
    let mut value = findings.json();
    if let Some(Value::Array(list)) = value.get_mut("problems") {
        list.extend(problems.iter().map(problem_json));
    }
    Answer::json(&value)
}

/// Envoy's word for how the process is.
pub(super) fn state(gateway: &Gateway) -> &'static str {
    if gateway.draining.get() || gateway.health_failed.get() {
        "DRAINING"
    } else if gateway.is_ready() {
        "LIVE"
    } else {
        "PRE_INITIALIZING"
    }
}

/// `/server_info`
pub(super) fn server_info(gateway: &Gateway) -> Answer {
    let uptime = format!("{}s", gateway.started.elapsed().as_secs());
    let node = &gateway.options.node;
    let (name, namespace) = (&node.name, &node.namespace);
    Answer::json(&json!({
        "version": format!("sallyport/{}", env!("CARGO_PKG_VERSION")),
        "state": state(gateway),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": {
            "concurrency": gateway.workers(),
            "config_path": gateway.options.config,
            "drain_time": format!("{}s", gateway.drain_time().as_secs()),
            "log_level": crate::log::level().as_str(),
        },
        "driver": gateway.driver.to_string(),
        "node": {
            "id": format!("router~{name}.{namespace}"),
            "cluster": format!("{name}.{namespace}"),
            "metadata": { "LABELS": node.labels, "NAMESPACE": namespace, "CLUSTER_ID": node.cluster },
        },
    }))
}
