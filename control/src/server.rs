//! The control process: configuration in, streams of resources and certificates out.
//!
//! Ports are those of istiod: 15010 for hosts that trust everybody on them, 15012 encrypted and for
//! callers that say who they are, 15014 for operators.

mod admission;
pub(crate) mod ads;
pub(crate) mod args;
mod authority;
mod caller;
mod certificates;
mod clients;
mod environment;
mod frames;
pub(crate) mod grpc;
mod listen;
mod metrics;
mod monitoring;
pub(crate) mod stream;

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use sallyport_config::key_sources;
use sallyport_wire::istio_ca::IstioCertificateServer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Extensions, Status};

use crate::ca::{Authority, CSR_BYTES_MAX};
use crate::issuers::{IssuerKeys, Issuers, Known};
use crate::log;
use crate::proxy::Proxy;
use crate::push::Generation;
use crate::registry::Registry;
use crate::resources::Resources;
use crate::store::{Configuration, Store, Watch};
use crate::token::UsedTokens;
use admission::Admission;
use args::Options;
use authority::Keys;
use caller::{Caller, Connection};
use clients::Clients;
use metrics::Metrics;

/// Streams of one connection. A proxy has one or two.
const STREAMS_PER_CONNECTION: u32 = 64;
/// A connection that does not answer a ping within this is closed.
const PING_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);
/// Connections are pinged in this interval, so that dead ones go away.
const PING_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// What all parts of the process share.
pub(crate) struct Shared {
    generation: watch::Receiver<Option<Arc<Generation>>>,
    clients: Arc<Clients>,
    metrics: Metrics,
    admission: Admission,
    /// Results that are made at a time (`PILOT_PUSH_THROTTLE`).
    pushes: Semaphore,
    keys: Option<Keys>,
    used: UsedTokens,
    /// Workloads that register themselves.
    registry: Arc<Registry>,
    /// Keys of token issuers.
    issuers: watch::Receiver<Known>,
}

impl Shared {
    /// What a proxy is given, made on a thread of its own.
    async fn resources(
        self: &Arc<Self>,
        generation: &Arc<Generation>,
        proxy: &Proxy,
        before: Option<Arc<Resources>>,
    ) -> Option<Arc<Resources>> {
        let _turn = self.pushes.acquire().await.ok()?;
        let generation = Arc::clone(generation);
        let proxy = proxy.clone();
        let begun = std::time::Instant::now();
        let making = move || generation.resources(&proxy, before.as_ref());
        let made = tokio::task::spawn_blocking(making).await.ok().flatten();
        self.metrics.push_time.add(begun.elapsed());
        if made.is_none() {
            self.metrics.internal_errors.add(1);
            log::error(
                "ads",
                "resources cannot be made: this is a defect, please report it",
            );
        }
        made
    }

