//! What the gateway's process uses, from `/proc`.

use std::io;
use std::time::Instant;

/// Ticks of `/proc/PID/stat` in a second (`USER_HZ`, fixed on Linux).
const TICKS: f64 = 100.0;

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    since: Instant,
    ticks: u64,
    first_kib: u64,
    most_kib: u64,
}

impl Process {
    /// From now on.
    pub(super) fn new(pid: u32) -> io::Result<Self> {
        let kib = resident_kib(pid)?;
        Ok(Self {
            pid,
            since: Instant::now(),
            ticks: ticks(pid)?,
            first_kib: kib,
            most_kib: kib,
        })
    }

    /// Part of one core that was used since the last time.
    pub(super) fn lap(&mut self) -> io::Result<f64> {
        self.sample()?;
        let now = ticks(self.pid)?;
        let used = u32::try_from(now.saturating_sub(self.ticks)).unwrap_or(u32::MAX);
        let share = f64::from(used) / TICKS / self.since.elapsed().as_secs_f64();
        (self.since, self.ticks) = (Instant::now(), now);
        Ok(share)
    }

    /// Counts the growth of memory from now on.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.first_kib = resident_kib(self.pid)?;
        self.most_kib = self.first_kib;
        Ok(())
    }

    /// Looks at the memory.
    pub(super) fn sample(&mut self) -> io::Result<()> {
        self.most_kib = self.most_kib.max(resident_kib(self.pid)?);
        Ok(())
    }

    /// By how much the memory has grown at most.
    pub(super) fn growth_kib(&self) -> u64 {
        self.most_kib - self.first_kib
    }
}

fn resident_kib(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other("no VmRSS in /proc"))
}

/// Time in user and kernel.
fn ticks(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may have blanks; behind it are the third field and those that follow.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |at: usize| fields.split_whitespace().nth(at)?.parse::<u64>().ok();
    let both = field(11).zip(field(12)).map(|(user, kernel)| user + kernel);
    both.ok_or_else(|| io::Error::other("no times in /proc"))
}
