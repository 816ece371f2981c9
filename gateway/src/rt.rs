//! The runtime: together with `rt/` and `io/` the only code that names it. Which driver, which
//! ring flags, tasks, sleeps and alarms.
//!
//! Rules that keep us clear of the runtime's edges: an accept is never a pending operation (we
//! wait for readiness and accept ourselves), so none can be lost; a pending read is cancelled and
//! then awaited, never dropped, unless its connection closes with it.

mod effort;
mod ring;
mod timers;

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

pub(crate) use effort::Effort;
pub(crate) use timers::{Alarm, Timers};

thread_local! {
    /// What this thread's runtime is.
    static ON_EPOLL: Cell<bool> = const { Cell::new(false) };
}

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
    /// io_uring with these flags.
    IoUring(RingFlags),
    /// epoll.
    Epoll,
}

/// Flags of a ring, best first: each step works on older kernels than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RingFlags {
    /// `SINGLE_ISSUER | DEFER_TASKRUN`: completions are processed when we ask for them. Linux 6.1.
    Deferred,
    /// `SINGLE_ISSUER | COOP_TASKRUN`: no interrupt to process completions. Linux 6.0.
    Cooperative,
    /// None.
    Plain,
}

impl fmt::Display for Driver {
    /// `io_uring` or `epoll`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            DriverKind::IoUring(_) => "io_uring",
            DriverKind::Epoll => "epoll",
        })
    }
}

/// Finds a driver that works here, by building a ring of the real size: a kernel may know io_uring
/// and still refuse it by seccomp or sysctl (EPERM, ENOSYS) or for lack of locked memory (ENOMEM).
///
/// # Errors
/// io_uring was demanded and the kernel refuses it.
pub(crate) fn probe(choice: DriverChoice) -> io::Result<Driver> {
    if choice == DriverChoice::Epoll {
        return Ok(Driver {
            kind: DriverKind::Epoll,
            reason: "epoll was asked for".to_owned(),
        });
    }
    let mut reason = String::new();
    let mut last = None;
    for flags in [
        RingFlags::Deferred,
        RingFlags::Cooperative,
        RingFlags::Plain,
    ] {
        match ring::probe(flags) {
            Ok(()) => {
                let kind = DriverKind::IoUring(flags);
                return Ok(Driver { kind, reason });
            }
            Err(error) => {
                reason = format!("io_uring {flags:?}: {error}");
                last = Some(error);
            }
        }
    }
    match (choice, last) {
        (DriverChoice::IoUring, Some(error)) => Err(error),
        _ => Ok(Driver {
            kind: DriverKind::Epoll,
            reason,
        }),
    }
}

/// A runtime of this thread.
pub(crate) enum Runtime {
    /// On io_uring.
    IoUring(monoio::Runtime<TimeDriver<IoUringDriver>>),
    /// On epoll.
    Epoll(monoio::Runtime<TimeDriver<LegacyDriver>>),
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring(_) => "IoUring",
            Self::Epoll(_) => "Epoll",
        })
    }
}

impl Runtime {
    /// Builds a runtime on the calling thread, which must be the one to run it: a ring belongs to
    /// the thread that made it.
    ///
    /// # Errors
    /// The ring or the epoll descriptor could not be made.
    pub(crate) fn new(kind: DriverKind) -> io::Result<Self> {
        match kind {
            DriverKind::IoUring(flags) => RuntimeBuilder::<IoUringDriver>::new()
                .with_entries(ring::ENTRIES)
                .uring_builder(ring::builder(flags))
                .enable_timer()
                .build()
                .map(Self::IoUring),
            DriverKind::Epoll => RuntimeBuilder::<LegacyDriver>::new()
                .with_entries(ring::ENTRIES)
                .enable_timer()
                .build()
                .map(Self::Epoll),
        }
    }

    /// Runs a future and all that it spawns, until it is done.
    pub(crate) fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        ON_EPOLL.set(matches!(self, Self::Epoll(_)));
        match self {
            Self::IoUring(runtime) => runtime.block_on(future),
            Self::Epoll(runtime) => runtime.block_on(future),
        }
    }
}

/// Starts a task of this worker. A panic in it ends it, and nothing else: it is reported to
/// standard error by the panic hook.
pub(crate) fn spawn<F: Future<Output = ()> + 'static>(future: F) {
    drop(monoio::spawn(timers::Contained(Box::pin(future))));
}

/// Waits this long, to the millisecond.
pub(crate) async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

/// How long a turn is taken to be where none can be seen.
const TURN: Duration = Duration::from_millis(1);

/// Turns of this worker: in each of them whoever has something to do gets to it, and the sockets and
/// the timers are looked at.
///
/// A task that merely wakes itself is put in front of all others by the runtime. So who waits for a
/// turn rings a bell, and hears it when the sockets are looked at.
#[derive(Debug)]
pub(crate) struct Turns(Option<Bell>);

#[derive(Debug)]
struct Bell {
    near: UnixStream,
    far: UnixStream,
    watch: Readiness,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let watch = Readiness::new(far.try_clone()?.into())?;
        Ok(Self { near, far, watch })
    }

    async fn ring_and_hear(&self) {
        let mut heard = pin!(self.watch.readable());
        let mut rung = false;
        poll_fn(|context| {
            let poll = heard.as_mut().poll(context);
            // Rung when somebody listens already, so that it is not heard before.
            if poll.is_pending() && !std::mem::replace(&mut rung, true) {
                // A bell that is full has been rung.
                drop((&self.near).write(&[1]));
            }
            poll.map(drop)
        })
        .await;
        drop((&self.far).read(&mut [0; 8]));
    }
}

impl Turns {
    /// Of the calling thread. Without a descriptor for the bell turns are taken to be a millisecond.
    pub(crate) fn new() -> Self {
        Self(Bell::new().ok())
    }

    /// The next one.
    pub(crate) async fn next(&self) {
        match &self.0 {
            Some(bell) => bell.ring_and_hear().await,
            None => sleep(TURN).await,
        }
    }
}

/// Whether sockets must be non-blocking here: on epoll they must, on io_uring they must not, or a
/// read would fail instead of waiting.
pub(crate) fn wants_nonblocking() -> bool {
    ON_EPOLL.get()
}

/// Waits for a descriptor without doing anything with it.
#[derive(Debug)]
pub(crate) struct Readiness(monoio::net::TcpStream);

impl Readiness {
    /// Watches a descriptor of any kind.
    ///
    /// # Errors
    /// It could not be registered with the driver.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // A stream socket to the runtime is a descriptor that can be polled.
        monoio::net::TcpStream::from_std(descriptor.into()).map(Self)
    }

    /// Ready when a read would not block.
    ///
    /// # Errors
    /// The driver failed.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable(false).await
    }

    /// Ready when a write would not block.
    ///
    /// # Errors
    /// The driver failed.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.0.writable(false).await
    }
}

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// There is no such CPU in the process's affinity mask.
pub(crate) fn pin_to(cpu: usize) -> io::Result<()> {
    monoio::utils::bind_to_cpu_set([cpu]).map_err(io::Error::from)
}

#[cfg(test)]
mod tests;
