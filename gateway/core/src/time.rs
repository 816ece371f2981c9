//! Time as a value: nothing in this crate reads a clock.

use sallyport_config::ir::Millis;
use std::ops::Add;

/// Microseconds since an arbitrary start, monotonic. The shell takes one per wake-up and passes
/// it to whatever it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Now(pub u64);

impl Now {
    /// Microseconds since `earlier`; 0 if that lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This much later, in microseconds; saturates.
    #[must_use]
    pub fn after_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

impl Add<Millis> for Now {
    type Output = Self;
    /// Saturates: a deadline beyond the end of time never comes.
    fn add(self, millis: Millis) -> Self {
        self.after_micros(millis.0.saturating_mul(1_000))
    }
}

/// The earlier of two deadlines, where `None` is never.
#[must_use]
pub fn earliest(a: Option<Now>, b: Option<Now>) -> Option<Now> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Now(5) + Millis(2), Now(2_005));
        assert_eq!(Now(5) + Millis(u64::MAX), Now(u64::MAX));
        assert_eq!(Now(5).since(Now(9)), 0);
        assert_eq!(Now(9).since(Now(5)), 4);
    }

    #[test]
    fn never_is_later_than_anything() {
        assert_eq!(earliest(None, None), None);
        assert_eq!(earliest(Some(Now(3)), None), Some(Now(3)));
        assert_eq!(earliest(None, Some(Now(3))), Some(Now(3)));
        assert_eq!(earliest(Some(Now(4)), Some(Now(3))), Some(Now(3)));
    }
}
