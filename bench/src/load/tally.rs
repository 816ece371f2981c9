//! What came of the requests.

use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Instant;

/// Longest latency that is told apart, in µs.
const LATENCY_MAX: u64 = 60_000_000;
/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;

/// What came of the requests.
#[derive(Debug)]
pub(super) struct Tally {
    /// Latencies in µs.
    latency: RefCell<Histogram<u64>>,
    bytes: Cell<u64>,
    /// Requests that were given up on purpose.
    abandoned: Cell<u64>,
    /// Answers whose status is not 200, and connections that failed, by what went wrong.
    errors: RefCell<BTreeMap<String, u64>>,
    counted: Cell<Option<(Instant, Instant)>>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            latency: RefCell::new(Histogram::new_with_max(LATENCY_MAX, DIGITS)?),
            bytes: Cell::new(0),
            abandoned: Cell::new(0),
            errors: RefCell::default(),
            counted: Cell::new(None),
        })
    }

    /// Only requests that were due in this time count.
    pub(super) fn count_between(&self, begin: Instant, end: Instant) {
        self.counted.set(Some((begin, end)));
    }

    fn counts(&self, due: Instant) -> bool {
        let counted = self.counted.get();
        counted.is_some_and(|(begin, end)| (begin..end).contains(&due))
    }

    /// A request that was due then has its answer now.
    pub(super) fn answered(&self, due: Instant, status: u16, bytes: usize) {
        if !self.counts(due) {
            return;
        }
        if status != 200 {
            return self.count_error(format!("status {status}"));
        }
        let micros = due.elapsed().as_micros();
        let micros = u64::try_from(micros).unwrap_or(LATENCY_MAX);
        self.latency.borrow_mut().saturating_record(micros.max(1));
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// A request that was due then was given up on purpose.
    pub(super) fn abandoned(&self, due: Instant) {
        if self.counts(due) {
            self.abandoned.set(self.abandoned.get() + 1);
        }
    }

    /// Requests that were given up on purpose.
    pub(super) fn given_up(&self) -> u64 {
        self.abandoned.get()
    }

    /// A request that was due then will have no answer.
    pub(super) fn failed(&self, due: Instant, why: &dyn std::fmt::Display) {
        if self.counts(due) {
            self.count_error(why.to_string());
        }
    }

    fn count_error(&self, what: String) {
        *self.errors.borrow_mut().entry(what).or_default() += 1;
    }

    /// Answers that were as they should be.
    pub(super) fn good(&self) -> u64 {
        self.latency.borrow().len()
    }

    /// Bytes of their bodies.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Latency in µs below which this share of the answers is, 0 to 1.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        self.latency.borrow().value_at_quantile(share)
    }

    /// What went wrong, and how often.
    pub(super) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.borrow().clone()
    }
}
