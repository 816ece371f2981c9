//! How full and how busy the process is: the few numbers that all workers see.
//!
//! Connections are counted exactly over all workers, when they are accepted and when they end:
//! never on the path of a request. Everything else is written by one thread and read by others.

pub(crate) mod descriptors;
pub(crate) mod memory;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sallyport_config::ir::ConnectionSettings;
use sallyport_core::spread::{Burden, choose};

/// How little memory is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// Enough.
    None,
    /// Connections end after their current request.
    Tight,
    /// New connections are closed and new requests refused, too.
    Full,
}

/// What all workers see.
#[derive(Debug)]
pub(crate) struct Load {
    workers: Box<[Seat]>,
    listeners: Mutex<HashMap<Arc<str>, Arc<AtomicUsize>>>,
    /// Client connections that the process has descriptors for.
    room: usize,
    pressure: AtomicU8,
    memory: Option<memory::Budget>,
    /// Bytes, at the last look.
    used: AtomicU64,
}

/// One worker's numbers.
#[derive(Debug, Default)]
struct Seat {
    connections: AtomicUsize,
    /// Thousandths of the time in which its thread was running.
    busy: AtomicU32,
}

/// Listeners that are remembered; beyond, those without connections are forgotten.
const LISTENERS_MAX: usize = 4_096;

impl Load {
    /// Of so many workers, with descriptors for so many client connections.
    pub(crate) fn new(workers: usize, room: usize, memory: Option<memory::Budget>) -> Arc<Self> {
        Arc::new(Self {
            workers: (0..workers).map(|_| Seat::default()).collect(),
            listeners: Mutex::default(),
            room,
            pressure: AtomicU8::new(0),
            memory,
            used: AtomicU64::new(0),
        })
    }

    /// The way in by one listener, for one worker.
    pub(crate) fn entrance(self: &Arc<Self>, listener: &Arc<str>) -> Entrance {
        // A panic while it was held has left counts that are as good as any.
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if listeners.len() >= LISTENERS_MAX {
            listeners.retain(|_, count| Arc::strong_count(count) > 1);
        }
        let count = listeners.entry(Arc::clone(listener)).or_default();
        Entrance {
            load: Arc::clone(self),
            count: Arc::clone(count),
        }
    }

    /// The worker that shall serve a connection which came to this one.
    pub(crate) fn choose(&self, own: usize) -> usize {
        choose(own, self.workers.len(), |worker| {
            let seat = self.workers.get(worker);
            seat.map_or_else(Burden::default, |seat| Burden {
                connections: seat.connections.load(Ordering::Relaxed),
                busy: seat.busy.load(Ordering::Relaxed),
            })
        })
    }

    /// A worker tells for which share of the time it was running, in thousandths.
    pub(crate) fn set_busy(&self, worker: usize, busy: u32) {
        if let Some(seat) = self.workers.get(worker) {
            seat.busy.store(busy, Ordering::Relaxed);
        }
    }

    /// How little memory is left.
    pub(crate) fn pressure(&self) -> Pressure {
        match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::Tight,
            _ => Pressure::Full,
        }
    }

    /// The side thread tells what it found.
    pub(crate) fn set_pressure(&self, pressure: Pressure, used: u64) {
        self.pressure.store(pressure as u8, Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
    }

    /// The limit of memory and the bytes used at the last look, if there is a limit.
    pub(crate) fn memory(&self) -> Option<(u64, u64)> {
        let budget = self.memory.as_ref()?;
        Some((budget.limit, self.used.load(Ordering::Relaxed)))
    }

    fn connections(&self) -> usize {
        let seats = self.workers.iter();
        seats
            .map(|seat| seat.connections.load(Ordering::Relaxed))
            .sum()
    }
}

/// The way in by one listener.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    load: Arc<Load>,
    /// Connections that came in here, over all workers.
    count: Arc<AtomicUsize>,
}

