//! One worker: a thread on one core with its own runtime, listeners, connections, pools and
//! counters. Workers share nothing that changes; what they must know comes as a [`Command`].

mod active;
mod clock;
mod gate;
mod guests;
mod health;
mod hosts;
mod mailbox;
mod scratch;
mod stop;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use sallyport_core::admit::{Misses, TokenCache};
use sallyport_core::failure::FailureKind;
use sallyport_core::rng::Rng;

use crate::buffer::Buffers;
use crate::generation::Generation;
use crate::listen::{Arrival, BoundAddress, WorkerSockets};
use crate::load::{Load, Pressure, Ticket};
use crate::log::AccessLog;
use crate::rt::{self, Driver, Runtime, Timers};
use crate::stats::{Report, WorkerStats};
use crate::upstream::{Commons, Pools};

use gate::Gate;
use health::Doctor;

pub(crate) use active::{Active, Target};
pub(crate) use clock::Clock;
pub(crate) use gate::Entry;
pub(crate) use guests::{Guest, Guests};
pub(crate) use hosts::{Hosts, LookedUp};
pub(crate) use mailbox::Sender;
pub(crate) use scratch::{Scratch, ScratchPool};
pub(crate) use stop::Stop;

/// Where an answer to a command goes: `await` it on the side thread, `blocking_recv` it in tests.
pub(crate) type Reply<T> = tokio::sync::oneshot::Sender<T>;

/// How often logs are flushed, news told and pools swept.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// Pools are swept every so many times.
const SWEEP_EVERY: u32 = 4;

/// What a worker can be told. Commands are carried out in order.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve every further request by this generation; answered when that is so.
    Activate(Arc<Generation>, Reply<()>),
    /// Accept connections on these sockets.
    Listen(WorkerSockets),
    /// Stop accepting for the listener of this name and close its sockets; its connections end
    /// after their current request. Answered when the sockets are closed.
    Unlisten(Arc<str>, Reply<()>),
    /// A health check from outside shall fail: every connection ends after its current request,
    /// but new ones are still accepted.
    Lame,
    /// Stop accepting, finish requests, close idle connections, and end the thread when none is
    /// left or this time is over. Answered with the number of connections that were cut.
    Drain(Duration, Reply<usize>),
    /// The addresses of a host that was asked for.
    LookedUp(Box<str>, LookedUp),
    /// The mailboxes of all workers, by number: connections may be handed over.
    Meet(Others),
    /// Serve a connection that another worker accepted.
    Seat(Box<Handed>),
    /// Answered with a copy of the worker's counters.
    Collect(Reply<Report>),
}

/// The mailboxes of all workers, by number.
pub(crate) type Others = Arc<[Sender]>;

/// A connection that one worker accepted and another one serves.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The listener that it came in by.
    pub(crate) listener: Arc<str>,
    /// The address of it.
    pub(crate) door: BoundAddress,
    /// The connection.
    pub(crate) arrival: Arrival,
    /// Its place, which counts for the worker that serves it.
    pub(crate) ticket: Ticket,
}

/// What a worker tells the side thread of its own accord.
#[derive(Debug)]
pub(crate) enum News {
    /// Tokens came that the fetched keys of these URLs do not verify.
    MissingKeys(Vec<Box<str>>),
    /// A request on the worker of this number waits for the addresses of a host.
    LookUp(usize, Box<str>),
}

/// How to start a worker.
#[derive(Debug)]
pub(crate) struct WorkerOptions {
    /// What all workers share of the clusters.
    pub(crate) commons: Arc<Commons>,
    /// What all workers see of each other.
    pub(crate) load: Arc<Load>,
    /// Number of the worker, from 0.
    pub(crate) index: usize,
    /// CPU to stay on, `None` for any.
    pub(crate) cpu: Option<usize>,
    /// What to run on.
    pub(crate) driver: Driver,
    /// Seed of the worker's dice; the same seed throws the same dice.
    pub(crate) seed: u64,
    /// What to serve first.
    pub(crate) generation: Arc<Generation>,
    /// Where the worker's access-log lines go.
    pub(crate) access_log: AccessLog,
    /// Where the worker's news go; what does not fit in is lost.
    pub(crate) news: tokio::sync::mpsc::Sender<News>,
}

