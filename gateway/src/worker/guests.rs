//! Who is connected: so that all can be told to leave, and counted.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::generation::Generation;
use crate::io::socket::Breaker;
use crate::load::{Pressure, Ticket};
use crate::rt;
use crate::stats::ListenerSlot;
use crate::tls::{Shown, Verdict};
use crate::worker::Worker;

/// The client connections of a worker.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    entries: RefCell<Slab<Entry>>,
    /// Who waits until all have left.
    host: RefCell<Option<Waker>>,
    /// New ones are told to leave at once.
    closing: Cell<bool>,
    serial: Cell<u64>,
}

#[derive(Debug)]
struct Entry {
    listener: Arc<str>,
    leave: bool,
    /// Its listener is gone.
    evicted: bool,
    /// It shall leave after its next request, for which it has some time.
    parting: bool,
    waker: Option<Waker>,
    /// What its client showed, if it did.
    shown: Option<Box<Identified>>,
}

/// A client that showed a certificate.
#[derive(Debug)]
struct Identified {
    shown: Shown,
    sni: Option<Box<str>>,
    breaker: Breaker,
}

/// Certificates that are verified again before others get their turn: about a millisecond.
const RECHECKED_AT_ONCE: usize = 8;
/// Clients whose root the mesh has replaced have this long for their next request, and after it as
/// long again to finish what goes on: peers keep idle connections, and a request that meets the end
/// of one is lost.
const PARTING: Duration = Duration::from_secs(5);

/// One client connection, as long as it lasts.
#[derive(Debug)]
pub(crate) struct Guest {
    worker: Rc<Worker>,
    key: usize,
    slot: ListenerSlot,
    _ticket: Ticket,
    /// Number of the connection on this worker, from 1.
    pub(crate) serial: u64,
}

impl Guest {
    /// A connection was accepted.
    pub(crate) fn arrive(
        worker: &Rc<Worker>,
        listener: &Arc<str>,
        slot: ListenerSlot,
        ticket: Ticket,
    ) -> Self {
        worker.stats.borrow_mut().connection_opened(slot);
        let guests = &worker.guests;
        let key = guests.entries.borrow_mut().insert(Entry {
            listener: Arc::clone(listener),
            leave: guests.closing.get(),
            evicted: false,
            parting: false,
            waker: None,
            shown: None,
        });
        guests.serial.set(guests.serial.get() + 1);
        Self {
            worker: Rc::clone(worker),
            key,
            slot,
            _ticket: ticket,
            serial: guests.serial.get(),
        }
    }

    /// Its client has shown this to the server of that name.
    pub(crate) fn shows(&self, shown: Shown, sni: Option<Box<str>>, breaker: Breaker) {
        let mut entries = self.worker.guests.entries.borrow_mut();
        if let Some(entry) = entries.get_mut(self.key) {
            entry.shown = Some(Box::new(Identified {
                shown,
                sni,
                breaker,
            }));
        }
    }

    /// Whether it shall leave after its current request: it was told to, or memory is tight.
    pub(crate) fn shall_leave(&self) -> bool {
        let entries = self.worker.guests.entries.borrow();
        entries
            .get(self.key)
            .is_some_and(|entry| entry.leave || entry.parting)
            || self.worker.load.pressure() != Pressure::None
    }

    /// Whether it shall leave; wakes the task when that changes.
    pub(crate) fn poll_leave(&self, context: &mut Context<'_>) -> bool {
        self.poll_entry(context, |entry| entry.leave)
    }

    /// Whether its listener is gone; wakes the task when that changes. For connections that have no
    /// better moment to leave than the last.
    pub(crate) fn poll_evicted(&self, context: &mut Context<'_>) -> bool {
        self.poll_entry(context, |entry| entry.evicted)
    }

