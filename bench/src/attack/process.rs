//! What the gateway's process uses, from `/proc`.

use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::time::{Duration, Instant};

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    since: Instant,
    cpu: Duration,
    first_kib: u64,
    most_kib: u64,
}

impl Process {
    /// From now on.
    pub(crate) fn new(pid: u32) -> io::Result<Self> {
        let kib = resident_kib(pid)?;
        Ok(Self {
            pid,
            since: Instant::now(),
            cpu: cpu(pid)?,
            first_kib: kib,
            most_kib: kib,
        })
    }

    /// Part of one core that was used since the last time.
    pub(crate) fn lap(&mut self) -> io::Result<f64> {
        self.sample()?;
        let wall = self.since.elapsed().as_secs_f64();
        Ok(self.used()?.as_secs_f64() / wall)
    }

    /// Time on CPUs that was used since the last time.
    pub(crate) fn used(&mut self) -> io::Result<Duration> {
        let now = cpu(self.pid)?;
        let used = now.saturating_sub(self.cpu);
        (self.since, self.cpu) = (Instant::now(), now);
        Ok(used)
    }

    /// Counts the growth of memory from now on.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.first_kib = resident_kib(self.pid)?;
        self.most_kib = self.first_kib;
        Ok(())
    }

    /// Looks at the memory.
    pub(crate) fn sample(&mut self) -> io::Result<()> {
        self.most_kib = self.most_kib.max(resident_kib(self.pid)?);
        Ok(())
    }

    /// By how much the memory has grown at most.
    pub(crate) fn growth_kib(&self) -> u64 {
        self.most_kib - self.first_kib
    }
}

fn resident_kib(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other("no VmRSS in /proc"))
}

/// Time of all its threads in user and kernel. Of threads that have ended it is lost.
fn cpu(pid: u32) -> io::Result<Duration> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // It may have ended meanwhile.
        let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let first = text.split_whitespace().next();
        sum += first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(sum))
}

/// Time of the calling thread in user and kernel.
pub(crate) fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
