//! HTTP/1 on one client connection: one request after the other.
//!
//! Between requests a connection holds no working memory, and after a second no buffer. During a
//! request a read for what follows is pending all the time: its end is how a client that leaves is
//! noticed.

mod answer;
mod download;
mod event;
mod exchange;
mod head;
mod mirror;
mod record;
mod request;
mod transit;
mod upload;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use sallyport_config::ir::Millis;
use sallyport_core::time::Now;

use crate::conn::Link;
use crate::io::stream::Stream;
use crate::rt::Alarm;
use crate::worker::{Guest, Worker};

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
    pub(crate) worker: Rc<Worker>,
    pub(crate) stream: Stream,
    pub(crate) link: Link,
    guest: Guest,
    alarm: Alarm,
    /// Received, and not looked at.
    input: Vec<u8>,
    /// When the first byte of the current request came.
    begun: Now,
    opened: Now,
    /// Requests that followed quickly, one after the other, up to [`QUICK_MIN`].
    quick: u8,
}

/// How a request left its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Another request may follow.
    Keep,
    /// It ends; what the client still sends is read for a while.
    Close,
    /// It is dead already, or must look so.
    Cut,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    guest: Guest,
    stream: Stream,
    link: Link,
    early: Vec<u8>,
) {
    let now = worker.timers.now();
    let mut conn = Conn {
        alarm: worker.timers.alarm(),
        worker,
        stream,
        link,
        guest,
        input: early,
        begun: now,
        opened: now,
        quick: 0,
    };
    let mut fate = Fate::Keep;
    while fate == Fate::Keep {
        if !conn.wait().await {
            return;
        }
        let mut scratch = conn.worker.scratch.take();
        // Boxed, so that an idle connection does not hold room for a request.
        fate = Box::pin(request::serve(&mut conn, &mut scratch)).await;
        conn.worker.scratch.give(scratch);
    }
    if fate == Fate::Close {
        conn.linger().await;
    }
}

impl Conn {
    /// Waits for the first bytes of a request; `false` when there will be none.
    async fn wait(&mut self) -> bool {
        self.begun = self.worker.timers.now();
        if !self.input.is_empty() {
            return true;
        }
        self.listen();
        let idle_timeout = self.worker.active().generation.serving.idle_timeout;
        let end = idle_timeout.map(|limit| self.begun + limit);
        let park = self.begun + PARK_AFTER;
        self.alarm.set(Some(end.map_or(park, |end| end.min(park))));
        let came = poll_fn(|context| {
            if let Poll::Ready((result, buffer)) = self.stream.poll_read(context) {
                return Poll::Ready(result.is_ok_and(|count| count > 0).then_some(buffer));
            }
            if self.guest.poll_leave(context) {
                return Poll::Ready(None);
            }
            while self.alarm.poll(context).is_ready() {
                if end.is_some_and(|end| self.worker.timers.now() >= end) {
                    return Poll::Ready(None);
                }
                self.stream.park();
                self.alarm.set(end);
                // The read is cancelled only if it is polled on.
                if let Poll::Ready((result, buffer)) = self.stream.poll_read(context) {
                    return Poll::Ready(result.is_ok_and(|count| count > 0).then_some(buffer));
                }
            }
            Poll::Pending
        })
        .await;
        let idle_since = self.begun;
        self.begun = self.worker.timers.now();
        self.quick = if self.begun <= idle_since + QUICK {
            QUICK_MIN.min(self.quick + 1)
        } else {
            0
        };
        came.is_some_and(|buffer| {
            self.input = buffer;
            true
        })
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
        let age = self.worker.active().generation.serving.connection_age;
        self.guest.shall_leave() || age.is_some_and(|limit| self.begun >= self.opened + limit)
    }

    /// Gives a buffer back to the worker.
    fn give(&self, buffer: Vec<u8>) {
        self.worker.buffers.give(buffer);
    }

    /// Says that no more will come and reads on for a while: a socket that is closed with unread
    /// bytes resets the connection, and the reset can overtake our answer.
    async fn linger(&mut self) {
        self.alarm.set(Some(self.worker.timers.now() + LINGER));
        if self.stream.finish().await.is_err() {
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
                self.alarm.poll(context).map(|()| None)
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
