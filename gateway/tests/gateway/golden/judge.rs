//! From what a client and the origins saw to a verdict in the model's words.
//!
//! What cannot be seen from outside (timeout, retries, an injected delay) is taken from the model;
//! everything else is what was seen, so that both the case's expectation and the model can be held
//! against it.

use std::collections::BTreeSet;

use sallyport_config::ir::{Cluster, Snapshot, UpstreamTls};
use sallyport_config::model::{Call, Forwarded, Verdict};
use serde_json::Value;

use super::client::{Answer, Seen};
use super::echo::{Arrival, FIELDS, REFUSAL};

/// Body and details of a rate limit's refusal.
const LIMITED: &str = "local_rate_limited";

/// Request fields that the edge itself writes or takes away, whatever rules say.
const EDGE: [&str; 5] = [
    "x-forwarded-proto",
    "x-forwarded-for",
    "x-request-id",
    "host",
    "user-agent",
];

/// Details of a refusal by who was asked.
const ASKED: &str = "ext_authz_denied";

/// The answer that was not made by rules: an upstream that cannot be asked.
pub(super) struct Unasked {
    pub(super) body: &'static [u8],
    pub(super) flags: &'static str,
    pub(super) details: &'static str,
}

/// Whether a forwarded request has nowhere to go, and what is said instead.
pub(super) fn unasked(snapshot: &Snapshot, forwarded: &Forwarded) -> Option<Unasked> {
    let Some(cluster) = cluster(snapshot, &forwarded.cluster) else {
        return Some(Unasked {
            body: b"",
            flags: "NC",
            details: "cluster_not_found",
        });
    };
    if cluster.tls != UpstreamTls::Plain {
        return Some(Unasked {
            // these tests have no certificates of a mesh
            body: b"upstream connect error or disconnect/reset before headers. \
                reset reason: remote connection failure",
            flags: "UF",
            details: "upstream_reset_before_response_started{remote_connection_failure|\
                TLS_error:_Secret_is_not_supplied_by_SDS}",
        });
    }
    cluster.endpoints.is_empty().then_some(Unasked {
        body: b"no healthy upstream",
        flags: "UH",
        details: "no_healthy_upstream",
    })
}

fn cluster<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s Cluster> {
    snapshot.clusters.iter().find(|c| c.name == name)
}

fn is_at(snapshot: &Snapshot, name: &str, arrival: &Arrival) -> bool {
    let cluster = cluster(snapshot, name);
    cluster.is_some_and(|c| c.endpoints.iter().any(|e| e.address == arrival.at))
}

/// What a refusal says to the client.
fn refusal(model: &Verdict) -> &'static [u8] {
    match model {
        Verdict::Denied { details, .. } if details == ASKED => REFUSAL.as_bytes(),
        Verdict::Denied { details, .. } if details == LIMITED => LIMITED.as_bytes(),
        _ => b"RBAC: access denied",
    }
}

/// What happened, as far as it can be seen. `model` gives what cannot.
pub(super) fn verdict(
    snapshot: &Snapshot,
    call: &Call,
    model: &Verdict,
    seen: &Seen,
    arrivals: &[Arrival],
) -> Verdict {
    let answer = match (seen, model) {
        // from outside both are a handshake that fails
        (Seen::NoHandshake, Verdict::NoCertificate) => return Verdict::NoCertificate,
        (Seen::NoHandshake | Seen::Closed, _) => return Verdict::Closed,
        (Seen::Answer(answer), _) => answer,
    };
    if let (Verdict::Tcp(want), [first, ..]) = (model, arrivals) {
        // bytes arrive as they were sent, answers come back as they were written
        let kept = first.values("host") == [&call.authority] && answer.status == 200;
        return Verdict::Tcp(match kept && is_at(snapshot, want, first) {
            true => want.clone(),
            false => format!("the one at {}", first.at),
        });
    }
    if !arrivals.is_empty() {
        return Verdict::Forward(Box::new(forwarded(snapshot, call, model, answer, arrivals)));
    }
    let body = answer.body.as_slice();
    // without a body only its length could be wrong, which the client has checked
    let refusal = refusal(model);
    let text = match model {
        Verdict::Denied { .. } if call.method == "HEAD" => refusal,
        _ => body,
    };
    match model {
        Verdict::Forward(want) => {
            if let Some(unasked) = unasked(snapshot, want)
                && (answer.status, body) == (503, unasked.body)
            {
                return model.clone();
            }
        }
        Verdict::NoRoute if (answer.status, body) == (404, b"") => return Verdict::NoRoute,
        Verdict::Misdirected if (answer.status, body) == (421, b"Misdirected Request") => {
            return Verdict::Misdirected;
        }
        Verdict::Denied { status, details } if (answer.status, text) == (*status, refusal) => {
            return Verdict::Denied {
                status: *status,
                details: details.clone(),
            };
        }
        Verdict::Redirect { route, .. } => {
            return Verdict::Redirect {
                route: route.clone(),
                status: answer.status,
                location: answer.values("location").join(", "),
            };
        }
        Verdict::Preflight(want) if answer.status == 200 && body.is_empty() => {
            return Verdict::Preflight(preflight(want, answer));
        }
        _ => {}
    }
    let (route, details) = match model {
        Verdict::Direct { route, details, .. } => (route.clone(), *details),
        _ => (String::new(), "not expected"),
    };
    // headers only, for gRPC: the text is in a field
    let grpc = answer.values("grpc-message").concat();
    let body = if body.is_empty() {
        grpc.into_bytes()
    } else {
        body.to_vec()
    };
    Verdict::Direct {
        route,
        status: answer.status,
        body,
        details,
    }
}

