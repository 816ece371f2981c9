//! One type of one stream: the names that are asked for, and what the client has of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::known::{Asked, Holdings, Known};
use super::{Response, Sent, Status, Violation};
use crate::resources::{Resource, Resources, TypeUrl, Version};

/// Names of a type that a stream may subscribe to: ten times the clusters of a large mesh.
const NAMES_MAX: usize = 65_536;
/// Bytes of all these names.
const NAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of a refusal that are kept.
const ERROR_MAX: usize = 4_096;
/// Bytes of resources in one delta response; a larger one is split, and each part is answered
/// before the next. Not so documents, which are compiled together.
const RESPONSE_BYTES_MAX: usize = 128 * 1024;
/// The name that stands for everything.
const WILDCARD: &str = "*";

/// The state of a type.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// A request came.
    asked: bool,
    /// Everything is wanted, because no name was ever given.
    implicit: bool,
    wants: Asked,
    name_bytes: usize,
    known: Holdings,
    /// State of the world: clusters as they were sent last, so that one that is gone can be sent
    /// again until nothing uses it.
    clusters: BTreeMap<Arc<str>, (Version, Arc<Resource>)>,
    /// A response is due even if it says nothing.
    owed: bool,
    /// Something may have to be sent.
    look: bool,
    /// Nonce of the response that is not answered.
    waiting: Option<u64>,
    sent: u64,
    accepted: u64,
    error: Option<Arc<str>>,
    refusals: u64,
}

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Difference {
    resources: Vec<(Version, Arc<Resource>)>,
    removed: Vec<Arc<str>>,
    /// Hash of the state that this makes.
    state: u128,
    /// Forget the names that are not in `resources`.
    replaces: bool,
    /// Nothing is left to send after it.
    whole: bool,
}

impl Subscription {
    /// Takes the answer to a response; whether the request is about the present.
    pub(super) fn answer(&mut self, nonce: &str, refused: Option<String>) -> bool {
        if nonce.is_empty() || !self.asked {
            // the first request of a stream may answer one of the stream before
            return true;
        }
        if self.sent.to_string() != nonce {
            return false;
        }
        self.look = true;
        if self.waiting.take().is_some() {
            match refused {
                None => {
                    self.accepted = self.sent;
                    self.error = None;
                }
                Some(mut why) => {
                    why.truncate(why.floor_char_boundary(ERROR_MAX));
                    self.refusals += 1;
                    self.error = Some(why.into());
                }
            }
        }
        true
    }

    /// State of the world: all names of a request.
    pub(super) fn names(&mut self, ty: TypeUrl, names: Vec<String>) -> Result<(), Violation> {
        let first = !std::mem::replace(&mut self.asked, true);
        self.look = true;
        if ty.is_root() && names.is_empty() && (first || self.implicit) {
            (self.wants.wildcard, self.implicit) = (true, true);
            self.owed |= first;
            return Ok(());
        }
        self.implicit = false;
        let wildcard = names.iter().any(|name| name == WILDCARD);
        self.owed |= wildcard && !self.wants.wildcard;
        self.wants.wildcard = wildcard;
        let names: BTreeSet<String> = names.into_iter().filter(|n| n != WILDCARD).collect();
        let gone = |name: &Arc<str>| !names.contains(&**name);
        let gone: Vec<_> = self.wants.names.extract_if(.., |name| gone(name)).collect();
        for name in gone {
            self.name_bytes -= name.len();
            self.known.set(ty, &self.wants, &name, None);
        }
        for name in names {
            if self.add(name.into())? {
                self.owed = true;
            }
        }
        Ok(())
    }

