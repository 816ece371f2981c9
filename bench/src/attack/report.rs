//! The table.

use super::client::End;
use super::rows::Row;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Memory that an attack may cost, in KiB.
const GROWTH_MAX_KIB: u64 = 8 * 1024;
/// Part of one core that it may cost.
const CPU_MAX: f64 = 0.05;
/// How much later the good client's answers may come.
const SLOWER_MAX: f64 = 2.0;

/// How one row went.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) row: &'static Row,
    /// Each connection of it.
    pub(super) ends: Vec<End>,
    /// The good client, alone and beside it.
    pub(super) before: Value,
    pub(super) during: Value,
    /// Part of one core that the gateway used, alone with the good client and beside the attack.
    pub(super) cpu: Option<(f64, f64)>,
    pub(super) growth_kib: Option<u64>,
}

impl Outcome {
    /// Frames until the end, at most of all connections.
    fn frames(&self) -> usize {
        self.ends.iter().map(|end| end.frames).max().unwrap_or(0)
    }

    /// How the last connection ended.
    fn how(&self) -> String {
        let Some(end) = self.ends.last() else {
            return "not tried".to_owned();
        };
        let mut words = Vec::new();
        if let Some(code) = end.goaway {
            words.push(format!("GOAWAY {code}"));
        }
        words.extend(end.closed.then(|| "closed".to_owned()));
        for (code, count) in &end.resets {
            words.push(format!("{count} reset {code}"));
        }
        match words.is_empty() {
            true => "served".to_owned(),
            false => words.join(", "),
        }
    }

    fn cpu_share(&self) -> Option<f64> {
        self.cpu.map(|(quiet, loud)| (loud - quiet).max(0.0))
    }

    /// What the row asks for and did not get.
    fn misses(&self) -> Vec<&'static str> {
        let ended = |end: &End| end.closed || end.goaway.is_some();
        let late = self
            .row
            .limit
            .is_some_and(|limit| self.frames() > limit || !self.ends.iter().all(ended));
        let slower = f64::from(p99(&self.during)) > SLOWER_MAX * f64::from(p99(&self.before));
        [
            (late, "frames"),
            (
                self.growth_kib.is_some_and(|kib| kib > GROWTH_MAX_KIB),
                "memory",
            ),
            (self.cpu_share().is_some_and(|share| share > CPU_MAX), "CPU"),
            (slower, "p99"),
            (errors(&self.during) > 0, "errors"),
        ]
        .into_iter()
        .filter_map(|(missed, what)| missed.then_some(what))
        .collect()
    }
}

/// In µs.
fn p99(report: &Value) -> u32 {
    let p99 = report.pointer("/latency_us/p99").and_then(Value::as_u64);
    p99.and_then(|p99| u32::try_from(p99).ok()).unwrap_or(0)
}

/// Requests of the good client that were not answered as they should be.
fn errors(report: &Value) -> u64 {
    let errors = report.pointer("/errors").and_then(Value::as_object);
    let counts = errors.into_iter().flat_map(serde_json::Map::values);
    counts.filter_map(Value::as_u64).sum()
}

/// One line of the table, below its head if it is the first.
pub(super) fn print(outcome: &Outcome, first: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if first {
        writeln!(
            out,
            "| attack | times | frames | bound | end | memory, KiB | CPU of a core | p99 before, µs | during, µs | errors | misses |\n\
             |---|--:|--:|--:|---|--:|--:|--:|--:|--:|---|"
        )?;
    }
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    writeln!(
        out,
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        outcome.row.name,
        outcome.ends.len(),
        outcome.frames(),
        or_dash(outcome.row.limit.map(|limit| limit.to_string())),
        outcome.how(),
        or_dash(outcome.growth_kib.map(|kib| kib.to_string())),
        or_dash(
            outcome
                .cpu_share()
                .map(|share| format!("{:.1} %", share * 100.0))
        ),
        p99(&outcome.before),
        p99(&outcome.during),
        errors(&outcome.during),
        outcome.misses().join(", "),
    )
}

/// For machines.
pub(super) fn json(outcomes: &[Outcome]) -> String {
    let rows: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "row": outcome.row.name,
                "connections": outcome.ends.len(),
                "frames": outcome.frames(),
                "bound": outcome.row.limit,
                "end": outcome.how(),
                "growth_kib": outcome.growth_kib,
                "cpu_share": outcome.cpu_share(),
                "good_before": outcome.before,
                "good_during": outcome.during,
                "misses": outcome.misses(),
            })
        })
        .collect();
    Value::from(rows).to_string() + "\n"
}
