//! Hosts, routes, matchers and actions as text.

use super::{Out, cluster_name, list, millis, origin};
use crate::ir::*;

/// One route table.
pub(super) fn table(out: &mut Out, snapshot: &Snapshot, table: &RouteTable) {
    out.nested(&format!("routes {}", table.name), |out| {
        for host in &table.hosts {
            out.nested(&format!("host {}", list(&host.domains, "none")), |out| {
                if let Some(status) = host.https_redirect {
                    out.line(&format!("https_redirect {status}"));
                }
                for r in host.routes.iter() {
                    let name = if r.name.is_empty() { "-" } else { &r.name };
                    out.nested(&format!("route {name}"), |out| route(out, snapshot, r));
                }
            });
        }
    });
}

fn route(out: &mut Out, snapshot: &Snapshot, route: &Route) {
    out.line(&origin(&route.origin));
    matcher(out, &route.matcher);
    if let Some(fault) = &route.fault {
        if let Some(delay) = &fault.delay {
            out.line(&format!(
                "delay {}ms share {}ppm",
                delay.duration.0, delay.share.0
            ));
        }
        if let Some(abort) = &fault.abort {
            out.line(&format!(
                "abort {:?} share {}ppm",
                abort.status, abort.share.0
            ));
        }
    }
    if let Some(policy) = &route.cors {
        cors(out, policy);
    }
    ops(out, "", &route.headers);
    match &route.action {
        Action::Fail { status, why } => out.line(&format!("fail {status}: {why}")),
        Action::Direct(direct) => {
            let body = String::from_utf8_lossy(&direct.body);
            out.line(&format!("direct {} body {body:?}", direct.status));
        }
        Action::Redirect(to) => redirect(out, to),
        Action::Forward(to) => forward(out, snapshot, to),
    }
}

fn value(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Present => "present".to_owned(),
        ValueMatch::Exact(v) => format!("exact {v:?}"),
        ValueMatch::Prefix(v) => format!("prefix {v:?}"),
        ValueMatch::Regex(v) => format!("regex {v:?}"),
    }
}

fn matcher(out: &mut Out, matcher: &Matcher) {
    let case = |ignore: &bool| if *ignore { " ignore_case" } else { "" };
    match &matcher.path {
        PathMatch::Any => {}
        PathMatch::Exact { path, ignore_case } => {
            out.line(&format!("path exact {path:?}{}", case(ignore_case)))
        }
        PathMatch::Prefix {
            prefix,
            ignore_case,
        } => {
            out.line(&format!("path prefix {prefix:?}{}", case(ignore_case)));
        }
        PathMatch::Regex(pattern) => out.line(&format!("path regex {pattern:?}")),
    }
    for (what, condition) in [
        ("method", &matcher.method),
        ("authority", &matcher.authority),
        ("scheme", &matcher.scheme),
    ] {
        if let Some(condition) = condition {
            out.line(&format!("{what} {}", value(condition)));
        }
    }
    let not = |invert| if invert { "not " } else { "" };
    for m in &matcher.headers {
        out.line(&format!(
            "header {} {}{}",
            m.name,
            not(m.invert),
            value(&m.value)
        ));
    }
    for m in &matcher.query {
        out.line(&format!("query {} {}", m.name, value(&m.value)));
    }
    for m in &matcher.claims {
        out.line(&format!(
            "claim [{}] {}{}",
            m.path.join("]["),
            not(m.invert),
            value(&m.value)
        ));
    }
}

fn cors(out: &mut Out, cors: &Cors) {
    out.nested("cors", |out| {
        for origin in &cors.allow_origins {
            out.line(&format!("origin {}", value(origin)));
        }
        for (name, text) in [
            ("methods", &cors.allow_methods),
            ("headers", &cors.allow_headers),
            ("expose", &cors.expose_headers),
        ] {
            if !text.is_empty() {
                out.line(&format!("{name} {text}"));
            }
        }
        if let Some(age) = cors.max_age_seconds {
            out.line(&format!("max_age {age}s"));
        }
        if cors.allow_credentials {
            out.line("credentials");
        }
        if !cors.forward_unmatched_preflights {
            out.line("unmatched preflights answered");
        }
    });
}

fn template(template: &Template) -> String {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Literal(literal) => text.push_str(&literal.replace('%', "%%")),
            Piece::Operator {
                name,
                argument,
                max_length,
            } => {
                text.push('%');
                text.push_str(name);
                if let Some(argument) = argument {
                    text.push_str(&format!("({argument})"));
                }
                if let Some(length) = max_length {
                    text.push_str(&format!(":{length}"));
                }
                text.push('%');
            }
        }
    }
    text
}

