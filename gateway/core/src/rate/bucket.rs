//! A token bucket in one word, right over all workers.
//!
//! The word is the time at which the bucket will be full again (the "virtual scheduling" of the
//! generic cell rate algorithm, ITU-T I.371 Annex A): a token puts it off by what a token takes to
//! come, and there is none left when it lies too far ahead. Such a bucket fills continuously, needs
//! no timer, and is taken from with one compare-and-swap. In any time `t` no more than
//! `burst + rate × t` tokens are taken, whoever takes them.

use crate::time::Now;
use sallyport_config::ir::Rate;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bucket. `Default` is a full one, of any rate.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

/// What came of asking a bucket for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// There was one.
    pub allowed: bool,
    /// Tokens left.
    pub remaining: u32,
    /// Until there is one again, in nanoseconds; 0 if there is.
    pub wait: u64,
}

impl Bucket {
    /// Takes a token, if there is one.
    pub fn take(&self, rate: Rate, now: Now) -> Taken {
        let now = nanos(now);
        let mut taken = None;
        let next = |full_at: u64| {
            let (next, told) = step(full_at, rate, now);
            taken = Some(told);
            next
        };
        // Without a next word nothing was taken.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.unwrap_or(Taken {
            allowed: true,
            remaining: 0,
            wait: 0,
        })
    }

    /// The time at which it is full, in nanoseconds.
    pub(super) fn full_at(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Fills it, unless somebody has taken from it meanwhile.
    pub(super) fn fill(&self, full_at: u64) {
        // Whoever came in between has begun with the new bucket.
        let _ = self
            .0
            .compare_exchange(full_at, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Nanoseconds of a time.
pub(super) fn nanos(now: Now) -> u64 {
    now.0.saturating_mul(1_000)
}

/// The next word, if there is a token, and what to tell.
fn step(full_at: u64, rate: Rate, now: u64) -> (Option<u64>, Taken) {
    let (token, full) = (rate.token_nanos(), rate.full_nanos());
    let missing = full_at.saturating_sub(now);
    let after = missing.saturating_add(token);
    let left = |missing: u64| {
        let tokens = full.saturating_sub(missing) / token;
        u32::try_from(tokens).unwrap_or(u32::MAX)
    };
    if after > full {
        let told = Taken {
            allowed: false,
            remaining: 0,
            wait: after - full,
        };
        return (None, told);
    }
    let remaining = left(after);
    let wait = if remaining > 0 {
        0
    } else {
        after.saturating_add(token).saturating_sub(full)
    };
    let told = Taken {
        allowed: true,
        remaining,
        wait,
    };
    (Some(now.saturating_add(after)), told)
}

#[cfg(test)]
mod tests;
