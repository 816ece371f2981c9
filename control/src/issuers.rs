//! Keys of token issuers for stock Envoys, which have no way of ours to fetch them: fetched here as
//! istiod does, and put into the rules before these are lowered. Without keys a rule stays as it is,
//! and no token is good.
//!
//! The fetching is that of our gateways (`sallyport-issuers`), on a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sallyport_config::ir::{JwtKeys, JwtRule, KeySource};
use sallyport_issuers::{Fetcher, Keys, Resolver, Store, Weight};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::log;
use crate::server::args::Fetching;

/// A new configuration waits this long at most for keys that it is the first to name. Those who
/// fetch give up sooner, so this is for a thread that is stuck.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Orders that may wait for the thread.
const ORDERS_MAX: usize = 4;

/// Sets of keys by URL, or by the issuer that says where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuerKeys(BTreeMap<Arc<str>, Arc<str>>);

impl IssuerKeys {
    /// Puts the keys that are known into rules.
    pub fn fill(&self, rules: &mut [JwtRule]) {
        for rule in rules {
            let known = rule.source().and_then(|source| self.0.get(&*source.url));
            if let Some(keys) = known {
                rule.keys = JwtKeys::Inline(Arc::clone(keys));
            }
        }
    }
}

impl<U: Into<Arc<str>>, K: Into<Arc<str>>> FromIterator<(U, K)> for IssuerKeys {
    fn from_iter<T: IntoIterator<Item = (U, K)>>(sets: T) -> Self {
        let sets = sets.into_iter();
        Self(sets.map(|(url, keys)| (url.into(), keys.into())).collect())
    }
}

/// What the thread knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// All keys.
    pub(crate) keys: Arc<IssuerKeys>,
    /// Fetches that ended well.
    pub(crate) good: u64,
    /// Fetches that failed.
    pub(crate) failed: u64,
}

/// Sets to follow from now on, and who waits for the first keys.
struct Order {
    sources: BTreeSet<KeySource>,
    warm: oneshot::Sender<()>,
}

/// Who fetches.
#[derive(Debug)]
pub(crate) struct Issuers {
    orders: mpsc::Sender<Order>,
    known: watch::Receiver<Known>,
    wanted: BTreeSet<KeySource>,
}

impl Issuers {
    /// Starts the thread. A state directory that cannot be used costs the memory of restarts only.
    ///
    /// # Errors
    /// There can be no further thread.
    pub(crate) fn start(
        options: Fetching,
        state_dir: Option<std::path::PathBuf>,
    ) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (sender, known) = watch::channel(Known::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let serve = move || {
            let keys = open(&options, state_dir.as_deref());
            LocalSet::new().block_on(&runtime, follow(&keys, inbox, &sender));
        };
        std::thread::Builder::new()
            .name("issuers".to_owned())
            .spawn(serve)?;
        Ok(Self {
            orders,
            known,
            wanted: BTreeSet::new(),
        })
    }

    /// Follows these sets and no others; waits for the first keys of new ones, for a bounded time.
    pub(crate) async fn want(&mut self, sources: BTreeSet<KeySource>) {
        if self.wanted == sources {
            return;
        }
        let (warm, warmed) = oneshot::channel();
        self.wanted.clone_from(&sources);
        let order = Order { sources, warm };
        let sent = self.orders.send(order).await.is_ok();
        if !sent || !matches!(timeout(WAIT_MAX, warmed).await, Ok(Ok(()))) {
            log::error(
                "jwks",
                "nobody fetches keys: this is a defect, please report it",
            );
        }
    }

    /// What is known.
    pub(crate) fn known(&self) -> watch::Receiver<Known> {
        self.known.clone()
    }
}

fn open(options: &Fetching, state_dir: Option<&std::path::Path>) -> Rc<Keys> {
    let store = state_dir.and_then(|directory| {
        let store = Store::open(directory);
        store.map_err(|error| log::warn("state", error)).ok()
    });
    let resolver = Rc::new(Resolver::new(&options.dns, options.dns_family, say));
    let fetcher = Fetcher::new(resolver, options.jwks_ca.as_ref(), &options.allowed());
    Keys::new(fetcher, store, RandomState::new().hash_one(0), say)
}

fn say(weight: Weight, about: &'static str, what: fmt::Arguments<'_>) {
    match weight {
        Weight::Info => log::info(about, what),
        Weight::Warn => log::warn(about, what),
        Weight::Error => log::error(about, what),
    }
}

/// Takes orders and tells what is known, until nobody orders any more.
async fn follow(keys: &Rc<Keys>, mut orders: mpsc::Receiver<Order>, known: &watch::Sender<Known>) {
    loop {
        let warm = tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                keys.want(order.sources);
                keys.warm().await;
                Some(order.warm)
            }
            () = keys.changed() => None,
            () = keys.ended() => None,
        };
        let texts = IssuerKeys(keys.texts());
        let [(_, good), (_, failed)] = keys.counts();
        known.send_modify(|known| {
            if *known.keys != texts {
                known.keys = Arc::new(texts);
            }
            (known.good, known.failed) = (good, failed);
        });
        // whoever does not wait any more asks for what is known later
        let _ = warm.map(|warm| warm.send(()));
    }
}
