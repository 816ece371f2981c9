//! The machine: what each event does in each state.

use super::retry::{Avoid, Head, backoff_micros, wants_after_failure, wants_after_head};
use super::{Attempts, Event, Outcome, Policy, REPLAY_BYTES_MAX, RetryGate, Step};
use crate::exchange::deadline::Expiry;
use crate::failure::{Failure, FailureKind};
use crate::flags::Flags;
use crate::limits::MAX_INTERIM_RESPONSES;
use crate::rng::Rng;
use crate::time::Now;
use std::rc::Rc;

/// Where an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connect { fresh: bool },
    Send,
    AwaitHead,
    Relay { early: bool },
    Backoff { until: Now },
    Reply(Failure),
    Abort(Failure),
    Done,
}

/// One request and its response. See the contract in [`super`].
#[derive(Debug, Clone)]
pub struct Exchange<'p> {
    pub(super) policy: Policy<'p>,
    pub(super) state: State,
    /// For jitter.
    seed: u64,

    // clocks
    pub(super) begun_at: Now,
    /// End of the client's request.
    pub(super) complete_at: Option<Now>,
    /// Begin of the current try.
    pub(super) try_at: Now,
    /// Last event or deadline.
    pub(super) moved_at: Now,
    /// [`Exchange::deadline`], computed once an event.
    due: Option<Now>,

    // the current try
    reused: bool,
    head_sent: bool,
    sent: bool,
    replay: bool,
    interims: u8,
    endpoint: Option<u32>,

    // all tries
    gate: Option<Rc<dyn RetryGate>>,
    /// The gate refused a retry.
    overflowed: bool,
    retries_left: u32,
    attempts: Attempts,
    /// `attempts` counts the current try: the shell knows of it.
    try_counted: bool,
    /// The free try after a dying pooled connection was used.
    free_try_used: bool,
    mirror_pending: bool,
    avoid: Avoid,
    transport: &'static str,
    request_bytes: u64,
    /// All of `request_bytes` are still in the shell's copy.
    kept: bool,

    // the response
    pub(super) tunnel: bool,
    status: Option<u16>,
    response_bytes: u64,
    upstream_micros: Option<u64>,
    reuse_upstream: bool,
    told_close: bool,
    failure: Option<Failure>,
}

impl<'p> Exchange<'p> {
    /// Begins with the request head at hand and a cluster chosen. `seed` is a fresh draw of the
    /// worker's generator.
    #[must_use]
    pub fn new(policy: Policy<'p>, seed: u64, now: Now) -> Self {
        let mut new = Self {
            policy,
            state: State::Connect { fresh: false },
            seed,
            begun_at: now,
            complete_at: policy.body.is_empty().then_some(now),
            try_at: now,
            moved_at: now,
            due: None,
            reused: false,
            head_sent: false,
            sent: false,
            replay: false,
            interims: 0,
            endpoint: None,
            gate: None,
            overflowed: false,
            retries_left: policy.retry.attempts,
            attempts: Attempts::default(),
            try_counted: false,
            free_try_used: false,
            mirror_pending: true,
            avoid: Avoid::default(),
            transport: "",
            request_bytes: 0,
            kept: true,
            tunnel: false,
            status: None,
            response_bytes: 0,
            upstream_micros: None,
            reuse_upstream: false,
            told_close: false,
            failure: None,
        };
        new.due = new.next_due();
        new
    }

    /// The same, with retries that something else limits, too.
    #[must_use]
    pub fn gated(self, gate: Option<Rc<dyn RetryGate>>) -> Self {
        Self { gate, ..self }
    }

