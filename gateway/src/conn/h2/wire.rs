//! The byte stream under the codec, as the traits that the codec wants.
//!
//! Two buffers at most: what was received and not looked at, and what waits to be sent. What the
//! codec writes is gathered until it flushes, so that a turn of the connection's task is one write.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use sallyport_core::oddities::Verdict;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Shared;
use crate::buffer::BUFFER_BYTES;
use crate::io::stream::{Goodbye, Stream};

/// A stream under the codec.
pub(super) struct Wire {
    stream: Stream,
    shared: Rc<Shared>,
    /// Received; read up to `at`.
    input: Vec<u8>,
    at: usize,
    /// Waits to be sent.
    output: Vec<u8>,
    goodbye: Goodbye,
}

impl Wire {
    /// Over this stream, of which `early` was read already.
    pub(super) fn new(stream: Stream, shared: Rc<Shared>, early: Vec<u8>) -> Self {
        let wire = Self {
            stream,
            shared,
            input: early,
            at: 0,
            output: Vec::new(),
            goodbye: Goodbye::default(),
        };
        wire.scan();
        wire
    }

    /// Counts what came.
    fn scan(&self) {
        let now = self.shared.worker.timers.now();
        self.shared.oddities.borrow_mut().scan(&self.input, now);
    }

    /// Receives more; `false` at the end.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.stream.is_reading() {
            if self.shared.live.get() == 0 {
                // Nobody knows when the next request comes: no buffer until then.
                self.stream.start_watch();
            } else {
                self.stream.start_read(None);
            }
        }
        let (result, buffer) = ready!(self.stream.poll_read(context));
        let old = std::mem::replace(&mut self.input, buffer);
        self.shared.worker.buffers.give(old);
        self.at = 0;
        if result? == 0 {
            return Poll::Ready(Ok(false));
        }
        self.scan();
        match self.shared.oddities.borrow().verdict() {
            Verdict::Fine | Verdict::Calm => {}
            // The connection's task sees it when the codec has nothing more to do.
            Verdict::Misshapen => {
                self.input.clear();
                self.stream.start_read(None);
                return self.stream.poll_read(context).map(|_| Ok(false));
            }
            Verdict::Close => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
        Poll::Ready(Ok(true))
    }

    /// Writes until less than a buffer waits.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.capacity() == 0 {
            self.output = self.shared.worker.buffers.take();
        }
        while self.output.len() >= BUFFER_BYTES {
            ready!(self.poll_send(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Begins to send what waits, after what is being sent.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stream.is_writing() {
            ready!(self.stream.poll_write(context))?;
        }
        if !self.output.is_empty() {
            let next = self.shared.worker.buffers.take();
            let output = std::mem::replace(&mut self.output, next);
            self.stream.start_write(output);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.at >= wire.input.len() && !ready!(wire.poll_more(context))? {
            return Poll::Ready(Ok(()));
        }
        let waiting = wire.input.get(wire.at..).unwrap_or_default();
        let taken = waiting.len().min(out.remaining());
        out.put_slice(waiting.get(..taken).unwrap_or_default());
        wire.at += taken;
        if wire.at >= wire.input.len() {
            let empty = std::mem::take(&mut wire.input);
            wire.shared.worker.buffers.give(empty);
            wire.at = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        ready!(wire.poll_room(context))?;
        let room = BUFFER_BYTES.saturating_sub(wire.output.len());
        let taken = bytes.len().min(room);
        wire.output
            .extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        while !wire.output.is_empty() || wire.stream.is_writing() {
            ready!(wire.poll_send(context))?;
        }
        let idle = std::mem::take(&mut wire.output);
        wire.shared.worker.buffers.give(idle);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        let wire = self.get_mut();
        wire.stream.poll_goodbye(&mut wire.goodbye, context)
    }
}
