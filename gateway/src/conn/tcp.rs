//! Bytes: from a client to an upstream and back, whatever they mean.
//!
//! A connection keeps nothing of the generation that it began with, so it can outlive many.

mod far;
mod open;
mod record;
mod relay;
mod tunnel;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use sallyport_config::ir::Millis;
use sallyport_config::model::Observed;
use sallyport_core::failure::Failure;
use sallyport_core::flags::Flags;
use sallyport_core::tcp::refusal_flags;
use sallyport_core::time::Now;

use super::Link;
use crate::io::stream::Stream;
use crate::rt::Alarm;
use crate::stats::counters::Labels;
use crate::stats::tcp::{TcpSlot, labels};
use crate::tls::client::Principals;
use crate::worker::{Guest, Worker};

/// A client connection that carries bytes.
struct Conn {
    worker: Rc<Worker>,
    guest: Guest,
    link: Link,
    client: Stream,
    alarm: Alarm,
    opened: Now,
    /// Received from the client before there was an upstream.
    early: Vec<u8>,
    /// The client has said that no more will come.
    client_ended: bool,
    note: Note,
}

/// What is noted of a connection for counters and log.
#[derive(Debug)]
struct Note {
    flags: Flags,
    transport: &'static str,
    /// `%CONNECTION_TERMINATION_DETAILS%`
    termination: Cow<'static, str>,
    upstream: Option<SocketAddr>,
    upstream_socket: Option<Arc<str>>,
    upstream_local: Option<SocketAddr>,
    /// Who speaks with whom there.
    principals: Option<Rc<Principals>>,
    attempts: u32,
    /// What policies say that decide nothing.
    observed: Observed,
    /// Whose counters are concerned, and of which of its workloads.
    labels: Labels,
    workload: Box<str>,
    slot: TcpSlot,
    /// Bytes from the client that an upstream was to get, and bytes to the client.
    received: u64,
    sent: u64,
    /// Of these, what the counters know already.
    counted: (u64, u64),
}

impl Note {
    fn new() -> Self {
        Self {
            flags: Flags::NONE,
            transport: "",
            termination: Cow::Borrowed(""),
            upstream: None,
            upstream_socket: None,
            upstream_local: None,
            principals: None,
            attempts: 0,
            observed: Observed::default(),
            labels: labels(None),
            workload: Box::default(),
            slot: TcpSlot::default(),
            received: 0,
            sent: 0,
            counted: (0, 0),
        }
    }
}

/// How long a connection may last; `None` for ever.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Without a byte in either direction.
    idle: Option<Millis>,
    /// Since it was accepted.
    age: Option<Millis>,
}

/// How a connection ends before its peers agree on it.
#[derive(Debug)]
enum End {
    /// It could not be made.
    Failed(Failure),
    /// A policy refused it.
    Denied(String),
    /// Whoever was asked about it did, or did not answer.
    Unauthorized(String),
    /// The client went before there was an upstream.
    ClientGone,
}

/// Carries bytes until both sides are done. `early` has been received already.
pub(super) async fn serve(
    worker: Rc<Worker>,
    guest: Guest,
    client: Stream,
    link: Link,
    early: Vec<u8>,
) {
    let mut conn = Conn {
        alarm: worker.timers.alarm(),
        opened: worker.timers.now(),
        worker,
        guest,
        link,
        client,
        early,
        client_ended: false,
        note: Note::new(),
    };
    match open::open(&mut conn).await {
        Ok(opened) => {
            conn.note_opened();
            relay::relay(&mut conn, opened).await;
        }
        Err(end) => conn.refuse(end),
    }
    conn.close();
}

impl Conn {
    /// Notes why there is no upstream. The client sees its connection break: an orderly end would
    /// look like an empty answer.
    fn refuse(&mut self, end: End) {
        self.client.reset();
        match end {
            End::Failed(failure) => {
                self.note.flags = refusal_flags(&failure);
                self.note.transport = failure.transport;
            }
            End::Denied(details) => self.note.termination = details.into(),
            End::Unauthorized(details) => {
                self.note.flags = Flags::UAEX;
                self.note.termination = details.into();
            }
            End::ClientGone => self.note.flags = Flags::DC,
        }
        self.note_opened();
    }
}
