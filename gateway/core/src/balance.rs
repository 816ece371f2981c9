//! Which endpoint of a cluster gets the next try.
//!
//! One [`Balancer`] per worker and cluster; workers share nothing but what is known of the endpoints'
//! health, and the [`Rings`] of a cluster that hashes, which never change. A choice has three steps, as Envoy's: a priority by
//! [`loads`], a locality by its share, an endpoint by the cluster's policy. A hash finds its
//! endpoint at once. In the steady state no step looks at all endpoints; when health changes or a
//! weight grows, everything is arranged anew.

mod key;
mod least_request;
mod level;
mod loads;
mod maglev;
mod random;
mod ring;
mod rings;
mod round_robin;
mod slow_start;

use crate::rng::Rng;
use crate::time::Now;
use level::{Level, Locality, Member};
use loads::{Count, Load, Loads};
use sallyport_config::ir::{Balance, Cluster, Endpoint, Warmup};
use smallvec::SmallVec;
use std::sync::Arc;

pub use key::Key;
pub use rings::Rings;

/// How often another endpoint is drawn when one was already tried: Istio's
/// `host_selection_retry_max_attempts`.
pub const RESELECT_MAX: u32 = 5;
/// A retry goes to other priorities after so many tries (Istio's `previous_priorities`,
/// `update_frequency`).
const PRIORITY_TRIES: usize = 2;

/// What a choice depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Of the request; only looked at where the cluster hashes.
    pub hash: Option<u64>,
    /// Endpoints tried in vain, in the order tried.
    pub avoid: &'a [u32],
    /// Retries go to other priorities too (`retryRemoteLocalities`).
    pub elsewhere: bool,
    /// The time: weights may grow.
    pub now: Now,
}

/// Chooses endpoints of one cluster for one worker.
#[derive(Debug, Clone)]
pub struct Balancer {
    balance: Balance,
    panic_threshold: u8,
    warmup: Option<Warmup>,
    /// When weights that grow are looked at again.
    warm_at: Option<Now>,
    endpoints: Box<[Known]>,
    /// How many priorities there are.
    ranks: usize,
    priorities: Vec<Priority>,
    loads: Loads,
    /// Requests in flight, by endpoint.
    active: Box<[u32]>,
    /// Where the cluster hashes.
    rings: Option<Arc<Rings>>,
}

/// An endpoint.
#[derive(Debug, Clone)]
struct Known {
    weight: u32,
    /// Index among the cluster's priorities.
    priority: usize,
    /// Index among the priority's localities, and the share of it.
    locality: (usize, u32),
    born: Now,
    healthy: bool,
}

/// The endpoints that are asked at the same time.
#[derive(Debug, Clone)]
struct Priority {
    count: Count,
    healthy: Level,
    /// Disregarding health; made when panic comes.
    all: Option<Level>,
}

impl Balancer {
    /// For the endpoints of this cluster, all healthy. `rings` are [`Rings::of`] it, which are made
    /// here if there are none; `born` tells when an endpoint, by index, was first known; `rng` spreads
    /// the workers' starting points.
    #[must_use]
    pub fn new(
        cluster: &Cluster,
        rings: Option<Arc<Rings>>,
        born: impl Fn(usize) -> Now,
        rng: &mut Rng,
    ) -> Self {
        let numbers = priorities(cluster);
        let endpoints = cluster.endpoints.iter().enumerate();
        let endpoints = endpoints.map(|(index, endpoint)| Known {
            weight: endpoint.weight.max(1),
            priority: numbers.binary_search(&endpoint.priority).unwrap_or(0),
            locality: locality(cluster, endpoint),
            born: born(index),
            healthy: true,
        });
        let mut new = Self {
            balance: cluster.balance.clone(),
            panic_threshold: cluster.traffic.panic_threshold,
            warmup: cluster.traffic.warmup,
            warm_at: cluster.traffic.warmup.map(|_| Now(0)),
            active: vec![0; cluster.endpoints.len()].into_boxed_slice(),
            endpoints: endpoints.collect(),
            ranks: numbers.len(),
            priorities: Vec::new(),
            loads: Loads::new(),
            rings: rings.or_else(|| Rings::of(cluster).map(Arc::new)),
        };
        new.arrange(Now(0), rng);
        new
    }

