//! The clocks of an exchange: which run in which state, and what it means when one is over.

use super::state::{Exchange, State};
use super::{Policy, REPLY_TIME};
use crate::failure::FailureKind;
use crate::time::{Now, earliest};
use sallyport_config::ir::Millis;

/// What a deadline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// The exchange failed.
    Whole(FailureKind),
    /// This try failed.
    Try,
    /// The back-off is over.
    Backoff,
    /// The client does not take our answer.
    Answer,
}

impl Exchange<'_> {
    /// The earliest deadline.
    pub(super) fn next_due(&self) -> Option<Now> {
        self.clocks()
            .iter()
            .fold(None, |next, (at, _)| earliest(next, *at))
    }

    /// What a deadline that has come means: the earliest that ends the exchange, else of a try
    /// or a wait. A shell that wakes late must not begin a try whose time is over already.
    pub(super) fn expired(&self, now: Now) -> Option<Expiry> {
        let mut first: Option<(bool, Now, Expiry)> = None;
        for (at, what) in self.clocks() {
            let Some(at) = at.filter(|at| *at <= now) else {
                continue;
            };
            let goes_on = matches!(what, Expiry::Try | Expiry::Backoff);
            if first.is_none_or(|(other, earlier, _)| (goes_on, at) < (other, earlier)) {
                first = Some((goes_on, at, what));
            }
        }
        first.map(|(_, _, what)| what)
    }

    /// Every clock that runs now. Of two that end together the first in this list counts.
    fn clocks(&self) -> [(Option<Now>, Expiry); 6] {
        let Policy { retry, limits, .. } = &self.policy;
        let request_complete = self.complete_at.is_some();
        let (open, before_head, trying, backoff) = match self.state {
            State::Connect { .. } | State::Send | State::AwaitHead => (true, true, true, None),
            State::Backoff { until } => (true, true, false, Some(until)),
            State::Relay { .. } => (true, false, false, None),
            State::Reply(_) | State::Abort(_) | State::Done => (false, false, false, None),
        };
        let run = |on: bool, from: Option<Now>, limit: Option<Millis>| match (on, from, limit) {
            (true, Some(from), Some(limit)) if limit.0 > 0 => Some(from + limit),
            _ => None,
        };
        let try_from = self.complete_at.map(|at| at.max(self.try_at));
        let idle = match self.state {
            State::Reply(_) => (Some(self.moved_at + REPLY_TIME), Expiry::Answer),
            _ => (
                run(open, Some(self.moved_at), limits.idle),
                Expiry::Whole(FailureKind::StreamIdle { request_complete }),
            ),
        };
        [
            (
                run(open, Some(self.begun_at), limits.duration),
                Expiry::Whole(FailureKind::MaxDuration { request_complete }),
            ),
            (
                run(
                    before_head && !request_complete,
                    Some(self.begun_at),
                    limits.request,
                ),
                Expiry::Whole(FailureKind::RequestTimeout),
            ),
            (
                // an upgraded connection lives on (Envoy never arms it: the request has no end)
                run(open && !self.tunnel, self.complete_at, self.policy.timeout),
                Expiry::Whole(FailureKind::RouteTimeout),
            ),
            (run(trying, try_from, retry.per_try_timeout), Expiry::Try),
            idle,
            (backoff, Expiry::Backoff),
        ]
    }
}

/// The limit of a request: the route's, and for gRPC the smaller of it and `grpc-timeout`
/// (istio sets `max_grpc_timeout` to the route's timeout). A malformed value is ignored.
#[must_use]
pub fn effective_timeout(route: Option<Millis>, grpc_timeout: Option<&[u8]>) -> Option<Millis> {
    let route = route.filter(|limit| limit.0 > 0);
    match (route, grpc_timeout.and_then(parse_grpc_timeout)) {
        (Some(route), Some(client)) => Some(route.min(client)),
        (one, None) | (None, one) => one,
    }
}

/// At most 8 digits and a unit (gRPC over HTTP2, "Timeout"); rounded up to a millisecond.
fn parse_grpc_timeout(value: &[u8]) -> Option<Millis> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let mut number = 0_u64;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number = number * 10 + u64::from(digit);
    }
    Some(Millis(match unit {
        b'H' => number * 3_600_000,
        b'M' => number * 60_000,
        b'S' => number * 1_000,
        b'm' => number,
        b'u' => number.div_ceil(1_000),
        b'n' => number.div_ceil(1_000_000),
        _ => return None,
    }))
}
