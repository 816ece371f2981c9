//! One TLS connection, of a client or to an upstream, after rustls: records in and out of buffers
//! that we own, so that an idle connection holds none.

use std::io;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CipherSuite, ProtocolVersion};
use rustls_pki_types::CertificateDer;

use crate::buffer::{BUFFER_BYTES, Buffers, LARGE_BYTES, READ_BYTES_MAX};

/// Largest record: header, payload and what TLS 1.2 may add (RFC 5246 §6.2.3).
const RECORD_BYTES_MAX: usize = 5 + 16_384 + 2_048;
const _: () = assert!(
    RECORD_BYTES_MAX < READ_BYTES_MAX && sealed_bytes(READ_BYTES_MAX) <= LARGE_BYTES,
    "a large buffer holds every record, and what one read brings when it is sealed"
);
/// What sealing adds to each record at most.
const SEAL_OVERHEAD: usize = 64;
/// Payload of a record that we seal.
const FRAGMENT_BYTES: usize = 16_384;
/// Handshake bytes that a peer may make us queue before we end the connection.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// Bytes that so much payload has when it is sealed, at most.
pub(crate) const fn sealed_bytes(payload: usize) -> usize {
    payload + (payload / FRAGMENT_BYTES + 1) * SEAL_OVERHEAD
}

/// Our side of a connection.
enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What both sides' connections have in common; rustls has a type for each.
trait Engine {
    type Data;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Engine for UnbufferedServerConnection {
    type Data = rustls::server::ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

impl Engine for UnbufferedClientConnection {
    type Data = rustls::client::ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

/// Calls a function with the connection of whichever side it is.
macro_rules! either {
    ($side:expr, $connection:ident => $work:expr) => {
        match $side {
            Side::Server($connection) => $work,
            Side::Client($connection) => $work,
        }
    };
}

/// A TLS connection.
pub(crate) struct Session {
    side: Side,
    /// Received, not opened.
    received: Vec<u8>,
    /// Handshake and alert records to send before anything else.
    queued: Vec<u8>,
    finished: bool,
    /// What is in `received` is less than a record.
    incomplete: bool,
    /// The last time as much came as a buffer holds: the next one is large.
    bulk: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("received", &self.received.len())
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A connection whose handshake begins with what has been received already.
    pub(crate) fn server(connection: UnbufferedServerConnection, received: Vec<u8>) -> Self {
        Self::new(Side::Server(Box::new(connection)), received)
    }

    /// A connection to a server, of which nothing has been sent yet.
    pub(crate) fn client(connection: UnbufferedClientConnection) -> Self {
        Self::new(Side::Client(Box::new(connection)), Vec::new())
    }

    fn new(side: Side, received: Vec<u8>) -> Self {
        Self {
            side,
            incomplete: received.is_empty(),
            received,
            queued: Vec::new(),
            finished: false,
            bulk: false,
        }
    }

    /// Whether the handshake goes on.
    pub(crate) fn is_handshaking(&self) -> bool {
        either!(&self.side, connection => connection.is_handshaking())
    }

    /// The version that the handshake settled on.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        either!(&self.side, connection => connection.protocol_version())
    }

    /// The cipher suite that the handshake settled on.
    pub(crate) fn cipher(&self) -> Option<CipherSuite> {
        let suite = either!(&self.side, connection => connection.negotiated_cipher_suite());
        suite.map(|suite| suite.suite())
    }

    /// The protocol that the handshake settled on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        either!(&self.side, connection => connection.alpn_protocol())
    }

    /// The chain that the peer showed, leaf first.
    pub(crate) fn peer(&self) -> Option<&[CertificateDer<'static>]> {
        either!(&self.side, connection => connection.peer_certificates())
    }

    /// Whether the handshake took a session up again.
    pub(crate) fn is_resumed(&self) -> bool {
        let kind = either!(&self.side, connection => connection.handshake_kind());
        kind == Some(rustls::HandshakeKind::Resumed)
    }

    /// Whether everything received has been opened, as far as it makes whole records.
    pub(crate) fn is_drained(&self) -> bool {
        self.received.is_empty() || self.incomplete
    }

    /// Whether nothing is left of what was received.
    pub(crate) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Whether the peer has said that no more will come.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Bytes that were received and not opened.
    pub(crate) fn waiting(&self) -> usize {
        self.received.len()
    }

    /// A buffer to receive more into, behind what is there.
    pub(crate) fn receive_buffer(&mut self, buffers: &Buffers) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.received);
        if buffer.capacity() == 0 {
            buffer = match self.bulk {
                true => buffers.take_large(),
                false => buffers.take(),
            };
        } else if buffer.len() == buffer.capacity() {
            // A record of the largest size: a large buffer holds it, and more behind it.
            let mut large = buffers.take_large();
            large.extend_from_slice(&buffer);
            buffers.give(std::mem::replace(&mut buffer, large));
        }
        buffer
    }

    /// Takes the buffer back, with what came.
    pub(crate) fn received(&mut self, buffer: Vec<u8>) {
        self.bulk = buffer.len() >= BUFFER_BYTES;
        self.received = buffer;
        self.incomplete = self.received.is_empty();
    }

    /// Gives an empty receive buffer back.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if self.received.is_empty() && self.received.capacity() > 0 {
            buffers.give(std::mem::take(&mut self.received));
        }
    }

    /// Opens what has been received: payload is appended to `plain`, what must be answered is
    /// queued.
    ///
    /// # Errors
    /// The peer broke the protocol, or is not believed. The alert for it is queued.
    pub(crate) fn open(&mut self, plain: &mut Vec<u8>) -> io::Result<()> {
        self.process(plain).map_err(invalid)
    }

    /// As [`Self::open`], with rustls' own error.
    ///
    /// # Errors
    /// The peer broke the protocol, or is not believed. The alert for it is queued.
    pub(crate) fn process(&mut self, plain: &mut Vec<u8>) -> Result<(), rustls::Error> {
        let (received, queued) = (&mut self.received, &mut self.queued);
        let finished = either!(&mut self.side, connection => {
            open(&mut **connection, received, queued, plain)
        })?;
        self.finished |= finished;
        self.incomplete = true;
        Ok(())
    }

    /// Seals `plain` behind whatever is queued.
    ///
    /// # Errors
    /// The connection cannot send any more.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let queued = &mut self.queued;
        either!(&mut self.side, connection => seal(&mut **connection, queued, plain, out))
    }

    /// Seals the notice that no more will come.
    pub(crate) fn seal_end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.queued);
        either!(&mut self.side, connection => seal_end(&mut **connection, out));
    }

    /// Takes what the handshake wants to send; empty when nothing.
    pub(crate) fn take_queued(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.queued)
    }
}

