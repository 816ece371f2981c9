//! Endpoints that are chosen from together: those of a priority, by locality if localities have
//! shares, healthy ones only or all of them.

use super::least_request::LeastRequest;
use super::loads::{Count, health};
use super::random::Weighted;
use super::round_robin::RoundRobin;
use crate::rng::Rng;
use sallyport_config::ir::Balance;

/// One endpoint as pickers see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Index in the cluster.
    pub(super) endpoint: u32,
    /// Positive.
    pub(super) weight: u32,
    pub(super) healthy: bool,
}

/// Endpoints of a locality of a priority.
#[derive(Debug, Clone)]
pub(super) struct Locality {
    /// Share among the localities; 1 where they have none.
    pub(super) share: u32,
    pub(super) members: Vec<Member>,
}

impl Locality {
    pub(super) fn count(&self) -> Count {
        let healthy = self.members.iter().filter(|m| m.healthy).count();
        Count {
            healthy: u64::try_from(healthy).unwrap_or(u64::MAX),
            all: u64::try_from(self.members.len()).unwrap_or(u64::MAX),
        }
    }
}

/// Chooses among some endpoints.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// Between the groups; `None` if there is one.
    turns: Option<RoundRobin>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone)]
struct Group {
    endpoints: Box<[u32]>,
    picker: Picker,
}

#[derive(Debug, Clone)]
enum Picker {
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
    Random(Weighted),
}

impl Level {
    /// Of the healthy members, or of all. A locality's share shrinks when more of it is sick than
    /// over-provisioning makes up for (Envoy docs, "Locality weighted load balancing").
    pub(super) fn new(
        balance: &Balance,
        localities: &[Locality],
        all: bool,
        rng: &mut Rng,
    ) -> Self {
        let mut groups = Vec::new();
        let mut shares = Vec::new();
        for locality in localities {
            let members = locality.members.iter().filter(|m| all || m.healthy);
            let (endpoints, weights): (Vec<u32>, Vec<u32>) =
                members.map(|m| (m.endpoint, m.weight)).unzip();
            if endpoints.is_empty() {
                continue;
            }
            let available = if all { 100 } else { health(locality.count()) };
            let share = u64::from(locality.share).saturating_mul(available).max(1);
            shares.push(u32::try_from(share).unwrap_or(u32::MAX));
            groups.push(Group {
                endpoints: endpoints.into_boxed_slice(),
                picker: Picker::new(balance, &weights, rng),
            });
        }
        let turns = (groups.len() > 1).then(|| RoundRobin::new(&shares, rng));
        Self { turns, groups }
    }

    /// The next endpoint.
    pub(super) fn pick(&mut self, active: &[u32], rng: &mut Rng) -> Option<u32> {
        let group = match &mut self.turns {
            Some(turns) => usize::try_from(turns.pick()?).ok()?,
            None => 0,
        };
        let Group { endpoints, picker } = self.groups.get_mut(group)?;
        let endpoint = |member: u32| {
            let index = usize::try_from(member).ok()?;
            endpoints.get(index).copied()
        };
        let member = match picker {
            Picker::RoundRobin(picker) => picker.pick(),
            Picker::LeastRequest(picker) => {
                let load = |member: u32| {
                    let index = usize::try_from(endpoint(member)?).ok()?;
                    active.get(index).copied()
                };
                picker.pick(|member| load(member).unwrap_or(0), rng)
            }
            Picker::Random(picker) => picker.pick(rng),
        };
        endpoint(member?)
    }
}

impl Picker {
    fn new(balance: &Balance, weights: &[u32], rng: &mut Rng) -> Self {
        match balance {
            Balance::RoundRobin => Self::RoundRobin(RoundRobin::new(weights, rng)),
            Balance::LeastRequest => Self::LeastRequest(LeastRequest::new(weights)),
            // requests without what is hashed
            Balance::Random | Balance::Hash(_) => Self::Random(Weighted::new(weights)),
        }
    }
}
