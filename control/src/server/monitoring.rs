//! The HTTP ports: metrics, readiness, and what operators ask.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::metrics::Gauges;
use crate::push::Generation;
use crate::resources::TypeUrl;

/// Connections at a time and port; further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 64;
/// A request's head must be there within this.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// A connection is closed after this, whatever it does.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// Pause after a failed accept: out of descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a port offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    /// Metrics, debug pages, readiness (15014).
    Monitoring,
    /// Readiness only (8080).
    Ready,
}

/// Serves a port for ever.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, face: Face) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answer(&request, peer, &shared, face);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            // a peer that goes away in the middle is nobody's concern
            let _ = timeout(CONNECTION_MAX, connection).await;
            drop(turn);
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    peer: SocketAddr,
    shared: &Shared,
    face: Face,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned());
    }
    match path {
        "/ready" => {
            return match shared.generation.borrow().is_some() {
                true => text(StatusCode::OK, "ready\n".to_owned()),
                false => text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no configuration\n".to_owned(),
                ),
            };
        }
        _ if face == Face::Ready => {}
        "/metrics" => return text(StatusCode::OK, shared.metrics.render(&gauges(shared))),
        "/version" => {
            let version = env!("CARGO_PKG_VERSION");
            return text(StatusCode::OK, format!("{version}\n"));
        }
        _ if path.starts_with("/debug") => {
            if !may_debug(peer) {
                return text(StatusCode::FORBIDDEN, "from this host only\n".to_owned());
            }
            let query = request.uri().query().unwrap_or_default();
            if let Some(page) = debug(path, query, shared) {
                return json_text(&page);
            }
        }
        _ => {}
    }
    text(
        StatusCode::NOT_FOUND,
        "no such page; try /debug/list\n".to_owned(),
    )
}

/// Whether somebody may see debug pages: they show the whole mesh, and whoever asks has not said who
/// it is.
fn may_debug(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

/// Names of the debug pages, and what they show.
const PAGES: [(&str, &str); 8] = [
    (
        "adsz",
        "resources of every proxy, by type: names and versions",
    ),
    ("config_dump", "the same of one proxy: ?proxyID=<node id>"),
    ("configz", "objects by kind, findings, what is retained"),
    ("connections", "streams that are open"),
    ("endpointz", "assignments of every proxy"),
    ("list", "this list"),
    ("push_status", "who refuses what"),
    ("syncz", "how every proxy stands with each type"),
];

fn debug(path: &str, query: &str, shared: &Shared) -> Option<Value> {
    let generation = shared.generation.borrow().clone();
    let page = path.strip_prefix("/debug")?.trim_matches('/');
    Some(match page {
        "" | "list" => PAGES
            .iter()
            .map(|(name, what)| json!({"path": format!("/debug/{name}"), "shows": what}))
            .collect(),
        "syncz" => shared.clients.sync(),
        "connections" => shared.clients.connections(),
        "adsz" => dump(shared, |_| true, &TypeUrl::ALL),
        "endpointz" => dump(shared, |_| true, &[TypeUrl::Endpoints]),
        "config_dump" => {
            let wanted = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("proxyID="))?;
            dump(shared, |id| id == wanted, &TypeUrl::ALL)
        }
        "configz" => configz(generation.as_deref()?),
        "push_status" => {
            let rejecting = shared.clients.rejecting();
            let by_type = TypeUrl::ALL.iter().zip(rejecting);
            by_type
                .map(|(ty, count)| (ty.short().to_owned(), json!(count)))
                .collect()
        }
        _ => return None,
    })
}

/// Names and versions, never contents: secrets are among them.
fn dump(shared: &Shared, wanted: impl Fn(&str) -> bool, types: &[TypeUrl]) -> Value {
    let clients = shared.clients.all();
    let clients = clients.iter().filter(|client| wanted(&client.proxy.id));
    let of = |ty: &TypeUrl, client: &super::clients::Client| {
        let target = client.target();
        let resources = target.of_type(*ty);
        let rows = resources.map(|r| (r.name.to_string(), json!(r.version.to_string())));
        (ty.short().to_owned(), rows.collect::<Value>())
    };
    let row = |client: &Arc<super::clients::Client>| {
        let types: Value = types.iter().map(|ty| of(ty, client)).collect();
        json!({ "proxy": client.proxy.id, "resources": types })
    };
    clients.map(row).collect()
}

fn configz(generation: &Generation) -> Value {
    let configuration = &generation.configuration;
    let objects = configuration.objects.iter();
    json!({
        "generation": configuration.generation,
        "objects": objects.map(|(kind, n)| (kind.to_string(), json!(n))).collect::<Value>(),
        "retained": configuration.retained,
        "errors": configuration.errors,
        "findings": configuration.findings,
        "proxies": generation.cached(),
    })
}

fn gauges(shared: &Shared) -> Gauges {
    let generation = shared.generation.borrow().clone();
    let configuration = generation.as_ref().map(|g| &g.configuration);
    Gauges {
        streams: shared.clients.count(),
        rejecting: shared.clients.rejecting(),
        generation: configuration.map_or(0, |c| c.generation),
        errors: configuration.map_or(0, |c| c.errors),
        root_expiry: shared.root_expiry(),
        fetches: {
            let known = shared.issuers.borrow();
            [known.good, known.failed]
        },
        ca_reloads: shared.keys.as_ref().map_or(0, |keys| keys.reloads()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

fn json_text(value: &Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, format!("{value:#}\n"));
    let kind = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_pages_are_for_this_host() {
        for (peer, may) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
            ("192.0.2.1:1", false),
            ("169.254.169.254:1", false),
            ("[::ffff:10.0.0.1]:1", false),
            ("[fe80::1]:1", false),
        ] {
            assert_eq!(may_debug(peer.parse().unwrap()), may, "{peer}");
        }
    }
}
