//! Accepting: wait until a listening socket is readable, then accept all that is there.
//!
//! No accept is ever a pending operation of the runtime, so none can be lost by being dropped.
//!
//! When no descriptor is left, one that is kept for this is given up for a moment, so that who waits
//! in the backlog is turned away instead of left waiting.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::listen::BoundAddress;
use crate::rt;

/// Connections accepted before other tasks get their turn.
const BATCH_MAX: usize = 64;
/// Pause when no descriptor or no memory is left, not even to turn somebody away: connections stay
/// in the backlog meanwhile.
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

/// A descriptor that is there to be given up.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Accepts one connection, for it to be closed at once.
    ///
    /// # Errors
    /// Nobody waits, or there is no descriptor even for this.
    fn turn_away(&mut self, listening: &Listening) -> io::Result<()> {
        // It is free from here on, or was not there.
        drop(self.0.take());
        let accepted = listening.accept().map(drop);
        *self = Self::new();
        accepted
    }
}

/// Accepts on one socket and calls `arrived` with each connection, with nothing for one that had to
/// be turned away, until `watch` of the socket ends: the future is dropped to stop.
pub(crate) async fn accept_loop(
    address: BoundAddress,
    socket: OwnedFd,
    mut arrived: impl FnMut(Option<Arrival>),
) -> io::Result<()> {
    let watch = rt::Readiness::new(socket.try_clone()?)?;
    let listening = match address {
        BoundAddress::Tcp(_) => Listening::Tcp(TcpListener::from(socket)),
        BoundAddress::Unix(_) => Listening::Unix(UnixListener::from(socket)),
    };
    let mut reserve = Reserve::new();
    loop {
        watch.readable().await?;
        for _ in 0..BATCH_MAX {
            match listening.accept() {
                Ok(arrival) => arrived(Some(arrival)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_exhausted(&error) => {
                    // A full table of descriptors is noticed before an empty backlog.
                    match reserve.turn_away(&listening) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) if is_exhausted(&error) => {
                            rt::sleep(EXHAUSTED_PAUSE).await;
                            break;
                        }
                        _ => arrived(None),
                    }
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
