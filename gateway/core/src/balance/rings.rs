//! What hashes are looked up in, by priority: a function of the cluster alone, so one serves all
//! workers. Health does not change it: a look-up steps over who is not well.

use super::maglev::Maglev;
use super::ring::Ring;
use super::{locality, priorities};
use sallyport_config::ir::{Balance, Cluster, HashTable};

/// The rings or Maglev tables of a cluster that balances by hashes.
#[derive(Debug)]
pub struct Rings(Box<[Table]>);

/// One of them; members are places in the list of endpoints' indexes.
#[derive(Debug)]
struct Table {
    endpoints: Box<[u32]>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Ring(Ring),
    Maglev(Maglev),
}

impl Rings {
    /// Those of this cluster; `None` if it does not hash.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Option<Self> {
        let Balance::Hash(policy) = &cluster.balance else {
            return None;
        };
        let numbers = priorities(cluster).into_iter();
        let tables = numbers.map(|priority| Table::new(cluster, priority, policy.table));
        Some(Self(tables.collect()))
    }

    /// Whether those of another cluster would be the same.
    #[must_use]
    pub fn suit(cluster: &Cluster, other: &Cluster) -> bool {
        let table = |cluster: &Cluster| match &cluster.balance {
            Balance::Hash(policy) => Some(policy.table),
            _ => None,
        };
        table(cluster) == table(other)
            && cluster.traffic.locality_weights == other.traffic.locality_weights
            && cluster.endpoints == other.endpoints
    }

    /// Bytes of memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let each = self.0.iter().map(|table| match &table.kind {
            Kind::Ring(ring) => ring.bytes(),
            Kind::Maglev(maglev) => maglev.bytes(),
        });
        each.sum()
    }

    /// The first fitting endpoint, by index, of a hash among those of a priority, by its place.
    pub(super) fn find(
        &self,
        priority: usize,
        hash: u64,
        fit: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let table = self.0.get(priority)?;
        let endpoint = |member: u32| {
            let index = usize::try_from(member).ok()?;
            table.endpoints.get(index).copied()
        };
        let accept = |member| endpoint(member).is_some_and(&fit);
        let member = match &table.kind {
            Kind::Ring(ring) => ring.find(hash, accept),
            Kind::Maglev(maglev) => maglev.find(hash, accept),
        };
        endpoint(member?)
    }
}

impl Table {
    fn new(cluster: &Cluster, priority: u32, table: HashTable) -> Self {
        let all = cluster.endpoints.iter().zip(0_u32..);
        let mut members: Vec<_> = all
            .filter(|(endpoint, _)| endpoint.priority == priority)
            .map(|(endpoint, index)| (locality(cluster, endpoint), endpoint, index))
            .collect();
        // by locality, in the order in which they are met, with the weight of each
        let mut met: Vec<(usize, u64)> = Vec::new();
        for ((number, _), endpoint, _) in &members {
            let weight = u64::from(endpoint.weight.max(1));
            match met.iter_mut().find(|(known, _)| known == number) {
                Some((_, sum)) => *sum = sum.saturating_add(weight),
                None => met.push((*number, weight)),
            }
        }
        members.sort_by_key(|((number, _), ..)| met.iter().position(|(known, _)| known == number));
        let (mut endpoints, mut names, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for ((number, share), endpoint, index) in &members {
            let sum = met.iter().find(|(known, _)| known == number);
            let sum = sum.map_or(1, |(_, sum)| *sum);
            let weight = u64::from(endpoint.weight.max(1));
            endpoints.push(*index);
            names.push(endpoint.place());
            // of one locality the weights as they are, of several the share of each
            weights.push(if met.len() == 1 {
                weight
            } else {
                let parts = u64::from(*share) * weight;
                (parts.saturating_mul(1 << 16) / sum.max(1)).max(1)
            });
        }
        Self {
            endpoints: endpoints.into_boxed_slice(),
            kind: match table {
                HashTable::Ring(size) => Kind::Ring(Ring::new(&names, &weights, size)),
                HashTable::Maglev(size) => Kind::Maglev(Maglev::new(&names, &weights, size)),
            },
        }
    }
}
