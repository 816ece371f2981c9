//! One health check on a connection of its own, made as the cluster's connections are: in TLS where
//! they are. Whoever waits for it bounds the time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use h2::client::Builder;
use sallyport_config::ir::{HealthProbe, Wire as Protocol};
use sallyport_core::h1::{Asked, HeaderIndex, Parse, parse_response};
use sallyport_core::limits::MAX_HEAD_BYTES;
use sallyport_core::method::Method;

use crate::codec::{Chunk, Sight, Watcher, Wire};
use crate::io::stream::Stream;
use crate::upstream::{Errand, Upstream};
use crate::worker::Worker;

/// Bytes of a gRPC answer that are looked at; `HealthCheckResponse` has two.
const ANSWER_BYTES_MAX: usize = 1_024;
/// Who asks, in the words of an access log.
const USER_AGENT: &str = "sallyport-health-check";

/// Whether the endpoint is well.
pub(super) async fn ask(
    worker: &Rc<Worker>,
    upstream: &Upstream,
    endpoint: u32,
    host: &str,
    probe: &HealthProbe,
) -> bool {
    let authority = match probe {
        HealthProbe::Http { host: own, .. } if !own.is_empty() => own,
        _ => host,
    };
    let errand = Errand {
        wire: match probe {
            HealthProbe::Http { .. } => Protocol::Http1,
            HealthProbe::Grpc { .. } => Protocol::Http2,
            HealthProbe::Tcp => Protocol::Tcp,
        },
        authority,
        // it is for no client
        ends: None,
    };
    let Ok(stream) = upstream.dial(worker, endpoint, errand).await else {
        return false;
    };
    match probe {
        HealthProbe::Tcp => true,
        HealthProbe::Http { path, .. } => http(worker, stream, authority, path).await,
        HealthProbe::Grpc { service } => {
            grpc(worker, stream, authority, service).await == Some(true)
        }
    }
}

/// `GET`; 2xx is well.
async fn http(worker: &Worker, mut stream: Stream, host: &str, path: &str) -> bool {
    let mut head = worker.buffers.take();
    let text = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {USER_AGENT}\r\nconnection: close\r\n\r\n"
    );
    head.extend_from_slice(text.as_bytes());
    stream.start_write(head);
    if poll_fn(|context| stream.poll_write(context)).await.is_err() {
        return false;
    }
    let asked = Asked {
        method: Method::Get,
        upgrade: false,
    };
    let mut index = HeaderIndex::default();
    let mut received = worker.buffers.take();
    while received.len() < MAX_HEAD_BYTES {
        if received.len() == received.capacity() {
            received.reserve_exact(received.len());
        }
        stream.start_read(Some(received));
        let (result, buffer) = poll_fn(|context| stream.poll_read(context)).await;
        received = buffer;
        if !matches!(result, Ok(1..)) {
            break;
        }
        match parse_response(&mut received, &mut index, asked) {
            Ok(Parse::Complete { head, .. }) => {
                worker.buffers.give(received);
                return (200..300).contains(&head.status);
            }
            Ok(Parse::Partial) => {}
            Err(_) => break,
        }
    }
    worker.buffers.give(received);
    false
}

/// `grpc.health.v1.Health/Check`: `SERVING` and status 0 are well.
async fn grpc(worker: &Worker, stream: Stream, host: &str, service: &str) -> Option<bool> {
    let scheme = if stream.is_tls() { "https" } else { "http" };
    let wire = Wire::new(stream, Rc::clone(&worker.buffers), Deaf, Vec::new());
    let mut builder = Builder::new();
    builder.enable_push(false);
    let (mut send, mut connection) = builder.handshake::<_, Chunk>(wire).await.ok()?;
    let request = http::Request::post(format!("{scheme}://{host}/grpc.health.v1.Health/Check"))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", USER_AGENT)
        .body(())
        .ok()?;
    let mut exchange = Box::pin(async {
        poll_fn(|context| send.poll_ready(context)).await.ok()?;
        let (response, mut body) = send.send_request(request, false).ok()?;
        let message = Chunk::new(message(service)?, Rc::clone(&worker.buffers));
        body.send_data(message, true).ok()?;
        let response = response.await.ok()?;
        let mut fields = response.headers().clone();
        let mut answer = Vec::new();
        let mut incoming = response.into_body();
        while let Some(bytes) = incoming.data().await {
            let bytes = bytes.ok()?;
            incoming.flow_control().release_capacity(bytes.len()).ok()?;
            answer.extend_from_slice(&bytes);
            if answer.len() > ANSWER_BYTES_MAX {
                return None;
            }
        }
        fields.extend(incoming.trailers().await.ok()?.unwrap_or_default());
        let fine = fields
            .get("grpc-status")
            .is_some_and(|status| status == "0");
        // one message, uncompressed: field 1, SERVING
        Some(fine && answer == [0, 0, 0, 0, 2, 8, 1])
    });
    poll_fn(|context| {
        // the codec moves whatever the exchange waits for
        let over = Pin::new(&mut connection).poll(context).is_ready();
        match exchange.as_mut().poll(context) {
            Poll::Pending if over => Poll::Ready(None),
            other => other,
        }
    })
    .await
}

/// A framed `HealthCheckRequest` that names a service; none means the whole server.
fn message(service: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(service.len())
        .ok()
        .filter(|length| *length < 128)?;
    if length == 0 {
        return Some(vec![0; 5]);
    }
    let mut out = vec![0, 0, 0, 0, length.checked_add(2)?, 10, length];
    out.extend_from_slice(service.as_bytes());
    Some(out)
}

/// An upstream is trusted not to be odd.
struct Deaf;

impl Watcher for Deaf {
    fn came(&self, _: &mut Vec<u8>) -> Sight {
        Sight::Fine
    }

    fn is_busy(&self) -> bool {
        true
    }
}
