//! Circuit breakers: counts of a cluster over all workers that never exceed their limits.
//!
//! These are the named quota cells: the one exception from "no atomic read-modify-write on the
//! request path". Limits are often small, so shares by worker would refuse requests while another
//! worker has room; one cell is exact. A cluster without limits has none, and pays nothing.

use crate::time::Now;
use sallyport_config::ir::{Breakers, Millis, RetryBudget, Traffic};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Connections.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests in flight.
    Requests,
    /// Retries under way.
    Retries,
}

/// The counts of one cluster.
#[derive(Debug, Default)]
pub struct Cells {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
    begun: Begun,
}

/// Parts of an interval over which requests are counted: what is counted too long is one of them.
const PARTS: u64 = 8;
/// Bits of a part's count; its number is above them.
const COUNT_BITS: u32 = 32;
const LOW: u64 = (1 << COUNT_BITS) - 1;

/// How many requests began within the last while.
#[derive(Debug, Default)]
struct Begun([AtomicU64; 8]);

impl Begun {
    /// The number of the part that a time is in.
    fn part(interval: Millis, now: Now) -> u64 {
        let length = interval.0.saturating_mul(1_000) / PARTS;
        now.0 / length.max(1)
    }

    fn note(&self, interval: Millis, now: Now) {
        let part = Self::part(interval, now);
        let place = usize::try_from(part % PARTS).unwrap_or(0);
        let Some(cell) = self.0.get(place) else {
            return;
        };
        let tag = part << COUNT_BITS;
        let more = |old: u64| {
            let same = old >> COUNT_BITS == tag >> COUNT_BITS;
            Some(if same { old.saturating_add(1) } else { tag | 1 })
        };
        // It cannot fail: there always is a next count.
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn count(&self, interval: Millis, now: Now) -> u64 {
        let part = Self::part(interval, now);
        let cells = self.0.iter().map(|cell| cell.load(Ordering::Relaxed));
        let age = |value: u64| part.wrapping_sub(value >> COUNT_BITS) & LOW;
        let fresh = cells.filter(|value| age(*value) < PARTS);
        fresh.map(|value| value & LOW).sum()
    }
}

impl Cells {
    fn cell(&self, what: What) -> &AtomicU32 {
        match what {
            What::Connections => &self.connections,
            What::Pending => &self.pending,
            What::Requests => &self.requests,
            What::Retries => &self.retries,
        }
    }

    /// The count.
    #[must_use]
    pub fn count(&self, what: What) -> u32 {
        self.cell(what).load(Ordering::Relaxed)
    }

    /// One more, unless there are as many as the limit.
    #[must_use]
    pub fn take(&self, what: What, limit: u32) -> bool {
        let more = |count: u32| (count < limit).then_some(count + 1);
        let taken = self
            .cell(what)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    /// One more in any case.
    pub fn force(&self, what: What) {
        self.cell(what).fetch_add(1, Ordering::Relaxed);
    }

    /// One less. Each [`Cells::take`] that said `true` and each [`Cells::force`] has exactly one.
    pub fn give(&self, what: What) {
        let less = |count: u32| Some(count.saturating_sub(1));
        // It cannot fail: there always is a next count.
        let _ = self
            .cell(what)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Takes note of a request that begins, where a budget looks back.
    pub fn begin(&self, traffic: &Traffic, now: impl FnOnce() -> Now) {
        let interval = traffic.retry_budget.map(|budget| budget.interval);
        if let Some(interval) = interval.filter(|interval| interval.0 > 0) {
            self.begun.note(interval, now());
        }
    }

    /// How many retries may be under way: the budget's share of what is under way, the retries
    /// themselves not included, or of what began within its interval, but always its minimum; else the
    /// breaker's limit.
    #[must_use]
    pub fn retry_limit(&self, traffic: &Traffic, now: Now) -> Option<u32> {
        let Some(RetryBudget {
            share,
            min_concurrency,
            interval,
        }) = traffic.retry_budget
        else {
            return traffic.breakers.max_retries;
        };
        let busy = match interval {
            Millis(0) => {
                u64::from(self.count(What::Requests)) + u64::from(self.count(What::Pending))
            }
            // as in Envoy, these count instead
            interval => self.begun.count(interval, now),
        };
        let allowed = busy * u64::from(share.0) / 1_000_000;
        Some(
            u32::try_from(allowed)
                .unwrap_or(u32::MAX)
                .max(min_concurrency),
        )
    }
}

/// Whether a count is kept at all: it is limited, or a budget is reckoned from it.
#[must_use]
pub fn is_kept(traffic: &Traffic, what: What) -> bool {
    let Breakers {
        max_connections,
        max_pending,
        max_requests,
        max_retries,
    } = traffic.breakers;
    let budget = traffic.retry_budget.is_some();
    match what {
        What::Connections => max_connections.is_some(),
        What::Pending => max_pending.is_some() || budget,
        What::Requests => max_requests.is_some() || budget,
        What::Retries => max_retries.is_some() || budget,
    }
}

/// The limit of a count; of retries see [`Cells::retry_limit`].
#[must_use]
pub fn limit(breakers: &Breakers, what: What) -> u32 {
    let limit = match what {
        What::Connections => breakers.max_connections,
        What::Pending => breakers.max_pending,
        What::Requests => breakers.max_requests,
        What::Retries => breakers.max_retries,
    };
    limit.unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
