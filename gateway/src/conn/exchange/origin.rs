//! The upstream side of one try, whatever wire it speaks: the counterpart of [`super::client`].

mod h1;
mod h2;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use sallyport_config::ir::{Cluster, Wire};
use sallyport_core::failure::Failure;
use sallyport_core::h1::{Asked, HeaderEdits, HeaderIndex, RequestLine, ResponseHead};
use sallyport_core::time::Now;

use super::transit::{Framing, Moved};
use crate::tls::client::Principals;
use crate::upstream::{ConnectError, Errand, Lease, Upstream, h2 as shared};
use crate::worker::Worker;

/// What happened on the upstream's side.
#[derive(Debug)]
pub(super) enum News {
    /// Part of a head or of the body, or the body's end, can be taken.
    Came,
    /// There will be nothing more, and something is missing. What came before can still be taken.
    Failed(Failure),
    /// What was being written went, or the upstream takes no more.
    Written(io::Result<()>),
}

/// The upstream side of one try, with the connection that was borrowed for it. Dropping it ends the
/// try: a connection of its own is closed, a stream is reset.
#[expect(
    clippy::large_enum_variant,
    reason = "a try over HTTP/1 shall cost no allocation"
)]
#[derive(Debug)]
pub(super) enum Origin {
    /// A connection of HTTP/1.
    H1(h1::Origin),
    /// A stream of HTTP/2.
    H2(Box<h2::Origin>),
}

/// The way to an endpoint.
#[derive(Debug)]
pub(super) struct WayUp<'a> {
    pub(super) worker: Rc<Worker>,
    pub(super) upstream: &'a Rc<Upstream>,
    pub(super) cluster: &'a Cluster,
    pub(super) endpoint: u32,
    pub(super) errand: Errand<'a>,
    /// A connection that served before will not do.
    pub(super) fresh: bool,
    /// The request asks for a tunnel.
    pub(super) tunnel: bool,
}

impl Origin {
    fn h1(lease: Lease) -> Self {
        Self::H1(h1::Origin::new(lease))
    }

    fn h2(lease: shared::Lease) -> Self {
        Self::H2(Box::new(h2::Origin::new(lease)))
    }

    /// Over a connection that is there, if the request may be in flight.
    pub(super) fn pooled(
        way: &WayUp<'_>,
        now: Now,
        context: &mut Context<'_>,
    ) -> Option<Result<Self, ConnectError>> {
        let (worker, upstream, to) = (&way.worker, way.upstream, way.endpoint);
        if way.errand.wire == Wire::Http2 {
            let cluster = way.cluster;
            let shared = shared::Lease::shared(worker, upstream, cluster, to, way.errand, context);
            let shared = shared.filter(|lease| !way.tunnel || lease.takes_tunnels() == Some(true));
            shared.map(|lease| lease.admit().map(Self::h2))
        } else {
            let lease = Lease::pooled(worker, upstream, to, way.errand, context);
            lease.map(|lease| lease.admit(way.cluster, now).map(Self::h1))
        }
    }

    /// Over a new connection, or one that somebody else opens or gives back.
    ///
    /// # Errors
    /// What connecting said, or a breaker.
    pub(super) async fn connect(way: &WayUp<'_>) -> Result<Self, ConnectError> {
        let (worker, upstream, to) = (&way.worker, way.upstream, way.endpoint);
        if way.errand.wire == Wire::Http2 {
            let cluster = way.cluster;
            let lease = shared::Lease::obtain(worker, upstream, cluster, to, way.errand, way.fresh);
            let lease = lease.await?;
            if way.tunnel {
                lease.settled(cluster.connect_timeout).await?;
            }
            if !way.tunnel || lease.takes_tunnels() == Some(true) {
                return lease.admit().map(Self::h2);
            }
        }
        // An upgrade is something of HTTP/1 where a stream cannot be a tunnel.
        let errand = Errand {
            wire: Wire::Http1,
            ..way.errand
        };
        let limit = way.cluster.connect_timeout;
        let lease = Lease::obtain(worker, upstream, to, errand, limit).await?;
        lease.admit(way.cluster, worker.timers.now()).map(Self::h1)
    }

