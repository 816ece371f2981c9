//! Circuit breakers: counts of a cluster over all workers that never exceed their limits.
//!
//! These are the named quota cells: the one exception from "no atomic read-modify-write on the
//! request path". Limits are often small, so shares by worker would refuse requests while another
//! worker has room; one cell is exact. A cluster without limits has none, and pays nothing.

use sallyport_config::ir::{Breakers, RetryBudget, Traffic};
use std::sync::atomic::{AtomicU32, Ordering};

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

    /// How many retries may be under way: the budget's share of what is under way, the retries
    /// themselves not included, but always its minimum; else the breaker's limit.
    #[must_use]
    pub fn retry_limit(&self, traffic: &Traffic) -> Option<u32> {
        let Some(RetryBudget {
            share,
            min_concurrency,
            ..
        }) = traffic.retry_budget
        else {
            return traffic.breakers.max_retries;
        };
        let busy = u64::from(self.count(What::Requests)) + u64::from(self.count(What::Pending));
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
