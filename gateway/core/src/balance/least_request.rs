//! The less busy of two drawn by weight ("power of two choices").

use super::random::Weighted;
use crate::rng::Rng;

/// Draws two endpoints by weight and takes the one with fewer active requests for its weight.
///
/// Envoy does this for equal weights only, and else a schedule over `weight / (active + 1)`,
/// which needs every endpoint's count for each choice. Comparing `active / weight` keeps to the
/// weights when idle (a tie goes to the first drawn) and evens out the load when busy.
#[derive(Debug, Clone)]
pub(super) struct LeastRequest {
    draw: Weighted,
    weights: Box<[u32]>,
}

impl LeastRequest {
    pub(super) fn new(weights: &[u32]) -> Self {
        Self {
            draw: Weighted::new(weights),
            weights: weights.into(),
        }
    }

    /// `active` tells the requests in flight to a member.
    pub(super) fn pick(&self, active: impl Fn(u32) -> u32, rng: &mut Rng) -> Option<u32> {
        if self.weights.len() <= 1 {
            return (!self.weights.is_empty()).then_some(0);
        }
        let (first, second) = (self.draw.pick(rng)?, self.draw.pick(rng)?);
        let weight = |member: u32| {
            usize::try_from(member)
                .ok()
                .and_then(|index| self.weights.get(index))
                .map_or(1, |weight| u64::from(*weight))
        };
        let first_load = u64::from(active(first)) * weight(second);
        let second_load = u64::from(active(second)) * weight(first);
        Some(if second_load < first_load {
            second
        } else {
            first
        })
    }
}