/// The side thread's end of a worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    /// Number of the worker.
    pub(crate) index: usize,
    mailbox: Sender,
    thread: JoinHandle<()>,
}

impl WorkerHandle {
    /// Tells the worker something. Never blocks. A worker that has ended drops the command, so
    /// that who waits for its answer sees the channel closed.
    pub(crate) fn send(&self, command: Command) {
        self.mailbox.send(command);
    }

    /// Lets workers hand connections over to each other.
    pub(crate) fn introduce(workers: &[Self]) {
        let others: Others = workers.iter().map(|w| w.mailbox.clone()).collect();
        for worker in workers {
            worker.send(Command::Meet(Arc::clone(&others)));
        }
    }

    /// Waits for the thread to end.
    pub(crate) fn join(self) {
        // A panic that ended the worker has been reported where it happened.
        drop(self.thread.join());
    }
}

/// Starts a worker thread.
///
/// # Errors
/// The thread or its ring could not be made.
pub(crate) fn spawn_worker(options: WorkerOptions) -> io::Result<WorkerHandle> {
    let (mailbox, receiver) = mailbox::channel()?;
    let index = options.index;
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            if let Some(cpu) = options.cpu {
                // A CPU that went away costs locality, not service.
                drop(rt::pin_to(cpu));
            }
            match Runtime::new(options.driver.kind) {
                Ok(mut runtime) => {
                    // The starter waits for exactly one answer.
                    drop(ready.send(Ok(())));
                    runtime.block_on(run(options, receiver));
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
    started
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the worker thread ended at once")))?;
    Ok(WorkerHandle {
        index,
        mailbox,
        thread,
    })
}

/// What all tasks of a worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Number of the worker, from 0.
    pub(crate) index: usize,
    /// What all workers see of each other.
    pub(crate) load: Arc<Load>,
    /// Hosts that requests named.
    pub(crate) hosts: Hosts,
    /// Clock and alarms.
    pub(crate) timers: Rc<Timers>,
    /// Time of day.
    pub(crate) clock: Clock,
    /// Buffers that nobody uses.
    pub(crate) buffers: Rc<Buffers>,
    /// Working memory of requests that nobody uses.
    pub(crate) scratch: ScratchPool,
    /// The worker's dice.
    pub(crate) rng: RefCell<Rng>,
    /// Signatures of tokens that were checked.
    pub(crate) tokens: TokenCache,
    /// Sets of keys that did not verify a token.
    pub(crate) misses: Misses,
    /// Counters.
    pub(crate) stats: RefCell<WorkerStats>,
    /// Access-log lines on their way out.
    pub(crate) log: RefCell<AccessLog>,
    /// Idle upstream connections.
    pub(crate) pools: Pools,
    /// What all workers share of the clusters.
    pub(crate) commons: Arc<Commons>,
    /// Name of this machine, for logs.
    pub(crate) hostname: Box<str>,
    /// Listeners with a way in for QUIC.
    pub(crate) quic: RefCell<HashSet<Arc<str>>>,
    /// Where handshakes wait for each other.
    pub(crate) gate: Rc<Gate>,
    /// Client connections.
    pub(crate) guests: Guests,
    /// Copies of requests under way.
    pub(crate) mirrors: Cell<usize>,
    /// Asks endpoints whether they are well, on the first worker.
    doctor: Doctor,
    news: tokio::sync::mpsc::Sender<News>,
    others: OnceCell<Others>,
    active: RefCell<Rc<Active>>,
}

impl Worker {
    fn new(options: WorkerOptions) -> Rc<Self> {
        let timers = Timers::new();
        let worker = Self {
            index: options.index,
            load: options.load,
            hosts: Hosts::default(),
            clock: Clock::new(timers.now()),
            timers,
            buffers: Rc::default(),
            scratch: ScratchPool::default(),
            rng: RefCell::new(Rng::new(options.seed)),
            tokens: TokenCache::default(),
            misses: Misses::default(),
            news: options.news,
            others: OnceCell::new(),
            stats: RefCell::default(),
            log: RefCell::new(options.access_log),
            pools: Pools::default(),
            commons: options.commons,
            hostname: hostname(),
            quic: RefCell::default(),
            gate: Rc::default(),
            guests: Guests::default(),
            mirrors: Cell::new(0),
            doctor: Doctor::default(),
            active: RefCell::new(Rc::new(Active::new(options.generation))),
        };
        worker.point_log();
        Rc::new(worker)
    }

    /// What the next request is served by.
    pub(crate) fn active(&self) -> Rc<Active> {
        Rc::clone(&self.active.borrow())
    }

    /// The other workers are there.
    fn meet(&self, others: Others) {
        // They are all started before any of them is told.
        drop(self.others.set(others));
    }

    /// The worker that shall serve a connection which has come to this one.
    pub(crate) fn choose(&self) -> usize {
        match self.others.get() {
            Some(_) => self.load.choose(self.index),
            None => self.index,
        }
    }

    /// Gives a connection to the worker of this number.
    pub(crate) fn hand_over(&self, to: usize, connection: Handed) {
        if let Some(other) = self.others.get().and_then(|others| others.get(to)) {
            other.send(Command::Seat(Box::new(connection)));
        }
    }

    /// Whether handshakes are other ones from now on.
    fn activate(&self, generation: Arc<Generation>) -> bool {
        let before = self.active();
        let other = !Arc::ptr_eq(&before.generation.tls, &generation.tls);
        let active = before.after(generation);
        *self.active.borrow_mut() = Rc::new(active);
        self.point_log();
        other
    }

    /// The addresses of a host that a request names; the side thread is asked for them.
    pub(crate) fn look_up(
        &self,
        host: &str,
        context: &mut Context<'_>,
    ) -> Poll<Result<Arc<[IpAddr]>, FailureKind>> {
        let ask = |host: &str| {
            let question = News::LookUp(self.index, host.into());
            self.news.try_send(question).is_ok()
        };
        self.hosts.poll(host, self.timers.now(), context, ask)
    }

    /// The counters, and what is held at the moment.
    fn report(&self) -> Report {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Report {
            alarms: count(self.timers.alarms()),
            mirrors: count(self.mirrors.get()),
            ..self.stats.borrow().report()
        }
    }

    fn point_log(&self) {
        let active = self.active();
        let log = &active.generation.snapshot.settings.access_log;
        let path = log.as_ref().map(|log| log.path.as_str());
        self.log.borrow_mut().set_path(path);
    }
}

/// Name of this machine; empty if the system does not say.
fn hostname() -> Box<str> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().into()
}

