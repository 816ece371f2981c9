//! A body on its way into the codec: one piece at a time waits for the peer's window.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Buf;
use h2::{Reason, SendStream};
use http::HeaderMap;

use super::{Chunk, fields};
use crate::buffer::Buffers;

/// What follows a piece.
enum End {
    More,
    Data,
    Trailers(HeaderMap),
}

impl End {
    /// `None` while more follows; else the lines of the trailers, none for an end without any.
    fn of(lines: Option<&[u8]>) -> Self {
        match lines {
            None => Self::More,
            Some([]) => Self::Data,
            Some(lines) => Self::Trailers(fields::trailers(lines)),
        }
    }
}

/// A piece that waits for the peer's window.
struct Waiting {
    bytes: Chunk,
    end: End,
}

/// One direction of a stream, from its head on.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// Once the head was sent, while more may follow.
    stream: Option<SendStream<Chunk>>,
    waiting: Option<Waiting>,
    /// Nothing can be written any more, and nobody was told yet.
    broken: bool,
}

impl Outgoing {
    /// The head was sent; `None` when it was all.
    pub(crate) fn open(&mut self, stream: Option<SendStream<Chunk>>) {
        self.stream = stream;
    }

    /// Nothing can be written: the next poll says so.
    pub(crate) fn fail(&mut self) {
        self.waiting = None;
        self.broken = true;
    }

    /// Writes a piece of the body and, with `end`, what ends it; whether payload went to the codec
    /// whole. One piece at a time: ask [`Outgoing::is_writing`] before.
    pub(crate) fn start(
        &mut self,
        out: Vec<u8>,
        end: Option<&[u8]>,
        buffers: &Rc<Buffers>,
    ) -> bool {
        let nothing = out.is_empty() && end.is_none();
        let Some(stream) = self.stream.as_mut().filter(|_| !nothing) else {
            buffers.give(out);
            return false;
        };
        let end = End::of(end);
        if out.is_empty() {
            let sent = match end {
                End::Trailers(map) => stream.send_trailers(map),
                End::More | End::Data => {
                    stream.send_data(Chunk::new(out, Rc::clone(buffers)), true)
                }
            };
            self.broken |= sent.is_err();
            return false;
        }
        stream.reserve_capacity(out.len());
        let bytes = Chunk::new(out, Rc::clone(buffers));
        self.waiting = Some(Waiting { bytes, end });
        self.send_on();
        self.waiting.is_none()
    }

    /// Whether a piece waits, or a failure that nobody was told.
    pub(crate) fn is_writing(&self) -> bool {
        self.waiting.is_some() || self.broken
    }

    /// Ready when nothing waits any more. `moved` is told of each part that the window took.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut moved: impl FnMut(),
    ) -> Poll<io::Result<()>> {
        while self.waiting.is_some() {
            let Some(stream) = &mut self.stream else {
                break;
            };
            match stream.poll_capacity(context) {
                Poll::Ready(Some(Ok(_))) => {
                    if self.send_on() {
                        moved();
                    }
                }
                Poll::Ready(_) => self.fail(),
                Poll::Pending => return Poll::Pending,
            }
        }
        if std::mem::take(&mut self.broken) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has given the stream up; `None` before the head.
    pub(crate) fn poll_reset(&mut self, context: &mut Context<'_>) -> Option<Poll<()>> {
        let stream = self.stream.as_mut()?;
        Some(stream.poll_reset(context).map(|_| ()))
    }

    /// Ends the stream so that it looks cut off; `false` before the head.
    pub(crate) fn reset(&mut self, reason: Reason) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        stream.send_reset(reason);
        true
    }

    /// Gives back what still waits.
    pub(crate) fn clear(&mut self) {
        self.waiting = None;
    }

    /// Hands what waits to the codec, as far as the peer's window allows; whether it did.
    fn send_on(&mut self) -> bool {
        let (Some(stream), Some(mut waiting)) = (&mut self.stream, self.waiting.take()) else {
            return false;
        };
        let room = stream.capacity();
        if room == 0 {
            self.waiting = Some(waiting);
            return false;
        }
        let sent = if room < waiting.bytes.remaining() {
            let sent = stream.send_data(waiting.bytes.split_to(room), false);
            stream.reserve_capacity(waiting.bytes.remaining());
            self.waiting = Some(waiting);
            sent
        } else {
            let Waiting { bytes: chunk, end } = waiting;
            match end {
                End::More => stream.send_data(chunk, false),
                End::Data => stream.send_data(chunk, true),
                End::Trailers(map) => stream
                    .send_data(chunk, false)
                    .and_then(|()| stream.send_trailers(map)),
            }
        };
        if sent.is_err() {
            self.fail();
        }
        true
    }
}
