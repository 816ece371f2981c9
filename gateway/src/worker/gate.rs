//! Turns among handshakes. To answer a ClientHello is the dearest thing that a stranger can ask for: as
//! much as a dozen requests. So between two looks at the sockets only few are answered; all others
//! wait in the order in which they came, and who is connected already is served meanwhile.
//!
//! What is counted is work, not handshakes under way: a client that says hello and then nothing
//! more keeps nobody out.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use sallyport_config::ir::Millis;

use crate::rt::{self, Alarm, Timers, Turns};

/// Handshakes that are answered between two looks at the sockets: as much time as some forty
/// requests, so that those who are connected keep at least half of the worker.
const HANDSHAKES_A_TURN: usize = 2;
/// Handshakes that may wait; what is beyond would wait longer than clients do.
const WAITING_MAX: usize = 2_048;
/// A handshake waits no longer than this for its turn.
const WAIT: Millis = Millis(3_000);

/// The gate of one worker.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Handshakes that were let in during this turn.
    entered: Cell<usize>,
    /// A task counts the turns.
    counting: Cell<bool>,
    waiting: RefCell<VecDeque<Weak<Place>>>,
    turns: OnceCell<Turns>,
}

/// The place of one handshake in the queue.
#[derive(Debug, Default)]
struct Place {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// How a handshake came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// At once.
    AtOnce,
    /// After others.
    Waited,
    /// Not at all: too many waited, or it would have had to wait too long.
    Shed,
}

impl Gate {
    /// Waits for a turn.
    pub(crate) async fn enter(self: &Rc<Self>, timers: &Rc<Timers>) -> Entry {
        if !self.counting.replace(true) {
            rt::spawn(count(Rc::clone(self)));
        }
        if self.waiting.borrow().is_empty() && self.entered.get() < HANDSHAKES_A_TURN {
            self.entered.set(self.entered.get() + 1);
            return Entry::AtOnce;
        }
        let Some(place) = self.queue() else {
            return Entry::Shed;
        };
        let alarm = timers.alarm();
        alarm.set(Some(timers.now() + WAIT));
        if wait(&place, &alarm).await {
            Entry::Waited
        } else {
            Entry::Shed
        }
    }

    fn queue(&self) -> Option<Rc<Place>> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING_MAX {
            // Who has gone still has its place.
            waiting.retain(|place| place.strong_count() > 0);
        }
        if waiting.len() >= WAITING_MAX {
            return None;
        }
        let place = Rc::default();
        waiting.push_back(Rc::downgrade(&place));
        Some(place)
    }

    /// Begins another turn; whether the last one let anybody in.
    fn turn(&self) -> bool {
        let busy = self.entered.replace(0) > 0;
        while self.entered.get() < HANDSHAKES_A_TURN {
            let Some(first) = self.waiting.borrow_mut().pop_front() else {
                break;
            };
            if let Some(place) = first.upgrade() {
                self.entered.set(self.entered.get() + 1);
                place.called.set(true);
                let waker = place.waker.take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
        busy || self.entered.get() > 0
    }
}

/// Counts turns as long as anybody comes in.
async fn count(gate: Rc<Gate>) {
    loop {
        gate.turns.get_or_init(Turns::new).next().await;
        if !gate.turn() {
            gate.counting.set(false);
            return;
        }
    }
}

/// Whether the place was called before the alarm rang.
async fn wait(place: &Place, alarm: &Alarm) -> bool {
    poll_fn(|context| {
        if place.called.get() {
            return Poll::Ready(true);
        }
        *place.waker.borrow_mut() = Some(context.waker().clone());
        alarm.poll(context).map(|()| false)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{DriverChoice, Runtime};

    /// Runs something on each driver.
    fn on_each_driver<T: Future<Output = ()> + 'static>(test: impl Fn() -> T) {
        for choice in [DriverChoice::Auto, DriverChoice::Epoll] {
            let driver = rt::probe(choice).unwrap();
            let (end, ended) = tokio::sync::oneshot::channel();
            // In a task, as everywhere: only tasks give way to each other.
            let task = test();
            Runtime::new(driver.kind).unwrap().block_on(async {
                rt::spawn(async {
                    task.await;
                    end.send(()).unwrap();
                });
                ended.await.unwrap();
            });
        }
    }

    /// So many handshakes; each tells how it came in.
    fn come(gate: &Rc<Gate>, timers: &Rc<Timers>, count: usize) -> Rc<RefCell<Vec<Entry>>> {
        let entries = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..count {
            let (gate, timers, entries) = (gate.clone(), timers.clone(), entries.clone());
            rt::spawn(async move {
                let entry = gate.enter(&timers).await;
                entries.borrow_mut().push(entry);
            });
        }
        entries
    }

    #[test]
    fn between_two_looks_at_the_sockets_few_come_in_and_in_the_end_all() {
        on_each_driver(|| async {
            let (gate, timers) = (Rc::new(Gate::default()), Timers::new());
            let entries = come(&gate, &timers, 50);
            let (turns, mut before) = (Turns::new(), 0);
            while entries.borrow().len() < 50 {
                turns.next().await;
                let now = entries.borrow().len();
                // This task and the one that counts may see a turn in either order.
                assert!(now - before <= 2 * HANDSHAKES_A_TURN, "{before} {now}");
                before = now;
            }
            let at_once = entries
                .borrow()
                .iter()
                .filter(|e| **e == Entry::AtOnce)
                .count();
            assert_eq!(at_once, HANDSHAKES_A_TURN);
            assert!(!entries.borrow().contains(&Entry::Shed));
            while gate.counting.get() {
                turns.next().await;
            }
            assert!(gate.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn too_many_are_shed_at_once_and_who_has_gone_holds_nobody_up() {
        on_each_driver(|| async {
            let (gate, timers) = (Rc::new(Gate::default()), Timers::new());
            let places: Vec<_> = (0..WAITING_MAX).map(|_| gate.queue().unwrap()).collect();
            assert_eq!(gate.enter(&timers).await, Entry::Shed);
            drop(places);
            assert_eq!(gate.enter(&timers).await, Entry::Waited);
            assert_eq!(gate.entered.get(), 1, "the others took no turn");
        });
    }
}