async fn run(options: WorkerOptions, receiver: mailbox::Receiver) {
    let worker = Worker::new(options);
    rt::spawn(Rc::clone(&worker.timers).run());
    rt::spawn(housekeeping(Rc::clone(&worker)));
    mailbox::obey(&worker, receiver).await;
}

async fn housekeeping(worker: Rc<Worker>) {
    let mut turn = 0;
    let mut effort = rt::Effort::begin();
    loop {
        rt::sleep(HOUSEKEEPING).await;
        turn = (turn + 1) % SWEEP_EVERY;
        worker.load.set_busy(worker.index, effort.busy());
        if worker.load.pressure() == Pressure::Full {
            worker.buffers.release();
        }
        let now = worker.timers.now();
        worker.clock.adjust(now);
        worker.active().sweep(&worker);
        if worker.index == 0 {
            worker.doctor.round(&worker, now);
        }
        {
            let mut log = worker.log.borrow_mut();
            if log.pending() {
                log.flush();
            }
            worker.stats.borrow_mut().set_log_dropped(log.dropped());
        }
        let missing = worker.misses.take();
        if !missing.is_empty() {
            // Whoever lacks the keys will come again, and then there is room again.
            let _ = worker.news.try_send(News::MissingKeys(missing));
        }
        if turn == 0 {
            let mut stats = worker.stats.borrow_mut();
            worker.pools.sweep(now, |name| stats.upstream_closed(name));
        }
    }
}

#[cfg(test)]
mod tests;
