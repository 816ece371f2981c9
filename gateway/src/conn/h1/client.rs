//! The client's side of one exchange over HTTP/1.

use std::task::{Context, Poll};

use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::h1::{
    BodyKind, CONTINUE, HeaderEdits, HeaderIndex, HeaderView, RequestHead, ResponseLine, Version,
    encode_response,
};

use super::Conn;
use crate::conn::exchange::{Client, Framed, Framing, Moved, News, Transit, Visit, write_end};

/// What a chunk needs around its payload, at most.
const CHUNK_FRAME_BYTES: usize = 32;

/// The client of one request.
pub(super) struct Caller<'c> {
    conn: &'c mut Conn,
    version: Version,
    /// How the request's body ends.
    kind: BodyKind,
    body: Transit,
    /// How the response's payload is framed, and whether its trailers are welcome.
    framing: Framing,
    te_trailers: bool,
}

impl<'c> Caller<'c> {
    /// Behind this head.
    pub(super) fn new(conn: &'c mut Conn, head: &RequestHead) -> Self {
        Self {
            conn,
            version: head.version,
            kind: head.body,
            body: Transit::new(head.body),
            framing: Framing::Bare,
            te_trailers: head.te_trailers,
        }
    }

    /// Of a request that could not be read.
    pub(super) fn unread(conn: &'c mut Conn) -> Self {
        Self {
            conn,
            version: Version::Http11,
            kind: BodyKind::None,
            body: Transit::new(BodyKind::None),
            framing: Framing::Bare,
            te_trailers: false,
        }
    }
}

impl Client for Caller<'_> {
    fn visit(&self) -> &Visit {
        &self.conn.visit
    }

    fn version(&self) -> Version {
        self.version
    }

    fn shall_end(&self) -> bool {
        self.conn.shall_end()
    }

    fn listen(&mut self) {
        self.conn.listen();
    }

    fn has_body(&self) -> bool {
        !self.conn.input.is_empty()
    }

    fn take(
        &mut self,
        out: &mut Vec<u8>,
        framing: Framing,
        copy: Option<&mut Vec<u8>>,
    ) -> Result<Moved, Failure> {
        let wanted = self.conn.input.len() + CHUNK_FRAME_BYTES;
        if framing == Framing::Chunked && out.is_empty() && out.capacity() < wanted {
            let buffers = &self.conn.visit.worker.buffers;
            buffers.give(std::mem::replace(out, buffers.take_for(wanted)));
        }
        let moved = self.body.pass(&mut self.conn.input, out, framing, copy);
        moved.map_err(|error| {
            let kind = FailureKind::Downstream {
                status: error.status(),
                details: error.detail(),
            };
            kind.into()
        })
    }

    fn trailers(&self, out: &mut Vec<u8>) {
        self.body.trailers(out);
    }

    fn open_tunnel(&mut self) {
        self.body = Transit::new(BodyKind::UntilClose);
    }

    fn skip_body(&mut self) -> bool {
        let input = &mut self.conn.input;
        match self.kind {
            BodyKind::None => true,
            BodyKind::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= input.len() => {
                    input.drain(..length);
                    true
                }
                _ => false,
            },
            BodyKind::Chunked | BodyKind::UntilClose => false,
        }
    }

    fn abandon_body(&mut self) {
        // What is left of it is nowhere near the front of the input any more.
        self.conn.input.clear();
    }

    fn start_continue(&mut self) {
        let mut out = self.conn.visit.worker.buffers.take();
        out.extend_from_slice(CONTINUE);
        self.conn.stream.start_write(out);
    }

    fn start_interim(&mut self, _: u16, _: HeaderView<'_>) {
        // Some clients take it for the answer.
    }

    fn frame(&mut self, body: BodyKind, tunnel: bool) -> Framed {
        let kind = match (body, self.version) {
            _ if tunnel => BodyKind::None,
            (BodyKind::Chunked, Version::Http10) => BodyKind::UntilClose,
            // The client can be told where the body ends, and keep its connection.
            (BodyKind::UntilClose, version) if version != Version::Http10 => BodyKind::Chunked,
            (kind, _) => kind,
        };
        self.framing = match kind {
            BodyKind::Chunked => Framing::Chunked,
            BodyKind::None | BodyKind::Length(_) | BodyKind::UntilClose => Framing::Bare,
        };
        Framed {
            kind,
            framing: self.framing,
        }
    }

    fn head(
        &mut self,
        out: &mut Vec<u8>,
        line: &ResponseLine<'_>,
        buf: &[u8],
        index: &HeaderIndex,
        edits: &HeaderEdits,
    ) -> u64 {
        let before = out.len();
        encode_response(out, line, buf, index, edits);
        u64::try_from(out.len() - before).unwrap_or(u64::MAX)
    }

    fn start_write(&mut self, mut out: Vec<u8>, end: Option<&[u8]>) {
        if let Some(trailers) = end {
            let trailers = if self.te_trailers { trailers } else { &[] };
            write_end(self.framing, trailers, &mut out);
        }
        if out.is_empty() {
            self.conn.give(out);
        } else {
            self.conn.stream.start_write(out);
        }
    }

    fn is_writing(&self) -> bool {
        self.conn.stream.is_writing()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<News> {
        let stream = &mut self.conn.stream;
        if stream.is_writing()
            && let Poll::Ready(result) = stream.poll_write(context)
        {
            return Poll::Ready(News::Written(result));
        }
        if stream.is_reading()
            && let Poll::Ready((result, buffer)) = stream.poll_read(context)
        {
            return Poll::Ready(match result {
                Ok(count) if count > 0 => {
                    self.conn.keep(buffer);
                    News::Came
                }
                Ok(_) => {
                    self.conn.give(buffer);
                    News::Left
                }
                Err(_) => {
                    self.conn.give(buffer);
                    News::Gone
                }
            });
        }
        Poll::Pending
    }
}
