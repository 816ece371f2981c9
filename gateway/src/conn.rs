//! One client connection: from the accepted socket through the handshake to the protocol that is
//! spoken on it. Nothing is decided here.

mod h1;
mod link;
mod secure;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use sallyport_config::ir::{ListenerKind, Service};

use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::listen::{Arrival, BoundAddress};
use crate::rt;
use crate::stats::ListenerSlot;
use crate::worker::{Guest, Worker};

pub(crate) use link::Link;

/// What stands for our address on a unix socket.
const NO_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Takes a connection in, or closes it at once when there are too many.
pub(crate) fn welcome(
    worker: &Rc<Worker>,
    listener: &Arc<str>,
    slot: ListenerSlot,
    door: &BoundAddress,
    arrival: Arrival,
) {
    if is_full(worker, listener) {
        worker.stats.borrow_mut().connection_refused(slot);
        return;
    }
    let guest = Guest::arrive(worker, listener, slot);
    let local = local_address(door, &arrival);
    let link = Link::new(Arc::clone(listener), arrival.peer, local, guest.serial);
    let Ok(socket) = Socket::adopt(arrival.stream, Rc::clone(&worker.buffers)) else {
        return;
    };
    rt::spawn(serve(Rc::clone(worker), guest, socket, link));
}

/// Whether a limit on connections is reached. A limit of the whole proxy is this worker's share.
fn is_full(worker: &Worker, listener: &str) -> bool {
    let active = worker.active();
    let limits = &active.generation.snapshot.settings.connection;
    let share = |limit: Option<u32>| {
        let limit = usize::try_from(limit?).ok()?;
        Some(limit.div_ceil(worker.workers))
    };
    let global = share(limits.global_connection_limit);
    let local = share(limits.listener_connection_limit);
    global.is_some_and(|limit| worker.guests.count() >= limit)
        || local.is_some_and(|limit| worker.guests.count_of(listener) >= limit)
}

/// On a wildcard socket only the connection knows its own address.
fn local_address(door: &BoundAddress, arrival: &Arrival) -> SocketAddr {
    match door {
        BoundAddress::Tcp(address) if !address.ip().is_unspecified() => *address,
        BoundAddress::Tcp(address) => arrival.stream.local_addr().unwrap_or(*address),
        BoundAddress::Unix(_) => NO_ADDRESS,
    }
}

async fn serve(worker: Rc<Worker>, guest: Guest, socket: Socket, link: Link) {
    let is_tls = {
        let active = worker.active();
        let tables = &active.generation.tables;
        let listener = tables.listener_named(&link.listener);
        let listener = listener.and_then(|index| tables.listener(index));
        listener.map(|listener| matches!(listener.kind, ListenerKind::Tls(_)))
    };
    match is_tls {
        Some(true) => secure::serve(worker, guest, socket, link).await,
        Some(false) => {
            let stream = Stream::plain(socket, Rc::clone(&worker.buffers));
            speak(worker, guest, stream, link, Vec::new()).await;
        }
        // The listener is on its way out.
        None => {}
    }
}

/// Speaks what is spoken there. `early` came with the handshake.
async fn speak(worker: Rc<Worker>, guest: Guest, stream: Stream, link: Link, early: Vec<u8>) {
    let is_http = {
        let active = worker.active();
        let place = link.place(&active.generation);
        let service = place.and_then(|place| active.generation.tables.service(place));
        matches!(service, Some(Service::Http(_)))
    };
    if is_http {
        h1::serve(worker, guest, stream, link, early).await;
    }
}
