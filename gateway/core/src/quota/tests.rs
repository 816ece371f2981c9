//! Limits, races, budgets.

use super::*;
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
    assert_eq!(cells.retry_limit(&traffic), None);
    assert!(!is_kept(&traffic, What::Requests));
    traffic.breakers.max_retries = Some(7);
    assert_eq!(cells.retry_limit(&traffic), Some(7));
    traffic.retry_budget = Some(RetryBudget {
        share: Ppm(200_000),
        min_concurrency: 3,
        interval: Millis(0),
    });
    assert!(is_kept(&traffic, What::Requests));
    assert_eq!(cells.retry_limit(&traffic), Some(3), "the minimum");
    (0..100).for_each(|_| cells.force(What::Requests));
    (0..20).for_each(|_| cells.force(What::Pending));
    assert_eq!(cells.retry_limit(&traffic), Some(24));
}
