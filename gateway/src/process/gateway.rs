//! What the process serves at the moment: workers, bound sockets, the active generation, and what
//! is known to be wrong. Lives on the side thread; the admin server reads it, only the main loop
//! changes it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sallyport_config::diag::Level;
use sallyport_config::ir::{JwtRule, Listener, Snapshot};
use sallyport_issuers::{Fetcher, Keys, Resolver, Store, Weight};
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};

use super::seed;
use crate::args::Options;
use crate::control::Status as Control;
use crate::dns::Names;
use crate::generation::Generation;
use crate::listen::{self, BindOptions, Bound, BoundAddress};
use crate::load::Load;
use crate::log::{self, LogWriter};
use crate::rt::Driver;
use crate::source::{Findings, Loaded, Problem};
use crate::stats::Report;
use crate::tls::TlsProblem;
use crate::upstream::Commons;
use crate::worker::{Command, News, Reply, WorkerHandle};

/// Wait for all workers to carry out a command.
const OBEY_WITHIN: Duration = Duration::from_secs(5);
/// Wait for all workers to hand over their counters.
const COLLECT_WITHIN: Duration = Duration::from_millis(500);

/// Earlier generations that are held; further ones are dropped by whoever used them last.
const RETIRED_MAX: usize = 64;

/// Where the listeners of a snapshot are bound, by name.
pub(crate) type Addresses = BTreeMap<Arc<str>, Vec<BoundAddress>>;

/// What the process serves.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// What the user asked for.
    pub(crate) options: Options,
    /// What the workers run on.
    pub(crate) driver: Driver,
    /// Writer of the access log.
    pub(crate) log_writer: LogWriter,
    /// Start of the process.
    pub(crate) started: Instant,
    /// The process ends as soon as its connections have.
    pub(crate) draining: Cell<bool>,
    /// An operator wants health checks to fail.
    pub(crate) health_failed: Cell<bool>,
    /// What the workers share of the clusters.
    pub(crate) commons: Arc<Commons>,
    /// What the workers see of each other, and memory.
    pub(crate) load: Arc<Load>,
    /// Names of endpoints.
    pub(crate) names: Rc<Names>,
    /// Keys of token issuers.
    pub(crate) keys: Rc<Keys>,
    /// How this stands with the control process, if configuration comes from one.
    pub(crate) control: Option<Rc<Control>>,
    workers: RefCell<Vec<WorkerHandle>>,
    current: RefCell<Current>,
}

/// The active generation and what is known about it.
#[derive(Debug)]
struct Current {
    generation: Arc<Generation>,
    hash: u64,
    since: Instant,
    since_time: SystemTime,
    findings: Arc<Findings>,
    tls: Vec<Problem>,
    unbound: Vec<Problem>,
    /// Listeners that serve HTTPS but not HTTP/3, because UDP could not be bound.
    without_quic: BTreeMap<Arc<str>, Problem>,
    addresses: Addresses,
    rejected: u64,
    last_error: Option<(SystemTime, String)>,
    /// Earlier generations that requests may still use. Dropping a large one takes time that the
    /// last request to use it shall not pay: it is dropped here.
    retired: Vec<Arc<Generation>>,
}

/// The active generation, for `/generation`.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    /// Its number; 0 before the first.
    pub(crate) id: u64,
    /// Hash of its snapshot: equal snapshots have equal hashes.
    pub(crate) hash: u64,
    /// How long it has been active.
    pub(crate) age: Duration,
    /// Since when.
    pub(crate) since: SystemTime,
    /// Loads in which something was refused.
    pub(crate) rejected: u64,
    /// The last of them, and why; `None` when the newest load was fine.
    pub(crate) last_error: Option<(SystemTime, String)>,
}

impl Gateway {
    /// Takes over workers that serve `generation`, an empty one.
    pub(crate) fn new(
        options: Options,
        driver: Driver,
        log_writer: LogWriter,
        workers: Vec<WorkerHandle>,
        commons: Arc<Commons>,
        load: Arc<Load>,
        generation: Arc<Generation>,
    ) -> Self {
        let resolver = Rc::new(Resolver::new(&options.dns, options.dns_family, say));
        Self {
            keys: keys(&options, Rc::clone(&resolver)),
            names: Names::new(resolver, seed()),
            control: options.control.as_ref().map(|c| Control::new(&c.url)),
            options,
            driver,
            log_writer,
            started: Instant::now(),
            draining: Cell::new(false),
            health_failed: Cell::new(false),
            workers: RefCell::new(workers),
            commons,
            load,
            current: RefCell::new(Current {
                hash: hash(&generation.snapshot),
                generation,
                since: Instant::now(),
                since_time: SystemTime::now(),
                findings: Arc::default(),
                tls: Vec::new(),
                unbound: Vec::new(),
                without_quic: BTreeMap::new(),
                addresses: Addresses::new(),
                rejected: 0,
                last_error: None,
                retired: Vec::new(),
            }),
        }
    }