fn ops(out: &mut Out, of: &str, ops: &HeaderOps) {
    for (side, edits) in [("request", &ops.request), ("response", &ops.response)] {
        for name in &edits.remove {
            out.line(&format!("{of}{side} remove {name}"));
        }
        for write in &edits.write {
            let verb = if write.append { "add" } else { "set" };
            out.line(&format!(
                "{of}{side} {verb} {} {:?}",
                write.name,
                template(&write.value)
            ));
        }
    }
}

fn path_rewrite(rewrite: &PathRewrite) -> String {
    match rewrite {
        PathRewrite::Prefix { from, to } => format!("prefix {from:?} to {to:?}"),
        PathRewrite::Full(to) => format!("full {to:?}"),
        PathRewrite::Regex { pattern, to } => format!("regex {pattern:?} to {to:?}"),
    }
}

fn redirect(out: &mut Out, redirect: &Redirect) {
    out.nested(
        &format!("redirect {} port {:?}", redirect.status, redirect.port),
        |out| {
            if let Some(path) = &redirect.path {
                out.line(&format!("path {}", path_rewrite(path)));
            }
            if let Some(authority) = &redirect.authority {
                out.line(&format!("authority {authority}"));
            }
            if let Some(scheme) = &redirect.scheme {
                out.line(&format!("scheme {scheme}"));
            }
        },
    );
}

fn reference(snapshot: &Snapshot, cluster: &ClusterRef) -> String {
    match cluster {
        ClusterRef::Known(id) => cluster_name(snapshot, *id).to_owned(),
        ClusterRef::Missing(name) => format!("missing {name}"),
    }
}

fn forward(out: &mut Out, snapshot: &Snapshot, forward: &Forward) {
    out.nested(
        &format!("forward timeout {}", millis(forward.timeout)),
        |out| {
            if let Some(path) = &forward.rewrite.path {
                out.line(&format!("rewrite path {}", path_rewrite(path)));
            }
            if let Some(authority) = &forward.rewrite.authority {
                out.line(&format!("rewrite authority {authority}"));
            }
            retry(out, &forward.retry);
            for target in &forward.targets {
                // the weight of an only destination means nothing
                let weight = match forward.targets.len() {
                    1 => String::new(),
                    _ => format!(" weight {}", target.weight),
                };
                let head = format!("to {}{weight}", reference(snapshot, &target.cluster));
                out.nested(&head, |out| {
                    if let Some(authority) = &target.authority {
                        out.line(&format!("authority {authority}"));
                    }
                    ops(out, "", &target.headers);
                });
            }
            for mirror in &forward.mirrors {
                out.line(&format!(
                    "mirror {} share {}ppm",
                    reference(snapshot, &mirror.cluster),
                    mirror.share.0
                ));
            }
        },
    );
}

fn retry(out: &mut Out, retry: &Retry) {
    if *retry == Retry::default() {
        return;
    }
    if retry.attempts == 0 {
        return out.line("retry never");
    }
    let codes: Vec<String> = retry.status_codes.iter().map(u16::to_string).collect();
    let mut on: Vec<&str> = retry_words(&retry.on);
    on.extend(codes.iter().map(String::as_str));
    out.line(&format!(
        "retry {} per_try {} on {} backoff {}ms{}{}",
        retry.attempts,
        millis(retry.per_try_timeout),
        on.join(","),
        retry.backoff_base.0,
        if retry.ignore_previous_hosts {
            ""
        } else {
            " same_hosts"
        },
        if retry.remote_localities {
            " remote_localities"
        } else {
            ""
        },
    ));
}

/// Envoy's words of the set flags.
fn retry_words(on: &RetryOn) -> Vec<&'static str> {
    let words = [
        (on.five_xx, "5xx"),
        (on.gateway_error, "gateway-error"),
        (on.reset, "reset"),
        (on.reset_before_request, "reset-before-request"),
        (on.connect_failure, "connect-failure"),
        (on.envoy_ratelimited, "envoy-ratelimited"),
        (on.retriable_4xx, "retriable-4xx"),
        (on.refused_stream, "refused-stream"),
        (on.retriable_status_codes, "retriable-status-codes"),
        (on.retriable_headers, "retriable-headers"),
        (on.http3_post_connect_failure, "http3-post-connect-failure"),
        (on.cancelled, "cancelled"),
        (on.deadline_exceeded, "deadline-exceeded"),
        (on.internal, "internal"),
        (on.resource_exhausted, "resource-exhausted"),
        (on.unavailable, "unavailable"),
    ];
    words
        .into_iter()
        .filter_map(|(set, word)| set.then_some(word))
        .collect()
}
