//! The life of the process: what starts when, what it reacts to, how it ends.
//!
//! The main thread is the side thread: files, compiler, admin servers, signals. It starts one
//! worker a CPU for the traffic, and tells them things.

mod gateway;

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sallyport_config::ir::Snapshot;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::admin::Servers;
use crate::args::Options;
use crate::control::{self, Update};
use crate::generation::Generation;
use crate::load::{Load, descriptors, memory};
use crate::log::{self, LogWriter};
use crate::rt::{self, Driver, DriverChoice};
use crate::signals::{Signals, Wish};
use crate::source::files::Watch;
use crate::source::{Loaded, Pipeline};
use crate::systemd::{self, State};
use crate::upstream::Commons;
use crate::worker::{News, WorkerHandle, WorkerOptions, spawn_worker};

pub(crate) use gateway::{Addresses, Gateway, Status};

/// Wishes of operators that wait; further ones are refused.
const WISHES_MAX: usize = 16;
/// News of workers that wait; what does not fit in is lost.
const NEWS_MAX: usize = 1_024;
/// Listeners that could not be bound are tried again in this interval.
const BIND_EVERY: Duration = Duration::from_secs(5);

/// Priority of threads that compile: a tenth of a busy core, and all of an idle one.
const COMPILER_NICE: i32 = 10;
/// A gateway that has nothing to serve yet waits this long for its control process before it says
/// that it is ready.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// Why the process could not start.
#[derive(Debug)]
pub(crate) struct StartError {
    what: String,
    error: io::Error,
}

impl StartError {
    /// `what` completes the sentence "cannot …".
    pub(crate) fn new(what: impl Into<String>, error: io::Error) -> Self {
        let what = what.into();
        Self { what, error }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.error)
    }
}

/// Does what was asked for, until the end.
pub(crate) fn run(options: Options) -> ExitCode {
    log::set_level(options.log_level);
    log::set_format(options.log_format);
    if options.check {
        return check(&options);
    }
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("start", error);
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the configuration: the exit status is 1 when something would be refused.
fn check(options: &Options) -> ExitCode {
    let loaded = Pipeline::new(&Options {
        // What is good from before has no say here.
        state_dir: None,
        ..options.clone()
    })
    .load();
    let text = loaded.findings.text(io::stderr().is_terminal());
    // A closed pipe changes nothing about the verdict.
    let _ = io::stderr().write_all(text.as_bytes());
    let Some(snapshot) = loaded.snapshot.filter(|_| !loaded.findings.has_errors()) else {
        return ExitCode::FAILURE;
    };
    let (listeners, clusters) = (snapshot.listeners.len(), snapshot.clusters.len());
    let _ = writeln!(
        io::stdout(),
        "configuration is good: {listeners} listeners, {clusters} clusters"
    );
    ExitCode::SUCCESS
}

fn serve(options: Options) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // of the threads that compile: this one looks after health checks and names as well
        .on_thread_start(yield_to_workers)
        .build()
        .map_err(|error| StartError::new("start the side thread's runtime", error))?;
    let result = LocalSet::new().block_on(&runtime, async {
        Process::start(options).await?.run().await
    });
    // A compilation that is still going on is of no use to anybody.
    runtime.shutdown_background();
    result
}

/// Lets requests come first on the calling thread's core: compiling ten thousand objects takes
/// hundreds of milliseconds, and a worker that wakes up must not wait for them.
fn yield_to_workers() {
    // which threads may always do; without it compiling is only less polite
    let _ = rustix::process::setpriority_process(None, COMPILER_NICE);
}

/// The running process.
struct Process {
    gateway: Rc<Gateway>,
    pipeline: Option<Pipeline>,
    watch: Watch,
    signals: Signals,
    wishes: mpsc::Receiver<Wish>,
    news: mpsc::Receiver<News>,
    /// What a control process says; nothing comes where there is none.
    updates: mpsc::Receiver<Update>,
}