    /// Makes a loaded configuration the active one: new sockets first, then the generation on all
    /// workers, then the sockets that are no longer wanted. Sockets that stay are not touched. An
    /// equal snapshot changes nothing but what is known to be wrong.
    pub(crate) async fn apply(&self, loaded: Loaded) {
        let Loaded {
            snapshot,
            findings,
            begun,
            ..
        } = loaded;
        self.note(findings);
        let Some(snapshot) = snapshot else { return };
        let served = self.generation();
        if served.id > 0 && *served.snapshot == *snapshot {
            self.bind_again().await;
            return;
        }
        let (bound, unbound) = self.bind_missing(&snapshot);
        let id = served.id + 1;
        self.names.want(&snapshot);
        let sources = snapshot.policies.jwt.iter();
        self.keys.want(sources.filter_map(JwtRule::source));
        let building = tokio::task::spawn_blocking(move || Generation::build(id, snapshot));
        let Ok((generation, problems)) = building.await else {
            self.refuse("building the generation failed: this is a defect of the gateway");
            return;
        };
        tokio::join!(self.names.warm(), self.keys.warm());
        let found = self.names.fill(&generation.snapshot, served.found());
        let keys = self.keys.fill(&served.keys);
        let Some(generation) = ringed(generation.with(found, keys), served).await else {
            self.refuse("hashing endpoints failed: this is a defect of the gateway");
            return;
        };
        self.activate(&generation).await;
        self.record(Arc::clone(&generation), problems, unbound);
        self.listen(bound);
        self.unlisten_unwanted(&generation.snapshot).await;
        let snapshot = &generation.snapshot;
        let values: &[(&str, &dyn fmt::Display)] = &[
            ("listeners", &snapshot.listeners.len()),
            ("clusters", &snapshot.clusters.len()),
            ("took_ms", &begun.elapsed().as_millis()),
        ];
        let message = format_args!("generation {id} is active");
        log::write(log::Level::Info, "config", message, values);
    }

    /// Resolves when there is something that [`Self::refresh`] should tell the workers.
    pub(crate) async fn learned(&self) {
        tokio::select! {
            () = self.names.changed() => {}
            () = self.keys.changed() => {}
        }
    }

    /// Tells the workers which endpoints names stand for by now, and which keys issuers have.
    /// Tables, handshake configurations and the balancers of other clusters stay the same objects.
    pub(crate) async fn refresh(&self) {
        let served = self.generation();
        let found = self.names.fill(&served.snapshot, served.found());
        let keys = self.keys.fill(&served.keys);
        if found == *served.found() && Arc::ptr_eq(&keys, &served.keys) {
            return;
        }
        let Some(generation) = ringed(served.with(found, keys), served).await else {
            log::debug("config", "hashing new endpoints failed");
            return;
        };
        self.activate(&generation).await;
        self.current.borrow_mut().generation = generation;
        log::debug("config", "the workers know the new endpoints and keys");
    }

    /// Does what a worker's news ask for.
    pub(crate) fn hear(this: &Rc<Self>, news: News) {
        match news {
            News::MissingKeys(urls) => this.keys.missing(&urls),
            News::LookUp(worker, host) => {
                let this = Rc::clone(this);
                tokio::task::spawn_local(async move { this.look_up(worker, host).await });
            }
        }
    }

    /// Looks a host up for a worker.
    async fn look_up(&self, worker: usize, host: Box<str>) {
        let found = self.names.look_up(&host, &self.options.allow_private).await;
        let workers = self.workers.borrow();
        if let Some(worker) = workers.iter().find(|handle| handle.index == worker) {
            worker.send(Command::LookedUp(host, found));
        }
    }

    /// Tries again to bind what could not be bound; says nothing while that is so.
    pub(crate) async fn bind_again(&self) {
        if self.current.borrow().unbound.is_empty() {
            return;
        }
        let snapshot = Arc::clone(&self.generation().snapshot);
        let (bound, unbound) = self.bind_missing(&snapshot);
        for bound in &bound {
            log::info("listener", format_args!("{} is bound now", bound.name));
        }
        self.current.borrow_mut().unbound = unbound;
        self.listen(bound);
    }

    /// Whether a listener could not be bound.
    pub(crate) fn has_unbound(&self) -> bool {
        !self.current.borrow().unbound.is_empty()
    }

    /// Stops accepting on all listeners; connections end after their current request.
    pub(crate) async fn close_listeners(&self) {
        self.unlisten_unwanted(&Snapshot::default()).await;
        self.current.borrow_mut().unbound.clear();
    }

