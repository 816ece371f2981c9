//! What a run says of itself.

use super::tally::Tally;
use crate::args::Load;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Shares of the answers whose latency is told.
const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("max", 1.0),
];

/// What a run says of itself.
#[derive(Debug)]
pub(super) struct Report(Value);

impl Report {
    /// Of a run, with so many requests that were due and never sent.
    pub(super) fn new(load: &Load, tally: &Tally, unsent: usize) -> Self {
        let latency: serde_json::Map<String, Value> = QUANTILES
            .iter()
            .map(|(name, share)| ((*name).to_owned(), tally.quantile(*share).into()))
            .collect();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is shown with few digits"
        )]
        let per_second = |count: u64| count as f64 / load.seconds;
        Self(json!({
            "wire": format!("{:?}", load.wire).to_lowercase(),
            "connections": load.connections,
            "streams": load.streams,
            "idle": load.idle,
            "asked_per_second": load.rate,
            "answered": tally.good(),
            "answered_per_second": per_second(tally.good()),
            "bytes_per_second": per_second(tally.bytes()),
            "abandoned": tally.given_up(),
            "latency_us": latency,
            "errors": tally.errors(),
            "unsent": unsent,
        }))
    }

    /// All that it says.
    pub(super) fn into_value(self) -> Value {
        self.0
    }

    /// For machines.
    pub(super) fn json(&self) -> String {
        self.0.to_string() + "\n"
    }

    fn at(&self, path: &[&str]) -> &Value {
        path.iter()
            .try_fold(&self.0, |value, name| value.get(name))
            .unwrap_or(&Value::Null)
    }

    /// For people.
    pub(super) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        writeln!(
            out,
            "{:>12.0} answers per second",
            number(self.at(&["answered_per_second"]))
        )?;
        for (name, _) in QUANTILES {
            writeln!(
                out,
                "{:>12.0} µs {name}",
                number(self.at(&["latency_us", name]))
            )?;
        }
        let errors = self.at(&["errors"]).as_object().into_iter().flatten();
        for (what, count) in errors {
            writeln!(out, "{count:>12} × {what}")?;
        }
        let unsent = number(self.at(&["unsent"]));
        if unsent > 0.0 {
            writeln!(
                out,
                "{unsent:>12.0} never sent: the rate is beyond what can be served"
            )?;
        }
        Ok(())
    }
}