    /// The next instant at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        self.due
    }

    /// What to be doing now.
    #[allow(
        clippy::should_implement_trait,
        reason = "a step is no item: it repeats until something happens"
    )]
    pub fn next(&mut self) -> Step {
        match self.state {
            State::Connect { fresh } => {
                self.count_try();
                Step::Connect {
                    attempt: self.attempts.tried,
                    fresh,
                }
            }
            State::Send => Step::Send {
                mirror: std::mem::take(&mut self.mirror_pending),
                replay: self.replay,
            },
            State::AwaitHead => Step::AwaitHead,
            State::Relay { early } => Step::Relay { early },
            State::Backoff { until } => Step::Backoff { until },
            State::Reply(failure) => Step::Reply(failure),
            State::Abort(failure) => Step::Abort(failure),
            State::Done => Step::Done,
        }
    }

    /// Takes note of what happened. Deadlines that have come by `now` count as earlier.
    pub fn on(&mut self, event: Event, now: Now) {
        let overtaken = self.due.is_some_and(|due| due <= now);
        if overtaken {
            while let Some(expiry) = self.expired(now) {
                self.expire(expiry, now);
            }
        }
        self.apply(event, overtaken, now);
        self.due = self.next_due();
    }

    fn apply(&mut self, event: Event, overtaken: bool, now: Now) {
        if self.is_over() {
            return;
        }
        if event != Event::Deadline {
            self.moved_at = now;
        }
        match event {
            Event::BodyProgress(bytes) => self.on_body(bytes),
            Event::BodyEnd => self.complete(now),
            Event::ClientGone => self.abort(FailureKind::ClientGone.into()),
            Event::ClientFailed(failure) => match self.state {
                State::Reply(_) => {}
                _ => self.fail(failure),
            },
            Event::Deadline => {}
            // news of a try that the deadline has just ended
            _ if overtaken => {}
            _ => self.on_try(event, now),
        }
    }

    /// Events of the current try, or of the answer.
    fn on_try(&mut self, event: Event, now: Now) {
        if matches!(self.state, State::Connect { .. }) {
            self.count_try();
        }
        match (self.state, event) {
            (State::Connect { .. }, Event::Picked(endpoint)) => self.endpoint = Some(endpoint),
            (State::Connect { .. }, Event::Connected { reused }) => {
                self.reused = reused;
                self.replay = self.request_bytes > 0;
                self.state = State::Send;
            }
            (State::Connect { .. }, Event::ConnectFailed(failure)) => self.fail_try(failure, now),
            (State::Send, Event::HeadSent) => self.head_sent = true,
            (State::Send, Event::Sent) => {
                self.head_sent = true;
                self.sent = true;
                self.complete(now);
                self.state = State::AwaitHead;
            }
            (State::Send | State::AwaitHead, Event::Interim(_)) => {
                self.interims = self.interims.saturating_add(1);
                if self.interims > MAX_INTERIM_RESPONSES {
                    self.fail_try(FailureKind::UpstreamProtocol.into(), now);
                }
            }
            (State::Send | State::AwaitHead, Event::Head(head)) => self.on_head(&head, now),
            (
                State::Send | State::AwaitHead,
                Event::UpstreamFailed {
                    failure,
                    bytes_received,
                },
            ) => {
                if self.takes_free_try(failure.kind, bytes_received) {
                    self.free_try_used = true;
                    self.begin_try(true);
                } else {
                    self.fail_try(failure, now);
                }
            }
            (State::Relay { .. }, Event::Sent) => {
                self.sent = true;
                self.complete(now);
            }
            (State::Relay { .. }, Event::ReplyProgress(bytes)) => {
                self.response_bytes = self.response_bytes.saturating_add(bytes);
            }
            (State::Relay { .. }, Event::ReplyEnd { keep_alive }) => {
                self.reuse_upstream = keep_alive && self.sent && !self.tunnel;
                self.state = State::Done;
            }
            (State::Relay { .. }, Event::UpstreamFailed { failure, .. }) => self.fail(failure),
            (State::Reply(_), Event::ReplyEnd { .. }) => self.state = State::Done,
            _ => {}
        }
    }

    fn on_body(&mut self, bytes: u64) {
        self.request_bytes = self.request_bytes.saturating_add(bytes);
        self.kept &= self.keeps_replay();
    }

    fn complete(&mut self, now: Now) {
        self.complete_at.get_or_insert(now);
    }

    fn on_head(&mut self, head: &Head, now: Now) {
        if wants_after_head(&self.policy, head) && self.replayable() && self.take_retry(now) {
            return;
        }
        if let Some(gate) = &self.gate {
            gate.give();
        }
        self.status = Some(head.status);
        self.upstream_micros = self.complete_at.map(|at| now.since(at));
        self.tunnel = head.status == 101;
        let early = self.complete_at.is_none() && !self.tunnel;
        self.told_close = early;
        self.state = State::Relay { early };
    }

    fn expire(&mut self, expiry: Expiry, now: Now) {
        // what comes next has all its time: an answer after a minute's wait too
        self.moved_at = now;
        match expiry {
            Expiry::Whole(kind) => self.fail(kind.into()),
            Expiry::Try => self.fail_try(FailureKind::PerTryTimeout.into(), now),
            Expiry::Backoff => {
                self.try_counted = false;
                self.try_at = now;
                self.begin_try(false);
            }
            Expiry::Answer => self.abort(
                FailureKind::StreamIdle {
                    request_complete: self.complete_at.is_some(),
                }
                .into(),
            ),
        }
    }

    /// This try failed before a response: another one, or the answer.
    fn fail_try(&mut self, failure: Failure, now: Now) {
        self.note(failure);
        let wanted = wants_after_failure(
            &self.policy.retry.on,
            failure.kind.retriable(),
            self.head_sent,
        );
        if !(wanted && self.replayable() && self.take_retry(now)) {
            self.fail(failure);
        }
    }

    /// Takes one of the policy's retries, or notes that there is none left.
    fn take_retry(&mut self, now: Now) -> bool {
        let Some(left) = self.retries_left.checked_sub(1) else {
            self.attempts.exhausted = self.policy.retry.attempts > 0;
            return false;
        };
        if self.gate.as_ref().is_some_and(|gate| !gate.take()) {
            self.overflowed = true;
            return false;
        }
        if let Some(endpoint) = self.endpoint {
            self.avoid.push(endpoint);
        }
        self.retries_left = left;
        let retry = self.attempts.tried;
        let mut rng = Rng::new(self.seed ^ u64::from(retry));
        let wait = backoff_micros(self.policy.retry.backoff_base, retry, &mut rng);
        self.state = State::Backoff {
            until: now.after_micros(wait),
        };
        true
    }

    fn count_try(&mut self) {
        if !self.try_counted {
            self.try_counted = true;
            self.attempts.tried = self.attempts.tried.saturating_add(1);
        }
    }

    fn begin_try(&mut self, fresh: bool) {
        self.reused = false;
        self.head_sent = false;
        self.sent = false;
        self.interims = 0;
        self.state = State::Connect { fresh };
    }

    /// A pooled connection that dies before the first byte of a response says nothing about the
    /// endpoint: it had closed the idle connection. One try more on a fresh one is free if the
    /// upstream may process the request twice, or cannot have all of it because we have not.
    /// (Not "because it is not all written": a write may have succeeded before we learn of it.)
    fn takes_free_try(&self, kind: FailureKind, bytes_received: bool) -> bool {
        matches!(
            kind,
            FailureKind::UpstreamClosed | FailureKind::UpstreamReset
        ) && self.reused
            && !bytes_received
            && self.interims == 0
            && !self.free_try_used
            && (self.policy.idempotent || self.complete_at.is_none())
            && self.replayable()
    }

    fn replayable(&self) -> bool {
        self.request_bytes == 0 || self.kept
    }

    /// Whether the shell must keep the body bytes that it takes from the client. Once `false`,
    /// and a `Send` with `replay` written, the copy can be dropped.
    #[must_use]
    pub fn keeps_replay(&self) -> bool {
        let may_be_sent_again = match self.state {
            State::Connect { .. } | State::Backoff { .. } => true,
            State::Send | State::AwaitHead => {
                self.retries_left > 0 || (self.reused && !self.free_try_used)
            }
            State::Relay { .. } | State::Reply(_) | State::Abort(_) | State::Done => false,
        };
        may_be_sent_again && self.kept && self.request_bytes <= REPLAY_BYTES_MAX
    }

    /// The exchange failed: answered, or cut if the response had begun.
    fn fail(&mut self, failure: Failure) {
        self.note(failure);
        if failure.kind == FailureKind::ClientGone || matches!(self.state, State::Relay { .. }) {
            self.abort(failure);
        } else {
            self.failure = Some(failure);
            self.state = State::Reply(failure);
        }
    }

    fn abort(&mut self, failure: Failure) {
        let failure = Failure {
            relayed: matches!(self.state, State::Relay { .. }),
            ..failure
        };
        self.failure = Some(failure);
        self.state = State::Abort(failure);
    }

    fn note(&mut self, failure: Failure) {
        if !failure.transport.is_empty() {
            self.transport = failure.transport;
        }
    }

    /// Whether the current try is the free one after a dying pooled connection, and has not begun.
    #[must_use]
    pub fn is_trying_afresh(&self) -> bool {
        self.state == State::Connect { fresh: true }
    }

    /// Whether the request is complete and a response is waited for.
    #[must_use]
    pub fn awaits_upstream(&self) -> bool {
        self.complete_at.is_some() && matches!(self.state, State::Send | State::AwaitHead)
    }

    /// Whether the last try ended without a response.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        matches!(self.state, State::Backoff { .. } | State::Reply(_))
    }

    /// Whether gRPC statuses are looked at.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.policy.grpc
    }

    /// Whether the step is, and stays, `Done` or `Abort`.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::Abort(_))
    }

    /// Endpoints to avoid in the current try (`retryIgnorePreviousHosts`).
    #[must_use]
    pub fn avoid(&self) -> &[u32] {
        if self.policy.retry.ignore_previous_hosts {
            self.avoid.as_slice()
        } else {
            &[]
        }
    }

    /// Facts for a reply.
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        self.attempts
    }

    /// The facts so far; final once [`Exchange::is_over`].
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut flags = self.failure.map_or(Flags::NONE, |f| f.kind.flags());
        if self.attempts.exhausted {
            flags = flags.with(Flags::URX);
        }
        if self.overflowed {
            flags = flags.with(Flags::UO);
        }
        let aborted = matches!(self.state, State::Abort(_));
        Outcome {
            attempts: self.attempts,
            status: self.status,
            failure: self.failure,
            flags,
            transport: self.transport,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            upstream_micros: self.upstream_micros,
            reuse_upstream: self.reuse_upstream,
            close_downstream: aborted
                || self.tunnel
                || self.told_close
                || self.complete_at.is_none(),
            endpoint: self.endpoint,
        }
    }
}
