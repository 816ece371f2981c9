//! One HTTP rule of a `VirtualService`: what it does with a request.

use std::time::Duration;

use super::{Path, Scope, policy, retry, route_match, words};
use crate::api::shared::Percent;
use crate::api::virtual_service::{
    CorsPolicy, Destination, FaultAbort, FaultDelay, HeaderOperations, Headers, HttpDirectResponse,
    HttpFaultInjection, HttpRedirect, HttpRewrite, HttpRoute,
};
use crate::diag::codes;

/// Most bytes of a direct response's body.
const MAX_BODY: usize = 1024 * 1024;
/// Bodies above this are better served by a service.
const LARGE_BODY: usize = 100 * 1024;

/// Judges one rule.
pub(super) fn http(rule: &HttpRoute, at: &Path<'_>, scope: &mut Scope<'_>) {
    action(rule, at, scope);
    for (i, request) in rule.match_.iter().enumerate() {
        route_match::check(request, &at.item("match", i), scope);
    }
    for (i, route) in rule.route.iter().enumerate() {
        let at = at.item("route", i);
        destination(route.destination.as_ref(), &at, scope);
        headers(route.headers.as_ref(), &at.field("headers"), scope);
    }
    weights(rule.route.iter().map(|r| r.weight), at, scope);
    mirrors(rule, at, scope);
    headers(rule.headers.as_ref(), &at.field("headers"), scope);
    if let Some(timeout) = rule.timeout {
        let help = if timeout.is_zero() {
            "remove it: a request has no timeout unless one is set"
        } else {
            ""
        };
        scope.judge(&at.field("timeout"), words::duration(timeout), help);
    }
    if let Some(retries) = &rule.retries {
        retry::check(retries, &at.field("retries"), scope);
        retry::hints(rule, retries, &at.field("retries"), scope);
    }
    if let Some(fault) = &rule.fault {
        fault_injection(fault, &at.field("fault"), scope);
    }
    if let Some(cors) = &rule.cors_policy {
        cors_policy(cors, &at.field("corsPolicy"), scope);
    }
    if let Some(rewrite) = &rule.rewrite {
        rewrite_check(rewrite, &at.field("rewrite"), scope);
    }
}

/// Exactly one of route, redirect, directResponse and delegate.
fn action(rule: &HttpRoute, at: &Path<'_>, scope: &mut Scope<'_>) {
    let set = [
        ("route", !rule.route.is_empty()),
        ("redirect", rule.redirect.is_some()),
        ("directResponse", rule.direct_response.is_some()),
        ("delegate", rule.delegate.is_some()),
    ];
    let mut given = set.iter().filter(|s| s.1).map(|s| s.0);
    let first = given.next();
    let Some(first) = first else {
        let help = "add route: [{destination: {host: ...}}]";
        scope.error(at, "the rule does nothing: it needs one of `route`, `redirect`, `directResponse` and `delegate`", help);
        return;
    };
    for other in given {
        let message = format!("a rule cannot have both `{first}` and `{other}`");
        scope.error(
            &at.field(other),
            message,
            "keep one of them, or write two rules with different matches",
        );
    }
    if matches!(first, "redirect" | "directResponse") {
        for (name, present) in [
            ("fault", rule.fault.is_some()),
            ("rewrite", rule.rewrite.is_some()),
        ] {
            if present {
                let message = format!("a rule cannot have both `{first}` and `{name}`");
                scope.error(
                    &at.field(name),
                    message,
                    &format!("remove `{name}`: nothing is forwarded"),
                );
            }
        }
    }
    if let Some(redirect) = &rule.redirect {
        redirect_check(rule, redirect, &at.field("redirect"), scope);
    }
    if let Some(response) = &rule.direct_response {
        direct_response(response, &at.field("directResponse"), scope);
    }
    if let Some(delegate) = &rule.delegate {
        let at = at.field("delegate");
        scope.require(
            !delegate.name.is_empty(),
            &at,
            "`delegate.name` is missing",
            "name the VirtualService",
        );
    }
}

