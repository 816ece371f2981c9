//! What an attack cost, as a line of a table.

use crate::attack::process::{Process, own_cpu};
use crate::attack::report::{errors, p99, ratio};
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The head of the table.
pub(super) const HEAD: &str = "| attack | what came of it | memory, KiB | ÷ bytes sent | server CPU, s | \
    ÷ attacker's | good p99 before, µs | during, µs | errors | misses |\n\
    |---|---|--:|--:|--:|--:|--:|--:|--:|---|";
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Growth below this says nothing about its cause, in KiB.
const GROWTH_SEEN_KIB: u64 = 1024;
/// How much more CPU time, or memory, than the attacker's it may cost.
const RATIO_MAX: f64 = 10.0;

/// What an attack cost.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// In words.
    pub(super) outcome: String,
    pub(super) growth_kib: u64,
    /// Bytes that the attacker sent; 0 where that is not the point.
    pub(super) bytes: u64,
    /// Seconds of CPU time of the gateway and of the attacker; the good client's part is taken out.
    pub(super) server: f64,
    pub(super) client: f64,
    /// The good client alone, and beside the attack.
    pub(super) good: Option<(Value, Value)>,
    /// Rules that were broken.
    pub(super) misses: Vec<String>,
}

impl Figures {
    /// Notes that something should have been.
    pub(super) fn want(&mut self, holds: bool, what: &str) {
        if !holds {
            self.misses.push(what.to_owned());
        }
    }

    /// Whether the good client was served without errors, and not later than this many times.
    pub(super) fn want_good(&mut self, slower: f64) {
        let Some((before, during)) = &self.good else {
            return;
        };
        let late = f64::from(p99(during)) > slower * f64::from(p99(before));
        let wrong = errors(during) > 0;
        self.want(!late, "p99");
        self.want(!wrong, "errors");
    }

    /// One line of the table.
    pub(super) fn line(&self, name: &str) -> String {
        let dash = || "–".to_owned();
        let memory = ratio(self.growth_kib * 1024, self.bytes);
        let cpu = self.server / self.client.max(0.001);
        let counted = self.bytes > 0;
        let mut misses = self.misses.clone();
        if counted && cpu > RATIO_MAX {
            misses.push("CPU ratio".to_owned());
        }
        if counted && self.growth_kib > GROWTH_SEEN_KIB && memory > RATIO_MAX {
            misses.push("memory ratio".to_owned());
        }
        let good = |pick: fn(&(Value, Value)) -> &Value, what: fn(&Value) -> String| {
            self.good
                .as_ref()
                .map_or_else(dash, |both| what(pick(both)))
        };
        let or_dash = |ratio: f64| match counted {
            true => format!("{ratio:.1}"),
            false => dash(),
        };
        format!(
            "| {name} | {} | {} | {} | {:.2} | {} | {} | {} | {} | {} |",
            self.outcome,
            self.growth_kib,
            or_dash(memory),
            self.server,
            or_dash(cpu),
            good(|both| &both.0, |report| p99(report).to_string()),
            good(|both| &both.1, |report| p99(report).to_string()),
            good(|both| &both.1, |report| errors(report).to_string()),
            misses.join(", "),
        )
    }
}

/// Looks at a gateway while it is attacked.
pub(super) struct Meter {
    process: Process,
    own: Duration,
    over: Arc<AtomicBool>,
    growth: JoinHandle<io::Result<u64>>,
}

impl Meter {
    /// From now on; the attacker is the calling thread.
    pub(super) fn begin(pid: u32) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let mut memory = Process::new(pid)?;
        let growth = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                memory.sample()?;
                thread::sleep(LOOK_EVERY);
            }
            Ok(memory.growth_kib())
        });
        Ok(Self {
            process: Process::new(pid)?,
            own: own_cpu(),
            over,
            growth,
        })
    }

    /// What it was until now.
    pub(super) fn end(mut self) -> io::Result<Figures> {
        let server = self.process.used()?.as_secs_f64();
        let client = own_cpu().saturating_sub(self.own).as_secs_f64();
        self.over.store(true, Ordering::Relaxed);
        let growth = self.growth.join();
        Ok(Figures {
            growth_kib: growth.unwrap_or_else(|_| Err(io::Error::other("it broke")))?,
            server,
            client,
            ..Figures::default()
        })
    }
}
