//! A flag that ends a task: raised once, by someone who does not wait.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A flag that ends one task.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    raised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Stop {
    /// Raises the flag.
    pub(super) fn raise(&self) {
        self.raised.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether the flag is raised; wakes the task when that changes.
    pub(crate) fn poll(&self, context: &Context<'_>) -> bool {
        if !self.raised.get() {
            *self.waker.borrow_mut() = Some(context.waker().clone());
        }
        self.raised.get()
    }

    /// Works on a future until it is done (its output) or the flag is raised (`None`); the future
    /// is dropped then.
    pub(super) async fn or<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.raised.get() {
                return Poll::Ready(None);
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            work.as_mut().poll(context).map(Some)
        })
        .await
    }
}
