//! Rate limits as text.

use super::{Out, origin};
use crate::ir::*;

/// All limits, in the order in which they are asked.
pub(super) fn limits(out: &mut Out, limits: &[Limit]) {
    for limit in limits {
        let line = format!("limit {} {:?}", limit.name, limit.stage);
        out.nested(&line, |out| one(out, limit));
    }
}

fn one(out: &mut Out, limit: &Limit) {
    let Rate {
        burst,
        tokens,
        interval,
    } = limit.rate;
    out.line(&origin(&limit.origin));
    out.line(&format!("{tokens} in {}ms burst {burst}", interval.0));
    for host in &limit.hosts {
        out.line(&format!("host {host}"));
    }
    for route in &limit.routes {
        let LimitedRoute {
            namespace,
            name,
            route,
        } = route;
        let route = route.as_deref().unwrap_or("*");
        out.line(&format!("route {namespace}/{name} {route}"));
    }
    for condition in &limit.when {
        super::policy::line(out, condition);
    }
    if !limit.key.is_empty() {
        let key: Vec<String> = limit.key.iter().map(part).collect();
        let most = limit.keys_max;
        out.line(&format!("per {} keys {most}", key.join(", ")));
    }
    for (what, share) in [("enabled", limit.enabled), ("enforced", limit.enforced)] {
        if share != Ppm::ALL {
            out.line(&format!("{what} {}ppm", share.0));
        }
    }
    let exhausted = if limit.exhausted { " exhausted" } else { "" };
    out.line(&format!("answers {}{exhausted}", limit.status));
    if let Some(told) = &limit.told {
        out.line(&format!("told as {told}"));
    }
    for (name, value) in &limit.headers {
        out.line(&format!("adds {name}: {value}"));
    }
}

fn part(key: &LimitKey) -> String {
    match key {
        LimitKey::Client => "client".to_owned(),
        LimitKey::Host => "host".to_owned(),
        LimitKey::Route => "route".to_owned(),
        LimitKey::Header(name) => format!("header {name}"),
        LimitKey::Claim(path) => format!("claim {}", path.join(".")),
    }
}
