//! One upstream connection, lent to one try: returned to its pool, or closed when dropped.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sallyport_config::ir::{Cluster, Millis};
use sallyport_core::quota::What;
use sallyport_core::time::{Now, earliest};

use super::pool::Idle;
use super::terms::Agreed;
use super::{ConnectError, EndpointPool, Errand, Permit, Slot, Upstream};
use crate::buffer::Buffers;
use crate::io::stream::Stream;
use crate::tls::client::Principals;
use crate::worker::Worker;

/// Idle upstream connections without a limit of their own are closed after this.
const IDLE_DEFAULT: Millis = Millis(3_600_000);

/// A borrowed upstream connection. While it lives, its endpoint has one request more.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The connection; `None` only once it has been returned.
    stream: Option<Stream>,
    upstream: Rc<Upstream>,
    endpoint: u32,
    pool: Rc<EndpointPool>,
    worker: Rc<Worker>,
    /// What it was made with.
    agreed: Agreed,
    served: u32,
    born: Now,
    /// Its place among the connections that the cluster may have.
    slot: Slot,
    /// The request's among those that may be in flight.
    request: Permit,
}

/// What a request in line was waiting for.
enum Found {
    Lease(Box<Lease>),
    Slot(Slot),
}

impl Lease {
    /// A pooled connection to this endpoint, if one is there and alive.
    pub(crate) fn pooled(
        worker: &Rc<Worker>,
        upstream: &Rc<Upstream>,
        endpoint: u32,
        errand: Errand<'_>,
        context: &mut Context<'_>,
    ) -> Option<Self> {
        let pool = upstream.endpoint(endpoint)?;
        let mut dead = 0;
        let idle = pool.take(pool.terms(errand), context, &mut dead);
        for _ in 0..dead {
            worker.stats.borrow_mut().upstream_closed(&pool.cluster);
        }
        let idle = idle?;
        Some(Self::new(worker, upstream, endpoint, pool, idle))
    }

    /// A new connection to this endpoint.
    ///
    /// # Errors
    /// What connecting said; no such endpoint is "address not available".
    pub(crate) async fn connect(
        worker: &Rc<Worker>,
        upstream: &Rc<Upstream>,
        endpoint: u32,
        errand: Errand<'_>,
    ) -> Result<Self, ConnectError> {
        let slot = upstream.slot(worker);
        let slot = slot.ok_or(ConnectError::Overflow(What::Connections))?;
        Self::connect_at(worker, upstream, endpoint, errand, slot).await
    }

