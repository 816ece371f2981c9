//! How many streams there are and how fast they come: a storm of clients that come back must not
//! starve those that are served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

/// Streams that may be open; Istio's bound.
const STREAMS_MAX: usize = 100_000;
/// A new stream waits for its turn no longer than this, then its client is to try again.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The gate.
#[derive(Debug)]
pub(super) struct Admission {
    streams: Arc<Semaphore>,
    /// Time between two streams.
    interval: Duration,
    /// When the next one may begin. Held for an addition.
    next: Mutex<Instant>,
}

impl Admission {
    /// Lets so many streams begin in a second.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            interval: Duration::from_secs(1) / per_second.max(1),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for a turn; the permit is held as long as the stream lives.
    pub(super) async fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many streams"))?;
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let turn = (*next).max(now);
            if turn > now + WAIT_MAX {
                return Err(Status::resource_exhausted(
                    "too many new streams, try again",
                ));
            }
            *next = turn + self.interval;
            turn
        };
        sleep_until(turn).await;
        Ok(permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_spread_and_its_tail_refused() {
        let gate = Admission::new(10);
        let begun = Instant::now();
        let mut permits = Vec::new();
        for _ in 0..10 {
            permits.push(gate.enter().await.unwrap());
        }
        assert!(begun.elapsed() >= Duration::from_millis(900));
        // all at once: those whose turn would be too late are told so
        let results: Vec<bool> = {
            let storm = (0..50).map(|_| async { gate.enter().await.is_ok() });
            let mut set = Vec::new();
            for one in storm {
                set.push(Box::pin(one));
            }
            let mut results = Vec::new();
            for one in &mut set {
                results.push(timeout_zero(one).await);
            }
            results.into_iter().map(|r| r != Some(false)).collect()
        };
        let admitted = results.iter().filter(|r| **r).count();
        assert!((10..=13).contains(&admitted), "{admitted}");
    }

    /// Polls once: `None` still waits.
    async fn timeout_zero(future: &mut (impl Future<Output = bool> + Unpin)) -> Option<bool> {
        tokio::select! {
            biased;
            result = future => Some(result),
            () = std::future::ready(()) => None,
        }
    }
}
