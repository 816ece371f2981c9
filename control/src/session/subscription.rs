//! One type of one stream: the names that are asked for, and what the client has of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// The name that stands for everything.
const WILDCARD: &str = "*";

/// What a client has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// This version was sent.
    Has(Version),
    /// It was told that there is none.
    Absent,
}

/// The state of a type.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// A request came.
    asked: bool,
    /// Everything is asked for.
    wildcard: bool,
    /// It is, because no name was ever given.
    implicit: bool,
    names: BTreeSet<Arc<str>>,
    name_bytes: usize,
    known: BTreeMap<Arc<str>, Known>,
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
            (self.wildcard, self.implicit) = (true, true);
            self.owed |= first;
            return Ok(());
        }
        self.implicit = false;
        let wildcard = names.iter().any(|name| name == WILDCARD);
        self.owed |= wildcard && !self.wildcard;
        self.wildcard = wildcard;
        let names: BTreeSet<String> = names.into_iter().filter(|n| n != WILDCARD).collect();
        let gone = |name: &Arc<str>| !names.contains(&**name);
        for name in self.names.extract_if(.., |name| gone(name)) {
            self.name_bytes -= name.len();
            self.known.remove(&name);
        }
        for name in names {
            if self.add(name.into())? {
                self.owed = true;
            }
        }
        Ok(())
    }

    /// Delta: what changes about the names.
    pub(super) fn change(
        &mut self,
        ty: TypeUrl,
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        initial: Vec<(String, String)>,
    ) -> Result<(), Violation> {
        let first = !std::mem::replace(&mut self.asked, true);
        self.look = true;
        if initial.len() > NAMES_MAX {
            return Err(Violation("more versions than any client has resources"));
        }
        for name in unsubscribe {
            if name == WILDCARD {
                self.wildcard = false;
                let names = &self.names;
                self.known.retain(|name, _| names.contains(name));
            } else {
                if self.names.remove(&*name) {
                    self.name_bytes -= name.len();
                }
                // if everything is asked for, it is said once more: the client threw it away
                self.known.remove(&*name);
            }
        }
        let all = first && ty.is_root() && subscribe.is_empty();
        if all || subscribe.iter().any(|name| name == WILDCARD) {
            self.owed |= !self.wildcard && initial.is_empty();
            self.wildcard = true;
        }
        for name in subscribe.into_iter().filter(|name| name != WILDCARD) {
            // a client that asks again wants it again
            self.known.remove(&*name);
            self.add(name.into())?;
        }
        for (name, version) in initial.into_iter().filter(|_| first) {
            if self.wildcard || self.names.contains(&*name) {
                let version = version.parse().unwrap_or(Version::OTHER);
                self.known.insert(name.into(), Known::Has(version));
            }
        }
        Ok(())
    }

    fn add(&mut self, name: Arc<str>) -> Result<bool, Violation> {
        let length = name.len();
        if !self.names.insert(name) {
            return Ok(false);
        }
        self.name_bytes += length;
        if self.names.len() > NAMES_MAX || self.name_bytes > NAME_BYTES_MAX {
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
    pub(super) fn forget(&mut self, names: &[Arc<str>]) {
        for name in names {
            if self.known.remove(name).is_some() {
                self.look = true;
            }
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
        let all = self.wildcard.then(|| target.of_type(ty));
        let named = (!self.wildcard).then(|| self.names.iter());
        let named = named.into_iter().flatten();
        let named = named.filter_map(move |name| target.get(ty, name));
        let wanted = all.into_iter().flatten().chain(named);
        wanted.map(move |resource| (target.version(ty, resource), resource))
    }

    fn has(&self, name: &str, version: Version) -> bool {
        self.known.get(name) == Some(&Known::Has(version))
    }

    /// State of the world: all resources of a root type when one of them changed, otherwise those
    /// that changed.
    pub(super) fn whole(&mut self, ty: TypeUrl, target: &Resources) -> Option<Difference> {
        if !self.look && !self.owed {
            return None;
        }
        let mut difference = Difference {
            replaces: ty.is_root(),
            whole: true,
            ..Difference::default()
        };
        let (mut count, mut changed) = (0, false);
        for (version, resource) in self.wanted(ty, target) {
            count += 1;
            difference.state ^= version.bits();
            let known = self.has(&resource.name, version);
            changed |= !known;
            if ty.is_root() || !known {
                difference.resources.push((version, Arc::clone(resource)));
            }
        }
        // what is gone is not said, unless its absence says it
        let gone = self.known.len() > count && ty.is_root();
        if !ty.is_root() {
            let wildcard = self.wildcard;
            let names = &self.names;
            self.known.retain(|name, _| {
                target.get(ty, name).is_some() && (wildcard || names.contains(name))
            });
        }
        let send = changed || gone || self.owed;
        self.look = send;
        send.then_some(difference)
    }

    /// Delta: what changed, and what is gone. A removal that could break what the client still
    /// uses waits for `late`; a name that never was is answered at once.
    pub(super) fn difference(
        &mut self,
        ty: TypeUrl,
        target: &Resources,
        late: bool,
    ) -> Option<Difference> {
        if !self.look && !self.owed {
            return None;
        }
        let mut difference = Difference {
            whole: true,
            ..Difference::default()
        };
        let mut bytes = 0;
        for (version, resource) in self.wanted(ty, target) {
            difference.state ^= version.bits();
            if self.has(&resource.name, version) {
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
        let absent = |name: &Arc<str>| target.get(ty, name).is_none();
        let unheard = self
            .names
            .iter()
            .filter(|name| !self.known.contains_key(*name));
        difference
            .removed
            .extend(unheard.filter(|n| absent(n)).cloned());
        let had = self
            .known
            .iter()
            .filter(|(_, known)| matches!(known, Known::Has(_)));
        let gone = had.map(|(name, _)| name).filter(|name| absent(name));
        let mut gone = gone.cloned().peekable();
        let held = gone.peek().is_some() && !late && !ty.ends_references();
        if !held {
            difference.removed.extend(gone);
        }
        let send = self.owed || !difference.resources.is_empty() || !difference.removed.is_empty();
        self.look = send || held;
        send.then_some(difference)
    }

    /// Names of resources that the client has in another version, or not.
    pub(super) fn unknown(&self, difference: &Difference) -> Vec<Arc<str>> {
        let changed = difference.resources.iter();
        let changed = changed.filter(|(version, r)| !self.has(&r.name, *version));
        changed
            .map(|(_, resource)| Arc::clone(&resource.name))
            .collect()
    }

    /// Makes the response; from now on the client has what is in it.
    pub(super) fn send(&mut self, ty: TypeUrl, nonce: u64, difference: Difference) -> Response {
        self.owed = false;
        self.look = !difference.whole || !difference.replaces;
        self.waiting = Some(nonce);
        self.sent = nonce;
        if difference.replaces {
            self.known.clear();
        }
        for (version, resource) in &difference.resources {
            let known = Known::Has(*version);
            self.known.insert(Arc::clone(&resource.name), known);
        }
        for name in &difference.removed {
            if self.names.contains(name) {
                self.known.insert(Arc::clone(name), Known::Absent);
            } else {
                self.known.remove(name);
            }
        }
        let sent = |(version, resource): (Version, Arc<Resource>)| Sent {
            version: version.to_string(),
            resource,
        };
        Response {
            ty,
            nonce: nonce.to_string(),
            version: format!("{:032x}", difference.state),
            resources: difference.resources.into_iter().map(sent).collect(),
            removed: difference.removed,
        }
    }

    pub(super) fn status(&self, ty: TypeUrl) -> Status {
        Status {
            ty,
            sent: self.sent,
            accepted: self.accepted,
            names: (!self.wildcard).then_some(self.names.len()),
            error: self.error.clone(),
            refusals: self.refusals,
        }
    }
}
