//! Sockets that clients connect to. They are bound on the side thread, one per worker and address,
//! and handed to the workers: what fails to bind is known before anything is activated.

mod accept;
mod owner;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use sallyport_config::ir;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::io::socket::unix_address;
use crate::quic;
use crate::tls::serves_quic;

pub(crate) use accept::{Arrival, accept_loop};
pub(crate) use owner::of as owner_of;

/// How listeners are bound.
#[derive(Debug, Clone)]
pub(crate) struct BindOptions {
    /// Addresses for [`ir::Bind::Default`]: `0.0.0.0` and `::`, or what the user said. An address
    /// family that the host does not have is skipped as long as one address remains.
    pub(crate) default: Vec<IpAddr>,
    /// Number of workers: each gets a socket of its own per address.
    pub(crate) workers: usize,
}

/// A bound listener: where it listens, and the sockets to hand to the workers.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The listener's name in the snapshot.
    pub(crate) name: Arc<str>,
    /// Actual addresses, with the port that the system chose where 0 was asked for.
    pub(crate) addresses: Vec<BoundAddress>,
    /// Why HTTP/3 is not served although a server asks for it; TCP is.
    pub(crate) without_quic: Option<BindError>,
    /// For each worker its sockets, one per address.
    pub(crate) workers: Vec<WorkerSockets>,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BoundAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket; `@name` is abstract.
    Unix(String),
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// The sockets of one listener for one worker.
#[derive(Debug)]
pub(crate) struct WorkerSockets {
    /// The listener's name in the snapshot.
    pub(crate) name: Arc<str>,
    /// Listening sockets.
    pub(crate) sockets: Vec<(BoundAddress, OwnedFd)>,
    /// Ways in for QUIC, on the same addresses.
    pub(crate) doors: Vec<quic::Door>,
}

/// Why a listener could not be bound, in words for the operator.
#[derive(Debug)]
pub(crate) struct BindError {
    /// The listener's name.
    pub(crate) name: String,
    /// The address that failed.
    pub(crate) address: String,
    /// What the system said.
    pub(crate) error: io::Error,
    /// Who holds the address, e.g. `nginx (pid 812)`, when that can be found out.
    pub(crate) owner: Option<String>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            address,
            error,
            owner,
        } = self;
        write!(f, "listener {name}: cannot bind {address}: {error}")?;
        match owner {
            Some(owner) => write!(f, "; it is held by {owner}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BindError {}

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 4096;
/// A silent connection is probed after this, then in this interval, so that a peer that vanished
/// is noticed in minutes.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// Binds one listener for all workers.
///
/// The first socket fixes the port where 0 was asked for; the others bind what it got. Each worker
/// has its own socket (`SO_REUSEPORT`), among which the kernel spreads connections.
///
/// # Errors
/// An address is taken, not ours, or needs privileges.
pub(crate) fn bind(listener: &ir::Listener, options: &BindOptions) -> Result<Bound, BindError> {
    let mut bound = Bound {
        name: listener.name.as_str().into(),
        addresses: Vec::new(),
        without_quic: None,
        workers: (0..options.workers)
            .map(|_| WorkerSockets {
                name: listener.name.as_str().into(),
                sockets: Vec::new(),
                doors: Vec::new(),
            })
            .collect(),
    };
    let (addresses, optional): (Vec<IpAddr>, bool) = match &listener.bind {
        ir::Bind::Unix(path) => {
            let fail = |error| bind_error(listener, path.clone(), error, None);
            bound.add_unix(path).map_err(fail)?;
            return Ok(bound);
        }
        ir::Bind::Ip(address) => (vec![*address], false),
        ir::Bind::Default => (options.default.clone(), options.default.len() > 1),
    };
    let mut port = listener.port;
    let mut skipped = None;
    for address in addresses {
        let wanted = SocketAddr::new(address, port);
        match bound.add_tcp(wanted) {
            Ok(actual) => port = actual.port(),
            Err(error) if optional && is_absent(&error) => skipped = Some((wanted, error)),
            Err(error) => {
                let owner = owner::of(wanted);
                return Err(bind_error(listener, wanted.to_string(), error, owner));
            }
        }
    }
    match skipped {
        Some((wanted, error)) if bound.addresses.is_empty() => {
            Err(bind_error(listener, wanted.to_string(), error, None))
        }
        _ => {
            bound.add_quic(listener);
            Ok(bound)
        }
    }
}

fn bind_error(
    listener: &ir::Listener,
    address: String,
    error: io::Error,
    owner: Option<String>,
) -> BindError {
    BindError {
        name: listener.name.clone(),
        address,
        error,
        owner,
    }
}

/// Whether the host does not have this address family, or not this address.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

impl Bound {
    fn add_tcp(&mut self, wanted: SocketAddr) -> io::Result<SocketAddr> {
        refuse_sharing(wanted)?;
        let mut actual = wanted;
        let mut sockets = Vec::new();
        for _ in &self.workers {
            let socket = tcp_socket(actual)?;
            actual = socket.local_addr()?.as_socket().unwrap_or(actual);
            sockets.push(socket);
        }
        for socket in &sockets {
            socket.listen(BACKLOG)?;
        }
        self.add(&BoundAddress::Tcp(actual), sockets);
        Ok(actual)
    }

    /// Binds UDP beside TCP where QUIC can be served. A failure is not the listener's.
    fn add_quic(&mut self, listener: &ir::Listener) {
        let ir::ListenerKind::Tls(chains) = &listener.kind else {
            return;
        };
        if !chains.iter().any(serves_quic) {
            return;
        }
        for address in &self.addresses {
            let BoundAddress::Tcp(address) = address else {
                continue;
            };
            match quic::bind(*address, self.workers.len()) {
                Ok(doors) => {
                    for (worker, door) in self.workers.iter_mut().zip(doors) {
                        worker.doors.push(door);
                    }
                }
                Err(error) => {
                    let address = format!("UDP {address}");
                    self.without_quic = Some(bind_error(listener, address, error, None));
                }
            }
        }
    }

    /// A unix socket has no twins: the workers share one.
    fn add_unix(&mut self, path: &str) -> io::Result<()> {
        let address = unix_address(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if let Err(error) = socket.bind(&address) {
            // A file that nobody listens on is left over from a process that ended.
            let stale = error.raw_os_error() == Some(libc::EADDRINUSE)
                && !path.starts_with('@')
                && std::os::unix::net::UnixStream::connect(path).is_err();
            if !stale {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        socket.listen(BACKLOG)?;
        let mut sockets = Vec::new();
        for _ in &self.workers {
            sockets.push(socket.try_clone()?);
        }
        self.add(&BoundAddress::Unix(path.to_owned()), sockets);
        Ok(())
    }

    fn add(&mut self, address: &BoundAddress, sockets: Vec<Socket>) {
        for (worker, socket) in self.workers.iter_mut().zip(sockets) {
            worker.sockets.push((address.clone(), socket.into()));
        }
        self.addresses.push(address.clone());
    }
}

/// `SO_REUSEPORT` would let a second gateway of the same user take half of the connections without
/// a word. A socket that does not share finds out; our own listeners on the port do not count.
fn refuse_sharing(wanted: SocketAddr) -> io::Result<()> {
    if wanted.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, None)?;
    if wanted.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    let Err(error) = socket.bind(&wanted.into()) else {
        return Ok(());
    };
    let ours = format!("(pid {})", std::process::id());
    match owner::of(wanted) {
        Some(owner) if !owner.ends_with(&ours) => Err(error),
        _ => Ok(()),
    }
}

/// What is set on the listening socket is inherited by the connections that it accepts.
fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    let (idle, interval) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
