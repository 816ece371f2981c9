//! What each proxy is given of one configuration, made once for proxies that are alike.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sallyport_config::document;

use crate::lower;
use crate::proxy::Proxy;
use crate::resources::Resources;
use crate::store::Configuration;

/// Results that are kept for a configuration. Beyond it, they are made anew for each stream.
const CACHE_MAX: usize = 4_096;

/// A configuration, and what was made of it.
pub(crate) struct Generation {
    /// What it is.
    pub(crate) configuration: Configuration,
    /// When it came, for the time that proxies take to have it.
    pub(crate) since: Instant,
    /// By all that a result depends on: the proxy without its id. Threads of the runtime share it,
    /// and nothing is made while it is locked.
    cache: Mutex<HashMap<Proxy, Arc<Resources>>>,
}

impl Generation {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self {
            configuration,
            since: Instant::now(),
            cache: Mutex::default(),
        }
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
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cache().get(&key) {
            return Some(Arc::clone(known));
        }
        let generate = || self.generate(&key);
        let made = catch_unwind(AssertUnwindSafe(generate)).ok()?;
        let made = match before {
            Some(before) => made.sharing(before),
            None => Arc::new(made),
        };
        let mut cache = cache();
        if cache.len() < CACHE_MAX {
            cache.insert(key, Arc::clone(&made));
        }
        Some(made)
    }

    fn generate(&self, proxy: &Proxy) -> Resources {
        let configuration = &self.configuration;
        if proxy.documents {
            let (set, world) = (&configuration.set, &configuration.world);
            let visible = document::visible(set, world, &lower::view(proxy));
            return configuration.documents.of(&visible);
        }
        lower::generate(&configuration.world, proxy)
    }

    /// How many results are kept.
    pub(crate) fn cached(&self) -> usize {
        let cache = self.cache.lock();
        cache.unwrap_or_else(PoisonError::into_inner).len()
    }
}
