//! A client, upstreams and a shell, all made from a seed.

use super::Tally;
use super::shadow::{LAG_MAX, Shadow};
use sallyport_config::ir::{Millis, Retry, RetryOn};
use sallyport_core::exchange::{BodyKind, Event, Exchange, Head, Limits, Policy, Step};
use sallyport_core::failure::FailureKind as K;
use sallyport_core::rng::Rng;
use sallyport_core::time::Now;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const MILLI: u64 = 1_000;
/// A client that waits for ever leaves in the end.
const PATIENCE: u64 = 3_600_000 * MILLI;
/// More turns than any exchange can need.
const TURNS_MAX: u32 = 4_000;

/// Something that will happen at its time, unless its try is over by then.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Report this.
    Tell(Event),
    /// The client's next body bytes are there; the shell takes and forwards them.
    Pump,
    /// All of the request is written.
    Flush,
}

struct World<'w> {
    rng: Rng,
    now: u64,
    /// By time and order; with the try it belongs to, 0 for the client's.
    agenda: BTreeMap<(u64, u64), (u32, Act)>,
    order: u64,
    try_id: u32,
    exchange: Exchange<'w>,
    shadow: Shadow,
    seen: Option<Step>,
    /// Sizes of the client's body pieces that were not taken yet.
    pieces: Vec<u64>,
    body_open: bool,
    taken: u64,
    /// Body bytes that the current upstream got.
    delivered: u64,
    leases: Vec<&'static str>,
    lease: Option<usize>,
    tally: Tally,
    trace: &'w mut String,
}

/// Runs one seed to its end.
pub(super) fn run(seed: u64, trace: &mut String) -> Result<Tally, String> {
    let mut rng = Rng::new(seed);
    let retry = draw_retry(&mut rng);
    let pieces = draw_body(&mut rng);
    let policy = draw_policy(&mut rng, &retry, pieces.is_empty());
    let _ = writeln!(trace, "{policy:?}\nbody {pieces:?}");
    let mut world = World {
        now: 0,
        agenda: BTreeMap::new(),
        order: 0,
        try_id: 0,
        exchange: Exchange::new(policy, rng.next_u64(), Now(0)),
        shadow: Shadow::new(&policy),
        seen: None,
        body_open: !pieces.is_empty(),
        pieces,
        taken: 0,
        delivered: 0,
        leases: Vec::new(),
        lease: None,
        tally: Tally::new(),
        trace,
        rng,
    };
    world.invite_client_faults();
    world.go()?;
    Ok(world.tally)
}

/// Facts about the client count whenever they come.
fn is_clients(event: Event) -> bool {
    matches!(
        event,
        Event::BodyProgress(_) | Event::BodyEnd | Event::ClientGone | Event::ClientFailed(_)
    )
}

fn chance(rng: &mut Rng, percent: u64) -> bool {
    rng.below(100) < percent
}

fn maybe(rng: &mut Rng, percent: u64, most: u64) -> Option<Millis> {
    // now and then much longer than it takes to write an answer
    let most = if chance(rng, 10) { most * 200 } else { most };
    chance(rng, percent).then(|| Millis(1 + rng.below(most)))
}

fn draw_retry(rng: &mut Rng) -> Retry {
    let words = rng.next_u64();
    let word = |bit: u32| words >> bit & 1 == 1 && words >> (bit + 20) & 1 == 1;
    Retry {
        attempts: u32::try_from(rng.below(5)).unwrap(),
        per_try_timeout: maybe(rng, 40, 200),
        on: RetryOn {
            five_xx: word(0),
            gateway_error: word(1),
            reset: word(2),
            reset_before_request: word(3),
            connect_failure: word(4),
            envoy_ratelimited: word(5),
            retriable_4xx: word(6),
            refused_stream: word(7),
            retriable_status_codes: word(8),
            retriable_headers: word(9),
            http3_post_connect_failure: word(10),
            cancelled: word(11),
            deadline_exceeded: word(12),
            internal: word(13),
            resource_exhausted: word(14),
            unavailable: word(15),
        },
        status_codes: vec![418, 503],
        backoff_base: Millis(rng.below(40).saturating_sub(10)),
        ignore_previous_hosts: chance(rng, 50),
        remote_localities: false,
    }
}

