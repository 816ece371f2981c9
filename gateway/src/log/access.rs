//! The access log: lines are rendered on the worker, written by one thread of its own.
//!
//! A worker appends to a plain buffer ([`AccessLog`]) and hands the whole buffer over when it is
//! large enough or when its clock ticks, so a request never meets a lock, a system call or a slow
//! disk. When the writer falls behind the buffer grows to a bound, then lines are dropped and
//! counted.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A worker hands its buffer over when it holds this many bytes.
const BLOCK_BYTES: usize = 32 * 1024;
/// A worker drops lines when its buffer holds this many bytes.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// Blocks that wait for the writer, of all workers together.
const BLOCKS_MAX: usize = 64;
/// Files that the writer keeps open; the log's path changes only by configuration.
const FILES_MAX: usize = 8;
/// A file that cannot be opened is tried again after this.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// Wait for the writer to finish when the process ends.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
/// Access-log path that means standard output.
const STDOUT: &str = "/dev/stdout";

/// What the writer thread is told.
enum Message {
    /// Lines for a file.
    Block {
        path: Arc<str>,
        bytes: Vec<u8>,
        lines: u64,
    },
    /// Open the files anew: they were rotated.
    Reopen,
    /// Write what came before this, then say so.
    Finish(SyncSender<()>),
}

/// A worker's end of the access log. Not shared: each worker has its own.
#[derive(Debug)]
pub(crate) struct AccessLog {
    sender: SyncSender<Message>,
    path: Option<Arc<str>>,
    buffer: Vec<u8>,
    lines: u64,
    dropped: u64,
}

impl AccessLog {
    /// Sets where lines go from now on; `None` turns the log off. Pending lines go to the old path.
    pub(crate) fn set_path(&mut self, path: Option<&str>) {
        if self.path.as_deref() != path {
            self.flush();
            self.path = path.map(Arc::from);
        }
    }

    /// Adds one line. `render` appends it, newline included, and is not called when the log is off
    /// or the buffer is full.
    pub(crate) fn line(&mut self, render: impl FnOnce(&mut Vec<u8>)) {
        if self.path.is_none() {
            return;
        }
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush();
            if self.buffer.len() >= BUFFER_BYTES_MAX {
                self.dropped += 1;
                return;
            }
        }
        render(&mut self.buffer);
        self.lines += 1;
        if self.buffer.len() >= BLOCK_BYTES && self.buffer.len() < 2 * BLOCK_BYTES {
            self.flush();
        }
    }

    /// Hands pending lines to the writer; keeps them when it is behind. To be called by the
    /// worker's clock at least every 250 ms while lines are pending, and before the worker ends.
    pub(crate) fn flush(&mut self) {
        let Some(path) = self.path.clone() else {
            return;
        };
        if self.buffer.is_empty() {
            return;
        }
        let block = Message::Block {
            path,
            bytes: std::mem::take(&mut self.buffer),
            lines: self.lines,
        };
        match self.sender.try_send(block) {
            Ok(()) => self.lines = 0,
            Err(TrySendError::Full(Message::Block { bytes, .. })) => self.buffer = bytes,
            // The writer is gone: only while the process ends.
            Err(_) => {
                self.dropped += self.lines;
                self.lines = 0;
            }
        }
    }

    /// Whether lines wait for a flush.
    pub(crate) fn pending(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Lines dropped so far because the writer was behind.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The writer thread, and the way to get a worker's end. Cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter {
    sender: SyncSender<Message>,
    failed: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(BLOCKS_MAX);
        let failed = Arc::new(AtomicU64::new(0));
        let mut files = Files {
            open: HashMap::new(),
            failed: Arc::clone(&failed),
        };
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || files.run(&receiver))?;
        Ok((Self { sender, failed }, thread))
    }

    /// A worker's end, off until a path is set.
    pub(crate) fn access_log(&self) -> AccessLog {
        AccessLog {
            sender: self.sender.clone(),
            path: None,
            buffer: Vec::new(),
            lines: 0,
            dropped: 0,
        }
    }

    /// Opens the files anew, after they were rotated. Blocks no longer than the queue is full.
    pub(crate) fn reopen(&self) {
        // A writer that is gone has nothing to reopen.
        drop(self.sender.send(Message::Reopen));
    }

    /// Waits until all that workers handed over is written, for a bounded time.
    pub(crate) fn finish(&self) {
        let (sender, receiver) = sync_channel(1);
        if self.sender.send(Message::Finish(sender)).is_ok() {
            // Nothing is left to do when it takes too long.
            let _ = receiver.recv_timeout(FINISH_WITHIN);
        }
    }

    /// Lines that could not be written: disk full, no permission, reader gone.
    pub(crate) fn failed_lines(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Open files of the writer thread.
struct Files {
    open: HashMap<Arc<str>, Target>,
    failed: Arc<AtomicU64>,
}

/// One file, or the reason why there is none yet.
enum Target {
    File(File),
    Stdout,
    Absent { since: Instant },
}

impl Files {
    fn run(&mut self, receiver: &Receiver<Message>) {
        loop {
            match receiver.recv_timeout(REOPEN_AFTER) {
                Ok(Message::Block { path, bytes, lines }) => {
                    if self.write(&path, &bytes).is_err() {
                        self.failed.fetch_add(lines, Ordering::Relaxed);
                    }
                }
                Ok(Message::Reopen) => self.open.clear(),
                // The one who waits may have given up.
                Ok(Message::Finish(done)) => drop(done.try_send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, path: &Arc<str>, bytes: &[u8]) -> io::Result<()> {
        let stale = match self.open.get(path) {
            Some(Target::Absent { since }) => since.elapsed() >= REOPEN_AFTER,
            Some(_) => false,
            None => true,
        };
        if stale {
            if self.open.len() >= FILES_MAX {
                self.open.clear();
            }
            let target = Target::open(path);
            self.open.insert(Arc::clone(path), target);
        }
        match self.open.get_mut(path) {
            Some(Target::File(file)) => file.write_all(bytes),
            Some(Target::Stdout) => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Some(Target::Absent { .. }) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Target {
    fn open(path: &str) -> Self {
        if path == STDOUT {
            return Self::Stdout;
        }
        match OpenOptions::new().create(true).append(true).open(path) {
            Ok(file) => Self::File(file),
            Err(_) => Self::Absent {
                since: Instant::now(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
