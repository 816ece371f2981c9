//! How connections to endpoints are made, and what a failed connect means for retries, replies and
//! logs.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use sallyport_config::ir::{ProxyVersion, Wire};
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::proxy_protocol::{self, Ends};
use sallyport_core::quota::What;

use super::terms::Manner;
use crate::buffer::Buffers;
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::tls::client::{self, Broken, Dialer, TlsFailure};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The network or the system did not let us.
    Io(io::Error),
    /// The peer left in the middle of the handshake.
    Left,
    /// TLS failed.
    Tls(TlsFailure),
    /// The TLS settings cannot be served, so nothing was sent.
    Refused,
    /// A breaker of the cluster is open.
    Overflow(What),
    /// It took too long.
    TimedOut,
}

/// What a connection is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand<'a> {
    /// What will be spoken on it.
    pub(crate) wire: Wire,
    /// Authority of the request as the upstream sees it; of bytes that are no HTTP, the host of the
    /// service.
    pub(crate) authority: &'a str,
    /// Ends of the client's connection, for upstreams that are told; `None` if there is no client.
    pub(crate) ends: Option<&'a Ends>,
}

impl<'a> Errand<'a> {
    /// The authority without port.
    pub(crate) fn host(self) -> &'a str {
        host(self.authority)
    }
}

/// Connects to an address, or to a unix socket instead, says whose connection it is if that is
/// wanted, then TLS if there is a dialer. Whoever waits for it bounds the time, and cancels by
/// dropping it.
///
/// # Errors
/// Why there is no connection. Nothing of a request has been sent, in cleartext least of all.
pub(crate) async fn dial(
    (address, path): (SocketAddr, Option<&str>),
    manner: Manner,
    dialer: Option<&Dialer>,
    errand: Errand<'_>,
    buffers: &Rc<Buffers>,
) -> Result<Stream, ConnectError> {
    let socket = match path {
        Some(path) => Socket::connect_unix(path, Rc::clone(buffers)),
        None => Socket::connect(address, manner.keepalive, Rc::clone(buffers)).await,
    };
    let mut socket = socket.map_err(ConnectError::Io)?;
    if let Some(version) = manner.announce {
        announce(&mut socket, version, errand.ends, buffers)
            .await
            .map_err(ConnectError::Io)?;
    }
    let Some(dialer) = dialer else {
        return Ok(Stream::plain(socket, Rc::clone(buffers)));
    };
    let mut early = Vec::new();
    let shaken = client::connect(dialer, errand, &mut socket, buffers, &mut early).await;
    let session = shaken.map_err(|broken| match broken {
        Broken::Left => ConnectError::Left,
        Broken::Tls(failure) => ConnectError::Tls(failure),
    })?;
    let buffers = Rc::clone(buffers);
    let principals = dialer.principals(&session);
    let stream = Stream::tls_begun(socket, Box::new(session), early, buffers);
    Ok(stream.between(principals))
}

/// Sends the header that names the client. One without an address (a unix socket's) is not named.
async fn announce(
    socket: &mut Socket,
    version: ProxyVersion,
    ends: Option<&Ends>,
    buffers: &Buffers,
) -> io::Result<()> {
    let plain = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let ends = ends.filter(|ends| !ends.source.ip().is_unspecified());
    let ends = ends.map(|ends| Ends {
        source: plain(ends.source),
        destination: plain(ends.destination),
    });
    let mut header = buffers.take();
    proxy_protocol::write(version, ends.as_ref(), &mut header);
    socket.start_write(header);
    let (result, buffer) = poll_fn(|context| socket.poll_write(context)).await;
    buffers.give(buffer);
    result
}

/// The failure that an error of connecting is.
pub(crate) fn connect_failure(error: &ConnectError) -> Failure {
    match error {
        ConnectError::Io(error) => io_failure(error),
        ConnectError::Left => FailureKind::ConnectTls.into(),
        ConnectError::Tls(failure) => Failure {
            transport: failure.0,
            ..Failure::from(FailureKind::ConnectTls)
        },
        ConnectError::Overflow(_) => FailureKind::Overflow.into(),
        ConnectError::TimedOut => FailureKind::ConnectTimeout.into(),
        ConnectError::Refused => Failure {
            transport: TlsFailure::NO_SECRET.0,
            ..Failure::from(FailureKind::UnservedUpstream)
        },
    }
}

/// The failure that an error of reading is. Before anything came on a connection that was not used
/// before, an alert is the peer's word on our handshake: in TLS 1.3 it looks at our certificate
/// after our side is done. No request has been processed then.
pub(crate) fn read_failure(error: &io::Error, is_new: bool) -> Failure {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    match tls {
        Some(error @ rustls::Error::AlertReceived(_)) if is_new => Failure {
            transport: TlsFailure::of(error).0,
            ..Failure::from(FailureKind::ConnectTls)
        },
        _ => FailureKind::UpstreamClosed.into(),
    }
}

fn io_failure(error: &io::Error) -> Failure {
    let (kind, transport) = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL) => {
            (FailureKind::ConnectLocal, "immediate_connect_error")
        }
        Some(libc::ECONNREFUSED) => (
            FailureKind::ConnectRefused,
            "delayed_connect_error:_Connection_refused",
        ),
        Some(libc::EHOSTUNREACH) => (
            FailureKind::ConnectRefused,
            "delayed_connect_error:_No_route_to_host",
        ),
        Some(libc::ENETUNREACH) => (
            FailureKind::ConnectRefused,
            "immediate_connect_error:_Network_is_unreachable",
        ),
        Some(libc::ECONNRESET) => (
            FailureKind::ConnectRefused,
            "delayed_connect_error:_Connection_reset_by_peer",
        ),
        Some(libc::ETIMEDOUT) => (
            FailureKind::ConnectTimeout,
            "delayed_connect_error:_Connection_timed_out",
        ),
        _ => (FailureKind::ConnectRefused, "delayed_connect_error"),
    };
    Failure {
        transport,
        ..Failure::from(kind)
    }
}

/// The host of an authority, without port.
fn host(authority: &str) -> &str {
    let bare = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    // What is left of an IPv6 address in brackets ends with one.
    if bare.starts_with('[') && !bare.ends_with(']') {
        authority
    } else {
        bare
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn a_host_is_an_authority_without_its_port() {
        for (authority, want) in [
            ("a.example", "a.example"),
            ("a.example:8443", "a.example"),
            ("[::1]:8443", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
        ] {
            assert_eq!(host(authority), want);
        }
    }
}
