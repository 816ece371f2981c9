//! HTTP/1 on one client connection: one request after the other.
//!
//! Between requests a connection holds no working memory, and after a second no buffer. During a
//! request a read for what follows is pending all the time: its end is how a client that leaves is
//! noticed.

mod client;
mod head;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use sallyport_config::ir::Millis;
use sallyport_core::time::Now;

use self::client::Caller;
use self::head::NoHead;
use super::exchange::{self, Fate, Visit};
use super::h2;
use crate::conn::Link;
use crate::io::socket::ReadDone;
use crate::io::stream::Stream;
use crate::worker::{Guest, Scratch, Worker};

/// A connection that is idle for this long gives its read buffer back.
const PARK_AFTER: Millis = Millis(1_000);
/// A connection on which requests follow each other this quickly gets a buffer in advance.
const QUICK: Millis = Millis(100);
/// After so many quick requests: most connections never have that many.
const QUICK_MIN: u8 = 2;
/// After the last answer, what the client still sends is read for this long, so that the answer is
/// not lost in a reset.
const LINGER: Millis = Millis(1_000);
/// And at most so many bytes of it.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// A client connection that speaks HTTP/1.
pub(crate) struct Conn {
    visit: Visit,
    stream: Stream,
    guest: Guest,
    /// Received, and not looked at.
    input: Vec<u8>,
    opened: Now,
    /// No request has come yet: another protocol may be spoken.
    fresh: bool,
    /// Requests that followed quickly, one after the other, up to [`QUICK_MIN`].
    quick: u8,
}

/// The client speaks HTTP/2 and not HTTP/1.
struct Other;

/// Serves a connection to its end.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    guest: Guest,
    stream: Stream,
    link: Rc<Link>,
    early: Vec<u8>,
) {
    let now = worker.timers.now();
    // Where there was a handshake, it has settled the protocol.
    let fresh = link.tls.is_none();
    let mut conn = Conn {
        visit: Visit {
            alarm: worker.timers.alarm(),
            worker,
            link,
            begun: now,
        },
        stream,
        guest,
        input: early,
        opened: now,
        fresh,
        quick: 0,
    };
    let mut fate = Fate::Keep;
    while fate == Fate::Keep {
        match conn.wait().await {
            Some(true) => {}
            // Nothing of it is unread, so saying goodbye is enough.
            Some(false) => {
                conn.finish().await;
                return;
            }
            None => return,
        }
        let mut scratch = conn.visit.worker.scratch.take();
        // Boxed, so that an idle connection does not hold room for a request.
        let answered = Box::pin(conn.answer(&mut scratch)).await;
        conn.visit.worker.scratch.give(scratch);
        match answered {
            Ok(next) => fate = next,
            Err(Other) => {
                let Conn {
                    visit,
                    stream,
                    guest,
                    input,
                    ..
                } = conn;
                let Visit { worker, link, .. } = visit;
                return Box::pin(h2::serve(worker, guest, stream, link, input)).await;
            }
        }
    }
    if fate == Fate::Close {
        conn.linger().await;
    }
}

impl Conn {
    /// Receives one request and answers it.
    ///
    /// # Errors
    /// The client speaks HTTP/2.
    async fn answer(&mut self, scratch: &mut Scratch) -> Result<Fate, Other> {
        let (head, len) = match head::receive(self, scratch).await {
            Ok(received) => received,
            Err(NoHead::Gone) => return Ok(Fate::Cut),
            Err(NoHead::Other) => return Err(Other),
            Err(NoHead::Bad(error)) => {
                return Ok(exchange::refuse(&mut Caller::unread(self), scratch, error).await);
            }
        };
        let buf = self.split(len);
        let mut caller = Caller::new(self, &head);
        let fate = exchange::serve(&mut caller, scratch, head, &buf).await;
        self.give(buf);
        self.fresh = false;
        Ok(fate)
    }

    /// Takes the head off the input; what follows it stays.
    fn split(&mut self, len: usize) -> Vec<u8> {
        let mut head = std::mem::take(&mut self.input);
        if let Some(rest) = head.get(len..)
            && !rest.is_empty()
        {
            let mut input = self.visit.worker.buffers.take();
            input.extend_from_slice(rest);
            self.input = input;
        }
        head.truncate(len);
        head
    }

