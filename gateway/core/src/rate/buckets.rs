//! The buckets of one limit: one for all requests, or one for each value of a key.
//!
//! A table of a fixed size that all workers share without a lock. A value is known by a keyed hash
//! of 64 bits, and may be in any place of its set; a full bucket is as good as none, so places that
//! nobody needs free themselves as time goes by. Where every place of a set is needed, the value
//! that has the most tokens left is forgotten, which gives it its burst once more: whoever sends
//! more different values than `keys_max` is limited by value no more, and pushes nobody else under a
//! limit.

use super::bucket::{Bucket, Taken, nanos};
use crate::time::Now;
use sallyport_config::ir::{Limit, Rate};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Places of a set: two cache lines.
const PLACES: usize = 8;
/// How often a place is looked for anew that another worker took in the same moment.
const ATTEMPTS: usize = 4;

/// The buckets of one limit.
#[derive(Debug)]
pub struct Buckets(Kind);

#[derive(Debug)]
enum Kind {
    /// For all requests.
    One(Bucket),
    /// By value.
    Keyed(Keyed),
}

#[derive(Debug)]
struct Keyed {
    /// Secret, so that nobody can choose values that meet in a set.
    secret: RandomState,
    sets: Box<[[Place; PLACES]]>,
    /// For a request that lost every race for a place.
    rest: Bucket,
    forgotten: AtomicU64,
}

/// A value and its bucket.
#[derive(Debug, Default)]
struct Place {
    /// Hash of the value; 0: nobody's.
    value: AtomicU64,
    bucket: Bucket,
}

impl Buckets {
    /// Full buckets for a limit.
    #[must_use]
    pub fn new(limit: &Limit) -> Self {
        if limit.key.is_empty() {
            return Self(Kind::One(Bucket::default()));
        }
        let places = usize::try_from(limit.keys_max).unwrap_or(usize::MAX);
        let sets = places.div_ceil(PLACES).max(1).next_power_of_two();
        Self(Kind::Keyed(Keyed {
            secret: RandomState::new(),
            sets: (0..sets).map(|_| Default::default()).collect(),
            rest: Bucket::default(),
            forgotten: AtomicU64::new(0),
        }))
    }

    /// Takes a token from the bucket of a value, if there is one.
    pub fn take(&self, value: &impl Hash, rate: Rate, now: Now) -> Taken {
        match &self.0 {
            Kind::One(bucket) => bucket.take(rate, now),
            Kind::Keyed(keyed) => {
                let hash = keyed.secret.hash_one(value);
                keyed.bucket(hash.max(1), now).take(rate, now)
            }
        }
    }

    /// Values that were forgotten though they were limited.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        match &self.0 {
            Kind::One(_) => 0,
            Kind::Keyed(keyed) => keyed.forgotten.load(Ordering::Relaxed),
        }
    }
}

impl Keyed {
    /// The bucket of a value. Workers that meet a new value in the same moment find the same place,
    /// unless one is taken for a third value between their looks.
    fn bucket(&self, value: u64, now: Now) -> &Bucket {
        let mask = self.sets.len().saturating_sub(1);
        let index = usize::try_from(value >> 32).unwrap_or_default() & mask;
        let Some(set) = self.sets.get(index) else {
            return &self.rest;
        };
        for _ in 0..ATTEMPTS {
            if let Some(known) = known(set, value) {
                return &known.bucket;
            }
            let (place, held, full_at) = spare(set, nanos(now));
            // another worker may have made the place while this one looked for it
            if let Some(known) = known(set, value) {
                return &known.bucket;
            }
            let taken =
                place
                    .value
                    .compare_exchange(held, value, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() {
                if full_at > nanos(now) {
                    self.forgotten.fetch_add(1, Ordering::Relaxed);
                    place.bucket.fill(full_at);
                }
                return &place.bucket;
            }
        }
        &self.rest
    }
}

fn known(set: &[Place; PLACES], value: u64) -> Option<&Place> {
    set.iter()
        .find(|place| place.value.load(Ordering::Acquire) == value)
}

/// The first place whose bucket is full, else the one that is fullest; whose it is, and when it is
/// full.
fn spare(set: &[Place; PLACES], now: u64) -> (&Place, u64, u64) {
    let [first, rest @ ..] = set;
    let look = |place: &'_ Place| {
        let held = place.value.load(Ordering::Acquire);
        (held, place.bucket.full_at())
    };
    let (held, full_at) = look(first);
    let mut best = (first, held, full_at);
    for place in rest {
        if best.2 <= now {
            break;
        }
        let (held, full_at) = look(place);
        if full_at < best.2 {
            best = (place, held, full_at);
        }
    }
    best
}

#[cfg(test)]
mod tests;
