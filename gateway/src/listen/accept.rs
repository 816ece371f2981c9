//! Accepting: wait until a listening socket is readable, then accept all that is there.
//!
//! No accept is ever a pending operation of the runtime, so none can be lost by being dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::listen::BoundAddress;
use crate::rt;

/// Connections accepted before other tasks get their turn.
const BATCH_MAX: usize = 64;
/// Pause when no descriptor or no memory is left: the connection stays in the backlog meanwhile.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// What stands for the address of a peer on a unix socket.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The socket, ready for the driver.
    pub(crate) stream: TcpStream,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    fn accept(&self) -> io::Result<Arrival> {
        let (stream, peer) = match self {
            Self::Tcp(listener) => listener.accept()?,
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                // A stream socket is a stream socket to everything that follows.
                (TcpStream::from(OwnedFd::from(stream)), NO_ADDRESS)
            }
        };
        stream.set_nonblocking(rt::wants_nonblocking())?;
        Ok(Arrival { stream, peer })
    }
}

/// Accepts on one socket and calls `arrived` with each connection, until `watch` of the socket
/// ends: the future is dropped to stop.
pub(crate) async fn accept_loop(
    address: BoundAddress,
    socket: OwnedFd,
    mut arrived: impl FnMut(Arrival),
) -> io::Result<()> {
    let watch = rt::Readiness::new(socket.try_clone()?)?;
    let listening = match address {
        BoundAddress::Tcp(_) => Listening::Tcp(TcpListener::from(socket)),
        BoundAddress::Unix(_) => Listening::Unix(UnixListener::from(socket)),
    };
    loop {
        watch.readable().await?;
        for _ in 0..BATCH_MAX {
            match listening.accept() {
                Ok(arrival) => arrived(arrival),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_exhausted(&error) => {
                    rt::sleep(EXHAUSTED_PAUSE).await;
                    break;
                }
                // The client was gone before it was accepted.
                Err(_) => {}
            }
        }
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    )
}