    /// Lets every connection end after its current request, while new ones are still accepted.
    pub(crate) fn shed(&self) {
        for worker in self.workers.borrow().iter() {
            worker.send(Command::Lame);
        }
    }

    /// Drains all workers; gives the number of connections that were cut, once all have ended.
    pub(crate) async fn drain(&self, within: Duration) -> usize {
        let deadline = within + Duration::from_secs(1);
        let drain = |reply| Command::Drain(within, reply);
        let (cut, missing) = self.ask(deadline, drain).await;
        let workers = self.workers.take();
        if missing.is_empty() {
            // All have answered, so their threads are at their end.
            let join = || workers.into_iter().for_each(WorkerHandle::join);
            let _ = timeout(OBEY_WITHIN, tokio::task::spawn_blocking(join)).await;
        }
        cut.into_iter().sum()
    }

    /// The sum of all workers' counters, and how many workers did not answer in time.
    pub(crate) async fn collect(&self) -> (Report, usize) {
        let (reports, silent) = self.ask(COLLECT_WITHIN, Command::Collect).await;
        let mut sum = Report::default();
        for report in reports {
            sum.merge(report);
        }
        (sum, silent.len())
    }

    /// How long connections may live on while draining.
    pub(crate) fn drain_time(&self) -> Duration {
        Duration::from_millis(self.generation().snapshot.settings.drain.0)
    }

    /// The active generation.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current.borrow().generation)
    }

    /// About the active generation.
    pub(crate) fn status(&self) -> Status {
        let current = self.current.borrow();
        Status {
            id: current.generation.id,
            hash: current.hash,
            age: current.since.elapsed(),
            since: current.since_time,
            rejected: current.rejected,
            last_error: current.last_error.clone(),
        }
    }

    /// What is known to be wrong: findings about the text, and problems of sockets and certificates.
    pub(crate) fn findings(&self) -> (Arc<Findings>, Vec<Problem>) {
        let current = self.current.borrow();
        let problems = current.tls.iter().chain(&current.unbound);
        let problems = problems.chain(current.without_quic.values());
        (Arc::clone(&current.findings), problems.cloned().collect())
    }

    /// Where listeners are bound.
    pub(crate) fn addresses(&self) -> Addresses {
        self.current.borrow().addresses.clone()
    }

    /// Workers that were started.
    pub(crate) fn workers(&self) -> usize {
        self.workers.borrow().len()
    }

    /// Whether traffic should come here: a listener serves, and neither drain nor operator object.
    pub(crate) fn is_ready(&self) -> bool {
        let current = self.current.borrow();
        let serves = current.generation.id > 0 && !current.addresses.is_empty();
        serves && !self.draining.get() && !self.health_failed.get()
    }

    /// Remembers what is wrong, and logs it when it is news.
    fn note(&self, findings: Arc<Findings>) {
        if findings.is_news(&self.current.borrow().findings) {
            findings.log();
        }
        if let Some(error) = findings.first_error() {
            self.refuse(&error);
        } else {
            self.current.borrow_mut().last_error = None;
        }
        self.current.borrow_mut().findings = findings;
    }

    fn refuse(&self, error: &str) {
        let mut current = self.current.borrow_mut();
        current.rejected += 1;
        current.last_error = Some((SystemTime::now(), error.to_owned()));
    }

    fn record(&self, generation: Arc<Generation>, tls: Vec<TlsProblem>, unbound: Vec<Problem>) {
        let tls: Vec<Problem> = tls.into_iter().map(tls_problem).collect();
        for problem in &tls {
            log::warn("tls", problem);
        }
        let mut current = self.current.borrow_mut();
        current.hash = hash(&generation.snapshot);
        current
            .retired
            .retain(|retired| Arc::strong_count(retired) > 1);
        let retired = std::mem::replace(&mut current.generation, generation);
        if current.retired.len() < RETIRED_MAX {
            current.retired.push(retired);
        }
        current.since = Instant::now();
        current.since_time = SystemTime::now();
        current.tls = tls;
        current.unbound = unbound;
    }

    /// Binds listeners of a snapshot that are not bound yet. What cannot be bound is a problem of
    /// its own; all else is served.
    fn bind_missing(&self, snapshot: &Snapshot) -> (Vec<Bound>, Vec<Problem>) {
        let options = BindOptions {
            default: self.options.bind.clone(),
            workers: self.workers(),
        };
        let known = self.addresses();
        let was_unbound = self.current.borrow().unbound.clone();
        let (mut bound, mut unbound) = (Vec::new(), Vec::new());
        for listener in &snapshot.listeners {
            if known.contains_key(&*listener.name) {
                continue;
            }
            match listen::bind(&self.placed(listener), &options) {
                Ok(sockets) => bound.push(sockets),
                Err(error) => {
                    let about = format!("listener {}", listener.name);
                    let problem = Problem::of(Level::Error, about, error.to_string());
                    if !was_unbound.contains(&problem) {
                        log::error("listener", &error);
                    }
                    unbound.push(problem);
                }
            }
        }
        (bound, unbound)
    }

    /// A listener where the system is to choose the port: `--port-map 443=0`. The snapshot keeps
    /// the declared port, so that two of them stay apart.
    fn placed(&self, listener: &Listener) -> Listener {
        let mut listener = listener.clone();
        if self.options.port_map.get(&listener.port) == Some(&0) {
            listener.port = 0;
        }
        listener
    }

    async fn activate(&self, generation: &Arc<Generation>) {
        let activate = |reply| Command::Activate(Arc::clone(generation), reply);
        let (_, silent) = self.ask(OBEY_WITHIN, activate).await;
        for index in silent {
            let message = format_args!("worker {index} is slow to take over the new generation");
            log::warn("worker", message);
        }
    }

    fn listen(&self, bound: Vec<Bound>) {
        for bound in bound {
            let mut current = self.current.borrow_mut();
            if let Some(error) = bound.without_quic {
                log::warn("listener", format_args!("no HTTP/3: {error}"));
                let about = format!("listener {}", bound.name);
                let text = format!("HTTP/3 is not served, HTTPS over TCP is: {error}");
                let problem = Problem::of(Level::Warning, about, text);
                current
                    .without_quic
                    .insert(Arc::clone(&bound.name), problem);
            }
            current.addresses.insert(bound.name, bound.addresses);
            for (worker, sockets) in self.workers.borrow().iter().zip(bound.workers) {
                worker.send(Command::Listen(sockets));
            }
        }
    }

    async fn unlisten_unwanted(&self, snapshot: &Snapshot) {
        let mut unwanted = self.addresses();
        for listener in &snapshot.listeners {
            unwanted.remove(&*listener.name);
        }
        for name in unwanted.into_keys() {
            let unlisten = |reply| Command::Unlisten(Arc::clone(&name), reply);
            self.ask::<()>(OBEY_WITHIN, unlisten).await;
            let mut current = self.current.borrow_mut();
            current.addresses.remove(&name);
            current.without_quic.remove(&name);
            drop(current);
            log::info("listener", format_args!("{name} is closed"));
        }
    }

    /// Sends a command to all workers and waits for their answers; gives those, and the numbers of
    /// the workers that did not answer.
    async fn ask<T>(
        &self,
        within: Duration,
        command: impl Fn(Reply<T>) -> Command,
    ) -> (Vec<T>, Vec<usize>) {
        let mut waiting = Vec::with_capacity(self.workers());
        for worker in self.workers.borrow().iter() {
            let (reply, answer) = oneshot::channel();
            worker.send(command(reply));
            waiting.push((worker.index, answer));
        }
        let deadline = tokio::time::Instant::now() + within;
        let (mut answers, mut missing) = (Vec::with_capacity(waiting.len()), Vec::new());
        for (index, answer) in waiting {
            match timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => answers.push(answer),
                Ok(Err(_)) | Err(_) => missing.push(index),
            }
        }
        (answers, missing)
    }
}