impl Entrance {
    /// Counts a connection of a worker, unless there are too many.
    pub(crate) fn take(&self, worker: usize, limits: &ConnectionSettings) -> Option<Ticket> {
        // Counted before it is compared: a limit is never exceeded.
        let ticket = self.force(worker);
        self.within(limits, 0).then_some(ticket)
    }

    /// Counts a connection of a worker in any case.
    pub(crate) fn force(&self, worker: usize) -> Ticket {
        let ticket = Ticket {
            load: Arc::clone(&self.load),
            count: Arc::clone(&self.count),
            worker,
        };
        ticket.each(|count| count.fetch_add(1, Ordering::Relaxed));
        ticket
    }

    /// Whether one more connection would be too many.
    pub(crate) fn is_full(&self, limits: &ConnectionSettings) -> bool {
        !self.within(limits, 1)
    }

    fn within(&self, limits: &ConnectionSettings, more: usize) -> bool {
        let limit = |limit: Option<u32>| {
            let limit = limit.and_then(|limit| usize::try_from(limit).ok());
            limit.unwrap_or(usize::MAX)
        };
        let global = limit(limits.global_connection_limit).min(self.load.room);
        self.load.pressure() != Pressure::Full
            && self.load.connections() + more <= global
            && self.count.load(Ordering::Relaxed) + more <= limit(limits.listener_connection_limit)
    }
}

/// A connection that is counted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    load: Arc<Load>,
    count: Arc<AtomicUsize>,
    worker: usize,
}

impl Ticket {
    fn each(&self, change: impl Fn(&AtomicUsize) -> usize) {
        change(&self.count);
        if let Some(seat) = self.load.workers.get(self.worker) {
            change(&seat.connections);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.each(|count| count.fetch_sub(1, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(listener: Option<u32>, global: Option<u32>) -> ConnectionSettings {
        ConnectionSettings {
            listener_connection_limit: listener,
            global_connection_limit: global,
            ..ConnectionSettings::edge()
        }
    }

    #[test]
    fn limits_are_exact_over_all_workers() {
        let load = Load::new(4, 1_000, None);
        let (a, b) = (load.entrance(&"a".into()), load.entrance(&"b".into()));
        let limits = limits(Some(100), Some(150));
        let take = |entrance: &Entrance, count: usize| {
            let all = (0..count).filter_map(|n| entrance.take(n % 4, &limits));
            all.collect::<Vec<_>>()
        };
        let of_a = take(&a, 300);
        assert_eq!((of_a.len(), a.is_full(&limits)), (100, true));
        let of_b = take(&b, 300);
        assert_eq!((of_b.len(), b.is_full(&limits)), (50, true));
        drop(of_a);
        assert_eq!(take(&b, 300).len(), 50);
        drop(of_b);
        assert_eq!(load.connections(), 0);
    }

    #[test]
    fn threads_that_race_do_not_exceed_a_limit() {
        let load = Load::new(2, 1_000, None);
        let limits = limits(Some(10), None);
        let threads = (0..2).map(|worker| {
            let (entrance, limits) = (load.entrance(&"a".into()), limits.clone());
            std::thread::spawn(move || {
                for _ in 0..10_000 {
                    let tickets: Vec<_> = (0..8)
                        .filter_map(|_| entrance.take(worker, &limits))
                        .collect();
                    assert!(tickets.len() <= 10);
                    drop(tickets);
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(load.connections(), 0);
    }

    #[test]
    fn without_a_limit_descriptors_are_one_and_memory_another() {
        let load = Load::new(1, 2, None);
        let door = load.entrance(&"a".into());
        let limits = limits(None, None);
        let two = (door.take(0, &limits), door.take(0, &limits));
        assert!(two.0.is_some() && two.1.is_some() && door.take(0, &limits).is_none());
        drop(two);
        load.set_pressure(Pressure::Tight, 0);
        assert!(door.take(0, &limits).is_some());
        load.set_pressure(Pressure::Full, 0);
        assert!(door.take(0, &limits).is_none() && door.is_full(&limits));
    }
}
