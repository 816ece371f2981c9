//! Which endpoint of a cluster gets the next try.
//!
//! One [`Balancer`] per worker and cluster, made with the tables; workers share nothing. Hash
//! policies, priorities and ejection will be further members of [`Picker`] and a filter in
//! [`Balancer::pick`].

mod least_request;
mod random;
mod round_robin;

use crate::rng::Rng;
use least_request::LeastRequest;
use random::Weighted;
use round_robin::RoundRobin;
use sallyport_config::ir::{Balance, Endpoint};

/// How often another endpoint is drawn when one was already tried: Istio's
/// `host_selection_retry_max_attempts`.
pub const RESELECT_MAX: u32 = 5;

/// Chooses endpoints of one cluster for one worker.
#[derive(Debug, Clone)]
pub struct Balancer {
    picker: Picker,
    /// Requests in flight, by endpoint.
    active: Box<[u32]>,
}

#[derive(Debug, Clone)]
enum Picker {
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
    Random(Weighted),
}

impl Balancer {
    /// For these endpoints; `rng` spreads the workers' starting points.
    #[must_use]
    pub fn new(balance: &Balance, endpoints: &[Endpoint], rng: &mut Rng) -> Self {
        let weights: Vec<u32> = endpoints.iter().map(|e| e.weight.max(1)).collect();
        let picker = match balance {
            Balance::RoundRobin => Picker::RoundRobin(RoundRobin::new(&weights, rng)),
            Balance::LeastRequest => Picker::LeastRequest(LeastRequest::new(&weights)),
            Balance::Random => Picker::Random(Weighted::new(&weights)),
        };
        Self {
            picker,
            active: vec![0; endpoints.len()].into_boxed_slice(),
        }
    }

    /// The next endpoint, as index; `None` if there is none (`NoHealthyUpstream`). One in `avoid`
    /// is taken only if [`RESELECT_MAX`] further draws gave nothing else, as Envoy does.
    #[must_use]
    pub fn pick(&mut self, rng: &mut Rng, avoid: &[u32]) -> Option<u32> {
        let mut chosen = self.draw(rng)?;
        for _ in 0..RESELECT_MAX {
            if !avoid.contains(&chosen) {
                break;
            }
            chosen = self.draw(rng)?;
        }
        Some(chosen)
    }

    fn draw(&mut self, rng: &mut Rng) -> Option<u32> {
        match &mut self.picker {
            Picker::RoundRobin(picker) => picker.pick(),
            Picker::LeastRequest(picker) => picker.pick(&self.active, rng),
            Picker::Random(picker) => picker.pick(rng),
        }
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

#[cfg(test)]
mod tests;