/// Lines of those who look up names and fetch keys.
fn say(weight: Weight, about: &'static str, what: fmt::Arguments<'_>) {
    let level = match weight {
        Weight::Info => log::Level::Info,
        Weight::Warn => log::Level::Warn,
        Weight::Error => log::Level::Error,
    };
    log::write(level, about, what, &[]);
}

/// Keys of issuers, as the options say. A state directory that cannot be used costs the memory of
/// restarts only.
fn keys(options: &Options, resolver: Rc<Resolver>) -> Rc<Keys> {
    let store = options.state_dir.as_deref().and_then(|directory| {
        let store = Store::open(directory);
        store.map_err(|error| log::warn("state", error)).ok()
    });
    let fetcher = Fetcher::new(resolver, options.jwks_ca.as_ref(), &options.allow_private);
    Keys::new(fetcher, store, seed(), say)
}

fn tls_problem(problem: TlsProblem) -> Problem {
    let TlsProblem {
        about,
        certificate,
        reason,
    } = problem;
    let separator = if certificate.is_empty() { "" } else { ": " };
    Problem::of(
        Level::Error,
        about,
        format!("{certificate}{separator}{reason}"),
    )
}

fn hash(snapshot: &Snapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    snapshot.hash(&mut hasher);
    hasher.finish()
}

/// A generation with what hashes are looked up in.
async fn ringed(new: Generation, before: Arc<Generation>) -> Option<Arc<Generation>> {
    let making = tokio::task::spawn_blocking(move || new.with_rings(&before));
    making.await.ok().map(Arc::new)
}
