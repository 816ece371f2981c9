//! The client's side of one exchange over HTTP/2.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Response;
use sallyport_core::failure::Failure;
use sallyport_core::h1::{
    BodyKind, ChunkHead, HeaderEdits, HeaderIndex, HeaderView, RequestHead, ResponseLine, Version,
    write_trailers,
};
use sallyport_core::method::Method;

use super::Shared;
use super::fields;
use crate::buffer::BUFFER_BYTES;
use crate::codec::{Chunk, Outgoing};
use crate::conn::exchange::{Client, Framed, Framing, Moved, News, Visit};

/// What a chunk needs around its payload, at most.
const CHUNK_FRAME_BYTES: usize = 32;

/// The request's body as far as it has come.
struct Upload {
    stream: RecvStream,
    /// Nothing of it is wanted yet: bytes of a tunnel wait for the origin's agreement.
    withheld: bool,
    /// Received, not taken.
    input: Vec<u8>,
    /// Received, did not fit behind the input.
    spill: Bytes,
    /// All data has come, and all of it, trailers included.
    data_ended: bool,
    ended: bool,
    /// Fields of the trailers, as lines.
    trailers: Vec<u8>,
    /// Taken, and not given back to the client's window.
    unreleased: usize,
}

/// The client of one stream.
pub(super) struct Caller {
    shared: Rc<Shared>,
    visit: Visit,
    upload: Upload,
    respond: SendResponse<Chunk>,
    answer: Outgoing,
    method: Method,
}

impl Caller {
    /// Of a stream that has just been opened.
    pub(super) fn new(
        shared: Rc<Shared>,
        visit: Visit,
        respond: SendResponse<Chunk>,
        stream: RecvStream,
    ) -> Self {
        Self {
            shared,
            visit,
            upload: Upload {
                data_ended: false,
                ended: false,
                stream,
                withheld: false,
                input: Vec::new(),
                spill: Bytes::new(),
                trailers: Vec::new(),
                unreleased: 0,
            },
            respond,
            answer: Outgoing::default(),
            method: Method::Other,
        }
    }

    /// What the head says about the rest.
    pub(super) fn expect(&mut self, head: &RequestHead) {
        self.method = head.method;
        self.upload.withheld = head.upgrade.is_some();
    }