    /// As logs name its protocol.
    pub(super) fn protocol(&self) -> &'static str {
        match self {
            Self::H1(_) => "HTTP/1.1",
            Self::H2(_) => "HTTP/2",
        }
    }

    /// Whether its connection served a request before: it may be dying.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::H1(origin) => origin.lease.is_reused(),
            Self::H2(origin) => origin.lease.is_reused(),
        }
    }

    /// Where it leads.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::H1(origin) => origin.lease.address(),
            Self::H2(origin) => origin.lease.address(),
        }
    }

    /// The unix socket that it leads to, if it is one.
    pub(super) fn socket(&self) -> Option<Arc<str>> {
        match self {
            Self::H1(origin) => origin.lease.socket(),
            Self::H2(origin) => origin.lease.socket(),
        }
    }

    /// Our end of its connection.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::H1(origin) => origin.lease.local(),
            Self::H2(origin) => origin.lease.local(),
        }
    }

    /// Who speaks with whom on its connection.
    pub(super) fn principals(&self) -> Option<Rc<Principals>> {
        match self {
            Self::H1(origin) => origin.lease.principals(),
            Self::H2(origin) => origin.lease.principals(),
        }
    }

    /// Whether the cluster allows the connection no request after this one.
    pub(super) fn is_last(&self, cluster: &Cluster) -> bool {
        match self {
            Self::H1(origin) => origin.lease.is_last(cluster),
            Self::H2(_) => false,
        }
    }

    /// Writes the request's head, to `out` if the wire is one of bytes.
    pub(super) fn head(
        &mut self,
        out: &mut Vec<u8>,
        line: &RequestLine<'_>,
        buf: &[u8],
        index: &HeaderIndex,
        edits: &HeaderEdits,
    ) {
        match self {
            Self::H1(origin) => origin.head(out, line, buf, index, edits),
            Self::H2(origin) => origin.head(line, buf, index, edits),
        }
    }

    /// How it wants the payload of the request.
    pub(super) fn framing(&self) -> Framing {
        match self {
            Self::H1(origin) => origin.framing(),
            Self::H2(_) => Framing::Bare,
        }
    }

    /// Starts to write; `end` are the trailers, if the request ends behind it. When nothing has to
    /// be written for that, nothing is being written afterwards.
    pub(super) fn start_write(&mut self, out: Vec<u8>, end: Option<&[u8]>) {
        match self {
            Self::H1(origin) => origin.start_write(out, end),
            Self::H2(origin) => origin.start_write(out, end),
        }
    }

    /// Whether a write has been started and not been reported.
    pub(super) fn is_writing(&mut self) -> bool {
        match self {
            Self::H1(origin) => origin.is_writing(),
            Self::H2(origin) => origin.is_writing(),
        }
    }

    /// Lets the upstream send on, unless something that it sent waits to be taken.
    pub(super) fn listen(&mut self) {
        match self {
            Self::H1(origin) => origin.listen(),
            Self::H2(_) => {}
        }
    }

    /// What happens next on this side.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<News> {
        match self {
            Self::H1(origin) => origin.poll(context),
            Self::H2(origin) => origin.poll(context),
        }
    }

    /// The next head, interim ones included, when it is whole. Its bytes are [`Origin::bytes`]
    /// until [`Origin::begin_body`]; those of an interim one until the next is asked for. `index`
    /// is empty.
    ///
    /// # Errors
    /// The upstream broke a rule.
    pub(super) fn take_head(
        &mut self,
        index: &mut HeaderIndex,
        asked: Asked,
    ) -> Result<Option<ResponseHead>, Failure> {
        match self {
            Self::H1(origin) => origin.take_head(index, asked),
            Self::H2(origin) => origin.take_head(index, asked),
        }
    }

    /// The buffer that the final head's index describes.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::H1(origin) => origin.bytes(),
            Self::H2(origin) => origin.bytes(),
        }
    }

    /// Drops the final head: the body follows.
    pub(super) fn begin_body(&mut self) {
        match self {
            Self::H1(origin) => origin.begin_body(),
            Self::H2(origin) => origin.begin_body(),
        }
    }

    /// Bytes of the body that can be taken, framing included.
    pub(super) fn waiting(&self) -> usize {
        match self {
            Self::H1(origin) => origin.waiting(),
            Self::H2(origin) => origin.waiting(),
        }
    }

    /// Whether some of the body, or its end, can be taken.
    pub(super) fn has_body(&self) -> bool {
        match self {
            Self::H1(origin) => origin.has_body(),
            Self::H2(origin) => origin.has_body(),
        }
    }

    /// Moves payload to the end of `out`, framed.
    ///
    /// # Errors
    /// The upstream broke its framing.
    pub(super) fn take(&mut self, out: &mut Vec<u8>, framing: Framing) -> Result<Moved, Failure> {
        match self {
            Self::H1(origin) => origin.take(out, framing),
            Self::H2(origin) => Ok(origin.take(out, framing)),
        }
    }

    /// Appends the response's trailer fields, as lines, after all of the body has been taken.
    pub(super) fn trailers(&self, out: &mut Vec<u8>) {
        match self {
            Self::H1(origin) => origin.trailers(out),
            Self::H2(origin) => origin.trailers(out),
        }
    }

    /// Whether anything of a response has come, interim ones included.
    pub(super) fn has_begun(&self) -> bool {
        match self {
            Self::H1(origin) => origin.has_begun(),
            Self::H2(origin) => origin.has_begun(),
        }
    }

    /// Whether how it ends will still be told, although it takes no more.
    pub(super) fn is_listening(&mut self) -> bool {
        match self {
            Self::H1(origin) => origin.is_listening(),
            Self::H2(origin) => origin.is_listening(),
        }
    }

    /// Whether nothing follows what was taken.
    pub(super) fn is_clean(&self) -> bool {
        match self {
            Self::H1(origin) => origin.is_clean(),
            Self::H2(origin) => origin.is_clean(),
        }
    }

    /// Gives the connection back after a whole response.
    pub(super) fn give_back(self, cluster: &Cluster, now: Now) {
        match self {
            Self::H1(origin) => origin.give_back(cluster, now),
            Self::H2(_) => {}
        }
    }
}
