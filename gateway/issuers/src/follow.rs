//! Follows the issuers that a configuration mentions: each one's keys are fetched when they
//! are due, for as long as it is mentioned. What was good stays until something better comes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sallyport_config::ir::{KeySource, Millis};
use sallyport_core::admit::{KeySet, KeyStore};
use sallyport_core::keys::{Life, description_url, keys_url};
use sallyport_core::rng::Rng;
use sallyport_core::time::Now;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::store::Stored;
use crate::{Fetcher, Say, Store, Weight};

/// What lines for the operator begin with.
const ABOUT: &str = "jwks";
/// Sets that are followed; rules of further ones refuse their tokens, which is logged.
const SETS_MAX: usize = 1_000;
/// Fetches under way.
const FETCHES_MAX: usize = 8;
/// A configuration waits this long for the first keys of its issuers before it is served.
const WARM_WITHIN: Duration = Duration::from_secs(2);
/// Keys that arrive within this become one update.
const SETTLE: Duration = Duration::from_millis(20);

/// All issuers, and their keys.
#[derive(Debug)]
pub struct Keys {
    fetcher: Fetcher,
    store: Option<Store>,
    entries: RefCell<BTreeMap<Arc<str>, Entry>>,
    fetches: Semaphore,
    rng: RefCell<Rng>,
    start: Instant,
    /// Keys changed that nobody has taken.
    dirty: Cell<bool>,
    news: Notify,
    good: Cell<u64>,
    failed: Cell<u64>,
    say: Say,
    /// For the tasks, which must not keep all this alive.
    itself: Weak<Self>,
}

/// What a rule says about where its keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    /// The URL is an issuer, which says itself where its keys are.
    is_issuer: bool,
    within: Millis,
}

#[derive(Debug)]
struct Entry {
    wanted: Wanted,
    life: Life,
    /// What was fetched last and is good: as it is used, and as it came.
    keys: Option<(Arc<KeySet>, Arc<str>)>,
    fetched: Option<SystemTime>,
    error: Option<String>,
    /// Wakes the task up because the fetch is due earlier.
    sooner: Rc<Notify>,
    task: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known about one set, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// URL of the set, or of the issuer.
    pub url: Arc<str>,
    /// Keys that can be used; `None`: there never were any.
    pub keys: Option<usize>,
    /// Seconds since they were fetched.
    pub age: Option<u64>,
    /// Fetches in a row that failed.
    pub failures: u32,
    /// What went wrong the last time.
    pub error: Option<String>,
}

impl Keys {
    /// Follows nothing yet. The seed is for the jitter of fetches.
    #[must_use]
    pub fn new(fetcher: Fetcher, store: Option<Store>, seed: u64, say: Say) -> Rc<Self> {
        Rc::new_cyclic(|itself| Self {
            fetcher,
            store,
            entries: RefCell::default(),
            fetches: Semaphore::new(FETCHES_MAX),
            rng: RefCell::new(Rng::new(seed)),
            start: Instant::now(),
            dirty: Cell::new(false),
            news: Notify::new(),
            good: Cell::new(0),
            failed: Cell::new(0),
            say,
            itself: itself.clone(),
        })
    }

    fn say(&self, weight: Weight, what: fmt::Arguments<'_>) {
        (self.say)(weight, ABOUT, what);
    }

    /// Follows these sets and no others. New ones begin with what the disk has.
    pub fn want(&self, sources: impl IntoIterator<Item = KeySource>) {
        let wanted = self.wanted(sources);
        let mut entries = self.entries.borrow_mut();
        entries.retain(|url, entry| {
            let wanted = wanted.get(&**url);
            wanted.is_some_and(|wanted| wanted.is_issuer == entry.wanted.is_issuer)
        });
        for (url, wanted) in &wanted {
            match entries.get_mut(url.as_str()) {
                Some(entry) => entry.wanted = *wanted,
                None => {
                    entries.insert(url.as_str().into(), self.begin(url, *wanted));
                }
            }
        }
        if let Some(store) = &self.store {
            store.keep_only(wanted.keys().map(String::as_str));
        }
    }