    /// Ends the stream so that both halves look cut off.
    pub(super) fn reset(&mut self, reason: Reason) {
        if !self.answer.reset(reason) {
            self.respond.send_reset(reason);
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<News> {
        let oddities = &self.shared.oddities;
        let moved = || oddities.borrow_mut().worked();
        self.answer.poll(context, moved).map(News::Written)
    }

    /// Whether the client has given up, or is gone.
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<News> {
        let gone = match self.answer.poll_reset(context) {
            Some(gone) => gone,
            None => self.respond.poll_reset(context).map(|_| ()),
        };
        gone.map(|()| News::Gone)
    }
}

impl Upload {
    /// Receives what has come, up to a buffer.
    fn poll(&mut self, visit: &Visit, context: &mut Context<'_>) -> Poll<News> {
        if self.withheld || self.ended || !self.spill.is_empty() {
            return Poll::Pending;
        }
        let before = self.input.len();
        while !self.data_ended && self.spill.is_empty() {
            match self.stream.poll_data(context) {
                Poll::Ready(Some(Ok(bytes))) => self.keep(visit, bytes),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(News::Gone),
                Poll::Ready(None) => self.data_ended = true,
                Poll::Pending => break,
            }
        }
        if self.data_ended {
            match self.stream.poll_trailers(context) {
                Poll::Ready(Ok(trailers)) => {
                    let map = trailers.unwrap_or_default();
                    let lines = map.iter();
                    let lines = lines.map(|(n, v)| (n.as_str().as_bytes(), v.as_bytes()));
                    if write_trailers(&mut self.trailers, lines).is_err() {
                        return Poll::Ready(News::Gone);
                    }
                    self.ended = true;
                    return Poll::Ready(News::Came);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(News::Gone),
                Poll::Pending => {}
            }
        }
        if self.input.len() > before || !self.spill.is_empty() {
            return Poll::Ready(News::Came);
        }
        Poll::Pending
    }

    fn keep(&mut self, visit: &Visit, mut bytes: Bytes) {
        if self.input.capacity() == 0 {
            self.input = visit.worker.buffers.take();
        }
        let room = BUFFER_BYTES.saturating_sub(self.input.len());
        let fits = bytes.split_to(room.min(bytes.len()));
        self.input.extend_from_slice(&fits);
        self.spill = bytes;
    }

    /// Gives what the other side has taken back to the client's window.
    fn release(&mut self) {
        let count = std::mem::take(&mut self.unreleased);
        if count > 0 {
            // Fails when the stream is over, and then nobody wants it.
            drop(self.stream.flow_control().release_capacity(count));
        }
    }

    fn refill(&mut self, visit: &Visit) {
        if self.input.is_empty() && !self.spill.is_empty() {
            let bytes = std::mem::take(&mut self.spill);
            self.keep(visit, bytes);
        }
    }
}

impl Client for Caller {
    fn visit(&self) -> &Visit {
        &self.visit
    }

    fn version(&self) -> Version {
        Version::Http2
    }

    fn shall_end(&self) -> bool {
        false
    }

    fn listen(&mut self) {}

    fn has_body(&self) -> bool {
        let upload = &self.upload;
        !upload.withheld && (!upload.input.is_empty() || upload.ended)
    }

    fn take(
        &mut self,
        out: &mut Vec<u8>,
        framing: Framing,
        copy: Option<&mut Vec<u8>>,
    ) -> Result<Moved, Failure> {
        let upload = &mut self.upload;
        // What was taken before has gone on: there is room again.
        upload.release();
        let mut payload = upload.input.len();
        if framing == Framing::Chunked {
            // A buffer that grew would not be one of the worker's any more.
            let room = BUFFER_BYTES.saturating_sub(out.len() + CHUNK_FRAME_BYTES);
            payload = payload.min(room);
        }
        let taken = upload.input.get(..payload).unwrap_or_default();
        if let Some(copy) = copy {
            copy.extend_from_slice(taken);
        }
        if framing == Framing::Chunked {
            if payload > 0 {
                let size = u64::try_from(payload).unwrap_or(u64::MAX);
                out.extend_from_slice(ChunkHead::new(size).as_bytes());
                out.extend_from_slice(taken);
                out.extend_from_slice(b"\r\n");
                upload.input.drain(..payload);
            }
        } else if out.is_empty() {
            std::mem::swap(out, &mut upload.input);
        } else {
            out.append(&mut upload.input);
        }
        upload.unreleased = payload;
        upload.refill(&self.visit);
        Ok(Moved {
            payload: u64::try_from(payload).unwrap_or(u64::MAX),
            done: upload.ended && upload.input.is_empty(),
        })
    }

    fn trailers(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.upload.trailers);
    }

    fn open_tunnel(&mut self) {
        self.upload.withheld = false;
    }

    fn skip_body(&mut self) -> bool {
        // The rest of it belongs to this stream only.
        true
    }

    fn abandon_body(&mut self) {
        self.upload.input.clear();
        self.upload.spill.clear();
    }

    fn start_continue(&mut self) {
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::CONTINUE;
        // Fails when the stream is over, which is told by the next poll.
        drop(self.respond.send_informational(response));
    }

    fn start_interim(&mut self, status: u16, fields: HeaderView<'_>) {
        if let Some(response) = fields::interim(status, fields) {
            // As above.
            drop(self.respond.send_informational(response));
        }
    }

    fn frame(&mut self, body: BodyKind, tunnel: bool) -> Framed {
        Framed {
            kind: if tunnel { BodyKind::None } else { body },
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
        let (response, size) = fields::response(line, buf, index, edits);
        let bodiless = matches!(line.body, BodyKind::None | BodyKind::Length(0));
        let ended = line.upgrade.is_none() && (bodiless || self.method == Method::Head);
        match self.respond.send_response(response, ended) {
            Ok(send) => self.answer.open((!ended).then_some(send)),
            Err(_) => self.answer.fail(),
        }
        size
    }

    fn start_write(&mut self, out: Vec<u8>, end: Option<&[u8]>) {
        let whole = self.answer.start(out, end, &self.visit.worker.buffers);
        if whole {
            self.shared.oddities.borrow_mut().worked();
        }
    }

    fn is_writing(&self) -> bool {
        self.answer.is_writing()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<News> {
        if self.is_writing()
            && let Poll::Ready(news) = self.poll_answer(context)
        {
            return Poll::Ready(news);
        }
        if let Poll::Ready(news) = self.upload.poll(&self.visit, context) {
            return Poll::Ready(news);
        }
        self.poll_leave(context)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let buffers = &self.visit.worker.buffers;
        buffers.give(std::mem::take(&mut self.upload.input));
        self.answer.clear();
        // What was received and is not wanted must not keep the connection's window.
        self.upload.release();
    }
}
