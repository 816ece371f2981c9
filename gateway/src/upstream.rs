//! Upstream connections of one worker: kept by cluster name and endpoint, lent to one try at a
//! time. Generations come and go; a connection stays as long as its endpoint is called the same and
//! wants the same TLS.

mod connect;
mod lease;
mod pool;

use std::cell::RefCell;
use std::rc::Rc;

use sallyport_config::ir;
use sallyport_core::balance::{Balancer, Wanted};
use sallyport_core::rng::Rng;
use sallyport_core::time::Now;

use crate::tls::client::Security;

pub(crate) use connect::{ConnectError, Errand, connect_failure};
pub(crate) use lease::Lease;
pub(crate) use pool::{EndpointPool, Pools};

/// A cluster of one generation on one worker: who gets the next try, and where the connections are.
#[derive(Debug)]
pub(crate) struct Upstream {
    balancer: RefCell<Balancer>,
    endpoints: Box<[Rc<EndpointPool>]>,
}

impl Upstream {
    /// For this cluster; finds the connections that earlier generations left, if they were made
    /// with the same TLS.
    pub(crate) fn new(
        cluster: &ir::Cluster,
        security: &Security,
        pools: &Pools,
        now: Now,
        rng: &mut Rng,
    ) -> Self {
        let endpoints = pools.endpoints(cluster, security, now);
        let born = |index: usize| endpoints.get(index).map_or(now, |pool| pool.born);
        Self {
            balancer: RefCell::new(Balancer::new(cluster, born, rng)),
            endpoints,
        }
    }

    /// The endpoint for the next try, by index; `None` if there is none.
    pub(crate) fn pick(&self, wanted: Wanted<'_>, rng: &mut Rng) -> Option<u32> {
        self.balancer.borrow_mut().pick(wanted, rng)
    }

    fn endpoint(&self, index: u32) -> Option<&Rc<EndpointPool>> {
        self.endpoints.get(usize::try_from(index).ok()?)
    }
}
