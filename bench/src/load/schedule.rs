//! When requests are due.

use super::BACKLOG_MAX;
use super::clock::Clock;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Requests due, and who waits for one.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Time between two requests; `None` in a closed loop.
    interval: Option<Duration>,
    due: RefCell<VecDeque<Instant>>,
    waiting: RefCell<Vec<Waker>>,
    over: Cell<bool>,
}

impl Schedule {
    /// So many requests per second; `None` for a closed loop.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            due: RefCell::default(),
            waiting: RefCell::default(),
            over: Cell::new(false),
        }
    }

    /// Makes requests due until the end.
    ///
    /// # Errors
    /// There is no timer to be had.
    pub(super) async fn run(&self, begin: Instant, end: Instant) -> io::Result<()> {
        let clock = Clock::new()?;
        match self.interval {
            None => clock.until(end).await?,
            Some(interval) => {
                let mut next = begin;
                while next < end {
                    clock.until(next).await?;
                    let now = Instant::now();
                    while next <= now && next < end {
                        self.make_due(next);
                        next += interval;
                    }
                }
            }
        }
        self.over.set(true);
        for waker in self.waiting.take() {
            waker.wake();
        }
        Ok(())
    }

    fn make_due(&self, at: Instant) {
        let mut due = self.due.borrow_mut();
        if due.len() < BACKLOG_MAX {
            due.push_back(at);
        }
        if let Some(waker) = self.waiting.borrow_mut().pop() {
            waker.wake();
        }
    }

    /// When the next request was due, as soon as there is one; `None` when the time is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        poll_fn(|context| {
            if self.interval.is_none() {
                return Poll::Ready((!self.over.get()).then(Instant::now));
            }
            let due = self.due.borrow_mut().pop_front();
            if due.is_some() || self.over.get() {
                return Poll::Ready(due);
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Requests that were due and never sent.
    pub(super) fn left(&self) -> usize {
        self.due.borrow().len()
    }
}
