//! Which worker serves a new connection.
//!
//! The kernel spreads connections over the workers' sockets by a hash, which knows neither how many
//! a worker has nor how busy it is. A connection that comes to the wrong worker is handed to a
//! better one before anything is read from it.

/// What a worker has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Burden {
    /// Client connections.
    pub connections: usize,
    /// Thousandths of the last moments in which its thread was running.
    pub busy: u32,
}

/// A worker that runs for this share of the time (in thousandths) is given no further connection
/// while another one has time.
const HOT: u32 = 900;
/// Differences up to this many connections stay: handing over costs a wake-up.
const SLACK: usize = 4;
/// And up to this part of the other's connections.
const SLACK_PART: usize = 16;

impl Burden {
    fn is_hot(self) -> bool {
        self.busy >= HOT
    }
}

/// The worker of `count` that shall serve a connection which came to `own`; `burden` tells what
/// each has to do. Mostly it is `own`.
#[must_use]
pub fn choose(own: usize, count: usize, burden: impl Fn(usize) -> Burden) -> usize {
    let mine = burden(own);
    let others = (0..count).filter(|other| *other != own);
    let others = others.map(|other| (other, burden(other)));
    let lightest = others.min_by_key(|(_, burden)| (burden.is_hot(), burden.connections));
    let Some((other, theirs)) = lightest else {
        return own;
    };
    if mine.is_hot() != theirs.is_hot() {
        return if mine.is_hot() { other } else { own };
    }
    let slack = SLACK + theirs.connections / SLACK_PART;
    if mine.connections > theirs.connections + slack {
        other
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Where connections end that a hash throws at workers, and how many were handed over.
    fn thrown(workers: usize, connections: usize, busy: &[u32]) -> (Vec<usize>, usize) {
        let mut rng = Rng::new(7);
        let mut counts = vec![0; workers];
        let mut handed = 0;
        for _ in 0..connections {
            let own = usize::try_from(rng.next_u64() % workers as u64).unwrap();
            let at = choose(own, workers, |worker| Burden {
                connections: counts[worker],
                busy: busy[worker],
            });
            counts[at] += 1;
            handed += usize::from(at != own);
        }
        (counts, handed)
    }

    #[test]
    fn a_thousand_connections_are_spread_evenly_and_few_are_handed_over() {
        for workers in [2, 3, 8, 64] {
            let (counts, handed) = thrown(workers, 1_000 * workers, &vec![500; workers]);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most * 10 <= least * 12, "{counts:?}");
            assert!(handed < 100 * workers, "{handed} of {counts:?}");
        }
    }

    #[test]
    fn a_hot_worker_is_left_alone_while_another_has_time() {
        let (counts, _) = thrown(2, 100, &[1_000, 100]);
        assert_eq!(counts, [0, 100]);
        let (counts, _) = thrown(3, 99, &[100, 1_000, 100]);
        assert_eq!(counts[1], 0);
        assert!(counts[0].abs_diff(counts[2]) <= SLACK + 50 / SLACK_PART + 1);
    }

    #[test]
    fn when_all_are_hot_connections_are_counted() {
        let (counts, _) = thrown(2, 1_000, &[1_000, 950]);
        assert!(counts[0].abs_diff(counts[1]) < 100, "{counts:?}");
    }

    #[test]
    fn a_worker_alone_serves_all() {
        assert_eq!(choose(0, 1, |_| Burden::default()), 0);
    }
}
