//! The client's side of one exchange over HTTP/3.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn_proto::StreamId;
use sallyport_core::failure::Failure;
use sallyport_core::h1::{
    BodyKind, ChunkHead, HeaderEdits, HeaderIndex, HeaderView, RequestHead, ResponseLine,
    TrailerLines, Version,
};
use sallyport_core::h3::{Code, Event, Fault, data_header, encode_head, encode_trailers};

use super::Conn;
use super::body::{Came, Inlet};
use crate::buffer::BUFFER_BYTES;
use crate::conn::exchange::{Client, Fate, Framed, Framing, Moved, News, Visit};

/// Payload up to this is copied next to its frame's header: cheaper than keeping a large buffer
/// until it is acknowledged.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// Room that a chunk's framing takes in a buffer.
const CHUNK_ROOM: usize = 32;

/// The client of one request.
pub(super) struct Caller<'c> {
    pub(super) conn: &'c Conn,
    pub(super) id: StreamId,
    pub(super) visit: Visit,
    pub(super) inlet: Inlet,
    /// Payload that came and was not taken.
    input: Bytes,
    /// The end of the body came, and was taken.
    end: End,
    /// A head that goes before the next payload.
    head: Vec<u8>,
    /// What is being written, in order, and whether the stream ends behind it.
    queue: VecDeque<Bytes>,
    fin: bool,
    writing: bool,
    finished: bool,
    gone: bool,
    failed: bool,
    /// The request is acted on before the handshake is complete.
    pub(super) early: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There may be more.
    Open,
    /// It came.
    Came,
    /// It was taken.
    Taken,
}

impl<'c> Caller<'c> {
    pub(super) fn new(conn: &'c Conn, id: StreamId, visit: Visit) -> Self {
        Self {
            conn,
            id,
            visit,
            inlet: Inlet::new(),
            input: Bytes::new(),
            end: End::Open,
            head: Vec::new(),
            queue: VecDeque::new(),
            fin: false,
            writing: false,
            finished: false,
            gone: false,
            failed: false,
            early: false,
        }
    }

    /// The head is there: the body is what it says.
    pub(super) fn begin(&mut self, head: &RequestHead) {
        let came = u64::try_from(self.input.len()).unwrap_or(u64::MAX);
        if let Err(fault) = self.inlet.expect(head.body, came) {
            self.fail(fault);
        }
        if head.body == BodyKind::None {
            self.end = End::Taken;
        }
    }

    /// Whether the stream ends behind the head; keeps what follows it else.
    pub(super) fn look_for_end(&mut self, context: &Context<'_>) -> bool {
        match self.inlet.poll(&self.conn.quic, self.id, context) {
            Poll::Ready(came) => self.take_in(came),
            Poll::Pending => {}
        }
        self.inlet.is_at_end() && self.input.is_empty() && self.inlet.trailers.is_empty()
    }

    /// The client has given the request up.
    pub(super) fn leave(&mut self) {
        self.gone = true;
    }

