//! One client connection: from the accepted socket through the handshake to the protocol that is
//! spoken on it. Nothing is decided here.

pub(crate) use exchange::Held;

mod exchange;
mod h1;
mod h2;
mod h3;
mod link;
mod proxied;
mod secure;
mod tcp;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use sallyport_config::ir::{ListenerKind, Service};

use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::listen::{Arrival, BoundAddress};
use crate::load::{Entrance, Ticket};
use crate::rt;
use crate::stats::ListenerSlot;
use crate::worker::{Guest, Handed, Worker};

pub(crate) use h3::listen as listen_quic;
pub(crate) use link::Link;

/// What stands for our address on a unix socket.
const NO_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Takes a connection in, here or on a worker that has less to do, or closes it at once when there
/// are too many; nothing is one that was closed already.
pub(crate) fn welcome(
    worker: &Rc<Worker>,
    listener: &Arc<str>,
    slot: ListenerSlot,
    entrance: &Entrance,
    door: &BoundAddress,
    arrival: Option<Arrival>,
) {
    let at = worker.choose();
    let active = worker.active();
    let limits = &active.generation.snapshot.settings.connection;
    let taken = arrival.and_then(|arrival| Some((arrival, entrance.take(at, limits)?)));
    let Some((arrival, ticket)) = taken else {
        worker.stats.borrow_mut().connection_refused(slot);
        return;
    };
    if at == worker.index {
        return seat(worker, listener, slot, door, arrival, ticket);
    }
    worker.hand_over(
        at,
        Handed {
            listener: Arc::clone(listener),
            door: door.clone(),
            arrival,
            ticket,
        },
    );
}

/// Serves a connection on this worker.
pub(crate) fn seat(
    worker: &Rc<Worker>,
    listener: &Arc<str>,
    slot: ListenerSlot,
    door: &BoundAddress,
    arrival: Arrival,
    ticket: Ticket,
) {
    let guest = Guest::arrive(worker, listener, slot, ticket);
    let local = local_address(door, &arrival);
    let link = Link::new(Arc::clone(listener), arrival.peer, local, guest.serial);
    let Ok(socket) = Socket::adopt(arrival.stream, Rc::clone(&worker.buffers)) else {
        return;
    };
    let worker = Rc::clone(worker);
    if worker.active().generation.snapshot.settings.proxy_protocol {
        rt::spawn(proxied::serve(worker, guest, socket, link));
    } else {
        speak(worker, guest, socket, link, Vec::new());
    }
}

/// Serves a connection of which this has been received already.
fn speak(worker: Rc<Worker>, guest: Guest, socket: Socket, link: Link, early: Vec<u8>) {
    let plain = |socket| Stream::plain(socket, Rc::clone(&worker.buffers));
    match kind(&worker, &link) {
        Some(Kind::Http) => {
            let stream = plain(socket);
            rt::spawn(h1::serve(worker, guest, stream, Rc::new(link), early));
        }
        Some(Kind::Tls) => rt::spawn(secure::serve(worker, guest, socket, link, early)),
        Some(Kind::Tcp) => {
            let stream = plain(socket);
            rt::spawn(tcp::serve(worker, guest, stream, link, early));
        }
        // The listener is on its way out.
        None => {}
    }
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// HTTP.
    Http,
    /// TLS first.
    Tls,
    /// Bytes.
    Tcp,
}

/// What is spoken on a connection that has just been accepted.
fn kind(worker: &Worker, link: &Link) -> Option<Kind> {
    let active = worker.active();
    let tables = &active.generation.tables;
    let listener = tables.listener(tables.listener_named(&link.listener)?)?;
    match &listener.kind {
        ListenerKind::Tls(_) => Some(Kind::Tls),
        ListenerKind::Plain(Service::Http(_)) => Some(Kind::Http),
        // Without a route there is only something to log.
        ListenerKind::Plain(Service::Tcp(_) | Service::Close) => Some(Kind::Tcp),
    }
}

/// On a wildcard socket only the connection knows its own address.
fn local_address(door: &BoundAddress, arrival: &Arrival) -> SocketAddr {
    match door {
        BoundAddress::Tcp(address) if !address.ip().is_unspecified() => *address,
        BoundAddress::Tcp(address) => arrival.stream.local_addr().unwrap_or(*address),
        BoundAddress::Unix(_) => NO_ADDRESS,
    }
}
