//! How much of the traffic each priority gets, and which of them is in panic.
//!
//! Envoy's rules (docs, "Priority levels", "Panic threshold", "Overprovisioning Factor"). Where
//! percentages do not come out even, the remainder goes where rounding lost most.

use smallvec::SmallVec;

/// A priority counts as whole while this much of it, in percent, times its healthy share is 100.
pub(super) const OVERPROVISIONING: u64 = 140;
const WHOLE: u64 = 100;

/// Endpoints of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) healthy: u64,
    pub(super) all: u64,
}

/// What a priority gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Load {
    /// Percent of the traffic; all of them add up to 100.
    pub(super) percent: u64,
    /// Health is disregarded.
    pub(super) panic: bool,
}

/// One a priority.
pub(super) type Loads = SmallVec<[Load; 4]>;

/// Percent of its healthy share, over-provisioning included.
pub(super) fn health(count: Count) -> u64 {
    match count.all {
        0 => 0,
        all => (OVERPROVISIONING * count.healthy / all).min(WHOLE),
    }
}

/// The traffic by priority.
pub(super) fn loads(counts: &[Count], panic_threshold: u8) -> Loads {
    let healths: SmallVec<[u64; 4]> = counts.iter().map(|c| health(*c)).collect();
    let total = healths.iter().sum::<u64>().min(WHOLE);
    let threshold = u64::from(panic_threshold);
    let panics = |c: &Count| total < WHOLE && c.healthy * WHOLE < threshold * c.all;
    let mut loads: Loads = counts
        .iter()
        .map(|count| Load {
            percent: 0,
            panic: panics(count),
        })
        .collect();
    // in panic everywhere, or nowhere anybody: the number of endpoints decides
    let lost = counts.iter().all(|c| c.all == 0 || panics(c));
    if lost || total == 0 {
        let sizes: SmallVec<[u64; 4]> = counts.iter().map(|c| c.all).collect();
        share_out(&mut loads, &sizes);
    } else {
        share_out(&mut loads, &first_come(&healths));
    }
    loads
}

/// Each takes what it can of what is left: parts whose sum is at most 100.
fn first_come(healths: &[u64]) -> SmallVec<[u64; 4]> {
    let mut left = WHOLE;
    let parts = healths.iter().map(|health| {
        let part = (*health).min(left);
        left -= part;
        part
    });
    parts.collect()
}

/// Percentages in proportion to the parts (largest remainders).
fn share_out(loads: &mut Loads, parts: &[u64]) {
    let total: u64 = parts.iter().sum();
    if total == 0 {
        if let Some(first) = loads.first_mut() {
            first.percent = WHOLE;
        }
        return;
    }
    let mut left = WHOLE;
    let mut rests: SmallVec<[(u64, usize); 4]> = SmallVec::new();
    for (index, (load, part)) in loads.iter_mut().zip(parts).enumerate() {
        load.percent = part * WHOLE / total;
        left = left.saturating_sub(load.percent);
        rests.push((part * WHOLE % total, index));
    }
    rests.sort_by_key(|(rest, index)| (std::cmp::Reverse(*rest), *index));
    for (_, index) in rests {
        if let (true, Some(load)) = (left > 0, loads.get_mut(index)) {
            load.percent += 1;
            left -= 1;
        }
    }
}

/// The priority that a die thrown in `0..100` falls into.
pub(super) fn choose(loads: &[Load], die: u64) -> Option<usize> {
    let mut sum = 0;
    loads.iter().position(|load| {
        sum += load.percent;
        die < sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percents(healthy: &[u64], threshold: u8) -> (Vec<u64>, Vec<bool>) {
        let counts: Vec<Count> = healthy
            .iter()
            .map(|healthy| Count {
                healthy: *healthy,
                all: 100,
            })
            .collect();
        let loads = loads(&counts, threshold);
        (
            loads.iter().map(|l| l.percent).collect(),
            loads.iter().map(|l| l.panic).collect(),
        )
    }

    /// The tables of Envoy's page "Priority levels".
    #[test]
    fn priorities_spill_as_documented() {
        let two: [(&[u64], &[u64]); 12] = [
            (&[100, 100], &[100, 0]),
            (&[72, 100], &[100, 0]),
            (&[71, 100], &[99, 1]),
            (&[50, 100], &[70, 30]),
            (&[25, 100], &[35, 65]),
            (&[0, 100], &[0, 100]),
            (&[72, 72], &[100, 0]),
            (&[71, 71], &[99, 1]),
            (&[50, 50], &[70, 30]),
            (&[25, 25], &[50, 50]),
            (&[5, 65], &[7, 93]),
            (&[50, 60], &[70, 30]),
        ];
        let three: [(&[u64], &[u64]); 7] = [
            (&[100, 100, 100], &[100, 0, 0]),
            (&[72, 72, 100], &[100, 0, 0]),
            (&[71, 71, 100], &[99, 1, 0]),
            (&[50, 50, 100], &[70, 30, 0]),
            (&[25, 100, 100], &[35, 65, 0]),
            (&[25, 25, 100], &[35, 35, 30]),
            (&[25, 25, 20], &[36, 36, 28]),
        ];
        for (healthy, wanted) in two.into_iter().chain(three) {
            assert_eq!(percents(healthy, 0).0, wanted, "{healthy:?}");
        }
    }

    /// The tables of Envoy's page "Panic threshold", with the threshold of 50 %.
    #[test]
    fn panic_begins_when_all_priorities_together_are_not_enough() {
        for (healthy, panic) in [
            ([72, 100], [false, false]),
            ([0, 100], [false, false]),
            ([72, 72], [false, false]),
            ([50, 60], [false, false]),
            ([25, 100], [false, false]),
            ([25, 25], [true, true]),
            ([5, 65], [true, false]),
        ] {
            assert_eq!(percents(&healthy, 50).1, panic, "{healthy:?}");
        }
        assert_eq!(percents(&[0], 50), (vec![100], vec![true]));
        assert_eq!(percents(&[0], 0), (vec![100], vec![false]), "disabled");
        assert_eq!(percents(&[39], 40).1, [true]);
        assert_eq!(percents(&[40], 40).1, [false]);
    }

    #[test]
    fn in_total_panic_endpoints_count() {
        let counts = [(0, 30), (0, 10)].map(|(healthy, all)| Count { healthy, all });
        let loads = loads(&counts, 50);
        assert_eq!((loads[0].percent, loads[1].percent), (75, 25));
    }

    #[test]
    fn a_die_falls_somewhere_and_never_to_nobody() {
        let (percents, _) = percents(&[25, 25, 100], 0);
        let loads: Loads = percents
            .iter()
            .map(|percent| Load {
                percent: *percent,
                panic: false,
            })
            .collect();
        let hits = |level| {
            (0..100)
                .filter(|d| choose(&loads, *d) == Some(level))
                .count()
        };
        assert_eq!([hits(0), hits(1), hits(2)], [35, 35, 30]);
    }
}
