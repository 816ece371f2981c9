//! Workloads that register themselves: a proxy that names a WorkloadGroup gets a WorkloadEntry for as
//! long as it is connected, and a little longer. Facts are those of Istio's
//! `pilot/pkg/autoregistration`.
//!
//! Entries are texts beside the user's files, so all that is known about objects holds for them. They
//! are kept over a restart (`--state-dir`): else every registered workload would be gone until it
//! comes back.

mod entry;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sallyport_config::resource::ResourceSet;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::proxy::Proxy;
use crate::{log, private};

/// What names of registered texts begin with.
pub(crate) const FILES: &str = "registered/";
/// Workloads that may be registered.
const ENTRIES_MAX: usize = 10_000;
/// Proxies need this long at most to come back to a control process that was restarted.
const RETURN_WITHIN: Duration = Duration::from_secs(60);
/// Name of the file in the state directory.
const NAME: &str = "registered";
/// Largest file that is read back, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Without anything to wait for.
const IDLE: Duration = Duration::from_secs(3_600);

/// Namespace and name of a WorkloadEntry.
type Name = (String, String);

#[derive(Debug)]
struct Entry {
    /// The object.
    object: Value,
    /// Its group has a probe: it serves only while it says that it is healthy.
    probed: bool,
    healthy: bool,
    /// Streams of its proxy.
    streams: usize,
    /// When it goes away, if no stream comes.
    until: Option<Instant>,
}

impl Entry {
    fn serves(&self) -> bool {
        self.healthy || !self.probed
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Streams come and go on every thread of the runtime.
    entries: Mutex<BTreeMap<Name, Entry>>,
    changed: Notify,
    grace: Duration,
    file: Option<PathBuf>,
}

impl Registry {
    /// Reads what was kept; those who do not come back go away.
    pub(crate) fn open(state_dir: Option<&PathBuf>, grace: Duration) -> Arc<Self> {
        let file = state_dir.map(|directory| directory.join(NAME));
        let kept = file.as_ref().and_then(|file| read(file));
        let until = Some(Instant::now() + grace.max(RETURN_WITHIN));
        let entry = |kept: Value| {
            let flag = |name: &str| kept.get(name).and_then(Value::as_bool).unwrap_or(false);
            let object = kept.get("object")?.clone();
            let entry = Entry {
                probed: flag("probed"),
                healthy: flag("healthy"),
                streams: 0,
                until,
                object,
            };
            Some((entry::name(&entry.object)?, entry))
        };
        let entries = kept.unwrap_or_default().into_iter().filter_map(entry);
        Arc::new(Self {
            entries: Mutex::new(entries.collect()),
            changed: Notify::new(),
            grace,
            file,
        })
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Name, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the workload of a proxy, if it asks for that.
    ///
    /// # Errors
    /// There is no such group, the group is for other workloads, or there are too many.
    pub(crate) fn register(
        self: &Arc<Self>,
        proxy: &Proxy,
        set: &ResourceSet,
    ) -> Result<Option<Registration>, Status> {
        let Some(group) = &proxy.group else {
            return Ok(None);
        };
        let made = entry::make(proxy, group, set);
        let (name, object, probed) = made.map_err(Status::failed_precondition)?;
        let mut entries = self.entries();
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(&name) {
            return Err(Status::resource_exhausted("too many registered workloads"));
        }
        let entry = entries.entry(name.clone()).or_insert_with(|| Entry {
            object: Value::Null,
            probed,
            healthy: false,
            streams: 0,
            until: None,
        });
        if entry.object != object || entry.probed != probed {
            log::info("registry", format_args!("{}/{} registers", name.0, name.1));
            (entry.object, entry.probed) = (object, probed);
            self.changed.notify_one();
        }
        entry.streams += 1;
        entry.until = None;
        drop(entries);
        Ok(Some(Registration {
            registry: Arc::clone(self),
            name,
        }))
    }

    /// Texts of the workloads that serve.
    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        let entries = self.entries();
        let serving = entries.iter().filter(|(_, entry)| entry.serves());
        let text = |((namespace, name), entry): (&Name, &Entry)| {
            let file = format!("{FILES}{namespace}/{name}");
            (file, entry.object.to_string())
        };
        serving.map(text).collect()
    }

    /// Waits until the texts may be others. May be cancelled.
    pub(crate) async fn changed(&self) {
        loop {
            let next = self.entries().values().filter_map(|e| e.until).min();
            let next = next.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                () = self.changed.notified() => return,
                () = sleep_until(next) => {}
            }
            if self.expire() {
                return;
            }
        }
    }

    /// Drops the entries whose time is over; whether there were any.
    fn expire(&self) -> bool {
        let now = Instant::now();
        let mut entries = self.entries();
        let count = entries.len();
        entries.retain(|(namespace, name), entry| {
            let over = entry.until.is_some_and(|until| until <= now);
            if over {
                log::info("registry", format_args!("{namespace}/{name} is gone"));
            }
            !over
        });
        entries.len() < count
    }

    /// Keeps all of them for a restart.
    pub(crate) fn save(&self) {
        let Some(file) = &self.file else { return };
        let entries: Vec<Value> = {
            let entries = self.entries();
            let kept =
                |e: &Entry| json!({"object": e.object, "probed": e.probed, "healthy": e.healthy});
            entries.values().map(kept).collect()
        };
        let text = Value::from(entries).to_string();
        if let Err(error) = private::write(file, text.as_bytes()) {
            log::warn("registry", format_args!("cannot be kept: {error}"));
        }
    }
}

/// What a file keeps, if it is whole.
fn read(file: &Path) -> Option<Vec<Value>> {
    let length = fs::metadata(file).ok()?.len();
    let text = (length <= BYTES_MAX).then(|| fs::read_to_string(file).ok())?;
    serde_json::from_str(&text?).ok()
}

/// A registered workload's stream.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    name: Name,
}

impl Registration {
    /// Takes a report about the workload's health.
    pub(crate) fn report(&self, health: &Result<(), String>) {
        let mut entries = self.registry.entries();
        let Some(entry) = entries.get_mut(&self.name) else {
            return;
        };
        if entry.healthy != health.is_ok() {
            let (namespace, name) = &self.name;
            match health {
                Ok(()) => log::info("registry", format_args!("{namespace}/{name} is healthy")),
                Err(why) => log::info(
                    "registry",
                    format_args!("{namespace}/{name} is not healthy: {why}"),
                ),
            }
            entry.healthy = health.is_ok();
            self.registry.changed.notify_one();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        if let Some(entry) = entries.get_mut(&self.name) {
            entry.streams = entry.streams.saturating_sub(1);
            if entry.streams == 0 {
                entry.until = Some(Instant::now() + self.registry.grace);
                // who waits must wait for this
                self.registry.changed.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests;
