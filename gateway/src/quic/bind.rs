//! UDP sockets beside a TCP listener: the same address and port, one for each worker.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::relay::{self, Receiver, Relays};

/// What the kernel keeps for a worker that is busy. It grants what its own limit allows.
const RECEIVE_BYTES: usize = 2 * 1024 * 1024;
/// What the kernel keeps for a link that is busy.
const SEND_BYTES: usize = 2 * 1024 * 1024;

/// One worker's way into an address.
#[derive(Debug)]
pub(crate) struct Door {
    /// The socket.
    pub(super) socket: UdpSocket,
    /// Packets of its connections that came to other workers.
    pub(super) inlet: Receiver,
    /// Ways to the other workers.
    pub(super) relays: Relays,
}

/// Binds one address for all workers.
///
/// # Errors
/// Another process has the address, or the host has no UDP there.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<Door>> {
    let (relays, inlets) = relay::ways(workers)?;
    let mut doors = Vec::with_capacity(workers);
    for inlet in inlets {
        doors.push(Door {
            socket: socket(address)?.into(),
            inlet,
            relays: relays.clone(),
        });
    }
    Ok(doors)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(true)?;
    // Smaller queues cost speed, not service.
    drop(socket.set_recv_buffer_size(RECEIVE_BYTES));
    drop(socket.set_send_buffer_size(SEND_BYTES));
    socket.bind(&address.into())?;
    Ok(socket)
}
