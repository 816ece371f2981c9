//! One connection: the transport's state, the task that moves its packets and timers, and what
//! streams are read and written by.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{
    ConnectionEvent, ConnectionHandle, Dir, Event, FinishError, ReadError, ReadableError,
    StreamEvent, StreamId, Transmit, VarInt, WriteError,
};
use sallyport_core::time::Now;

use super::endpoint::Endpoint;
use crate::rt::{self, Alarm};

/// Trains sent before other tasks get their turn.
const TRAINS_MAX: usize = 32;
/// Timers nearer than this are waited for exactly: an alarm may ring a little late, which is too
/// late for pacing.
const SOON: Duration = Duration::from_millis(10);
/// Bytes of a stream that are taken at once.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// Why nothing more can be read from a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The client has reset it, or the connection is lost.
    Gone,
}

/// Why nothing more can be written to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteEnd {
    /// The client wants no more of it, or the connection is lost.
    Gone,
}

/// What was read from a stream; `None` at its end.
pub(crate) type Chunk = Option<Bytes>;

/// A connection, shared by the tasks of its streams.
pub(crate) struct Connection {
    endpoint: Rc<Endpoint>,
    handle: ConnectionHandle,
    /// The client has shown that it can be reached at its address, before the handshake.
    located: bool,
    state: RefCell<State>,
}

/// A wait for a timer that is near.
struct Nap {
    until: Instant,
    sleep: Pin<Box<dyn Future<Output = ()>>>,
}

struct State {
    proto: quinn_proto::Connection,
    alarm: Alarm,
    nap: Option<Nap>,
    /// A train that the socket did not take yet.
    unsent: Option<Transmit>,
    out: Vec<u8>,
    /// The handshake is counted as one under way.
    handshaking: bool,
    connected: bool,
    lost: bool,
    /// Somebody waits until the client has acknowledged everything.
    delivering: bool,
    /// Everything that was to be sent has been, and nothing more will be.
    silent: bool,
    driver: Option<Waker>,
    /// Who waits for streams, for the handshake, or for the end.
    host: Option<Waker>,
    readers: HashMap<StreamId, Waker>,
    writers: HashMap<StreamId, Waker>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(
        endpoint: Rc<Endpoint>,
        handle: ConnectionHandle,
        proto: quinn_proto::Connection,
        located: bool,
    ) -> Rc<Self> {
        endpoint.handshakes.set(endpoint.handshakes.get() + 1);
        let state = State {
            proto,
            alarm: endpoint.worker.timers.alarm(),
            nap: None,
            unsent: None,
            out: Vec::new(),
            handshaking: true,
            connected: false,
            lost: false,
            delivering: false,
            silent: false,
            driver: None,
            host: None,
            readers: HashMap::new(),
            writers: HashMap::new(),
        };
        Rc::new(Self {
            endpoint,
            handle,
            located,
            state: RefCell::new(state),
        })
    }

    /// A packet came for it.
    pub(super) fn handle(&self, event: ConnectionEvent) {
        let mut state = self.state.borrow_mut();
        state.proto.handle_event(event);
        state.wake_driver();
    }

    /// Moves packets and timers until the connection is gone.
    pub(super) async fn drive(self: Rc<Self>) {
        poll_fn(|context| self.poll_drive(context)).await;
        let mut state = self.state.borrow_mut();
        state.silent = true;
        state.lose();
        drop(state);
        self.settle_handshake();
        self.endpoint.forget(self.handle);
    }

    fn poll_drive(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.driver = Some(context.waker().clone());
        loop {
            let now = Instant::now();
            if state.is_due(now) {
                state.proto.handle_timeout(now);
            }
            self.exchange_events(state);
            let busy = self.transmit(state, now, context);
            // Sending may have made new identifiers or retired old ones.
            self.exchange_events(state);
            if state.delivering {
                state.wake_host();
            }
            if state.proto.is_drained() {
                return Poll::Ready(());
            }
            if state.proto.is_closed() && !busy {
                state.silent = true;
                state.wake_host();
            }
            if busy || !self.is_timer_due(state, context) {
                return Poll::Pending;
            }
        }
    }