fn redirect_check(rule: &HttpRoute, redirect: &HttpRedirect, at: &Path<'_>, scope: &mut Scope<'_>) {
    let by_prefix = redirect.prefix_rewrite.as_deref();
    if redirect.uri.is_empty()
        && by_prefix.is_none()
        && redirect.authority.is_empty()
        && redirect.scheme.is_empty()
        && redirect.port.is_none()
        && redirect.derive_port.is_none()
    {
        let help = "set `uri`, `prefixRewrite`, `authority`, `scheme` or `port`";
        scope.error(at, "the redirect leads to the same place", help);
    }
    if by_prefix.is_some() {
        if !redirect.uri.is_empty() {
            scope.error(
                &at.field("prefixRewrite"),
                "only one of `uri` and `prefixRewrite` may be set",
                "keep one of them",
            );
        }
        let all_prefixes = rule
            .match_
            .iter()
            .all(|m| m.uri.as_ref().is_some_and(|u| u.prefix.is_some()));
        if rule.match_.is_empty() || !all_prefixes {
            let help = "match uri: {prefix: ...} in every match of the rule, or use `uri`";
            scope.error(
                &at.field("prefixRewrite"),
                "`prefixRewrite` needs a prefix to replace",
                help,
            );
        }
    }
    if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
        scope.error(
            &at.field("scheme"),
            format!("`{}` is not a scheme to redirect to", redirect.scheme),
            "write http or https",
        );
    }
    if let Some(port) = redirect.port {
        scope.judge(&at.field("port"), words::port(port), "");
    }
    match redirect.redirect_code {
        0 | 301 | 302 | 303 | 307 | 308 => {}
        300..=399 => scope.warn(
            &at.field("redirectCode"),
            format!(
                "{} is a 3xx status but not a redirect to another place",
                redirect.redirect_code
            ),
            "use 301, 302, 303, 307 or 308",
        ),
        other => scope.error(
            &at.field("redirectCode"),
            format!("{other} is not a redirect"),
            "use 301, 302, 303, 307 or 308",
        ),
    }
}

fn direct_response(response: &HttpDirectResponse, at: &Path<'_>, scope: &mut Scope<'_>) {
    if !words::is_http_status(response.status) {
        let message = if response.status == 0 {
            "`status` is missing".to_owned()
        } else {
            format!("{} is not a status of a response", response.status)
        };
        scope.error(&at.field("status"), message, "use 200 to 599");
    }
    let Some(body) = &response.body else { return };
    if body.string.is_none() && body.bytes.is_none() {
        scope.error(
            &at.field("body"),
            "`body` needs `string` or `bytes`",
            "write body: {string: ...}",
        );
    }
    let text = body.string.as_ref().map_or(0, String::len);
    let size = body.bytes.as_ref().map_or(text, |b| b.0.len());
    if size > MAX_BODY {
        scope.error(
            &at.field("body"),
            format!("the body has {size} bytes, {MAX_BODY} are allowed"),
            "serve it from a service",
        );
    } else if size > LARGE_BODY {
        scope.warn(
            &at.field("body"),
            format!("the body has {size} bytes, which every proxy keeps in memory"),
            "serve it from a service",
        );
    }
}

/// Where a request goes.
pub(super) fn destination(destination: Option<&Destination>, at: &Path<'_>, scope: &mut Scope<'_>) {
    let at = at.field("destination");
    let Some(destination) = destination else {
        scope.error(
            &at,
            "`destination` is missing",
            "add destination: {host: ...}",
        );
        return;
    };
    plain_destination(destination, &at, scope);
}

fn plain_destination(destination: &Destination, at: &Path<'_>, scope: &mut Scope<'_>) {
    let host = destination.host.as_str();
    if host == "*" {
        scope.error(
            &at.field("host"),
            "`*` is not a destination",
            "name the service",
        );
    } else if host.is_empty() {
        scope.error(at, "`destination.host` is missing", "name the service");
    } else if !words::is_ip(host) {
        scope.judge(
            &at.field("host"),
            words::wildcard_host(host),
            "the port goes to `destination.port.number`",
        );
    }
    if !destination.subset.is_empty() {
        scope.judge(&at.field("subset"), words::label(&destination.subset), "");
    }
    if let Some(port) = &destination.port {
        scope.judge(&at.field("port.number"), words::port(port.number), "");
    }
}

/// Several destinations share requests by weight, so one weight must be above 0.
pub(super) fn weights(
    weights: impl ExactSizeIterator<Item = i32>,
    at: &Path<'_>,
    scope: &mut Scope<'_>,
) {
    let many = weights.len() > 1;
    let mut total: i64 = 0;
    for (i, weight) in weights.enumerate() {
        if weight < 0 {
            let at = at.item("route", i);
            scope.error(
                &at.field("weight"),
                format!("weight {weight} is negative"),
                "use 0 or more",
            );
        }
        total += i64::from(weight.max(0));
    }
    if many && total == 0 {
        scope.error(
            &at.field("route"),
            "all weights are 0, so no destination can be chosen",
            "give the destinations weights",
        );
    }
}