/// CORS fields of an answer, in the order in which they are expected; others come last.
fn preflight(want: &[(String, String)], answer: &Answer) -> Vec<(String, String)> {
    let cors = |(name, _): &&(String, String)| name.starts_with("access-control-");
    let mut fields: Vec<_> = answer.lines.iter().filter(cors).cloned().collect();
    fields.sort_by_key(|field| want.iter().position(|w| w == field).unwrap_or(want.len()));
    fields
}

fn forwarded(
    snapshot: &Snapshot,
    call: &Call,
    model: &Verdict,
    answer: &Answer,
    arrivals: &[Arrival],
) -> Forwarded {
    let nothing = Forwarded {
        route: String::new(),
        origin: String::new(),
        cluster: String::new(),
        known: true,
        delay: 0,
        authority: String::new(),
        path: String::new(),
        headers: Vec::new(),
        response: Vec::new(),
        timeout: 0,
        attempts: 0,
        mirrors: Vec::new(),
    };
    let want = match model {
        Verdict::Forward(want) => (**want).clone(),
        _ => nothing,
    };
    // copies look alike and come in any order: the request is what came to its cluster
    let first = arrivals
        .iter()
        .find(|a| is_at(snapshot, &want.cluster, a))
        .unwrap_or(&arrivals[0]);
    let reached = if is_at(snapshot, &want.cluster, first) {
        want.cluster.clone()
    } else {
        format!("the one at {}", first.at)
    };
    let response = match response_differs(&want.response, answer) {
        None if answer.status == 200 => want.response.clone(),
        None => vec![format!("status {}", answer.status)],
        Some(why) => vec![why],
    };
    Forwarded {
        cluster: reached,
        known: true,
        authority: first.values("host").join(", "),
        path: first.target.clone(),
        headers: seen_headers(&want, call, first),
        response,
        ..want
    }
}

