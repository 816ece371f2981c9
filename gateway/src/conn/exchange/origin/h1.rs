//! One try over a connection of HTTP/1.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use sallyport_config::ir::Cluster;
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::h1::{
    Asked, BodyKind, HeaderEdits, HeaderIndex, Parse, RequestLine, ResponseHead, encode_request,
    parse_response,
};
use sallyport_core::limits::{MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES};
use sallyport_core::time::Now;

use super::News;
use crate::buffer::Buffers;
use crate::conn::exchange::transit::{Framing, Moved, Transit, write_end};
use crate::upstream::{Lease, read_failure};

/// How much a buffer grows by when a head does not fit.
const GROWTH: usize = 16 * 1024;

/// A try over HTTP/1.
#[derive(Debug)]
pub(in crate::conn::exchange) struct Origin {
    pub(super) lease: Lease,
    buffers: Rc<Buffers>,
    /// How the request's payload is framed, and whether its trailers go with it.
    framing: Framing,
    trailers: bool,
    /// Received, and not looked at.
    input: Vec<u8>,
    /// At least one byte came.
    begun: bool,
    interims: u8,
    /// Bytes of an interim head at the front of the input.
    interim: usize,
    /// The final head at the front of the input: its bytes, and how the body behind it ends.
    head: Option<(usize, BodyKind)>,
    body: Option<Transit>,
    /// It carries bytes from here on: the end of the client's half is the end of ours, and is
    /// written behind what is being written.
    tunnel: bool,
    ending: bool,
    /// The connection's end was the body's.
    closed: bool,
    /// Nothing more is to be read.
    failed: bool,
}

impl Origin {
    pub(super) fn new(lease: Lease) -> Self {
        Self {
            buffers: lease.buffers(),
            lease,
            framing: Framing::Bare,
            trailers: false,
            input: Vec::new(),
            begun: false,
            interims: 0,
            interim: 0,
            head: None,
            body: None,
            tunnel: false,
            ending: false,
            closed: false,
            failed: false,
        }
    }

    pub(super) fn head(
        &mut self,
        out: &mut Vec<u8>,
        line: &RequestLine<'_>,
        buf: &[u8],
        index: &HeaderIndex,
        edits: &HeaderEdits,
    ) {
        self.framing = match line.body {
            BodyKind::Chunked | BodyKind::UntilClose => Framing::Chunked,
            BodyKind::None | BodyKind::Length(_) => Framing::Bare,
        };
        self.trailers = line.te_trailers;
        encode_request(out, line, buf, index, edits);
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn start_write(&mut self, mut out: Vec<u8>, end: Option<&[u8]>) {
        if let Some(trailers) = end {
            let trailers = if self.trailers { trailers } else { &[] };
            write_end(self.framing, trailers, &mut out);
        }
        let ends = end.is_some() && self.tunnel;
        match self.lease.stream() {
            Some(stream) if !out.is_empty() => {
                self.ending = ends;
                stream.start_write(out);
            }
            Some(stream) if ends => stream.start_finish(),
            _ => self.buffers.give(out),
        }
    }

    pub(super) fn is_writing(&mut self) -> bool {
        self.lease
            .stream()
            .is_some_and(|stream| stream.is_writing())
    }

    pub(super) fn is_listening(&mut self) -> bool {
        self.lease
            .stream()
            .is_some_and(|stream| stream.is_reading())
    }

    pub(super) fn listen(&mut self) {
        let done = self.body.as_ref().is_some_and(Transit::is_done);
        let Some(stream) = self.lease.stream() else {
            return;
        };
        if stream.is_reading() || done || self.closed || self.failed {
            return;
        }
        if self.input.is_empty() {
            stream.start_read(None);
        } else if self.head.is_none() && self.body.is_none() {
            // Part of a head: the rest goes behind it.
            let mut partial = std::mem::take(&mut self.input);
            if partial.len() == partial.capacity() {
                let room = MAX_HEAD_BYTES.saturating_sub(partial.len());
                partial.reserve_exact(GROWTH.min(room).max(1));
            }
            stream.start_read(Some(partial));
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<News> {
        let Some(stream) = self.lease.stream() else {
            return Poll::Pending;
        };
        if stream.is_reading()
            && let Poll::Ready((result, buffer)) = stream.poll_read(context)
        {
            self.buffers
                .give(std::mem::replace(&mut self.input, buffer));
            return Poll::Ready(match result {
                Ok(count) if count > 0 => {
                    self.begun = true;
                    News::Came
                }
                Ok(_) if self.body.as_ref().is_some_and(Transit::ends_at_close) => {
                    self.closed = true;
                    News::Came
                }
                Ok(_) => {
                    self.failed = true;
                    News::Failed(FailureKind::UpstreamClosed.into())
                }
                Err(error) => {
                    self.failed = true;
                    let is_new = !self.begun && !self.lease.is_reused();
                    News::Failed(read_failure(&error, is_new))
                }
            });
        }
        if !stream.is_writing() {
            return Poll::Pending;
        }
        let mut result = ready!(stream.poll_write(context));
        if result.is_ok() && std::mem::take(&mut self.ending) {
            stream.start_finish();
            result = ready!(stream.poll_write(context));
        }
        Poll::Ready(News::Written(result))
    }

    pub(super) fn take_head(
        &mut self,
        index: &mut HeaderIndex,
        asked: Asked,
    ) -> Result<Option<ResponseHead>, Failure> {
        let spent = std::mem::take(&mut self.interim);
        self.input.drain(..spent.min(self.input.len()));
        if self.input.is_empty() {
            return Ok(None);
        }
        let parsed = parse_response(&mut self.input, index, asked);
        match parsed.map_err(|_| FailureKind::UpstreamProtocol)? {
            Parse::Complete { head, len } if head.interim => {
                self.interim = len;
                self.interims += 1;
                if self.interims > MAX_INTERIM_RESPONSES {
                    return Err(FailureKind::UpstreamProtocol.into());
                }
                Ok(Some(head))
            }
            Parse::Complete { head, len } => {
                let kind = if head.tunnel {
                    BodyKind::UntilClose
                } else {
                    head.body
                };
                self.tunnel = head.tunnel;
                self.head = Some((len, kind));
                Ok(Some(head))
            }
            Parse::Partial => Ok(None),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.input
    }

    pub(super) fn begin_body(&mut self) {
        if let Some((len, kind)) = self.head.take() {
            self.input.drain(..len.min(self.input.len()));
            self.body = Some(Transit::new(kind));
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.input.len()
    }

    pub(super) fn has_body(&self) -> bool {
        self.body.is_some() && (!self.input.is_empty() || self.closed)
    }

    pub(super) fn take(&mut self, out: &mut Vec<u8>, framing: Framing) -> Result<Moved, Failure> {
        let Some(body) = &mut self.body else {
            return Ok(Moved::default());
        };
        if self.input.is_empty() {
            return Ok(Moved {
                payload: 0,
                done: self.closed,
            });
        }
        body.pass(&mut self.input, out, framing, None).map_err(|_| {
            self.failed = true;
            self.input.clear();
            FailureKind::UpstreamClosed.into()
        })
    }

    pub(super) fn trailers(&self, out: &mut Vec<u8>) {
        if let Some(body) = &self.body {
            body.trailers(out);
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn is_clean(&self) -> bool {
        self.input.is_empty() && !self.closed && !self.failed
    }

    pub(super) fn give_back(mut self, cluster: &Cluster, now: Now) {
        self.buffers.give(std::mem::take(&mut self.input));
        self.lease.give_back(cluster, now);
    }
}
