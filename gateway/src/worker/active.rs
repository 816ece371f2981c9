//! The generation that a worker serves, with what the worker adds to it: balancers, and the way to
//! pooled connections. Built cluster by cluster as they are used, so that swapping costs nothing.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use sallyport_config::ir::{Cluster, ClusterId};
use sallyport_core::balance::Rings;
use sallyport_core::discovery;
use sallyport_core::rate::Buckets;

use crate::generation::Generation;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// A generation on one worker.
#[derive(Debug)]
pub(crate) struct Active {
    /// The generation.
    pub(crate) generation: Arc<Generation>,
    upstreams: Box<[OnceCell<Rc<Upstream>>]>,
    /// Upstreams that requests named themselves, by cluster and host.
    targets: RefCell<Targets>,
    /// Buckets of the rate limits, which all workers share; `None`: not asked for yet.
    buckets: OnceCell<Box<[Arc<Buckets>]>>,
}

type Targets = HashMap<(ClusterId, Box<str>), Rc<Target>>;

/// An upstream that a request named itself.
#[derive(Debug)]
pub(crate) struct Target {
    /// The cluster, with the addresses of the host as its endpoints.
    pub(crate) cluster: Cluster,
    /// The worker's side of it.
    pub(crate) upstream: Rc<Upstream>,
    addresses: Arc<[IpAddr]>,
}

/// Upstreams of [`Active::target`] that are kept; then all are made anew.
const TARGETS_MAX: usize = 1_024;

impl Active {
    /// As [`Self::new`]; clusters that are the same as before keep their balancers.
    pub(super) fn after(&self, generation: Arc<Generation>) -> Self {
        let upstreams = self.upstreams.iter().enumerate();
        let upstreams = upstreams.map(|(index, cell)| {
            if self.generation.shares(&generation, index) {
                cell.clone()
            } else {
                OnceCell::new()
            }
        });
        if Arc::ptr_eq(&self.generation.tables, &generation.tables) {
            let upstreams = upstreams.collect();
            return Self {
                generation,
                upstreams,
                targets: RefCell::default(),
                buckets: self.buckets.clone(),
            };
        }
        Self::new(generation)
    }

    pub(super) fn new(generation: Arc<Generation>) -> Self {
        let count = generation.snapshot.clusters.len();
        Self {
            generation,
            upstreams: (0..count).map(|_| OnceCell::new()).collect(),
            targets: RefCell::default(),
            buckets: OnceCell::new(),
        }
    }

    /// The buckets of a rate limit, by its place in the snapshot.
    pub(crate) fn buckets(&self, worker: &Worker, limit: usize) -> Option<&Buckets> {
        let limits = &self.generation.snapshot.limits;
        let all = self.buckets.get_or_init(|| worker.commons.buckets(limits));
        all.get(limit).map(|buckets| &**buckets)
    }

    /// A cluster and the worker's side of it.
    pub(crate) fn upstream(
        &self,
        worker: &Worker,
        id: ClusterId,
    ) -> Option<(&Cluster, &Rc<Upstream>)> {
        let cluster = self.generation.cluster(id)?;
        let cell = self.upstreams.get(usize::try_from(id.0).ok()?)?;
        let upstream = cell.get_or_init(|| {
            let rings = self.generation.rings(id);
            self.make(worker, id, cluster, rings)
        });
        Some((cluster, upstream))
    }

    /// A cluster that takes its endpoints from requests, for a host at these addresses.
    pub(crate) fn target(
        &self,
        worker: &Worker,
        id: ClusterId,
        host: &str,
        addresses: &Arc<[IpAddr]>,
    ) -> Option<Rc<Target>> {
        let mut targets = self.targets.borrow_mut();
        let key = (id, Box::from(host));
        if let Some(known) = targets.get(&key)
            && Arc::ptr_eq(&known.addresses, addresses)
        {
            return Some(Rc::clone(known));
        }
        let cluster = discovery::at(self.generation.cluster(id)?, addresses);
        let target = Rc::new(Target {
            upstream: self.make(worker, id, &cluster, None),
            cluster,
            addresses: Arc::clone(addresses),
        });
        if targets.len() >= TARGETS_MAX {
            targets.clear();
        }
        targets.insert(key, Rc::clone(&target));
        Some(target)
    }

    fn make(
        &self,
        worker: &Worker,
        id: ClusterId,
        cluster: &Cluster,
        rings: Option<Arc<Rings>>,
    ) -> Rc<Upstream> {
        let mut rng = worker.rng.borrow_mut();
        let now = worker.timers.now();
        let security = self.generation.tls.towards(id);
        let (pools, commons) = (&worker.pools, &worker.commons);
        Rc::new(Upstream::new(
            cluster, rings, &security, pools, commons, now, &mut rng,
        ))
    }

    /// Lets ejected endpoints back in whose time is over.
    pub(super) fn sweep(&self, worker: &Worker) {
        for upstream in self.upstreams.iter().filter_map(OnceCell::get) {
            upstream.sweep(&worker.commons);
        }
    }
}