fn mirrors(rule: &HttpRoute, at: &Path<'_>, scope: &mut Scope<'_>) {
    if let Some(mirror) = &rule.mirror {
        plain_destination(mirror, &at.field("mirror"), scope);
        if !rule.mirrors.is_empty() {
            scope.error(
                &at.field("mirrors"),
                "only one of `mirror` and `mirrors` may be set",
                "move `mirror` into the list",
            );
        }
    }
    for (i, mirror) in rule.mirrors.iter().enumerate() {
        let at = at.item("mirrors", i);
        destination(mirror.destination.as_ref(), &at, scope);
        percent(
            mirror.percentage.as_ref(),
            &at.field("percentage.value"),
            scope,
        );
    }
    percent(
        rule.mirror_percentage.as_ref(),
        &at.field("mirrorPercentage.value"),
        scope,
    );
    if let Some(value) = rule.mirror_percent {
        let at = at.field("mirrorPercent");
        scope.judge(&at, words::percentage(f64::from(value)), "");
        scope.note(
            codes::IST0002,
            &at,
            "`mirrorPercent` is deprecated",
            &format!("write mirrorPercentage: {{value: {value}}}"),
        );
    }
    let to_none = rule.mirror.is_none() && rule.mirrors.is_empty();
    if to_none && (rule.mirror_percentage.is_some() || rule.mirror_percent.is_some()) {
        scope.warn(
            at,
            "there is a percentage of mirrored requests, but no `mirror`",
            "add `mirror`, or remove the percentage",
        );
    }
}

fn percent(value: Option<&Percent>, at: &Path<'_>, scope: &mut Scope<'_>) {
    if let Some(value) = value {
        scope.judge(at, words::percentage(value.value), "");
    }
}

fn headers(headers: Option<&Headers>, at: &Path<'_>, scope: &mut Scope<'_>) {
    let Some(headers) = headers else { return };
    if let Some(request) = &headers.request {
        operations(request, true, &at.field("request"), scope);
    }
    if let Some(response) = &headers.response {
        operations(response, false, &at.field("response"), scope);
    }
}

fn operations(ops: &HeaderOperations, request: bool, at: &Path<'_>, scope: &mut Scope<'_>) {
    for (list, map) in [("set", &ops.set), ("add", &ops.add)] {
        let at = at.field(list);
        for (name, value) in map.iter() {
            let at = at.field(name);
            let authority = request && (name == ":authority" || name.eq_ignore_ascii_case("host"));
            if !authority {
                operated_name(name, &at, scope);
            }
            scope.judge(&at, words::header_value(value), "");
        }
        let hosts = map
            .keys()
            .filter(|n| request && (*n == ":authority" || n.eq_ignore_ascii_case("host")))
            .count();
        if hosts > 1 {
            scope.error(
                &at,
                "`host` and `:authority` are the same header",
                "keep one of them",
            );
        }
    }
    for (i, name) in ops.remove.iter().enumerate() {
        operated_name(name, &at.item("remove", i), scope);
    }
}

fn operated_name(name: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        scope.error(
            at,
            format!("header `{name}` cannot be changed here"),
            "for the host of a request use rewrite.authority",
        );
    } else {
        scope.judge(at, words::header_name(name), "");
    }
}

fn fault_injection(fault: &HttpFaultInjection, at: &Path<'_>, scope: &mut Scope<'_>) {
    if fault.abort.is_none() && fault.delay.is_none() {
        scope.error(at, "`fault` needs `abort` or `delay`", "add one of them");
    }
    if let Some(abort) = &fault.abort {
        fault_abort(abort, &at.field("abort"), scope);
    }
    if let Some(delay) = &fault.delay {
        fault_delay(delay, &at.field("delay"), scope);
    }
}

fn fault_abort(abort: &FaultAbort, at: &Path<'_>, scope: &mut Scope<'_>) {
    percent(
        abort.percentage.as_ref(),
        &at.field("percentage.value"),
        scope,
    );
    if let Some(status) = abort.http_status {
        let known = u32::try_from(status).is_ok_and(words::is_http_status);
        scope.require(
            known,
            &at.field("httpStatus"),
            &format!("{status} is not a status of a response"),
            "use 200 to 599",
        );
    }
    if let Some(status) = &abort.grpc_status {
        let known =
            GRPC_STATUS.contains(&status.as_str()) || status.parse::<u8>().is_ok_and(|n| n <= 16);
        scope.require(
            known,
            &at.field("grpcStatus"),
            &format!("`{status}` is not a gRPC status"),
            "use a name like UNAVAILABLE",
        );
    }
    if abort.http2_error.is_some() {
        scope.error(
            &at.field("http2Error"),
            "aborting with an HTTP/2 error is not supported, nor is it by Istio",
            "use `httpStatus`",
        );
    }
    if abort.http_status.is_none() && abort.grpc_status.is_none() && abort.http2_error.is_none() {
        scope.error(
            at,
            "`abort` needs `httpStatus` or `grpcStatus`",
            "add httpStatus: 503",
        );
    }
    if abort.percentage.is_none() {
        without_percentage("abort", at, scope);
    }
}

