//! Servers for operators, probes and scrapers: Envoy's paths and shapes where Envoy has them, so
//! that tools and habits work, and ours beside them.
//!
//! State changes by POST only, and never for a web page: a browser on the same machine must not be
//! able to end the gateway. Private keys are not here to be shown.

mod explain;
mod http;
mod scrape;
mod views;

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use tokio::sync::mpsc;

use crate::args::{Endpoint, Options};
use crate::listen;
use crate::log::{self, Level};
use crate::process::{Gateway, StartError};
use crate::signals::Wish;
use crate::stats::prometheus;
use http::{Answer, Request, Service};

/// Paths of the admin server, and what they are for.
const HELP: &[(&str, &str)] = &[
    ("/certs", "certificates that are served"),
    ("/clusters", "upstreams and their endpoints (?format=json)"),
    ("/config_dump", "the active snapshot"),
    (
        "/control",
        "the control process: whether it is connected, what it gave",
    ),
    (
        "/diagnostics",
        "what is wrong with the configuration (?format=json)",
    ),
    ("/dns", "names of endpoints, and what is known about them"),
    (
        "/drain_listeners",
        "POST: stop accepting connections (?graceful: after the drain time)",
    ),
    (
        "/explain",
        "where a request goes and why (?method=&url=&header=name:value&format=text)",
    ),
    (
        "/generation",
        "number, age and last error of the active configuration",
    ),
    ("/healthcheck/fail", "POST: fail readiness"),
    ("/healthcheck/ok", "POST: end failing readiness"),
    ("/help", "this list"),
    ("/jwks", "keys of token issuers, and how old they are"),
    (
        "/listeners",
        "listeners and where they are bound (?format=json)",
    ),
    ("/logging", "the log level; POST ?level=debug changes it"),
    ("/quitquitquit", "POST: drain and end"),
    ("/ready", "whether traffic should come here"),
    ("/server_info", "version, state and age of the process"),
    ("/stats", "counters (?filter=text&format=prometheus)"),
    ("/stats/prometheus", "counters in Prometheus' format"),
];
/// Further paths that are no command of their own.
const ROOT: &str = "/";

/// Sockets of the three servers.
#[derive(Debug)]
pub(crate) struct Servers {
    admin: Option<Socket>,
    status: Option<Socket>,
    metrics: Option<Socket>,
}

#[derive(Debug)]
struct Socket {
    listener: TcpListener,
    address: SocketAddr,
}

impl Servers {
    /// Binds what the options ask for.
    ///
    /// # Errors
    /// An address is taken or not ours.
    pub(crate) fn bind(options: &Options) -> Result<Self, StartError> {
        Ok(Self {
            admin: bind("admin", options.admin)?,
            status: bind("status", options.status)?,
            metrics: bind("metrics", options.metrics)?,
        })
    }

    /// Actual addresses of the servers for operators, for probes and for scrapers.
    pub(crate) fn addresses(&self) -> [Option<SocketAddr>; 3] {
        let servers = [&self.admin, &self.status, &self.metrics];
        servers.map(|server| server.as_ref().map(|socket| socket.address))
    }

    /// Serves for as long as the `LocalSet` runs. What only the main loop can do goes to `wishes`.
    pub(crate) fn serve(self, gateway: &Rc<Gateway>, wishes: &mpsc::Sender<Wish>) {
        let all = [
            (self.admin, Role::Admin),
            (self.status, Role::Status),
            (self.metrics, Role::Metrics),
        ];
        for (socket, role) in all {
            let Some(socket) = socket else { continue };
            let server = Server {
                role,
                gateway: Rc::clone(gateway),
                wishes: wishes.clone(),
            };
            match tokio::net::TcpListener::from_std(socket.listener) {
                Ok(listener) => {
                    tokio::task::spawn_local(http::serve(listener, Rc::new(server)));
                }
                Err(error) => log::error("admin", error),
            }
        }
    }
}

fn bind(name: &str, endpoint: Endpoint) -> Result<Option<Socket>, StartError> {
    let Some(wanted) = endpoint.0 else {
        return Ok(None);
    };
    let bound = TcpListener::bind(wanted).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Socket { listener, address })
    });
    bound.map(Some).map_err(|error| {
        let owner = listen::owner_of(wanted);
        let owner = owner.map_or_else(String::new, |owner| format!(", which is held by {owner}"));
        StartError::new(format!("serve --{name} at {wanted}{owner}"), error)
    })
}

/// Which server this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Admin,
    Status,
    Metrics,
}

/// One of the servers.
#[derive(Debug)]
struct Server {
    role: Role,
    gateway: Rc<Gateway>,
    wishes: mpsc::Sender<Wish>,
}