    /// Takes note of which endpoints are healthy.
    pub fn set_health(&mut self, healthy: impl Fn(u32) -> bool, now: Now, rng: &mut Rng) {
        for (known, index) in self.endpoints.iter_mut().zip(0_u32..) {
            known.healthy = healthy(index);
        }
        self.arrange(now, rng);
    }

    /// Makes everything that is asked for a choice, but the rings, which health does not change.
    fn arrange(&mut self, now: Now, rng: &mut Rng) {
        self.priorities.clear();
        for rank in 0..self.ranks {
            let localities = self.localities(rank, now);
            let counts = localities.iter().map(Locality::count);
            let count = counts.fold(Count { healthy: 0, all: 0 }, |sum, count| Count {
                healthy: sum.healthy + count.healthy,
                all: sum.all + count.all,
            });
            self.priorities.push(Priority {
                count,
                healthy: Level::new(&self.balance, &localities, false, rng),
                all: None,
            });
        }
        let counts: SmallVec<[Count; 4]> = self.priorities.iter().map(|p| p.count).collect();
        self.loads = loads::loads(&counts, self.panic_threshold);
        for (index, load) in self.loads.clone().into_iter().enumerate() {
            if load.panic {
                let localities = self.localities(index, now);
                let level = Level::new(&self.balance, &localities, true, rng);
                if let Some(priority) = self.priorities.get_mut(index) {
                    priority.all = Some(level);
                }
            }
        }
    }

    fn localities(&self, priority: usize, now: Now) -> Vec<Locality> {
        let mut localities: Vec<(usize, Locality)> = Vec::new();
        for (known, endpoint) in self.endpoints.iter().zip(0_u32..) {
            if known.priority != priority {
                continue;
            }
            let weight = match &self.warmup {
                Some(warmup) => slow_start::weight(known.weight, warmup, known.born, now),
                None => known.weight,
            };
            let member = Member {
                endpoint,
                weight,
                healthy: known.healthy,
            };
            let (index, share) = known.locality;
            match localities.iter_mut().find(|(known, _)| *known == index) {
                Some((_, locality)) => locality.members.push(member),
                None => localities.push((
                    index,
                    Locality {
                        share,
                        members: vec![member],
                    },
                )),
            }
        }
        localities
            .into_iter()
            .map(|(_, locality)| locality)
            .collect()
    }

    /// The next endpoint, as index; `None` if there is none (`NoHealthyUpstream`). One that was
    /// tried is taken only if [`RESELECT_MAX`] further draws gave nothing else, as Envoy does.
    #[must_use]
    pub fn pick(&mut self, wanted: Wanted<'_>, rng: &mut Rng) -> Option<u32> {
        self.grow(wanted.now, rng);
        let excluded = self.excluded(&wanted);
        let mut chosen = self.draw(&wanted, excluded.as_ref(), rng)?;
        for _ in 0..RESELECT_MAX {
            if !wanted.avoid.contains(&chosen) {
                break;
            }
            chosen = self.draw(&wanted, excluded.as_ref(), rng)?;
        }
        Some(chosen)
    }

    /// Looks at weights that grow, now and then.
    fn grow(&mut self, now: Now, rng: &mut Rng) {
        let (Some(warmup), Some(at)) = (self.warmup, self.warm_at) else {
            return;
        };
        if now < at {
            return;
        }
        self.arrange(now, rng);
        let grows = |known: &Known| slow_start::grows(&warmup, known.born, now);
        let still = self.endpoints.iter().any(grows);
        self.warm_at = still.then(|| now.after_micros(slow_start::step(&warmup)));
    }

