//! The connections to one endpoint, and who waits for one that is being opened.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use h2::client::SendRequest;
use sallyport_core::time::Now;
use slab::Slab;

use super::{Connection, STREAMS_MAX};
use crate::codec::Chunk;

/// Connections to one endpoint per worker.
const CONNECTIONS_MAX: usize = 64;

/// The connections to one endpoint.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Shelf {
    connections: RefCell<Vec<Rc<Connection>>>,
    /// One is being opened.
    opening: Cell<bool>,
    waiting: RefCell<Slab<Option<Waker>>>,
}

impl Shelf {
    /// The first connection that takes one more stream, and a handle for it. Those that take no
    /// more for ever are let go of: they end with their last stream.
    pub(super) fn take(
        &self,
        requests_max: u32,
        name: Option<&str>,
        context: &mut Context<'_>,
    ) -> Option<(Rc<Connection>, SendRequest<Chunk>)> {
        let mut connections = self.connections.borrow_mut();
        let mut found = None;
        connections.retain(|connection| {
            let state = &connection.state;
            if found.is_some() || connection.name.as_deref() != name {
                return true;
            }
            let used_up = requests_max > 0 && state.served.get() >= requests_max;
            if used_up || state.closed.get() {
                return false;
            }
            let mut send = connection.send.borrow().clone();
            let room = send.current_max_send_streams().min(STREAMS_MAX);
            if state.live.get() >= room {
                return true;
            }
            match send.poll_ready(context) {
                Poll::Ready(Ok(())) => found = Some((Rc::clone(connection), send)),
                Poll::Pending => {}
                // It was told to go away, or broke.
                Poll::Ready(Err(_)) => return false,
            }
            true
        });
        found
    }

    /// The right to open a connection; `None` while somebody else does.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn begin_opening(&self) -> io::Result<Option<Opening<'_>>> {
        if self.connections.borrow().len() >= CONNECTIONS_MAX {
            return Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        }
        let taken = self.opening.replace(true);
        Ok((!taken).then_some(Opening(self)))
    }

    /// Waits until nobody opens a connection.
    pub(super) async fn opened(&self) {
        let seat = Seat {
            shelf: self,
            key: self.waiting.borrow_mut().insert(None),
        };
        poll_fn(|context| {
            if !self.opening.get() {
                return Poll::Ready(());
            }
            if let Some(waker) = self.waiting.borrow_mut().get_mut(seat.key) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Lets go of what is over or was idle for too long; of all that is idle when the endpoint is
    /// forgotten.
    pub(in crate::upstream) fn sweep(&self, now: Now, all: bool) {
        self.connections.borrow_mut().retain(|connection| {
            let state = &connection.state;
            let idle = state.live.get() == 0 && (all || now >= state.until.get());
            !idle && !state.closed.get()
        });
    }
}

/// The right to open a connection. Whoever waits goes on when it is dropped.
pub(super) struct Opening<'s>(&'s Shelf);

impl Opening<'_> {
    /// The connection is there.
    pub(super) fn done(self, connection: Connection) {
        // The newest first: it has the most room.
        let mut connections = self.0.connections.borrow_mut();
        connections.insert(0, Rc::new(connection));
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        let mut waiting = self.0.waiting.borrow_mut();
        let wakers: Vec<Waker> = waiting.iter_mut().filter_map(|(_, w)| w.take()).collect();
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A place among those who wait.
struct Seat<'s> {
    shelf: &'s Shelf,
    key: usize,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.shelf.waiting.borrow_mut().try_remove(self.key);
    }
}
