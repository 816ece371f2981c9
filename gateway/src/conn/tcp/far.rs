//! The upstream's side of a connection that carries bytes: a connection of its own, or what a proxy
//! makes of the bodies of one request and its response.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use h2::{Reason, RecvStream, SendStream};
use sallyport_core::h1::{BodyKind, BodyReader, ChunkHead, LAST_CHUNK};

use crate::buffer::Buffers;
use crate::codec::{Chunk, Outgoing};
use crate::io::socket::ReadDone;
use crate::io::stream::Stream;
use crate::tls::client::Principals;
use crate::upstream::{Lease, h2 as shared};

/// What a chunk needs around its payload, at most.
const CHUNK_FRAME_BYTES: usize = 32;

/// One side of a connection that carries bytes. One read and one write at a time.
pub(super) trait Side {
    /// Whether a read has been started and not been reported.
    fn is_reading(&mut self) -> bool;
    /// Starts to read.
    fn start_read(&mut self);
    /// How the read went: the number of bytes, 0 at the end, and the bytes.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<ReadDone>;
    /// Whether a write has been started and not been reported.
    fn is_writing(&mut self) -> bool;
    /// Starts to write all of this.
    fn start_write(&mut self, buffer: Vec<u8>);
    /// How the write went.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Starts to say that no more will come, which counts as a write.
    fn start_finish(&mut self);
}

impl Side for Stream {
    fn is_reading(&mut self) -> bool {
        Self::is_reading(self)
    }

    fn start_read(&mut self) {
        Self::start_read(self, None);
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<ReadDone> {
        Self::poll_read(self, context)
    }

    fn is_writing(&mut self) -> bool {
        Self::is_writing(self)
    }

    fn start_write(&mut self, buffer: Vec<u8>) {
        Self::start_write(self, buffer);
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write(self, context)
    }

    fn start_finish(&mut self) {
        Self::start_finish(self);
    }
}

/// The upstream's side.
#[derive(Debug)]
pub(super) enum Far {
    /// A connection that carries the bytes as they are.
    Straight(Box<Lease>),
    /// The bodies of a request and its response in HTTP/1.1.
    Framed(Box<Framed>),
    /// The bodies of a request and its response in HTTP/2.
    Shared(Box<Shared>),
}

impl Far {
    /// Who speaks with whom on its connection.
    pub(super) fn principals(&self) -> Option<Rc<Principals>> {
        match self {
            Self::Straight(lease) => lease.principals(),
            Self::Framed(framed) => framed.lease.principals(),
            Self::Shared(shared) => shared.lease.principals(),
        }
    }

    /// Where it leads.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Straight(lease) => lease.address(),
            Self::Framed(framed) => framed.lease.address(),
            Self::Shared(shared) => shared.lease.address(),
        }
    }

    /// The unix socket that it leads to, if it is one.
    pub(super) fn socket(&self) -> Option<Arc<str>> {
        match self {
            Self::Straight(lease) => lease.socket(),
            Self::Framed(framed) => framed.lease.socket(),
            Self::Shared(shared) => shared.lease.socket(),
        }
    }

    /// Our end.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Straight(lease) => lease.local(),
            Self::Framed(framed) => framed.lease.local(),
            Self::Shared(shared) => shared.lease.local(),
        }
    }

    /// Gives the buffers of a pending read back until something comes.
    pub(super) fn park(&mut self) {
        if let Some(stream) = self.stream() {
            stream.park();
        }
    }

    /// Breaks it: the upstream learns that it did not end in order.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Shared(shared) => {
                shared.upload.reset(Reason::CANCEL);
            }
            Self::Straight(_) | Self::Framed(_) => {
                if let Some(stream) = self.stream() {
                    stream.reset();
                }
            }
        }
    }

    /// The connection, if it is this one's alone.
    fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Straight(lease) => lease.stream(),
            Self::Framed(framed) => framed.lease.stream(),
            Self::Shared(_) => None,
        }
    }
}

impl Side for Far {
    fn is_reading(&mut self) -> bool {
        match self {
            Self::Straight(lease) => lease.stream().is_some_and(|stream| stream.is_reading()),
            // these read when they are polled
            Self::Framed(_) | Self::Shared(_) => true,
        }
    }

