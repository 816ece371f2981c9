//! Buckets by value: apart, together over workers, and within bounds.

use super::*;
use sallyport_config::ir::{LimitKey, LimitStage, Millis, Origin, Ppm};
use std::collections::HashMap;
use std::sync::Arc;

const RATE: Rate = Rate {
    burst: 3,
    tokens: 3,
    interval: Millis(60_000),
};

fn buckets(keys_max: u32) -> Buckets {
    Buckets::new(&Limit {
        name: "ns/name/0".to_owned(),
        stage: LimitStage::First,
        hosts: Vec::new(),
        routes: Vec::new(),
        when: Vec::new(),
        key: vec![LimitKey::Client],
        keys_max,
        rate: RATE,
        enabled: Ppm::ALL,
        enforced: Ppm::ALL,
        status: 429,
        exhausted: false,
        told: None,
        headers: Vec::new(),
        origin: Origin {
            kind: "RateLimit",
            namespace: "ns".into(),
            name: "name".into(),
            path: String::new(),
            location: String::new(),
        },
    })
}

#[test]
fn each_value_has_a_bucket_of_its_own() {
    let buckets = buckets(1_024);
    for value in 0..100_u64 {
        let passed = (0..5).filter(|_| buckets.take(&value, RATE, Now(1)).allowed);
        assert_eq!(passed.count(), 3, "{value}");
    }
    assert_eq!(buckets.forgotten(), 0);
}

#[test]
fn a_flood_of_values_takes_no_memory_and_no_strangers_tokens() {
    let buckets = buckets(64);
    for value in 0..100_000_u64 {
        assert!(buckets.take(&value, RATE, Now(1)).allowed, "{value}");
    }
    assert!(buckets.forgotten() > 90_000, "{}", buckets.forgotten());
    assert!(buckets.take(&"stranger", RATE, Now(1)).allowed);
}

#[test]
fn full_buckets_make_room_for_others() {
    let buckets = buckets(64);
    for round in 1..=1_000_u64 {
        // a minute later every bucket is full again
        let now = Now(round * 60_000_000);
        for value in 0..8 {
            assert!(buckets.take(&(round, value), RATE, now).allowed);
        }
    }
    // eight values may all meet in one of eight sets, but hardly a ninth
    assert!(buckets.forgotten() < 10, "{}", buckets.forgotten());
}

#[test]
fn workers_count_a_value_together() {
    let buckets = Arc::new(buckets(65_536));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let buckets = Arc::clone(&buckets);
            #[expect(clippy::disallowed_methods, reason = "several workers are the point")]
            std::thread::spawn(move || {
                let mut passed: HashMap<u64, u32> = HashMap::new();
                for value in (0..4).flat_map(|_| 0..2_000_u64) {
                    let allowed = buckets.take(&value, RATE, Now(1)).allowed;
                    *passed.entry(value).or_default() += u32::from(allowed);
                }
                passed
            })
        })
        .collect();
    let mut sum: HashMap<u64, u32> = HashMap::new();
    for worker in workers {
        for (value, passed) in worker.join().unwrap() {
            *sum.entry(value).or_default() += passed;
        }
    }
    assert_eq!(buckets.forgotten(), 0);
    assert!(sum.values().all(|passed| *passed == 3), "{sum:?}");
}