/// Pieces in which the body arrives; empty for no body.
fn draw_body(rng: &mut Rng) -> Vec<u64> {
    let (count, most) = match rng.below(4) {
        0 | 1 => (0, 1),
        2 => (1 + rng.below(6), 9_000),
        _ => (1 + rng.below(12), 20_000),
    };
    (0..count).map(|_| 1 + rng.below(most)).collect()
}

fn draw_policy<'r>(rng: &mut Rng, retry: &'r Retry, no_body: bool) -> Policy<'r> {
    Policy {
        retry,
        timeout: maybe(rng, 50, 400),
        limits: Limits {
            request: maybe(rng, 30, 300),
            idle: maybe(rng, 30, 300),
            duration: maybe(rng, 20, 800),
        },
        body: if no_body {
            BodyKind::Empty
        } else {
            BodyKind::Stream
        },
        idempotent: chance(rng, 50),
        early: false,
        grpc: chance(rng, 20),
    }
}

impl World<'_> {
    fn go(&mut self) -> Result<(), String> {
        self.look(false)?;
        for _ in 0..TURNS_MAX {
            if self.exchange.is_over() {
                return self.end();
            }
            self.turn()?;
        }
        Err("it does not end".to_owned())
    }

    /// Waits for whichever is first, as a shell does, and sometimes oversleeps.
    fn turn(&mut self) -> Result<(), String> {
        let next = self.agenda.first_key_value().map(|(key, _)| *key);
        let deadline = self.exchange.deadline().map(|at| at.0);
        let wake = match (next.map(|key| key.0), deadline) {
            (Some(act), Some(deadline)) => act.min(deadline),
            (one, None) | (None, one) => one.unwrap_or(self.now + PATIENCE),
        };
        let lag = if self.now < wake && chance(&mut self.rng, 15) {
            self.rng.below(LAG_MAX)
        } else {
            0
        };
        self.now = self.now.max(wake) + lag;
        self.shadow.in_time(self.now)?;
        let due = next.filter(|key| key.0 <= self.now);
        let late = deadline.is_some_and(|at| at <= self.now);
        match due {
            // a shell may notice either first: the machine must not care
            Some(key) if !late || chance(&mut self.rng, 50) => {
                let Some((try_id, act)) = self.agenda.remove(&key) else {
                    return Ok(());
                };
                if try_id != 0 && try_id != self.try_id {
                    return Ok(());
                }
                self.act(act)
            }
            _ if late => self.tell(Event::Deadline),
            _ => {
                self.count("patience lost");
                self.tell(Event::ClientGone)
            }
        }
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Tell(event) => self.tell(event),
            Act::Pump => {
                let Some(bytes) = self.pieces.pop() else {
                    return Ok(());
                };
                let try_id = self.try_id;
                self.taken += bytes;
                self.tell(Event::BodyProgress(bytes))?;
                if self.pieces.is_empty() && !self.exchange.is_over() {
                    self.body_open = false;
                    self.tell(Event::BodyEnd)?;
                }
                if try_id == self.try_id && !self.exchange.is_over() {
                    self.delivered += bytes;
                    self.schedule_upload();
                }
                Ok(())
            }
            Act::Flush => {
                if self.delivered != self.taken || self.body_open {
                    return Err(format!(
                        "{} of {} bytes were sent",
                        self.delivered, self.taken
                    ));
                }
                self.tell(Event::Sent)
            }
        }
    }

    /// Reports an event; then looks what the machine wants.
    fn tell(&mut self, event: Event) -> Result<(), String> {
        let overtaken = self.exchange.deadline().is_some_and(|at| at.0 <= self.now);
        let _ = writeln!(self.trace, "{:>9} {event:?}", self.now);
        if !overtaken || matches!(event, Event::BodyEnd) {
            self.shadow.event(event, self.now);
        }
        self.note_event(event);
        let mut without = self.exchange.clone();
        self.exchange.on(event, Now(self.now));
        if overtaken && !is_clients(event) {
            without.on(Event::Deadline, Now(self.now));
            if without.next() != self.exchange.clone().next() {
                return Err(format!("{event:?} came too late and counted"));
            }
        }
        if matches!(event, Event::ReplyEnd { .. }) && !self.exchange.is_over() {
            return Err("not over at the end of the response".to_owned());
        }
        if let Event::BodyProgress(bytes) = event
            && !self.exchange.is_over()
        {
            let kept = self.exchange.keeps_replay();
            self.shadow.took(bytes, kept)?;
        }
        self.look(overtaken)?;
        // a back-off of nothing is over at once; nothing else may be due already
        if self.exchange.deadline().is_some_and(|at| at.0 <= self.now) {
            if !matches!(self.seen, Some(Step::Backoff { .. })) {
                return Err("a deadline came and nothing happened".to_owned());
            }
            self.exchange.on(Event::Deadline, Now(self.now));
            self.look(false)?;
        }
        Ok(())
    }

    fn look(&mut self, deadline_won: bool) -> Result<(), String> {
        let step = self.exchange.next();
        let same = match (self.seen, step) {
            (Some(Step::Send { .. }), Step::Send { mirror, .. }) => {
                if mirror {
                    return Err("mirrors twice".to_owned());
                }
                true
            }
            (seen, step) => seen == Some(step),
        };
        if same {
            return Ok(());
        }
        let _ = writeln!(self.trace, "{:>9}     -> {step:?}", self.now);
        self.shadow.step(step, deadline_won, self.now)?;
        self.seen = Some(step);
        self.note_step(step);
        match step {
            Step::Connect { fresh, .. } => {
                self.drop_lease("closed");
                self.connect(fresh);
            }
            Step::Send { replay, .. } => self.send(replay),
            Step::AwaitHead => {}
            Step::Relay { .. } => self.relay(),
            Step::Backoff { .. } | Step::Abort(_) => self.drop_lease("closed"),
            Step::Reply(_) => {
                self.drop_lease("closed");
                if chance(&mut self.rng, 90) {
                    self.plan(5, Act::Tell(Event::ReplyEnd { keep_alive: false }));
                }
            }
            Step::Done => {
                let reuse = self.exchange.outcome().reuse_upstream;
                self.drop_lease(if reuse { "reused" } else { "closed" });
            }
        }
        Ok(())
    }

    /// Takes a connection, or fails to.
    fn connect(&mut self, fresh: bool) {
        let endpoint = u32::try_from(self.rng.below(4)).unwrap();
        self.plan(0, Act::Tell(Event::Picked(endpoint)));
        let reused = !fresh && chance(&mut self.rng, 50);
        let failure = match self.rng.below(30) {
            0..=2 => Some(K::ConnectRefused),
            3 => Some(K::ConnectTimeout),
            4 => Some(K::ConnectTls),
            5 => Some(K::ConnectLocal),
            6 => Some(K::NoHealthyUpstream),
            7 => Some(K::Overflow),
            // nothing ever comes
            8 => return,
            _ => None,
        };
        let event = match failure {
            Some(kind) => Event::ConnectFailed(kind.into()),
            None => Event::Connected { reused },
        };
        let wait = if reused { 0 } else { 60 };
        self.plan(wait, Act::Tell(event));
    }

    /// Writes the request; the upstream does something meanwhile.
    fn send(&mut self, replay: bool) {
        self.leases.push("held");
        self.lease = Some(self.leases.len() - 1);
        self.delivered = if replay { self.taken } else { 0 };
        self.plan(0, Act::Tell(Event::HeadSent));
        self.schedule_upload();
        let interims = if chance(&mut self.rng, 15) {
            self.rng.below(12)
        } else {
            0
        };
        for _ in 0..interims {
            self.plan(80, Act::Tell(Event::Interim(103)));
        }
        let event = match self.rng.below(20) {
            0..=4 => Event::UpstreamFailed {
                failure: self.upstream_failure().into(),
                bytes_received: interims > 0 || chance(&mut self.rng, 20),
            },
            // nothing ever comes
            5 => return,
            _ => Event::Head(self.head()),
        };
        let wait = [1, 20, 150, 600][usize::try_from(self.rng.below(4)).unwrap()];
        self.plan(wait, Act::Tell(event));
    }

    fn upstream_failure(&mut self) -> K {
        match self.rng.below(4) {
            0 | 1 => K::UpstreamClosed,
            2 => K::UpstreamProtocol,
            _ if chance(&mut self.rng, 50) => K::UpstreamReset,
            _ => K::UpstreamRefused,
        }
    }

    fn head(&mut self) -> Head {
        let statuses = [200, 200, 200, 404, 409, 418, 500, 502, 503, 503, 101];
        let index = self.rng.below(statuses.len() as u64);
        let grpc = [0, 1, 4, 8, 13, 14, 2];
        let code = grpc[usize::try_from(self.rng.below(7)).unwrap()];
        Head {
            status: statuses[usize::try_from(index).unwrap()],
            grpc_status: chance(&mut self.rng, 20).then_some(code),
            rate_limited: chance(&mut self.rng, 5),
            retriable_header: chance(&mut self.rng, 5),
        }
    }

    /// The response flows, to its end or not.
    fn relay(&mut self) {
        for _ in 0..self.rng.below(4) {
            self.plan(40, Act::Tell(Event::ReplyProgress(100)));
        }
        let event = match self.rng.below(10) {
            0 => Event::UpstreamFailed {
                failure: self.upstream_failure().into(),
                bytes_received: true,
            },
            // nothing ever comes
            1 => return,
            _ => Event::ReplyEnd {
                keep_alive: chance(&mut self.rng, 80),
            },
        };
        self.plan(120, Act::Tell(event));
    }

    fn schedule_upload(&mut self) {
        if self.body_open {
            let wait = if chance(&mut self.rng, 10) { 200 } else { 8 };
            self.plan(wait, Act::Pump);
        } else {
            self.plan(2, Act::Flush);
        }
    }

    /// The client leaves or misbehaves at some time, or does not.
    fn invite_client_faults(&mut self) {
        let event = match self.rng.below(20) {
            0 | 1 => Event::ClientGone,
            2 => Event::ClientFailed(K::BodyTooLarge.into()),
            _ => return,
        };
        let at = self.rng.below(400 * MILLI);
        self.order += 1;
        self.agenda.insert((at, self.order), (0, Act::Tell(event)));
    }

    /// At a random time within so many milliseconds, in this try.
    fn plan(&mut self, within_millis: u64, act: Act) {
        self.order += 1;
        let at = self.now + self.rng.below(within_millis * MILLI + 1);
        self.agenda.insert((at, self.order), (self.try_id, act));
    }

    fn drop_lease(&mut self, how: &'static str) {
        self.try_id += 1;
        if let Some(lease) = self.lease.take() {
            self.leases[lease] = how;
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let outcome = self.exchange.outcome();
        let last = self.exchange.next();
        self.shadow.end(&outcome, matches!(last, Step::Abort(_)))?;
        if self.leases.contains(&"held") {
            return Err("a lease was kept".to_owned());
        }
        if self.leases.iter().filter(|how| **how == "reused").count() > 1 {
            return Err("two leases were reused".to_owned());
        }
        if self.exchange.deadline().is_some() {
            return Err("a clock runs on".to_owned());
        }
        // late news change nothing
        let account = format!("{outcome:?}");
        for event in [
            Event::Head(Head::status(200)),
            Event::ClientGone,
            Event::BodyProgress(1),
            Event::Deadline,
            Event::Connected { reused: false },
        ] {
            self.exchange.on(event, Now(self.now + PATIENCE));
            if self.exchange.next() != last || format!("{:?}", self.exchange.outcome()) != account {
                return Err(format!("{event:?} after the end"));
            }
        }
        if outcome.attempts.exhausted {
            self.count("exhausted");
        }
        if outcome.reuse_upstream {
            self.count("reused upstream");
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn note_event(&mut self, event: Event) {
        match event {
            Event::ConnectFailed(_) => self.count("connect failed"),
            Event::Interim(_) => self.count("interim"),
            Event::ClientGone => self.count("client gone"),
            Event::ClientFailed(_) => self.count("client failed"),
            Event::Head(Head { status: 101, .. }) => self.count("tunnel"),
            _ => {}
        }
    }

    fn note_step(&mut self, step: Step) {
        let failure = match step {
            Step::Reply(failure) | Step::Abort(failure) => Some(failure.kind),
            _ => None,
        };
        match failure {
            Some(K::RequestTimeout) => self.count("request timeout"),
            Some(K::RouteTimeout) => self.count("route timeout"),
            Some(K::PerTryTimeout) => self.count("per try timeout"),
            Some(K::StreamIdle { .. }) => self.count("idle"),
            Some(K::MaxDuration { .. }) => self.count("too old"),
            _ => {}
        }
        match step {
            Step::Connect { fresh: true, .. } => self.count("free try"),
            Step::Backoff { .. } => self.count("retried"),
            Step::Send { replay: true, .. } => self.count("replayed"),
            Step::Relay { early } => self.count(if early { "early" } else { "relayed" }),
            Step::Reply(_) => self.count("answered"),
            Step::Abort(failure) if failure.relayed => self.count("cut"),
            Step::Abort(failure) if matches!(failure.kind, K::StreamIdle { .. }) => {
                self.count("mute client");
            }
            _ => {}
        }
    }
}
