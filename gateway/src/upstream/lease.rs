//! One upstream connection, lent to one try: returned to its pool, or closed when dropped.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Context;

use sallyport_config::ir::{Cluster, Millis};
use sallyport_core::time::Now;

use super::pool::Idle;
use super::{ConnectError, EndpointPool, Errand, Upstream};
use crate::buffer::Buffers;
use crate::io::stream::Stream;
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
    /// The server name that was sent, if that was the request's own.
    name: Option<Rc<str>>,
    served: u32,
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
        let name = pool.own_name(errand.host());
        let idle = pool.take(name, context, &mut dead);
        for _ in 0..dead {
            worker.stats.borrow_mut().upstream_closed(&pool.cluster);
        }
        let idle = idle?;
        Some(Self::new(
            worker,
            upstream,
            endpoint,
            pool,
            (idle.stream, idle.name),
            idle.served,
        ))
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
        let missing = || ConnectError::Io(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        let pool = upstream.endpoint(endpoint).ok_or_else(missing)?;
        let stream = pool.connect(errand, &worker.buffers).await?;
        let name = pool.own_name(errand.host()).map(Rc::from);
        worker.stats.borrow_mut().upstream_connected(&pool.cluster);
        let made = (stream, name);
        Ok(Self::new(worker, upstream, endpoint, pool, made, 0))
    }

    fn new(
        worker: &Rc<Worker>,
        upstream: &Rc<Upstream>,
        endpoint: u32,
        pool: &Rc<EndpointPool>,
        (stream, name): (Stream, Option<Rc<str>>),
        served: u32,
    ) -> Self {
        upstream.balancer.borrow_mut().begin(endpoint);
        Self {
            stream: Some(stream),
            upstream: Rc::clone(upstream),
            endpoint,
            pool: Rc::clone(pool),
            worker: Rc::clone(worker),
            name,
            served,
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

    /// Whether the cluster allows this connection no request after the next.
    pub(crate) fn is_last(&self, cluster: &Cluster) -> bool {
        let max = cluster.max_requests_per_connection;
        max > 0 && self.served + 1 >= max
    }

    /// Gives the connection back after a whole response with nothing behind it.
    pub(crate) fn give_back(mut self, cluster: &Cluster, now: Now) {
        if self.is_last(cluster) {
            return;
        }
        if let Some(stream) = self.stream.take() {
            let idle = Idle {
                stream,
                name: self.name.take(),
                served: self.served.saturating_add(1),
                since: now,
                until: Some(now + cluster.idle_timeout.unwrap_or(IDLE_DEFAULT)),
            };
            if !self.pool.give(idle) {
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
