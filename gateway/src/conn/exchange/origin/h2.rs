//! One try over a stream of HTTP/2.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::HeaderMap;
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::h1::{
    Asked, BodyKind, ChunkHead, HeaderEdits, HeaderIndex, RequestLine, ResponseHead,
    write_response, write_trailers,
};
use sallyport_core::limits::MAX_INTERIM_RESPONSES;

use super::News;
use crate::buffer::{BUFFER_BYTES, Buffers};
use crate::codec::{Outgoing, fields};
use crate::conn::exchange::transit::{Framing, Moved};
use crate::upstream::h2::{Lease, failure};

/// What a chunk needs around its payload, at most.
const CHUNK_FRAME_BYTES: usize = 32;

/// A try over HTTP/2.
pub(in crate::conn::exchange) struct Origin {
    upload: Upload,
    response: Option<ResponseFuture>,
    /// Status and fields that came, and were not taken: an interim head, or the final one.
    came: Option<(u16, HeaderMap)>,
    interims: u8,
    /// It shall be a tunnel, and is none yet.
    withheld: bool,
    download: Download,
    /// The final head, as bytes.
    head: Vec<u8>,
    /// Anything of a response came.
    begun: bool,
    /// Why nothing more will come, until it is told.
    failure: Option<Failure>,
    failed: bool,
    buffers: Rc<Buffers>,
    /// Dropped last: the stream's handles go before its connection may.
    pub(super) lease: Lease,
}

/// The request on its way.
#[derive(Default)]
struct Upload {
    body: Outgoing,
    /// Something was handed to the codec, and nobody was told yet.
    handed: bool,
}

/// The response's body as far as it has come.
#[derive(Default)]
struct Download {
    stream: Option<RecvStream>,
    /// The head is on its way to the client.
    relaying: bool,
    /// Received, not taken.
    input: Vec<u8>,
    /// Received, did not fit behind the input.
    spill: Bytes,
    /// All data has come, and all of it, trailers included.
    data_ended: bool,
    ended: bool,
    /// Fields of the trailers, as lines.
    trailers: Vec<u8>,
    /// Taken, and not given back to the upstream's window.
    unreleased: usize,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin")
            .field("lease", &self.lease)
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

impl Origin {
    pub(super) fn new(lease: Lease) -> Self {
        Self {
            upload: Upload::default(),
            response: None,
            came: None,
            interims: 0,
            withheld: false,
            download: Download::default(),
            head: Vec::new(),
            begun: false,
            failure: None,
            failed: false,
            buffers: lease.buffers(),
            lease,
        }
    }

    pub(super) fn head(
        &mut self,
        line: &RequestLine<'_>,
        buf: &[u8],
        index: &HeaderIndex,
        edits: &HeaderEdits,
    ) {
        let request = fields::request(line, buf, index, edits);
        let request = request.and_then(|head| fields::with_scheme(head, self.lease.is_tls()));
        self.withheld = line.upgrade.is_some();
        let ended = line.body == BodyKind::None && !self.withheld;
        let Some(request) = request else {
            self.failure = Some(FailureKind::UpstreamProtocol.into());
            return;
        };
        match self.lease.sender().send_request(request, ended) {
            Ok((response, send)) => {
                self.response = Some(response);
                self.upload.body.open((!ended).then_some(send));
                self.upload.handed = true;
            }
            Err(error) => self.failure = Some(failure(&error)),
        }
    }

    pub(super) fn start_write(&mut self, out: Vec<u8>, end: Option<&[u8]>) {
        // Behind the head of what shall be a tunnel is no end: its bytes follow the agreement.
        let end = end.filter(|_| !self.withheld);
        self.upload.handed |= self.upload.body.start(out, end, &self.buffers);
    }

    pub(super) fn is_writing(&self) -> bool {
        self.upload.handed || self.upload.body.is_writing()
    }

    pub(super) fn is_listening(&self) -> bool {
        !self.failed && !self.download.ended
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<News> {
        if self.is_writing()
            && let Poll::Ready(result) = self.upload.poll(context)
        {
            return Poll::Ready(News::Written(result));
        }
        if self.failed {
            return Poll::Pending;
        }
        let came = match self.poll_response(context) {
            Poll::Ready(Ok(true)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(false)) => self.download.poll(&self.buffers, context),
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
            Poll::Pending => return Poll::Pending,
        };
        came.map(|came| match came {
            Ok(()) => {
                self.begun = true;
                News::Came
            }
            Err(failure) => {
                self.failed = true;
                News::Failed(failure)
            }
        })
    }

    /// Ready with `true` when a head came, with `false` when all have.
    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        if self.came.is_some() {
            return Poll::Pending;
        }
        let Some(response) = &mut self.response else {
            let all = self.download.stream.is_some();
            return if all {
                Poll::Ready(Ok(false))
            } else {
                Poll::Pending
            };
        };
        if let Poll::Ready(Some(interim)) = response.poll_informational(context) {
            let interim = interim.map_err(|error| failure(&error))?;
            let (parts, ()) = interim.into_parts();
            self.came = Some((parts.status.as_u16(), parts.headers));
            return Poll::Ready(Ok(true));
        }
        let Poll::Ready(result) = Pin::new(response).poll(context) else {
            return Poll::Pending;
        };
        self.response = None;
        let (parts, stream) = result.map_err(|error| failure(&error))?.into_parts();
        self.came = Some((parts.status.as_u16(), parts.headers));
        self.download.stream = Some(stream);
        Poll::Ready(Ok(true))
    }

