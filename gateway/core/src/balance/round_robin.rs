//! In turn, by weight: earliest deadline first, as Envoy schedules it.

use crate::rng::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Distance of two turns of an endpoint with weight 1; one of weight `w` waits `1/w` of it.
const PERIOD: u64 = 1 << 32;

/// Takes turns.
#[derive(Debug, Clone)]
pub(super) enum RoundRobin {
    /// All weights are equal.
    Equal {
        /// Endpoints.
        count: u32,
        /// Whose turn it is.
        turn: u32,
    },
    /// The one with the earliest turn goes next, then waits for its period.
    Weighted {
        /// (turn, endpoint), earliest first.
        turns: BinaryHeap<Reverse<(u64, u32)>>,
        /// Period by endpoint.
        periods: Box<[u64]>,
    },
}

impl RoundRobin {
    /// Starts at a random point, so that workers do not march in step.
    pub(super) fn new(weights: &[u32], rng: &mut Rng) -> Self {
        let count = u32::try_from(weights.len()).unwrap_or(u32::MAX);
        if weights.windows(2).all(|pair| pair.first() == pair.last()) {
            let turn = u32::try_from(rng.below(u64::from(count))).unwrap_or(0);
            return Self::Equal { count, turn };
        }
        let periods: Box<[u64]> = weights
            .iter()
            .map(|weight| PERIOD / u64::from(*weight).max(1))
            .collect();
        let turns = periods
            .iter()
            .zip(0_u32..)
            .map(|(period, endpoint)| Reverse((rng.below(*period), endpoint)))
            .collect();
        Self::Weighted { turns, periods }
    }

    pub(super) fn pick(&mut self) -> Option<u32> {
        match self {
            Self::Equal { count: 0, .. } => None,
            Self::Equal { count, turn } => {
                let chosen = *turn;
                *turn = if chosen + 1 < *count { chosen + 1 } else { 0 };
                Some(chosen)
            }
            Self::Weighted { turns, periods } => {
                let mut first = turns.peek_mut()?;
                let Reverse((turn, endpoint)) = *first;
                let period = usize::try_from(endpoint)
                    .ok()
                    .and_then(|index| periods.get(index))
                    .map_or(PERIOD, |period| *period);
                // 2^64 / 2^32 turns of the rarest endpoint: no wrap in a process's life
                *first = Reverse((turn.saturating_add(period), endpoint));
                Some(endpoint)
            }
        }
    }
}
