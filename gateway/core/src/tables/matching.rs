//! Conditions of a rule beside its path, compiled.

use super::pattern::Patterns;
use crate::admit::Claims;
use crate::call::Call;
use regex::bytes::Regex;
use sallyport_config::ir::{ClaimMatch, HeaderMatch, Matcher, PathMatch, QueryMatch, ValueMatch};
use smallvec::SmallVec;

/// All conditions of a rule, in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Conditions {
    path: PathTest,
    others: Box<[Condition]>,
}

/// The condition on the path.
#[derive(Debug)]
enum PathTest {
    Any,
    /// The flag: ASCII case is ignored.
    Exact(Box<str>, bool),
    /// The flag: ASCII case is ignored.
    Prefix(Box<str>, bool),
    Regex(Test),
}

/// One condition beside the path.
#[derive(Debug)]
pub(crate) enum Condition {
    Method(Test),
    Authority(Test),
    Scheme(Test),
    Header(Header),
    Query(Box<str>, Test),
    Claim(Box<[String]>, Test, bool),
}

/// A condition on a header.
#[derive(Debug)]
pub(crate) struct Header {
    name: Box<str>,
    test: Test,
    invert: bool,
}

/// A condition on a value.
#[derive(Debug)]
pub(crate) enum Test {
    Present,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Regex),
    /// A regex that does not compile matches nothing; its rule is broken in the snapshot.
    Never,
}

impl Conditions {
    pub(super) fn new(matcher: &Matcher, patterns: &mut Patterns) -> Self {
        let path = PathTest::new(&matcher.path, patterns);
        let mut others = Vec::new();
        let mut plain = |condition: &Option<ValueMatch>, kind: fn(Test) -> Condition| {
            others.extend(condition.iter().map(|c| kind(Test::new(c, patterns))));
        };
        plain(&matcher.method, Condition::Method);
        plain(&matcher.authority, Condition::Authority);
        plain(&matcher.scheme, Condition::Scheme);
        for HeaderMatch {
            name,
            value,
            invert,
        } in &matcher.headers
        {
            others.push(Condition::Header(Header {
                name: name.as_str().into(),
                test: Test::new(value, patterns),
                invert: *invert,
            }));
        }
        for QueryMatch { name, value } in &matcher.query {
            let test = Test::new(value, patterns);
            others.push(Condition::Query(name.as_str().into(), test));
        }
        for ClaimMatch {
            path,
            value,
            invert,
        } in &matcher.claims
        {
            let test = Test::new(value, patterns);
            others.push(Condition::Claim(path.clone().into(), test, *invert));
        }
        Self {
            path,
            others: others.into(),
        }
    }

    /// Whether a call meets all conditions.
    pub(super) fn hold(&self, call: &Call<'_>, claims: &Claims) -> bool {
        self.path_holds(call.path) && self.first_failed(call, claims).is_none()
    }

    /// Whether a call that the path index let through meets all conditions: of the path, the
    /// index has seen to all but a regex.
    pub(super) fn hold_for_candidate(&self, call: &Call<'_>, claims: &Claims) -> bool {
        let path = match &self.path {
            PathTest::Regex(test) => test.holds(call.path.as_bytes()),
            PathTest::Any | PathTest::Exact(..) | PathTest::Prefix(..) => true,
        };
        path && self.first_failed(call, claims).is_none()
    }

    /// Whether the path meets its condition.
    pub(crate) fn path_holds(&self, path: &str) -> bool {
        self.path.holds(path)
    }

    /// Position of the first condition beside the path that a call does not meet: conditions are
    /// in the order of [`Matcher`]'s fields.
    pub(crate) fn first_failed(&self, call: &Call<'_>, claims: &Claims) -> Option<usize> {
        let mut others = self.others.iter();
        others.position(|condition| !condition.holds(call, claims))
    }
}

impl PathTest {
    fn new(path: &PathMatch, patterns: &mut Patterns) -> Self {
        match path {
            PathMatch::Any => Self::Any,
            PathMatch::Exact { path, ignore_case } => {
                Self::Exact(path.as_str().into(), *ignore_case)
            }
            PathMatch::Prefix {
                prefix,
                ignore_case,
            } => Self::Prefix(prefix.as_str().into(), *ignore_case),
            PathMatch::Regex(pattern) => Self::Regex(Test::regex(pattern, patterns)),
        }
    }

