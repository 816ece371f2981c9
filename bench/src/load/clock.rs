//! A timer of nanoseconds: the runtime's own has a resolution of a millisecond, in which a busy
//! proxy answers forty requests.

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// One timer.
#[derive(Debug)]
pub(super) struct Clock(AsyncFd<OwnedFd>);

impl Clock {
    /// A timer that is not set.
    #[expect(
        deprecated,
        reason = "an owned descriptor is what the unsafe way would promise"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Waits until then.
    pub(super) async fn until(&self, then: Instant) -> io::Result<()> {
        let wait = then.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            // Answers that are there are read before the next requests go.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: timespec(wait),
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        let mut ready = self.0.readable().await?;
        let mut ticks = [0; 8];
        // The count of expirations is of no use, reading it makes the timer unready.
        let _ = rustix::io::read(self.0.get_ref(), &mut ticks);
        ready.clear_ready();
        Ok(())
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}
