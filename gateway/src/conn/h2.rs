//! HTTP/2 on one client connection: a task that drives the codec and hears what concerns the
//! connection as a whole, and a task for each stream.
//!
//! The codec (`h2`) frames, compresses and counts windows; what a request means is decided where it
//! is for every wire. A stream lives no longer than its connection: the end of one is news of the
//! client's leaving for the other.

mod client;
mod fields;
mod stream;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use sallyport_config::ir::Millis;
use sallyport_core::flags::Flags;
use sallyport_core::h2::Sieve;
use sallyport_core::oddities::{Oddities, Verdict};
use sallyport_core::time::{Now, earliest};

use crate::codec::{Chunk, Sight, Watcher, Wire};
use crate::conn::Link;
use crate::conn::exchange::log_closed;
use crate::generation::Http2;
use crate::io::stream::Stream;
use crate::rt::Alarm;
use crate::worker::{Guest, Worker};

/// Preface and SETTINGS must have come within this.
const BEGIN_TIME: Millis = Millis(10_000);
/// A connection that was told to end, and has no stream, is closed after this: its client may never
/// answer the ping that tells that it has seen the first GOAWAY.
const LEAVE_TIME: Millis = Millis(3_000);
/// Bytes of header fields, by RFC 9113 §6.5.2; more are answered with 431. As in HTTP/1.
const HEADER_LIST_BYTES: u32 = 60 * 1024;
/// Bytes of a stream's answer that the codec holds.
const SEND_BYTES: usize = 64 * 1024;
/// Streams that we reset for the client's faults, in the life of a connection (CVE-2025-8671).
const FAULTS_MAX: usize = 100;

/// What the access log says of a field that cannot be, in Envoy's form of a detail.
const IMPOSSIBLE: &str = "http2.invalid_header_field";

/// What the tasks of one connection share.
#[derive(Debug)]
struct Shared {
    worker: Rc<Worker>,
    link: Rc<Link>,
    /// Streams that are being served.
    live: Cell<usize>,
    /// When the last one ended.
    idle_since: Cell<Now>,
    oddities: RefCell<Oddities>,
    sieve: RefCell<Sieve>,
}

/// The byte stream under the codec.
type Line = Wire<Rc<Shared>>;

impl Shared {
    /// Counts what came.
    fn scan(&self, bytes: &[u8]) {
        let now = self.worker.timers.now();
        self.oddities.borrow_mut().scan(bytes, now);
    }

    /// Replaces heads that would end the connection by others that end their streams.
    fn sift(&self, bytes: &mut Vec<u8>) {
        let replaced = self.sieve.borrow_mut().pass(bytes);
        for _ in 0..replaced {
            self.oddities.borrow_mut().malformed();
            let now = self.worker.timers.now();
            log_closed(&self.worker, &self.link, now, Flags::DPE, IMPOSSIBLE);
        }
    }

    /// Why the client has to go, if it has.
    fn objection(&self) -> Option<Reason> {
        match self.oddities.borrow().verdict() {
            Verdict::Fine => None,
            Verdict::Misshapen => Some(Reason::FRAME_SIZE_ERROR),
            Verdict::Calm | Verdict::Close => Some(Reason::ENHANCE_YOUR_CALM),
        }
    }
}

impl Watcher for Rc<Shared> {
    fn came(&self, bytes: &mut Vec<u8>) -> Sight {
        self.scan(bytes);
        let verdict = self.oddities.borrow().verdict();
        match verdict {
            Verdict::Fine | Verdict::Calm => {
                self.sift(bytes);
                Sight::Fine
            }
            Verdict::Misshapen => Sight::Ignored,
            Verdict::Close => Sight::Intolerable,
        }
    }

    fn is_busy(&self) -> bool {
        self.live.get() > 0
    }
}

/// What the connection's task does next.
enum Step {
    /// A request has come.
    Request(Box<(Request<RecvStream>, SendResponse<Chunk>)>),
    /// It is time to go.
    Leave,
    /// The client has done what no client may: GOAWAY with this reason.
    Dismiss(Reason),
    /// All is over.
    End,
}