    fn begin(&self, url: &str, wanted: Wanted) -> Entry {
        let stored = self.store.as_ref().and_then(|store| store.load(url));
        let known = stored.and_then(|stored| {
            let keys = Arc::new(KeySet::parse(&stored.text).ok()?);
            Some(((keys, Arc::from(stored.text)), stored.fetched))
        });
        let (keys, fetched) = known.unzip();
        if keys.is_some() {
            self.say(
                Weight::Info,
                format_args!("{url}: keys from before the start"),
            );
        }
        let task = tokio::task::spawn_local(follow(self.itself.clone(), url.into()));
        Entry {
            wanted,
            life: Life::default(),
            keys,
            fetched,
            error: None,
            sooner: Rc::default(),
            task: task.abort_handle(),
        }
    }

    /// Waits until every issuer has keys or its first fetch has failed, for a bounded time.
    pub async fn warm(&self) {
        let without = || {
            let entries = self.entries.borrow();
            let mut entries = entries.values();
            entries.any(|entry| entry.keys.is_none() && !entry.life.is_tried())
        };
        let all = async {
            while without() {
                self.news.notified().await;
            }
        };
        if timeout(WARM_WITHIN, all).await.is_err() {
            self.say(
                Weight::Warn,
                format_args!("serving before the keys of all issuers are there"),
            );
        }
    }

    /// Resolves when keys have changed since [`Self::fill`] or [`Self::texts`] was called last.
    pub async fn changed(&self) {
        while !self.dirty.get() {
            self.news.notified().await;
        }
        tokio::time::sleep(SETTLE).await;
    }

    /// Resolves when a fetch ends, well or not. One that ended before is not told.
    pub async fn ended(&self) {
        self.news.notified().await;
    }

    /// All keys; `last` itself if they are the same.
    pub fn fill(&self, last: &Arc<KeyStore>) -> Arc<KeyStore> {
        self.dirty.set(false);
        let mut store = KeyStore::default();
        for (url, entry) in self.entries.borrow().iter() {
            if let Some((keys, _)) = &entry.keys {
                store.insert(url, Arc::clone(keys));
            }
        }
        if store == **last {
            return Arc::clone(last);
        }
        Arc::new(store)
    }

    /// Somebody met tokens that the keys of these URLs do not verify.
    pub fn missing(&self, urls: &[Box<str>]) {
        let now = self.now();
        let mut entries = self.entries.borrow_mut();
        for url in urls {
            if let Some(entry) = entries.get_mut(&**url) {
                entry.life.missing(now);
                entry.sooner.notify_one();
            }
        }
    }

