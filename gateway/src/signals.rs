//! What operators can ask for, and the signals that ask for it.
//!
//! `SIGPIPE` is ignored from the start by the standard library: a closed pipe is an error of the
//! write, not the end of the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process is asked to do, by a signal, by the admin server or by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `SIGTERM`, `SIGINT`: drain, then end; the second time, end at once.
    Stop,
    /// `SIGHUP`: read the files again, and ask the control process, if there is one, for a new
    /// certificate.
    Reload,
    /// `SIGUSR1`: open the access log anew.
    ReopenLogs,
    /// `SIGUSR2`: hand over to a new process; it comes with a later release, and a gateway that
    /// gets the signal says so and stays.
    Upgrade,
    /// Stop accepting on all listeners.
    CloseListeners,
    /// Let connections end after their current request for the time of a drain, then stop accepting.
    Shed,
    /// Try again to bind what could not be bound.
    Bind,
}

/// Waits for signals.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Takes over the signals, within a runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next wish. May be cancelled.
    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user1.recv() => Wish::ReopenLogs,
            _ = self.user2.recv() => Wish::Upgrade,
        }
    }
}
