//! The client's side of one exchange, whatever wire it speaks.
//!
//! Heads pass as bytes with an index of their fields and a set of edits; bodies as buffers of
//! payload, framed as their taker wants; trailers as field lines. A wire translates its own form
//! once at its edge, and everything between the two sides sees only this one.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use sallyport_core::failure::Failure;
use sallyport_core::h1::{BodyKind, HeaderEdits, HeaderIndex, HeaderView, ResponseLine, Version};
use sallyport_core::time::Now;

use super::transit::{Framing, Moved};
use crate::conn::Link;
use crate::rt::Alarm;
use crate::worker::Worker;

/// What an exchange knows of the connection, or stream, that it came by.
#[derive(Debug)]
pub(crate) struct Visit {
    /// The worker that serves it.
    pub(crate) worker: Rc<Worker>,
    /// The client's connection.
    pub(crate) link: Rc<Link>,
    /// The one clock that the exchange waits for.
    pub(crate) alarm: Alarm,
    /// When the first byte of the request came.
    pub(crate) begun: Now,
}

/// What happened on the client's side.
#[derive(Debug)]
pub(crate) enum News {
    /// More of the body, or its end, can be taken.
    Came,
    /// The client says that it leaves; an answer may still reach it.
    Left,
    /// The client is gone: nothing reaches it any more.
    Gone,
    /// What was being written went, or the client is gone.
    Written(io::Result<()>),
}

/// How an exchange left its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The answer is whole, and so was the request.
    Keep,
    /// The answer is whole; what else belongs to the request, or to the connection if that is
    /// HTTP/1, is not wanted.
    Close,
    /// The answer is missing or in pieces, and must look so.
    Cut,
}

/// How the body of a response will be framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Framed {
    /// What the head says.
    pub(crate) kind: BodyKind,
    /// How its payload is written.
    pub(crate) framing: Framing,
}

/// The client's side of one exchange. At most one write is under way.
pub(crate) trait Client {
    /// Where it comes from.
    fn visit(&self) -> &Visit;

    /// The version that it speaks, for the log.
    fn version(&self) -> Version;

    /// Whether the connection shall end after this exchange.
    fn shall_end(&self) -> bool;

    /// Whether the request came before its connection's handshake was complete, and it still is not:
    /// it could be a replay, which upstreams must be told (RFC 8470 §5.1).
    fn is_early(&self) -> bool {
        false
    }

    /// Lets the client send on, unless something that it sent waits to be taken; in any case its
    /// leaving is noticed from now on.
    fn listen(&mut self);

    /// Whether some of the body, or its end, can be taken.
    fn has_body(&self) -> bool;

    /// Moves payload to the end of `out`, framed, and a copy of it to `copy`.
    ///
    /// # Errors
    /// The client broke its framing: what to answer, if that is still possible.
    fn take(
        &mut self,
        out: &mut Vec<u8>,
        framing: Framing,
        copy: Option<&mut Vec<u8>>,
    ) -> Result<Moved, Failure>;

    /// Appends the request's trailer fields, as lines, after all of the body has been taken.
    fn trailers(&self, out: &mut Vec<u8>);

    /// From now on the body is whatever comes, until the end.
    fn open_tunnel(&mut self);

    /// Drops a body of which nothing was taken; `false` when what is still to come of it would be
    /// taken for something else.
    fn skip_body(&mut self) -> bool;

    /// What has come of the body and was not taken is not wanted any more.
    fn abandon_body(&mut self);

    /// Tells the client to send its body; nothing while something is being written.
    fn start_continue(&mut self);

    /// Passes on what an upstream says before its answer, where the wire's clients are known to
    /// take it for what it is; nothing while something is being written.
    fn start_interim(&mut self, status: u16, fields: HeaderView<'_>);

    /// How a response body of this kind will go to the client.
    fn frame(&mut self, body: BodyKind, tunnel: bool) -> Framed;

    /// Writes the response's head, to `out` if the wire is one of bytes; the head's size. `buf` is
    /// the buffer that `index` describes.
    fn head(
        &mut self,
        out: &mut Vec<u8>,
        line: &ResponseLine<'_>,
        buf: &[u8],
        index: &HeaderIndex,
        edits: &HeaderEdits,
    ) -> u64;

    /// Starts to write what [`Client::head`] and [`Client::take`] of the other side put into `out`;
    /// `end` are the trailers, if the response ends behind it. When nothing has to be written for
    /// that, nothing is being written afterwards.
    fn start_write(&mut self, out: Vec<u8>, end: Option<&[u8]>);

    /// Whether a write has been started and not been reported.
    fn is_writing(&self) -> bool;

    /// What happens next on this side.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<News>;
}
