//! A way through a proxy: `CONNECT` over HTTP/1.1 (RFC 9110 §9.3.6).

use std::future::poll_fn;
use std::io;

use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::h1::{Asked, HeaderIndex, Parse, parse_response};
use sallyport_core::limits::{MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES};
use sallyport_core::method::Method;

use crate::io::stream::Stream;
use crate::upstream::Lease;

/// Has the proxy at the other end of the lease connect to `target`; what the target said already.
/// Whoever waits for it bounds the time.
///
/// # Errors
/// The proxy refuses, leaves, or speaks something else.
pub(super) async fn dig(lease: &mut Lease, target: &str) -> Result<Vec<u8>, Failure> {
    let buffers = lease.buffers();
    let stream = lease.stream().ok_or(FailureKind::Internal)?;
    let mut head = buffers.take();
    let line = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    head.extend_from_slice(line.as_bytes());
    stream.start_write(head);
    let written = poll_fn(|context| stream.poll_write(context)).await;
    written.map_err(|_| FailureKind::UpstreamClosed)?;
    let mut received = buffers.take();
    let mut index = HeaderIndex::default();
    let mut interim = 0;
    loop {
        received = more(stream, received)
            .await
            .map_err(|_| FailureKind::UpstreamClosed)?;
        let asked = Asked {
            method: Method::Connect,
            upgrade: false,
        };
        while let Parse::Complete { head, len } = parse_response(&mut received, &mut index, asked)
            .map_err(|_| FailureKind::UpstreamProtocol)?
        {
            received.drain(..len);
            if head.tunnel {
                return Ok(received);
            }
            if !head.interim || interim == MAX_INTERIM_RESPONSES {
                return Err(Failure {
                    transport: "tunnel_refused",
                    ..Failure::from(FailureKind::ConnectRefused)
                });
            }
            interim += 1;
            index = HeaderIndex::default();
        }
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
