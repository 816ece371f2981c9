//! The handshake with a client: server name first, then the chain that it belongs to, then the rest.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use sallyport_core::client_hello::{ClientHello, HELLO_BYTES_MAX, HelloReader};

use super::session::Session;
use crate::buffer::Buffers;
use crate::io::socket::{ReadDone, Socket};
use crate::rt::Alarm;

/// Bytes of a first flight: the largest ClientHello in records that are not absurdly small.
const RECEIVED_BYTES_MAX: usize = 4 * HELLO_BYTES_MAX;

/// How a handshake ended before its end.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The client left, took too long, or broke the protocol.
    Failed,
    /// There is nothing for this server name.
    NoChain,
    /// Too many others waited.
    Shed,
}

/// What the client says first.
#[derive(Debug)]
pub(crate) struct Hello {
    /// Its first message, as far as it says whom it is for.
    pub(crate) message: ClientHello,
    /// Everything received so far, for whoever speaks TLS with it.
    pub(crate) received: Vec<u8>,
}

/// Reads a ClientHello; what came of it before is in `received`. The alarm bounds the time.
///
/// # Errors
/// It did not come, or is none; an alert has been sent then.
pub(crate) async fn hello(
    socket: &mut Socket,
    alarm: &Alarm,
    mut received: Vec<u8>,
) -> Result<Hello, Refused> {
    let mut reader = HelloReader::default();
    let mut seen = 0;
    loop {
        let fresh = received.get(seen..).unwrap_or_default();
        seen = received.len();
        match reader.feed(fresh) {
            Ok(Some(message)) => return Ok(Hello { message, received }),
            Ok(None) if seen < RECEIVED_BYTES_MAX => {}
            Ok(None) => return Err(Refused::Failed),
            Err(error) => {
                send(socket, alarm, error.alert().to_vec()).await?;
                return Err(Refused::Failed);
            }
        }
        received = more(socket, alarm, received).await?;
    }
}

/// Completes the handshake; payload that came with it is appended to `early`.
///
/// # Errors
/// It failed; an alert has been sent then.
pub(crate) async fn complete(
    socket: &mut Socket,
    alarm: &Alarm,
    buffers: &Buffers,
    hello: Hello,
    config: &Arc<ServerConfig>,
    early: &mut Vec<u8>,
) -> Result<Session, Refused> {
    let connection =
        UnbufferedServerConnection::new(Arc::clone(config)).map_err(|_| Refused::Failed)?;
    let mut session = Session::server(connection, hello.received);
    loop {
        let result = session.open(early);
        let queued = session.take_queued();
        if !queued.is_empty() {
            send(socket, alarm, queued).await?;
        }
        if result.is_err() || session.is_finished() {
            return Err(Refused::Failed);
        }
        if !session.is_handshaking() {
            session.release(buffers);
            return Ok(session);
        }
        let buffer = session.receive_buffer(buffers);
        let buffer = more(socket, alarm, buffer).await?;
        session.received(buffer);
    }
}

/// Reads once, behind what is there.
async fn more(socket: &mut Socket, alarm: &Alarm, mut buffer: Vec<u8>) -> Result<Vec<u8>, Refused> {
    if buffer.len() == buffer.capacity() {
        buffer.reserve_exact(4 * 1024);
    }
    socket.start_read(buffer);
    let done: Option<ReadDone> = poll_fn(|context| {
        if let Poll::Ready(done) = socket.poll_read(context) {
            return Poll::Ready(Some(done));
        }
        alarm.poll(context).map(|()| None)
    })
    .await;
    match done {
        Some((Ok(count), buffer)) if count > 0 => Ok(buffer),
        _ => Err(Refused::Failed),
    }
}

async fn send(socket: &mut Socket, alarm: &Alarm, out: Vec<u8>) -> Result<(), Refused> {
    socket.start_write(out);
    let done: Option<io::Result<()>> = poll_fn(|context| {
        if let Poll::Ready((result, _)) = socket.poll_write(context) {
            return Poll::Ready(Some(result));
        }
        alarm.poll(context).map(|()| None)
    })
    .await;
    match done {
        Some(Ok(())) => Ok(()),
        _ => Err(Refused::Failed),
    }
}
