//! The byte stream under the codec, as the traits that the codec wants.
//!
//! Two buffers at most: what was received and not looked at, and what waits to be sent. What the
//! codec writes is gathered until it flushes, so that a turn of the connection's task is one write.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffer::{BUFFER_BYTES, Buffers};
use crate::io::stream::Stream;

/// What a watcher makes of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It goes to the codec.
    Fine,
    /// Neither it nor what follows does: the connection's task ends it when the codec has nothing
    /// more to do.
    Ignored,
    /// The connection breaks at once.
    Intolerable,
}

/// Who watches what comes over a wire.
pub(crate) trait Watcher {
    /// Looks at what came, and may change what goes on of it. Nothing may go on.
    fn came(&self, bytes: &mut Vec<u8>) -> Sight;

    /// Whether more is expected soon: a buffer waits for it then.
    fn is_busy(&self) -> bool;
}

/// A stream under the codec.
pub(crate) struct Wire<W> {
    stream: Stream,
    buffers: Rc<Buffers>,
    watcher: W,
    /// Received; read up to `at`.
    input: Vec<u8>,
    at: usize,
    /// Waits to be sent.
    output: Vec<u8>,
    /// The end is being written.
    ending: bool,
}

impl<W: Watcher> Wire<W> {
    /// Over this stream, of which `early` was read already, and shown to the watcher.
    pub(crate) fn new(stream: Stream, buffers: Rc<Buffers>, watcher: W, early: Vec<u8>) -> Self {
        Self {
            stream,
            buffers,
            watcher,
            input: early,
            at: 0,
            output: Vec::new(),
            ending: false,
        }
    }

    /// Receives more; `false` at the end.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.stream.is_reading() {
            if self.watcher.is_busy() {
                self.stream.start_read(None);
            } else {
                // Nobody knows when something comes: no buffer until then.
                self.stream.start_watch();
            }
        }
        let (result, buffer) = ready!(self.stream.poll_read(context));
        let old = std::mem::replace(&mut self.input, buffer);
        self.buffers.give(old);
        self.at = 0;
        if result? == 0 {
            return Poll::Ready(Ok(false));
        }
        match self.watcher.came(&mut self.input) {
            Sight::Fine => Poll::Ready(Ok(true)),
            Sight::Ignored => {
                self.input.clear();
                self.stream.start_read(None);
                self.stream.poll_read(context).map(|_| Ok(false))
            }
            Sight::Intolerable => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    /// Writes until less than a buffer waits.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.capacity() == 0 {
            self.output = self.buffers.take();
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
            let next = self.buffers.take();
            let output = std::mem::replace(&mut self.output, next);
            self.stream.start_write(output);
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: Watcher + Unpin> AsyncRead for Wire<W> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        while wire.at >= wire.input.len() {
            if !ready!(wire.poll_more(context))? {
                return Poll::Ready(Ok(()));
            }
        }
        let waiting = wire.input.get(wire.at..).unwrap_or_default();
        let taken = waiting.len().min(out.remaining());
        out.put_slice(waiting.get(..taken).unwrap_or_default());
        wire.at += taken;
        if wire.at >= wire.input.len() {
            let empty = std::mem::take(&mut wire.input);
            wire.buffers.give(empty);
            wire.at = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: Watcher + Unpin> AsyncWrite for Wire<W> {
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
        wire.buffers.give(idle);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ending {
            ready!(self.as_mut().poll_flush(context))?;
            self.ending = true;
            self.stream.start_finish();
        }
        if self.stream.is_writing() {
            return self.stream.poll_write(context);
        }
        Poll::Ready(Ok(()))
    }
}
