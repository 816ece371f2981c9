//! Idle upstream connections. Each has a read pending: whatever arrives on it, an end or bytes that
//! nobody asked for, makes it useless and is noticed without asking the kernel.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sallyport_config::ir::{self, Millis};
use sallyport_core::time::Now;

use super::breaker::{Line, Slot};
use super::connect::{ConnectError, Errand, dial};
use super::h2::Shelf;
use super::terms::{Agreed, Manner, Terms};
use crate::buffer::Buffers;
use crate::io::stream::Stream;
use crate::tls::client::{Dialer, Refused, Security};

/// Idle connections kept per endpoint and worker; more are closed. Room for what a few HTTP/2 clients
/// ask at the same time: closing and connecting again costs more than the request.
const IDLE_PER_ENDPOINT_MAX: usize = 2_048;
/// Idle connections kept per worker; more are closed.
const IDLE_MAX: usize = 8_192;
/// A connection that was not used for this long gives its read buffer back.
const PARK_AFTER: Millis = Millis(1_000);

/// Stands for cleartext among the fingerprints of TLS settings.
const PLAIN: u64 = 0;
/// Stands for settings that cannot be served: nothing is kept under it.
const REFUSED: u64 = 1;

/// What keeps connections apart: the cluster's name, the fingerprint of its TLS, and the manner.
type Key = (Arc<str>, u64, Manner);

/// All idle connections of a worker.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    clusters: RefCell<HashMap<Key, Endpoints>>,
    /// Lines of requests, by cluster whose connections are limited.
    lines: RefCell<HashMap<Box<str>, Rc<Line>>>,
    idle: Rc<Cell<usize>>,
}

/// The endpoints of one cluster that connections were made to, with the same TLS and in the same
/// manner.
#[derive(Debug, Default)]
struct Endpoints {
    dialer: Option<Rc<Dialer>>,
    pools: HashMap<SocketAddr, Rc<EndpointPool>>,
}

/// The idle connections to one endpoint of one cluster.
#[derive(Debug)]
pub(crate) struct EndpointPool {
    /// Where.
    pub(crate) address: SocketAddr,
    /// The unix socket that the address stands for.
    pub(super) socket: Option<Arc<str>>,
    /// Cluster that the endpoint belongs to, for counters.
    pub(crate) cluster: Arc<str>,
    /// When this worker first heard of it.
    pub(super) born: Now,
    /// How connections are set up.
    manner: Manner,
    /// How it is spoken to.
    access: Access,
    idle: RefCell<Vec<Idle>>,
    /// Connections of HTTP/2, which are shared.
    pub(super) h2: Shelf,
    /// Idle connections of the worker.
    total: Rc<Cell<usize>>,
}

/// How an endpoint is spoken to.
#[derive(Debug, Clone)]
enum Access {
    Plain,
    Tls(Rc<Dialer>),
    Refused,
}

/// A connection that waits for work.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) stream: Stream,
    /// What it was made with.
    pub(super) agreed: Agreed,
    /// Requests it has served.
    pub(super) served: u32,
    pub(super) since: Now,
    /// When it was made.
    pub(super) born: Now,
    /// Its place among those that the cluster may have.
    pub(super) slot: Slot,
    /// When it is closed for being idle.
    pub(super) until: Option<Now>,
}

impl Pools {
    /// The pools of a cluster's endpoints, in order.
    pub(super) fn endpoints(
        &self,
        cluster: &ir::Cluster,
        security: &Security,
        now: Now,
    ) -> Box<[Rc<EndpointPool>]> {
        let mut clusters = self.clusters.borrow_mut();
        let name: Arc<str> = cluster.name.as_str().into();
        let manner = Manner::of(&cluster.traffic);
        let pool = |endpoint: &ir::Endpoint| {
            let side = security.towards(endpoint);
            let fingerprint = match side {
                Ok(side) => side.map_or(PLAIN, |side| side.fingerprint),
                Err(Refused) => REFUSED,
            };
            let key = (Arc::clone(&name), fingerprint, manner);
            let endpoints = clusters.entry(key).or_default();
            let access = match side {
                Err(Refused) => Access::Refused,
                Ok(None) => Access::Plain,
                Ok(Some(side)) => {
                    let make = || Rc::new(Dialer::new(side));
                    Access::Tls(Rc::clone(endpoints.dialer.get_or_insert_with(make)))
                }
            };
            let address = endpoint.address;
            let pool = endpoints.pools.entry(address).or_insert_with(|| {
                Rc::new(EndpointPool {
                    address,
                    socket: endpoint.socket.clone(),
                    cluster: Arc::clone(&name),
                    manner,
                    access,
                    born: now,
                    idle: RefCell::default(),
                    h2: Shelf::default(),
                    total: Rc::clone(&self.idle),
                })
            });
            Rc::clone(pool)
        };
        cluster.endpoints.iter().map(pool).collect()
    }

