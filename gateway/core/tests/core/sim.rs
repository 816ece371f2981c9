//! Deterministic simulation of the exchange machine.
//!
//! A seed makes a policy, a client, upstreams with faults in every phase, and a shell that keeps
//! to the machine's contract but is sometimes late. A [`Shadow`] restates what must never happen.
//! `SALLYPORT_SEED=0x2a cargo test -p sallyport-core --test core sim` replays one seed and prints
//! its trace.

#[path = "sim/shadow.rs"]
mod shadow;
#[path = "sim/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds of one `cargo test`.
const SEEDS: u64 = 8_192;

/// What happened in a run, to see that the simulation is not blind.
type Tally = BTreeMap<&'static str, u32>;

#[test]
fn the_machine_holds_under_faults() {
    if let Some(seed) = seed_from_environment() {
        let (result, trace) = run(seed);
        println!("{trace}{result:?}");
        assert!(result.is_ok(), "seed {seed:#x}");
        return;
    }
    let mut all = Tally::new();
    for seed in 0..SEEDS {
        match run(seed) {
            (Ok(tally), _) => {
                for (what, count) in tally {
                    *all.entry(what).or_default() += count;
                }
            }
            (Err(violation), trace) => {
                panic!("{violation}\n{trace}replay: SALLYPORT_SEED={seed:#x}")
            }
        }
    }
    for what in [
        "connect failed",
        "retried",
        "free try",
        "exhausted",
        "relayed",
        "early",
        "tunnel",
        "interim",
        "replayed",
        "reused upstream",
        "answered",
        "cut",
        "client gone",
        "request timeout",
        "route timeout",
        "per try timeout",
        "idle",
        "too old",
        "mute client",
        "client failed",
    ] {
        let count = all.get(what).copied().unwrap_or_default();
        assert!(count >= 5, "{what} happened {count} times: {all:?}");
    }
}

#[test]
fn a_seed_repeats_itself() {
    for seed in 0..32 {
        assert_eq!(run(seed).1, run(seed).1, "{seed:#x}");
    }
}

fn run(seed: u64) -> (Result<Tally, String>, String) {
    let mut trace = String::new();
    let result = catch_unwind(AssertUnwindSafe(|| world::run(seed, &mut trace)))
        .unwrap_or_else(|_| Err("panicked".to_owned()));
    (result, trace)
}

#[allow(clippy::disallowed_methods, reason = "a test's own switch")]
fn seed_from_environment() -> Option<u64> {
    let text = std::env::var("SALLYPORT_SEED").ok()?;
    let seed = text
        .strip_prefix("0x")
        .map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    Some(seed.expect("SALLYPORT_SEED is a number, decimal or 0x…"))
}
