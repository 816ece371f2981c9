//! What changes between two snapshots: which sockets open and close, which upstreams change.
//!
//! Sockets survive a reload: a listener is kept when its (bind, port) is in both snapshots,
//! whatever else changed about it.

use crate::ir::{Bind, Cluster, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// Address and port of a listener: what makes it the same socket.
pub type ListenerKey = (Bind, u16);

/// The difference between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// Sockets to bind.
    pub open: Vec<ListenerKey>,
    /// Sockets to drain and close.
    pub close: Vec<ListenerKey>,
    /// Sockets that stay.
    pub keep: Vec<ListenerKey>,
    /// Names of clusters that are new.
    pub clusters_added: Vec<String>,
    /// Names of clusters that are gone.
    pub clusters_removed: Vec<String>,
    /// Names of clusters whose policy changed (perhaps endpoints too).
    pub clusters_changed: Vec<String>,
    /// Names of clusters of which nothing but the endpoints changed.
    pub endpoints_changed: Vec<String>,
    /// Nothing but endpoints differs: pools and tables may be kept.
    pub only_endpoints: bool,
}

impl Delta {
    /// The difference. Lists are sorted.
    #[must_use]
    pub fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let mut delta = Self::default();
        delta.listeners(old, new);
        delta.clusters(old, new);
        delta.only_endpoints = delta.open.is_empty()
            && delta.close.is_empty()
            && delta.clusters_added.is_empty()
            && delta.clusters_removed.is_empty()
            && delta.clusters_changed.is_empty()
            && old.listeners == new.listeners
            && old.route_tables == new.route_tables
            && old.certificates == new.certificates
            && old.settings == new.settings
            && old.policies == new.policies;
        delta
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.only_endpoints && self.endpoints_changed.is_empty()
    }

    fn listeners(&mut self, old: &Snapshot, new: &Snapshot) {
        let keys = |snapshot: &Snapshot| -> BTreeSet<ListenerKey> {
            snapshot
                .listeners
                .iter()
                .map(|l| (l.bind.clone(), l.port))
                .collect()
        };
        let (before, after) = (keys(old), keys(new));
        self.open = after.difference(&before).cloned().collect();
        self.close = before.difference(&after).cloned().collect();
        self.keep = before.intersection(&after).cloned().collect();
    }

    fn clusters(&mut self, old: &Snapshot, new: &Snapshot) {
        let by_name = |clusters: &'_ [Cluster]| -> BTreeMap<String, Cluster> {
            clusters
                .iter()
                .map(|c| (c.name.clone(), c.clone()))
                .collect()
        };
        let (before, mut after) = (by_name(&old.clusters), by_name(&new.clusters));
        for (name, was) in before {
            match after.remove(&name) {
                None => self.clusters_removed.push(name),
                Some(now) if now == was => {}
                Some(now) if same_but_endpoints(&now, &was) => self.endpoints_changed.push(name),
                Some(_) => self.clusters_changed.push(name),
            }
        }
        self.clusters_added.extend(after.into_keys());
    }
}

fn same_but_endpoints(a: &Cluster, b: &Cluster) -> bool {
    let a = Cluster {
        endpoints: b.endpoints.clone(),
        ..a.clone()
    };
    a == *b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Endpoint, Listener, ListenerKind, Service};

    fn listener(port: u16) -> Listener {
        Listener {
            name: format!("0.0.0.0_{port}"),
            bind: Bind::Default,
            port,
            kind: ListenerKind::Plain(Service::Close),
        }
    }

    fn cluster(name: &str, endpoint: &str) -> Cluster {
        Cluster {
            name: name.to_owned(),
            endpoints: vec![Endpoint {
                address: endpoint.parse().unwrap(),
                ..Endpoint::default()
            }],
            ..Cluster::default()
        }
    }

    fn snapshot(ports: &[u16], clusters: &[(&str, &str)]) -> Snapshot {
        Snapshot {
            listeners: ports.iter().copied().map(listener).collect(),
            clusters: clusters.iter().map(|(n, e)| cluster(n, e)).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_socket_in_both_snapshots_is_kept() {
        let delta = Delta::between(&snapshot(&[80, 443], &[]), &snapshot(&[443, 8080], &[]));
        assert_eq!(delta.open, [(Bind::Default, 8080)]);
        assert_eq!(delta.close, [(Bind::Default, 80)]);
        assert_eq!(delta.keep, [(Bind::Default, 443)]);
        assert!(!delta.only_endpoints);
    }

    #[test]
    fn clusters_come_go_and_change() {
        let old = snapshot(
            &[80],
            &[
                ("a", "127.0.0.1:1"),
                ("b", "127.0.0.1:1"),
                ("d", "127.0.0.1:1"),
            ],
        );
        let mut new = snapshot(
            &[80],
            &[
                ("a", "127.0.0.1:2"),
                ("c", "127.0.0.1:1"),
                ("d", "127.0.0.1:1"),
            ],
        );
        new.clusters[2].max_requests_per_connection = 1;
        let delta = Delta::between(&old, &new);
        assert_eq!(delta.clusters_added, ["c"]);
        assert_eq!(delta.clusters_removed, ["b"]);
        assert_eq!(delta.endpoints_changed, ["a"]);
        assert_eq!(delta.clusters_changed, ["d"]);
        assert!(!delta.only_endpoints);
    }

    #[test]
    fn endpoints_alone_are_told_apart() {
        let old = snapshot(&[80], &[("a", "127.0.0.1:1")]);
        let new = snapshot(&[80], &[("a", "127.0.0.1:2")]);
        let delta = Delta::between(&old, &new);
        assert!(delta.only_endpoints && !delta.is_empty());
        assert!(Delta::between(&old, &old).is_empty());
    }
}