    /// The line of a cluster, if its connections are limited.
    pub(super) fn line(&self, cluster: &ir::Cluster) -> Option<Rc<Line>> {
        cluster.traffic.breakers.max_connections?;
        let mut lines = self.lines.borrow_mut();
        let line = lines.entry(cluster.name.as_str().into()).or_default();
        Some(Rc::clone(line))
    }

    /// Closes what has ended or been idle for too long, parks what has not been used lately, and
    /// forgets endpoints that no generation mentions. `closed` is told the cluster of each
    /// connection closed. Called about once a second.
    pub(crate) fn sweep(&self, now: Now, mut closed: impl FnMut(&str)) {
        let mut clusters = self.clusters.borrow_mut();
        clusters.retain(|(name, ..), endpoints| {
            endpoints.pools.retain(|_, pool| {
                // One reference is this map's: no generation and no lease has another.
                let forgotten = Rc::strong_count(pool) == 1;
                for _ in 0..pool.sweep(now, forgotten) {
                    closed(name);
                }
                !forgotten
            });
            !endpoints.pools.is_empty()
        });
        let mut lines = self.lines.borrow_mut();
        lines.retain(|_, line| Rc::strong_count(line) > 1);
    }
}

impl EndpointPool {
    /// Connects.
    ///
    /// # Errors
    /// Why that did not work.
    pub(super) async fn connect(
        &self,
        errand: Errand<'_>,
        buffers: &Rc<Buffers>,
    ) -> Result<Stream, ConnectError> {
        let dialer = match &self.access {
            Access::Plain => None,
            Access::Tls(dialer) => Some(&**dialer),
            Access::Refused => return Err(ConnectError::Refused),
        };
        let place = (self.address, self.socket.as_deref());
        dial(place, self.manner, dialer, errand, buffers).await
    }

    /// What this errand asks of a connection.
    pub(super) fn terms<'e>(&self, errand: Errand<'e>) -> Terms<'e> {
        let name = match &self.access {
            Access::Tls(dialer) => dialer.own_name(errand.host()),
            Access::Plain | Access::Refused => None,
        };
        let ends = errand.ends.filter(|_| self.is_announced());
        Terms { name, ends }
    }

    /// Whether each client has connections of its own, because the upstream is told whose they are.
    pub(super) fn is_announced(&self) -> bool {
        self.manner.announce.is_some()
    }

    /// Whether one more idle connection would be too many.
    pub(super) fn is_full(&self) -> bool {
        self.idle.borrow().len() >= IDLE_PER_ENDPOINT_MAX || self.total.get() >= IDLE_MAX
    }

    /// The connection used last, made with these terms, that is still good; `closed` counts those
    /// found dead.
    pub(super) fn take(
        &self,
        terms: Terms<'_>,
        context: &mut Context<'_>,
        closed: &mut usize,
    ) -> Option<Idle> {
        loop {
            let mut idle = {
                let mut kept = self.idle.borrow_mut();
                let at = kept.iter().rposition(|idle| idle.agreed.suits(terms))?;
                kept.remove(at)
            };
            self.total.set(self.total.get().saturating_sub(1));
            if idle.stream.poll_read(context).is_pending() {
                return Some(idle);
            }
            *closed += 1;
        }
    }

    /// Keeps a connection, unless there are too many.
    pub(super) fn give(&self, mut idle: Idle) -> bool {
        if self.is_full() {
            return false;
        }
        let mut kept = self.idle.borrow_mut();
        if !idle.stream.is_reading() {
            idle.stream.start_read(None);
        }
        kept.push(idle);
        self.total.set(self.total.get() + 1);
        true
    }

    /// Closes the connection that has been idle for longest; whether there was one.
    pub(super) fn evict(&self) -> bool {
        let mut kept = self.idle.borrow_mut();
        if kept.is_empty() {
            return false;
        }
        let oldest = kept.remove(0);
        self.total.set(self.total.get().saturating_sub(1));
        drop(kept);
        drop(oldest);
        true
    }

    fn sweep(&self, now: Now, all: bool) -> usize {
        self.h2.sweep(now, all);
        // Nobody waits for these reads: what they found is asked here and at the next take.
        let mut context = Context::from_waker(Waker::noop());
        let mut kept = self.idle.borrow_mut();
        let before = kept.len();
        kept.retain_mut(|idle| {
            if now >= idle.since + PARK_AFTER {
                idle.stream.park();
            }
            let alive = matches!(idle.stream.poll_read(&mut context), Poll::Pending);
            alive && !all && idle.until.is_none_or(|until| now < until)
        });
        let closed = before - kept.len();
        self.total.set(self.total.get().saturating_sub(closed));
        closed
    }
}