    /// Passes on what connection and endpoint have to say to each other, and to streams.
    fn exchange_events(&self, state: &mut State) {
        while let Some(event) = state.proto.poll_endpoint_events() {
            let mut endpoint = self.endpoint.proto.borrow_mut();
            if let Some(event) = endpoint.handle_event(self.handle, event) {
                state.proto.handle_event(event);
            }
        }
        while let Some(event) = state.proto.poll() {
            match event {
                Event::DatagramReceived | Event::DatagramsUnblocked => {}
                // There may be early data.
                Event::HandshakeDataReady => state.wake_host(),
                Event::Connected => {
                    state.connected = true;
                    state.wake_all();
                }
                Event::ConnectionLost { .. } => state.lose(),
                Event::Stream(event) => state.stream(event),
            }
        }
        if state.handshaking && (state.connected || state.lost) {
            state.handshaking = false;
            self.settle(state.connected);
        }
    }

    /// Counts a handshake that has ended.
    fn settle(&self, well: bool) {
        let handshakes = &self.endpoint.handshakes;
        handshakes.set(handshakes.get().saturating_sub(1));
        self.endpoint.worker.stats.borrow_mut().handshake(well);
    }

    fn settle_handshake(&self) {
        let mut state = self.state.borrow_mut();
        if std::mem::take(&mut state.handshaking) {
            drop(state);
            self.settle(false);
        }
    }

    /// Sends what can be sent; `true` when it is to go on later by itself.
    fn transmit(&self, state: &mut State, now: Instant, context: &Context<'_>) -> bool {
        let segments = self.endpoint.socket.segments();
        for _ in 0..TRAINS_MAX {
            let transmit = state.unsent.take().or_else(|| {
                state.out.clear();
                state.proto.poll_transmit(now, segments, &mut state.out)
            });
            let Some(transmit) = transmit else {
                return false;
            };
            if self.endpoint.socket.send(&transmit, &state.out).is_err() {
                state.unsent = Some(transmit);
                self.endpoint.block(context);
                return true;
            }
        }
        context.waker().wake_by_ref();
        true
    }

    /// Sets the clock for the next timer; `true` when that is due already.
    fn is_timer_due(&self, state: &mut State, context: &mut Context<'_>) -> bool {
        let Some(due) = state.proto.poll_timeout() else {
            state.alarm.set(None);
            state.nap = None;
            return false;
        };
        let left = due.saturating_duration_since(Instant::now());
        if left > SOON {
            state.nap = None;
            let micros = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
            let now = self.endpoint.worker.timers.now();
            state.alarm.set(Some(Now(now.0.saturating_add(micros))));
            return state.alarm.poll(context).is_ready();
        }
        if state.nap.as_ref().is_none_or(|nap| nap.until != due) {
            state.nap = Some(Nap {
                until: due,
                sleep: Box::pin(rt::sleep(left)),
            });
        }
        let nap = state.nap.as_mut();
        let over = nap.is_some_and(|nap| nap.sleep.as_mut().poll(context).is_ready());
        if over {
            state.nap = None;
        }
        over
    }

