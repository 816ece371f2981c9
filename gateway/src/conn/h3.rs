//! HTTP/3 on one client connection: a task for the connection itself, and one for each request.
//!
//! The connection's task accepts streams, reads the client's unidirectional ones, and says GOAWAY
//! when it is time to leave. Requests are exchanges like those of any other wire ([`Caller`]).

mod body;
mod client;
mod early;
mod leaving;
mod request;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use quinn_proto::{Dir, StreamId};
use sallyport_config::ir::Millis;
use sallyport_core::flags::Flags;
use sallyport_core::h3::{Code, Fault, Peer, PeerStream, encode_opening};
use sallyport_core::oddities::{Oddities, Verdict};
use sallyport_core::time::{Now, earliest};

use self::leaving::Leaving;
use super::link::TlsFacts;
use super::{Link, exchange};
use crate::load::Entrance;
use crate::quic::{self, Connection, Door, Host};
use crate::rt::{self, Alarm};
use crate::stats::ListenerSlot;
use crate::worker::{Guest, Stop, Worker};

/// A handshake must be complete within this.
const HANDSHAKE_TIME: Millis = Millis(10_000);
/// Requests that are refused because we leave are told so by this stream id and all above it.
const STREAM_STEP: u64 = 4;

/// Accepts connections at a door until `stop`, and serves them to their ends.
pub(crate) async fn listen(
    worker: Rc<Worker>,
    listener: Arc<str>,
    slot: ListenerSlot,
    door: Door,
    stop: Rc<Stop>,
) {
    let hall = Hall {
        entrance: worker.load.entrance(&listener),
        worker: Rc::clone(&worker),
        listener: Arc::clone(&listener),
        slot,
    };
    // A socket that fails has nothing left to do; TCP goes on.
    drop(quic::serve(worker, listener, door, stop, hall).await);
}

/// Where the connections of one listener come in.
struct Hall {
    worker: Rc<Worker>,
    listener: Arc<str>,
    slot: ListenerSlot,
    entrance: Entrance,
}

impl Host for Hall {
    fn has_room(&self) -> bool {
        let active = self.worker.active();
        let limits = &active.generation.snapshot.settings.connection;
        let full = self.entrance.is_full(limits);
        if full {
            self.worker.stats.borrow_mut().connection_refused(self.slot);
        }
        !full
    }

    fn welcome(&self, connection: Rc<Connection>) {
        let ticket = self.entrance.force(self.worker.index);
        let guest = Guest::arrive(&self.worker, &self.listener, self.slot, ticket);
        let worker = Rc::clone(&self.worker);
        rt::spawn(shake(worker, Arc::clone(&self.listener), guest, connection));
    }
}

/// Waits for the handshake, or for early data, then serves.
async fn shake(worker: Rc<Worker>, listener: Arc<str>, guest: Guest, connection: Rc<Connection>) {
    let begun = worker.timers.now();
    let alarm = worker.timers.alarm();
    alarm.set(Some(begun + HANDSHAKE_TIME));
    if !connection.open_up(&alarm).await {
        connection.close(Code::NoError.number());
        return connection.silence().await;
    }
    let (peer, local) = (connection.peer(), connection.local());
    let mut link = Link::new(listener, peer, local, guest.serial);
    link.tls = Some(Box::new(TlsFacts {
        sni: connection.sni(),
        version: "TLSv1.3",
        // The transport does not say which.
        cipher: "",
        peer: None,
    }));
    let active = worker.active();
    if link.place(&active.generation).is_none() {
        exchange::log_closed(&worker, &link, begun, Flags::NR, "filter_chain_not_found");
        connection.close(Code::NoError.number());
        return connection.silence().await;
    }
    drop(active);
    let conn = Rc::new(Conn {
        opened: begun,
        worker,
        link: Rc::new(link),
        quic: connection,
        guest,
        peer: RefCell::default(),
        requests: Cell::new(0),
        idle_since: Cell::new(begun),
        oddities: RefCell::new(Oddities::new(begun)),
        waker: RefCell::default(),
    });
    // Boxed: the room for it is not needed while shaking hands.
    Box::pin(conn.serve(alarm)).await;
}

/// A connection that speaks HTTP/3, shared by its requests.
pub(crate) struct Conn {
    worker: Rc<Worker>,
    link: Rc<Link>,
    quic: Rc<Connection>,
    guest: Guest,
    opened: Now,
    peer: RefCell<Peer>,
    /// Requests under way.
    requests: Cell<usize>,
    idle_since: Cell<Now>,
    /// What the client gave up or got wrong, set against what was done for it.
    oddities: RefCell<Oddities>,
    /// The connection's task.
    waker: RefCell<Option<Waker>>,
}

/// What the connection's task holds.
#[derive(Default)]
struct Desk {
    /// The client's unidirectional streams.
    streams: HashMap<StreamId, PeerStream>,
    /// Our control stream.
    control: Option<StreamId>,
    leaving: Leaving,
    /// The first stream that has not been opened.
    next: u64,
}

