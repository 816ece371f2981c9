//! Circuit breakers on one worker: permits for what the cluster limits, and the line of requests
//! that wait for a connection.
//!
//! Counts are the cluster's, over all workers ([`super::commons`]). A worker without any connection
//! to a cluster may open one beyond the limit: connections that other workers hold would else starve
//! it. So there are at most workers − 1 too many, as in Envoy.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use sallyport_config::ir::Traffic;
use sallyport_core::exchange::RetryGate;
use sallyport_core::quota::{self, What};

use super::{Commons, Shared};
use crate::worker::Worker;

/// The breakers of a cluster of one generation.
#[derive(Debug)]
pub(super) struct Breakers {
    shared: Arc<Shared>,
    traffic: Traffic,
    /// Only where connections are limited.
    line: Option<Rc<Line>>,
}

/// One of what is limited, for as long as it lives; of nothing where nothing limits.
#[derive(Debug, Default)]
pub(crate) struct Permit(Option<(Arc<Shared>, What)>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((shared, what)) = &self.0 {
            shared.cells.give(*what);
        }
    }
}

/// A connection's place among those that the cluster may have.
#[derive(Debug, Default)]
pub(super) struct Slot {
    permit: Permit,
    line: Option<Rc<Line>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            self.permit = Permit::default();
            line.open.set(line.open.get().saturating_sub(1));
            line.call();
        }
    }
}

/// Requests of this worker that wait for a connection to one cluster, the first first. How many
/// there may be is a breaker, too.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Connections that this worker has.
    open: Cell<u32>,
    waiting: RefCell<VecDeque<Rc<Ticket>>>,
}

/// A place in the line.
#[derive(Debug, Default)]
struct Ticket {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Line {
    /// Something is free: the first may look.
    pub(super) fn call(&self) {
        if let Some(ticket) = self.waiting.borrow_mut().pop_front() {
            ticket.called.set(true);
            if let Some(waker) = ticket.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Leaves the line when the request is given up; what it was called for is the next one's.
struct Place<'l> {
    line: &'l Line,
    ticket: Rc<Ticket>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.line.waiting.borrow_mut();
        waiting.retain(|other| !Rc::ptr_eq(other, &self.ticket));
        drop(waiting);
        if self.ticket.called.get() {
            self.line.call();
        }
    }
}

impl Place<'_> {
    /// Waits until called; then the place is at the front.
    async fn called(&self) {
        poll_fn(|context| {
            if self.ticket.called.get() {
                return Poll::Ready(());
            }
            *self.ticket.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Nothing was left: to the front of the line again.
    fn again(&self) {
        self.ticket.called.set(false);
        let ticket = Rc::clone(&self.ticket);
        self.line.waiting.borrow_mut().push_front(ticket);
    }

    /// Got something: nobody else need look for it.
    fn leave(self) {
        self.ticket.called.set(false);
    }
}

impl Breakers {
    pub(super) fn new(shared: Arc<Shared>, traffic: &Traffic, line: Option<Rc<Line>>) -> Self {
        Self {
            shared,
            traffic: traffic.clone(),
            line,
        }
    }

    /// One more of something; `None` at the limit.
    pub(super) fn take(&self, what: What) -> Option<Permit> {
        if !quota::is_kept(&self.traffic, what) {
            return Some(Permit(None));
        }
        let limit = quota::limit(&self.traffic.breakers, what);
        let taken = self.shared.cells.take(what, limit);
        taken.then(|| Permit(Some((Arc::clone(&self.shared), what))))
    }

    /// Takes note of a request that begins, where a budget looks back.
    pub(super) fn begin(&self, commons: &Commons) {
        self.shared.cells.begin(&self.traffic, || commons.now());
    }

    /// A place for a connection, if there is one. `evict` closes an idle connection, and says
    /// whether there was one.
    pub(super) fn slot(&self, evict: impl Fn() -> bool) -> Option<Slot> {
        let Some(line) = &self.line else {
            return Some(Slot::default());
        };
        let mut permit = self.take(What::Connections);
        if permit.is_none() && evict() {
            permit = self.take(What::Connections);
        }
        if permit.is_none() && line.open.get() == 0 {
            self.shared.cells.force(What::Connections);
            permit = Some(Permit(Some((Arc::clone(&self.shared), What::Connections))));
        }
        line.open.set(line.open.get() + u32::from(permit.is_some()));
        Some(Slot {
            permit: permit?,
            line: Some(Rc::clone(line)),
        })
    }

    /// Whether others wait already: who comes now stands behind them.
    pub(super) fn is_queued(&self) -> bool {
        let line = self.line.as_ref();
        line.is_some_and(|line| !line.waiting.borrow().is_empty())
    }

    /// Waits in line until `found` finds something.
    pub(super) async fn wait<T>(&self, mut found: impl FnMut() -> Option<T>) -> Option<T> {
        let line = self.line.as_ref()?;
        let place = Place {
            line,
            ticket: Rc::default(),
        };
        let ticket = Rc::clone(&place.ticket);
        line.waiting.borrow_mut().push_back(ticket);
        loop {
            place.called().await;
            if let Some(found) = found() {
                place.leave();
                return Some(found);
            }
            place.again();
        }
    }

    /// An idle connection is there.
    pub(super) fn call(&self) {
        if let Some(line) = &self.line {
            line.call();
        }
    }

    /// What a request asks before it is tried again; `None` where retries are not limited.
    pub(super) fn gate(&self, worker: &Rc<Worker>, cluster: &str) -> Option<Rc<dyn RetryGate>> {
        quota::is_kept(&self.traffic, What::Retries).then(|| {
            let gate: Rc<dyn RetryGate> = Rc::new(Gate {
                shared: Arc::clone(&self.shared),
                traffic: self.traffic.clone(),
                worker: Rc::clone(worker),
                cluster: cluster.into(),
                held: Cell::new(false),
            });
            gate
        })
    }
}

/// The retries of one request: at most one at a time is under way.
#[derive(Debug)]
struct Gate {
    shared: Arc<Shared>,
    traffic: Traffic,
    worker: Rc<Worker>,
    cluster: Box<str>,
    held: Cell<bool>,
}

impl RetryGate for Gate {
    fn take(&self) -> bool {
        self.give();
        let cells = &self.shared.cells;
        let limit = cells.retry_limit(&self.traffic, self.worker.commons.now());
        let limit = limit.unwrap_or(u32::MAX);
        let taken = cells.take(What::Retries, limit);
        self.held.set(taken);
        if !taken && let Ok(mut stats) = self.worker.stats.try_borrow_mut() {
            stats.upstream_overflow(&self.cluster, What::Retries);
        }
        taken
    }

    fn give(&self) {
        if self.held.replace(false) {
            self.shared.cells.give(What::Retries);
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.give();
    }
}
