//! What each proxy is given of one configuration, made once for proxies that are alike: what a
//! workload calls is shared by all that call from the same vantage, and only what concerns its own
//! callers is made for each.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use sallyport_config::document;
use sallyport_config::resource::{Key, Kind};

use crate::issuers::IssuerKeys;
use crate::lower;
use crate::proxy::{Proxy, ProxyKind};
use crate::resources::{Layer, Pool, Resources};
use crate::store::Configuration;

/// Results that are kept for a configuration. Beyond it, they are made anew for each stream.
const CACHE_MAX: usize = 4_096;

/// A layer that is made once; who comes meanwhile waits for it. `None` is a defect.
type Slot = Arc<OnceLock<Option<Arc<Layer>>>>;

/// A configuration, and what was made of it.
pub(crate) struct Generation {
    /// What it is.
    pub(crate) configuration: Arc<Configuration>,
    /// Keys of token issuers.
    keys: Arc<IssuerKeys>,
    /// When it came, for the time that proxies take to have it.
    pub(crate) since: Instant,
    /// Keys of labels that make a vantage.
    labels: BTreeSet<String>,
    /// By all that a result depends on: the proxy without its id. Threads of the runtime share it,
    /// and nothing is made while it is locked.
    cache: Mutex<HashMap<Proxy, Arc<Resources>>>,
    /// By vantage.
    layers: Mutex<HashMap<Proxy, Slot>>,
    /// What the configuration before had, for as long as somebody uses it.
    before: HashMap<Proxy, Weak<Layer>>,
    pool: Pool,
}

impl Generation {
    /// What comes after `before`.
    pub(crate) fn new(
        configuration: Arc<Configuration>,
        keys: Arc<IssuerKeys>,
        before: Option<&Self>,
    ) -> Self {
        let same = before.filter(|before| Arc::ptr_eq(&before.configuration, &configuration));
        let kept = same.map(Self::without_keys).unwrap_or_default();
        let labels = configuration.world.outbound_labels();
        let labels = labels.into_iter().map(str::to_owned).collect();
        Self {
            labels,
            layers: Mutex::new(kept),
            configuration,
            keys,
            since: Instant::now(),
            cache: Mutex::default(),
            before: before.map(Self::made).unwrap_or_default(),
            pool: Pool::default(),
        }
    }

    /// Whether these are the keys of issuers that it was made with.
    pub(crate) fn has_keys(&self, keys: &Arc<IssuerKeys>) -> bool {
        Arc::ptr_eq(&self.keys, keys) || self.keys == *keys
    }

    /// The layers in which no keys of issuers are: those of sidecars, who ask for tokens only of who
    /// calls them.
    fn without_keys(&self) -> HashMap<Proxy, Slot> {
        let layers = lock(&self.layers);
        let sidecars = layers.iter().filter(|(v, _)| v.kind == ProxyKind::Sidecar);
        sidecars
            .map(|(v, slot)| (v.clone(), Arc::clone(slot)))
            .collect()
    }

    /// The layers that were made.
    fn made(&self) -> HashMap<Proxy, Weak<Layer>> {
        let layers = lock(&self.layers);
        let made = layers.iter().filter_map(|(vantage, slot)| {
            let layer = slot.get()?.as_ref()?;
            Some((vantage.clone(), Arc::downgrade(layer)))
        });
        made.collect()
    }

    /// What a proxy is given. Takes its time: not for a thread that others wait for. What is as it
    /// was `before` is the same allocation, and if all is, so is the result. `None` is a defect of
    /// the compiler, which must cost no more than this push.
    pub(crate) fn resources(
        &self,
        proxy: &Proxy,
        before: Option<&Arc<Resources>>,
    ) -> Option<Arc<Resources>> {
        let key = Proxy {
            id: String::new(),
            ..proxy.clone()
        };
        if let Some(known) = lock(&self.cache).get(&key) {
            return Some(Arc::clone(known));
        }
        let generate = || self.generate(&key);
        let made = catch_unwind(AssertUnwindSafe(generate)).ok()??;
        let made = match before {
            Some(before) => made.sharing(before),
            None => Arc::new(made),
        };
        let mut cache = lock(&self.cache);
        if cache.len() < CACHE_MAX {
            cache.insert(key, Arc::clone(&made));
        }
        Some(made)
    }

    fn generate(&self, proxy: &Proxy) -> Option<Resources> {
        let configuration = &self.configuration;
        if proxy.documents {
            return Some(configuration.documents.of(&self.visible(proxy)));
        }
        let layer = self.layer(proxy)?;
        Some(lower::own(&configuration.world, &self.keys, proxy).over(layer))
    }

    /// What all proxies with the vantage of this one share.
    fn layer(&self, proxy: &Proxy) -> Option<Arc<Layer>> {
        let vantage = lower::vantage(proxy, &self.labels);
        let make = || {
            let before = self.before.get(&vantage).and_then(Weak::upgrade);
            let world = &self.configuration.world;
            let generate = || lower::shared(world, &self.keys, &vantage);
            let made = catch_unwind(AssertUnwindSafe(generate)).ok()?;
            Some(made.into_layer(before.as_ref(), &self.pool))
        };
        let slot = {
            let mut layers = lock(&self.layers);
            if layers.len() >= CACHE_MAX && !layers.contains_key(&vantage) {
                drop(layers);
                return make();
            }
            Arc::clone(layers.entry(vantage.clone()).or_default())
        };
        slot.get_or_init(make).clone()
    }

    /// Objects that a proxy takes as documents.
    fn visible(&self, proxy: &Proxy) -> BTreeSet<Key> {
        let configuration = &self.configuration;
        let own = |group: &String| Key {
            kind: Kind::WorkloadGroup,
            namespace: proxy.namespace.as_str().into(),
            name: group.as_str().into(),
        };
        match proxy.kind {
            ProxyKind::Sidecar => proxy.group.iter().map(own).collect(),
            ProxyKind::Gateway => {
                let (set, world) = (&configuration.set, &configuration.world);
                document::visible(set, world, &lower::view(proxy))
            }
        }
    }

    /// How many results are kept.
    pub(crate) fn cached(&self) -> usize {
        lock(&self.cache).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
