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
        let cluster = self.generation.tables.cluster(id)?;
        let cell = self.upstreams.get(usize::try_from(id.0).ok()?)?;
        let upstream = cell.get_or_init(|| {
            let mut rng = worker.rng.borrow_mut();
            Rc::new(Upstream::new(cluster, &worker.pools, &mut rng))
        });
        Some((cluster, upstream))
    }
}
