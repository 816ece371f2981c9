//! What rate limits need of the worker: the time, a die, the buckets that all workers share, and
//! somebody who counts.

use sallyport_config::ir::Limit;
use sallyport_core::rate::{Buckets, Met, Meter};
use sallyport_core::time::Now;

use crate::worker::{Active, Worker};

/// A worker, as rate limits see it.
pub(super) struct Gauge<'a> {
    pub(super) worker: &'a Worker,
    pub(super) active: &'a Active,
}

impl Meter for Gauge<'_> {
    fn now(&self) -> Now {
        self.worker.commons.now()
    }

    fn die(&mut self) -> u32 {
        self.worker.rng.borrow_mut().die()
    }

    fn buckets(&self, limit: usize) -> Option<&Buckets> {
        self.active.buckets(self.worker, limit)
    }

    fn count(&mut self, limit: &Limit, met: Met) {
        let mut stats = self.worker.stats.borrow_mut();
        stats.limit_met(&limit.name, met);
    }
}