    /// Loads without the priorities that were tried; `None`: as always.
    fn excluded(&self, wanted: &Wanted<'_>) -> Option<Loads> {
        let rounds = wanted.avoid.len() / PRIORITY_TRIES * PRIORITY_TRIES;
        if !wanted.elsewhere || rounds == 0 || self.priorities.len() < 2 {
            return None;
        }
        let mut counts: SmallVec<[Count; 4]> = self.priorities.iter().map(|p| p.count).collect();
        for tried in wanted.avoid.iter().take(rounds) {
            let priority = usize::try_from(*tried)
                .ok()
                .and_then(|index| self.endpoints.get(index))
                .map(|known| known.priority);
            if let Some(count) = priority.and_then(|index| counts.get_mut(index)) {
                count.healthy = 0;
            }
        }
        let any = counts.iter().any(|count| count.healthy > 0);
        any.then(|| loads::loads(&counts, 0))
    }

    fn draw(
        &mut self,
        wanted: &Wanted<'_>,
        excluded: Option<&Loads>,
        rng: &mut Rng,
    ) -> Option<u32> {
        let hash = wanted
            .hash
            .filter(|_| matches!(self.balance, Balance::Hash(_)));
        let loads = excluded.unwrap_or(&self.loads);
        let index = if loads.len() == 1 {
            0
        } else {
            let die = hash.map_or_else(|| rng.below(100), |hash| hash % 100);
            loads::choose(loads, die)?
        };
        let Load { panic, .. } = loads.get(index).copied()?;
        if let Some(hash) = hash {
            return self.find(index, hash, panic, wanted.avoid);
        }
        let priority = self.priorities.get_mut(index)?;
        let level = match &mut priority.all {
            Some(all) if panic => all,
            _ => &mut priority.healthy,
        };
        level.pick(&self.active, rng)
    }

    /// The endpoint of a hash: one not tried yet, else one that was.
    fn find(&self, index: usize, hash: u64, panic: bool, avoid: &[u32]) -> Option<u32> {
        let count = self.priorities.get(index)?.count;
        if count.healthy == 0 && !panic {
            return None;
        }
        let endpoints = &self.endpoints;
        let fit = |endpoint: u32| {
            let known = usize::try_from(endpoint)
                .ok()
                .and_then(|index| endpoints.get(index));
            known.is_some_and(|known| panic || known.healthy)
        };
        let rings = self.rings.as_ref()?;
        let fresh = avoid
            .iter()
            .any(|tried| fit(*tried))
            .then(|| rings.find(index, hash, |e| fit(e) && !avoid.contains(&e)));
        fresh.flatten().or_else(|| rings.find(index, hash, fit))
    }

    /// A request goes to this endpoint now.
    pub fn begin(&mut self, endpoint: u32) {
        if let Some(active) = self.slot(endpoint) {
            *active = active.saturating_add(1);
        }
    }

    /// It does not any more.
    pub fn end(&mut self, endpoint: u32) {
        if let Some(active) = self.slot(endpoint) {
            *active = active.saturating_sub(1);
        }
    }

    /// Requests in flight to this endpoint.
    #[must_use]
    pub fn active(&self, endpoint: u32) -> u32 {
        usize::try_from(endpoint)
            .ok()
            .and_then(|index| self.active.get(index))
            .map_or(0, |active| *active)
    }

    fn slot(&mut self, endpoint: u32) -> Option<&mut u32> {
        self.active.get_mut(usize::try_from(endpoint).ok()?)
    }
}

/// The priorities of a cluster's endpoints, each once, in order.
fn priorities(cluster: &Cluster) -> Vec<u32> {
    let mut numbers: Vec<u32> = cluster.endpoints.iter().map(|e| e.priority).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Number and share of an endpoint's locality; without shares all localities are one.
fn locality(cluster: &Cluster, endpoint: &Endpoint) -> (usize, u32) {
    let mut found = cluster.traffic.locality_weights.iter().enumerate();
    let found = found.find(|(_, w)| w.locality == endpoint.locality);
    found.map_or((0, 1), |(index, w)| (index, w.weight.max(1)))
}

#[cfg(test)]
mod tests;
