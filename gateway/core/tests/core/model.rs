//! Tables ≡ model, on random worlds.
//!
//! `SALLYPORT_SEED=0x2a cargo test -p sallyport-core --test core model` replays one seed.

use sallyport_config::model::Verdict;
use sallyport_core::agreement::agree;
use sallyport_core::rng::Rng;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Worlds of a run; most take sixteen calls.
const WORLDS: u64 = 4_000;

/// Fewer calls would not be worth the name.
const CALLS_MIN: u32 = 40_000;

/// Enough for a world with all its routes and its calls; rarely read to the end.
const WORLD_BYTES: usize = 4_096;

#[test]
fn tables_and_model_agree_on_every_call() {
    let mut tally = BTreeMap::new();
    if let Some(seed) = seed_from_environment() {
        world(seed, &mut tally);
        println!("{tally:?}");
        return;
    }
    let base = u64::from(std::process::id()) << 32;
    println!("seeds {base:#x} to {:#x}", base + WORLDS);
    for seed in base..base + WORLDS {
        let compared = catch_unwind(AssertUnwindSafe(|| world(seed, &mut tally)));
        if let Err(cause) = compared {
            println!("replay: SALLYPORT_SEED={seed:#x}");
            resume_unwind(cause);
        }
    }
    println!("{tally:?}");
    let calls: u32 = tally.values().sum();
    assert!(calls >= CALLS_MIN, "only {calls} calls");
    for (kind, seen) in &tally {
        assert!(*seen >= 50, "{kind} was seen {seen} times: {tally:?}");
    }
    assert_eq!(tally.len(), 15, "{tally:?}");
}

fn world(seed: u64, tally: &mut BTreeMap<&'static str, u32>) {
    let mut bytes = vec![0; WORLD_BYTES];
    Rng::new(seed).fill(&mut bytes);
    agree(&bytes, &mut |verdict| {
        *tally.entry(kind(verdict)).or_default() += 1;
    });
}

fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Refused => "refused",
        Verdict::Closed => "closed",
        Verdict::Tcp(_) => "tcp",
        Verdict::NoCertificate => "no certificate",
        Verdict::Denied { .. } => "denied",
        Verdict::Misdirected => "misdirected",
        Verdict::NoRoute => "no route",
        Verdict::Redirect { route, .. } if route.is_empty() => "https or unnamed redirect",
        Verdict::Redirect { .. } => "redirect",
        Verdict::Direct { details, .. } => details,
        Verdict::Preflight(fields) if fields.is_empty() => "preflight ignored",
        Verdict::Preflight(_) => "preflight",
        Verdict::Forward(to) if to.known => "forward",
        Verdict::Forward(_) => "forward to nowhere",
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's own switch")]
pub(crate) fn seed_from_environment() -> Option<u64> {
    let text = std::env::var("SALLYPORT_SEED").ok()?;
    let seed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(seed.expect("SALLYPORT_SEED is a number, decimal or 0x…"))
}
