//! The worker's clock and its alarms.
//!
//! A request sets and moves several deadlines, nearly none of which is ever reached. So moving an
//! alarm only writes a number; the queue behind it holds, for each alarm, one entry that may be too
//! early, and is then put back to where the alarm stands by now. Only an alarm that moves to before
//! its entry costs a new entry. One task sleeps until the first entry, and not at all while there
//! is none.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sallyport_core::time::Now;
use slab::Slab;

/// Alarms ring up to this much late, in microseconds, so that many ring in one wake-up.
const GRANULARITY: u64 = 4_000;
/// The queue is cleaned of entries without an alarm when it has this many more than alarms.
const STALE_ENTRIES_MAX: usize = 1_024;

/// The clock of a worker, and the alarms set by it.
pub(crate) struct Timers {
    start: Instant,
    pub(super) queue: RefCell<Queue>,
    /// When the sleeping task will wake up; `u64::MAX` while nothing is set.
    wakes_at: Cell<u64>,
    sleeper: RefCell<Option<Waker>>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) alarms: Slab<State>,
    pub(super) entries: BinaryHeap<Reverse<(u64, usize, u32)>>,
    /// Tells the entries of an alarm from those of one that had its place before.
    serial: u32,
}

pub(super) struct State {
    serial: u32,
    /// When it shall ring; `u64::MAX` never.
    due: u64,
    /// Time of its earliest entry in the queue.
    entry: u64,
    waker: Option<Waker>,
}

impl std::fmt::Debug for Timers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = self.queue.borrow();
        f.debug_struct("Timers")
            .field("alarms", &queue.alarms.len())
            .field("entries", &queue.entries.len())
            .finish_non_exhaustive()
    }
}

impl Timers {
    /// A clock that starts now, and no alarm.
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            start: Instant::now(),
            queue: RefCell::default(),
            wakes_at: Cell::new(u64::MAX),
            sleeper: RefCell::new(None),
        })
    }

    /// Reads the clock.
    pub(crate) fn now(&self) -> Now {
        Now(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// How many alarms there are.
    pub(crate) fn alarms(&self) -> usize {
        self.queue.borrow().alarms.len()
    }

    /// A new alarm, not set.
    pub(crate) fn alarm(self: &Rc<Self>) -> Alarm {
        let mut queue = self.queue.borrow_mut();
        queue.serial = queue.serial.wrapping_add(1);
        let serial = queue.serial;
        let key = queue.alarms.insert(State {
            serial,
            due: u64::MAX,
            entry: u64::MAX,
            waker: None,
        });
        Alarm {
            timers: Rc::clone(self),
            key,
        }
    }

    fn set(&self, key: usize, due: u64) {
        let mut queue = self.queue.borrow_mut();
        let Some(state) = queue.alarms.get_mut(key) else {
            return;
        };
        state.due = due;
        if due >= state.entry {
            return;
        }
        state.entry = due;
        let serial = state.serial;
        queue.entries.push(Reverse((due, key, serial)));
        drop(queue);
        if due < self.wakes_at.get()
            && let Some(waker) = self.sleeper.borrow_mut().take()
        {
            waker.wake();
        }
    }

    fn remove(&self, key: usize) {
        let mut queue = self.queue.borrow_mut();
        queue.alarms.try_remove(key);
        if queue.entries.len() > 2 * queue.alarms.len() + STALE_ENTRIES_MAX {
            let Queue {
                alarms, entries, ..
            } = &mut *queue;
            entries.retain(|Reverse((_, key, serial))| {
                alarms
                    .get(*key)
                    .is_some_and(|state| state.serial == *serial)
            });
        }
    }

    /// Rings what is due, and says when the next entry is.
    fn ring(&self, now: u64) -> Option<u64> {
        loop {
            let mut queue = self.queue.borrow_mut();
            let Reverse((at, key, serial)) = *queue.entries.peek()?;
            if at > now {
                return Some(at);
            }
            queue.entries.pop();
            let Some(state) = queue.alarms.get_mut(key) else {
                continue;
            };
            if state.serial != serial || state.entry != at {
                continue;
            }
            state.entry = u64::MAX;
            if state.due <= now {
                let waker = state.waker.take();
                drop(queue);
                if let Some(waker) = waker {
                    waker.wake();
                }
            } else if state.due != u64::MAX {
                state.entry = state.due;
                let entry = Reverse((state.due, key, serial));
                queue.entries.push(entry);
            }
        }
    }

    /// Rings alarms for as long as the worker runs.
    pub(crate) async fn run(self: Rc<Self>) {
        let mut sleep = pin!(monoio::time::sleep(Duration::ZERO));
        poll_fn(|context| {
            loop {
                let now = self.now().0;
                let Some(next) = self.ring(now) else {
                    self.wakes_at.set(u64::MAX);
                    *self.sleeper.borrow_mut() = Some(context.waker().clone());
                    return Poll::<()>::Pending;
                };
                if self.wakes_at.get() != next {
                    self.wakes_at.set(next);
                    let at = Duration::from_micros(next.saturating_add(GRANULARITY));
                    let far = self.start + at;
                    sleep.as_mut().reset(far.into());
                }
                *self.sleeper.borrow_mut() = Some(context.waker().clone());
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.wakes_at.set(u64::MAX);
            }
        })
        .await;
    }
}

/// One deadline that can be moved for nearly nothing.
#[derive(Debug)]
pub(crate) struct Alarm {
    timers: Rc<Timers>,
    key: usize,
}

impl Alarm {
    /// Rings at this time, instead of any other; `None` never.
    pub(crate) fn set(&self, due: Option<Now>) {
        self.timers.set(self.key, due.map_or(u64::MAX, |due| due.0));
    }

    /// Ready when the time has come. The alarm then stays due until it is set anew.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.timers.queue.borrow_mut();
        let Some(state) = queue.alarms.get_mut(self.key) else {
            return Poll::Pending;
        };
        if state.due == u64::MAX {
            return Poll::Pending;
        }
        // An alarm with an entry ahead of it has not been rung: no need to read the clock.
        if state.entry == u64::MAX && state.due <= self.timers.now().0 {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.timers.remove(self.key);
    }
}

/// A future whose panic ends only itself.
pub(super) struct Contained<F>(pub(super) Pin<Box<F>>);

impl<F: Future<Output = ()>> Future for Contained<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let poll = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context)));
        // The hook has reported it.
        poll.unwrap_or(Poll::Ready(()))
    }
}
