//! An origin of HTTP/2 that does what the path says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use sallyport_config::ir;

use super::support::snapshot;

/// What an origin saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    pub(super) requests: AtomicUsize,
    /// Streams at a time on one connection, at most.
    pub(super) crowd: AtomicUsize,
    /// Heads, as `method authority path` and field lines.
    pub(super) heads: Mutex<Vec<String>>,
    /// How streams were ended by the other side.
    pub(super) resets: Mutex<Vec<Reason>>,
}

/// An origin of HTTP/2.
pub(super) struct H2Origin {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Seen>,
}

impl H2Origin {
    /// With so many streams to a connection, and so many requests until it goes away.
    pub(super) fn start(streams: u32, requests: usize) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    kept.connections.fetch_add(1, Ordering::Relaxed);
                    let seen = Arc::clone(&kept);
                    tokio::spawn(connection(stream, streams, requests, seen));
                }
            });
        });
        Self { address, seen }
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// A snapshot that sends everything there by HTTP/2.
    pub(super) fn snapshot(&self) -> ir::Snapshot {
        let mut snapshot = snapshot(self.address);
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
        snapshot
    }
}

async fn connection(stream: tokio::net::TcpStream, streams: u32, requests: usize, seen: Arc<Seen>) {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let crowd = Arc::new(AtomicUsize::new(0));
    let mut served = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        served += 1;
        if served == requests {
            connection.graceful_shutdown();
        }
        let (seen, crowd) = (Arc::clone(&seen), Arc::clone(&crowd));
        tokio::spawn(async move {
            let here = crowd.fetch_add(1, Ordering::Relaxed) + 1;
            seen.crowd.fetch_max(here, Ordering::Relaxed);
            let turn = seen.requests.fetch_add(1, Ordering::Relaxed);
            note(&seen, &request);
            act(&seen, turn, request, respond).await;
            crowd.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn note(seen: &Seen, request: &Request<RecvStream>) {
    let uri = request.uri();
    let authority = uri.authority().map_or("", |a| a.as_str());
    let mut head = format!("{} {authority} {}\r\n", request.method(), uri.path());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    seen.heads.lock().unwrap().push(head);
}

async fn act(
    seen: &Seen,
    turn: usize,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    // a tunnel has no path
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    let path = match target {
        Some("shut.example:443") => "/early".to_owned(),
        Some("reset.example:443") => "/reset".to_owned(),
        _ => request.uri().path().to_owned(),
    };
    let mut body = request.into_body();
    let ok = || Response::new(());
    match path.as_str() {
        "/refused-once" if turn == 0 => respond.send_reset(Reason::REFUSED_STREAM),
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/torn" => {
            let mut send = respond.send_response(ok(), false).unwrap();
            send.send_data(Bytes::from_static(b"half"), false).unwrap();
            // The half shall be on its way before the rest is torn off.
            tokio::time::sleep(Duration::from_millis(50)).await;
            send.send_reset(Reason::INTERNAL_ERROR);
        }
        "/hang" => {
            let mut send = respond.send_response(ok(), false).unwrap();
            let reason = std::future::poll_fn(|context| send.poll_reset(context)).await;
            seen.resets.lock().unwrap().extend(reason.ok());
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut send = respond.send_response(ok(), false).unwrap();
            send.send_data(Bytes::from_static(b"slow"), true).unwrap();
        }
        "/continue" => {
            let mut interim = ok();
            *interim.status_mut() = http::StatusCode::CONTINUE;
            respond.send_informational(interim).unwrap();
            echo(&mut body, respond).await;
        }
        "/early" => {
            let mut response = ok();
            *response.status_mut() = http::StatusCode::FORBIDDEN;
            drop(respond.send_response(response, true));
        }
        _ => echo(&mut body, respond).await,
    }
}

/// Sends back what comes as it comes, trailers included.
async fn echo(body: &mut RecvStream, mut respond: SendResponse<Bytes>) {
    let Ok(mut send) = respond.send_response(Response::new(()), false) else {
        return;
    };
    while let Some(Ok(bytes)) = body.data().await {
        let count = bytes.len();
        send.reserve_capacity(count);
        let mut left = bytes;
        while !left.is_empty() {
            let room = std::future::poll_fn(|context| send.poll_capacity(context)).await;
            let Some(Ok(room)) = room else { return };
            let part = left.split_to(room.min(left.len()));
            if send.send_data(part, false).is_err() {
                return;
            }
        }
        drop(body.flow_control().release_capacity(count));
    }
    let trailers = body.trailers().await.ok().flatten();
    let mut map: HeaderMap = trailers.unwrap_or_default();
    map.insert("x-end", HeaderValue::from_static("true"));
    drop(send.send_trailers(map));
}
