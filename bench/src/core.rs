//! The pure core, one piece of work at a time, for counting instructions.
//!
//! `bench/core.py` runs each case under callgrind, which counts only what happens below
//! [`measured`], and compares with `bench/core-baseline.json`. Counts repeat to a fraction of a
//! percent, where times on a shared machine do not.

mod bytes;
mod exchange;
mod policies;
mod routes;

use std::error::Error;
use std::hint::black_box;

/// One piece of work, made ready.
type Work = Box<dyn FnMut()>;

/// Its name, and how it is made ready.
type Case = (&'static str, fn() -> Work);

/// Every case, in the order of a request's life.
const CASES: [Case; 16] = [
    ("h1-request-head", bytes::request_head),
    ("h1-response-head", bytes::response_head),
    ("hygiene", bytes::hygiene),
    ("h1-encode-request", bytes::encode),
    ("path-normalize", bytes::path),
    ("jwt-cold", policies::jwt_cold),
    ("jwt-warm", policies::jwt_warm),
    ("authz-1", || policies::authorization(1)),
    ("authz-1000", || policies::authorization(1_000)),
    ("decide-1", || routes::decide_among(1, 1)),
    ("decide-100", || routes::decide_among(10, 10)),
    ("decide-10000", || routes::decide_among(1_000, 10)),
    ("decide-100000", || routes::decide_among(10_000, 10)),
    ("decide-regex", routes::decide_by_regex),
    ("exchange", exchange::happy),
    ("exchange-retry", exchange::retried),
];

/// Does the work of a case `iterations` times, or prints the names of all cases.
///
/// # Errors
/// There is no such case.
pub(crate) fn run(case: Option<&str>, iterations: u32) -> Result<(), Box<dyn Error>> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let Some(name) = case else {
        for (name, _) in CASES {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    };
    let found = CASES.iter().find(|(known, _)| *known == name);
    let (_, ready) = found.ok_or_else(|| format!("no case is called {name}"))?;
    let mut work = ready();
    // Caches fill and buffers grow once; what is counted is the request after that.
    work();
    measured(&mut work, iterations);
    Ok(())
}

/// What callgrind counts: `--toggle-collect` finds it by its name.
#[inline(never)]
fn measured(work: &mut Work, iterations: u32) {
    for _ in 0..iterations {
        black_box(&mut *work)();
    }
}
