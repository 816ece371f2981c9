//! A way through a proxy: `CONNECT` (RFC 9110 §9.3.6) or `POST`, over HTTP/1.1 or a stream of HTTP/2.

use std::future::poll_fn;
use std::io;

use h2::client::ResponseFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method as Verb, Request, Uri};
use sallyport_config::ir::{Tunnel, TunnelMethod};
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::h1::{Asked, HeaderIndex, Parse, ResponseHead, parse_response};
use sallyport_core::limits::{MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES};
use sallyport_core::method::Method;

use super::far::{Far, Framed, Shared};
use crate::io::stream::Stream;
use crate::upstream::{Lease, h2 as shared};

/// Has the proxy at the other end of the lease connect to the tunnel's target; and what the target
/// said already. Whoever waits for it bounds the time.
///
/// # Errors
/// The proxy refuses, leaves, or speaks something else.
pub(super) async fn dig(mut lease: Lease, tunnel: &Tunnel) -> Result<(Far, Vec<u8>), Failure> {
    let buffers = lease.buffers();
    let target = &tunnel.target;
    let (method, line) = match tunnel.method {
        TunnelMethod::Connect => (
            Method::Connect,
            format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n"),
        ),
        TunnelMethod::Post => (
            Method::Post,
            format!("POST / HTTP/1.1\r\nhost: {target}\r\ntransfer-encoding: chunked\r\n\r\n"),
        ),
    };
    let stream = lease.stream().ok_or(FailureKind::Internal)?;
    let mut head = buffers.take();
    head.extend_from_slice(line.as_bytes());
    stream.start_write(head);
    let written = poll_fn(|context| stream.poll_write(context)).await;
    written.map_err(|_| FailureKind::UpstreamClosed)?;
    let mut received = buffers.take();
    let head = answer(stream, &mut received, method).await?;
    if head.tunnel {
        return Ok((Far::Straight(Box::new(lease)), received));
    }
    if method == Method::Connect || !(200..300).contains(&head.status) {
        return Err(refused());
    }
    let framed = Framed::new(lease, head.body, received);
    Ok((Far::Framed(Box::new(framed)), Vec::new()))
}

/// The head of the final response; what came behind it is left.
async fn answer(
    stream: &mut Stream,
    received: &mut Vec<u8>,
    method: Method,
) -> Result<ResponseHead, Failure> {
    let asked = Asked {
        method,
        upgrade: false,
    };
    let mut index = HeaderIndex::default();
    let mut interim = 0;
    loop {
        let more = more(stream, std::mem::take(received)).await;
        *received = more.map_err(|_| FailureKind::UpstreamClosed)?;
        while let Parse::Complete { head, len } = parse_response(received, &mut index, asked)
            .map_err(|_| FailureKind::UpstreamProtocol)?
        {
            received.drain(..len);
            if !head.interim {
                return Ok(head);
            }
            if interim == MAX_INTERIM_RESPONSES {
                return Err(refused());
            }
            interim += 1;
            index = HeaderIndex::default();
        }
    }
}

fn refused() -> Failure {
    Failure {
        transport: "tunnel_refused",
        ..Failure::from(FailureKind::ConnectRefused)
    }
}

/// Reads once, behind what is there.
async fn more(stream: &mut Stream, mut received: Vec<u8>) -> io::Result<Vec<u8>> {
    if received.len() == received.capacity() {
        received.reserve_exact(received.len().min(MAX_HEAD_BYTES));
    }
    stream.start_read(Some(received));
    let (result, received) = poll_fn(|context| stream.poll_read(context)).await;
    match result? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(received),
    }
}

/// The same over a stream of HTTP/2 (RFC 9113 §8.5).
///
/// # Errors
/// The proxy refuses, resets the stream, or leaves.
pub(super) async fn dig_stream(mut lease: shared::Lease, tunnel: &Tunnel) -> Result<Far, Failure> {
    let request = request(tunnel, lease.is_tls()).ok_or(FailureKind::Internal)?;
    let sent = lease.sender().send_request(request, false);
    let (response, send) = sent.map_err(|error| shared::failure(&error))?;
    let (status, download) = settle(response).await?;
    if !status.is_success() {
        return Err(refused());
    }
    Ok(Far::Shared(Box::new(Shared::new(lease, send, download))))
}

async fn settle(response: ResponseFuture) -> Result<(http::StatusCode, h2::RecvStream), Failure> {
    let response = response.await.map_err(|error| shared::failure(&error))?;
    Ok((response.status(), response.into_body()))
}

/// The head. CONNECT has neither scheme nor path.
fn request(tunnel: &Tunnel, tls: bool) -> Option<Request<()>> {
    let mut parts = http::uri::Parts::default();
    parts.authority = Some(Authority::try_from(tunnel.target.as_str()).ok()?);
    let method = match tunnel.method {
        TunnelMethod::Connect => Verb::CONNECT,
        TunnelMethod::Post => {
            parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
            parts.path_and_query = Some(PathAndQuery::from_static("/"));
            Verb::POST
        }
    };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(request)
}
