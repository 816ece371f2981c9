//! Where rules are filed: by host, by first path segment, or with those that name neither.

use super::check::Facts;
use sallyport_config::ir::{
    Conditions, PathPattern, PathSegment, PolicyRule, PolicyTest, TextMatch, TextOf,
};
use std::collections::HashMap;

/// Rules by what they ask for.
#[derive(Debug, Default)]
pub(super) struct File {
    by_host: HashMap<Box<[u8]>, Vec<Entry>>,
    by_segment: HashMap<Box<[u8]>, Vec<Entry>>,
    others: Vec<Entry>,
}

/// A rule by one of its operations. Lists are in the order of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) rule: usize,
    /// `None`: the rule names none.
    pub(super) operation: Option<usize>,
}

impl File {
    pub(super) fn add(&mut self, rule: usize, policy: &PolicyRule) {
        if policy.to.is_empty() {
            let operation = None;
            self.others.push(Entry { rule, operation });
        }
        for (index, conditions) in policy.to.iter().enumerate() {
            let operation = Some(index);
            self.operation(Entry { rule, operation }, conditions);
        }
    }

    fn operation(&mut self, entry: Entry, conditions: &Conditions) {
        let hosts = keys(conditions, |test| match test {
            PolicyTest::Text(TextOf::Host, values) => Some(values.iter().map(host_key).collect()),
            _ => None,
        });
        if let Some(keys) = hosts {
            return file(&mut self.by_host, entry, keys);
        }
        let segments = keys(conditions, |test| match test {
            PolicyTest::Path(patterns) => Some(patterns.iter().map(segment_key).collect()),
            _ => None,
        });
        match segments {
            Some(keys) => file(&mut self.by_segment, entry, keys),
            None => self.others.push(entry),
        }
    }

    /// The lists that a call has to ask.
    pub(super) fn lists<'f>(
        &'f self,
        facts: &Facts<'_>,
    ) -> impl Iterator<Item = &'f [Entry]> + use<'f> {
        let host = self.by_host.get(host(&facts.authority));
        let segment = self.by_segment.get(segment(facts.path()));
        let filed = host.into_iter().chain(segment).map(Vec::as_slice);
        filed.chain([self.others.as_slice()])
    }
}

/// Keys of the first condition that `of` knows, if each of its values has one.
fn keys(
    conditions: &Conditions,
    of: impl Fn(&PolicyTest) -> Option<Vec<Option<Box<[u8]>>>>,
) -> Option<Vec<Box<[u8]>>> {
    let wanted = conditions.iter().filter(|condition| !condition.negated);
    let mut known = wanted.filter_map(|condition| of(&condition.test));
    known.find_map(|keys| keys.into_iter().collect())
}

fn file(to: &mut HashMap<Box<[u8]>, Vec<Entry>>, entry: Entry, keys: Vec<Box<[u8]>>) {
    for key in keys {
        let list = to.entry(key).or_default();
        if list.last() != Some(&entry) {
            list.push(entry);
        }
    }
}

/// The host of an authority: up to the first colon, or to the closing bracket.
fn host(authority: &[u8]) -> &[u8] {
    let end = match authority.first() {
        Some(b'[') => authority.iter().position(|b| *b == b']').map(|at| at + 1),
        _ => authority.iter().position(|b| *b == b':'),
    };
    authority
        .get(..end.unwrap_or(authority.len()))
        .unwrap_or_default()
}

fn host_key(value: &TextMatch) -> Option<Box<[u8]>> {
    match value {
        TextMatch::Exact(text) => Some(host(text.as_bytes()).into()),
        // whatever begins so has this host only if the host ends in it
        TextMatch::Prefix(text) => {
            let key = host(text.as_bytes());
            let whole = key.len() < text.len() || key.last() == Some(&b']');
            whole.then(|| key.into())
        }
        TextMatch::Suffix(_) | TextMatch::Present => None,
    }
}

/// The first segment of a path.
fn segment(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.split(|byte| *byte == b'/').next().unwrap_or_default()
}

fn segment_key(pattern: &PathPattern) -> Option<Box<[u8]>> {
    let key = match pattern {
        PathPattern::Text(TextMatch::Exact(text)) => segment(text.as_bytes()),
        PathPattern::Text(TextMatch::Prefix(text)) => {
            let behind = text.strip_prefix('/')?;
            behind.contains('/').then(|| segment(text.as_bytes()))?
        }
        PathPattern::Template(segments) => match segments.first()? {
            PathSegment::Literal(text) => text.as_bytes(),
            PathSegment::One | PathSegment::Any => return None,
        },
        PathPattern::Text(TextMatch::Suffix(_) | TextMatch::Present) => return None,
    };
    Some(key.into())
}