    /// Bytes that came while a request was being served.
    fn keep(&mut self, buffer: Vec<u8>) {
        if self.input.is_empty() {
            let old = std::mem::replace(&mut self.input, buffer);
            self.give(old);
        } else {
            self.input.extend_from_slice(&buffer);
            self.give(buffer);
        }
    }

    /// Waits for the first bytes of a request: `Some(false)` when it is time to end, `None` when
    /// the client has.
    async fn wait(&mut self) -> Option<bool> {
        let since = self.visit.worker.timers.now();
        self.visit.begun = since;
        if !self.input.is_empty() {
            return Some(true);
        }
        self.listen();
        let idle_timeout = self.visit.worker.active().generation.serving.idle_timeout;
        let end = idle_timeout.map(|limit| since + limit);
        let park = since + PARK_AFTER;
        self.visit
            .alarm
            .set(Some(end.map_or(park, |end| end.min(park))));
        let came = poll_fn(|context| self.poll_wait(context, end)).await;
        let Some((result, buffer)) = came else {
            return Some(false);
        };
        self.visit.begun = self.visit.worker.timers.now();
        let quick = self.visit.begun <= since + QUICK;
        self.quick = if quick {
            QUICK_MIN.min(self.quick + 1)
        } else {
            0
        };
        self.input = buffer;
        result.is_ok_and(|count| count > 0).then_some(true)
    }

    /// Ready with what was read, or with nothing when it is time to end.
    fn poll_wait(&mut self, context: &mut Context<'_>, end: Option<Now>) -> Poll<Option<ReadDone>> {
        loop {
            if let Poll::Ready(done) = self.stream.poll_read(context) {
                return Poll::Ready(Some(done));
            }
            if self.guest.poll_leave(context) {
                return Poll::Ready(None);
            }
            if self.visit.alarm.poll(context).is_pending() {
                return Poll::Pending;
            }
            if end.is_some_and(|end| self.visit.worker.timers.now() >= end) {
                return Poll::Ready(None);
            }
            // Parking takes effect when the read is polled on.
            self.stream.park();
            self.visit.alarm.set(end);
        }
    }

    /// Keeps a read pending, unless something that was read waits to be used.
    fn listen(&mut self) {
        if self.input.is_empty() && !self.stream.is_reading() {
            if self.quick < QUICK_MIN {
                self.stream.start_watch();
            } else {
                self.stream.start_read(None);
            }
        }
    }

    /// Whether the connection shall end after the current request.
    fn shall_end(&self) -> bool {
        let age = self.visit.worker.active().generation.serving.connection_age;
        self.guest.shall_leave() || age.is_some_and(|limit| self.visit.begun >= self.opened + limit)
    }

    /// Gives a buffer back to the worker.
    fn give(&self, buffer: Vec<u8>) {
        self.visit.worker.buffers.give(buffer);
    }

    /// Says that no more will come; whether it could be said in time.
    async fn finish(&mut self) -> bool {
        self.visit
            .alarm
            .set(Some(self.visit.worker.timers.now() + LINGER));
        let alarm = &self.visit.alarm;
        let mut finish = pin!(self.stream.finish());
        poll_fn(|context| match finish.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => alarm.poll(context).map(|()| false),
        })
        .await
    }

    /// Says that no more will come and reads on for a while: a socket that is closed with unread
    /// bytes resets the connection, and the reset can overtake our answer.
    async fn linger(&mut self) {
        if !self.finish().await {
            return;
        }
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            if !self.stream.is_reading() {
                self.stream.start_read(None);
            }
            let read = poll_fn(|context| {
                if let Poll::Ready(done) = self.stream.poll_read(context) {
                    return Poll::Ready(Some(done));
                }
                self.visit.alarm.poll(context).map(|()| None)
            })
            .await;
            match read {
                Some((Ok(count), buffer)) if count > 0 => {
                    left = left.saturating_sub(count);
                    self.give(buffer);
                }
                _ => return,
            }
        }
    }
}
