//! One endpoint: receives packets, gives each to its connection, and lets new connections in.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::{ConnectionHandle, DatagramEvent, Incoming, Transmit};

use super::Host;
use super::bind::Door;
use super::cid::destination;
use super::config::{endpoint_config, keys};
use super::connection::Connection;
use super::relay::{Datagram, Receiver, Relays};
use super::socket::{Inbox, Socket, ecn};
use crate::rt;
use crate::worker::{Stop, Worker};

/// Calls to receive before other tasks get their turn.
const ROUNDS_MAX: usize = 4;
/// Datagrams of other workers before other tasks get their turn.
const RELAYED_MAX: usize = 64;
/// Above so many unfinished handshakes a client must first show that it can be reached at its
/// address (Retry, RFC 9000 §8.1.2), which keeps no state here.
pub(crate) const RETRY_ABOVE: usize = 256;
/// Above so many, also those that have shown it are refused.
const HANDSHAKES_MAX: usize = 4_096;

/// An endpoint, shared by its connections.
pub(crate) struct Endpoint {
    pub(super) worker: Rc<Worker>,
    pub(super) socket: Socket,
    pub(super) proto: RefCell<quinn_proto::Endpoint>,
    connections: RefCell<HashMap<ConnectionHandle, Rc<Connection>>>,
    /// Connections that shake hands.
    pub(super) handshakes: Cell<usize>,
    /// Connections that wait for the socket.
    blocked: RefCell<Vec<Waker>>,
    waker: RefCell<Option<Waker>>,
    relays: Relays,
    listener: Arc<str>,
    /// Number of the generation whose handshake configuration is in use.
    generation: Cell<u64>,
    /// That generation serves HTTP/3 here.
    served: Cell<bool>,
    closing: Cell<bool>,
    out: RefCell<Vec<u8>>,
}

/// Serves a door until `stop`, and then the connections that are there until they have ended.
///
/// # Errors
/// The socket failed.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Arc<str>,
    door: Door,
    stop: Rc<Stop>,
    host: impl Host,
) -> io::Result<()> {
    let socket = Socket::adopt(door.socket)?;
    let keys = keys().ok_or_else(|| io::Error::other("no randomness"))?;
    let salt = worker.rng.borrow_mut().next_u64();
    let config = endpoint_config(keys, worker.index, salt);
    let probes_mtu = !socket.may_fragment();
    let proto = quinn_proto::Endpoint::new(Arc::new(config), None, probes_mtu, None);
    let endpoint = Rc::new(Endpoint {
        worker,
        socket,
        proto: RefCell::new(proto),
        connections: RefCell::default(),
        handshakes: Cell::new(0),
        blocked: RefCell::default(),
        waker: RefCell::new(None),
        relays: door.relays,
        listener,
        generation: Cell::new(0),
        served: Cell::new(false),
        closing: Cell::new(false),
        out: RefCell::default(),
    });
    endpoint.run(&door.inlet, &stop, &host).await
}

/// What an endpoint waits for.
enum Happening {
    Readable,
    Relayed,
    Writable,
    Over,
}

impl Endpoint {
    async fn run(
        self: &Rc<Self>,
        inlet: &Receiver,
        stop: &Stop,
        host: &impl Host,
    ) -> io::Result<()> {
        let relayed_watch = inlet.watch()?;
        let mut inbox = self.socket.inbox();
        let mut readable = pin!(self.socket.watch.readable());
        let mut relayed = pin!(relayed_watch.readable());
        let mut writable = pin!(self.socket.watch.writable());
        loop {
            let happening = poll_fn(|context| {
                if self.is_over(context, stop) {
                    return Poll::Ready(Ok(Happening::Over));
                }
                if let Poll::Ready(result) = readable.as_mut().poll(context) {
                    return Poll::Ready(result.map(|()| Happening::Readable));
                }
                if let Poll::Ready(result) = relayed.as_mut().poll(context) {
                    return Poll::Ready(result.map(|()| Happening::Relayed));
                }
                if self.blocked.borrow().is_empty() {
                    return Poll::Pending;
                }
                let writable = writable.as_mut().poll(context);
                writable.map_ok(|()| Happening::Writable)
            })
            .await?;
            match happening {
                Happening::Readable => {
                    readable.set(self.socket.watch.readable());
                    self.receive(&mut inbox, host);
                }
                Happening::Relayed => {
                    relayed.set(relayed_watch.readable());
                    self.renew();
                    let mut left = RELAYED_MAX;
                    while left > 0 && inlet.next(|datagram| self.take(&datagram, host)) {
                        left -= 1;
                    }
                }
                Happening::Writable => {
                    writable.set(self.socket.watch.writable());
                    self.blocked.take().into_iter().for_each(Waker::wake);
                }
                Happening::Over => return Ok(()),
            }
        }
    }

