//! The handshake with an upstream. Whoever waits for it bounds its time, and ends it by dropping it.

use std::future::poll_fn;
use std::io;

use rustls::client::UnbufferedClientConnection;
use rustls_pki_types::ServerName;
use sallyport_config::ir;

use super::{Dialer, TlsFailure};
use crate::buffer::Buffers;
use crate::io::socket::Socket;
use crate::tls::session::Session;
use crate::upstream::Errand;

/// Room that a read gets behind what is there already.
const GROWTH: usize = 4 * 1024;

/// How a handshake ended before its end.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection did.
    Left,
    /// TLS did; the peer has been told.
    Tls(TlsFailure),
}

/// Shakes hands over a connected socket on which nothing was sent. Payload that came with the
/// handshake is appended to `early`.
///
/// # Errors
/// The peer is not who it should be, speaks no TLS, or left.
pub(crate) async fn connect(
    dialer: &Dialer,
    errand: Errand<'_>,
    socket: &mut Socket,
    buffers: &Buffers,
    early: &mut Vec<u8>,
) -> Result<Session, Broken> {
    let name = match &dialer.settings.sni {
        ir::ServerName::Fixed(name) => name,
        ir::ServerName::Authority => errand.host(),
    };
    let name = server_name(name).ok_or(Broken::Tls(TlsFailure::NO_NAME))?;
    let alpn = dialer.settings.alpn(errand.wire).iter();
    let alpn = alpn.map(|name| name.as_bytes().to_vec()).collect();
    let connection = UnbufferedClientConnection::new_with_alpn(
        std::sync::Arc::clone(&dialer.config),
        name,
        alpn,
    )
    .map_err(|error| Broken::Tls(TlsFailure::of(&error)))?;
    let mut session = Session::client(connection);
    loop {
        let result = session.process(early);
        let queued = session.take_queued();
        if !queued.is_empty() {
            let sent = send(socket, queued).await;
            // After an error the alert is a courtesy: the error is what counts.
            if result.is_ok() {
                sent.map_err(|_| Broken::Left)?;
            }
        }
        result.map_err(|error| Broken::Tls(TlsFailure::of(&error)))?;
        if session.is_finished() {
            return Err(Broken::Left);
        }
        if !session.is_handshaking() {
            session.release(buffers);
            return Ok(session);
        }
        let buffer = session.receive_buffer(buffers);
        let buffer = more(socket, buffer).await.map_err(|_| Broken::Left)?;
        session.received(buffer);
    }
}

/// A name as TLS wants it: brackets of IPv6 addresses are the authority's.
fn server_name(name: &str) -> Option<ServerName<'static>> {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let name = bare.unwrap_or(name).trim_end_matches('.');
    ServerName::try_from(name.to_ascii_lowercase()).ok()
}

/// Reads once, behind what is there.
async fn more(socket: &mut Socket, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    if buffer.len() == buffer.capacity() {
        buffer.reserve_exact(GROWTH);
    }
    socket.start_read(buffer);
    match poll_fn(|context| socket.poll_read(context)).await {
        (Ok(0), _) => Err(io::ErrorKind::UnexpectedEof.into()),
        (Ok(_), buffer) => Ok(buffer),
        (Err(error), _) => Err(error),
    }
}

async fn send(socket: &mut Socket, out: Vec<u8>) -> io::Result<()> {
    socket.start_write(out);
    poll_fn(|context| socket.poll_write(context)).await.0
}

#[cfg(test)]
mod tests {
    use super::server_name;

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = format!("{}.example", "a.".repeat(150));
        for name in ["", "a b", "a\0.example", "-", &long, &"a".repeat(64)] {
            assert!(server_name(name).is_none(), "{name:?}");
        }
        for name in ["a.example", "A.Example.", "[::1]", "127.0.0.1"] {
            assert!(server_name(name).is_some(), "{name:?}");
        }
    }
}