impl Conn {
    /// Serves the connection to its end.
    async fn serve(self: Rc<Self>, alarm: Alarm) {
        let mut desk = Desk {
            control: self.quic.open(&encode_opening()),
            ..Desk::default()
        };
        let code = poll_fn(|context| self.poll_serve(context, &mut desk, &alarm)).await;
        if let Some(code) = code {
            self.quic.close(code.number());
        }
        let seen = self.oddities.borrow().seen();
        self.worker.stats.borrow_mut().oddities(seen);
        self.quic.silence().await;
        // Requests that are still under way see that the client is gone.
        alarm.set(None);
        poll_fn(|context| {
            *self.waker.borrow_mut() = Some(context.waker().clone());
            if self.requests.get() == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Ready at the end, with the code to close with unless the connection is lost.
    fn poll_serve(
        self: &Rc<Self>,
        context: &mut Context<'_>,
        desk: &mut Desk,
        alarm: &Alarm,
    ) -> Poll<Option<Code>> {
        *self.waker.borrow_mut() = Some(context.waker().clone());
        self.accept(context, desk);
        if let Err(fault) = self.read_streams(context, desk) {
            return Poll::Ready(Some(fault.code()));
        }
        if self.quic.is_lost() {
            return Poll::Ready(None);
        }
        if self.is_handshake_late() {
            return Poll::Ready(Some(Code::NoError));
        }
        match self.oddities.borrow().verdict() {
            Verdict::Close => return Poll::Ready(Some(Code::ExcessiveLoad)),
            Verdict::Calm => self.dismiss(desk),
            Verdict::Fine | Verdict::Misshapen => {}
        }
        if desk.leaving == Leaving::No
            && (self.guest.poll_leave(context) || self.is_over_age_or_idle(alarm, context))
        {
            self.announce(desk);
        }
        self.poll_leaving(context, desk, alarm).map(Some)
    }

    /// Whether the connection has reached its age, or was idle for too long. Sets the alarm for
    /// what comes first.
    fn is_over_age_or_idle(&self, alarm: &Alarm, context: &mut Context<'_>) -> bool {
        let active = self.worker.active();
        let serving = &active.generation.serving;
        let age = serving.connection_age.map(|limit| self.opened + limit);
        let idle = serving.idle_timeout.filter(|_| self.requests.get() == 0);
        let idle = idle.map(|limit| self.idle_since.get() + limit);
        let shaking = !self.quic.is_connected();
        let shaken = shaking.then_some(self.opened + HANDSHAKE_TIME);
        self.is_due(earliest(earliest(age, idle), shaken), alarm, context)
    }

    /// Whether it is this late; wakes the task then, if it is not. (An alarm that rang and is set
    /// to the same time again would only ring again.)
    fn is_due(&self, due: Option<Now>, alarm: &Alarm, context: &mut Context<'_>) -> bool {
        if due.is_some_and(|due| self.worker.timers.now() >= due) {
            return true;
        }
        alarm.set(due);
        alarm.poll(context).is_ready()
    }

    /// Whether a handshake that began with early data is not complete in time.
    fn is_handshake_late(&self) -> bool {
        let due = self.opened + HANDSHAKE_TIME;
        !self.quic.is_connected() && self.worker.timers.now() >= due
    }

    /// Takes in the streams that the client has opened.
    fn accept(self: &Rc<Self>, context: &Context<'_>, desk: &mut Desk) {
        while let Poll::Ready(Some(id)) = self.quic.poll_accept(context, Dir::Uni) {
            desk.streams.insert(id, PeerStream::new());
        }
        while let Poll::Ready(Some(id)) = self.quic.poll_accept(context, Dir::Bi) {
            let number = u64::from(id);
            if desk.leaving.refuses(number) {
                let code = Code::RequestRejected.number();
                self.quic.stop(id, code);
                self.quic.reset(id, code);
                continue;
            }
            desk.next = desk.next.max(number.saturating_add(STREAM_STEP));
            self.peer.borrow_mut().request_began();
            self.requests.set(self.requests.get() + 1);
            rt::spawn(request::serve(Visitor(Rc::clone(self)), id));
        }
    }

    /// Reads what came on the client's unidirectional streams.
    fn read_streams(&self, context: &Context<'_>, desk: &mut Desk) -> Result<(), Fault> {
        let mut peer = self.peer.borrow_mut();
        let mut ended = Vec::new();
        for (id, stream) in &mut desk.streams {
            loop {
                match self.quic.poll_read(context, *id) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(Some(bytes))) => {
                        stream.read(&mut peer, &bytes)?;
                        if stream.is_ignored() {
                            self.quic.stop(*id, Code::StreamCreation.number());
                            ended.push(*id);
                            break;
                        }
                    }
                    Poll::Ready(Ok(None) | Err(_)) => {
                        if !self.quic.is_lost() {
                            stream.end()?;
                        }
                        ended.push(*id);
                        break;
                    }
                }
            }
        }
        for id in ended {
            desk.streams.remove(&id);
            self.quic.leave(id);
        }
        Ok(())
    }

    /// Ends the connection because the client broke a rule of it.
    fn fail(&self, code: Code) {
        self.quic.close(code.number());
    }

    /// Whether no further request shall come.
    fn shall_end(&self) -> bool {
        self.guest.shall_leave()
    }
}

/// One request's hold on its connection.
struct Visitor(Rc<Conn>);

impl Drop for Visitor {
    fn drop(&mut self) {
        let conn = &self.0;
        conn.requests.set(conn.requests.get().saturating_sub(1));
        conn.idle_since.set(conn.worker.timers.now());
        if let Some(waker) = conn.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}
