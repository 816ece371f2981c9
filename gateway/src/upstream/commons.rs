//! What the workers share of each cluster: the quota cells of its breakers, and which of its
//! endpoints are ejected; and of each rate limit: its buckets.
//!
//! Shared by name, over generations. Locks are taken when a worker first uses a cluster or a limit of a
//! generation, when an endpoint has failed once too often, and at sweeps: never for a request that
//! succeeds. What each request reads is atomic, and written only when something changes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use sallyport_config::ir::{Cluster, Limit, LimitKey, Outlier, Rate};
use sallyport_core::outlier::{Checks, Detector, Host};
use sallyport_core::quota::{Cells, What};
use sallyport_core::rate::Buckets;
use sallyport_core::time::Now;

/// Clusters that are remembered; beyond, those that no worker uses are forgotten.
const CLUSTERS_MAX: usize = 16_384;

/// What all workers of a process share.
#[derive(Debug)]
pub(crate) struct Commons {
    start: Instant,
    clusters: Mutex<HashMap<Arc<str>, Arc<Shared>>>,
    limits: Mutex<HashMap<String, Counted>>,
}

/// A rate limit and its buckets, which are good for nothing else.
#[derive(Debug)]
struct Counted {
    rate: Rate,
    key: Vec<LimitKey>,
    keys_max: u32,
    buckets: Arc<Buckets>,
}

impl Counted {
    fn new(limit: &Limit) -> Self {
        Self {
            rate: limit.rate,
            key: limit.key.clone(),
            keys_max: limit.keys_max,
            buckets: Arc::new(Buckets::new(limit)),
        }
    }

    fn is_for(&self, limit: &Limit) -> bool {
        self.rate == limit.rate && self.key == limit.key && self.keys_max == limit.keys_max
    }
}

/// What they share of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Counts that breakers and budgets limit.
    pub(crate) cells: Cells,
    /// Counts up when an endpoint is ejected or comes back.
    version: AtomicU64,
    detector: Mutex<Detector>,
}

/// A cluster's state, for people.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterFacts {
    /// Name of the cluster.
    pub(crate) name: Arc<str>,
    /// Endpoints left out at present.
    pub(crate) ejected: usize,
    /// Ejections so far.
    pub(crate) ejections: u64,
    /// Endpoints that health checks leave out at present.
    pub(crate) sick: usize,
    /// Health checks so far.
    pub(crate) checks: Checks,
}

impl ClusterFacts {
    fn is_news(&self) -> bool {
        self.ejections > 0 || self.checks != Checks::default()
    }
}

/// A panic while it was held has left counts that are as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Commons {
    /// Nothing shared yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            clusters: Mutex::default(),
            limits: Mutex::default(),
        })
    }

    /// The buckets of limits, in order. A limit that is as it was keeps its count; one whose rate or
    /// key changed begins anew. What neither these limits nor any worker needs is forgotten.
    pub(crate) fn buckets(&self, limits: &[Limit]) -> Box<[Arc<Buckets>]> {
        let mut known = lock(&self.limits);
        let buckets = limits.iter().map(|limit| {
            let counted = known.get(&limit.name).filter(|known| known.is_for(limit));
            if let Some(counted) = counted {
                return Arc::clone(&counted.buckets);
            }
            let counted = Counted::new(limit);
            let buckets = Arc::clone(&counted.buckets);
            known.insert(limit.name.clone(), counted);
            buckets
        });
        let buckets = buckets.collect();
        known.retain(|_, counted| Arc::strong_count(&counted.buckets) > 1);
        buckets
    }

    /// The time by the clock that all workers agree on.
    pub(crate) fn now(&self) -> Now {
        Now(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// What is shared of a cluster.
    pub(crate) fn cluster(&self, cluster: &Cluster) -> Arc<Shared> {
        let mut clusters = lock(&self.clusters);
        if let Some(shared) = clusters.get(cluster.name.as_str()) {
            return Arc::clone(shared);
        }
        if clusters.len() >= CLUSTERS_MAX {
            clusters.retain(|_, shared| Arc::strong_count(shared) > 1);
        }
        let shared = Arc::<Shared>::default();
        clusters.insert(cluster.name.as_str().into(), Arc::clone(&shared));
        shared
    }

    /// Values that rate limits forgot though they were limited, by name of the limit, of those that have
    /// any.
    pub(crate) fn forgotten(&self) -> Vec<(String, u64)> {
        let limits = lock(&self.limits);
        let counts = limits
            .iter()
            .map(|(name, counted)| (name.clone(), counted.buckets.forgotten()));
        let mut counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        counts.sort();
        counts
    }

    /// The endpoints of a cluster that are ejected at present.
    pub(crate) fn ejected(&self, cluster: &str) -> Vec<SocketAddr> {
        let shared = lock(&self.clusters).get(cluster).cloned();
        shared.map_or_else(Vec::new, |shared| {
            lock(&shared.detector).all_ejected().collect()
        })
    }

    /// What is under way in a cluster over all workers, as far as it is limited.
    pub(crate) fn count(&self, cluster: &str, what: What) -> u32 {
        let shared = lock(&self.clusters).get(cluster).cloned();
        shared.map_or(0, |shared| shared.cells.count(what))
    }

    /// The endpoints of a cluster that health checks leave out at present.
    pub(crate) fn sick(&self, cluster: &str) -> Vec<SocketAddr> {
        let shared = lock(&self.clusters).get(cluster).cloned();
        shared.map_or_else(Vec::new, |shared| {
            lock(&shared.detector).all_sick().collect()
        })
    }

    /// An endpoint was checked; all workers are told when that changes anything.
    pub(crate) fn checked(&self, cluster: &str, address: SocketAddr, passed: bool, sick: bool) {
        let shared = lock(&self.clusters).get(cluster).cloned();
        if let Some(shared) = shared
            && lock(&shared.detector).checked(address, passed, sick)
        {
            shared.version.fetch_add(1, Ordering::Release);
        }
    }

    /// The state of every cluster that has ejected or checked an endpoint, by name.
    pub(crate) fn facts(&self) -> Vec<ClusterFacts> {
        let clusters = lock(&self.clusters);
        let facts = clusters.iter().map(|(name, shared)| {
            let detector = lock(&shared.detector);
            ClusterFacts {
                name: Arc::clone(name),
                ejected: detector.ejected(),
                ejections: detector.ejections(),
                sick: detector.all_sick().count(),
                checks: detector.checks(),
            }
        });
        let mut facts: Vec<ClusterFacts> = facts.filter(|f| f.is_news()).collect();
        facts.sort_by(|a, b| a.name.cmp(&b.name));
        facts
    }
}

impl Shared {
    /// The hosts of a cluster's endpoints, in order.
    pub(super) fn hosts(&self, cluster: &Cluster) -> Box<[Arc<Host>]> {
        let addresses = cluster.endpoints.iter().map(|endpoint| endpoint.address);
        lock(&self.detector).hosts(addresses).into_boxed_slice()
    }

    /// Counts up whenever health changes.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A host failed once too often.
    pub(super) fn eject(&self, rules: &Outlier, host: &Arc<Host>, now: Now) {
        if lock(&self.detector).eject(rules, host, now) {
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Lets hosts back in whose time is over. Another worker that is at it does as well.
    pub(super) fn sweep(&self, rules: &Outlier, now: Now) {
        let mut detector = match self.detector.try_lock() {
            Ok(detector) => detector,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if detector.sweep(rules, now) {
            self.version.fetch_add(1, Ordering::Release);
        }
    }
}