    /// Who calls. On the encrypted port everybody says so, by certificate or by token.
    fn caller(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<Caller, Status> {
        let connection = extensions.get::<Connection>();
        let connection = connection.ok_or_else(|| Status::internal("no connection"))?;
        if !connection.is_tls {
            return Ok(Caller::Unproven);
        }
        if let Some(identity) = &connection.certificate {
            return Ok(Caller::Certificate(identity.clone()));
        }
        let failed = |why: String| {
            self.metrics.authentication_failures.add(1);
            Err(Status::unauthenticated(why))
        };
        let header = metadata.get("authorization").and_then(|v| v.to_str().ok());
        let Some(token) = header.and_then(|header| header.strip_prefix("Bearer ")) else {
            return failed("show a certificate or a token".to_owned());
        };
        let Some(keys) = &self.keys else {
            return failed("there is no CA here".to_owned());
        };
        match keys
            .tokens
            .verify(token.trim(), certificates::seconds_now())
        {
            Ok(claims) => Ok(Caller::Token(claims)),
            Err(error) => failed(error.to_string()),
        }
    }

    fn authority(&self) -> Result<Arc<Authority>, Status> {
        let keys = self.keys.as_ref();
        keys.map(Keys::authority)
            .ok_or_else(|| Status::unavailable("there is no CA here"))
    }

    fn root_expiry(&self) -> i64 {
        self.keys.as_ref().map_or(0, |keys| keys.authority().ends())
    }
}

/// Why the process could not start.
#[derive(Debug)]
pub(crate) struct StartError(String);

impl StartError {
    /// `what` completes the sentence "cannot …".
    fn new(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("cannot {what}: {error}"))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Serves until it is asked to stop.
pub(crate) fn run(options: Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve(options)),
        Err(error) => Err(StartError::new("start the runtime", error)),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("start", error);
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> Result<(), StartError> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for sentence in environment::unknown(names) {
        log::warn("environment", sentence);
    }
    let mut store = Store::new(
        options.config.clone(),
        options.state_dir.as_ref(),
        &options.domain_suffix,
    );
    let mut watch = Watch::new(options.debounce_after, options.debounce_max);
    watch.set(store.directories());
    let registry = Registry::open(options.state_dir.as_ref(), options.workload_entry_grace);
    let issuers = Issuers::start(options.fetching.clone(), options.state_dir.clone());
    let mut issuers = issuers.map_err(|error| StartError::new("start a thread", error))?;
    let first = store.load(registry.texts());
    tell(first.as_ref());
    let (sender, generation) = watch::channel(None);
    let keys = options.grpc_tls.address().map(|_| Keys::open(&options));
    let shared = Arc::new(Shared {
        generation,
        clients: Arc::default(),
        metrics: Metrics::default(),
        admission: Admission::new(options.streams_per_second),
        pushes: Semaphore::new(options.push_throttle()),
        keys: keys.transpose()?,
        used: UsedTokens::default(),
        registry,
        issuers: issuers.known(),
    });
    if let Some(configuration) = first {
        publish(&sender, &mut issuers, configuration).await;
    }
    let ready = start(&options, &shared)?;
    // whoever started it waits for this line
    let _ = writeln!(io::stdout(), "{ready}");
    follow(&shared, store, watch, issuers, &sender).await?;
    log::info("stop", "clients keep what they have");
    Ok(())
}

/// Serves every change, until the process is asked to stop.
async fn follow(
    shared: &Shared,
    mut store: Store,
    mut watch: Watch,
    mut issuers: Issuers,
    sender: &watch::Sender<Option<Arc<Generation>>>,
) -> Result<(), StartError> {
    let stopped = |error: io::Error| StartError::new("take signals", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(stopped)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(stopped)?;
    let mut reload = signal(SignalKind::hangup()).map_err(stopped)?;
    let registry = &shared.registry;
    let mut known = issuers.known();
    // endpoints and registered workloads go ahead once, then what follows is debounced with all else
    let mut ahead = false;
    loop {
        let mut whole = true;
        ahead = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = reload.recv() => false,
            () = watch.completed(), if !ahead => {
                whole = false;
                true
            }
            () = registry.changed() => {
                watch.touch();
                if ahead {
                    continue;
                }
                true
            }
            () = watch.changed() => false,
            Ok(()) = known.changed() => {
                renew(sender, &known.borrow_and_update().keys);
                continue;
            }
        };
        let (returned, loaded) = load(store, registry, whole).await?;
        store = returned;
        watch.set(store.directories());
        if let Some(configuration) = loaded {
            tell(Some(&configuration));
            shared.metrics.updates.add(1);
            publish(sender, &mut issuers, configuration).await;
        }
        if let Some(keys) = &shared.keys {
            keys.refresh();
        }
    }
}

/// Serves a configuration, as soon as the keys are there that its rules for tokens need.
async fn publish(
    sender: &watch::Sender<Option<Arc<Generation>>>,
    issuers: &mut Issuers,
    configuration: Configuration,
) {
    issuers.want(key_sources(&configuration.world)).await;
    let keys = Arc::clone(&issuers.known().borrow().keys);
    let before = sender.borrow().clone();
    let next = Generation::new(Arc::new(configuration), keys, before.as_deref());
    sender.send_replace(Some(Arc::new(next)));
}

/// Serves the same configuration with other keys of issuers.
fn renew(sender: &watch::Sender<Option<Arc<Generation>>>, keys: &Arc<IssuerKeys>) {
    let before = sender.borrow().clone();
    if let Some(before) = before.filter(|before| !before.has_keys(keys)) {
        let configuration = Arc::clone(&before.configuration);
        let next = Generation::new(configuration, Arc::clone(keys), Some(&before));
        sender.send_replace(Some(Arc::new(next)));
    }
}

/// Reads what there is, on a thread that may wait; unless it is the `whole`, if only endpoints of
/// files changed.
async fn load(
    mut store: Store,
    registry: &Arc<Registry>,
    whole: bool,
) -> Result<(Store, Option<Configuration>), StartError> {
    let registered = Arc::clone(registry);
    let loading = tokio::task::spawn_blocking(move || {
        registered.save();
        let loaded = match whole {
            true => store.load(registered.texts()),
            false => store.load_endpoints(registered.texts()),
        };
        (store, loaded)
    });
    let loaded = loading.await;
    loaded.map_err(|error| StartError::new("go on after a failed load", error))
}

fn tell(configuration: Option<&Configuration>) {
    let Some(configuration) = configuration else {
        log::warn(
            "config",
            "nothing to serve yet: streams are refused until there is",
        );
        return;
    };
    let objects: usize = configuration.objects.iter().map(|(_, count)| count).sum();
    let (generation, errors) = (configuration.generation, configuration.errors);
    log::info(
        "config",
        format_args!("generation {generation}: {objects} objects, {errors} errors"),
    );
    for finding in &configuration.findings {
        log::warn("config", finding);
    }
}

/// Binds all ports, then serves them; the result says where they are.
fn start(options: &Options, shared: &Arc<Shared>) -> Result<String, StartError> {
    let mut ready = String::from("ready");
    let mut bind = |name: &str, address: Option<SocketAddr>| {
        let Some(address) = address else {
            ready.push_str(&format!(" {name}=none"));
            return Ok(None);
        };
        let failed = |error| StartError::new(format_args!("listen at {address} ({name})"), error);
        let listener = listen::bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        ready.push_str(&format!(" {name}={bound}"));
        Ok(Some(listener))
    };
    let plain = bind("grpc", options.grpc.address())?;
    let tls = bind("grpc-tls", options.grpc_tls.address())?;
    let monitoring = bind("monitoring", options.monitoring.address())?;
    let readiness = bind("ready", options.ready.address())?;
    if let Some(listener) = plain {
        if !listener.local_addr().is_ok_and(|a| a.ip().is_loopback()) {
            log::warn(
                "ads",
                "--grpc is open to other hosts, without encryption or identity",
            );
        }
        let incoming = listen::accept(listener, None);
        tokio::spawn(
            server()
                .add_service(ads::Discovery(Arc::clone(shared)))
                .serve_with_incoming(incoming),
        );
    }
    if let (Some(listener), Some(keys)) = (tls, &shared.keys) {
        let incoming = listen::accept(listener, Some(keys.tls()));
        let certificates = certificates::Certificates(Arc::clone(shared));
        let certificates = IstioCertificateServer::new(certificates, 2 * CSR_BYTES_MAX);
        let routes = server()
            .add_service(ads::Discovery(Arc::clone(shared)))
            .add_service(certificates);
        tokio::spawn(routes.serve_with_incoming(incoming));
    }
    for (listener, face) in [
        (monitoring, monitoring::Face::Monitoring),
        (readiness, monitoring::Face::Ready),
    ] {
        if let Some(listener) = listener {
            tokio::spawn(monitoring::serve(listener, Arc::clone(shared), face));
        }
    }
    Ok(ready)
}

fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_WITHIN))
}
