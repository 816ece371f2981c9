//! Drawn by weight.

use crate::rng::Rng;

/// Draws indexes in proportion to their weights: running sums, binary search.
#[derive(Debug, Clone)]
pub(super) struct Weighted {
    /// `sums[i]` is the weight of endpoints `0..=i`.
    sums: Box<[u64]>,
    /// All weights are equal: no search.
    equal: bool,
}

impl Weighted {
    pub(super) fn new(weights: &[u32]) -> Self {
        let sums = weights
            .iter()
            .scan(0_u64, |sum, weight| {
                *sum = sum.saturating_add(u64::from(*weight));
                Some(*sum)
            })
            .collect();
        Self {
            sums,
            equal: weights.windows(2).all(|pair| pair.first() == pair.last()),
        }
    }

    pub(super) fn pick(&self, rng: &mut Rng) -> Option<u32> {
        let total = *self.sums.last()?;
        let index = if self.equal {
            rng.below(u64::try_from(self.sums.len()).ok()?)
        } else {
            let die = rng.below(total);
            u64::try_from(self.sums.partition_point(|sum| *sum <= die)).ok()?
        };
        u32::try_from(index).ok()
    }
}
