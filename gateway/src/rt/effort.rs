//! How much of the time a thread runs.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The calling thread's time, on the clock and on the CPU.
#[derive(Debug)]
pub(crate) struct Effort {
    wall: Instant,
    cpu: Duration,
}

impl Effort {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_time(),
        }
    }

    /// Thousandths of the time since the last call, or the beginning, in which the thread ran.
    pub(crate) fn busy(&mut self) -> u32 {
        let before = std::mem::replace(self, Self::begin());
        let wall = self.wall.duration_since(before.wall).as_micros().max(1);
        let cpu = self.cpu.saturating_sub(before.cpu).as_micros();
        u32::try_from(cpu * 1_000 / wall).unwrap_or(u32::MAX)
    }
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_runs_is_busy_and_one_that_waits_is_not() {
        let mut effort = Effort::begin();
        std::thread::sleep(Duration::from_millis(50));
        assert!(effort.busy() < 900);
        let begun = cpu_time();
        while cpu_time() - begun < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        assert!(effort.busy() > 0);
    }
}
