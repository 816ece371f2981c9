//! One request and its response, retries included, without I/O.
//!
//! # Contract
//!
//! The shell makes an [`Exchange`] when routing has chosen a cluster, and then repeats: ask
//! [`Exchange::next`] what to do, do it, and report what happened by [`Exchange::on`]. In detail:
//!
//! * **Inputs**: [`Event`]s in the order in which they happened, each with the time. Events that
//!   make no sense in a state (late news of an abandoned try) change nothing.
//! * **Outputs**: [`Step`], what the shell should be in the midst of *now*. Asking twice gives the
//!   same answer, except that `mirror` is true once. After `Done` or `Abort`, always that.
//! * **Time**: the shell waits for I/O or for [`Exchange::deadline`], whichever is first, and when
//!   the deadline has come feeds [`Event::Deadline`]. A deadline beats whatever is reported at the
//!   same microsecond or later: success at `deadline - 1`, failure at `deadline`.
//! * **Lease**: the upstream connection that the shell holds belongs to one try. It is dropped
//!   (closed) as soon as the step is `Backoff`, `Reply`, `Abort` or another `Connect`; it goes
//!   back to the pool only on `Done` if [`Outcome::reuse_upstream`].
//! * **Bytes** never come here, only facts about them. The shell keeps a copy of the body bytes
//!   that it took from the client while [`Exchange::keeps_replay`] says so, asked after each
//!   [`Event::BodyProgress`], and begins each `Send` with `replay` by that copy.
//! * **Nothing allocates** and nothing fails: an exchange always ends, in at most
//!   `attempts + 2` tries, in exactly one of `Done` and `Abort`.

mod deadline;
mod policy;
mod retry;
mod state;

#[cfg(test)]
mod tests;

pub use deadline::effective_timeout;
pub use policy::{BodyKind, Limits, Policy};
pub use retry::{Avoid, Head};
pub use state::Exchange;

use crate::failure::Failure;
use crate::flags::Flags;
use crate::time::Now;
use sallyport_config::ir::Millis;

/// Body bytes that a shell keeps for another try, per request. Envoy's counterpart is the
/// route's `per_request_buffer_limit_bytes`, by default the connection buffer (32 KiB EDGE).
pub const REPLAY_BYTES_MAX: u64 = 65_536;

/// Tried endpoints that are remembered, and avoided by further tries.
pub const AVOID_MAX: usize = 8;

/// The longest back-off is this many times its base (Istio's and Envoy's default).
pub const BACKOFF_CAP: u64 = 10;

/// A client that takes no byte of an answer made here for this long is cut off.
pub const REPLY_TIME: Millis = Millis(10_000);

/// What limits retries beyond a request's own policy: a circuit breaker, or a budget.
pub trait RetryGate: std::fmt::Debug {
    /// Whether another try may begin; the one before is over.
    fn take(&self) -> bool;
    /// The last try that was allowed is over.
    fn give(&self);
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The shell has chosen this endpoint (index in its cluster) for the current try.
    Picked(u32),
    /// A connection is there, TLS included.
    Connected {
        /// It served another request before: it may be dying.
        reused: bool,
    },
    /// There will be no connection: `ConnectRefused`, `ConnectTimeout`, `ConnectTls`,
    /// `ConnectLocal`, `NoHealthyUpstream`, `Overflow` or `UnservedUpstream`.
    ConnectFailed(Failure),
    /// The first bytes of the request are handed to the socket, whether it takes them or not:
    /// the upstream may have seen them from now on.
    HeadSent,
    /// So many further body bytes were taken from the client. Report before forwarding them.
    BodyProgress(u64),
    /// The client's request is complete; bodies of [`BodyKind::Empty`] are from the start.
    BodyEnd,
    /// All of the request, body included, went to the upstream.
    Sent,
    /// An interim response was received and is being relayed; 101 is a [`Event::Head`].
    Interim(u16),
    /// The response head was received.
    Head(Head),
    /// So many further bytes of the response body went to the client.
    ReplyProgress(u64),
    /// The response is complete, and all of it went to the client: an upstream's while relaying,
    /// or the one made here after [`Step::Reply`].
    ReplyEnd {
        /// The upstream's framing and `connection` allow another request.
        keep_alive: bool,
    },
    /// The upstream failed: `UpstreamClosed`, `UpstreamReset`, `UpstreamRefused` or
    /// `UpstreamProtocol`. When writing fails, look first whether a response can be read.
    UpstreamFailed {
        /// How.
        failure: Failure,
        /// At least one byte of a response (interim ones included) had been received.
        bytes_received: bool,
    },
    /// The client closed or reset its connection, or broke the protocol beyond an answer.
    ClientGone,
    /// The client's request went wrong half-way: `Downstream`, `BodyTooLarge`. It is answered
    /// if nothing was relayed yet.
    ClientFailed(Failure),
    /// The time of [`Exchange::deadline`] has come.
    Deadline,
}

/// What the shell should be in the midst of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Choose an endpoint ([`Event::Picked`]), and take a lease from the pool or connect, within
    /// the cluster's own limit for that. Body bytes stay untouched with the client.
    Connect {
        /// 1 for the first try: `x-envoy-attempt-count`.
        attempt: u32,
        /// Do not take a pooled connection: the last one was dying.
        fresh: bool,
    },
    /// Write the head and then the body, and watch for a response at the same time.
    Send {
        /// Start the mirrors now; true once in an exchange.
        mirror: bool,
        /// Begin with the body bytes kept from an earlier try.
        replay: bool,
    },
    /// The request is written; wait for the response head.
    AwaitHead,
    /// Send the response head downstream, then the body; go on with the upload if it is not
    /// finished. No retry from here on.
    Relay {
        /// The request is not complete: say `connection: close`, because what is left of it
        /// will not be read to its end.
        early: bool,
    },
    /// Drop the lease and wait.
    Backoff {
        /// Until then; it is also (or before) the deadline.
        until: Now,
    },
    /// Drop the lease, answer this, then report [`Event::ReplyEnd`].
    Reply(Failure),
    /// Drop the lease and cut the downstream connection or stream: no answer can be given.
    Abort(Failure),
    /// All is said. See [`Exchange::outcome`].
    Done,
}

/// Facts for a reply's wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Tries begun, without the free one after a dying pooled connection.
    pub tried: u32,
    /// A further try was wanted and the policy's number was used up.
    pub exhausted: bool,
}

/// Facts for the log and for the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Tries.
    pub attempts: Attempts,
    /// Status of the response that went to the client; `None` if none did. Of a reply made
    /// here it is the reply's, and this is `None`.
    pub status: Option<u16>,
    /// What ended it, if not a whole response of the upstream.
    pub failure: Option<Failure>,
    /// Flags: of the failure, and `URX`.
    pub flags: Flags,
    /// Transport failure of the last try that had one: `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub transport: &'static str,
    /// Request body bytes taken from the client.
    pub request_bytes: u64,
    /// Response body bytes sent to the client, of an upstream's response.
    pub response_bytes: u64,
    /// Microseconds between the end of the request and the response head:
    /// `x-envoy-upstream-service-time` (in ms), `%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%`.
    pub upstream_micros: Option<u64>,
    /// The lease may go back to the pool.
    pub reuse_upstream: bool,
    /// The downstream HTTP/1 connection cannot carry another request.
    pub close_downstream: bool,
    /// The endpoint of the last try.
    pub endpoint: Option<u32>,
}