    pub(super) fn take_head(
        &mut self,
        index: &mut HeaderIndex,
        asked: Asked,
    ) -> Result<Option<ResponseHead>, Failure> {
        let Some((status, map)) = self.came.take() else {
            return Ok(None);
        };
        if self.head.capacity() == 0 {
            self.head = self.buffers.take();
        }
        let lines = map.iter();
        let lines = lines.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let stream = self.download.stream.as_ref();
        let ended = stream.is_some_and(RecvStream::is_end_stream);
        let head = write_response(&mut self.head, index, status, lines, ended, asked);
        let head = head.map_err(|_| FailureKind::UpstreamProtocol)?;
        self.withheld &= !head.tunnel;
        if head.interim {
            self.interims += 1;
            if self.interims > MAX_INTERIM_RESPONSES {
                return Err(FailureKind::UpstreamProtocol.into());
            }
        }
        Ok(Some(head))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn begin_body(&mut self) {
        self.buffers.give(std::mem::take(&mut self.head));
        self.download.relaying = true;
    }

    pub(super) fn waiting(&self) -> usize {
        self.download.input.len()
    }

    pub(super) fn has_body(&self) -> bool {
        let download = &self.download;
        download.relaying && (!download.input.is_empty() || download.ended)
    }

    pub(super) fn take(&mut self, out: &mut Vec<u8>, framing: Framing) -> Moved {
        self.download.take(out, framing, &self.buffers)
    }

    pub(super) fn trailers(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.download.trailers);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn is_clean(&self) -> bool {
        !self.failed
    }
}

impl Upload {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.body.poll(context, || ());
        self.handed &= written.is_pending();
        written
    }
}

impl Download {
    /// Receives what has come, up to a buffer.
    fn poll(&mut self, buffers: &Buffers, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.ended) else {
            return Poll::Pending;
        };
        if !self.spill.is_empty() {
            return Poll::Pending;
        }
        let before = self.input.len();
        while !self.data_ended && self.spill.is_empty() {
            match stream.poll_data(context) {
                Poll::Ready(Some(Ok(bytes))) => {
                    keep(&mut self.input, &mut self.spill, bytes, buffers);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(failure(&error))),
                Poll::Ready(None) => self.data_ended = true,
                Poll::Pending => break,
            }
        }
        if self.data_ended
            && let Poll::Ready(trailers) = stream.poll_trailers(context)
        {
            let map = trailers.map_err(|error| failure(&error))?;
            let map = map.unwrap_or_default();
            let lines = map.iter();
            let lines = lines.map(|(n, v)| (n.as_str().as_bytes(), v.as_bytes()));
            let written = write_trailers(&mut self.trailers, lines);
            written.map_err(|_| FailureKind::UpstreamProtocol)?;
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        if self.input.len() > before || !self.spill.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn take(&mut self, out: &mut Vec<u8>, framing: Framing, buffers: &Buffers) -> Moved {
        // What was taken before has gone on: there is room again.
        self.release();
        let payload = self.input.len();
        if framing == Framing::Chunked && payload > 0 {
            let size = u64::try_from(payload).unwrap_or(u64::MAX);
            out.reserve(payload + CHUNK_FRAME_BYTES);
            out.extend_from_slice(ChunkHead::new(size).as_bytes());
            out.extend_from_slice(&self.input);
            out.extend_from_slice(b"\r\n");
            self.input.clear();
        } else if out.is_empty() {
            std::mem::swap(out, &mut self.input);
        } else {
            out.append(&mut self.input);
        }
        self.unreleased = payload;
        if self.input.is_empty() && !self.spill.is_empty() {
            let bytes = std::mem::take(&mut self.spill);
            keep(&mut self.input, &mut self.spill, bytes, buffers);
        }
        Moved {
            payload: u64::try_from(payload).unwrap_or(u64::MAX),
            done: self.ended && self.input.is_empty(),
        }
    }

    /// Gives what the other side has taken back to the upstream's window.
    fn release(&mut self) {
        let count = std::mem::take(&mut self.unreleased);
        if let Some(stream) = self.stream.as_mut().filter(|_| count > 0) {
            // Fails when the stream is over, and then nobody wants it.
            drop(stream.flow_control().release_capacity(count));
        }
    }
}

/// Keeps what came: as much as fits into a buffer there, the rest beside it.
fn keep(input: &mut Vec<u8>, spill: &mut Bytes, mut bytes: Bytes, buffers: &Buffers) {
    if input.capacity() == 0 {
        *input = buffers.take();
    }
    let room = BUFFER_BYTES.saturating_sub(input.len());
    let fits = bytes.split_to(room.min(bytes.len()));
    input.extend_from_slice(&fits);
    *spill = bytes;
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.download.input));
        self.buffers.give(std::mem::take(&mut self.head));
        self.upload.body.clear();
        // What was received and is not wanted must not keep the connection's window.
        self.download.release();
    }
}