    /// Whether no connection is left after the stop.
    fn is_over(&self, context: &mut Context<'_>, stop: &Stop) -> bool {
        *self.waker.borrow_mut() = Some(context.waker().clone());
        if !self.closing.get() && stop.poll(context) {
            self.closing.set(true);
        }
        self.closing.get() && self.connections.borrow().is_empty()
    }

    /// Uses the handshake configuration of the active generation for who comes next.
    fn renew(&self) {
        let active = self.worker.active();
        let generation = &active.generation;
        if self.generation.replace(generation.id) != generation.id {
            let listener = generation.tables.listener_named(&self.listener);
            let config = listener.and_then(|listener| generation.quic.of(listener));
            self.served.set(config.is_some());
            // Without one, who comes could not even be told that it is refused.
            if let Some(config) = config {
                let config = Some(Arc::clone(config));
                self.proto.borrow_mut().set_server_config(config);
            }
        }
    }

    fn receive(self: &Rc<Self>, inbox: &mut Inbox, host: &impl Host) {
        self.renew();
        for _ in 0..ROUNDS_MAX {
            let Ok(trains) = self.socket.receive(inbox) else {
                return;
            };
            for train in trains {
                let stride = train.meta.stride.max(1);
                for bytes in train.bytes.chunks(stride) {
                    let datagram = Datagram {
                        peer: train.meta.addr,
                        local: train.meta.dst_ip,
                        ecn: ecn(&train.meta),
                        bytes,
                    };
                    if let Some(way) = self.way(bytes) {
                        way.pass(&datagram);
                    } else {
                        self.take(&datagram, host);
                    }
                }
            }
        }
    }

    /// The way to the worker that a packet is for, if that is another one.
    fn way(&self, packet: &[u8]) -> Option<&super::relay::Sender> {
        let owner = keys()?.cids.owner(destination(packet)?)?;
        let owner = usize::from(owner);
        self.relays
            .get(owner)
            .filter(|_| owner != self.worker.index)
    }

    /// Takes a packet that is for this worker.
    fn take(self: &Rc<Self>, datagram: &Datagram<'_>, host: &impl Host) {
        let mut out = std::mem::take(&mut *self.out.borrow_mut());
        out.clear();
        let event = self.proto.borrow_mut().handle(
            Instant::now(),
            datagram.peer,
            datagram.local,
            datagram.ecn,
            BytesMut::from(datagram.bytes),
            &mut out,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let connection = self.connections.borrow().get(&handle).cloned();
                if let Some(connection) = connection {
                    connection.handle(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.arrive(incoming, host, &mut out);
            }
            Some(DatagramEvent::Response(transmit)) => self.answer(&transmit, &out),
            None => {}
        }
        *self.out.borrow_mut() = out;
    }

    /// A client's first packet.
    fn arrive(self: &Rc<Self>, incoming: Incoming, host: &impl Host, out: &mut Vec<u8>) {
        let mut proto = self.proto.borrow_mut();
        let handshakes = self.handshakes.get();
        let shut = self.closing.get() || !self.served.get();
        if shut || handshakes >= HANDSHAKES_MAX || !host.has_room() {
            let transmit = proto.refuse(incoming, out);
            return self.answer(&transmit, out);
        }
        if handshakes >= RETRY_ABOVE && !incoming.remote_address_validated() {
            if let Ok(transmit) = proto.retry(incoming, out) {
                self.answer(&transmit, out);
            }
            return;
        }
        let located = incoming.remote_address_validated();
        match proto.accept(incoming, Instant::now(), out, None) {
            Ok((handle, connection)) => {
                drop(proto);
                let connection = Connection::new(Rc::clone(self), handle, connection, located);
                let mut connections = self.connections.borrow_mut();
                connections.insert(handle, Rc::clone(&connection));
                drop(connections);
                rt::spawn(Rc::clone(&connection).drive());
                host.welcome(connection);
            }
            Err(error) => {
                self.worker.stats.borrow_mut().handshake(false);
                if let Some(transmit) = error.response {
                    self.answer(&transmit, out);
                }
            }
        }
    }

    /// Sends what belongs to no connection; it is lost when the link is busy.
    fn answer(&self, transmit: &Transmit, out: &[u8]) {
        drop(self.socket.send(transmit, out));
    }

    /// A connection waits until the socket takes more.
    pub(super) fn block(&self, context: &Context<'_>) {
        self.blocked.borrow_mut().push(context.waker().clone());
        self.wake();
    }

    /// Forgets a connection.
    pub(super) fn forget(&self, handle: ConnectionHandle) {
        self.connections.borrow_mut().remove(&handle);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Our end of a connection that uses this address of ours.
    pub(super) fn local(&self, ip: Option<std::net::IpAddr>) -> SocketAddr {
        let address = self.socket.address;
        SocketAddr::new(ip.unwrap_or_else(|| address.ip()), address.port())
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.socket.address)
            .field("connections", &self.connections.borrow().len())
            .finish_non_exhaustive()
    }
}