/// What came of the fields that the model or the call names, the model's first and in its order;
/// and all else that the case might ask for.
fn seen_headers(want: &Forwarded, call: &Call, arrival: &Arrival) -> Vec<(String, String)> {
    let mut names: Vec<&str> = Vec::new();
    let told = want.headers.iter().chain(&call.headers);
    for name in told.map(|(name, _)| name.as_str()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut headers = Vec::new();
    for name in &names {
        let wanted = want.headers.iter().filter(|(n, _)| n == name);
        if EDGE.contains(name) {
            headers.extend(wanted.cloned());
        } else {
            let values = arrival.values(name).into_iter();
            headers.extend(values.map(|value| ((*name).to_owned(), value.to_owned())));
        }
    }
    let original = |n: &str| n.starts_with("x-envoy-original-");
    let others = arrival.lines.iter().filter(|(n, _)| original(n));
    headers.extend(
        others
            .filter(|(n, _)| !names.contains(&n.as_str()))
            .cloned(),
    );
    headers
}

/// Sorted by name, values in order: how lines of different names follow each other means nothing.
pub(super) fn sorted(verdict: &Verdict) -> Verdict {
    let mut verdict = verdict.clone();
    if let Verdict::Forward(forwarded) = &mut verdict {
        forwarded.headers.sort_by(|a, b| a.0.cmp(&b.0));
        forwarded.mirrors.clear();
    }
    verdict
}

/// Does the edits of the response to what origins send, and compares. `server` is the gateway's.
fn response_differs(edits: &[String], answer: &Answer) -> Option<String> {
    let mut want: Vec<(String, String)> = FIELDS
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let mut names: BTreeSet<String> = want.iter().map(|(name, _)| name.clone()).collect();
    for edit in edits {
        if let Some(name) = edit.strip_prefix('-') {
            want.retain(|(n, _)| n != name);
            continue;
        }
        let (name, value) = edit.split_once('=').unwrap();
        let name = match name.strip_suffix('+') {
            Some(name) => name,
            None => {
                want.retain(|(n, _)| n != name);
                name
            }
        };
        names.insert(name.to_owned());
        want.push((name.to_owned(), value.to_owned()));
    }
    let cors = answer.lines.iter().map(|(name, _)| name);
    names.extend(cors.filter(|n| n.starts_with("access-control-")).cloned());
    names.remove("server");
    names.iter().find_map(|name| {
        let want: Vec<_> = want.iter().filter(|(n, _)| n == name).collect();
        let want: Vec<_> = want.iter().map(|(_, value)| value.as_str()).collect();
        let got = answer.values(name);
        (want != got).then(|| format!("{name}: {got:?} instead of {want:?}"))
    })
}

/// Copies of a request: what reached origins beside the request itself, by clusters. A copy that is
/// not like its request is told as what it is.
pub(super) fn copies(snapshot: &Snapshot, model: &Verdict, arrivals: &[Arrival]) -> Vec<String> {
    let Verdict::Forward(want) = model else {
        return arrivals.iter().map(|a| a.at.to_string()).collect();
    };
    let itself = arrivals
        .iter()
        .position(|a| is_at(snapshot, &want.cluster, a));
    let others = arrivals
        .iter()
        .enumerate()
        .filter(|(i, _)| Some(*i) != itself);
    let name = |arrival: &Arrival| {
        let mut mirrors = snapshot.clusters.iter();
        let cluster = mirrors.find(|c| is_at(snapshot, &c.name, arrival));
        let host = arrival.values("host");
        let like = host == [&want.authority] && arrival.target == want.path;
        match cluster {
            Some(cluster) if like => cluster.name.clone(),
            _ => format!("{} for {host:?} {}", arrival.at, arrival.target),
        }
    };
    let mut names: Vec<_> = others.map(|(_, arrival)| name(arrival)).collect();
    names.sort();
    names
}

/// Compares a line of the access log with what should have happened.
pub(super) fn line_differs(
    snapshot: &Snapshot,
    call: &Call,
    model: &Verdict,
    answer: &Answer,
    line: &Value,
) -> Option<String> {
    let text = |name: &str| match &line[name] {
        Value::String(text) if text == "-" => String::new(),
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let named = text("route_name");
    let (route, flags, details, cluster) = match model {
        Verdict::Forward(f) => {
            let (mut flags, details) = match unasked(snapshot, f) {
                Some(unasked) => (unasked.flags, unasked.details),
                None => ("", "via_upstream"),
            };
            if f.delay > 0 {
                flags = "DI";
            }
            (f.route.as_str(), flags, details, f.cluster.as_str())
        }
        Verdict::Direct { route, details, .. } if *details == "fault_filter_abort" => {
            (route.as_str(), "FI", *details, "")
        }
        Verdict::Direct { route, details, .. } => (route.as_str(), "", *details, ""),
        Verdict::Redirect { route, .. } => (route.as_str(), "", "direct_response", ""),
        Verdict::NoRoute => ("", "NR", "route_not_found", ""),
        Verdict::Denied { details, .. } if details == ASKED => ("", "UAEX", details.as_str(), ""),
        // a limit of a route is asked when its name is known
        Verdict::Denied { details, .. } if details == LIMITED => {
            (named.as_str(), "RL", details.as_str(), "")
        }
        Verdict::Denied { details, .. } => ("", "", details.as_str(), ""),
        Verdict::Misdirected => ("", "NR", "misdirected_request", ""),
        Verdict::Preflight(_) => return None,
        Verdict::Refused | Verdict::Closed | Verdict::NoCertificate | Verdict::Tcp(_) => {
            return Some("no line was expected".to_owned());
        }
    };
    let status = answer.status.to_string();
    let sni = call.sni.as_deref().unwrap_or_default().to_ascii_lowercase();
    let mut wants = vec![
        ("route_name", route),
        ("response_code", &status),
        ("path", &call.path),
        ("method", &call.method),
        ("requested_server_name", &sni),
        ("response_code_details", details),
    ];
    let known = snapshot.clusters.iter().any(|c| c.name == cluster);
    if known || cluster.is_empty() {
        wants.push(("upstream_cluster", cluster));
    }
    // a delay comes before an abort, and is told too
    let both = flags == "FI" && text("response_flags") == "DI,FI";
    if !both {
        wants.push(("response_flags", flags));
    }
    let wrong = wants.iter().filter(|(name, want)| text(name) != **want);
    let wrong: Vec<_> = wrong
        .map(|(name, want)| format!("{name} is {:?}, not {want:?}", text(name)))
        .collect();
    (!wrong.is_empty()).then(|| wrong.join(", "))
}