fn without_percentage(what: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    let message = format!("the {what} has no `percentage` and so hits no request");
    scope.note(codes::SP0210, at, message, "add percentage: {value: 100}");
}

fn fault_delay(delay: &FaultDelay, at: &Path<'_>, scope: &mut Scope<'_>) {
    percent(
        delay.percentage.as_ref(),
        &at.field("percentage.value"),
        scope,
    );
    if delay.percent != 0 {
        let at = at.field("percent");
        scope.judge(&at, words::percentage(f64::from(delay.percent)), "");
        scope.note(
            codes::IST0002,
            &at,
            "`percent` is deprecated",
            &format!("write percentage: {{value: {}}}", delay.percent),
        );
    } else if delay.percentage.is_none() {
        without_percentage("delay", at, scope);
    }
    match (delay.fixed_delay, delay.exponential_delay) {
        (Some(fixed), _) => scope.judge(&at.field("fixedDelay"), words::duration(fixed), ""),
        (None, Some(_)) => scope.error(
            &at.field("exponentialDelay"),
            "exponential delays are not supported, nor are they by Istio",
            "use `fixedDelay`",
        ),
        (None, None) => scope.error(at, "`delay` needs `fixedDelay`", "add fixedDelay: 5s"),
    }
}

/// Names of gRPC's status codes, by number.
const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn cors_policy(cors: &CorsPolicy, at: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, origin) in cors.allow_origins.iter().enumerate() {
        policy::string_match(origin, &at.item("allowOrigins", i), scope);
    }
    if !cors.allow_origin.is_empty() {
        let list: Vec<String> = cors
            .allow_origin
            .iter()
            .map(|o| format!("{{exact: \"{o}\"}}"))
            .collect();
        let help = format!("write allowOrigins: [{}]", list.join(", "));
        scope.note(
            codes::IST0002,
            &at.field("allowOrigin"),
            "`allowOrigin` is deprecated",
            &help,
        );
    }
    for (i, method) in cors.allow_methods.iter().enumerate() {
        let known = method == "*" || METHODS.contains(&method.as_str());
        let help = if METHODS.contains(&method.to_ascii_uppercase().as_str()) {
            "methods are written in capitals"
        } else {
            ""
        };
        scope.require(
            known,
            &at.item("allowMethods", i),
            &format!("`{method}` is not a method of HTTP"),
            help,
        );
    }
    for (list, names) in [
        ("allowHeaders", &cors.allow_headers),
        ("exposeHeaders", &cors.expose_headers),
    ] {
        for (i, name) in names.iter().enumerate() {
            if name != "*" {
                scope.judge(&at.item(list, i), words::header_name(name), "");
            }
        }
    }
    if let Some(age) = cors.max_age
        && (age.subsec_nanos() != 0 || age < Duration::from_secs(1))
        && !age.is_zero()
    {
        scope.error(
            &at.field("maxAge"),
            "`maxAge` must be whole seconds",
            "write it like 24h or 600s",
        );
    }
}

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
];

fn rewrite_check(rewrite: &HttpRewrite, at: &Path<'_>, scope: &mut Scope<'_>) {
    if rewrite.uri.is_empty() && rewrite.authority.is_empty() && rewrite.uri_regex_rewrite.is_none()
    {
        scope.error(
            at,
            "the rewrite changes nothing",
            "set `uri`, `uriRegexRewrite` or `authority`",
        );
    }
    let Some(by_regex) = &rewrite.uri_regex_rewrite else {
        return;
    };
    let at_regex = at.field("uriRegexRewrite");
    if !rewrite.uri.is_empty() {
        scope.error(
            &at_regex,
            "only one of `uri` and `uriRegexRewrite` may be set",
            "keep one of them",
        );
    }
    if by_regex.match_.is_empty() || by_regex.rewrite.is_empty() {
        scope.error(
            &at_regex,
            "`uriRegexRewrite` needs both `match` and `rewrite`",
            "set both",
        );
        return;
    }
    scope.regex(&at_regex.field("match"), &by_regex.match_, "");
}
