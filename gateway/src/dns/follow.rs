//! Follows the names that the active configuration mentions: each is asked for when its last answer
//! has run out, for as long as it is mentioned.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use sallyport_config::ir::{Cluster, IpBlock, Millis, Snapshot};
use sallyport_core::discovery::{Answer, Name, TTL_MAX, endpoints};
use sallyport_core::failure::FailureKind;
use sallyport_core::network::may_reach;
use sallyport_core::rng::Rng;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use sallyport_issuers::Resolver;

use crate::generation::Found;
use crate::log;
use crate::worker::LookedUp;

/// Names that are followed; the endpoints of further ones are missing, which is logged.
const NAMES_MAX: usize = 10_000;
/// Questions under way.
const QUESTIONS_MAX: usize = 64;
/// A configuration waits this long for the first answers of its names before it is served.
const WARM_WITHIN: Duration = Duration::from_secs(2);
/// What was found out about a host that a request names is good for at least this (Envoy's least
/// refresh rate of its cache of names).
const LOOKUP_MIN: Millis = Millis(5_000);
/// Answers that arrive within this become one update.
const SETTLE: Duration = Duration::from_millis(20);

/// All names, and what is known about them.
#[derive(Debug)]
pub(crate) struct Names {
    resolver: Rc<Resolver>,
    entries: RefCell<BTreeMap<Arc<str>, Entry>>,
    refresh: Cell<Millis>,
    questions: Semaphore,
    rng: RefCell<Rng>,
    /// Addresses changed that the workers have not been told.
    dirty: Cell<bool>,
    news: Notify,
    answered: Cell<u64>,
    denied: Cell<u64>,
    failed: Cell<u64>,
    /// For the tasks, which must not keep all this alive.
    itself: Weak<Self>,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    /// When it was asked for last, and when it will be again.
    times: Option<(Instant, Instant)>,
    error: Option<String>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known about one name, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameStatus {
    /// The name.
    pub(crate) name: Arc<str>,
    /// Addresses in use.
    pub(crate) addresses: Vec<IpAddr>,
    /// Seconds since the last answer, and until the next question.
    pub(crate) seconds: Option<(u64, u64)>,
    /// Questions in a row without a good answer.
    pub(crate) failures: u32,
    /// What went wrong the last time.
    pub(crate) error: Option<String>,
}

impl Names {
    /// Follows nothing yet.
    pub(crate) fn new(resolver: Rc<Resolver>, seed: u64) -> Rc<Self> {
        Rc::new_cyclic(|itself| Self {
            resolver,
            entries: RefCell::default(),
            refresh: Cell::new(Millis(0)),
            questions: Semaphore::new(QUESTIONS_MAX),
            rng: RefCell::new(Rng::new(seed)),
            dirty: Cell::new(false),
            news: Notify::new(),
            answered: Cell::new(0),
            denied: Cell::new(0),
            failed: Cell::new(0),
            itself: itself.clone(),
        })
    }

    /// Follows the names of this snapshot and no others.
    pub(crate) fn want(&self, snapshot: &Snapshot) {
        self.refresh.set(snapshot.settings.dns_refresh);
        let clusters = snapshot.clusters.iter();
        let wanted = clusters.flat_map(|cluster| cluster.discovery.names());
        let mut wanted: BTreeSet<&str> = wanted.map(|named| named.name.as_str()).collect();
        if wanted.len() > NAMES_MAX {
            let message = format_args!("{} names: only {NAMES_MAX} are asked for", wanted.len());
            log::error("dns", message);
            wanted = wanted.into_iter().take(NAMES_MAX).collect();
        }
        let mut entries = self.entries.borrow_mut();
        entries.retain(|name, _| wanted.contains(&**name));
        for name in wanted {
            if !entries.contains_key(name) {
                let name: Arc<str> = name.into();
                let task = tokio::task::spawn_local(follow(self.itself.clone(), Arc::clone(&name)));
                let entry = Entry {
                    name: Name::default(),
                    times: None,
                    error: None,
                    task: task.abort_handle(),
                };
                entries.insert(name, entry);
            }
        }
    }

    /// Waits for the first answer of every name, for a bounded time: requests that arrive right
    /// after a start should find endpoints.
    pub(crate) async fn warm(&self) {
        let unanswered = || {
            let entries = self.entries.borrow();
            entries.values().any(|entry| !entry.name.is_answered())
        };
        let all = async {
            while unanswered() {
                self.news.notified().await;
            }
        };
        if timeout(WARM_WITHIN, all).await.is_err() {
            log::warn("dns", "serving before all names were answered");
        }
    }

    /// Resolves when addresses have changed since [`Self::fill`] was called last.
    pub(crate) async fn changed(&self) {
        while !self.dirty.get() {
            self.news.notified().await;
        }
        tokio::time::sleep(SETTLE).await;
    }

