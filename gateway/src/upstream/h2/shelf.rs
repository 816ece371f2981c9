//! The connections to one endpoint, and who waits for one that is being opened.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use h2::client::SendRequest;
use sallyport_core::time::Now;
use slab::Slab;

use super::{Bounds, Connection};
use crate::codec::Chunk;
use crate::upstream::terms::{Agreed, Terms};

/// Connections to one endpoint per worker.
const CONNECTIONS_MAX: usize = 64;
/// The same where each client has connections of its own: as many as are kept of HTTP/1.
const CONNECTIONS_ANNOUNCED_MAX: usize = 2_048;

/// The connections to one endpoint.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Shelf {
    connections: RefCell<Vec<Rc<Connection>>>,
    /// What those were asked for that are being opened; of each one at a time.
    opening: RefCell<Vec<Rc<Agreed>>>,
    waiting: RefCell<Slab<Option<Waker>>>,
}

impl Shelf {
    /// The first connection that takes one more stream, and a handle for it. Those that take no
    /// more for ever are let go of: they end with their last stream.
    pub(super) fn take(
        &self,
        bounds: Bounds,
        terms: Terms<'_>,
        now: Now,
        context: &mut Context<'_>,
    ) -> Option<(Rc<Connection>, SendRequest<Chunk>)> {
        let mut connections = self.connections.borrow_mut();
        let mut found = None;
        connections.retain(|connection| {
            let state = &connection.state;
            if found.is_some() || !connection.agreed.suits(terms) {
                return true;
            }
            let used_up = bounds.requests > 0 && state.served.get() >= bounds.requests;
            if used_up || state.closed.get() || state.is_retired(now) {
                return false;
            }
            let mut send = connection.send.borrow().clone();
            // Who allows none for now may allow some later: streams wait for that together, not each
            // on a connection of its own.
            let allowed = send.current_max_send_streams();
            let room = if allowed > 0 {
                allowed.min(bounds.streams)
            } else {
                bounds.streams
            };
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

    /// The right to open a connection with these terms; `None` while somebody else does. When there
    /// are too many, one that is idle is closed for it.
    ///
    /// # Errors
    /// There are too many, and all are busy.
    pub(super) fn begin_opening(
        &self,
        terms: Terms<'_>,
        announced: bool,
    ) -> io::Result<Option<Opening<'_>>> {
        if self.is_opening(terms) {
            return Ok(None);
        }
        let max = if announced {
            CONNECTIONS_ANNOUNCED_MAX
        } else {
            CONNECTIONS_MAX
        };
        let mut connections = self.connections.borrow_mut();
        let mut opening = self.opening.borrow_mut();
        if connections.len() + opening.len() >= max {
            let idle = connections.iter().rposition(|c| c.state.live.get() == 0);
            let idle = idle.ok_or_else(|| io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))?;
            connections.remove(idle);
        }
        let agreed = Rc::new(terms.agreed());
        opening.push(Rc::clone(&agreed));
        Ok(Some(Opening {
            shelf: self,
            agreed,
        }))
    }

    fn is_opening(&self, terms: Terms<'_>) -> bool {
        let opening = self.opening.borrow();
        opening.iter().any(|agreed| agreed.suits(terms))
    }

    /// Waits until nobody opens a connection with these terms.
    pub(super) async fn opened(&self, terms: Terms<'_>) {
        let seat = Seat {
            shelf: self,
            key: self.waiting.borrow_mut().insert(None),
        };
        poll_fn(|context| {
            if !self.is_opening(terms) {
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
            let idle =
                state.live.get() == 0 && (all || now >= state.until.get() || state.is_retired(now));
            !idle && !state.closed.get()
        });
    }
}

/// The right to open a connection. Whoever waits goes on when it is dropped.
pub(super) struct Opening<'s> {
    shelf: &'s Shelf,
    agreed: Rc<Agreed>,
}

impl Opening<'_> {
    /// The connection is there.
    pub(super) fn done(self, connection: Connection) {
        // The newest first: it has the most room.
        let mut connections = self.shelf.connections.borrow_mut();
        connections.insert(0, Rc::new(connection));
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut opening = self.shelf.opening.borrow_mut();
        opening.retain(|other| !Rc::ptr_eq(other, &self.agreed));
        drop(opening);
        let mut waiting = self.shelf.waiting.borrow_mut();
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