impl Process {
    /// Starts in this order: configuration, sockets of operators, workers, sockets of clients.
    /// Configuration that is broken in part is served in part, and none at all is waited for.
    async fn start(options: Options) -> Result<Self, StartError> {
        let signals = Signals::install().map_err(|error| StartError::new("take signals", error))?;
        let driver = rt::probe(options.driver);
        let driver = driver.map_err(|error| StartError::new("use the I/O driver", error))?;
        if options.driver == DriverChoice::Auto && !driver.reason.is_empty() {
            log::warn("driver", &driver.reason);
        }
        let servers = Servers::bind(&options)?;
        let mut watch = Watch::new(options.debounce);
        let mut pipeline = Pipeline::new(&options);
        let kept = control::kept(&options);
        kept.iter().for_each(|held| pipeline.identify(held));
        watch.set(pipeline.directories());
        let loaded = pipeline.load();
        watch.set(loaded.directories.clone());
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let gateway = Rc::new(start_gateway(options, driver, &tell)?);
        gateway.apply(loaded).await;
        pipeline.save();
        let (sender, wishes) = mpsc::channel(WISHES_MAX);
        let updates = control::start(&gateway, pipeline.documents());
        let addresses = servers.addresses();
        servers.serve(&gateway, &sender);
        let mut process = Self {
            gateway,
            pipeline: Some(pipeline),
            watch,
            signals,
            wishes,
            news,
            updates,
        };
        process.first().await?;
        let ready = ready_line(&process.gateway, addresses);
        let _ = writeln!(io::stdout(), "{ready}");
        systemd::notify(State::Ready);
        Ok(process)
    }

    /// Waits a while for a control process, if there is nothing to serve without it.
    async fn first(&mut self) -> Result<(), StartError> {
        let end = tokio::time::Instant::now() + FIRST_WITHIN;
        while self.gateway.control.is_some() && self.gateway.generation().id == 0 {
            let update = tokio::time::timeout_at(end, self.updates.recv()).await;
            let Ok(Some(update)) = update else { break };
            self.take(update).await?;
        }
        Ok(())
    }

    /// Takes what a control process says, and answers whether it is served.
    async fn take(&mut self, update: Update) -> Result<(), StartError> {
        // there is none only after a defect, which was reported
        let Some(pipeline) = &mut self.pipeline else {
            return Ok(());
        };
        match update {
            Update::Identity(held) => {
                pipeline.identify(&held);
                self.reload().await?;
                if let Some(control) = &self.gateway.control {
                    control.certified(&held.identity.to_string());
                }
            }
            Update::Documents(documents, reply) => {
                pipeline.receive(documents);
                let refused = self.reload().await?;
                // who asked may have lost its stream meanwhile
                let _ = reply.send(refused);
            }
        }
        Ok(())
    }

    async fn run(mut self) -> Result<(), StartError> {
        loop {
            let retry = async {
                if self.gateway.has_unbound() {
                    tokio::time::sleep(BIND_EVERY).await;
                } else {
                    std::future::pending().await
                }
            };
            let wish = tokio::select! {
                wish = self.signals.next() => wish,
                Some(wish) = self.wishes.recv() => wish,
                () = retry => Wish::Bind,
                () = self.watch.changed() => {
                    self.reload().await?;
                    continue;
                }
                () = self.gateway.learned() => {
                    self.gateway.refresh().await;
                    continue;
                }
                Some(update) = self.updates.recv() => {
                    self.take(update).await?;
                    continue;
                }
                Some(news) = self.news.recv() => {
                    Gateway::hear(&self.gateway, news);
                    continue;
                }
            };
            match wish {
                Wish::Stop => return self.stop().await,
                Wish::Reload => {
                    if let Some(control) = &self.gateway.control {
                        control.renew();
                    }
                    self.reload().await?;
                }
                Wish::Bind => self.gateway.bind_again().await,
                Wish::ReopenLogs => self.gateway.log_writer.reopen(),
                Wish::Upgrade => {
                    log::warn(
                        "signal",
                        "SIGUSR2: hot restart comes with a later release; nothing was done",
                    );
                }
                Wish::CloseListeners => self.gateway.close_listeners().await,
                Wish::Shed => self.shed(),
            }
        }
    }

