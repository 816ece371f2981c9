//! What must never happen, restated plainly and apart from the machine.

use sallyport_config::ir::{Millis, Retry, RetryOn};
use sallyport_core::exchange::{
    BodyKind, Event, Head, Outcome, Policy, REPLAY_BYTES_MAX, REPLY_TIME, Step,
};
use sallyport_core::failure::FailureKind as K;
use sallyport_core::flags::Flags;
use sallyport_core::limits::MAX_INTERIM_RESPONSES;

/// How late the simulated shell may be, in microseconds.
pub(super) const LAG_MAX: u64 = 20_000;

/// Why a try ended.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Failed(K),
    Answered(Head),
}

/// Watches events and steps.
#[derive(Debug)]
pub(super) struct Shadow {
    retry: Retry,
    timeout: Option<Millis>,
    idempotent: bool,
    grpc: bool,
    tries: u32,
    free_tries: u32,
    relayed: bool,
    replied: bool,
    replied_at: u64,
    over: bool,
    mirrored: bool,
    tunnel: bool,
    early: bool,
    complete_at: Option<u64>,
    try_at: u64,
    trying: bool,
    // the current try
    connected: bool,
    reused: bool,
    begun: bool,
    sent: bool,
    heard: bool,
    interims: u32,
    cause: Option<Cause>,
    /// Body bytes taken from the client, and those the shell's copy holds.
    taken: u64,
    copy: Option<u64>,
}

impl Shadow {
    pub(super) fn new(policy: &Policy<'_>) -> Self {
        Self {
            retry: policy.retry.clone(),
            timeout: policy.timeout,
            idempotent: policy.idempotent,
            grpc: policy.grpc,
            tries: 0,
            free_tries: 0,
            relayed: false,
            replied: false,
            replied_at: 0,
            over: false,
            mirrored: false,
            tunnel: false,
            early: false,
            complete_at: matches!(policy.body, BodyKind::Empty).then_some(0),
            try_at: 0,
            trying: false,
            connected: false,
            reused: false,
            begun: false,
            sent: false,
            heard: false,
            interims: 0,
            cause: None,
            taken: 0,
            copy: Some(0),
        }
    }

    /// The shell reports this, and the machine was not overtaken by a deadline.
    pub(super) fn event(&mut self, event: Event, now: u64) {
        match event {
            Event::Connected { reused } => {
                self.connected = true;
                self.reused = reused;
            }
            Event::ConnectFailed(failure) | Event::UpstreamFailed { failure, .. } => {
                if let Event::UpstreamFailed { bytes_received, .. } = event {
                    self.heard |= bytes_received;
                }
                self.cause = Some(Cause::Failed(failure.kind));
            }
            Event::HeadSent => self.begun = true,
            Event::Sent => {
                self.begun = true;
                self.sent = true;
            }
            Event::Interim(_) => {
                self.heard = true;
                self.interims += 1;
                if self.interims > u32::from(MAX_INTERIM_RESPONSES) {
                    self.cause = Some(Cause::Failed(K::UpstreamProtocol));
                }
            }
            Event::Head(head) => {
                self.tunnel = head.status == 101;
                self.cause = Some(Cause::Answered(head));
            }
            Event::BodyEnd => {
                self.complete_at.get_or_insert(now);
            }
            _ => {}
        }
    }

    /// Bytes were taken from the client, and `kept` or not in the shell's copy.
    pub(super) fn took(&mut self, bytes: u64, kept: bool) -> Result<(), String> {
        self.taken += bytes;
        self.copy = self.copy.filter(|_| kept).map(|copy| copy + bytes);
        match self.copy {
            Some(copy) if copy > REPLAY_BYTES_MAX => Err(format!("a copy of {copy} bytes")),
            _ => Ok(()),
        }
    }

