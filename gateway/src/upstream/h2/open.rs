//! Opening a connection, and the task that drives it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::client::Builder;
use h2::{Ping, PingPong};
use sallyport_config::ir::{self, Cluster};

use super::{Connection, IDLE_DEFAULT, State};
use crate::codec::{Chunk, Sight, Watcher, Wire};
use crate::rt::{self, Alarm};
use crate::upstream::{ConnectError, Errand, Lease, Slot, Upstream};
use crate::worker::Worker;

/// What an upstream may send ahead on one stream, and on all together.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of header fields in a response, by RFC 9113 §6.5.2. As in HTTP/1.
const HEADER_LIST_BYTES: u32 = 60 * 1024;
/// Bytes of a stream's request that the codec holds.
const SEND_BYTES: usize = 64 * 1024;

/// Connects and says hello. The upstream's own hello is not waited for: requests may follow at once
/// (RFC 9113 §3.4).
pub(super) async fn open(
    worker: &Rc<Worker>,
    upstream: &Rc<Upstream>,
    cluster_of: &Cluster,
    endpoint: u32,
    errand: Errand<'_>,
) -> Result<Connection, ConnectError> {
    let pool = upstream.endpoint(endpoint);
    let cluster = pool.map(|pool| Arc::clone(&pool.cluster));
    let limit = cluster_of.connect_timeout;
    let mut lease = Lease::obtain(worker, upstream, endpoint, errand, limit).await?;
    let now = worker.timers.now();
    let age = cluster_of.traffic.max_connection_duration;
    let ended = Ended {
        worker: Rc::clone(worker),
        cluster: cluster.unwrap_or_else(|| "".into()),
        state: Rc::new(State::new(now + IDLE_DEFAULT, age.map(|age| now + age))),
        _slot: lease.take_slot(),
    };
    let agreed = pool.map(|pool| pool.terms(errand).agreed());
    let closed = || ConnectError::Io(io::ErrorKind::NotConnected.into());
    let stream = lease.into_stream().ok_or_else(closed)?;
    let (tls, local) = (stream.is_tls(), stream.local());
    let principals = stream.principals().cloned();
    let state = Rc::clone(&ended.state);
    let watcher = Quiet(Rc::clone(&state));
    let wire = Wire::new(stream, Rc::clone(&worker.buffers), watcher, Vec::new());
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BYTES);
    let handshake = builder.handshake::<_, Chunk>(wire).await;
    let (send, mut connection) = handshake.map_err(|error| match error.into_io() {
        Some(error) => ConnectError::Io(error),
        None => ConnectError::Left,
    })?;
    let ping = cluster_of.traffic.ping;
    let mut pulse = ping.and_then(|ping| Pulse::new(worker, ping, connection.ping_pong()?));
    rt::spawn(async move {
        // How it ended, its streams have been told.
        poll_fn(|context| {
            let dead = pulse.as_mut().map(|pulse| pulse.poll(context));
            let over = Pin::new(&mut connection).poll(context).map(drop);
            if over.is_ready() {
                over
            } else {
                dead.unwrap_or(Poll::Pending)
            }
        })
        .await;
        drop(connection);
        drop(ended);
    });
    Ok(Connection {
        send: RefCell::new(send),
        tls,
        local,
        principals,
        agreed: agreed.unwrap_or_default(),
        state,
    })
}

/// Asks the upstream now and then whether it is still there.
struct Pulse {
    worker: Rc<Worker>,
    ping: ir::Ping,
    line: PingPong,
    alarm: Alarm,
    /// An answer is waited for.
    asked: bool,
}

impl Pulse {
    fn new(worker: &Rc<Worker>, ping: ir::Ping, line: PingPong) -> Option<Self> {
        let alarm = worker.timers.alarm();
        alarm.set(Some(worker.timers.now() + ping.interval));
        Some(Self {
            worker: Rc::clone(worker),
            ping,
            line,
            alarm,
            asked: false,
        })
    }

    /// Ready when no answer came in time.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.worker.timers.now();
            if self.asked {
                match self.line.poll_pong(context) {
                    Poll::Ready(Ok(_)) => {
                        self.asked = false;
                        self.alarm.set(Some(now + self.ping.interval));
                    }
                    // the connection will say so itself
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending => return self.alarm.poll(context),
                }
            }
            ready!(self.alarm.poll(context));
            if self.line.send_ping(Ping::opaque()).is_err() {
                return Poll::Pending;
            }
            self.asked = true;
            self.alarm.set(Some(now + self.ping.timeout));
        }
    }
}

/// Counts a connection's end, whatever ends it.
struct Ended {
    worker: Rc<Worker>,
    cluster: Arc<str>,
    state: Rc<State>,
    /// Its place among the connections that the cluster may have.
    _slot: Slot,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.state.closed.set(true);
        self.state.hello.wake();
        let mut stats = self.worker.stats.borrow_mut();
        stats.upstream_closed(&self.cluster);
    }
}

/// An upstream is trusted not to be odd.
struct Quiet(Rc<State>);

impl Watcher for Quiet {
    fn came(&self, bytes: &mut Vec<u8>) -> Sight {
        self.0.hello.came(bytes);
        Sight::Fine
    }

    fn is_busy(&self) -> bool {
        self.0.live.get() > 0
    }
}