    /// Reads the files and makes them the active configuration. Compiling takes as long as it takes
    /// on a thread of its own, while the admin servers answer. Gives what was refused, and why.
    async fn reload(&mut self) -> Result<Option<String>, StartError> {
        systemd::notify(State::Reloading);
        let Some(mut pipeline) = self.pipeline.take() else {
            return Ok(None);
        };
        let loading = tokio::task::spawn_blocking(move || {
            let loaded = pipeline.load();
            (pipeline, loaded)
        });
        let (mut pipeline, mut loaded): (Pipeline, Loaded) = loading.await.map_err(|error| {
            StartError::new("go on after a failed reload", io::Error::other(error))
        })?;
        self.watch.set(loaded.directories.clone());
        let refused = loaded.refused.take();
        self.gateway.apply(loaded).await;
        let saving = tokio::task::spawn_blocking(move || {
            pipeline.save();
            pipeline
        });
        // Saving does not panic; without a pipeline, reloads would do nothing.
        self.pipeline = saving.await.ok();
        systemd::notify(State::Ready);
        Ok(refused)
    }

    /// Connections end after their current request for the time of a drain, then listeners close.
    fn shed(&self) {
        self.gateway.shed();
        let gateway = Rc::clone(&self.gateway);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(gateway.drain_time()).await;
            gateway.close_listeners().await;
        });
    }

    /// Drains, or ends at once when asked a second time.
    async fn stop(mut self) -> Result<(), StartError> {
        systemd::notify(State::Stopping);
        let within = self.gateway.drain_time();
        log::info(
            "stop",
            format_args!("draining for at most {} s", within.as_secs()),
        );
        self.gateway.draining.set(true);
        let again = async { while self.signals.next().await != Wish::Stop {} };
        tokio::select! {
            cut = self.gateway.drain(within) => {
                log::info("stop", format_args!("drained; {cut} connections were cut"));
            }
            () = again => log::warn("stop", "asked again: ending at once"),
        }
        self.gateway.log_writer.finish();
        Ok(())
    }
}

/// Starts the workers with an empty generation.
fn start_gateway(
    options: Options,
    driver: Driver,
    news: &mpsc::Sender<News>,
) -> Result<Gateway, StartError> {
    let (log_writer, _thread) = LogWriter::start()
        .map_err(|error| StartError::new("start the access-log thread", error))?;
    let cpus = affinity();
    let count = options.workers.unwrap_or(cpus.len()).max(1);
    let (empty, _) = Generation::build(0, Arc::new(Snapshot::default()));
    let empty = Arc::new(empty);
    let commons = Commons::new();
    let budget = memory::Budget::find(options.memory_limit);
    let load = Load::new(count, descriptors::room(count), budget);
    let mut workers: Vec<WorkerHandle> = Vec::with_capacity(count);
    for index in 0..count {
        let worker = spawn_worker(WorkerOptions {
            load: Arc::clone(&load),
            index,
            cpu: cpus.get(index % cpus.len().max(1)).copied(),
            driver: driver.clone(),
            seed: seed(),
            generation: Arc::clone(&empty),
            access_log: log_writer.access_log(),
            commons: Arc::clone(&commons),
            news: news.clone(),
        });
        workers.push(worker.map_err(|error| StartError::new("start a worker", error))?);
    }
    WorkerHandle::introduce(&workers);
    tokio::task::spawn_local(memory::watch(Arc::clone(&load)));
    Ok(Gateway::new(
        options, driver, log_writer, workers, commons, load, empty,
    ))
}

/// Numbers that nobody can foresee, from the standard library's only source of them.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

/// CPUs that the process may use; at least one entry, or none where the system does not say.
fn affinity() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    cpu_list(line.unwrap_or_default())
}

/// `0-3,8` as numbers.
fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

/// The line that says where everything is, once it is there.
fn ready_line(gateway: &Gateway, [admin, status, metrics]: [Option<SocketAddr>; 3]) -> String {
    let address = |address: Option<SocketAddr>| {
        address.map_or_else(|| "none".to_owned(), |address| address.to_string())
    };
    let listeners: Vec<String> = gateway
        .addresses()
        .iter()
        .filter_map(|(name, addresses)| Some(format!("{name}={}", addresses.first()?)))
        .collect();
    format!(
        "ready admin={} status={} metrics={} listeners={} driver={} workers={}",
        address(admin),
        address(status),
        address(metrics),
        listeners.join(","),
        gateway.driver,
        gateway.workers(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_have_ranges_and_single_numbers() {
        assert_eq!(cpu_list(" 0-2,5,8-9\n"), [0, 1, 2, 5, 8, 9]);
        assert!(cpu_list("").is_empty());
        assert!(!affinity().is_empty());
    }
}
