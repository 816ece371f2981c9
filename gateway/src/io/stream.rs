//! A byte stream to a client or an upstream, plain or TLS, behind the same calls.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::buffer::{BUFFER_BYTES, Buffers};
use crate::io::socket::{ReadDone, Socket};
use crate::tls::client::Principals;
use crate::tls::session::{Session, sealed_bytes};

/// A connected stream. Owns its buffers: they come from the worker's pool and go back to it.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    tls: Option<Box<Tls>>,
    buffers: Rc<Buffers>,
    /// The last read filled its buffer: the next one takes a large one.
    bulk: bool,
    /// Who speaks with whom, of a connection that we made.
    principals: Option<Rc<Principals>>,
}

/// What TLS adds to a stream.
#[derive(Debug)]
struct Tls {
    session: Box<Session>,
    /// Payload that came with the handshake.
    early: Vec<u8>,
    /// Where decrypted bytes of the read under way go; `None` takes a buffer when they are there.
    plain: Option<Vec<u8>>,
    reading: bool,
    /// Why nothing can be written any more.
    broken: Option<io::Error>,
    /// The notice that no more will come is being written; the socket's own end follows.
    ending: bool,
}

impl Stream {
    /// A cleartext stream.
    pub(crate) fn plain(socket: Socket, buffers: Rc<Buffers>) -> Self {
        Self {
            socket,
            tls: None,
            buffers,
            bulk: false,
            principals: None,
        }
    }

    /// A TLS stream whose handshake is done.
    pub(crate) fn tls(socket: Socket, session: Box<Session>, buffers: Rc<Buffers>) -> Self {
        Self::tls_begun(socket, session, Vec::new(), buffers)
    }

    /// A TLS stream with payload that came with its handshake and is still to be read.
    pub(crate) fn tls_begun(
        socket: Socket,
        session: Box<Session>,
        early: Vec<u8>,
        buffers: Rc<Buffers>,
    ) -> Self {
        let tls = Tls {
            session,
            early,
            plain: None,
            reading: false,
            broken: None,
            ending: false,
        };
        Self {
            socket,
            tls: Some(Box::new(tls)),
            buffers,
            bulk: false,
            principals: None,
        }
    }

    /// With who speaks with whom on it.
    pub(crate) fn between(self, principals: Principals) -> Self {
        Self {
            principals: Some(Rc::new(principals)),
            ..self
        }
    }

    /// Who speaks with whom, of a connection that we made over TLS.
    pub(crate) fn principals(&self) -> Option<&Rc<Principals>> {
        self.principals.as_ref()
    }