    /// Waits until streams can be served, until the alarm: for the end of the handshake, or for
    /// early data to be accepted. Whether it went well.
    pub(crate) async fn open_up(&self, alarm: &Alarm) -> bool {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if state.connected || state.lost || state.proto.has_0rtt() {
                return Poll::Ready(!state.lost);
            }
            state.host = Some(context.waker().clone());
            alarm.poll(context).map(|()| false)
        })
        .await
    }

    /// Whether the handshake is complete: before that, what came may be a replay of what somebody
    /// else said.
    pub(crate) fn is_connected(&self) -> bool {
        self.state.borrow().connected
    }

    /// Whether the client has shown that it can be reached at the address that it came from.
    pub(crate) fn is_located(&self) -> bool {
        self.located || self.is_connected()
    }

    /// Waits for the end of the handshake on behalf of a stream; `false` when the client has given
    /// the stream up before.
    pub(crate) async fn connected(&self, id: StreamId) -> bool {
        poll_fn(|context| {
            if self.poll_gone(context, id) {
                return Poll::Ready(false);
            }
            if self.is_connected() {
                return Poll::Ready(true);
            }
            Poll::Pending
        })
        .await
    }

    /// The next stream that the client has opened, `None` when there will be none.
    pub(crate) fn poll_accept(&self, context: &Context<'_>, dir: Dir) -> Poll<Option<StreamId>> {
        let mut state = self.state.borrow_mut();
        if state.lost {
            return Poll::Ready(None);
        }
        if let Some(id) = state.proto.streams().accept(dir) {
            // The client may open another in its place.
            state.wake_driver();
            return Poll::Ready(Some(id));
        }
        state.host = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether the connection is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.borrow().lost
    }

    /// Opens a unidirectional stream and writes to it; `None` when the client allows none.
    pub(crate) fn open(&self, bytes: &[u8]) -> Option<StreamId> {
        let mut state = self.state.borrow_mut();
        let id = state.proto.streams().open(Dir::Uni)?;
        let written = state.proto.send_stream(id).write(bytes);
        state.wake_driver();
        matches!(written, Ok(count) if count == bytes.len()).then_some(id)
    }

    /// Writes a few bytes to a stream of ours that never is full.
    pub(crate) fn say(&self, id: StreamId, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        // A client that does not read our control stream learns nothing.
        drop(state.proto.send_stream(id).write(bytes));
        state.wake_driver();
    }

    /// Reads the next bytes of a stream.
    ///
    /// # Errors
    /// Nothing more will come.
    pub(crate) fn poll_read(
        &self,
        context: &Context<'_>,
        id: StreamId,
    ) -> Poll<Result<Chunk, ReadEnd>> {
        let mut state = self.state.borrow_mut();
        if state.lost {
            return Poll::Ready(Err(ReadEnd::Gone));
        }
        let mut stream = state.proto.recv_stream(id);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => {
                return Poll::Ready(Ok(None));
            }
        };
        let next = chunks.next(CHUNK_BYTES_MAX);
        let tell = chunks.finalize().should_transmit();
        if tell {
            state.wake_driver();
        }
        match next {
            Ok(chunk) => Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes))),
            Err(ReadError::Reset(_)) => Poll::Ready(Err(ReadEnd::Gone)),
            Err(ReadError::Blocked) => {
                state.readers.insert(id, context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the client has reset its side of a stream, or wants no more of ours. Wakes the task
    /// when that changes.
    pub(crate) fn poll_gone(&self, context: &Context<'_>, id: StreamId) -> bool {
        let mut state = self.state.borrow_mut();
        if state.lost {
            return true;
        }
        let reset = state.proto.recv_stream(id).received_reset();
        let stopped = state.proto.send_stream(id).stopped();
        let waker = context.waker();
        state.readers.insert(id, waker.clone());
        state.writers.insert(id, waker.clone());
        matches!(reset, Ok(Some(_))) || matches!(stopped, Ok(Some(_)))
    }

    /// Writes chunks to a stream, as far as it takes them: the number that are wholly written.
    ///
    /// # Errors
    /// Nothing more can be written.
    pub(crate) fn poll_write(
        &self,
        context: &Context<'_>,
        id: StreamId,
        chunks: &mut [Bytes],
    ) -> Poll<Result<usize, WriteEnd>> {
        let mut state = self.state.borrow_mut();
        if state.lost {
            return Poll::Ready(Err(WriteEnd::Gone));
        }
        let written = state.proto.send_stream(id).write_chunks(chunks);
        match written {
            Ok(written) => {
                state.wake_driver();
                Poll::Ready(Ok(written.chunks))
            }
            Err(WriteError::Blocked) => {
                state.writers.insert(id, context.waker().clone());
                Poll::Pending
            }
            Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                Poll::Ready(Err(WriteEnd::Gone))
            }
        }
    }

    /// Ends our side of a stream.
    pub(crate) fn finish(&self, id: StreamId) -> Result<(), WriteEnd> {
        let mut state = self.state.borrow_mut();
        let finished = state.proto.send_stream(id).finish();
        state.wake_driver();
        finished.map_err(|error| match error {
            FinishError::Stopped(_) | FinishError::ClosedStream => WriteEnd::Gone,
        })
    }

    /// Ends our side of a stream abnormally; nothing if it has ended.
    pub(crate) fn reset(&self, id: StreamId, code: u32) {
        let mut state = self.state.borrow_mut();
        drop(state.proto.send_stream(id).reset(VarInt::from_u32(code)));
        state.wake_driver();
    }

    /// Asks the client to send no more on a stream; nothing if all has come.
    pub(crate) fn stop(&self, id: StreamId, code: u32) {
        let mut state = self.state.borrow_mut();
        drop(state.proto.recv_stream(id).stop(VarInt::from_u32(code)));
        state.wake_driver();
    }

    /// Forgets who waited for a stream.
    pub(crate) fn leave(&self, id: StreamId) {
        let mut state = self.state.borrow_mut();
        state.readers.remove(&id);
        state.writers.remove(&id);
    }

    /// Whether the client has all that was said on streams, but for so many that never end. Wakes
    /// the connection's task when it has more.
    pub(crate) fn poll_delivered(&self, context: &Context<'_>, endless: usize) -> bool {
        let mut state = self.state.borrow_mut();
        state.delivering = true;
        state.host = Some(context.waker().clone());
        state.lost || state.proto.streams().send_streams() <= endless
    }

    /// Datagrams that have come.
    pub(crate) fn datagrams(&self) -> u64 {
        self.state.borrow().proto.stats().udp_rx.datagrams
    }

    /// About twice the time that a packet takes to the client and back.
    pub(crate) fn two_round_trips(&self) -> Duration {
        self.state.borrow().proto.rtt().saturating_mul(2)
    }

    /// Closes the connection.
    pub(crate) fn close(&self, code: u32) {
        let mut state = self.state.borrow_mut();
        let code = VarInt::from_u32(code);
        state.proto.close(Instant::now(), code, Bytes::new());
        state.lose();
        state.wake_driver();
    }

    /// Waits until a connection that was closed has said so.
    pub(crate) async fn silence(&self) {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if state.silent {
                return Poll::Ready(());
            }
            state.host = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The client's end, at the moment.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.state.borrow().proto.remote_address()
    }

    /// Our end.
    pub(crate) fn local(&self) -> SocketAddr {
        self.endpoint.local(self.state.borrow().proto.local_ip())
    }

    /// The server name that the client asked for, in lower case.
    pub(crate) fn sni(&self) -> Option<Box<str>> {
        let state = self.state.borrow();
        let data = state.proto.crypto_session().handshake_data()?;
        let data = data.downcast::<HandshakeData>().ok()?;
        Some(data.server_name?.to_ascii_lowercase().into())
    }
}

impl State {
    /// Whether a timer may have come: asking too often costs nothing.
    fn is_due(&mut self, now: Instant) -> bool {
        self.proto.poll_timeout().is_some_and(|due| due <= now)
    }

    fn wake_driver(&mut self) {
        if let Some(waker) = self.driver.take() {
            waker.wake();
        }
    }

    fn wake_host(&mut self) {
        if let Some(waker) = self.host.take() {
            waker.wake();
        }
    }

    fn stream(&mut self, event: StreamEvent) {
        let waker = match event {
            StreamEvent::Opened { .. } => self.host.take(),
            StreamEvent::Readable { id } => self.readers.remove(&id),
            StreamEvent::Writable { id } | StreamEvent::Stopped { id, .. } => {
                self.writers.remove(&id)
            }
            StreamEvent::Finished { .. } | StreamEvent::Available { .. } => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The connection is over for its streams.
    fn lose(&mut self) {
        self.lost = true;
        self.wake_all();
    }

    fn wake_all(&mut self) {
        self.wake_host();
        let waiting = self.readers.drain().chain(self.writers.drain());
        waiting.for_each(|(_, waker)| waker.wake());
    }
}
