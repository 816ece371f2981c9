//! Slow start: an endpoint's weight grows with its age (Envoy docs, "Slow start mode").

use crate::time::Now;
use sallyport_config::ir::{Millis, Warmup};

/// Weights are recomputed so often while one grows, at most: a hundredth of the time it takes.
const STEPS: u64 = 100;
/// … and never more often than this.
const STEP_MIN: Millis = Millis(100);
/// Parts that a weight of 1 is divided into while it grows.
const PARTS: u64 = 1_000;

/// When the weights should be looked at again, in microseconds.
pub(super) fn step(warmup: &Warmup) -> u64 {
    (warmup.duration.0 * 1_000 / STEPS).max(STEP_MIN.0 * 1_000)
}

/// Whether an endpoint of this age still grows.
pub(super) fn grows(warmup: &Warmup, born: Now, now: Now) -> bool {
    now.since(born) < warmup.duration.0.saturating_mul(1_000)
}

/// A weight in [`PARTS`]: `weight × max(minimum, (age / duration) ^ (1 / aggression))`.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shares between 0 and 1, and a cast of a float saturates"
)]
pub(super) fn weight(weight: u32, warmup: &Warmup, born: Now, now: Now) -> u32 {
    let whole = u64::from(weight).saturating_mul(PARTS);
    if !grows(warmup, born, now) {
        return u32::try_from(whole).unwrap_or(u32::MAX);
    }
    // Envoy counts an age of at least a second
    let age = now.since(born).max(1_000_000) as f64;
    let duration = warmup.duration.0.saturating_mul(1_000).max(1) as f64;
    let exponent = 1_000.0 / f64::from(warmup.aggression_milli.max(1));
    let grown = (age / duration).min(1.0).powf(exponent);
    let share = grown.max(f64::from(warmup.minimum.0) / 1_000_000.0);
    u32::try_from((whole as f64 * share).round() as u64)
        .unwrap_or(u32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_config::ir::Ppm;

    fn warmup(aggression_milli: u32) -> Warmup {
        Warmup {
            duration: Millis(100_000),
            minimum: Ppm(100_000),
            aggression_milli,
        }
    }

    #[test]
    fn weights_grow_in_a_line_or_faster() {
        let at = |aggression, seconds: u64| {
            weight(10, &warmup(aggression), Now(0), Now(seconds * 1_000_000))
        };
        assert_eq!(at(1_000, 0), 1_000, "the minimum");
        assert_eq!(at(1_000, 10), 1_000);
        assert_eq!(at(1_000, 50), 5_000);
        assert_eq!(at(1_000, 100), 10_000);
        assert_eq!(at(2_000, 25), 5_000, "the square root of a quarter");
        assert_eq!(at(1_000, 1_000_000), 10_000, "and no further");
    }
}
