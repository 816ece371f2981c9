//! What a bucket gives, held against `burst + rate × t`.

use super::*;
use crate::rng::Rng;
use sallyport_config::ir::Millis;
use std::sync::Arc;

fn rate(tokens: u32, millis: u64, burst: u32) -> Rate {
    Rate {
        burst,
        tokens,
        interval: Millis(millis),
    }
}

#[test]
fn a_full_bucket_gives_its_burst_and_then_what_the_rate_adds() {
    let (bucket, rate) = (Bucket::default(), rate(4, 60_000, 4));
    let take = |seconds: u64| bucket.take(rate, Now(seconds * 1_000_000));
    let left: Vec<u32> = (0..4).map(|_| take(100).remaining).collect();
    assert_eq!(left, [3, 2, 1, 0]);
    let refused = take(100);
    assert!(!refused.allowed);
    assert_eq!(refused.wait, 15_000_000_000, "a quarter of a minute");
    assert!(!take(114).allowed, "a refusal costs nothing");
    assert!(take(115).allowed && !take(115).allowed);
    // it does not fill beyond its burst
    let later = (0..10).filter(|_| take(10_000).allowed).count();
    assert_eq!(later, 4);
}

#[test]
fn never_more_than_the_burst_and_the_rate_allow() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let mut below = |most: u64| rng.next_u64() % most;
        let (tokens, burst) = (1 + below(1_000), 1 + below(1_000));
        let interval = 1 + below(100_000);
        let rate = rate(
            u32::try_from(tokens).unwrap(),
            interval,
            u32::try_from(burst).unwrap(),
        );
        let bucket = Bucket::default();
        let (mut now, mut times) = (below(1 << 40), Vec::new());
        for _ in 0..2_000 {
            // bursts, and pauses of about what a token takes
            now += below(2) * below(1 + 4 * interval * 1_000 / tokens);
            if bucket.take(rate, Now(now)).allowed {
                times.push(now);
            }
        }
        for (first, from) in times.iter().enumerate() {
            let last = times.len() - 1;
            for at in [first, (first + last) / 2, last] {
                let taken = u64::try_from(at - first + 1).unwrap();
                let filled = u128::from(times[at] - from) * u128::from(tokens);
                let most = u128::from(burst) + filled.div_ceil(u128::from(interval) * 1_000);
                assert!(u128::from(taken) <= most, "seed {seed}: {taken} > {most}");
            }
        }
    }
}

#[test]
fn as_many_as_the_rate_says_are_let_pass() {
    let (bucket, rate) = (Bucket::default(), rate(3, 1_000, 1));
    // asked every millisecond for 100 s
    let passed = (0..100_000).filter(|ms| bucket.take(rate, Now(ms * 1_000)).allowed);
    let passed = passed.count();
    assert!((299..=301).contains(&passed), "{passed}");
}

#[test]
fn workers_share_it_exactly() {
    let bucket = Arc::new(Bucket::default());
    let rate = rate(1, 3_600_000, 10_000);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let bucket = Arc::clone(&bucket);
            #[expect(clippy::disallowed_methods, reason = "several workers are the point")]
            std::thread::spawn(move || {
                let taken = (0..5_000).filter(|_| bucket.take(rate, Now(7)).allowed);
                taken.count()
            })
        })
        .collect();
    let sum: usize = workers.into_iter().map(|w| w.join().unwrap()).sum();
    assert_eq!(sum, 10_000);
}

#[test]
fn extremes_do_not_overflow() {
    for rate in [
        rate(u32::MAX, 1, u32::MAX),
        rate(1, u64::MAX, u32::MAX),
        rate(0, 0, 0),
    ] {
        let bucket = Bucket::default();
        for now in [0, 1, u64::MAX / 1_000, u64::MAX] {
            bucket.take(rate, Now(now));
        }
    }
}
