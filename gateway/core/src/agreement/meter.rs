//! Rate limits of a call: full buckets, or empty ones if the call says that they are spent.

use crate::admit::{Admitted, Denial};
use crate::call::Call;
use crate::rate::{self, Buckets, Met, Meter};
use crate::tables::{Found, Tables};
use crate::time::Now;
use sallyport_config::ir::Limit;

/// Buckets of one call, and what the dice are that nobody throws: always in the middle.
pub(super) struct Still(Vec<Buckets>);

impl Still {
    pub(super) fn new(tables: &Tables) -> Self {
        let limits = tables.snapshot().limits.iter();
        Self(limits.map(Buckets::new).collect())
    }

    /// Asks what needs no route; of a call whose limits are spent, until they are.
    pub(super) fn first<'t>(
        &mut self,
        tables: &'t Tables,
        call: &Call<'_>,
        spent: bool,
    ) -> Result<(), Denial<'t>> {
        let most = if spent { self.burst(tables) } else { 0 };
        (0..most).try_for_each(|_| rate::first(tables, call, self))?;
        rate::first(tables, call, self)
    }

    /// As [`Self::first`], of a route.
    pub(super) fn routed<'t>(
        &mut self,
        tables: &'t Tables,
        found: Found<'t>,
        call: &Call<'_>,
        admitted: &Admitted,
        spent: bool,
    ) -> Result<(), Denial<'t>> {
        let most = if spent { self.burst(tables) } else { 0 };
        (0..most).try_for_each(|_| rate::routed(tables, found, call, admitted, self))?;
        rate::routed(tables, found, call, admitted, self)
    }

    /// Requests that empty the smallest bucket, and with it the first that refuses.
    fn burst(&self, tables: &Tables) -> u32 {
        let limits = tables.snapshot().limits.iter();
        limits.map(|limit| limit.rate.burst).max().unwrap_or(0)
    }
}

impl Meter for Still {
    fn now(&self) -> Now {
        Now(0)
    }

    fn die(&mut self) -> u32 {
        500_000
    }

    fn buckets(&self, limit: usize) -> Option<&Buckets> {
        self.0.get(limit)
    }

    fn count(&mut self, _: &Limit, _: Met) {}
}
