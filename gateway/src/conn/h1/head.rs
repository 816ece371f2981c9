//! Receiving a request head: bounded in bytes by the parser, in time by the alarm.

use std::future::poll_fn;
use std::task::Poll;

use sallyport_core::h1::{H1Error, Parse, RequestHead, is_http2_preface, parse_request};
use sallyport_core::limits::MAX_HEAD_BYTES;

use super::Conn;
use crate::worker::Scratch;

/// How much a buffer grows by when a head does not fit.
const GROWTH: usize = 16 * 1024;

/// A head that did not come whole.
pub(super) enum NoHead {
    /// The client left.
    Gone,
    /// It begins like HTTP/2 with prior knowledge (RFC 9113 §3.3).
    Other,
    /// It is refused.
    Bad(H1Error),
}

/// Receives a head at the front of the connection's input.
///
/// # Errors
/// The client left, took too long, or broke a rule.
pub(super) async fn receive(
    conn: &mut Conn,
    scratch: &mut Scratch,
) -> Result<(RequestHead, usize), NoHead> {
    let active = conn.visit.worker.active();
    let serving = &active.generation.serving;
    let profile = serving.profile(conn.visit.link.scheme());
    let mut armed = false;
    let mut fresh = conn.fresh;
    loop {
        let preface = is_http2_preface(&conn.input).filter(|_| fresh);
        fresh = fresh && preface.is_none();
        if preface == Some(true) {
            return Err(NoHead::Other);
        }
        // While it may still become that preface, it is no request.
        if !fresh {
            match parse_request(&mut conn.input, &mut scratch.request, profile) {
                Ok(Parse::Complete { head, len }) => return Ok((head, len)),
                Ok(Parse::Partial) => {}
                Err(error) => return Err(NoHead::Bad(error)),
            }
        }
        if !armed {
            let due = serving.head_timeout.map(|limit| conn.visit.begun + limit);
            conn.visit.alarm.set(due);
            armed = true;
        }
        more(conn).await?;
    }
}

async fn more(conn: &mut Conn) -> Result<(), NoHead> {
    let mut partial = std::mem::take(&mut conn.input);
    if partial.len() == partial.capacity() {
        let room = MAX_HEAD_BYTES.saturating_sub(partial.len());
        partial.reserve_exact(GROWTH.min(room).max(1));
    }
    conn.stream.start_read(Some(partial));
    let done = poll_fn(|context| {
        if let Poll::Ready(done) = conn.stream.poll_read(context) {
            return Poll::Ready(Some(done));
        }
        conn.visit.alarm.poll(context).map(|()| None)
    })
    .await;
    match done {
        Some((Ok(count), buffer)) if count > 0 => {
            conn.input = buffer;
            Ok(())
        }
        Some(_) => Err(NoHead::Gone),
        None => Err(NoHead::Bad(H1Error::HeadTimeout)),
    }
}