    /// A connection to this endpoint for a request that may wait for it in line: a new one, or one
    /// that another request gave back. Connecting itself must not take longer than `limit`.
    ///
    /// # Errors
    /// As [`Self::connect`], too many that wait, and no time left.
    pub(crate) async fn obtain(
        worker: &Rc<Worker>,
        upstream: &Rc<Upstream>,
        endpoint: u32,
        errand: Errand<'_>,
        limit: Millis,
    ) -> Result<Self, ConnectError> {
        let pending = upstream.take(What::Pending);
        let pending = pending.ok_or(ConnectError::Overflow(What::Pending))?;
        let free = || (!upstream.is_queued()).then(|| upstream.slot(worker));
        let slot = match free().flatten() {
            Some(slot) => slot,
            None => {
                let found = || {
                    // Nobody is woken by an idle connection: it is asked once.
                    let mut context = Context::from_waker(Waker::noop());
                    let lease = Self::pooled(worker, upstream, endpoint, errand, &mut context);
                    let lease = lease.map(|lease| Found::Lease(Box::new(lease)));
                    lease.or_else(|| upstream.slot(worker).map(Found::Slot))
                };
                match upstream.breakers.wait(found).await {
                    Some(Found::Lease(lease)) => return Ok(*lease),
                    Some(Found::Slot(slot)) => slot,
                    None => return Err(ConnectError::Overflow(What::Connections)),
                }
            }
        };
        let alarm = worker.timers.alarm();
        alarm.set(Some(worker.timers.now() + limit));
        let mut connecting = pin!(Self::connect_at(worker, upstream, endpoint, errand, slot));
        let connected = poll_fn(|context| match connecting.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => alarm.poll(context).map(|()| Err(ConnectError::TimedOut)),
        })
        .await;
        drop(pending);
        connected
    }

    async fn connect_at(
        worker: &Rc<Worker>,
        upstream: &Rc<Upstream>,
        endpoint: u32,
        errand: Errand<'_>,
        slot: Slot,
    ) -> Result<Self, ConnectError> {
        let missing = || ConnectError::Io(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        let pool = upstream.endpoint(endpoint).ok_or_else(missing)?;
        let stream = pool.connect(errand, &worker.buffers).await?;
        let agreed = pool.terms(errand).agreed();
        worker.stats.borrow_mut().upstream_connected(&pool.cluster);
        let now = worker.timers.now();
        let made = Idle {
            stream,
            agreed,
            served: 0,
            since: now,
            born: now,
            slot,
            until: None,
        };
        Ok(Self::new(worker, upstream, endpoint, pool, made))
    }

    /// Counts the request among those in flight.
    ///
    /// # Errors
    /// There are too many: the connection goes back unused.
    pub(crate) fn admit(mut self, cluster: &Cluster, now: Now) -> Result<Self, ConnectError> {
        match self.upstream.admit(&self.worker.commons) {
            Some(permit) => {
                self.request = permit;
                Ok(self)
            }
            None => {
                self.put_back(cluster, now);
                Err(ConnectError::Overflow(What::Requests))
            }
        }
    }

    fn new(
        worker: &Rc<Worker>,
        upstream: &Rc<Upstream>,
        endpoint: u32,
        pool: &Rc<EndpointPool>,
        idle: Idle,
    ) -> Self {
        let Idle {
            stream,
            agreed,
            served,
            born,
            slot,
            ..
        } = idle;
        upstream.balancer.borrow_mut().begin(endpoint);
        Self {
            stream: Some(stream),
            upstream: Rc::clone(upstream),
            endpoint,
            pool: Rc::clone(pool),
            worker: Rc::clone(worker),
            agreed,
            served,
            born,
            slot,
            request: Permit::default(),
        }
    }

    /// The worker's buffers.
    pub(crate) fn buffers(&self) -> Rc<Buffers> {
        Rc::clone(&self.worker.buffers)
    }

    /// The connection.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut()
    }

    /// Whether it served a request before.
    pub(crate) fn is_reused(&self) -> bool {
        self.served > 0
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> SocketAddr {
        self.pool.address
    }

    /// The unix socket that it leads to, if it is one.
    pub(crate) fn socket(&self) -> Option<Arc<str>> {
        self.pool.socket.clone()
    }

    /// Our end of the connection.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.stream.as_ref()?.local()
    }

    /// Who speaks with whom on it.
    pub(crate) fn principals(&self) -> Option<Rc<Principals>> {
        self.stream.as_ref()?.principals().cloned()
    }

    /// Whether the cluster allows this connection no request after the next.
    pub(crate) fn is_last(&self, cluster: &Cluster) -> bool {
        let max = cluster.max_requests_per_connection;
        max > 0 && self.served + 1 >= max
    }

    /// Its place among the connections of the cluster, for who takes the connection out.
    pub(super) fn take_slot(&mut self) -> Slot {
        std::mem::take(&mut self.slot)
    }

    /// Takes the connection out, for streams to share. Who takes it counts its end.
    pub(super) fn into_stream(mut self) -> Option<Stream> {
        self.stream.take()
    }

    /// Gives the connection back after a whole response with nothing behind it.
    pub(crate) fn give_back(mut self, cluster: &Cluster, now: Now) {
        if self.is_last(cluster) {
            return;
        }
        self.served = self.served.saturating_add(1);
        self.put_back(cluster, now);
    }

    /// Back to the pool, unless it is too old.
    fn put_back(mut self, cluster: &Cluster, now: Now) {
        let age = cluster.traffic.max_connection_duration;
        let end = age.map(|age| self.born + age);
        if end.is_some_and(|end| end <= now) {
            return;
        }
        if let Some(stream) = self.stream.take() {
            // Clients come and go: those that went shall not keep others from having one.
            if self.pool.is_announced() && self.pool.is_full() && self.pool.evict() {
                self.count_closed();
            }
            let idle_end = now + cluster.idle_timeout.unwrap_or(IDLE_DEFAULT);
            let idle = Idle {
                stream,
                agreed: std::mem::take(&mut self.agreed),
                served: self.served,
                since: now,
                born: self.born,
                slot: std::mem::take(&mut self.slot),
                until: earliest(Some(idle_end), end),
            };
            if self.pool.give(idle) {
                self.request = Permit::default();
                self.upstream.breakers.call();
            } else {
                self.count_closed();
            }
        }
    }

    fn count_closed(&self) {
        let mut stats = self.worker.stats.borrow_mut();
        stats.upstream_closed(&self.pool.cluster);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.balancer.borrow_mut().end(self.endpoint);
        if self.stream.is_some() {
            self.count_closed();
        }
    }
}
