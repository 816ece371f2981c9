//! Upstream connections of HTTP/2: each is shared by streams of its worker, up to a bound, and one
//! more is opened when all are full. Whoever finds one being opened waits for that one.

mod hello;
mod open;
mod shelf;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use h2::Reason;
use h2::client::SendRequest;
use sallyport_config::ir::{Cluster, Millis};
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::quota::What;
use sallyport_core::time::Now;

use self::hello::Hello;
use super::terms::Agreed;
use super::{ConnectError, EndpointPool, Errand, Permit, Upstream};
use crate::buffer::Buffers;
use crate::codec::Chunk;
use crate::tls::client::Principals;
use crate::worker::Worker;

pub(super) use shelf::Shelf;

/// Streams of one connection at a time, if the upstream takes as many and no rule says otherwise.
const STREAMS_MAX: usize = 100;
/// Idle connections without a limit of their own are closed after this.
const IDLE_DEFAULT: Millis = Millis(3_600_000);

/// A connection that streams share.
pub(crate) struct Connection {
    send: RefCell<SendRequest<Chunk>>,
    tls: bool,
    /// Our end.
    local: Option<SocketAddr>,
    /// Who speaks with whom on it.
    principals: Option<Rc<Principals>>,
    /// What it was made with: only requests that ask for the same share it.
    agreed: Agreed,
    state: Rc<State>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// How much one connection may serve.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Streams in all; 0 is no limit.
    requests: u32,
    /// Streams at a time.
    streams: usize,
}

impl Bounds {
    fn of(cluster: &Cluster) -> Self {
        let streams = cluster.traffic.max_streams.map(usize::try_from);
        Self {
            requests: cluster.max_requests_per_connection,
            streams: streams.and_then(Result::ok).unwrap_or(STREAMS_MAX),
        }
    }
}

/// What is known of a connection.
#[derive(Debug)]
struct State {
    /// Streams under way, and all that there were.
    live: Cell<usize>,
    served: Cell<u32>,
    /// When it is closed for being idle.
    until: Cell<Now>,
    /// When it takes no more streams for being old.
    retires: Option<Now>,
    /// It is over.
    closed: Cell<bool>,
    hello: Hello,
}

/// A stream to be, on a shared connection. While it lives, its endpoint has one request more.
pub(crate) struct Lease {
    connection: Rc<Connection>,
    send: SendRequest<Chunk>,
    reused: bool,
    idle: Millis,
    upstream: Rc<Upstream>,
    endpoint: u32,
    pool: Rc<EndpointPool>,
    worker: Rc<Worker>,
    /// Its place among the requests that may be in flight.
    request: Permit,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("connection", &self.connection)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// A stream on a connection that has room for it.
    pub(crate) fn shared(
        worker: &Rc<Worker>,
        upstream: &Rc<Upstream>,
        cluster: &Cluster,
        endpoint: u32,
        errand: Errand<'_>,
        context: &mut Context<'_>,
    ) -> Option<Self> {
        let pool = upstream.endpoint(endpoint)?;
        let bounds = Bounds::of(cluster);
        let now = worker.timers.now();
        let (connection, send) = pool.h2.take(bounds, pool.terms(errand), now, context)?;
        let reused = connection.state.served.get() > 0;
        connection.state.begin();
        upstream.balancer.borrow_mut().begin(endpoint);
        Some(Self {
            connection,
            send,
            reused,
            idle: cluster.idle_timeout.unwrap_or(IDLE_DEFAULT),
            upstream: Rc::clone(upstream),
            endpoint,
            pool: Rc::clone(pool),
            worker: Rc::clone(worker),
            request: Permit::default(),
        })
    }

