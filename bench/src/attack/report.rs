//! The table.

use super::client::End;
use super::rows::Row;
use serde_json::{Value, json};

/// Memory that an attack may cost, in KiB.
const GROWTH_MAX_KIB: u64 = 8 * 1024;
/// Part of one core that it may cost.
const CPU_MAX: f64 = 0.05;
/// How much more CPU time than the attacker's it may cost.
const RATIO_MAX: f64 = 10.0;
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
    /// Part of one core that the attacker used.
    pub(super) own: f64,
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

    /// Bytes by which the gateway grew for each that the attacker sent.
    fn memory_ratio(&self) -> Option<f64> {
        let sent: u64 = self.ends.iter().map(|end| end.bytes).sum();
        Some(ratio(self.growth_kib? * 1024, sent))
    }

    /// The gateway's CPU time beside the attacker's.
    fn cpu_ratio(&self) -> Option<f64> {
        Some(self.cpu_share()? / self.own.max(f64::EPSILON))
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
            (
                self.cpu_ratio().is_some_and(|ratio| ratio > RATIO_MAX),
                "CPU ratio",
            ),
            (slower, "p99"),
            (errors(&self.during) > 0, "errors"),
        ]
        .into_iter()
        .filter_map(|(missed, what)| missed.then_some(what))
        .collect()
    }
}

/// One number by another.
pub(crate) fn ratio(of: u64, by: u64) -> f64 {
    let float = |n: u64| f64::from(u32::try_from(n / 1024).unwrap_or(u32::MAX));
    float(of) / float(by.max(1024))
}

/// In µs.
pub(crate) fn p99(report: &Value) -> u32 {
    let p99 = report.pointer("/latency_us/p99").and_then(Value::as_u64);
    p99.and_then(|p99| u32::try_from(p99).ok()).unwrap_or(0)
}

/// Requests of the good client that were not answered as they should be.
pub(crate) fn errors(report: &Value) -> u64 {
    let errors = report.pointer("/errors").and_then(Value::as_object);
    let counts = errors.into_iter().flat_map(serde_json::Map::values);
    counts.filter_map(Value::as_u64).sum()
}

/// The head of the table.
pub(super) const HEAD: &str = "| attack | times | frames | bound | end | memory, KiB | ÷ bytes sent | \
    CPU of a core | ÷ attacker's | p99 before, µs | during, µs | errors | misses |\n\
    |---|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|---|";

/// One line of the table.
pub(super) fn line(outcome: &Outcome) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let digits = |ratio: Option<f64>| or_dash(ratio.map(|ratio| format!("{ratio:.1}")));
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        outcome.row.name,
        outcome.ends.len(),
        outcome.frames(),
        or_dash(outcome.row.limit.map(|limit| limit.to_string())),
        outcome.how(),
        or_dash(outcome.growth_kib.map(|kib| kib.to_string())),
        digits(outcome.memory_ratio()),
        or_dash(
            outcome
                .cpu_share()
                .map(|share| format!("{:.1} %", share * 100.0))
        ),
        digits(outcome.cpu_ratio()),
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
                "memory_ratio": outcome.memory_ratio(),
                "cpu_ratio": outcome.cpu_ratio(),
                "good_before": outcome.before,
                "good_during": outcome.during,
                "misses": outcome.misses(),
            })
        })
        .collect();
    Value::from(rows).to_string() + "\n"
}
