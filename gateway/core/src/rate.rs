//! How many requests may pass: local rate limits.
//!
//! Limits are asked twice: [`first`], before anybody is authenticated, and [`routed`], when policies
//! have let the request pass and its route is known. A request takes a token of every limit that it
//! counts for, in order, up to the first that refuses it; what it took stays taken.

mod bucket;
mod buckets;
mod told;

use crate::admit::{Admitted, Check, Claims, Denial, Facts};
use crate::call::Call;
use crate::flags::Flags;
use crate::reply::Reply;
use crate::tables::{Found, Tables};
use crate::time::Now;
use sallyport_config::ir::{Limit, LimitKey, LimitStage, Ppm, Route, Snapshot};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

pub use bucket::{Bucket, Taken};
pub use buckets::Buckets;

/// What the client is told, and `%RESPONSE_CODE_DETAILS%`; Envoy's words.
const REFUSED: &str = "local_rate_limited";

/// What limits need beside the call.
pub trait Meter {
    /// The time by a clock that all workers agree on.
    fn now(&self) -> Now;

    /// A die, 0..1_000_000.
    fn die(&mut self) -> u32;

    /// The buckets of a limit, by its place in [`Snapshot::limits`]. Without them nothing is limited.
    fn buckets(&self, limit: usize) -> Option<&Buckets>;

    /// A request met a limit.
    fn count(&mut self, limit: &Limit, met: Met);
}

/// How a request met a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// There was a token.
    Within,
    /// There was none; it was let pass, for the limit is not enforced.
    Unenforced,
    /// There was none, and it was refused.
    Refused,
}

/// All limits of a snapshot, compiled.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Conditions, by limit.
    when: Vec<Box<[Check]>>,
    first: Box<[usize]>,
    routed: bool,
}

impl Limits {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let limits = &snapshot.limits;
        let first = limits.iter().enumerate();
        let first = first.filter(|(_, limit)| limit.stage == LimitStage::First);
        Self {
            when: limits
                .iter()
                .map(|limit| limit.when.iter().map(Check::new).collect())
                .collect(),
            first: first.map(|(index, _)| index).collect(),
            routed: limits.iter().any(|l| l.stage == LimitStage::Routed),
        }
    }

    /// Whether a request counts for a limit.
    fn counts(&self, limit: &Limit, index: usize, facts: &Facts<'_>) -> bool {
        let hosts = &limit.hosts;
        let when = self.when.get(index);
        (hosts.is_empty() || hosts.iter().any(|host| host.matches(facts.host())))
            && when.is_none_or(|all| all.iter().all(|check| check.holds(facts)))
    }

    /// Which limits are asked about requests that take a route.
    pub(crate) fn of_route(&self, limits: &[Limit], route: &Route) -> Box<[usize]> {
        if !self.routed {
            return Box::default();
        }
        let of = |limit: &Limit| limit.stage == LimitStage::Routed && limit.is_of(route);
        let all = limits.iter().enumerate();
        all.filter(|(_, limit)| of(limit)).map(|(i, _)| i).collect()
    }
}

/// The limits that a request counts for, in order; without a route, those that need none.
pub(crate) fn counting<'t>(
    tables: &'t Tables,
    found: Option<Found<'t>>,
    call: &Call<'_>,
) -> Vec<&'t Limit> {
    let claims = Claims::default();
    let facts = Facts::new(call, &claims);
    let first = tables.limits().first.iter();
    let routed = found.iter().flat_map(|found| &found.rule.limits);
    let counting = first.chain(routed).filter_map(|index| {
        let limit = tables.snapshot().limits.get(*index)?;
        tables
            .limits()
            .counts(limit, *index, &facts)
            .then_some(limit)
    });
    counting.collect()
}

/// Asks what is asked of a request of which nothing else is known.
///
/// # Errors
/// The answer of the limit that refuses it.
pub fn first<'t>(
    tables: &'t Tables,
    call: &Call<'_>,
    meter: &mut dyn Meter,
) -> Result<(), Denial<'t>> {
    let asked = &*tables.limits().first;
    if asked.is_empty() {
        return Ok(());
    }
    let claims = Claims::default();
    ask(tables, asked, &Facts::new(call, &claims), None, meter)
}

/// Asks what is asked of a request that takes a route.
///
/// # Errors
/// The answer of the limit that refuses it.
pub fn routed<'t>(
    tables: &'t Tables,
    found: Found<'t>,
    call: &Call<'_>,
    admitted: &Admitted,
    meter: &mut dyn Meter,
) -> Result<(), Denial<'t>> {
    let asked = &*found.rule.limits;
    if asked.is_empty() {
        return Ok(());
    }
    let facts = Facts::new(call, admitted.claims());
    ask(tables, asked, &facts, Some(found.route), meter)
}

fn ask<'t>(
    tables: &'t Tables,
    asked: &[usize],
    facts: &Facts<'_>,
    route: Option<&Route>,
    meter: &mut dyn Meter,
) -> Result<(), Denial<'t>> {
    let now = meter.now();
    for index in asked {
        let Some(limit) = tables.snapshot().limits.get(*index) else {
            continue;
        };
        if !tables.limits().counts(limit, *index, facts) || !hits(limit.enabled, meter) {
            continue;
        }
        let value = Value {
            key: &limit.key,
            facts,
            route,
        };
        let Some(buckets) = meter.buckets(*index) else {
            continue;
        };
        let taken = buckets.take(&value, limit.rate, now);
        if taken.allowed {
            meter.count(limit, Met::Within);
        } else if hits(limit.enforced, meter) {
            meter.count(limit, Met::Refused);
            return Err(refusal(limit, taken));
        } else {
            meter.count(limit, Met::Unenforced);
        }
    }
    Ok(())
}

fn hits(share: Ppm, meter: &mut dyn Meter) -> bool {
    share == Ppm::ALL || (share != Ppm(0) && share.hit(meter.die()))
}

fn refusal<'t>(limit: &'t Limit, taken: Taken) -> Denial<'t> {
    let mut reply = Reply::text(limit.status, Flags::RL, REFUSED, REFUSED);
    // RESOURCE_EXHAUSTED
    reply.grpc = limit.exhausted.then_some(8);
    told::tell(limit, taken, &mut reply);
    let own = limit.headers.iter();
    let own = own.map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    reply.headers.extend(own);
    Box::new(reply)
}

/// The value of a key for a request.
struct Value<'a> {
    key: &'a [LimitKey],
    facts: &'a Facts<'a>,
    route: Option<&'a Route>,
}

impl Hash for Value<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for part in self.key {
            match part {
                LimitKey::Client => client(self.facts.client()).hash(state),
                LimitKey::Host => self.facts.host().hash(state),
                LimitKey::Route => {
                    let route = self.route.map(|route| (&route.origin, &route.name));
                    route.hash(state);
                }
                LimitKey::Header(name) => {
                    let mut lines = 0_u32;
                    self.facts.lines(name, &mut |line| {
                        line.hash(state);
                        lines += 1;
                        false
                    });
                    lines.hash(state);
                }
                LimitKey::Claim(path) => {
                    let mut strings = 0_u32;
                    self.facts.claims().any(path, |text| {
                        text.hash(state);
                        strings += 1;
                        false
                    });
                    strings.hash(state);
                }
            }
        }
    }
}

/// Who counts as one client: an IPv4 address, or the first 64 bits of an IPv6 address.
fn client(address: IpAddr) -> [u8; 8] {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            // IPv6 has no such prefix: ::/8 is reserved (RFC 4291 §2.4)
            [0, 0, 0, 4, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

#[cfg(test)]
mod tests;
