//! Sockets that clients connect to. They are bound on the side thread, one per worker and address,
//! and handed to the workers: what fails to bind is known before anything is activated.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use sallyport_config::ir;

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
}

/// Why a listener could not be bound, in words for the operator.
#[derive(Debug)]
pub(crate) struct BindError {
    /// The listener's name.
    pub(crate) name: String,
    /// The address that failed.
    pub(crate) address: String,
    /// What the system said.
    pub(crate) error: std::io::Error,
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

/// Binds one listener for all workers.
///
/// # Errors
/// An address is taken, not ours, or needs privileges.
pub(crate) fn bind(listener: &ir::Listener, options: &BindOptions) -> Result<Bound, BindError> {
    let _ = options;
    Err(BindError {
        name: listener.name.clone(),
        address: String::new(),
        error: std::io::ErrorKind::Unsupported.into(),
        owner: None,
    })
}
