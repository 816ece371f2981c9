//! Descriptors of the process: how many client connections there is room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not for connections: listeners, logs, files, name servers, operators.
const KEPT: u64 = 64;
/// And for each worker: its ring, its mailbox, its sockets.
const KEPT_PER_WORKER: u64 = 16;
/// What a client connection may need: itself, and one to an upstream.
const PER_CLIENT: u64 = 2;
/// More than this is not asked for: some systems have no bound at all, and tables grow with it.
const WANTED: u64 = 1 << 20;

/// Asks the system for as many descriptors as it gives, and tells how many client connections may
/// be open at a time: so many that each can have an upstream.
pub(crate) fn room(workers: usize) -> usize {
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(WANTED).min(WANTED);
    let soft = now.current.unwrap_or(WANTED);
    let mut limit = soft;
    if soft < hard {
        let wanted = Rlimit {
            current: Some(hard),
            maximum: now.maximum,
        };
        // Refused, what there is must do.
        if setrlimit(Resource::Nofile, wanted).is_ok() {
            limit = hard;
        }
    }
    of(limit, workers)
}

fn of(limit: u64, workers: usize) -> usize {
    let workers = u64::try_from(workers).unwrap_or(u64::MAX);
    let kept = workers.saturating_mul(KEPT_PER_WORKER).saturating_add(KEPT);
    let left = limit.saturating_sub(kept).max(PER_CLIENT);
    usize::try_from(left / PER_CLIENT).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_may_have_an_upstream() {
        for (limit, workers, room) in [(256, 2, 80), (1_024, 2, 464), (10, 64, 1)] {
            assert_eq!(of(limit, workers), room);
        }
        assert!(room(2) > 0);
    }
}
