//! How many requests may come: local rate limits.

use super::{Conditions, HostPattern, Millis, Origin, Ppm, Route};
use std::sync::Arc;

/// A limit of requests: a token bucket, or one for each value of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limit {
    /// `namespace/name/limit`: in metrics, and what the count goes on under when the configuration
    /// changes.
    pub name: String,
    /// When it is asked.
    pub stage: LimitStage,
    /// Hosts whose requests count, authority without port; empty: all.
    pub hosts: Vec<HostPattern>,
    /// Routes whose requests count; empty: all. Only of [`LimitStage::Routed`].
    pub routes: Vec<LimitedRoute>,
    /// What must hold of a request that counts.
    pub when: Conditions,
    /// What has a bucket of its own; empty: all requests share one.
    pub key: Vec<LimitKey>,
    /// Buckets at once; beyond, the one that is fullest is forgotten. 1 without a key.
    pub keys_max: u32,
    /// How fast.
    pub rate: Rate,
    /// Share of requests that are counted.
    pub enabled: Ppm,
    /// Share of requests over the limit that are refused; the others are counted only.
    pub enforced: Ppm,
    /// Status of a refusal, 400..=599.
    pub status: u16,
    /// gRPC callers are told `RESOURCE_EXHAUSTED`, else what the status maps to.
    pub exhausted: bool,
    /// What a refusal calls the limit in `RateLimit` and `RateLimit-Policy`; `None`: it has neither,
    /// and no `Retry-After`.
    pub told: Option<String>,
    /// Fields that a refusal has beside: lower-case name and value.
    pub headers: Vec<(String, String)>,
    /// Where it was written.
    pub origin: Origin,
}

impl Limit {
    /// Whether it is about requests that take this route.
    #[must_use]
    pub fn is_of(&self, route: &Route) -> bool {
        let of = |limited: &LimitedRoute| {
            let Origin {
                kind,
                namespace,
                name,
                ..
            } = &route.origin;
            let anybodys = limited.name.is_empty();
            let its = *namespace == limited.namespace && *name == limited.name;
            *kind == "VirtualService"
                && (anybodys || its)
                && limited.route.as_ref().is_none_or(|named| {
                    // a match block with a name of its own adds it
                    let rest = route.name.strip_prefix(named.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
        };
        self.routes.is_empty() || self.routes.iter().any(of)
    }
}

/// When a limit is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitStage {
    /// Before anybody is authenticated or asked: nothing is known but the request.
    First,
    /// When policies have let the request pass and its route is known, before faults.
    Routed,
}

/// Routes of a VirtualService.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LimitedRoute {
    /// Namespace of the VirtualService that says it.
    pub namespace: Arc<str>,
    /// Its name; empty: any VirtualService's.
    pub name: Arc<str>,
    /// Name of the route (`http[].name`); `None`: all of them.
    pub route: Option<String>,
}

/// What has a bucket of its own. Requests without it share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// The client's address, as far as it can be trusted; of IPv6 the first 64 bits, which is the
    /// least that one client is given (RFC 6177 §2).
    Client,
    /// The authority without port, in lower case.
    Host,
    /// The route, by where it was written.
    Route,
    /// Lines of a header, by its lower-case name.
    Header(String),
    /// Strings of a claim of the verified token, outermost name first.
    Claim(Vec<String>),
}

/// A token bucket: full at first, and filled continuously.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Tokens that it holds at most, at least 1.
    pub burst: u32,
    /// Tokens that an interval adds, at least 1.
    pub tokens: u32,
    /// The interval, at least 1 ms.
    pub interval: Millis,
}

impl Rate {
    /// What a token takes to come, in nanoseconds, rounded up: never more than the rate says.
    #[must_use]
    pub fn token_nanos(self) -> u64 {
        let interval = self.interval.0.saturating_mul(1_000_000);
        interval.div_ceil(u64::from(self.tokens.max(1))).max(1)
    }

    /// What an empty bucket takes to be full, in nanoseconds.
    #[must_use]
    pub fn full_nanos(self) -> u64 {
        self.token_nanos()
            .saturating_mul(u64::from(self.burst.max(1)))
    }
}
