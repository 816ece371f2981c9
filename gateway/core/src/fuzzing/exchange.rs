//! Any events in any order at any time: what the exchange machine promises even to a shell that
//! breaks the contract.

use super::check;
use crate::exchange::{BodyKind, Event, Exchange, Head, Limits, Policy, Step};
use crate::failure::{Failure, FailureKind};
use crate::time::Now;
use sallyport_config::ir::{Millis, Retry, RetryOn};

/// A script: six bytes of policy, then three bytes an event (what, argument, time in ms).
pub fn fuzz_exchange_ops(data: &[u8]) {
    let Some((policy, script)) = data.split_first_chunk::<6>() else {
        return;
    };
    let retry = retry(*policy);
    let policy = policy_of(*policy, &retry);
    let mut now = Now(0);
    let mut exchange = Exchange::new(policy, u64::from(retry.attempts), now);
    let mut watch = Watch::default();
    watch.see(&mut exchange, &retry);
    for op in script.chunks_exact(3) {
        let [what, argument, wait] = *op else {
            return;
        };
        now = now.after_micros(u64::from(wait) * 1_000);
        exchange.on(event(what, argument), now);
        let waits = matches!(watch.see(&mut exchange, &retry), Step::Backoff { .. });
        let due = exchange.deadline().is_some_and(|at| at <= now);
        check(!due || waits, "a deadline came and nothing happened");
    }
}

fn retry([words, more, attempts, per_try, ..]: [u8; 6]) -> Retry {
    let bit = |byte: u8, at: u8| (byte >> at) & 1 == 1;
    Retry {
        attempts: u32::from(attempts % 8),
        per_try_timeout: (per_try > 0).then_some(Millis(u64::from(per_try))),
        on: RetryOn {
            five_xx: bit(words, 0),
            gateway_error: bit(words, 1),
            reset: bit(words, 2),
            reset_before_request: bit(words, 3),
            connect_failure: bit(words, 4),
            envoy_ratelimited: bit(words, 5),
            retriable_4xx: bit(words, 6),
            refused_stream: bit(words, 7),
            retriable_status_codes: bit(more, 0),
            retriable_headers: bit(more, 1),
            unavailable: bit(more, 2),
            ..RetryOn::default()
        },
        status_codes: vec![418],
        ..Retry::default()
    }
}

fn policy_of([_, more, _, _, timeout, limits]: [u8; 6], retry: &Retry) -> Policy<'_> {
    let limit = |value: u8| (value > 0).then_some(Millis(u64::from(value) * 4));
    Policy {
        retry,
        timeout: limit(timeout),
        limits: Limits {
            request: limit(limits & 0x0f),
            idle: limit(limits >> 4),
            duration: limit(limits & 0x3c),
        },
        body: if more & 0x40 == 0 {
            BodyKind::Empty
        } else {
            BodyKind::Stream
        },
        idempotent: more & 0x80 == 0,
        early: false,
        grpc: more & 0x04 != 0,
    }
}

fn event(what: u8, argument: u8) -> Event {
    let kinds = [
        FailureKind::ConnectRefused,
        FailureKind::Overflow,
        FailureKind::NoHealthyUpstream,
        FailureKind::UpstreamClosed,
        FailureKind::UpstreamRefused,
        FailureKind::UpstreamProtocol,
        FailureKind::BodyTooLarge,
        FailureKind::ClientGone,
    ];
    let kind = kinds.get(usize::from(argument % 8)).copied();
    let failure = Failure::from(kind.unwrap_or(FailureKind::Internal));
    let bytes = u64::from(argument) << (argument % 12);
    match what % 16 {
        0 => Event::Picked(u32::from(argument)),
        1 | 2 => Event::Connected {
            reused: argument & 1 == 1,
        },
        3 => Event::ConnectFailed(failure),
        4 => Event::HeadSent,
        5 => Event::BodyProgress(bytes),
        6 => Event::BodyEnd,
        7 => Event::Sent,
        8 => Event::Interim(103),
        9 | 10 => Event::Head(Head {
            status: [200, 101, 409, 418, 500, 503]
                .get(usize::from(argument % 6))
                .copied()
                .unwrap_or(204),
            grpc_status: (argument & 0x40 != 0).then_some(14),
            rate_limited: argument & 0x20 != 0,
            retriable_header: argument & 0x80 != 0,
        }),
        11 => Event::ReplyProgress(bytes),
        12 => Event::ReplyEnd {
            keep_alive: argument & 1 == 1,
        },
        13 => Event::UpstreamFailed {
            failure,
            bytes_received: argument & 0x80 != 0,
        },
        14 => Event::ClientFailed(failure),
        _ if argument < 16 => Event::ClientGone,
        _ => Event::Deadline,
    }
}

/// What was seen so far.
#[derive(Default)]
struct Watch {
    last: Option<Step>,
    connects: u32,
    mirrored: bool,
    relayed: bool,
    replied: bool,
}

impl Watch {
    fn see(&mut self, exchange: &mut Exchange<'_>, retry: &Retry) -> Step {
        let step = exchange.next();
        if matches!(step, Step::Send { mirror: true, .. }) {
            check(!self.mirrored, "mirrors twice");
            self.mirrored = true;
        }
        if self.last == Some(step) {
            return step;
        }
        let over = matches!(self.last, Some(Step::Done | Step::Abort(_)));
        check(!over, "a step after the end");
        let outcome = exchange.outcome();
        match step {
            Step::Connect { attempt, .. } => {
                self.connects += 1;
                check(attempt <= retry.attempts + 1, "one try too many");
                check(
                    self.connects <= retry.attempts + 2,
                    "one connection too many",
                );
            }
            Step::Relay { .. } => self.relayed = true,
            Step::Reply(_) => {
                check(!self.relayed, "a second response");
                self.replied = true;
            }
            Step::Done => check(self.relayed != self.replied, "not one response"),
            Step::Abort(failure) => {
                check(outcome.close_downstream, "a cut that keeps the connection");
                check(failure.relayed == self.relayed, "a wrong account");
            }
            Step::Send { .. } | Step::AwaitHead | Step::Backoff { .. } => {}
        }
        let on_the_way = !matches!(
            step,
            Step::Relay { .. } | Step::Reply(_) | Step::Done | Step::Abort(_)
        );
        let answered = self.relayed || self.replied;
        check(!(on_the_way && answered), "a try after a response");
        let clean = step == Step::Done && self.relayed;
        check(!outcome.reuse_upstream || clean, "a dirty connection");
        self.last = Some(step);
        step
    }
}
