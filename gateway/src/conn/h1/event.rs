//! The one place where a request waits: for its client, its upstream, or its clock.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use super::Conn;
use crate::io::socket::ReadDone;
use crate::upstream::Lease;

/// What happened first.
#[derive(Debug)]
pub(super) enum Happening {
    /// The alarm.
    Deadline,
    /// Bytes from the client, or its end.
    Client(ReadDone),
    /// What was to go to the client went, or the client is gone.
    ClientWritten(io::Result<()>),
    /// Bytes from the upstream, or its end.
    Upstream(ReadDone),
    /// What was to go to the upstream went, or the upstream is gone.
    UpstreamWritten(io::Result<()>),
}

/// Waits for whatever happens first. What comes from the upstream counts before what the client
/// does: an answer that is there is worth more than the news that its client is leaving.
pub(super) async fn next(conn: &mut Conn, lease: Option<&mut Lease>) -> Happening {
    let mut lease = lease;
    poll_fn(|context| {
        if let Some(stream) = lease.as_mut().and_then(|lease| lease.stream()) {
            if stream.is_reading()
                && let Poll::Ready(done) = stream.poll_read(context)
            {
                return Poll::Ready(Happening::Upstream(done));
            }
            if stream.is_writing()
                && let Poll::Ready(result) = stream.poll_write(context)
            {
                return Poll::Ready(Happening::UpstreamWritten(result));
            }
        }
        poll_client(conn, context)
    })
    .await
}

/// The client's side, and the clock.
pub(super) fn poll_client(conn: &mut Conn, context: &mut Context<'_>) -> Poll<Happening> {
    if conn.stream.is_writing()
        && let Poll::Ready(result) = conn.stream.poll_write(context)
    {
        return Poll::Ready(Happening::ClientWritten(result));
    }
    if conn.stream.is_reading()
        && let Poll::Ready(done) = conn.stream.poll_read(context)
    {
        return Poll::Ready(Happening::Client(done));
    }
    conn.alarm.poll(context).map(|()| Happening::Deadline)
}
