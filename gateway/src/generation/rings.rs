//! What hashes are looked up in: made on the side thread, for all workers, and kept from generation
//! to generation while a cluster's endpoints stay as they are.

use std::collections::HashMap;
use std::sync::Arc;

use sallyport_config::ir::{Balance, Cluster};
use sallyport_core::balance::Rings;

use super::Generation;

/// By cluster; those that do not hash have none, and all is empty when none does.
pub(super) type All = Box<[Option<Arc<Rings>>]>;

/// Bytes that are spent on what may never be asked for. Clusters beyond are served by what each
/// worker makes when it is first asked.
const BYTES_MAX: usize = 64 * 1024 * 1024;

fn hashes(cluster: &Cluster) -> bool {
    matches!(cluster.balance, Balance::Hash(_))
}

/// Those of a generation that follows another.
pub(super) fn of(new: &Generation, before: &Generation) -> All {
    if !new.clusters().any(hashes) {
        return All::default();
    }
    let known = before.clusters().zip(&before.rings);
    let known = known.filter_map(|(cluster, rings)| Some((cluster, rings.as_ref()?)));
    let known: HashMap<&str, _> = known.map(|pair| (pair.0.name.as_str(), pair)).collect();
    let mut left = BYTES_MAX;
    let rings = new.clusters().map(|cluster| {
        if !hashes(cluster) || left == 0 {
            return None;
        }
        let rings = match known.get(cluster.name.as_str()) {
            Some((old, rings)) if Rings::suit(old, cluster) => Arc::clone(rings),
            _ => Arc::new(Rings::of(cluster)?),
        };
        left = left.saturating_sub(rings.bytes());
        Some(rings)
    });
    rings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_config::ir::{ClusterId, Endpoint, HashKey, HashPolicy, HashTable, Snapshot};

    fn cluster(name: &str, ports: &[u16]) -> Cluster {
        let endpoint = |port: &u16| Endpoint {
            address: ([127, 0, 0, 1], *port).into(),
            ..Endpoint::default()
        };
        Cluster {
            name: name.to_owned(),
            endpoints: ports.iter().map(endpoint).collect(),
            balance: Balance::Hash(Box::new(HashPolicy {
                key: HashKey::SourceIp,
                table: HashTable::Maglev(251),
            })),
            ..Cluster::default()
        }
    }

    fn after(before: &Generation, clusters: Vec<Cluster>) -> Generation {
        let snapshot = Snapshot {
            clusters,
            ..Snapshot::default()
        };
        let (generation, _) = Generation::build(before.id + 1, Arc::new(snapshot));
        generation.with_rings(before)
    }

    #[test]
    fn rings_stay_while_their_endpoints_do_wherever_the_cluster_stands() {
        let (none, _) = Generation::build(0, Arc::new(Snapshot::default()));
        let one = after(&none, vec![cluster("b", &[1, 2]), cluster("c", &[1])]);
        let plain = Cluster {
            name: "a".to_owned(),
            ..Cluster::default()
        };
        let two = after(
            &one,
            vec![plain, cluster("b", &[1, 2]), cluster("c", &[1, 2])],
        );
        let rings = |generation: &Generation, id| generation.rings(ClusterId(id));
        assert!(rings(&two, 0).is_none());
        let (old, new) = (rings(&one, 0).unwrap(), rings(&two, 1).unwrap());
        assert!(Arc::ptr_eq(&old, &new));
        let (old, new) = (rings(&one, 1).unwrap(), rings(&two, 2).unwrap());
        assert!(!Arc::ptr_eq(&old, &new), "it has another endpoint");
        assert!(rings(&after(&two, Vec::new()), 0).is_none());
    }
}