    /// Delta: what changes about the names. Those that `target` has are taken from there.
    pub(super) fn change(
        &mut self,
        ty: TypeUrl,
        target: &Resources,
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        initial: Vec<(String, String)>,
    ) -> Result<(), Violation> {
        let first = !std::mem::replace(&mut self.asked, true);
        self.look = true;
        if initial.len() > NAMES_MAX {
            return Err(Violation("more versions than any client has resources"));
        }
        let shared = |name: String| match target.get(ty, &name) {
            Some(resource) => Arc::clone(&resource.name),
            None => name.into(),
        };
        for name in unsubscribe {
            if name == WILDCARD {
                self.known.flatten(ty, &self.wants);
                self.wants.wildcard = false;
                let names = &self.wants.names;
                self.known.retain(|name| names.contains(name));
            } else {
                // if everything is asked for, it is said once more: the client threw it away
                let name = shared(name);
                self.known.set(ty, &self.wants, &name, None);
                if self.wants.names.remove(&name) {
                    self.name_bytes -= name.len();
                }
            }
        }
        let all = first && ty.is_root() && subscribe.is_empty();
        if all || subscribe.iter().any(|name| name == WILDCARD) {
            self.owed |= !self.wants.wildcard && initial.is_empty();
            self.known.flatten(ty, &self.wants);
            self.wants.wildcard = true;
        }
        for name in subscribe.into_iter().filter(|name| name != WILDCARD) {
            // a client that asks again wants it again
            let name = shared(name);
            self.known.set(ty, &self.wants, &name, None);
            self.add(name)?;
        }
        for (name, version) in initial.into_iter().filter(|_| first) {
            if self.wants.has(&name) {
                let version = version.parse().unwrap_or(Version::OTHER);
                let known = Some(Known::Has(version));
                self.known.set(ty, &self.wants, &shared(name), known);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: Arc<str>) -> Result<bool, Violation> {
        let length = name.len();
        if !self.wants.names.insert(name) {
            return Ok(false);
        }
        self.name_bytes += length;
        if self.wants.names.len() > NAMES_MAX || self.name_bytes > NAME_BYTES_MAX {
            return Err(Violation(
                "a subscription to more names than any client has",
            ));
        }
        Ok(true)
    }

    /// What there is may have changed.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// These were sent or are to be sent again.
    pub(super) fn forget(&mut self, ty: TypeUrl, names: &[Arc<str>]) {
        for name in names {
            self.look |= self.known.set(ty, &self.wants, name, None);
        }
    }

    /// A response is not answered yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The last response was accepted, or there was none.
    pub(super) fn settled(&self) -> bool {
        self.waiting.is_none() && self.error.is_none()
    }

    /// What is asked for, with its version.
    fn wanted<'t>(
        &'t self,
        ty: TypeUrl,
        target: &'t Resources,
    ) -> impl Iterator<Item = (Version, &'t Arc<Resource>)> {
        let all = self.wants.wildcard.then(|| target.of_type(ty));
        let named = (!self.wants.wildcard).then(|| self.wants.names.iter());
        let named = named.into_iter().flatten();
        let named = named.filter_map(move |name| target.get(ty, name));
        let wanted = all.into_iter().flatten().chain(named);
        wanted.map(move |resource| (target.version(ty, resource), resource))
    }

    fn has(&self, ty: TypeUrl, name: &str, version: Version) -> bool {
        self.known.get(ty, &self.wants, name) == Some(Known::Has(version))
    }

    /// State of the world: all resources of a root type when one of them changed, otherwise those
    /// that changed. A cluster that is gone is said until it is `late`.
    pub(super) fn whole(
        &mut self,
        ty: TypeUrl,
        target: &Resources,
        late: bool,
    ) -> Option<Difference> {
        if !self.look && !self.owed {
            return None;
        }
        let mut difference = Difference {
            replaces: ty.is_root(),
            whole: true,
            ..Difference::default()
        };
        let mut changed = false;
        for (version, resource) in self.wanted(ty, target) {
            difference.state ^= version.bits();
            let known = self.has(ty, &resource.name, version);
            changed |= !known;
            if ty.is_root() || !known {
                difference.resources.push((version, Arc::clone(resource)));
            }
        }
        if !late {
            let kept = self.clusters.iter();
            let kept =
                kept.filter(|(name, _)| target.get(ty, name).is_none() && self.wants.has(name));
            for (_, (version, resource)) in kept {
                difference.state ^= version.bits();
                difference.resources.push((*version, Arc::clone(resource)));
                difference.whole = false;
            }
        }
        // what is gone is not said, unless its absence says it
        let gone = ty.is_root() && self.known.len() > difference.resources.len();
        if !ty.is_root() {
            let wants = &self.wants;
            // endpoints live as long as their cluster, which does not go at once
            let lives = |name: &str| ty == TypeUrl::Endpoints || target.get(ty, name).is_some();
            self.known.retain(|name| lives(name) && wants.has(name));
        }
        let send = changed || gone || self.owed;
        self.look = send || !difference.whole;
        send.then_some(difference)
    }

    /// Delta: what changed, and what is gone. A removal that could break what the client still
    /// uses waits for `late`; a name that never was is answered at once.
    pub(super) fn difference(
        &mut self,
        ty: TypeUrl,
        target: &Arc<Resources>,
        late: bool,
    ) -> Option<Difference> {
        if !self.look && !self.owed {
            return None;
        }
        let names = self.known.candidates(ty, target);
        if names.is_none() {
            self.known.flatten(ty, &self.wants);
        }
        let mut difference = Difference {
            whole: true,
            ..Difference::default()
        };
        match &names {
            Some(names) => {
                let asked = names.iter().filter(|name| self.wants.has(name));
                let there = asked.filter_map(|name| target.get(ty, name));
                let there = there.map(|r| (target.version(ty, r), r));
                self.compare(ty, there, &mut difference);
            }
            None => self.compare(ty, self.wanted(ty, target), &mut difference),
        }
        let held = match &names {
            Some(names) => self.absent(ty, target, late, || names.iter(), &mut difference),
            None => {
                let all = || self.wants.names.iter().chain(self.known.names());
                self.absent(ty, target, late, all, &mut difference)
            }
        };
        let send = self.owed || !difference.resources.is_empty() || !difference.removed.is_empty();
        self.look = send || held;
        if !send {
            self.known.settle(ty, &self.wants, target);
        }
        send.then_some(difference)
    }

    /// Adds those of some resources that the client has not, as far as one response goes.
    fn compare<'t>(
        &self,
        ty: TypeUrl,
        there: impl Iterator<Item = (Version, &'t Arc<Resource>)>,
        difference: &mut Difference,
    ) {
        let mut bytes = 0;
        for (version, resource) in there {
            if self.has(ty, &resource.name, version) {
                continue;
            }
            bytes += resource.body.len() + resource.name.len();
            let full = bytes > RESPONSE_BYTES_MAX && !ty.is_documents();
            if full && !difference.resources.is_empty() {
                difference.whole = false;
                break;
            }
            difference.resources.push((version, Arc::clone(resource)));
        }
    }

    /// Adds those of some names that are to be told not to be there; whether one has to wait.
    fn absent<'n, I: Iterator<Item = &'n Arc<str>>>(
        &self,
        ty: TypeUrl,
        target: &Resources,
        late: bool,
        names: impl Fn() -> I,
        difference: &mut Difference,
    ) -> bool {
        let absent = |name: &&Arc<str>| target.get(ty, name).is_none();
        let known = |name: &Arc<str>| self.known.get(ty, &self.wants, name);
        let asked = |name: &&Arc<str>| self.wants.names.contains(*name);
        let unheard = names().filter(asked).filter(|name| known(name).is_none());
        let unheard: BTreeSet<&Arc<str>> = unheard.filter(absent).collect();
        let had = names().filter(|name| matches!(known(name), Some(Known::Has(_))));
        let gone: BTreeSet<&Arc<str>> = had.filter(absent).collect();
        let held = !gone.is_empty() && !late && !ty.ends_references();
        let removed = unheard
            .into_iter()
            .chain(gone.into_iter().filter(|_| !held));
        difference.removed.extend(removed.map(Arc::clone));
        held
    }

    /// Names of resources that the client has in another version, or not.
    pub(super) fn unknown(&self, ty: TypeUrl, difference: &Difference) -> Vec<Arc<str>> {
        let changed = difference.resources.iter();
        let changed = changed.filter(|(version, r)| !self.has(ty, &r.name, *version));
        changed
            .map(|(_, resource)| Arc::clone(&resource.name))
            .collect()
    }

    /// Makes the response; from now on the client has what is in it. After a delta that is whole,
    /// that is all of `target`.
    pub(super) fn send(
        &mut self,
        ty: TypeUrl,
        nonce: u64,
        difference: Difference,
        target: Option<&Arc<Resources>>,
    ) -> Response {
        self.owed = false;
        self.look = !difference.whole || !difference.replaces;
        self.waiting = Some(nonce);
        self.sent = nonce;
        if difference.replaces {
            self.known.clear();
            self.clusters.clear();
        }
        for (version, resource) in &difference.resources {
            let known = Some(Known::Has(*version));
            self.known.set(ty, &self.wants, &resource.name, known);
            if difference.replaces && ty == TypeUrl::Cluster {
                let sent = (*version, Arc::clone(resource));
                self.clusters.insert(Arc::clone(&resource.name), sent);
            }
        }
        for name in &difference.removed {
            let asked = self.wants.names.contains(name);
            let known = asked.then_some(Known::Absent);
            self.known.set(ty, &self.wants, name, known);
        }
        let mut state = difference.state;
        if let Some(target) = target {
            state = self.known.state();
            if difference.whole {
                self.known.settle(ty, &self.wants, target);
            }
        }
        let sent = |(version, resource): (Version, Arc<Resource>)| Sent {
            version: version.to_string(),
            resource,
        };
        Response {
            ty,
            nonce: nonce.to_string(),
            version: format!("{state:032x}"),
            resources: difference.resources.into_iter().map(sent).collect(),
            removed: difference.removed,
        }
    }

    pub(super) fn status(&self, ty: TypeUrl) -> Status {
        Status {
            ty,
            sent: self.sent,
            accepted: self.accepted,
            names: (!self.wants.wildcard).then_some(self.wants.names.len()),
            error: self.error.clone(),
            refusals: self.refusals,
        }
    }
}