impl Service for Server {
    async fn answer(&self, request: &Request) -> Answer {
        match (self.role, request.path.as_str()) {
            (Role::Admin, path) => self.admin(path, request).await,
            (Role::Status, "/healthz/ready" | "/ready") => self.ready(),
            (Role::Metrics, "/stats/prometheus" | "/metrics") => self.prometheus().await,
            (Role::Status, _) => Answer::text(404, "paths: /healthz/ready\n"),
            (Role::Metrics, _) => Answer::text(404, "paths: /stats/prometheus, /metrics\n"),
        }
    }
}

impl Server {
    async fn admin(&self, path: &str, request: &Request) -> Answer {
        match path {
            "/healthcheck/fail" | "/healthcheck/ok" | "/quitquitquit" | "/drain_listeners" => {
                self.change(path, request)
            }
            "/logging" => logging(request),
            "/stats" => self.stats(request).await,
            "/stats/prometheus" => self.prometheus().await,
            "/clusters" => {
                let (report, _) = self.gateway.collect().await;
                let generation = self.gateway.generation();
                views::clusters(
                    &generation,
                    &self.gateway.commons,
                    &report,
                    request.wants_json(),
                )
            }
            _ => self.view(path, request),
        }
    }

    /// What can be said at once.
    fn view(&self, path: &str, request: &Request) -> Answer {
        let gateway = &*self.gateway;
        let generation = gateway.generation();
        match path {
            "/ready" => self.ready(),
            "/listeners" => {
                let (addresses, json) = (gateway.addresses(), request.wants_json());
                views::listeners(&generation.snapshot, &addresses, json)
            }
            "/certs" => views::certificates(&generation.snapshot),
            "/config_dump" => views::config_dump(&generation.snapshot, &gateway.status()),
            "/generation" => views::generation(&gateway.status()),
            "/diagnostics" => {
                let (findings, problems) = gateway.findings();
                views::diagnostics(&findings, &problems, request.wants_json())
            }
            "/control" => views::control(gateway.control.as_deref()),
            "/dns" => views::names(&gateway.names.status()),
            "/jwks" => views::keys(&gateway.keys.status()),
            "/server_info" => views::server_info(gateway),
            "/explain" => explain::answer(&generation, &gateway.addresses(), request),
            ROOT | "/help" => Answer::text(200, help("admin commands are:")),
            _ => Answer::text(404, help("invalid path. admin commands are:")),
        }
    }

    /// What changes state.
    fn change(&self, path: &str, request: &Request) -> Answer {
        if let Some(refusal) = refuse_change(request) {
            return refusal;
        }
        let wish = match path {
            "/healthcheck/fail" => {
                self.gateway.health_failed.set(true);
                return Answer::text(200, "OK\n");
            }
            "/healthcheck/ok" => {
                self.gateway.health_failed.set(false);
                return Answer::text(200, "OK\n");
            }
            "/quitquitquit" => Wish::Stop,
            _ if request.argument("graceful").is_some() => Wish::Shed,
            _ => Wish::CloseListeners,
        };
        match self.wishes.try_send(wish) {
            Ok(()) => Answer::text(200, "OK\n"),
            Err(_) => Answer::text(503, "busy: earlier requests are still being carried out\n"),
        }
    }

    fn ready(&self) -> Answer {
        let gateway = &*self.gateway;
        if gateway.is_ready() {
            return Answer::text(200, "LIVE\n");
        }
        Answer::text(503, format!("{}\n", views::state(gateway)))
    }

    async fn stats(&self, request: &Request) -> Answer {
        if request.argument("format") == Some("prometheus") {
            return self.prometheus().await;
        }
        let (report, facts) = scrape::scrape(&self.gateway).await;
        let filter = request.argument("filter").unwrap_or_default();
        Answer::text(200, prometheus::lines(&report, &facts, filter))
    }

    async fn prometheus(&self) -> Answer {
        let (report, facts) = scrape::scrape(&self.gateway).await;
        Answer {
            content_type: prometheus::CONTENT_TYPE,
            ..Answer::text(200, prometheus::render(&report, &facts))
        }
    }
}

/// Why a request must not change anything.
fn refuse_change(request: &Request) -> Option<Answer> {
    if request.method != "POST" {
        let method = &request.method;
        return Some(Answer {
            allow: "POST",
            ..Answer::text(
                405,
                format!("Method {method} not allowed, POST required.\n"),
            )
        });
    }
    let message = "refused: a web page must not do this\n";
    request.from_page.then(|| Answer::text(403, message))
}

fn logging(request: &Request) -> Answer {
    if let Some(wanted) = request.argument("level") {
        if let Some(refusal) = refuse_change(request) {
            return refusal;
        }
        match wanted.parse::<Level>() {
            Ok(level) => log::set_level(level),
            Err(error) => return Answer::text(400, format!("{error}\n")),
        }
    }
    let level = log::level().as_str();
    Answer::text(200, format!("active loggers:\n  sallyport: {level}\n"))
}

fn help(title: &str) -> String {
    let lines = HELP
        .iter()
        .map(|(path, what)| format!("  {path}: {what}\n"));
    std::iter::once(format!("{title}\n")).chain(lines).collect()
}