    fn start_read(&mut self) {
        if let Self::Straight(lease) = self
            && let Some(stream) = lease.stream()
        {
            stream.start_read(None);
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<ReadDone> {
        match self {
            Self::Straight(lease) => match lease.stream() {
                Some(stream) => stream.poll_read(context),
                None => Poll::Ready(gone()),
            },
            Self::Framed(framed) => framed.poll_read(context),
            Self::Shared(shared) => shared.poll_read(context),
        }
    }

    fn is_writing(&mut self) -> bool {
        match self {
            Self::Shared(shared) => shared.handed || shared.upload.is_writing(),
            Self::Straight(_) | Self::Framed(_) => {
                self.stream().is_some_and(|stream| stream.is_writing())
            }
        }
    }

    fn start_write(&mut self, buffer: Vec<u8>) {
        match self {
            Self::Straight(lease) => {
                if let Some(stream) = lease.stream() {
                    stream.start_write(buffer);
                }
            }
            Self::Framed(framed) => framed.start_write(buffer),
            Self::Shared(shared) => shared.start_write(buffer, None),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Shared(shared) => {
                let written = shared.upload.poll(context, || ());
                shared.handed &= written.is_pending();
                written
            }
            Self::Straight(_) | Self::Framed(_) => match self.stream() {
                Some(stream) => stream.poll_write(context),
                None => Poll::Ready(gone().0.map(drop)),
            },
        }
    }

    fn start_finish(&mut self) {
        match self {
            Self::Straight(lease) => {
                if let Some(stream) = lease.stream() {
                    stream.start_finish();
                }
            }
            Self::Framed(framed) => framed.start_finish(),
            Self::Shared(shared) => shared.start_write(Vec::new(), Some(&[])),
        }
    }
}

/// What a read of a connection gives that is not there.
fn gone() -> ReadDone {
    (Err(io::ErrorKind::NotConnected.into()), Vec::new())
}

/// A request in chunks, and its response however it is framed.
#[derive(Debug)]
pub(super) struct Framed {
    lease: Lease,
    buffers: Rc<Buffers>,
    /// Received, still framed.
    input: Vec<u8>,
    body: BodyReader,
}

impl Framed {
    /// Behind the heads; of the response's body this came already.
    pub(super) fn new(lease: Lease, body: BodyKind, input: Vec<u8>) -> Self {
        Self {
            buffers: lease.buffers(),
            lease,
            input,
            body: BodyReader::new(body),
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<ReadDone> {
        loop {
            match self.unframe() {
                Ok(payload) if !payload.is_empty() => {
                    return Poll::Ready((Ok(payload.len()), payload));
                }
                Ok(nothing) => self.buffers.give(nothing),
                Err(error) => return Poll::Ready((Err(error), Vec::new())),
            }
            if self.body.is_done() {
                return Poll::Ready((Ok(0), Vec::new()));
            }
            let Some(stream) = self.lease.stream() else {
                return Poll::Ready(gone());
            };
            if !stream.is_reading() {
                stream.start_read(None);
            }
            let (result, buffer) = ready!(stream.poll_read(context));
            match result {
                Ok(count) if count > 0 => {
                    self.buffers
                        .give(std::mem::replace(&mut self.input, buffer));
                }
                Ok(_) if self.body.ends_at_close() => return Poll::Ready((Ok(0), buffer)),
                // cut off, which shall not look whole
                Ok(_) => return Poll::Ready((Err(io::ErrorKind::UnexpectedEof.into()), buffer)),
                Err(error) => return Poll::Ready((Err(error), buffer)),
            }
        }
    }

    /// The payload of what was received.
    fn unframe(&mut self) -> io::Result<Vec<u8>> {
        if self.input.is_empty() {
            return Ok(Vec::new());
        }
        let mut out = self.buffers.take_for(self.input.len());
        let mut at = 0;
        while let Some(rest) = self.input.get(at..).filter(|rest| !rest.is_empty()) {
            let progress = self.body.advance(rest);
            let progress = progress.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            out.extend_from_slice(rest.get(progress.payload).unwrap_or_default());
            at += progress.consumed;
            if progress.done || progress.consumed == 0 {
                break;
            }
        }
        // what stands behind the end is nobody's: the connection is used for nothing else
        self.buffers.give(std::mem::take(&mut self.input));
        Ok(out)
    }

    fn start_write(&mut self, payload: Vec<u8>) {
        let Some(stream) = self.lease.stream() else {
            return;
        };
        let mut out = self.buffers.take_for(payload.len() + CHUNK_FRAME_BYTES);
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        out.extend_from_slice(ChunkHead::new(length).as_bytes());
        out.extend_from_slice(&payload);
        out.extend_from_slice(b"\r\n");
        self.buffers.give(payload);
        stream.start_write(out);
    }

    /// The request ends; the connection stays, for the rest of the response.
    fn start_finish(&mut self) {
        let Some(stream) = self.lease.stream() else {
            return;
        };
        let mut out = self.buffers.take();
        out.extend_from_slice(LAST_CHUNK);
        stream.start_write(out);
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.input));
    }
}

/// A stream of HTTP/2.
pub(super) struct Shared {
    upload: Outgoing,
    /// Something was handed to the codec, and nobody was told yet.
    handed: bool,
    download: RecvStream,
    buffers: Rc<Buffers>,
    /// Dropped last: the stream's handles go before its connection may.
    lease: shared::Lease,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Behind the heads.
    pub(super) fn new(lease: shared::Lease, send: SendStream<Chunk>, download: RecvStream) -> Self {
        let mut upload = Outgoing::default();
        upload.open(Some(send));
        Self {
            upload,
            handed: false,
            download,
            buffers: lease.buffers(),
            lease,
        }
    }

    fn start_write(&mut self, payload: Vec<u8>, end: Option<&[u8]>) {
        self.upload.start(payload, end, &self.buffers);
        // reported at the next poll, as a socket would
        self.handed = true;
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<ReadDone> {
        loop {
            let came = match ready!(self.download.poll_data(context)) {
                None => return Poll::Ready((Ok(0), Vec::new())),
                Some(Ok(came)) if came.is_empty() => continue,
                Some(Ok(came)) => came,
                Some(Err(_)) => {
                    return Poll::Ready((Err(io::ErrorKind::ConnectionReset.into()), Vec::new()));
                }
            };
            // Read only when what came before has gone on, so the window need not wait longer.
            // Fails when the stream is over, and then nobody wants it.
            drop(self.download.flow_control().release_capacity(came.len()));
            let mut buffer = self.buffers.take_for(came.len());
            buffer.extend_from_slice(&came);
            return Poll::Ready((Ok(buffer.len()), buffer));
        }
    }
}
