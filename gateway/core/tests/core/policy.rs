//! Policies: the index ≡ the naive evaluator, on random policies and requests.
//!
//! `SALLYPORT_SEED=0x2a cargo test -p sallyport-core --test core policy` replays one seed.

use sallyport_config::model::Verdict;
use sallyport_core::agreement::agree_on_policies;
use sallyport_core::rng::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Policies of a run; most take sixteen requests.
const WORLDS: u64 = 12_000;

/// Pairs of policies and a request of which fewer would not be worth the name.
const PAIRS_MIN: u32 = 100_000;

/// Enough for the policies and their requests.
const WORLD_BYTES: usize = 1_536;

#[test]
fn the_index_and_the_naive_evaluator_agree_on_every_request() {
    let (mut passed, mut denied, mut unmatched) = (0_u32, 0_u32, 0_u32);
    let mut world = |seed: u64| {
        let mut bytes = vec![0; WORLD_BYTES];
        Rng::new(seed).fill(&mut bytes);
        agree_on_policies(&bytes, &mut |verdict| match verdict {
            Verdict::Denied { details, .. } if details.ends_with("[none]") => unmatched += 1,
            Verdict::Denied { .. } => denied += 1,
            Verdict::Direct { status: 200, .. } => passed += 1,
            _ => {}
        });
    };
    if let Some(seed) = super::model::seed_from_environment() {
        return world(seed);
    }
    let base = u64::from(std::process::id()) << 32;
    for seed in base..base + WORLDS {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| world(seed))) {
            println!("replay: SALLYPORT_SEED={seed:#x}");
            resume_unwind(cause);
        }
    }
    println!("{passed} passed, {denied} denied, {unmatched} not allowed");
    assert!(passed + denied + unmatched >= PAIRS_MIN);
    for seen in [passed, denied, unmatched] {
        assert!(seen >= PAIRS_MIN / 10, "{passed} {denied} {unmatched}");
    }
}