    /// The clusters of a snapshot whose endpoints are asked for, with those known now. What is as
    /// it was in `last` is the same object.
    pub(crate) fn fill(&self, snapshot: &Snapshot, last: &Found) -> Found {
        self.dirty.set(false);
        let entries = self.entries.borrow();
        let with_names = |cluster: &Cluster| !cluster.discovery.names().is_empty();
        if !snapshot.clusters.iter().any(with_names) {
            return Found::default();
        }
        let filled = snapshot
            .clusters
            .iter()
            .enumerate()
            .map(|(index, cluster)| {
                if !with_names(cluster) {
                    return None;
                }
                let all = endpoints(cluster, |name| {
                    entries
                        .get(name)
                        .map_or(&[], |entry| entry.name.addresses())
                });
                let last = last.get(index).and_then(Option::as_ref);
                match last.filter(|last| last.name == cluster.name && last.endpoints == all) {
                    Some(last) if same_but_endpoints(last, cluster) => Some(Arc::clone(last)),
                    _ => Some(Arc::new(Cluster {
                        endpoints: all,
                        ..cluster.clone()
                    })),
                }
            });
        filled.collect()
    }

    /// Looks a host up that a stranger named: only addresses that may be reached count.
    pub(crate) async fn look_up(&self, host: &str, allowed: &[IpBlock]) -> LookedUp {
        let (answer, _) = match self.questions.acquire().await {
            Ok(_slot) => self.resolver.ask(host, &[]).await,
            Err(_) => (Answer::Failed, None),
        };
        self.count(&answer);
        let (addresses, good_for) = match answer {
            Answer::Addresses { mut addresses, ttl } if !addresses.is_empty() => {
                addresses.retain(|ip| may_reach(*ip, allowed));
                if addresses.is_empty() {
                    let message = format_args!("{host} is at an internal address: refused");
                    log::debug("dns", message);
                    (Err(FailureKind::HostRefused), LOOKUP_MIN)
                } else {
                    let good_for = ttl.clamp(LOOKUP_MIN, TTL_MAX);
                    (Ok(Arc::from(addresses)), good_for)
                }
            }
            _ => (Err(FailureKind::HostUnknown), LOOKUP_MIN),
        };
        LookedUp {
            addresses,
            good_for,
        }
    }

    fn count(&self, answer: &Answer) {
        let counter = match answer {
            Answer::Addresses { .. } => &self.answered,
            Answer::Denied => &self.denied,
            Answer::Failed => &self.failed,
        };
        counter.set(counter.get() + 1);
    }

    /// Everything that is known, by name.
    pub(crate) fn status(&self) -> Vec<NameStatus> {
        let now = Instant::now();
        let entries = self.entries.borrow();
        let status = entries.iter().map(|(name, entry)| NameStatus {
            name: Arc::clone(name),
            addresses: entry.name.addresses().to_vec(),
            seconds: entry.times.map(|(last, next)| {
                (
                    now.duration_since(last).as_secs(),
                    next.duration_since(now).as_secs(),
                )
            }),
            failures: entry.name.failures(),
            error: entry.error.clone(),
        });
        status.collect()
    }

    /// Questions by outcome: answered, denied, failed.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("answered", self.answered.get()),
            ("denied", self.denied.get()),
            ("failed", self.failed.get()),
        ]
    }

    /// Asks for a name once; when to do it again, `None` if nobody wants it any more.
    async fn ask(&self, name: &str) -> Option<Instant> {
        let last = self.entries.borrow().get(name)?.name.addresses().to_vec();
        let (answer, error) = {
            let _slot = self.questions.acquire().await.ok()?;
            self.resolver.ask(name, &last).await
        };
        self.count(&answer);
        let die = self.rng.borrow_mut().die();
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(name)?;
        let next = entry.name.on(answer, self.refresh.get(), die);
        let error = error.filter(|_| entry.name.failures() > 0);
        if let (Some(error), 1) = (&error, entry.name.failures()) {
            let kept = entry.name.addresses().len();
            let message = format_args!("{name}: {error}; {kept} addresses stay in use");
            log::warn("dns", message);
        }
        entry.error = error;
        let now = Instant::now();
        let again = now + Duration::from_millis(next.wait.0);
        entry.times = Some((now, again));
        if next.changed {
            let count = entry.name.addresses().len();
            log::info("dns", format_args!("{name} has {count} addresses"));
            self.dirty.set(true);
        }
        self.news.notify_waiters();
        Some(again)
    }
}

/// Whether only the endpoints tell two clusters apart. The one of the earlier configuration may
/// be kept only then.
fn same_but_endpoints(one: &Cluster, other: &Cluster) -> bool {
    let other = Cluster {
        endpoints: one.endpoints.clone(),
        ..other.clone()
    };
    *one == other
}

async fn follow(names: Weak<Names>, name: Arc<str>) {
    loop {
        let Some(strong) = names.upgrade() else {
            return;
        };
        let Some(again) = strong.ask(&name).await else {
            return;
        };
        drop(strong);
        tokio::time::sleep_until(again).await;
    }
}