    /// Whether the client has given the request up, or broke a rule.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The client broke a rule.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.gone = true;
        self.failed = true;
        let code = fault.code();
        match fault {
            Fault::Connection(_) => self.conn.fail(code),
            Fault::Stream(_) => {
                self.conn.oddities.borrow_mut().malformed();
                self.conn.quic.reset(self.id, code.number());
                self.conn.quic.stop(self.id, code.number());
            }
        }
    }

    /// Leaves the stream as the exchange did.
    pub(super) fn end(&mut self, fate: Fate) {
        // It was told so, and it counts once.
        if self.failed {
            return;
        }
        let quic = &self.conn.quic;
        match fate {
            // What else the client sends is for nobody (RFC 9114 §4.1).
            Fate::Keep | Fate::Close if self.finished => {
                self.conn.oddities.borrow_mut().worked();
                if !self.inlet.ended {
                    quic.stop(self.id, Code::NoError.number());
                }
            }
            _ => {
                let code = if self.gone {
                    let now = self.visit.worker.timers.now();
                    self.conn.oddities.borrow_mut().abandoned(now);
                    Code::RequestCancelled
                } else {
                    Code::Internal
                };
                quic.reset(self.id, code.number());
                quic.stop(self.id, code.number());
            }
        }
    }

    /// Keeps what came.
    fn take_in(&mut self, came: Came) {
        match came {
            Came::Event(Event::Data(data)) => self.input = data,
            Came::Event(_) => {}
            Came::End => {
                if self.end == End::Open {
                    self.end = End::Came;
                }
            }
            Came::Gone => self.gone = true,
            Came::Fault(fault) => self.fail(fault),
        }
    }

    /// Reads on when nothing waits; whether there is news.
    fn poll_body(&mut self, context: &Context<'_>) -> bool {
        while self.end == End::Open && self.input.is_empty() && !self.gone {
            match self.inlet.poll(&self.conn.quic, self.id, context) {
                Poll::Ready(came) => self.take_in(came),
                Poll::Pending => return false,
            }
            if self.has_body() {
                return true;
            }
        }
        false
    }

    fn poll_queue(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let chunks = self.queue.make_contiguous();
            match self.conn.quic.poll_write(context, self.id, chunks) {
                Poll::Ready(Ok(written)) => drop(self.queue.drain(..written)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(gone())),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.fin && !self.finished {
            self.finished = true;
            if self.conn.quic.finish(self.id).is_err() {
                return Poll::Ready(Err(gone()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Client for Caller<'_> {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn version(&self) -> Version {
        Version::Http3
    }

    fn shall_end(&self) -> bool {
        self.conn.shall_end()
    }

    fn is_early(&self) -> bool {
        self.early
    }

    fn listen(&mut self) {
        // Reading happens when polled, and only while nothing waits.
    }

    fn has_body(&self) -> bool {
        !self.input.is_empty() || self.end == End::Came
    }

    fn take(
        &mut self,
        out: &mut Vec<u8>,
        framing: Framing,
        copy: Option<&mut Vec<u8>>,
    ) -> Result<Moved, Failure> {
        let room = out
            .capacity()
            .max(BUFFER_BYTES)
            .saturating_sub(out.len() + CHUNK_ROOM);
        let data = self.input.split_to(room.min(self.input.len()));
        let payload = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if framing == Framing::Chunked && !data.is_empty() {
            out.extend_from_slice(ChunkHead::new(payload).as_bytes());
        }
        out.extend_from_slice(&data);
        if framing == Framing::Chunked && !data.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
        if let Some(copy) = copy {
            copy.extend_from_slice(&data);
        }
        let done = self.end == End::Came && self.input.is_empty();
        if done {
            self.end = End::Taken;
        }
        Ok(Moved { payload, done })
    }

    fn trailers(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.inlet.trailers);
    }

    fn open_tunnel(&mut self) {
        self.inlet.tunnel();
        if self.end == End::Taken {
            self.end = if self.inlet.ended {
                End::Came
            } else {
                End::Open
            };
        }
    }

    fn skip_body(&mut self) -> bool {
        // Nothing else can be taken for it: the stream is the request's own.
        true
    }

    fn abandon_body(&mut self) {
        self.input = Bytes::new();
    }

    fn start_continue(&mut self) {
        let index = HeaderIndex::new();
        let edits = HeaderEdits::new();
        let view = HeaderView {
            buf: &[],
            index: &index,
            edits: &edits,
        };
        self.start_interim(100, view);
    }

    fn start_interim(&mut self, status: u16, fields: HeaderView<'_>) {
        let mut out = Vec::new();
        encode_head(&mut out, status, fields, None);
        self.queue.push_back(out.into());
        self.writing = true;
    }

    fn frame(&mut self, body: BodyKind, tunnel: bool) -> Framed {
        // The end of the stream is the end of the body, whatever is known before.
        let kind = match body {
            _ if tunnel => BodyKind::Chunked,
            BodyKind::UntilClose => BodyKind::Chunked,
            kind => kind,
        };
        Framed {
            kind,
            framing: Framing::Bare,
        }
    }

    fn head(
        &mut self,
        _out: &mut Vec<u8>,
        line: &ResponseLine<'_>,
        buf: &[u8],
        index: &HeaderIndex,
        edits: &HeaderEdits,
    ) -> u64 {
        let length = match line.body {
            BodyKind::Length(length) => Some(length),
            BodyKind::None => line.declared_length,
            BodyKind::Chunked | BodyKind::UntilClose => None,
        };
        // A tunnel is open at 200 here (RFC 9220 §3), not at 101.
        let status = if line.upgrade.is_some() {
            200
        } else {
            line.status
        };
        self.head.clear();
        encode_head(
            &mut self.head,
            status,
            HeaderView { buf, index, edits },
            length,
        );
        u64::try_from(self.head.len()).unwrap_or(u64::MAX)
    }

    fn start_write(&mut self, out: Vec<u8>, end: Option<&[u8]>) {
        let mut front = std::mem::take(&mut self.head);
        let buffers = &self.visit.worker.buffers;
        if out.is_empty() {
            buffers.give(out);
        } else {
            data_header(&mut front, out.len());
            if out.len() <= COPY_BYTES_MAX {
                front.extend_from_slice(&out);
                buffers.give(out);
            } else {
                self.queue.push_back(front.into());
                front = Vec::new();
                self.queue.push_back(out.into());
            }
        }
        if let Some(trailers) = end {
            self.fin = true;
            if !trailers.is_empty() {
                encode_trailers(&mut front, TrailerLines(trailers).iter());
            }
        }
        if !front.is_empty() {
            self.queue.push_back(front.into());
        }
        self.writing = self.writing || !self.queue.is_empty() || self.fin;
    }

    fn is_writing(&self) -> bool {
        self.writing
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<News> {
        if self.gone {
            return Poll::Ready(News::Gone);
        }
        // No payload has come that it could go with.
        if !self.head.is_empty() && !self.writing {
            let head = std::mem::take(&mut self.head);
            self.queue.push_back(head.into());
            self.writing = true;
        }
        if self.writing
            && let Poll::Ready(result) = self.poll_queue(context)
        {
            self.writing = false;
            return Poll::Ready(News::Written(result));
        }
        if self.poll_body(context) {
            return Poll::Ready(News::Came);
        }
        if self.gone || self.conn.quic.poll_gone(context, self.id) {
            self.gone = true;
            return Poll::Ready(News::Gone);
        }
        Poll::Pending
    }
}
