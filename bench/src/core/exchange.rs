//! One request's life in the machine, without the shell around it.

use super::Work;
use sallyport_config::ir::Retry;
use sallyport_core::exchange::{BodyKind, Event, Exchange, Head, Limits, Policy};
use sallyport_core::failure::FailureKind;
use sallyport_core::time::Now;
use std::hint::black_box;

/// A request without a body that is answered at once on a pooled connection.
pub(super) fn happy() -> Work {
    let retry = Retry::default();
    Box::new(move || {
        let mut exchange = begin(&retry);
        tell(
            &mut exchange,
            &[Event::Picked(0), Event::Connected { reused: true }],
        );
        answer(&mut exchange);
    })
}

/// The same after an endpoint that refused the connection.
pub(super) fn retried() -> Work {
    let retry = Retry::default();
    Box::new(move || {
        let mut exchange = begin(&retry);
        let refused = FailureKind::ConnectRefused.into();
        tell(
            &mut exchange,
            &[Event::Picked(0), Event::ConnectFailed(refused)],
        );
        if let Some(until) = exchange.deadline() {
            exchange.on(Event::Deadline, until);
        }
        tell(
            &mut exchange,
            &[Event::Picked(1), Event::Connected { reused: false }],
        );
        answer(&mut exchange);
    })
}

fn begin(retry: &Retry) -> Exchange<'_> {
    let policy = Policy {
        retry,
        timeout: None,
        limits: Limits::default(),
        body: BodyKind::Empty,
        idempotent: true,
        early: false,
        grpc: false,
    };
    Exchange::new(policy, 1, Now(1_000))
}

fn answer(exchange: &mut Exchange<'_>) {
    let events = [
        Event::HeadSent,
        Event::Sent,
        Event::Head(Head::status(200)),
        Event::ReplyProgress(1_024),
        Event::ReplyEnd { keep_alive: true },
    ];
    tell(exchange, &events);
    black_box(exchange.next());
    assert!(exchange.is_over(), "the exchange of a case ends");
    black_box(exchange.outcome());
}

fn tell(exchange: &mut Exchange<'_>, events: &[Event]) {
    for event in events {
        black_box(exchange.next());
        exchange.on(*event, Now(1_100));
    }
}