    /// Texts of all sets that there are, by URL.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        self.dirty.set(false);
        let entries = self.entries.borrow();
        let known = entries.iter().filter_map(|(url, entry)| {
            let (_, text) = entry.keys.as_ref()?;
            Some((Arc::clone(url), Arc::clone(text)))
        });
        known.collect()
    }

    /// Everything that is known, by URL.
    pub fn status(&self) -> Vec<KeyStatus> {
        let entries = self.entries.borrow();
        let status = entries.iter().map(|(url, entry)| KeyStatus {
            url: Arc::clone(url),
            keys: entry.keys.as_ref().map(|(keys, _)| keys.len()),
            age: entry
                .fetched
                .map(|since| since.elapsed().unwrap_or_default().as_secs()),
            failures: entry.life.failures(),
            error: entry.error.clone(),
        });
        status.collect()
    }

    /// Fetches by outcome: good, failed.
    pub fn counts(&self) -> [(&'static str, u64); 2] {
        [("good", self.good.get()), ("failed", self.failed.get())]
    }

    fn now(&self) -> Now {
        Now(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When the fetch of a set is due, and what rings when that becomes earlier; `None` if nobody
    /// wants it any more.
    fn due(&self, url: &str) -> Option<(Instant, Rc<Notify>)> {
        let entries = self.entries.borrow();
        let entry = entries.get(url)?;
        let at = self.start + Duration::from_micros(entry.life.due().0);
        Some((at, Rc::clone(&entry.sooner)))
    }

    /// Fetches a set once.
    async fn fetch(&self, url: &str) {
        let Some(wanted) = self.entries.borrow().get(url).map(|entry| entry.wanted) else {
            return;
        };
        let fetched = {
            let Ok(_slot) = self.fetches.acquire().await else {
                return;
            };
            self.text(url, wanted).await
        };
        let fetched = fetched.and_then(|text| {
            let keys = KeySet::parse(&text)?;
            Ok((text, keys))
        });
        let counter = if fetched.is_ok() {
            &self.good
        } else {
            &self.failed
        };
        counter.set(counter.get() + 1);
        let now = self.now();
        let die = self.rng.borrow_mut().die();
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(url) else {
            return;
        };
        entry.life.fetched(fetched.is_ok(), now, die);
        match fetched {
            Ok((text, keys)) => {
                let fetched = SystemTime::now();
                entry.fetched = Some(fetched);
                entry.error = None;
                if entry.keys.as_ref().is_none_or(|(known, _)| **known != keys) {
                    self.say(Weight::Info, format_args!("{url}: {} keys", keys.len()));
                    entry.keys = Some((Arc::new(keys), Arc::from(text.as_str())));
                    self.dirty.set(true);
                }
                self.keep(url, Stored { text, fetched });
            }
            Err(error) => {
                if entry.life.failures() == 1 {
                    let what = match &entry.keys {
                        Some(_) => "the last good keys stay in use",
                        None => "there are no keys, so its tokens are refused",
                    };
                    self.say(Weight::Warn, format_args!("{url}: {error}; {what}"));
                }
                entry.error = Some(error);
            }
        }
        self.news.notify_waiters();
    }

    /// The text of a set; an issuer is asked first where it is.
    async fn text(&self, url: &str, wanted: Wanted) -> Result<String, String> {
        let within = Duration::from_millis(wanted.within.0);
        if !wanted.is_issuer {
            return self.fetcher.get(url, within).await;
        }
        let description = self.fetcher.get(&description_url(url), within).await?;
        let keys = keys_url(&description, url)?;
        self.fetcher.get(&keys, within).await
    }

    /// The sets by URL, and how they are fetched; the longest of several limits counts.
    fn wanted(&self, sources: impl IntoIterator<Item = KeySource>) -> BTreeMap<String, Wanted> {
        let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
        for source in sources {
            let (is_issuer, within) = (source.is_issuer, source.timeout);
            let url = source.url;
            if !wanted.contains_key(&url) && wanted.len() >= SETS_MAX {
                let what = format_args!("{url}: more than {SETS_MAX} sets of keys");
                self.say(Weight::Error, what);
                continue;
            }
            let entry = wanted.entry(url).or_insert(Wanted { is_issuer, within });
            entry.within = entry.within.max(within);
        }
        wanted
    }

    /// Puts keys on disk, on a thread that may wait for it.
    fn keep(&self, url: &str, stored: Stored) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let (url, say) = (url.to_owned(), self.say);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = store.save(&url, &stored) {
                let what = format_args!("{url}: cannot keep the keys: {error}");
                say(Weight::Warn, ABOUT, what);
            }
        });
    }
}

async fn follow(keys: Weak<Keys>, url: Arc<str>) {
    loop {
        let due = keys.upgrade().and_then(|keys| keys.due(&url));
        let Some((at, sooner)) = due else { return };
        if at > Instant::now() {
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = sooner.notified() => {}
            }
        } else if let Some(keys) = keys.upgrade() {
            keys.fetch(&url).await;
        }
    }
}
