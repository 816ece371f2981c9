//! The generation that a worker serves, with what the worker adds to it: balancers, and the way to
//! pooled connections. Built cluster by cluster as they are used, so that swapping costs nothing.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use sallyport_config::ir::{Cluster, ClusterId};

use crate::generation::Generation;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// A generation on one worker.
#[derive(Debug)]
pub(crate) struct Active {
    /// The generation.
    pub(crate) generation: Arc<Generation>,
    upstreams: Box<[OnceCell<Rc<Upstream>>]>,
}

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
            };
        }
        Self::new(generation)
    }

    pub(super) fn new(generation: Arc<Generation>) -> Self {
        let count = generation.snapshot.clusters.len();
        Self {
            generation,
            upstreams: (0..count).map(|_| OnceCell::new()).collect(),
        }
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
            let mut rng = worker.rng.borrow_mut();
            let now = worker.timers.now();
            let security = self.generation.tls.towards(id);
            let (pools, commons) = (&worker.pools, &worker.commons);
            Rc::new(Upstream::new(
                cluster, &security, pools, commons, now, &mut rng,
            ))
        });
        Some((cluster, upstream))
    }

    /// Lets ejected endpoints back in whose time is over.
    pub(super) fn sweep(&self, worker: &Worker) {
        for upstream in self.upstreams.iter().filter_map(OnceCell::get) {
            upstream.sweep(&worker.commons);
        }
    }
}