/// Serves a connection to its end. `early` are bytes that were read before.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    guest: Guest,
    stream: Stream,
    link: Rc<Link>,
    mut early: Vec<u8>,
) {
    let now = worker.timers.now();
    let shared = Rc::new(Shared {
        live: Cell::new(0),
        idle_since: Cell::new(now),
        oddities: RefCell::new(Oddities::new(now)),
        sieve: RefCell::default(),
        worker,
        link,
    });
    let alarm = shared.worker.timers.alarm();
    alarm.set(Some(now + BEGIN_TIME));
    let watch = Rc::clone(&shared);
    watch.scan(&early);
    watch.sift(&mut early);
    let wire = Wire::new(stream, Rc::clone(&shared.worker.buffers), watch, early);
    if let Some(connection) = begin(&shared, &alarm, wire).await {
        let hall = Hall {
            shared: Rc::clone(&shared),
            guest,
            alarm,
            opened: now,
            leaving: false,
            dismissed: false,
        };
        hall.drive(connection).await;
    }
    let seen = shared.oddities.borrow().seen();
    shared.worker.stats.borrow_mut().oddities(seen);
}

/// Exchanges prefaces.
async fn begin(shared: &Shared, alarm: &Alarm, wire: Line) -> Option<Connection<Line, Chunk>> {
    let settings = shared.worker.active().generation.serving.http2;
    let mut handshake = pin!(builder(settings).handshake::<Line, Chunk>(wire));
    poll_fn(|context| match handshake.as_mut().poll(context) {
        Poll::Ready(connection) => Poll::Ready(connection.ok()),
        Poll::Pending => alarm.poll(context).map(|()| None),
    })
    .await
}

fn builder(settings: Http2) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(settings.streams)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BYTES)
        .max_local_error_reset_streams(Some(FAULTS_MAX))
        .enable_connect_protocol();
    builder
}

/// The task of a connection.
struct Hall {
    shared: Rc<Shared>,
    guest: Guest,
    alarm: Alarm,
    opened: Now,
    leaving: bool,
    dismissed: bool,
}

impl Hall {
    async fn drive(mut self, mut connection: Connection<Line, Chunk>) {
        loop {
            match poll_fn(|context| self.poll(context, &mut connection)).await {
                Step::Request(request) => {
                    let (request, respond) = *request;
                    stream::open(&self.shared, request, respond);
                }
                Step::Leave => {
                    self.leaving = true;
                    connection.graceful_shutdown();
                }
                Step::Dismiss(reason) => {
                    self.dismissed = true;
                    let details = match reason {
                        Reason::ENHANCE_YOUR_CALM => "http2.too_many_oddities",
                        _ => "http2.frame_size",
                    };
                    let Shared { worker, link, .. } = &*self.shared;
                    log_closed(worker, link, self.opened, Flags::DPE, details);
                    connection.abrupt_shutdown(reason);
                }
                Step::End => return,
            }
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection<Line, Chunk>,
    ) -> Poll<Step> {
        match connection.poll_accept(context) {
            Poll::Ready(Some(Ok(request))) => {
                return Poll::Ready(Step::Request(Box::new(request)));
            }
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Step::End),
            Poll::Pending => {}
        }
        if let Some(reason) = self.shared.objection()
            && !self.dismissed
        {
            return Poll::Ready(Step::Dismiss(reason));
        }
        if !self.leaving && self.guest.poll_leave(context) {
            return Poll::Ready(Step::Leave);
        }
        loop {
            let now = self.shared.worker.timers.now();
            let due = self.due(now);
            if due.is_some_and(|due| now >= due) {
                let over = self.leaving || self.dismissed;
                return Poll::Ready(if over { Step::End } else { Step::Leave });
            }
            self.alarm.set(due);
            if self.alarm.poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// When the connection has to end, as it stands.
    fn due(&self, now: Now) -> Option<Now> {
        let active = self.shared.worker.active();
        let serving = &active.generation.serving;
        let since = if self.shared.live.get() == 0 {
            self.shared.idle_since.get()
        } else {
            now
        };
        if self.leaving || self.dismissed {
            return Some(since + LEAVE_TIME);
        }
        let idle = serving.idle_timeout.map(|limit| since + limit);
        let age = serving.connection_age.map(|limit| self.opened + limit);
        earliest(idle, age)
    }
}
