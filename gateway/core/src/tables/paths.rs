//! Which rules of a host can match a path at all, in the order of the rules.
//!
//! Istio's rule is "first match in order"; an index must not change that. So each rule is filed
//! under what its path must be or begin with, the few lists that a path can reach are merged by
//! position, and whoever asks stops at the first rule whose other conditions hold.

use super::affix::{AffixMap, Side};
use super::pattern::literal_prefix;
use sallyport_config::ir::{PathMatch, Route};
use smallvec::SmallVec;

/// Positions of rules by path.
#[derive(Debug)]
pub(super) struct PathIndex {
    sensitive: Keys,
    folded: Keys,
    /// Rules that any path can reach.
    rest: Box<[u32]>,
}

#[derive(Debug)]
struct Keys {
    map: AffixMap,
    lists: Vec<Lists>,
}

/// Rules filed under one key, ascending.
#[derive(Debug, Default)]
struct Lists {
    /// The path must be the key.
    exact: Vec<u32>,
    /// The path must begin with the key.
    prefix: Vec<u32>,
}

/// How a rule is filed.
enum Key<'a> {
    Any,
    Exact(&'a str, bool),
    Prefix(&'a str, bool),
    Begins(String),
}

impl PathIndex {
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut sensitive = Keys::new(false);
        let mut folded = Keys::new(true);
        let mut rest = Vec::new();
        for (position, route) in (0..).zip(routes) {
            let mut file = |key: &str, fold: bool, exact: bool| {
                let keys = if fold { &mut folded } else { &mut sensitive };
                keys.file(key, exact, position);
            };
            match key(&route.matcher.path) {
                Key::Any => rest.push(position),
                Key::Exact(path, fold) => file(path, fold, true),
                Key::Prefix(prefix, fold) => file(prefix, fold, false),
                Key::Begins(prefix) => file(&prefix, false, false),
            }
        }
        Self {
            sensitive,
            folded,
            rest: rest.into(),
        }
    }

    /// Positions of the rules that this path can reach, ascending.
    pub(super) fn candidates<'i>(&'i self, path: &str) -> Candidates<'i> {
        let mut lists = SmallVec::new();
        self.sensitive.reach(path, &mut lists);
        self.folded.reach(path, &mut lists);
        if !self.rest.is_empty() {
            lists.push(&*self.rest);
        }
        Candidates { lists }
    }
}

fn key(path: &PathMatch) -> Key<'_> {
    match path {
        PathMatch::Any => Key::Any,
        PathMatch::Exact { path, ignore_case } => Key::Exact(path, *ignore_case),
        PathMatch::Prefix {
            prefix,
            ignore_case,
        } => Key::Prefix(prefix, *ignore_case),
        PathMatch::Regex(pattern) => match literal_prefix(pattern) {
            prefix if prefix.is_empty() => Key::Any,
            prefix => Key::Begins(prefix),
        },
    }
}

impl Keys {
    fn new(fold: bool) -> Self {
        Self {
            map: AffixMap::new(Side::Front, fold),
            lists: Vec::new(),
        }
    }

    fn file(&mut self, key: &str, exact: bool, position: u32) {
        let fresh = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        let at = self.map.insert(key.as_bytes(), fresh);
        if at == fresh {
            self.lists.push(Lists::default());
        }
        if let Some(lists) = usize::try_from(at)
            .ok()
            .and_then(|at| self.lists.get_mut(at))
        {
            let list = if exact {
                &mut lists.exact
            } else {
                &mut lists.prefix
            };
            list.push(position);
        }
    }

    fn reach<'i>(&'i self, path: &str, found: &mut SmallVec<[&'i [u32]; 8]>) {
        self.map.visit(path.as_bytes(), |at, length| {
            let lists = usize::try_from(at).ok().and_then(|at| self.lists.get(at));
            let Some(lists) = lists else {
                return;
            };
            if !lists.prefix.is_empty() {
                found.push(&lists.prefix);
            }
            if length == path.len() && !lists.exact.is_empty() {
                found.push(&lists.exact);
            }
        });
    }
}

/// Ascending lists, merged while they are read.
#[derive(Debug)]
pub(super) struct Candidates<'i> {
    lists: SmallVec<[&'i [u32]; 8]>,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let list = self
            .lists
            .iter_mut()
            .filter(|list| !list.is_empty())
            .min_by_key(|list| list.first().copied())?;
        let (first, rest) = list.split_first()?;
        *list = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::tests::route;

    fn exact(path: &str, ignore_case: bool) -> PathMatch {
        PathMatch::Exact {
            path: path.to_owned(),
            ignore_case,
        }
    }

    fn prefix(prefix: &str, ignore_case: bool) -> PathMatch {
        PathMatch::Prefix {
            prefix: prefix.to_owned(),
            ignore_case,
        }
    }

    #[test]
    fn candidates_come_in_the_order_of_the_rules() {
        let matches = [
            prefix("/v2/", false),
            exact("/v2/x", false),
            PathMatch::Any,
            prefix("/V2", true),
            PathMatch::Regex("/v[0-9]/.*".to_owned()),
            prefix("/v", false),
            PathMatch::Regex(".*y".to_owned()),
            exact("/V2/X", true),
        ];
        let routes: Vec<_> = matches.into_iter().map(route).collect();
        let index = PathIndex::new(&routes);
        for (path, want) in [
            ("/v2/x", vec![0, 1, 2, 3, 4, 5, 6, 7]),
            ("/v2/xy", vec![0, 2, 3, 4, 5, 6]),
            ("/V2/x", vec![2, 3, 6, 7]),
            ("/", vec![2, 6]),
            ("*", vec![2, 6]),
        ] {
            let found: Vec<u32> = index.candidates(path).collect();
            assert_eq!(found, want, "{path}");
        }
    }
}
