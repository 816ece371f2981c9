//! Connections for gRPC: accepted, encrypted where they must be, with what is known of the peer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::caller::Connection;
use crate::ca;
use crate::identity::Identity;

/// A handshake must be done within this.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes at a time; further connections wait in the backlog.
const HANDSHAKES_MAX: usize = 256;
/// Connections that are ready and not taken yet.
const READY_MAX: usize = 64;
/// Connections that wait to be accepted: a mesh that comes back at once must not be reset. The system
/// takes less if `net.core.somaxconn` says so.
const BACKLOG: u32 = 4_096;
/// Pause after a failed accept: out of descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection.
pub(crate) enum Io {
    /// Not encrypted.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Io {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        match self {
            Self::Plain(stream) => Connection {
                peer: stream.peer_addr().ok(),
                certificate: None,
                is_tls: false,
            },
            Self::Tls(stream) => {
                let (tcp, tls) = stream.get_ref();
                let chain = tls.peer_certificates();
                Connection {
                    peer: tcp.peer_addr().ok(),
                    certificate: chain.and_then(holder),
                    is_tls: true,
                }
            }
        }
    }
}

/// Who a chain that was verified belongs to.
fn holder(chain: &[CertificateDer<'static>]) -> Option<Identity> {
    ca::identity_of(chain.first()?)
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Connections as tonic takes them.
pub(super) struct Incoming(mpsc::Receiver<io::Result<Io>>);

impl Stream for Incoming {
    type Item = io::Result<Io>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// Configuration of the server's side of TLS; a new one takes effect with the next connection.
pub(super) type Tls = watch::Receiver<Arc<rustls::ServerConfig>>;

/// Accepts connections until the result is dropped.
pub(super) fn accept(listener: TcpListener, tls: Option<Tls>) -> Incoming {
    let (ready, incoming) = mpsc::channel(READY_MAX);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while !ready.is_closed() {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
            };
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // small messages that are waited for
            let _ = stream.set_nodelay(true);
            match &tls {
                None => {
                    let _ = ready.send(Ok(Io::Plain(stream))).await;
                }
                Some(tls) => {
                    let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
                    let Ok(turn) = Arc::clone(&handshakes).acquire_owned().await else {
                        return;
                    };
                    let ready = ready.clone();
                    tokio::spawn(async move {
                        let shaken = timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await;
                        drop(turn);
                        if let Ok(Ok(stream)) = shaken {
                            let _ = ready.send(Ok(Io::Tls(Box::new(stream)))).await;
                        }
                    });
                }
            }
        }
    });
    Incoming(incoming)
}

/// Binds an address.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
