//! The user's files: which ones, their text, and when they change.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::log;

/// Files that are read; what is over is a finding, not a crash.
const FILES_MAX: usize = 10_000;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Where changes cannot be watched, files are read this often; elsewhere it is a second look.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// Names that are configuration.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads files and remembers the last readable text of each.
#[derive(Default)]
pub(super) struct Files {
    last: BTreeMap<PathBuf, Arc<str>>,
}

impl Files {
    /// Name and text of every file, in order of names, and what could not be read. A file that is
    /// there but cannot be read counts with its last text, and so does every file of a directory
    /// that cannot be listed.
    pub(super) fn read(&mut self, paths: &[PathBuf]) -> (Vec<(String, String)>, Vec<String>) {
        let mut findings = Vec::new();
        let mut wanted = BTreeSet::new();
        for path in paths {
            match list(path) {
                Ok(files) => wanted.extend(files),
                Err(error) => {
                    findings.push(format!("{}: error: {error}", path.display()));
                    let known = self.last.keys().filter(|known| known.starts_with(path));
                    wanted.extend(known.cloned());
                }
            }
        }
        if wanted.len() > FILES_MAX {
            findings.push(format!("error: only the first {FILES_MAX} files are read"));
        }
        let mut texts = Vec::new();
        let mut now = BTreeMap::new();
        for path in wanted.into_iter().take(FILES_MAX) {
            let text = match read_bounded(&path) {
                Ok(text) => Some(Arc::from(text)),
                Err(error) => {
                    findings.push(format!("{}: error: {error}", path.display()));
                    self.last.get(&path).map(Arc::clone)
                }
            };
            if let Some(text) = text {
                texts.push((path.display().to_string(), String::from(&*text)));
                now.insert(path, text);
            }
        }
        self.last = now;
        (texts, findings)
    }

    /// Directories in which a change would show: those of the paths and of all files, and those
    /// that links lead to.
    pub(super) fn directories(&self, paths: &[PathBuf]) -> BTreeSet<PathBuf> {
        let mut directories = BTreeSet::new();
        for path in paths.iter().chain(self.last.keys()) {
            let real = fs::canonicalize(path).ok();
            for path in [Some(path.clone()), real].into_iter().flatten() {
                directories.insert(directory_of(&path));
            }
        }
        directories
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        _ if path.is_dir() => path.to_owned(),
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}

/// The files that a path stands for: itself, or those of the directory that are configuration,
/// without hidden ones.
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
        if !hidden && known && !file.is_dir() {
            files.push(file);
        }
    }
    Ok(files)
}

fn read_bounded(path: &Path) -> io::Result<String> {
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
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
    /// A file was written to its end, or came under its name.
    completed: Arc<Notify>,
    quiet: Duration,
    most: Duration,
    /// Until when a change that came may wait for quiet.
    until: Cell<Option<Instant>>,
}

impl Watch {
    /// Watches nothing yet. A change is told after `quiet` without another one, and after `most` at
    /// the latest. Where watching is impossible, changes are looked for in intervals.
    pub(crate) fn new(quiet: Duration, most: Duration) -> Self {
        let changed = Arc::new(Notify::new());
        let completed = Arc::new(Notify::new());
        let (notify, complete) = (Arc::clone(&changed), Arc::clone(&completed));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.as_ref().is_ok_and(|event| is_complete(&event.kind)) {
                complete.notify_one();
            }
            if event.map_or(true, |event| is_change(&event.kind)) {
                notify.notify_one();
            }
        });
        if let Err(error) = &watcher {
            log::warn("config", format_args!("cannot watch for changes: {error}"));
        }
        Self {
            watcher: watcher.ok(),
            directories: BTreeSet::new(),
            changed,
            completed,
            quiet,
            most,
            until: Cell::new(None),
        }
    }

    /// Something else than a file changed, which shall wait for quiet with all else.
    pub(crate) fn touch(&self) {
        self.changed.notify_one();
    }

    /// Watches these directories and no others.
    pub(crate) fn set(&mut self, directories: BTreeSet<PathBuf>) {
        if let Some(watcher) = &mut self.watcher {
            for gone in self.directories.difference(&directories) {
                // it may have been removed, and its watch with it
                let _ = watcher.unwatch(gone);
            }
            for directory in &directories {
                // a directory that cannot be watched is looked at in intervals, as all are
                let _ = watcher.watch(directory, RecursiveMode::NonRecursive);
            }
        }
        // what changed in a new one between reading and watching has not been seen
        if !directories.is_subset(&self.directories) {
            self.changed.notify_one();
        }
        self.directories = directories;
    }

    /// Waits until a file is complete. The same change is still one for [`Watch::changed`]. May be
    /// cancelled.
    pub(crate) async fn completed(&self) {
        self.completed.notified().await;
        self.changed.notify_one();
    }

    /// Waits for a change, then until it is quiet. Ends in intervals as well, because the parent of
    /// a directory that is swapped is not watched. May be cancelled: the change is still there, and
    /// waits no longer than it would have.
    pub(crate) async fn changed(&self) {
        let end = match self.until.get() {
            Some(end) => end,
            None if timeout(POLL_EVERY, self.changed.notified()).await.is_err() => return,
            None => Instant::now() + self.most,
        };
        self.until.set(Some(end));
        while Instant::now() < end {
            let quiet = self
                .quiet
                .min(end.saturating_duration_since(Instant::now()));
            if timeout(quiet, self.changed.notified()).await.is_err() {
                break;
            }
        }
        self.until.set(None);
    }
}

/// What is half written looks like something else, and looks like a whole when it ends well.
fn is_complete(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
    )
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
mod tests {
    use super::*;

    /// Changes keep coming more often than it is ever quiet, and whoever waits is disturbed by each:
    /// the end comes all the same, and not before it is due.
    #[tokio::test(start_paused = true)]
    async fn a_change_waits_for_quiet_but_not_for_ever() {
        let (quiet, most) = (Duration::from_millis(100), Duration::from_secs(2));
        let watch = Watch::new(quiet, most);
        let start = Instant::now();
        watch.touch();
        loop {
            let disturbed = timeout(quiet / 2, watch.changed()).await;
            if disturbed.is_ok() {
                break;
            }
            watch.touch();
        }
        assert_eq!(start.elapsed(), most);
        // what came last has been taken with it, or is one more change
        watch.changed().await;
        let start = Instant::now();
        watch.touch();
        watch.changed().await;
        assert_eq!(start.elapsed(), quiet);
    }
}