/// Opens records until more bytes are needed; whether the peer has ended its side.
fn open<E: Engine>(
    engine: &mut E,
    received: &mut Vec<u8>,
    queued: &mut Vec<u8>,
    plain: &mut Vec<u8>,
) -> Result<bool, rustls::Error> {
    loop {
        let status = engine.process(received);
        let mut discard = status.discard;
        let (more, finished) = match status.state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
                (true, false)
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                append(queued, |out| data.encode(out))?;
                (true, false)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                (true, false)
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => (false, true),
            // WriteTraffic and BlockedHandshake: nothing more without more bytes.
            Ok(_) => (false, false),
            Err(error) => {
                received.drain(..discard.min(received.len()));
                queue_alert(engine, queued);
                return Err(error);
            }
        };
        received.drain(..discard.min(received.len()));
        if !more || queued.len() > QUEUED_BYTES_MAX {
            return Ok(finished);
        }
    }
}

/// Collects the alert that an error left behind.
fn queue_alert<E: Engine>(engine: &mut E, queued: &mut Vec<u8>) {
    let status = engine.process(&mut []);
    if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state {
        // Without room for an alert the connection just ends.
        drop(append(queued, |out| data.encode(out)));
    }
}

fn seal<E: Engine>(
    engine: &mut E,
    queued: &mut Vec<u8>,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        let status = engine.process(&mut []);
        match status.state.map_err(invalid)? {
            ConnectionState::EncodeTlsData(mut data) => {
                append(queued, |out| data.encode(out)).map_err(invalid)?;
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::WriteTraffic(mut traffic) => {
                out.append(queued);
                let room = sealed_bytes(plain.len());
                let start = out.len();
                out.resize(start + room, 0);
                let tail = out.get_mut(start..).unwrap_or_default();
                let count = traffic.encrypt(plain, tail).map_err(|error| match error {
                    EncryptError::EncryptExhausted => {
                        io::Error::other("the connection's keys are used up")
                    }
                    error => io::Error::other(error.to_string()),
                })?;
                out.truncate(start + count);
                return Ok(());
            }
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

fn seal_end<E: Engine>(engine: &mut E, out: &mut Vec<u8>) {
    let status = engine.process(&mut []);
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
        let start = out.len();
        out.resize(start + SEAL_OVERHEAD, 0);
        let tail = out.get_mut(start..).unwrap_or_default();
        let count = traffic.queue_close_notify(tail).unwrap_or(0);
        out.truncate(start + count);
    }
}

/// Appends what `encode` writes, which says how much room it needs when there is too little.
fn append(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    let start = out.len();
    let mut room = 0;
    for _ in 0..2 {
        out.resize(start + room, 0);
        match encode(out.get_mut(start..).unwrap_or_default()) {
            Ok(count) => {
                out.truncate(start + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => break,
        }
    }
    out.truncate(start);
    Err(rustls::Error::General(
        "a record could not be encoded".to_owned(),
    ))
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