    fn holds(&self, path: &str) -> bool {
        let path = path.as_bytes();
        let same = |a: &[u8], b: &str, fold: bool| {
            let b = b.as_bytes();
            if fold {
                a.eq_ignore_ascii_case(b)
            } else {
                a == b
            }
        };
        match self {
            Self::Any => true,
            Self::Exact(wanted, fold) => same(path, wanted, *fold),
            Self::Prefix(wanted, fold) => path
                .get(..wanted.len())
                .is_some_and(|head| same(head, wanted, *fold)),
            Self::Regex(test) => test.holds(path),
        }
    }
}

impl Test {
    pub(crate) fn new(condition: &ValueMatch, patterns: &mut Patterns) -> Self {
        match condition {
            ValueMatch::Present => Self::Present,
            ValueMatch::Exact(text) => Self::Exact(text.as_bytes().into()),
            ValueMatch::Prefix(text) => Self::Prefix(text.as_bytes().into()),
            ValueMatch::Regex(pattern) => Self::regex(pattern, patterns),
        }
    }

    fn regex(pattern: &str, patterns: &mut Patterns) -> Self {
        patterns.whole(pattern).map_or(Self::Never, Self::Regex)
    }

    pub(crate) fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(text) => **text == *value,
            Self::Prefix(text) => value.starts_with(text),
            Self::Regex(regex) => regex.is_match(value),
            Self::Never => false,
        }
    }
}

impl Condition {
    fn holds(&self, call: &Call<'_>, claims: &Claims) -> bool {
        match self {
            Self::Method(test) => test.holds(call.method.as_bytes()),
            Self::Authority(test) => test.holds(call.authority.as_bytes()),
            Self::Scheme(test) => test.holds(call.scheme.as_str().as_bytes()),
            Self::Header(header) => header.holds(call),
            Self::Query(name, test) => {
                query_value(call.query, name).is_some_and(|value| test.holds(value.as_bytes()))
            }
            Self::Claim(path, test, invert) => {
                claims.any(path, |value| test.holds(value.as_bytes())) != *invert
            }
        }
    }
}

impl Header {
    /// Several lines: true if any line matches; inverted: false if any line matches, and an absent
    /// header counts as an empty value, except that absence is what an inverted presence demands.
    fn holds(&self, call: &Call<'_>) -> bool {
        let mut present = false;
        let matched = any_line(call, &self.name, &mut |line| {
            present = true;
            self.test.holds(line)
        });
        match (&self.test, self.invert) {
            (_, false) => matched,
            (Test::Present, true) => !present,
            (test, true) if !present => !test.holds(b""),
            (_, true) => !matched,
        }
    }
}

/// Calls `visit` with each line of a field or pseudo field until it says `true`.
pub(crate) fn any_line(call: &Call<'_>, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    match name {
        ":method" => visit(call.method.as_bytes()),
        ":authority" | "host" => visit(call.authority.as_bytes()),
        ":scheme" => visit(call.scheme.as_str().as_bytes()),
        ":path" => match call.query {
            None => visit(call.path.as_bytes()),
            Some(query) => {
                let mut whole: SmallVec<[u8; 256]> = SmallVec::from_slice(call.path.as_bytes());
                whole.push(b'?');
                whole.extend_from_slice(query.as_bytes());
                visit(&whole)
            }
        },
        name => call.headers.any(name, visit),
    }
}

/// Value of the first parameter with this name, undecoded; without `=` it is empty.
pub(crate) fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query?.split('&');
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parameter_of_a_name_counts_undecoded() {
        for (query, want) in [
            (None, None),
            (Some(""), None),
            (Some("e"), Some("")),
            (Some("e="), Some("")),
            (Some("a=1&e=%20&e=2"), Some("%20")),
            (Some("E=1"), None),
            (Some("?e=1"), None),
            (Some("e=a=b"), Some("a=b")),
        ] {
            assert_eq!(query_value(query, "e"), want, "{query:?}");
        }
    }
}
