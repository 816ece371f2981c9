//! Limits, races, budgets.

use super::*;
use crate::time::Now;
use sallyport_config::ir::{Millis, Ppm};

#[test]
fn a_limit_is_reached_and_not_exceeded() {
    let cells = Cells::default();
    let taken = (0..50)
        .filter(|_| cells.take(What::Connections, 10))
        .count();
    assert_eq!((taken, cells.count(What::Connections)), (10, 10));
    cells.give(What::Connections);
    assert!(cells.take(What::Connections, 10));
    assert!(!cells.take(What::Connections, 10));
    assert_eq!(cells.count(What::Pending), 0);
    cells.give(What::Pending);
    assert_eq!(cells.count(What::Pending), 0, "one too many is harmless");
}

#[test]
fn threads_that_race_share_the_limit() {
    let cells = Cells::default();
    let taken: u32 = std::thread::scope(|scope| {
        let race = || {
            (0..1_000)
                .filter(|_| cells.take(What::Requests, 1_500))
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.map(|count| u32::try_from(count).unwrap()).sum()
    });
    assert_eq!((taken, cells.count(What::Requests)), (1_500, 1_500));
}

#[test]
fn a_budget_is_a_share_of_what_is_under_way() {
    let cells = Cells::default();
    let mut traffic = Traffic::default();
    assert_eq!(cells.retry_limit(&traffic, Now(0)), None);
    assert!(!is_kept(&traffic, What::Requests));
    traffic.breakers.max_retries = Some(7);
    assert_eq!(cells.retry_limit(&traffic, Now(0)), Some(7));
    traffic.retry_budget = Some(RetryBudget {
        share: Ppm(200_000),
        min_concurrency: 3,
        interval: Millis(0),
    });
    assert!(is_kept(&traffic, What::Requests));
    assert_eq!(cells.retry_limit(&traffic, Now(0)), Some(3), "the minimum");
    (0..100).for_each(|_| cells.force(What::Requests));
    (0..20).for_each(|_| cells.force(What::Pending));
    assert_eq!(cells.retry_limit(&traffic, Now(0)), Some(24));
}

#[test]
fn a_budget_may_look_back_at_what_began_within_its_interval() {
    let cells = Cells::default();
    let traffic = Traffic {
        retry_budget: Some(RetryBudget {
            share: Ppm(200_000),
            min_concurrency: 1,
            interval: Millis(100),
        }),
        ..Traffic::default()
    };
    let at = |millisecond: u64| Now(3_600_000_000 + millisecond * 1_000);
    (0..50).for_each(|_| cells.begin(&traffic, || at(0)));
    (0..50).for_each(|_| cells.begin(&traffic, || at(50)));
    let limit = |millisecond| cells.retry_limit(&traffic, at(millisecond)).unwrap();
    assert_eq!(
        [limit(50), limit(80)],
        [20, 20],
        "whether they have ended or not"
    );
    assert_eq!(
        [limit(120), limit(140)],
        [10, 10],
        "the first are too long ago"
    );
    assert_eq!([limit(180), limit(100_000)], [1, 1]);
    cells.begin(&Traffic::default(), || panic!("nobody asks for the time"));
    (0..10).for_each(|_| cells.begin(&traffic, || at(100_000)));
    assert_eq!(limit(100_000), 2);
}

/// The cells as one exchange sees them.
#[derive(Debug)]
struct Gate(std::rc::Rc<(Cells, Traffic)>, std::cell::Cell<bool>);

impl crate::exchange::RetryGate for Gate {
    fn take(&self) -> bool {
        self.give();
        let (cells, traffic) = &*self.0;
        let taken = cells.take(
            What::Retries,
            cells.retry_limit(traffic, Now(0)).unwrap_or(u32::MAX),
        );
        self.1.set(taken);
        taken
    }
    fn give(&self) {
        if self.1.replace(false) {
            self.0.0.give(What::Retries);
        }
    }
}

/// Tries of 1,000 requests a second over 10 s, which all take 100 ms and fail, per request.
fn storm(traffic: Traffic) -> f64 {
    use crate::exchange::{BodyKind, Event, Exchange, Head, Limits, Policy, Step};
    use sallyport_config::ir::{Retry, RetryOn};
    let retry = Retry {
        attempts: 2,
        on: RetryOn {
            five_xx: true,
            ..RetryOn::default()
        },
        ..Retry::default()
    };
    let policy = Policy {
        retry: &retry,
        timeout: None,
        limits: Limits::default(),
        body: BodyKind::Empty,
        idempotent: true,
        early: false,
        grpc: false,
    };
    let shared = std::rc::Rc::new((Cells::default(), traffic));
    let mut flying: Vec<(Now, Exchange<'_>)> = Vec::new();
    let (mut tries, mut ended) = (0, 0);
    for millisecond in 0..12_000_u64 {
        let now = Now(millisecond * 1_000);
        if millisecond < 10_000 {
            let gate = std::rc::Rc::new(Gate(shared.clone(), false.into()));
            let exchange = Exchange::new(policy, millisecond, now).gated(Some(gate));
            flying.push((now, exchange));
        }
        for (due, exchange) in &mut flying {
            while *due <= now {
                match exchange.next() {
                    Step::Connect { .. } => {
                        tries += 1;
                        shared.0.force(What::Requests);
                        exchange.on(Event::Picked(0), now);
                        exchange.on(Event::Connected { reused: false }, now);
                        exchange.on(Event::Sent, now);
                        *due = now.after_micros(100_000);
                    }
                    Step::AwaitHead => {
                        shared.0.give(What::Requests);
                        exchange.on(Event::Head(Head::status(503)), now);
                    }
                    Step::Backoff { until } if until > now => *due = until,
                    Step::Backoff { .. } => exchange.on(Event::Deadline, now),
                    Step::Relay { .. } => {
                        exchange.on(Event::ReplyEnd { keep_alive: true }, now);
                        ended += 1;
                        *due = Now(u64::MAX);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        flying.retain(|(due, _)| *due < Now(u64::MAX));
    }
    assert_eq!(ended, 10_000, "every request has its answer");
    assert_eq!(shared.0.count(What::Retries), 0);
    f64::from(tries) / 10_000.0
}

#[test]
fn a_storm_of_retries_costs_at_most_the_budget() {
    let budget = |share, min_concurrency| Traffic {
        retry_budget: Some(RetryBudget {
            share: Ppm(share),
            min_concurrency,
            interval: Millis(0),
        }),
        ..Traffic::default()
    };
    assert!(
        (storm(Traffic::default()) - 3.0).abs() < 0.01,
        "without one"
    );
    let factor = storm(budget(200_000, 3));
    assert!((1.1..=1.2).contains(&factor), "{factor}");
    let breaker = Traffic {
        breakers: Breakers {
            max_retries: Some(3),
            ..Breakers::default()
        },
        ..Traffic::default()
    };
    let factor = storm(breaker);
    assert!((1.0..=1.05).contains(&factor), "{factor}");
}
