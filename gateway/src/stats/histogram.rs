//! A histogram with Envoy's bucket bounds, small enough to have one for each label set.

/// Envoy's default bounds (`istio_request_duration_milliseconds` and its siblings), in thousandths
/// so that 0.5 is whole.
pub(crate) const BOUNDS: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// Counts by bucket; the last one has no bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum_thousandths: u64,
}

impl Histogram {
    /// Adds one value, given in thousandths of the histogram's unit.
    pub(crate) fn record(&mut self, thousandths: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < thousandths);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_thousandths = self.sum_thousandths.saturating_add(thousandths);
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum_thousandths = self.sum_thousandths.saturating_add(other.sum_thousandths);
    }

    /// Upper bounds in thousandths (`None` is infinity) with the count of values up to each.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts).scan(0, |total, (bound, count)| {
            *total += count;
            Some((bound, *total))
        })
    }

    /// How many values.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all values, in thousandths.
    pub(crate) fn sum_thousandths(&self) -> u64 {
        self.sum_thousandths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for value in [0, 500, 501, 1_000, 3_600_000_000, 3_600_000_001, u64::MAX] {
            histogram.record(value);
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative[0], (Some(500), 2));
        assert_eq!(cumulative[1], (Some(1_000), 4));
        assert_eq!(cumulative[18], (Some(3_600_000_000), 5));
        assert_eq!(cumulative[19], (None, 7));
        assert_eq!(histogram.count(), 7);
        assert_eq!(histogram.sum_thousandths(), u64::MAX, "saturates");
    }

    #[test]
    fn merging_adds() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        a.record(700);
        b.record(700);
        b.record(20_000);
        a.merge(&b);
        assert_eq!((a.count(), a.sum_thousandths()), (3, 21_400));
    }
}
