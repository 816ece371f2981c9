//! What policies change of a request: tokens are taken out, claims are put in.

use crate::call::HeaderLines;
use crate::plan::EditSink;

/// Changes of a request by policies. Later policies and routes see the outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestEdits {
    /// Lower-case names, `_` written as `-`: an alias passes some origins as the same name.
    removed: Vec<Box<str>>,
    /// Lower-case names.
    added: Vec<(Box<str>, Box<str>)>,
    /// The query, if it changed.
    query: Option<Option<Box<str>>>,
}

impl RequestEdits {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.query.is_none()
    }

    /// The query as everybody behind the policies sees it.
    #[must_use]
    pub fn query<'a>(&'a self, sent: Option<&'a str>) -> Option<&'a str> {
        match &self.query {
            Some(changed) => changed.as_deref(),
            None => sent,
        }
    }

    /// Calls the sink with every change of the fields.
    pub fn apply(&self, sink: &mut dyn EditSink) {
        for name in &self.removed {
            sink.remove_like(name);
        }
        for (name, value) in &self.added {
            sink.set(name, value.as_bytes());
        }
    }

    /// Takes a field out, and its aliases.
    pub(super) fn remove(&mut self, name: &str) {
        if !self.removed.iter().any(|removed| same_name(removed, name)) {
            self.removed.push(name.into());
        }
    }

    /// Puts a field in, in place of all others of its name.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.added.retain(|(added, _)| **added != *name);
        self.added.push((name.into(), value.into()));
    }

    /// Changes the query.
    pub(super) fn set_query(&mut self, query: Option<String>) {
        self.query = Some(query.map(Into::into));
    }

    /// The fields as they will be.
    pub(super) fn view<'a>(&'a self, sent: &'a dyn HeaderLines) -> Edited<'a> {
        Edited { sent, edits: self }
    }
}

/// Fields with changes.
#[derive(Clone, Copy)]
pub(super) struct Edited<'a> {
    sent: &'a dyn HeaderLines,
    edits: &'a RequestEdits,
}

impl Edited<'_> {
    fn hides(&self, name: &str) -> bool {
        let mut removed = self.edits.removed.iter();
        removed.any(|removed| same_name(removed, name))
    }

    fn added(&self, name: &str) -> Option<&[u8]> {
        let mut added = self.edits.added.iter();
        let (_, value) = added.find(|(added, _)| **added == *name)?;
        Some(value.as_bytes())
    }
}

impl HeaderLines for Edited<'_> {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        match self.added(name) {
            Some(value) => visit(value),
            None => !self.hides(name) && self.sent.any(name, visit),
        }
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        match self.added(name) {
            Some(value) => Some(value),
            None if self.hides(name) => None,
            None => self.sent.first(name),
        }
    }
}

/// Whether two lower-case names are the same to an origin that takes `_` for `-`.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    let dash = |byte: u8| if byte == b'_' { b'-' } else { byte };
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| dash(a) == dash(b))
}
