//! Resources that many proxies share, and what a new layer of them changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Resource, TypeUrl, Version};

/// Resources by type and name.
pub(super) type Types = BTreeMap<TypeUrl, BTreeMap<Arc<str>, Arc<Resource>>>;

/// What proxies with the same vantage share. No keys are in it: who may have those differs.
#[derive(Debug, Default)]
pub struct Layer {
    pub(super) types: Types,
    /// The layer that this one takes the place of.
    previous: Weak<Self>,
    /// Names of what came, went or changed since then.
    changed: BTreeMap<TypeUrl, Vec<Arc<str>>>,
}

/// What matters is content, not history.
impl PartialEq for Layer {
    fn eq(&self, other: &Self) -> bool {
        self.types == other.types
    }
}

impl Eq for Layer {}

/// Resources of all layers of a configuration, so that equal ones are one allocation. Threads that
/// make layers share it.
#[derive(Debug, Default)]
pub struct Pool(Mutex<HashMap<(TypeUrl, Version), Arc<Resource>>>);

impl Pool {
    /// Takes what is known in the place of what is equal to it.
    fn unite(&self, types: &mut Types) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (ty, resources) in types {
            for (name, resource) in resources {
                let known = pool
                    .entry((*ty, resource.version))
                    .or_insert_with(|| Arc::clone(resource));
                if known.name == *name {
                    *resource = Arc::clone(known);
                }
            }
        }
    }
}

impl Layer {
    /// A layer of these resources; `before` itself if they are the same.
    pub(super) fn new(mut types: Types, before: Option<&Arc<Self>>, pool: &Pool) -> Arc<Self> {
        let Some(before) = before else {
            pool.unite(&mut types);
            return Arc::new(Self {
                types,
                ..Self::default()
            });
        };
        let mut changed = BTreeMap::new();
        for ty in TypeUrl::ALL {
            let names = share(types.get_mut(&ty), before.types.get(&ty));
            if !names.is_empty() {
                changed.insert(ty, names);
            }
        }
        if changed.is_empty() {
            return Arc::clone(before);
        }
        pool.unite(&mut types);
        Arc::new(Self {
            types,
            previous: Arc::downgrade(before),
            changed,
        })
    }

    /// Names of a type that this layer has otherwise than `from`; `None` if nobody remembers.
    pub(super) fn changes(&self, from: &Arc<Self>, ty: TypeUrl) -> Option<&[Arc<str>]> {
        if std::ptr::eq(self, Arc::as_ptr(from)) {
            return Some(&[]);
        }
        let known = std::ptr::eq(self.previous.as_ptr(), Arc::as_ptr(from));
        known.then(|| self.changed.get(&ty).map_or(&[][..], Vec::as_slice))
    }
}

/// Takes what did not change from `old`; names of the rest, and of what is gone.
fn share(
    new: Option<&mut BTreeMap<Arc<str>, Arc<Resource>>>,
    old: Option<&BTreeMap<Arc<str>, Arc<Resource>>>,
) -> Vec<Arc<str>> {
    let none = BTreeMap::new();
    let old = old.unwrap_or(&none);
    let mut changed = Vec::new();
    let Some(new) = new else {
        return old.keys().map(Arc::clone).collect();
    };
    for (name, resource) in new.iter_mut() {
        match old.get(name) {
            Some(known) if known.version == resource.version => *resource = Arc::clone(known),
            _ => changed.push(Arc::clone(name)),
        }
    }
    changed.extend(old.keys().filter(|n| !new.contains_key(*n)).map(Arc::clone));
    changed
}
