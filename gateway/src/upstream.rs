//! Upstream connections of one worker: kept by cluster name and endpoint, lent to one try at a
//! time. Generations come and go; a connection stays as long as its endpoint is called the same and
//! wants the same TLS, the same PROXY header and the same probes.

mod breaker;
mod commons;
mod connect;
pub(crate) mod h2;
mod lease;
mod pool;
mod terms;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use sallyport_config::ir;
use sallyport_core::balance::{Balancer, Rings, Wanted};
use sallyport_core::exchange::RetryGate;
use sallyport_core::outlier::{Host, Verdict};
use sallyport_core::quota::What;
use sallyport_core::rng::Rng;
use sallyport_core::time::Now;

use breaker::{Breakers, Slot};

use crate::io::stream::Stream;
use crate::tls::client::Security;
use crate::worker::Worker;

pub(crate) use breaker::Permit;
pub(crate) use commons::{ClusterFacts, Commons, Shared};
pub(crate) use connect::{ConnectError, Errand, connect_failure, read_failure};
pub(crate) use lease::Lease;
pub(crate) use pool::{EndpointPool, Pools};

/// A cluster of one generation on one worker: who gets the next try, and where the connections are.
#[derive(Debug)]
pub(crate) struct Upstream {
    balancer: RefCell<Balancer>,
    endpoints: Box<[Rc<EndpointPool>]>,
    shared: Arc<Shared>,
    breakers: Breakers,
    health: Option<Health>,
}

/// What is known of the endpoints' health, where failing ones are ejected or endpoints are checked.
#[derive(Debug)]
struct Health {
    rules: Option<ir::Outlier>,
    hosts: Box<[Arc<Host>]>,
    /// The version that the balancer knows.
    seen: Cell<u64>,
}

impl Upstream {
    /// For this cluster; finds the connections that earlier generations left, if they were made
    /// with the same TLS.
    pub(crate) fn new(
        cluster: &ir::Cluster,
        rings: Option<Arc<Rings>>,
        security: &Security,
        pools: &Pools,
        commons: &Commons,
        now: Now,
        rng: &mut Rng,
    ) -> Self {
        let endpoints = pools.endpoints(cluster, security, now);
        let born = |index: usize| endpoints.get(index).map_or(now, |pool| pool.born);
        let shared = commons.cluster(cluster);
        let rules = cluster.traffic.outlier.as_ref();
        let watched = rules.is_some() || cluster.traffic.health.is_some();
        Self {
            balancer: RefCell::new(Balancer::new(cluster, rings, born, rng)),
            health: watched.then(|| Health {
                rules: rules.cloned(),
                hosts: shared.hosts(cluster),
                seen: Cell::new(0),
            }),
            endpoints,
            breakers: Breakers::new(Arc::clone(&shared), &cluster.traffic, pools.line(cluster)),
            shared,
        }
    }

    /// The endpoint for the next try, by index; `None` if there is none.
    pub(crate) fn pick(&self, wanted: Wanted<'_>, rng: &mut Rng) -> Option<u32> {
        let mut balancer = self.balancer.borrow_mut();
        if let Some(health) = &self.health {
            let version = self.shared.version();
            if health.seen.replace(version) != version {
                let healthy = |endpoint| {
                    let host = health.host(endpoint);
                    host.is_none_or(|host| !host.is_left_out())
                };
                balancer.set_health(healthy, wanted.now, rng);
            }
        }
        balancer.pick(wanted, rng)
    }

    /// Takes note of how a try ended, and ejects an endpoint that failed once too often.
    pub(crate) fn note(&self, endpoint: u32, verdict: Verdict, commons: &Commons) {
        let Some(health) = &self.health else { return };
        if let (Some(rules), Some(host)) = (&health.rules, health.host(endpoint))
            && host.note(rules, verdict)
        {
            self.shared.eject(rules, host, commons.now());
        }
    }

    /// Lets endpoints back in whose time is over.
    pub(crate) fn sweep(&self, commons: &Commons) {
        if let Some(rules) = self.health.as_ref().and_then(|h| h.rules.as_ref()) {
            self.shared.sweep(rules, commons.now());
        }
    }

    /// Whether health checks leave an endpoint out.
    pub(crate) fn is_sick(&self, endpoint: u32) -> bool {
        let host = self.health.as_ref().and_then(|h| h.host(endpoint));
        host.is_some_and(|host| host.is_sick())
    }

    /// A connection to an endpoint that is for no request: outside of pools and breakers.
    ///
    /// # Errors
    /// What connecting said; no such endpoint is "address not available".
    pub(crate) async fn dial(
        &self,
        worker: &Worker,
        endpoint: u32,
        errand: Errand<'_>,
    ) -> Result<Stream, ConnectError> {
        let missing = || ConnectError::Io(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        let pool = self.endpoint(endpoint).ok_or_else(missing)?;
        pool.connect(errand, &worker.buffers).await
    }

    /// What a request asks before it is tried again; `None` where retries are not limited.
    pub(crate) fn gate(&self, worker: &Rc<Worker>, cluster: &str) -> Option<Rc<dyn RetryGate>> {
        self.breakers.gate(worker, cluster)
    }

    /// One more of something that the cluster may limit; `None` at the limit.
    pub(crate) fn take(&self, what: What) -> Option<Permit> {
        self.breakers.take(what)
    }

    /// A place among the requests in flight; `None` at the limit.
    fn admit(&self, commons: &Commons) -> Option<Permit> {
        let permit = self.breakers.take(What::Requests);
        if permit.is_some() {
            self.breakers.begin(commons);
        }
        permit
    }

    /// Whether requests wait for a connection: an idle one is theirs.
    pub(crate) fn is_queued(&self) -> bool {
        self.breakers.is_queued()
    }

    /// A place for a connection; an idle one to another endpoint is closed for it.
    fn slot(&self, worker: &Worker) -> Option<Slot> {
        self.breakers.slot(|| {
            let evicted = self.endpoints.iter().find(|pool| pool.evict());
            if let Some(pool) = evicted {
                worker.stats.borrow_mut().upstream_closed(&pool.cluster);
            }
            evicted.is_some()
        })
    }

    fn endpoint(&self, index: u32) -> Option<&Rc<EndpointPool>> {
        self.endpoints.get(usize::try_from(index).ok()?)
    }
}

impl Health {
    fn host(&self, endpoint: u32) -> Option<&Arc<Host>> {
        self.hosts.get(usize::try_from(endpoint).ok()?)
    }
}