    /// A stream on a connection that has room for it, or on a new one. `fresh`: only on a new one.
    ///
    /// # Errors
    /// What connecting said; no such endpoint, or too many connections to it.
    pub(crate) async fn obtain(
        worker: &Rc<Worker>,
        upstream: &Rc<Upstream>,
        cluster: &Cluster,
        endpoint: u32,
        errand: Errand<'_>,
        mut fresh: bool,
    ) -> Result<Self, ConnectError> {
        let missing = || ConnectError::Io(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        let pool = upstream.endpoint(endpoint).ok_or_else(missing)?;
        loop {
            if !fresh {
                let shared = std::future::poll_fn(|context| {
                    Poll::Ready(Self::shared(
                        worker, upstream, cluster, endpoint, errand, context,
                    ))
                });
                if let Some(lease) = shared.await {
                    return Ok(lease);
                }
            }
            let terms = pool.terms(errand);
            let opening = pool.h2.begin_opening(terms, pool.is_announced());
            match opening.map_err(ConnectError::Io)? {
                None => pool.h2.opened(terms).await,
                Some(opening) => {
                    let connection =
                        open::open(worker, upstream, cluster, endpoint, errand).await?;
                    opening.done(connection);
                }
            }
            fresh = false;
        }
    }

    /// Counts the request among those in flight.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn admit(mut self) -> Result<Self, ConnectError> {
        let permit = self.upstream.admit(&self.worker.commons);
        self.request = permit.ok_or(ConnectError::Overflow(What::Requests))?;
        Ok(self)
    }

    /// Whether streams of this connection can be tunnels: the upstream says so in its SETTINGS
    /// (RFC 8441 §3). `None` while they have not come.
    pub(crate) fn takes_tunnels(&self) -> Option<bool> {
        let settled = self.connection.state.hello.is_settled();
        settled.then(|| self.send.is_extended_connect_protocol_enabled())
    }

    /// Waits for the upstream's SETTINGS, so long at most.
    ///
    /// # Errors
    /// They did not come.
    pub(crate) async fn settled(&self, limit: Millis) -> Result<(), ConnectError> {
        let alarm = self.worker.timers.alarm();
        alarm.set(Some(self.worker.timers.now() + limit));
        let state = &self.connection.state;
        std::future::poll_fn(|context| {
            if state.hello.poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if state.closed.get() {
                return Poll::Ready(Err(ConnectError::Left));
            }
            alarm.poll(context).map(|()| Err(ConnectError::TimedOut))
        })
        .await
    }

    /// The worker's buffers.
    pub(crate) fn buffers(&self) -> Rc<Buffers> {
        Rc::clone(&self.worker.buffers)
    }

    /// Where streams are opened.
    pub(crate) fn sender(&mut self) -> &mut SendRequest<Chunk> {
        &mut self.send
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.connection.tls
    }

    /// Whether it served a request before.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Our end of the connection.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.connection.local
    }

    /// Who speaks with whom on the connection.
    pub(crate) fn principals(&self) -> Option<Rc<Principals>> {
        self.connection.principals.clone()
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> SocketAddr {
        self.pool.address
    }

    /// The unix socket that it leads to, if it is one.
    pub(crate) fn socket(&self) -> Option<Arc<str>> {
        self.pool.socket.clone()
    }
}

/// What an error of a stream means. A stream above the last one that a GOAWAY names has not been
/// looked at (RFC 9113 §6.8).
pub(crate) fn failure(error: &h2::Error) -> Failure {
    let kind = match (error.is_remote(), error.reason()) {
        (true, Some(Reason::REFUSED_STREAM)) => FailureKind::UpstreamRefused,
        (true, _) if error.is_go_away() => FailureKind::UpstreamRefused,
        (true, _) if error.is_reset() => FailureKind::UpstreamReset,
        _ if error.is_io() => FailureKind::UpstreamClosed,
        _ => FailureKind::UpstreamProtocol,
    };
    kind.into()
}

impl Drop for Lease {
    fn drop(&mut self) {
        let until = self.worker.timers.now() + self.idle;
        self.connection.state.end(until);
        self.upstream.balancer.borrow_mut().end(self.endpoint);
    }
}

impl State {
    fn new(until: Now, retires: Option<Now>) -> Self {
        Self {
            live: Cell::new(0),
            served: Cell::new(0),
            until: Cell::new(until),
            retires,
            closed: Cell::new(false),
            hello: Hello::default(),
        }
    }

    /// Whether it is too old for another stream.
    fn is_retired(&self, now: Now) -> bool {
        self.retires.is_some_and(|end| end <= now)
    }

    fn begin(&self) {
        self.live.set(self.live.get() + 1);
        self.served.set(self.served.get().saturating_add(1));
    }

    fn end(&self, until: Now) {
        self.live.set(self.live.get().saturating_sub(1));
        self.until.set(until);
    }
}
