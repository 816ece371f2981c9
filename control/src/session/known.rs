//! What a client has of one type: mostly what it was to have at some time, and that is told by
//! reference, because thousands of streams have the same thousands of resources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::resources::{Resources, TypeUrl, Version};

/// What a client has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// This version was sent.
    Has(Version),
    /// It was told that there is none.
    Absent,
}

/// Names that a client asks for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Everything is.
    pub(super) wildcard: bool,
    /// These are.
    pub(super) names: BTreeSet<Arc<str>>,
}

impl Asked {
    pub(super) fn has(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }
}

/// What it has. Names that are not asked for are in `over` or not at all.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Of these it has all that it asks for, but for what `over` says.
    base: Option<Arc<Resources>>,
    /// `None`: nothing, whatever the base says.
    over: BTreeMap<Arc<str>, Option<Known>>,
    /// Hash of all versions that it has.
    state: u128,
}

impl Holdings {
    /// What it has under a name.
    pub(super) fn get(&self, ty: TypeUrl, asked: &Asked, name: &str) -> Option<Known> {
        if let Some(known) = self.over.get(name) {
            return *known;
        }
        let base = self.base.as_ref().filter(|_| asked.has(name))?;
        let resource = base.get(ty, name)?;
        Some(Known::Has(base.version(ty, resource)))
    }

    /// Hash of all versions that it has.
    pub(super) fn state(&self) -> u128 {
        self.state
    }

    /// From now on it has this under a name; whether that is a change.
    pub(super) fn set(
        &mut self,
        ty: TypeUrl,
        asked: &Asked,
        name: &Arc<str>,
        known: Option<Known>,
    ) -> bool {
        let old = self.get(ty, asked, name);
        self.state ^= bits(old) ^ bits(known);
        if known.is_none() && self.base.is_none() {
            self.over.remove(name);
        } else {
            self.over.insert(Arc::clone(name), known);
        }
        old != known
    }

    /// It has nothing.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many names it knows, without a base.
    pub(super) fn len(&self) -> usize {
        self.over.len()
    }

    /// Keeps what it knows of some names, without a base.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let gone = self.over.extract_if(.., |name, _| !keep(name));
        for (_, known) in gone {
            self.state ^= bits(known);
        }
    }

    /// Says in full what the base says.
    pub(super) fn flatten(&mut self, ty: TypeUrl, asked: &Asked) {
        let Some(base) = self.base.take() else { return };
        for resource in base.of_type(ty).filter(|r| asked.has(&r.name)) {
            let version = base.version(ty, resource);
            let entry = self.over.entry(Arc::clone(&resource.name));
            entry.or_insert(Some(Known::Has(version)));
        }
        self.over.retain(|_, known| known.is_some());
    }

    /// Names under which it may have something else than `target`, and those that it was told
    /// something about; `None`: any.
    pub(super) fn candidates(&self, ty: TypeUrl, target: &Resources) -> Option<BTreeSet<Arc<str>>> {
        let mut names = target.changes(self.base.as_ref()?, ty)?;
        names.extend(self.over.keys().map(Arc::clone));
        Some(names)
    }

    /// It has of `target` all that it asks for. What it has besides, and what it was told not to be
    /// there, is kept.
    pub(super) fn settle(&mut self, ty: TypeUrl, asked: &Asked, target: &Arc<Resources>) {
        let names = self.candidates(ty, target);
        if names.is_none() {
            self.flatten(ty, asked);
        }
        let names = names.unwrap_or_else(|| self.over.keys().map(Arc::clone).collect());
        let absent = |name: &Arc<str>| target.get(ty, name).is_none();
        let rest = names.into_iter().filter(absent).filter_map(|name| {
            let known = self.get(ty, asked, &name)?;
            Some((name, Some(known)))
        });
        self.over = rest.collect();
        self.base = Some(Arc::clone(target));
    }

    /// Names that it has although they are not in `target`, without a base.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.over.keys()
    }
}

fn bits(known: Option<Known>) -> u128 {
    match known {
        Some(Known::Has(version)) => version.bits(),
        Some(Known::Absent) | None => 0,
    }
}
