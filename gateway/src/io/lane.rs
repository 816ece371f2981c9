//! One direction of a socket: orders in, outcomes out.
//!
//! The runtime's operations are futures without a name, which a structure cannot hold. So each
//! direction runs a small loop of its own, boxed once per connection, that carries out one order at
//! a time; who owns the lane polls it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Where a lane's owner and its loop meet.
struct Desk<O, D> {
    order: Cell<Option<O>>,
    outcome: Cell<Option<D>>,
}

/// The loop's end of a lane.
pub(super) struct Clerk<O, D>(Rc<Desk<O, D>>);

impl<O, D> Clerk<O, D> {
    /// The next order.
    pub(super) async fn next(&self) -> O {
        // The owner polls after every order, so there is no waker to keep.
        poll_fn(|_| match self.0.order.take() {
            Some(order) => Poll::Ready(order),
            None => Poll::Pending,
        })
        .await
    }

    /// Reports how the order went.
    pub(super) fn report(&self, outcome: D) {
        self.0.outcome.set(Some(outcome));
    }
}

/// The owner's end of a lane.
pub(super) struct Lane<O, D> {
    desk: Rc<Desk<O, D>>,
    work: Pin<Box<dyn Future<Output = ()>>>,
    busy: bool,
}

impl<O: 'static, D: 'static> Lane<O, D> {
    /// A lane whose loop is what `work` makes of its end.
    pub(super) fn new<F: Future<Output = ()> + 'static>(
        work: impl FnOnce(Clerk<O, D>) -> F,
    ) -> Self {
        let desk = Rc::new(Desk {
            order: Cell::new(None),
            outcome: Cell::new(None),
        });
        let work = Box::pin(work(Clerk(Rc::clone(&desk))));
        Self {
            desk,
            work,
            busy: false,
        }
    }

    /// Gives an order. The lane must not be busy: an earlier order that was not carried out yet
    /// would be lost.
    pub(super) fn order(&mut self, order: O) {
        debug_assert!(!self.busy, "one order at a time");
        self.desk.order.set(Some(order));
        self.busy = true;
    }

    /// Whether an order has not been answered.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Works on the order; its outcome when it is done.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<D> {
        if !self.busy {
            return Poll::Pending;
        }
        // The loop never ends, so there is nothing to see in what polling it returns.
        let _: Poll<()> = self.work.as_mut().poll(context);
        match self.desk.outcome.take() {
            Some(outcome) => {
                self.busy = false;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}
