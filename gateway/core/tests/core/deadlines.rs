//! Deadlines of an exchange, to the microsecond: success at `deadline - 1`, failure at `deadline`.

use sallyport_config::ir::{Millis, Retry, RetryOn};
use sallyport_core::exchange::{BodyKind, Event, Exchange, Head, Limits, Policy, REPLY_TIME, Step};
use sallyport_core::failure::{Failure, FailureKind as K};
use sallyport_core::time::Now;

const T0: Now = Now(1_000_000);

fn retry(attempts: u32) -> Retry {
    Retry {
        attempts,
        on: RetryOn {
            five_xx: true,
            ..RetryOn::default()
        },
        ..Retry::default()
    }
}

fn policy(retry: &Retry, body: BodyKind) -> Policy<'_> {
    Policy {
        retry,
        timeout: None,
        limits: Limits::default(),
        body,
        idempotent: true,
        early: false,
        grpc: false,
    }
}

/// Limits in milliseconds; 0 is none.
fn limits(request: u64, idle: u64, duration: u64) -> Limits {
    let millis = |limit: u64| (limit > 0).then_some(Millis(limit));
    Limits {
        request: millis(request),
        idle: millis(idle),
        duration: millis(duration),
    }
}

/// Name, policy, when it ends in milliseconds, and how.
fn deadlines<'a>(none: &'a Retry, one_try: &'a Retry) -> Vec<(&'static str, Policy<'a>, u64, K)> {
    let idle = |request_complete| K::StreamIdle { request_complete };
    let quiet = policy(none, BodyKind::Empty);
    let timeout = |millis, policy| Policy {
        timeout: Some(Millis(millis)),
        ..policy
    };
    let limited = |limits, body| Policy {
        limits,
        body,
        ..quiet
    };
    let (empty, stream) = (BodyKind::Empty, BodyKind::Stream);
    let per_try = policy(one_try, empty);
    let waiting = timeout(1, limited(limits(5, 0, 0), stream));
    let aged = K::MaxDuration {
        request_complete: true,
    };
    vec![
        ("route", timeout(30, quiet), 30, K::RouteTimeout),
        ("per try", per_try, 20, K::PerTryTimeout),
        ("both", timeout(20, per_try), 20, K::RouteTimeout),
        ("idle", limited(limits(0, 7, 0), empty), 7, idle(true)),
        ("duration", limited(limits(0, 0, 9), empty), 9, aged),
        (
            "request",
            limited(limits(5, 0, 0), stream),
            5,
            K::RequestTimeout,
        ),
        (
            "idle upload",
            limited(limits(0, 7, 0), stream),
            7,
            idle(false),
        ),
        (
            "the route's waits for the upload",
            waiting,
            5,
            K::RequestTimeout,
        ),
    ]
}

#[test]
fn deadlines_are_exact() {
    let mut one_try = retry(0);
    one_try.per_try_timeout = Some(Millis(20));
    let none = retry(0);
    let cases = deadlines(&none, &one_try);
    for (name, policy, millis, kind) in cases {
        let mut exchange = Exchange::new(policy, 0, T0);
        exchange.on(Event::Connected { reused: false }, T0);
        if policy.body.is_empty() {
            exchange.on(Event::Sent, T0);
        }
        let deadline = T0 + Millis(millis);
        assert_eq!(exchange.deadline(), Some(deadline), "{name}");
        let mut in_time = exchange.clone();
        in_time.on(Event::Head(Head::status(200)), Now(deadline.0 - 1));
        assert!(matches!(in_time.next(), Step::Relay { .. }), "{name}");
        exchange.on(Event::Head(Head::status(200)), deadline);
        assert_eq!(exchange.next(), Step::Reply(kind.into()), "{name}");
        assert_eq!(exchange.deadline(), Some(deadline + REPLY_TIME), "{name}");
    }
}

#[test]
fn the_routes_timeout_covers_retries_and_the_response() {
    let retry = retry(3);
    let policy = Policy {
        timeout: Some(Millis(100)),
        ..policy(&retry, BodyKind::Empty)
    };
    let mut exchange = Exchange::new(policy, 0, T0);
    exchange.on(
        Event::ConnectFailed(K::ConnectTimeout.into()),
        T0 + Millis(99),
    );
    let mut waiting = exchange.clone();
    waiting.on(Event::Deadline, T0 + Millis(100));
    assert_eq!(waiting.next(), Step::Reply(K::RouteTimeout.into()));

    let mut exchange = Exchange::new(policy, 0, T0);
    exchange.on(Event::Connected { reused: false }, T0);
    exchange.on(Event::Sent, T0);
    exchange.on(Event::Head(Head::status(200)), T0);
    assert_eq!(exchange.deadline(), Some(T0 + Millis(100)));
    exchange.on(Event::ReplyProgress(5), T0 + Millis(99));
    exchange.on(Event::ReplyEnd { keep_alive: true }, T0 + Millis(100));
    let cut = Failure {
        relayed: true,
        ..K::RouteTimeout.into()
    };
    assert_eq!(exchange.next(), Step::Abort(cut));
    assert_eq!(exchange.deadline(), None);
}

#[test]
fn an_answer_has_all_its_time_after_a_long_wait() {
    let retry = retry(0);
    let policy = Policy {
        timeout: Some(Millis(60_000)),
        ..policy(&retry, BodyKind::Empty)
    };
    let mut exchange = Exchange::new(policy, 0, T0);
    exchange.on(Event::Connected { reused: false }, T0);
    exchange.on(Event::Sent, T0);
    let late = T0 + Millis(60_000);
    exchange.on(Event::Deadline, late);
    assert_eq!(exchange.next(), Step::Reply(K::RouteTimeout.into()));
    assert_eq!(exchange.deadline(), Some(late + REPLY_TIME));
}

#[test]
fn an_upgraded_connection_has_no_route_timeout() {
    let retry = Retry::default();
    let policy = Policy {
        timeout: Some(Millis(100)),
        ..policy(&retry, BodyKind::Empty)
    };
    let mut exchange = Exchange::new(policy, 0, T0);
    exchange.on(Event::Connected { reused: false }, T0);
    exchange.on(Event::Sent, T0);
    exchange.on(Event::Head(Head::status(101)), T0);
    assert_eq!(exchange.next(), Step::Relay { early: false });
    assert_eq!(exchange.deadline(), None);
    exchange.on(Event::ReplyEnd { keep_alive: true }, T0);
    let outcome = exchange.outcome();
    assert!(!outcome.reuse_upstream && outcome.close_downstream);
}
