//! The whole (state × event) table, the words of retry policies, and exact deadlines.

use super::*;
use crate::failure::FailureKind as K;
use crate::rng::Rng;
use sallyport_config::ir::{Retry, RetryOn};

const T0: Now = Now(1_000_000);

fn retry(attempts: u32, on: RetryOn) -> Retry {
    Retry {
        attempts,
        on,
        ..Retry::default()
    }
}

fn all_words() -> RetryOn {
    RetryOn {
        five_xx: true,
        reset: true,
        connect_failure: true,
        ..RetryOn::default()
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

fn failed(kind: K) -> Event {
    Event::UpstreamFailed {
        failure: kind.into(),
        bytes_received: false,
    }
}

/// Events that lead a fresh exchange into each state.
fn states() -> Vec<(&'static str, Vec<Event>)> {
    let connected = Event::Connected { reused: false };
    let head = Event::Head(Head::status(200));
    vec![
        ("Connect", vec![]),
        ("Send", vec![connected]),
        ("AwaitHead", vec![connected, Event::Sent]),
        ("Relay", vec![connected, Event::Sent, head]),
        ("Relay early", vec![connected, head]),
        (
            "Backoff",
            vec![Event::ConnectFailed(K::ConnectRefused.into())],
        ),
        ("Reply", vec![Event::ConnectFailed(K::Overflow.into())]),
        ("Abort", vec![Event::ClientGone]),
        (
            "Done",
            vec![
                connected,
                Event::Sent,
                head,
                Event::ReplyEnd { keep_alive: true },
            ],
        ),
    ]
}

fn events() -> Vec<Event> {
    vec![
        Event::Picked(3),
        Event::Connected { reused: true },
        Event::ConnectFailed(K::ConnectRefused.into()),
        Event::ConnectFailed(K::NoHealthyUpstream.into()),
        Event::HeadSent,
        Event::BodyProgress(10),
        Event::BodyEnd,
        Event::Sent,
        Event::Interim(103),
        Event::Head(Head::status(200)),
        Event::Head(Head::status(503)),
        Event::ReplyProgress(10),
        Event::ReplyEnd { keep_alive: true },
        failed(K::UpstreamClosed),
        Event::ClientGone,
        Event::ClientFailed(K::BodyTooLarge.into()),
        Event::Deadline,
    ]
}

fn step_name(step: Step) -> String {
    match step {
        Step::Connect { attempt, fresh } => {
            let fresh = if fresh { " fresh" } else { "" };
            format!("Connect {attempt}{fresh}")
        }
        Step::Send { replay, .. } => format!("Send{}", if replay { " replay" } else { "" }),
        Step::AwaitHead => "AwaitHead".to_owned(),
        Step::Relay { early } => format!("Relay{}", if early { " early" } else { "" }),
        Step::Backoff { .. } => "Backoff".to_owned(),
        Step::Reply(failure) => format!("Reply {:?}", failure.kind),
        Step::Abort(failure) => format!("Abort {:?}", failure.kind),
        Step::Done => "Done".to_owned(),
    }
}

fn event_name(event: Event) -> String {
    match event {
        Event::ConnectFailed(failure) => format!("ConnectFailed {:?}", failure.kind),
        Event::UpstreamFailed { failure, .. } => format!("UpstreamFailed {:?}", failure.kind),
        Event::ClientFailed(failure) => format!("ClientFailed {:?}", failure.kind),
        Event::Head(head) => format!("Head {}", head.status),
        Event::ReplyEnd { .. } => "ReplyEnd".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_whole_table() {
    let retry = retry(1, all_words());
    let mut table = String::new();
    for (name, path) in states() {
        table += &format!("{name}\n");
        for event in events() {
            let mut exchange = Exchange::new(policy(&retry, BodyKind::Stream), 7, T0);
            for step in &path {
                exchange.on(*step, T0);
            }
            let step = exchange.next();
            let before = exchange.clone();
            exchange.on(event, T0);
            let after = step_name(exchange.next());
            let untouched = format!("{before:?}") == format!("{exchange:?}");
            let after = match (after == step_name(step), untouched) {
                (true, true) => continue,
                (true, false) => "noted".to_owned(),
                (false, _) => after,
            };
            table += &format!("    {:<34}{after}\n", event_name(event));
        }
    }
    assert_eq!(table, TABLE, "\n{table}");
}

/// Pairs that are missing change nothing at all.
const TABLE: &str = r"Connect
    Picked(3)                         noted
    Connected { reused: true }        Send
    ConnectFailed ConnectRefused      Backoff
    ConnectFailed NoHealthyUpstream   Reply NoHealthyUpstream
    BodyProgress(10)                  noted
    BodyEnd                           noted
    ClientGone                        Abort ClientGone
    ClientFailed BodyTooLarge         Reply BodyTooLarge
Send
    HeadSent                          noted
    BodyProgress(10)                  noted
    BodyEnd                           noted
    Sent                              AwaitHead
    Interim(103)                      noted
    Head 200                          Relay early
    Head 503                          Backoff
    UpstreamFailed UpstreamClosed     Backoff
    ClientGone                        Abort ClientGone
    ClientFailed BodyTooLarge         Reply BodyTooLarge
AwaitHead
    BodyProgress(10)                  noted
    Interim(103)                      noted
    Head 200                          Relay
    Head 503                          Backoff
    UpstreamFailed UpstreamClosed     Backoff
    ClientGone                        Abort ClientGone
    ClientFailed BodyTooLarge         Reply BodyTooLarge
Relay
    BodyProgress(10)                  noted
    ReplyProgress(10)                 noted
    ReplyEnd                          Done
    UpstreamFailed UpstreamClosed     Abort UpstreamClosed
    ClientGone                        Abort ClientGone
    ClientFailed BodyTooLarge         Abort BodyTooLarge
Relay early
    BodyProgress(10)                  noted
    BodyEnd                           noted
    Sent                              noted
    ReplyProgress(10)                 noted
    ReplyEnd                          Done
    UpstreamFailed UpstreamClosed     Abort UpstreamClosed
    ClientGone                        Abort ClientGone
    ClientFailed BodyTooLarge         Abort BodyTooLarge
Backoff
    BodyProgress(10)                  noted
    BodyEnd                           noted
    ClientGone                        Abort ClientGone
    ClientFailed BodyTooLarge         Reply BodyTooLarge
Reply
    BodyProgress(10)                  noted
    BodyEnd                           noted
    ReplyEnd                          Done
    ClientGone                        Abort ClientGone
Abort
Done
";

/// Ways to fail, each as events from the start.
fn ways() -> Vec<(&'static str, Vec<Event>)> {
    let connected = Event::Connected { reused: false };
    let grpc = |status| {
        Event::Head(Head {
            grpc_status: Some(status),
            ..Head::status(200)
        })
    };
    let limited = Event::Head(Head {
        rate_limited: true,
        ..Head::status(503)
    });
    let header = Event::Head(Head {
        retriable_header: true,
        ..Head::status(200)
    });
    vec![
        (
            "refused",
            vec![Event::ConnectFailed(K::ConnectRefused.into())],
        ),
        (
            "connect-timeout",
            vec![Event::ConnectFailed(K::ConnectTimeout.into())],
        ),
        ("overflow", vec![Event::ConnectFailed(K::Overflow.into())]),
        ("closed-unsent", vec![connected, failed(K::UpstreamClosed)]),
        (
            "closed",
            vec![connected, Event::HeadSent, failed(K::UpstreamClosed)],
        ),
        (
            "refused-stream",
            vec![connected, Event::Sent, failed(K::UpstreamRefused)],
        ),
        (
            "409",
            vec![connected, Event::Sent, Event::Head(Head::status(409))],
        ),
        (
            "418",
            vec![connected, Event::Sent, Event::Head(Head::status(418))],
        ),
        (
            "500",
            vec![connected, Event::Sent, Event::Head(Head::status(500))],
        ),
        (
            "503",
            vec![connected, Event::Sent, Event::Head(Head::status(503))],
        ),
        ("503-limited", vec![connected, Event::Sent, limited]),
        ("header", vec![connected, Event::Sent, header]),
        ("grpc-1", vec![connected, Event::Sent, grpc(1)]),
        ("grpc-4", vec![connected, Event::Sent, grpc(4)]),
        ("grpc-8", vec![connected, Event::Sent, grpc(8)]),
        ("grpc-13", vec![connected, Event::Sent, grpc(13)]),
        ("grpc-14", vec![connected, Event::Sent, grpc(14)]),
    ]
}

/// Which of the ways to fail each word of a policy covers.
#[test]
fn words_of_a_policy() {
    type Word = (&'static str, fn(&mut RetryOn));
    let words: [Word; 16] = [
        ("5xx", |on| on.five_xx = true),
        ("gateway-error", |on| on.gateway_error = true),
        ("reset", |on| on.reset = true),
        ("reset-before-request", |on| on.reset_before_request = true),
        ("connect-failure", |on| on.connect_failure = true),
        ("envoy-ratelimited", |on| on.envoy_ratelimited = true),
        ("retriable-4xx", |on| on.retriable_4xx = true),
        ("refused-stream", |on| on.refused_stream = true),
        ("retriable-status-codes", |on| {
            on.retriable_status_codes = true
        }),
        ("retriable-headers", |on| on.retriable_headers = true),
        ("http3-post-connect-failure", |on| {
            on.http3_post_connect_failure = true
        }),
        ("cancelled", |on| on.cancelled = true),
        ("deadline-exceeded", |on| on.deadline_exceeded = true),
        ("internal", |on| on.internal = true),
        ("resource-exhausted", |on| on.resource_exhausted = true),
        ("unavailable", |on| on.unavailable = true),
    ];
    let ways = ways();
    let mut table = String::new();
    for (word, set) in words {
        let mut on = RetryOn::default();
        set(&mut on);
        let mut retry = retry(1, on);
        retry.status_codes = vec![418];
        table += &format!("{word}:");
        for (way, path) in &ways {
            let mut exchange = Exchange::new(
                Policy {
                    grpc: true,
                    ..policy(&retry, BodyKind::Empty)
                },
                0,
                T0,
            );
            for event in path {
                exchange.on(*event, T0);
            }
            if matches!(exchange.next(), Step::Backoff { .. }) {
                table += &format!(" {way}");
            }
        }
        table += "\n";
    }
    assert_eq!(table, WORDS, "\n{table}");
}

#[test]
fn too_early_is_not_answered_by_another_try_that_is_as_early() {
    for (early, again) in [(false, true), (true, false)] {
        let on = RetryOn {
            retriable_status_codes: true,
            ..RetryOn::default()
        };
        let mut retry = retry(1, on);
        retry.status_codes = vec![425];
        let policy = Policy {
            early,
            ..policy(&retry, BodyKind::Empty)
        };
        let mut exchange = Exchange::new(policy, 0, T0);
        exchange.on(Event::Connected { reused: false }, T0);
        exchange.on(Event::Sent, T0);
        exchange.on(Event::Head(Head::status(425)), T0);
        let tries_again = matches!(exchange.next(), Step::Backoff { .. });
        assert_eq!(tries_again, again, "early: {early}");
    }
}

const WORDS: &str = r"5xx: refused connect-timeout closed-unsent closed refused-stream 500 503
gateway-error: refused connect-timeout closed-unsent closed refused-stream 503
reset: refused connect-timeout closed-unsent closed refused-stream
reset-before-request: refused connect-timeout closed-unsent
connect-failure: refused connect-timeout
envoy-ratelimited: 503-limited
retriable-4xx: 409
refused-stream: refused-stream
retriable-status-codes: 418
retriable-headers: header
http3-post-connect-failure:
cancelled: grpc-1
deadline-exceeded: grpc-4
internal: grpc-13
resource-exhausted: grpc-8
unavailable: grpc-14
";

#[test]
fn two_retries_are_three_tries() {
    let retry = Retry::default();
    let mut exchange = Exchange::new(policy(&retry, BodyKind::Empty), 1, T0);
    let mut now = T0;
    for attempt in 1..=3 {
        assert_eq!(
            exchange.next(),
            Step::Connect {
                attempt,
                fresh: false
            }
        );
        exchange.on(Event::Picked(attempt), now);
        exchange.on(Event::ConnectFailed(K::ConnectRefused.into()), now);
        if let Some(until) = exchange.deadline().filter(|_| attempt < 3) {
            now = until;
            exchange.on(Event::Deadline, now);
        }
    }
    assert_eq!(exchange.next(), Step::Reply(K::ConnectRefused.into()));
    assert_eq!(exchange.avoid(), [1, 2]);
    assert_eq!(exchange.outcome().flags.to_string(), "URX,UF");
}

#[test]
fn a_status_that_outlasts_all_tries_is_relayed() {
    let retry = retry(1, all_words());
    let mut exchange = Exchange::new(policy(&retry, BodyKind::Empty), 1, T0);
    for _ in 0..2 {
        exchange.on(Event::Connected { reused: false }, T0);
        exchange.on(Event::Sent, T0);
        exchange.on(Event::Head(Head::status(503)), T0);
        if let Step::Backoff { until } = exchange.next() {
            exchange.on(Event::Deadline, until);
        }
    }
    assert_eq!(exchange.next(), Step::Relay { early: false });
    assert_eq!(exchange.outcome().flags.to_string(), "URX");
    assert_eq!(exchange.outcome().status, Some(503));
}

/// A pooled connection that dies costs no attempt, once, if nothing can happen twice.
#[test]
fn a_dying_pooled_connection_is_replaced() {
    let none = retry(0, RetryOn::default());
    let reused = Event::Connected { reused: true };
    let closed = failed(K::UpstreamClosed);
    let seen = Event::UpstreamFailed {
        failure: K::UpstreamClosed.into(),
        bytes_received: true,
    };
    let again = Step::Connect {
        attempt: 1,
        fresh: true,
    };
    let lost = Step::Reply(K::UpstreamClosed.into());
    let table: [(&str, bool, Vec<Event>, Step); 9] = [
        ("get", true, vec![reused, Event::Sent, closed], again),
        ("post", false, vec![reused, Event::Sent, closed], lost),
        (
            "post, head only",
            false,
            vec![reused, Event::HeadSent, closed],
            again,
        ),
        (
            "post, all here but not written",
            false,
            vec![reused, Event::HeadSent, Event::BodyEnd, closed],
            lost,
        ),
        (
            "fresh",
            true,
            vec![Event::Connected { reused: false }, Event::Sent, closed],
            lost,
        ),
        ("answer begun", true, vec![reused, Event::Sent, seen], lost),
        (
            "interim",
            true,
            vec![reused, Event::Sent, Event::Interim(100), closed],
            lost,
        ),
        ("twice", true, vec![reused, closed, reused, closed], lost),
        (
            "long body",
            true,
            vec![reused, Event::BodyProgress(REPLAY_BYTES_MAX + 1), closed],
            lost,
        ),
    ];
    for (name, idempotent, events, expected) in table {
        let mut exchange = Exchange::new(
            Policy {
                idempotent,
                ..policy(&none, BodyKind::Stream)
            },
            0,
            T0,
        );
        for event in events {
            exchange.on(event, T0);
        }
        assert_eq!(exchange.next(), expected, "{name}");
        assert!(!exchange.outcome().flags.has(Flags::URX), "{name}");
    }
}

#[test]
fn a_body_is_kept_up_to_its_bound() {
    let retry = retry(1, all_words());
    for (bytes, kept) in [
        (0, true),
        (REPLAY_BYTES_MAX, true),
        (REPLAY_BYTES_MAX + 1, false),
    ] {
        let mut exchange = Exchange::new(policy(&retry, BodyKind::Stream), 0, T0);
        exchange.on(Event::Connected { reused: false }, T0);
        exchange.on(Event::BodyProgress(bytes), T0);
        assert_eq!(exchange.keeps_replay(), kept, "{bytes}");
        exchange.on(failed(K::UpstreamClosed), T0);
        let retried = matches!(exchange.next(), Step::Backoff { .. });
        assert_eq!(retried, kept, "{bytes}");
        if let Some(until) = exchange.deadline().filter(|_| retried) {
            exchange.on(Event::Deadline, until);
            exchange.on(Event::Connected { reused: false }, until);
            let replay = bytes > 0;
            assert_eq!(
                exchange.next(),
                Step::Send {
                    mirror: true,
                    replay
                }
            );
            assert!(!exchange.keeps_replay(), "no further try: no copy");
        }
    }
}

#[test]
fn mirrors_start_once_with_the_first_send() {
    let retry = retry(2, all_words());
    let mut exchange = Exchange::new(policy(&retry, BodyKind::Empty), 0, T0);
    exchange.on(Event::ConnectFailed(K::ConnectRefused.into()), T0);
    let mut sends = Vec::new();
    for _ in 0..2 {
        let until = exchange.deadline().unwrap();
        exchange.on(Event::Deadline, until);
        exchange.on(Event::Connected { reused: false }, until);
        for _ in 0..2 {
            if let Step::Send { mirror, .. } = exchange.next() {
                sends.push(mirror);
            }
        }
        exchange.on(failed(K::UpstreamClosed), until);
    }
    assert_eq!(sends, [true, false, false, false]);
}

#[test]
fn an_early_response_ends_the_upload_and_both_connections() {
    let retry = Retry::default();
    let mut exchange = Exchange::new(policy(&retry, BodyKind::Sized(1_000_000)), 0, T0);
    exchange.on(Event::Connected { reused: false }, T0);
    exchange.on(Event::HeadSent, T0);
    exchange.on(Event::BodyProgress(1_000), T0);
    exchange.on(Event::Head(Head::status(413)), T0);
    assert_eq!(exchange.next(), Step::Relay { early: true });
    exchange.on(Event::BodyProgress(1_000), T0);
    exchange.on(Event::ReplyEnd { keep_alive: true }, T0);
    let outcome = exchange.outcome();
    assert_eq!(exchange.next(), Step::Done);
    assert!(!outcome.reuse_upstream && outcome.close_downstream);
    assert_eq!((outcome.status, outcome.request_bytes), (Some(413), 2_000));
}

#[test]
fn a_storm_of_interim_responses_is_a_protocol_error() {
    let none = retry(0, RetryOn::default());
    let mut exchange = Exchange::new(policy(&none, BodyKind::Empty), 0, T0);
    exchange.on(Event::Connected { reused: false }, T0);
    exchange.on(Event::Sent, T0);
    for _ in 0..crate::limits::MAX_INTERIM_RESPONSES {
        exchange.on(Event::Interim(103), T0);
        assert_eq!(exchange.next(), Step::AwaitHead);
    }
    exchange.on(Event::Interim(103), T0);
    assert_eq!(exchange.next(), Step::Reply(K::UpstreamProtocol.into()));
}

#[test]
fn backoff_grows_to_ten_times_its_base() {
    let mut rng = Rng::new(3);
    for (n, millis) in [
        (1, 25),
        (2, 75),
        (3, 175),
        (4, 250),
        (9, 250),
        (64, 250),
        (u32::MAX, 250),
    ] {
        let draws: Vec<u64> = (0..2_000)
            .map(|_| retry::backoff_micros(Millis(25), n, &mut rng))
            .collect();
        let most = *draws.iter().max().unwrap();
        let least = *draws.iter().min().unwrap();
        assert!(most < millis * 1_000 && most > millis * 980, "{n}: {most}");
        assert!(least < millis * 20, "{n}: {least}");
    }
    assert_eq!(retry::backoff_micros(Millis(0), 1, &mut rng), 0);
}

#[test]
fn avoided_endpoints_are_the_latest_eight() {
    let mut avoid = Avoid::default();
    for endpoint in [1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10] {
        avoid.push(endpoint);
    }
    assert_eq!(avoid.as_slice(), [3, 4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn grpc_timeouts() {
    type Case = (Option<u64>, Option<&'static [u8]>, Option<u64>);
    let table: [Case; 12] = [
        (None, None, None),
        (Some(5), None, Some(5)),
        (Some(0), None, None),
        (None, Some(b"3S"), Some(3_000)),
        (Some(5), Some(b"3S"), Some(5)),
        (Some(5_000), Some(b"3S"), Some(3_000)),
        (None, Some(b"1H"), Some(3_600_000)),
        (None, Some(b"2M"), Some(120_000)),
        (None, Some(b"7m"), Some(7)),
        (None, Some(b"1u"), Some(1)),
        (None, Some(b"123456789m"), None),
        (Some(5), Some(b"x"), Some(5)),
    ];
    for (route, client, expected) in table {
        assert_eq!(
            effective_timeout(route.map(Millis), client),
            expected.map(Millis),
            "{route:?} {client:?}"
        );
    }
}

#[test]
fn an_exchange_is_small() {
    assert!(
        size_of::<Exchange<'_>>() <= 448,
        "{}",
        size_of::<Exchange<'_>>()
    );
}
