//! The user's files: which ones, their text, and when they change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Problem;
use crate::log;

/// Files that are read; what is over is a problem, not a crash.
const FILES_MAX: usize = 10_000;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Changes that go on and on are read after this at the latest.
const DEBOUNCE_MAX: Duration = Duration::from_secs(1);
/// Where changes cannot be watched, files are read this often.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// Names that are configuration.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads files and remembers the last readable text of each.
#[derive(Default)]
pub(crate) struct Files {
    last: BTreeMap<PathBuf, Arc<str>>,
}

/// What one reading found.
#[derive(Default)]
pub(crate) struct Texts {
    /// Name and text, in the order in which objects count: files by name.
    pub(crate) files: Vec<(String, String)>,
    /// What could not be read.
    pub(crate) problems: Vec<Problem>,
    /// Directories to watch.
    pub(crate) directories: BTreeSet<PathBuf>,
}

impl Files {
    /// Reads files and directories. A file that is there but cannot be read counts with its last
    /// text, and so does every file of a directory that cannot be listed.
    pub(crate) fn read(&mut self, paths: &[PathBuf]) -> Texts {
        let mut texts = Texts::default();
        let mut wanted = BTreeSet::new();
        for path in paths {
            texts.watch(path);
            match list(path) {
                Ok(files) => wanted.extend(files),
                Err(error) => {
                    texts.problems.push(Problem::error(path, error));
                    let known = self.last.keys().filter(|known| known.starts_with(path));
                    wanted.extend(known.cloned());
                }
            }
        }
        if let Some(path) = wanted.iter().nth(FILES_MAX) {
            let message =
                format!("only {FILES_MAX} files are read; this one and those after it are not");
            texts.problems.push(Problem::error(path, message));
        }
        let mut now = BTreeMap::new();
        for path in wanted.into_iter().take(FILES_MAX) {
            texts.watch(&path);
            let text = match read_bounded(&path) {
                Ok(text) => Some(Arc::from(text)),
                Err(error) => {
                    texts.problems.push(Problem::error(&path, error));
                    self.last.get(&path).map(Arc::clone)
                }
            };
            if let Some(text) = text {
                texts
                    .files
                    .push((path.display().to_string(), String::from(&*text)));
                now.insert(path, text);
            }
        }
        self.last = now;
        texts
    }
}

impl Texts {
    /// Watches the directory that a change of this path would show in, and the one that a link in
    /// it leads to.
    fn watch(&mut self, path: &Path) {
        watch_path(&mut self.directories, path);
    }
}

/// Adds the directories in which a change of `path` shows: its own, or its parent; and those of
/// the file that it links to.
pub(crate) fn watch_path(directories: &mut BTreeSet<PathBuf>, path: &Path) {
    let real = fs::canonicalize(path).ok();
    for path in [Some(path.to_owned()), real].into_iter().flatten() {
        let directory = match path.parent() {
            _ if path.is_dir() => path.clone(),
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => path.clone(),
        };
        directories.insert(directory);
    }
}

/// The files that a path stands for: itself, or those of the directory that are configuration.
/// Hidden names are left out: editors' temporary files, and the `..data` directories that
/// Kubernetes swaps behind the visible links.
fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let name = file.file_name().and_then(|name| name.to_str());
        let hidden = name.is_none_or(|name| name.starts_with('.'));
        let extension = file.extension().and_then(|extension| extension.to_str());
        let known = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
        // A link into nowhere is listed, so that reading it says so.
        if !hidden && known && !file.is_dir() {
            files.push(file);
        }
    }
    Ok(files)
}

/// Reads a file of bounded size.
///
/// # Errors
/// It cannot be read, is too large, or is not UTF-8.
pub(crate) fn read_bounded(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

/// Says when something in a set of directories has changed and then been quiet for a while.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
    quiet: Duration,
    incomplete: bool,
}

impl Watch {
    /// Watches nothing yet. Where watching is impossible (no inotify instances left), changes are
    /// looked for in intervals, and the log says so.
    pub(crate) fn new(quiet: Duration) -> Self {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| is_change(&event.kind)) {
                notify.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| log::warn("config", polling(error)))
            .ok();
        Self {
            watcher,
            directories: BTreeSet::new(),
            changed,
            quiet,
            incomplete: false,
        }
    }

    /// Watches these directories and no others.
    pub(crate) fn set(&mut self, directories: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for gone in self.directories.difference(&directories) {
            // It may have been removed, and its watch with it.
            let _ = watcher.unwatch(gone);
        }
        self.incomplete = false;
        let mut exhausted = None;
        for directory in &directories {
            // The known ones as well: another directory may have taken the name.
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                self.incomplete = true;
                exhausted = matches!(error.kind, notify::ErrorKind::MaxFilesWatch).then_some(error);
            }
        }
        // What changed in them between reading and watching has not been seen.
        if !self.directories.is_empty() && !directories.is_subset(&self.directories) {
            self.changed.notify_one();
        }
        self.directories = directories;
        if let Some(error) = exhausted {
            log::warn("config", polling(&error));
            self.watcher = None;
        }
    }

    /// Waits for a change, then until nothing has changed for the quiet time, but not for ever.
    /// Where something could not be watched, it ends in intervals as well. May be cancelled.
    pub(crate) async fn changed(&self) {
        if self.watcher.is_none() || self.incomplete {
            if timeout(POLL_EVERY, self.changed.notified()).await.is_err() {
                return;
            }
        } else {
            self.changed.notified().await;
        }
        let end = Instant::now() + DEBOUNCE_MAX;
        while Instant::now() < end && timeout(self.quiet, self.changed.notified()).await.is_ok() {}
    }
}

fn polling(error: &notify::Error) -> String {
    let seconds = POLL_EVERY.as_secs();
    format!("cannot watch for changes ({error}): reading files every {seconds} s instead")
}

/// Reading files is no change of them.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

#[cfg(test)]
pub(crate) mod tests;