    fn poll_entry(&self, context: &mut Context<'_>, asked: fn(&Entry) -> bool) -> bool {
        let mut entries = self.worker.guests.entries.borrow_mut();
        let Some(entry) = entries.get_mut(self.key) else {
            return true;
        };
        match &entry.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => entry.waker = Some(context.waker().clone()),
        }
        asked(entry)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let guests = &self.worker.guests;
        let mut entries = guests.entries.borrow_mut();
        entries.try_remove(self.key);
        if entries.is_empty()
            && let Some(host) = guests.host.borrow_mut().take()
        {
            host.wake();
        }
        self.worker.stats.borrow_mut().connection_closed(self.slot);
    }
}

impl Guests {
    /// Connections open.
    pub(crate) fn count(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Tells the connections of one listener, or all, to leave after their current request.
    pub(super) fn send_away(&self, listener: Option<&str>) {
        let mut wakers = Vec::new();
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if listener.is_none_or(|name| *entry.listener == *name) {
                entry.leave = true;
                entry.evicted |= listener.is_some();
                wakers.extend(entry.waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// From now on, connections leave after one request.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.send_away(None);
    }

    /// Waits until all have left.
    pub(super) async fn gone(&self) {
        poll_fn(|context| {
            if self.entries.borrow().is_empty() {
                return Poll::Ready(());
            }
            *self.host.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Looks whether clients that showed certificates are still let in by the rules of a new generation,
/// and breaks the connections of those who are not. Those who will come again under another root
/// leave when it suits them, within bounds.
pub(super) async fn recheck(worker: Rc<Worker>) {
    let generation = Arc::clone(&worker.active().generation);
    let keys = worker.guests.identified();
    let turns = rt::Turns::new();
    let mut parting = false;
    for some in keys.chunks(RECHECKED_AT_ONCE) {
        if !Arc::ptr_eq(&worker.active().generation.tls, &generation.tls) {
            // A newer one is being asked already.
            break;
        }
        for key in some {
            let verdict = worker.guests.verdict(*key, &generation);
            match verdict {
                Verdict::Stays => continue,
                Verdict::Parts => worker.guests.part(*key),
                Verdict::Goes => worker.guests.expel(*key),
            }
            parting |= verdict == Verdict::Parts;
            worker.stats.borrow_mut().revoked();
        }
        turns.next().await;
    }
    if parting {
        rt::sleep(PARTING).await;
        worker.guests.hasten();
        rt::sleep(PARTING).await;
        let late = worker.guests.parting();
        late.into_iter().for_each(|key| worker.guests.expel(key));
    }
}

impl Guests {
    fn identified(&self) -> Vec<usize> {
        let entries = self.entries.borrow();
        let shown = entries.iter().filter(|(_, entry)| entry.shown.is_some());
        shown.map(|(key, _)| key).collect()
    }

    fn verdict(&self, key: usize, generation: &Generation) -> Verdict {
        self.judge(key, generation).unwrap_or(Verdict::Stays)
    }

    fn judge(&self, key: usize, generation: &Generation) -> Option<Verdict> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(key)?;
        let Identified { shown, sni, .. } = entry.shown.as_deref_mut()?;
        let listener = generation.tables.listener_named(&entry.listener)?;
        let chain = generation.tables.chain(listener, sni.as_deref())?;
        Some(generation.tls.verdict(listener, chain, shown))
    }

    /// Lets a client leave after its next request.
    fn part(&self, key: usize) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(key) {
            entry.parting = true;
        }
    }

    fn parting(&self) -> Vec<usize> {
        let entries = self.entries.borrow();
        let parting = entries.iter().filter(|(_, entry)| entry.parting);
        parting.map(|(key, _)| key).collect()
    }

    /// Those who were to leave shall not wait for a next request any more.
    fn hasten(&self) {
        let mut wakers = Vec::new();
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if entry.parting {
                entry.leave = true;
                wakers.extend(entry.waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Breaks a connection.
    fn expel(&self, key: usize) {
        let entries = self.entries.borrow();
        let shown = entries.get(key).and_then(|entry| entry.shown.as_ref());
        let breaker = shown.map(|shown| shown.breaker.clone());
        drop(entries);
        if let Some(breaker) = breaker {
            breaker.trip();
        }
    }
}
