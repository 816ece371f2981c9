//! Why a request goes where it goes: every candidate in order, and the first condition that each
//! one failed, with the line that it was written on.

mod words;

use crate::admit::Admitted;
use crate::call::{Call, Scheme};
use crate::decide::{Answer, Decision, Where, act, find};
use crate::plan::Plan;
use crate::rate;
use crate::tables::{Answering, Found, Reached, Tables, host_of};
use sallyport_config::ir::{
    Action, ClusterRef, Forward, HttpService, Limit, Ppm, Rate, VirtualHost,
};
use sallyport_config::model::Dice;
use serde::Serialize;
use std::fmt;
use std::ops::ControlFlow;

/// Hosts that are listed when none matches.
const HOSTS_SHOWN_MAX: usize = 20;

/// Rules that are listed.
const RULES_SHOWN_MAX: usize = 10_000;

/// Dice that hit no fault and no mirror of less than 100 %, and the first destination.
const USUAL: Dice = Dice {
    target: 0,
    delay: 999_999,
    abort: 999_999,
    mirror: 999_999,
};

/// The way of a request through the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Listener and filter chain.
    pub listener: String,
    /// Hosts that were considered, the chosen one marked.
    pub hosts: Vec<HostStep>,
    /// Rules of the chosen host, in order, up to and including the one that matched.
    pub rules: Vec<RuleStep>,
    /// Rate limits that it counts for, in the order in which they are asked.
    pub limits: Vec<LimitStep>,
    /// What happens in the end, in words, if no limit refuses it.
    pub verdict: String,
}

/// A host pattern that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostStep {
    /// `*.example.com`
    pub pattern: String,
    /// It was chosen.
    pub chosen: bool,
    /// Why not, or why.
    pub why: String,
}

/// A rule that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleStep {
    /// Name of the rule, empty for none.
    pub name: String,
    /// `VirtualService ns/name spec.http[0].match[0]`
    pub origin: String,
    /// `file:line`, empty when it did not come from text.
    pub location: String,
    /// It matched.
    pub matched: bool,
    /// The first condition that failed: `uri prefix /v2/ does not match /other`.
    pub why: String,
}

/// A rate limit that a request counts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitStep {
    /// `namespace/name/limit`
    pub name: String,
    /// `RateLimit ns/name spec.limits[0]`
    pub origin: String,
    /// `file:line`, empty when it did not come from text.
    pub location: String,
    /// `100 in 60000 ms, at once 100`
    pub rate: String,
}

impl LimitStep {
    fn new(limit: &Limit) -> Self {
        let Rate {
            burst,
            tokens,
            interval,
        } = limit.rate;
        let only = if limit.enforced == Ppm(0) {
            ", counted only"
        } else {
            ""
        };
        Self {
            name: limit.name.clone(),
            origin: limit.origin.to_string(),
            location: limit.origin.location.clone(),
            rate: format!("{tokens} in {} ms, at once {burst}{only}", interval.0),
        }
    }
}

/// Explains a request without a token; chance falls as it mostly would.
#[must_use]
pub fn explain(tables: &Tables, at: Where, call: &Call<'_>) -> Explanation {
    let hosts = match tables.http(at, call.authority) {
        Answering::Here(service) => hosts(tables, service, call.authority),
        Answering::Elsewhere | Answering::Nobody => Vec::new(),
    };
    let rules = match tables.host(at, call.authority) {
        Reached::Host(host) if host.https_redirect.is_some() && call.scheme != Scheme::Https => {
            Vec::new()
        }
        Reached::Host(host) => rules(tables.rules(host), call),
        Reached::Misdirected | Reached::Nothing => Vec::new(),
    };
    let reached = find(tables, at, call, &Admitted::default());
    let found = match &reached {
        ControlFlow::Continue(found) => Some(*found),
        ControlFlow::Break(_) => None,
    };
    let limits = rate::counting(tables, found, call);
    let decision = match reached {
        ControlFlow::Continue(found) => act(found, call, &USUAL),
        ControlFlow::Break(decision) => decision,
    };
    Explanation {
        limits: limits.into_iter().map(LimitStep::new).collect(),
        listener: listener(tables, at),
        hosts,
        rules,
        verdict: match &decision {
            Decision::Forward(plan) => forwarded(tables, plan, call),
            Decision::Reply(answer) => answered(answer),
        },
    }
}

fn listener(tables: &Tables, at: Where) -> String {
    let listener = tables.listener(at.listener);
    let mut text = listener.map_or("no listener", |l| &l.name).to_owned();
    if let Some(chain) = at.chain.and_then(|c| tables.filter_chain(at.listener, c)) {
        text.extend([
            ", filter chain ",
            &chain.name,
            " of ",
            &chain.origin.to_string(),
        ]);
    }
    text
}