    /// The machine wants this now, and wanted something else before.
    pub(super) fn step(&mut self, step: Step, deadline_won: bool, now: u64) -> Result<(), String> {
        if self.over {
            return Err(format!("{step:?} after the end"));
        }
        if deadline_won && self.trying {
            // what the deadline was about is seen from the step
            self.cause = Some(Cause::Failed(K::PerTryTimeout));
        }
        self.trying = false;
        match step {
            Step::Connect { attempt, fresh } => self.connect(attempt, fresh, now)?,
            Step::Send { mirror, replay } => self.send(mirror, replay)?,
            Step::AwaitHead => self.trying = true,
            Step::Backoff { until } => self.back_off(until.0, now)?,
            Step::Relay { early } => {
                if self.relayed || self.replied {
                    return Err("a second response".to_owned());
                }
                self.relayed = true;
                self.must_be_final()?;
                self.early = early;
                if early != (self.complete_at.is_none() && !self.tunnel) {
                    return Err("early flag is wrong".to_owned());
                }
            }
            Step::Reply(failure) => {
                if self.relayed || self.replied {
                    return Err("a second response".to_owned());
                }
                self.replied = true;
                self.replied_at = now;
                if failure.kind.retriable() != sallyport_core::failure::Retriable::Never {
                    self.must_be_final()?;
                }
            }
            Step::Abort(failure) => {
                self.over = true;
                let hasty = now < self.replied_at + REPLY_TIME.0 * 1_000;
                if self.replied && hasty && failure.kind != K::ClientGone {
                    return Err("no time to answer".to_owned());
                }
                if failure.relayed != self.relayed {
                    return Err("relayed flag is wrong".to_owned());
                }
            }
            Step::Done => {
                self.over = true;
                if self.relayed == self.replied {
                    return Err("done without exactly one response".to_owned());
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, mirror: bool, replay: bool) -> Result<(), String> {
        self.trying = true;
        if !self.connected {
            return Err("a send without connection".to_owned());
        }
        if mirror == self.mirrored {
            return Err("mirrors start with the first send, once".to_owned());
        }
        self.mirrored = true;
        if replay != (self.taken > 0) {
            return Err("replay flag is wrong".to_owned());
        }
        if replay && self.copy != Some(self.taken) {
            return Err("a body that was not kept is sent again".to_owned());
        }
        Ok(())
    }

    fn back_off(&mut self, until: u64, now: u64) -> Result<(), String> {
        self.must_be_wanted()?;
        if self.tries > self.retry.attempts {
            return Err("one try too many".to_owned());
        }
        if until > now + self.retry.backoff_base.0 * 10_000 {
            return Err(format!("back-off of {} µs", until - now));
        }
        Ok(())
    }

    fn connect(&mut self, attempt: u32, fresh: bool, now: u64) -> Result<(), String> {
        if self.relayed || self.replied {
            return Err("a try after a response".to_owned());
        }
        if fresh {
            self.free_tries += 1;
            let harmless = self.idempotent || self.complete_at.is_none();
            if attempt != self.tries || !self.reused || self.heard || !harmless {
                return Err("a free try without right".to_owned());
            }
        } else {
            if attempt != self.tries + 1 {
                return Err(format!("try {attempt} after {}", self.tries));
            }
            if attempt > 1 {
                self.must_be_wanted()?;
            }
            self.tries = attempt;
            self.try_at = now;
        }
        if self.free_tries > 1 || self.tries > self.retry.attempts + 1 {
            return Err("one try too many".to_owned());
        }
        self.trying = true;
        (self.connected, self.reused, self.interims) = (false, false, 0);
        (self.begun, self.sent, self.heard) = (false, false, false);
        Ok(())
    }

    fn replayable(&self) -> bool {
        self.copy == Some(self.taken) || self.taken == 0
    }

    fn must_be_wanted(&self) -> Result<(), String> {
        match self.cause {
            Some(cause) if self.wanted(cause) && self.replayable() => Ok(()),
            cause => Err(format!("nobody wants a retry after {cause:?}")),
        }
    }

    /// There was no way to retry.
    fn must_be_final(&self) -> Result<(), String> {
        match self.cause {
            Some(cause)
                if self.wanted(cause) && self.tries <= self.retry.attempts && self.replayable() =>
            {
                Err(format!("no retry after {cause:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Envoy's documentation of `x-envoy-retry-on`, word by word.
    fn wanted(&self, cause: Cause) -> bool {
        let on: RetryOn = self.retry.on;
        match cause {
            Cause::Failed(kind) => {
                let connect = matches!(
                    kind,
                    K::ConnectRefused | K::ConnectTimeout | K::ConnectTls | K::ConnectLocal
                );
                let lost = connect
                    || matches!(
                        kind,
                        K::UpstreamClosed | K::UpstreamReset | K::UpstreamRefused
                    )
                    || matches!(kind, K::UpstreamProtocol | K::PerTryTimeout);
                (connect && on.connect_failure)
                    || (kind == K::UpstreamRefused && on.refused_stream)
                    || (lost && (on.five_xx || on.gateway_error || on.reset))
                    || (lost && !self.begun && on.reset_before_request)
            }
            Cause::Answered(head) if head.rate_limited => on.envoy_ratelimited,
            Cause::Answered(head) => {
                let status = head.status;
                let grpc = head.grpc_status.filter(|_| self.grpc);
                (on.five_xx && (500..600).contains(&status))
                    || (on.gateway_error && [502, 503, 504].contains(&status))
                    || (on.retriable_4xx && status == 409)
                    || (on.retriable_status_codes && self.retry.status_codes.contains(&status))
                    || (on.retriable_headers && head.retriable_header)
                    || (on.cancelled && grpc == Some(1))
                    || (on.deadline_exceeded && grpc == Some(4))
                    || (on.resource_exhausted && grpc == Some(8))
                    || (on.internal && grpc == Some(13))
                    || (on.unavailable && grpc == Some(14))
            }
        }
    }

    /// No clock of the policy has run out unnoticed.
    pub(super) fn in_time(&self, now: u64) -> Result<(), String> {
        if self.trying && self.interims > u32::from(MAX_INTERIM_RESPONSES) {
            return Err("interim responses without end".to_owned());
        }
        let over = |from: u64, limit: Option<Millis>| {
            limit.is_some_and(|limit| now > from + limit.0 * 1_000 + LAG_MAX)
        };
        let Some(complete_at) = self.complete_at else {
            return Ok(());
        };
        if !self.over && !self.replied && !self.tunnel && over(complete_at, self.timeout) {
            return Err("the route's timeout did not fire".to_owned());
        }
        if self.trying && over(self.try_at.max(complete_at), self.retry.per_try_timeout) {
            return Err("the timeout of a try did not fire".to_owned());
        }
        Ok(())
    }

    /// The account agrees with what was seen.
    pub(super) fn end(&self, outcome: &Outcome, aborted: bool) -> Result<(), String> {
        let checks = [
            (self.over, "not over"),
            (outcome.attempts.tried == self.tries, "number of tries"),
            (outcome.status.is_some() == self.relayed, "status"),
            (
                outcome.failure.is_some() == (self.replied || aborted),
                "failure",
            ),
            (outcome.request_bytes == self.taken, "request bytes"),
            (
                outcome.attempts.exhausted == outcome.flags.has(Flags::URX),
                "URX",
            ),
            (
                !outcome.attempts.exhausted
                    || (self.tries > 1 && self.tries == self.retry.attempts + 1),
                "exhausted too early",
            ),
            (
                !outcome.reuse_upstream || (self.relayed && self.sent && !aborted && !self.tunnel),
                "reuse of a dirty connection",
            ),
            (
                outcome.close_downstream || (self.complete_at.is_some() && !self.early && !aborted),
                "the client's connection is dirty",
            ),
        ];
        match checks.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(format!("outcome: {what}: {outcome:?}")),
            None => Ok(()),
        }
    }
}
