//! `/healthz/ready` for probes: ready when Envoy is, which includes that it has its configuration.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::args::Options;
use super::envoy;
use crate::log;

/// Probes at a time; further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 16;
/// A connection is closed after this, whatever it does.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// Pause after a failed accept: out of descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the port.
pub(super) fn bind(options: &Options) -> Result<TcpListener, String> {
    let failed = |error| format!("cannot listen at {}: {error}", options.status);
    let listener = std::net::TcpListener::bind(options.status).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    log::info("agent", format_args!("status at {bound}"));
    Ok(listener)
}

/// Serves it for ever.
pub(super) async fn serve(listener: TcpListener, admin: SocketAddr) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| async move {
                Ok::<_, Infallible>(answer(&request, admin).await)
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            // a probe that goes away in the middle is nobody's concern
            let _ = timeout(CONNECTION_MAX, connection).await;
            drop(turn);
        });
    }
}

async fn answer(request: &Request<Incoming>, admin: SocketAddr) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/healthz/ready" => match envoy::call(admin, "GET", "/ready").await {
            Ok(200) => (StatusCode::OK, "ready\n".to_owned()),
            Ok(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Envoy is not ready\n".to_owned(),
            ),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("Envoy: {error}\n")),
        },
        _ => (StatusCode::NOT_FOUND, "try /healthz/ready\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