    /// Our end, of a connection that we made.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.socket.local()
    }

    /// Whether it is encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Starts to read. What comes is appended to `partial`, or to a buffer of the pool.
    pub(crate) fn start_read(&mut self, partial: Option<Vec<u8>>) {
        match &mut self.tls {
            None => {
                let bulk = self.bulk;
                let fresh = || match bulk {
                    true => self.buffers.take_large(),
                    false => self.buffers.take(),
                };
                self.socket.start_read(partial.unwrap_or_else(fresh));
            }
            Some(tls) => {
                tls.plain = partial;
                tls.reading = true;
            }
        }
    }

    /// Starts to read without a buffer: one is taken when something is there.
    pub(crate) fn start_watch(&mut self) {
        match &mut self.tls {
            None => self.socket.start_watch(),
            Some(tls) => {
                tls.plain = None;
                tls.reading = true;
                let waits = tls.session.is_empty() && tls.early.is_empty();
                if waits && !self.socket.is_reading() {
                    self.socket.start_watch();
                }
            }
        }
    }

    /// Whether a read has been started and not been reported.
    pub(crate) fn is_reading(&self) -> bool {
        self.tls
            .as_ref()
            .map_or_else(|| self.socket.is_reading(), |tls| tls.reading)
    }

    /// Gives the buffers of a pending read back until something comes; poll it on as if nothing
    /// had happened.
    pub(crate) fn park(&mut self) {
        self.socket.park();
    }

    /// How the read went: the bytes appended, 0 at the end of the stream, and the buffer.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<ReadDone> {
        match &mut self.tls {
            None if self.socket.is_reading() => {
                let done = ready!(self.socket.poll_read(context));
                self.bulk = done.1.len() >= BUFFER_BYTES;
                Poll::Ready(done)
            }
            None => Poll::Pending,
            Some(tls) => tls.poll_read(&mut self.socket, &self.buffers, context),
        }
    }

    /// Starts to write the whole buffer, which goes back to the pool when that is done.
    pub(crate) fn start_write(&mut self, buffer: Vec<u8>) {
        match &mut self.tls {
            None => self.socket.start_write(buffer),
            Some(tls) => {
                let mut sealed = self.buffers.take_for(sealed_bytes(buffer.len()));
                match tls.session.seal(&buffer, &mut sealed) {
                    Ok(()) => self.socket.start_write(sealed),
                    Err(error) => tls.broken = Some(error),
                }
                self.buffers.give(buffer);
            }
        }
    }

    /// Whether a write has been started and not been reported.
    pub(crate) fn is_writing(&self) -> bool {
        self.socket.is_writing() || self.tls.as_ref().is_some_and(|tls| tls.broken.is_some())
    }

    /// How the write, or the end of writing, went.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.tls.as_mut().and_then(|tls| tls.broken.take()) {
            return Poll::Ready(Err(error));
        }
        loop {
            let Poll::Ready((result, buffer)) = self.socket.poll_write(context) else {
                return Poll::Pending;
            };
            self.buffers.give(buffer);
            let ending = self.tls.as_mut().map(|tls| &mut tls.ending);
            match (result, ending) {
                (Ok(()), Some(ending)) if *ending => {
                    *ending = false;
                    self.socket.start_finish();
                }
                (result, _) => return Poll::Ready(result),
            }
        }
    }

    /// Starts to tell the peer that no more will come, which counts as a write; reading goes on.
    pub(crate) fn start_finish(&mut self) {
        match &mut self.tls {
            None => self.socket.start_finish(),
            Some(tls) => {
                let mut sealed = self.buffers.take();
                tls.session.seal_end(&mut sealed);
                tls.ending = true;
                self.socket.start_write(sealed);
            }
        }
    }

    /// Tells the peer that no more will come; reading goes on.
    ///
    /// # Errors
    /// The peer is gone.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.start_finish();
        poll_fn(|context| self.poll_write(context)).await
    }

    /// Breaks the connection: the peer learns that it did not end in order.
    pub(crate) fn reset(&self) {
        self.socket.reset();
    }
}

impl Tls {
    fn poll_read(
        &mut self,
        socket: &mut Socket,
        buffers: &Rc<Buffers>,
        context: &mut Context<'_>,
    ) -> Poll<ReadDone> {
        if !self.reading {
            return Poll::Pending;
        }
        if !self.early.is_empty() {
            self.reading = false;
            let mut plain = self.plain.take().unwrap_or_default();
            let count = self.early.len();
            plain.append(&mut self.early);
            return Poll::Ready((Ok(count), plain));
        }
        loop {
            if self.session.is_finished() {
                // The notice may have come together with the last payload.
                self.reading = false;
                let plain = self.plain.take().unwrap_or_default();
                return Poll::Ready((Ok(0), plain));
            }
            // Several records may have come at once: ask the session before the socket.
            if !self.session.is_drained() && !socket.is_reading() {
                let waiting = self.session.waiting();
                let fresh = || buffers.take_for(waiting);
                let mut plain = self.plain.take().unwrap_or_else(fresh);
                let before = plain.len();
                let result = self.session.open(&mut plain);
                let count = plain.len() - before;
                if count > 0 || result.is_err() || self.session.is_finished() {
                    self.reading = false;
                    self.session.release(buffers);
                    return Poll::Ready((result.map(|()| count), plain));
                }
                self.keep(plain, buffers);
            }
            if !socket.is_reading() {
                socket.start_read(self.session.receive_buffer(buffers));
            }
            let Poll::Ready((result, received)) = socket.poll_read(context) else {
                return Poll::Pending;
            };
            self.session.received(received);
            match result {
                Ok(0) | Err(_) => {
                    self.reading = false;
                    self.session.release(buffers);
                    let plain = self.plain.take().unwrap_or_default();
                    // An end without close_notify looks like any other: framing decides whether
                    // something is missing.
                    return Poll::Ready((result, plain));
                }
                Ok(_) => {}
            }
        }
    }

    fn keep(&mut self, plain: Vec<u8>, buffers: &Buffers) {
        if plain.is_empty() {
            buffers.give(plain);
        } else {
            self.plain = Some(plain);
        }
    }
}