/// Patterns that match, most specific first; if none does, the first few that do not.
fn hosts(tables: &Tables, service: &HttpService, authority: &str) -> Vec<HostStep> {
    let tables = &tables.snapshot().route_tables;
    let table = usize::try_from(service.routes.0)
        .ok()
        .and_then(|at| tables.get(at));
    let host = host_of(authority).to_ascii_lowercase();
    let all = || {
        let hosts = table.iter().flat_map(|table| &table.hosts);
        hosts.flat_map(|host: &VirtualHost| &host.domains)
    };
    let mut found: Vec<_> = all().filter(|pattern| pattern.matches(&host)).collect();
    // the order of the variants is the order of precedence, and a suffix yields to a longer one
    found.sort_by_key(|pattern| {
        (
            words::rank(pattern),
            std::cmp::Reverse(pattern.to_string().len()),
        )
    });
    let chosen = found.first().map(|pattern| pattern.to_string());
    let matching = found.into_iter().enumerate().map(|(at, pattern)| HostStep {
        pattern: pattern.to_string(),
        chosen: at == 0,
        why: match &chosen {
            Some(chosen) if at > 0 => format!("{chosen} is more specific"),
            _ => format!("matches {host}"),
        },
    });
    let none = all().take(if chosen.is_none() { HOSTS_SHOWN_MAX } else { 0 });
    let none = none.map(|pattern| HostStep {
        pattern: pattern.to_string(),
        chosen: false,
        why: format!("does not match {host}"),
    });
    matching.chain(none).collect()
}

fn rules<'t>(all: impl Iterator<Item = Found<'t>>, call: &Call<'_>) -> Vec<RuleStep> {
    let mut steps = Vec::new();
    for Found { route, rule } in all.take(RULES_SHOWN_MAX) {
        let failed = words::first_failed(&route.matcher, &rule.conditions, call);
        let matched = failed.is_none();
        steps.push(RuleStep {
            name: route.name.clone(),
            origin: route.origin.to_string(),
            location: route.origin.location.clone(),
            matched,
            why: failed.unwrap_or_else(|| "all conditions hold".to_owned()),
        });
        if matched {
            break;
        }
    }
    steps
}

fn forwarded(tables: &Tables, plan: &Plan<'_>, call: &Call<'_>) -> String {
    let name = |reference: &ClusterRef| match reference {
        ClusterRef::Known(id) => tables.cluster(*id).map_or("?", |c| &c.name).to_owned(),
        ClusterRef::Missing(name) => format!("{name}, which does not exist: 503 NC"),
    };
    let mut text = String::from("forwarded to ");
    match &plan.route.action {
        Action::Forward(forward) if forward.targets.len() > 1 => {
            text.push_str(&shares(forward, name));
        }
        _ => text.push_str(&name(plan.cluster)),
    }
    if !plan.path.is_kept() {
        text.extend([" as ", &plan.path.parts(call.path).concat()]);
    }
    if let Some(authority) = plan.authority {
        text.extend([" with authority ", authority]);
    }
    if let Some(delay) = plan.delay {
        text.push_str(&format!(" after an injected delay of {} ms", delay.0));
    }
    for id in &plan.mirrors {
        text.extend([", copied to ", &name(&ClusterRef::Known(*id))]);
    }
    text
}

fn shares(forward: &Forward, name: impl Fn(&ClusterRef) -> String) -> String {
    let sum: u64 = forward.targets.iter().map(|t| u64::from(t.weight)).sum();
    let shares = forward.targets.iter().map(|target| {
        let weight = target.weight;
        format!("{} ({weight} of {sum})", name(&target.cluster))
    });
    shares.collect::<Vec<_>>().join(" or ")
}

fn answered(answer: &Answer<'_>) -> String {
    let reply = &answer.reply;
    let mut headers = reply.headers.iter();
    let location = headers.find(|(name, _)| name == "location");
    let mut text = match (&*reply.details, location) {
        (_, Some((_, location))) => format!("redirected with {} to {location}", reply.status),
        ("route_not_found", _) => "answered 404 NR: no host or no rule matches".to_owned(),
        ("misdirected_request", _) => {
            "answered 421: the authority belongs to another certificate or TLS policy".to_owned()
        }
        ("cors_response", _) => "answered 200: a CORS preflight".to_owned(),
        (details, _) => format!("answered {} ({details})", reply.status),
    };
    if let Some(Action::Fail { why, .. }) = answer.route.map(|route| &route.action) {
        text.extend([": ", why]);
    }
    text
}

impl fmt::Display for Explanation {
    /// For people: one line a step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |chosen| if chosen { '*' } else { ' ' };
        writeln!(f, "listener {}", self.listener)?;
        for host in &self.hosts {
            let mark = mark(host.chosen);
            writeln!(f, "{mark} host {}: {}", host.pattern, host.why)?;
        }
        for rule in &self.rules {
            write!(f, "{} {}", mark(rule.matched), rule.origin)?;
            if !rule.name.is_empty() {
                write!(f, " \"{}\"", rule.name)?;
            }
            if !rule.location.is_empty() {
                write!(f, " ({})", rule.location)?;
            }
            writeln!(f, ": {}", rule.why)?;
        }
        for limit in &self.limits {
            write!(f, "  limit {}", limit.origin)?;
            if !limit.location.is_empty() {
                write!(f, " ({})", limit.location)?;
            }
            writeln!(f, ": {}", limit.rate)?;
        }
        writeln!(f, "=> {}", self.verdict)
    }
}

#[cfg(test)]
mod tests;
