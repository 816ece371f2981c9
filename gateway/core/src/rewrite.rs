//! Rewrites of the path: by prefix, whole, by regex. The query is never touched.

use crate::tables::Patterns;
use regex::bytes::{Captures, Regex};
use sallyport_config::ir::PathRewrite;

/// A path on its way to the upstream or into a `location`, without query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Path<'t> {
    /// As the client sent it.
    #[default]
    Kept,
    /// `with`, followed by what the client's path has from byte `from`: costs no allocation.
    Spliced {
        /// New beginning.
        with: &'t str,
        /// Where the kept tail of the client's path begins.
        from: usize,
    },
    /// All new.
    Owned(String),
}

impl Path<'_> {
    /// Whether the client's path goes on unchanged.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        *self == Self::Kept
    }

    /// The parts of the new path, given the client's.
    #[must_use]
    pub fn parts<'a>(&'a self, path: &'a str) -> [&'a str; 2] {
        match self {
            Self::Kept => [path, ""],
            Self::Spliced { with, from } => [with, path.get(*from..).unwrap_or_default()],
            Self::Owned(owned) => [owned, ""],
        }
    }

    /// Appends the new path and the query, given the client's.
    pub fn write(&self, path: &str, query: Option<&str>, out: &mut Vec<u8>) {
        for part in self.parts(path) {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
    }
}

/// A compiled rewrite.
#[derive(Debug)]
pub(crate) enum PathRule {
    /// The first bytes go, others take their place.
    Prefix { length: usize, to: Box<str> },
    /// Everything goes.
    Full(Box<str>),
    /// Every match goes.
    Regex(Regex, Box<[Bit]>),
    /// A regex that does not compile changes nothing.
    Nothing,
}

/// A part of RE2's rewrite syntax.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bit {
    Text(String),
    /// `\0` to `\9`; a group that the pattern does not have is empty.
    Group(usize),
}

impl PathRule {
    pub(crate) fn new(rewrite: &PathRewrite, patterns: &mut Patterns) -> Self {
        match rewrite {
            PathRewrite::Prefix { from, to } => Self::Prefix {
                length: from.len(),
                to: to.as_str().into(),
            },
            PathRewrite::Full(to) => Self::Full(absolute(to.clone()).into()),
            PathRewrite::Regex { pattern, to } => patterns
                .part(pattern)
                .map_or(Self::Nothing, |regex| Self::Regex(regex, bits(to))),
        }
    }

    /// The path that comes out. It begins with `/`, whatever the rule says: anything else would
    /// not be a request.
    pub(crate) fn apply(&self, path: &str) -> Path<'_> {
        match self {
            Self::Prefix { length, to } => splice(to, path, *length),
            Self::Full(to) => Path::Spliced {
                with: to,
                from: path.len(),
            },
            Self::Regex(regex, to) => {
                let new =
                    regex.replace_all(path.as_bytes(), |groups: &Captures<'_>| expand(to, groups));
                Path::Owned(absolute(String::from_utf8_lossy(&new).into_owned()))
            }
            Self::Nothing => Path::Owned(absolute(path.to_owned())),
        }
    }

    /// Whether the whole path is replaced by one with a query of its own: then a redirect drops
    /// the request's.
    pub(crate) fn has_query(&self) -> bool {
        matches!(self, Self::Full(to) if to.contains('?'))
    }
}

/// Bytes are joined as they are, but two slashes never lead: `/v3` → `/` makes `/x` of `/v3/x`.
fn splice<'t>(to: &'t str, path: &str, from: usize) -> Path<'t> {
    let rest = path.get(from..).unwrap_or_default();
    match (to.strip_prefix('/'), rest.starts_with('/')) {
        (Some(""), true) => Path::Spliced { with: "", from },
        (Some(tail), _) if tail.starts_with('/') => Path::Spliced { with: tail, from },
        (Some(_), _) => Path::Spliced { with: to, from },
        (None, true) if to.is_empty() && rest.starts_with("//") => Path::Spliced {
            with: "",
            from: from + 1,
        },
        (None, true) if to.is_empty() => Path::Spliced { with: "", from },
        (None, _) if to.is_empty() => Path::Spliced { with: "/", from },
        (None, _) => Path::Owned(format!("/{to}{rest}")),
    }
}

fn absolute(path: String) -> String {
    if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    }
}

fn bits(to: &str) -> Box<[Bit]> {
    let mut bits = Vec::new();
    let mut text = String::new();
    let mut chars = to.chars();
    while let Some(char) = chars.next() {
        let (group, literal) = match char {
            '\\' => match chars.next() {
                Some(digit) if digit.is_ascii_digit() => (digit.to_digit(10), None),
                other => (None, other),
            },
            other => (None, Some(other)),
        };
        text.extend(literal);
        if let Some(group) = group.and_then(|group| usize::try_from(group).ok()) {
            bits.push(Bit::Text(std::mem::take(&mut text)));
            bits.push(Bit::Group(group));
        }
    }
    bits.push(Bit::Text(text));
    bits.retain(|bit| *bit != Bit::Text(String::new()));
    bits.into()
}

fn expand(to: &[Bit], groups: &Captures<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for bit in to {
        match bit {
            Bit::Text(text) => out.extend_from_slice(text.as_bytes()),
            Bit::Group(group) => {
                out.extend_from_slice(groups.get(*group).map_or(b"", |found| found.as_bytes()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(rewrite: &PathRewrite, path: &str) -> String {
        let rule = PathRule::new(rewrite, &mut Patterns::default());
        rule.apply(path).parts(path).concat()
    }

    #[test]
    fn a_prefix_is_replaced_byte_by_byte() {
        for (from, to, path, want) in [
            ("/v3", "/", "/v3/x", "/x"),
            ("/v3", "/", "/v3", "/"),
            ("/v3", "/", "/v3x", "/x"),
            ("/v2/", "/", "/v2/x/y", "/x/y"),
            ("/v2/", "/", "/v2//x", "/x"),
            ("/v2", "/new/", "/v2/x", "/new//x"),
            ("/v2", "//n", "/v2/x", "/n/x"),
            ("/v2", "", "/v2/x", "/x"),
            ("/v2", "", "/v2//x", "/x"),
            ("/v2", "", "/v2", "/"),
            ("/v2", "", "/v2x", "/x"),
            ("/v2", "n", "/v2/x", "/n/x"),
            ("/", "/api/", "/x", "/api/x"),
        ] {
            let rewrite = PathRewrite::Prefix {
                from: from.to_owned(),
                to: to.to_owned(),
            };
            assert_eq!(rewritten(&rewrite, path), want, "{from} -> {to} on {path}");
        }
    }

    #[test]
    fn a_regex_is_replaced_wherever_it_matches() {
        for (pattern, to, path, want) in [
            ("/user/([0-9]+)", r"/u/\1", "/user/42/user/7", "/u/42/u/7"),
            ("a(b)", r"\1\\\2", "/ab", r"/b\"),
            ("^/x", "", "/x", "/"),
            ("^/x", "y", "/x/z", "/y/z"),
            ("(", "y", "/x", "/x"),
            (r"\d", "<\\0>", "/1٢", "/<1>٢"),
        ] {
            let rewrite = PathRewrite::Regex {
                pattern: pattern.to_owned(),
                to: to.to_owned(),
            };
            assert_eq!(rewritten(&rewrite, path), want, "{pattern} on {path}");
        }
    }

    #[test]
    fn a_whole_path_keeps_nothing_but_the_query() {
        let rule = PathRule::new(
            &PathRewrite::Full("/new".to_owned()),
            &mut Patterns::default(),
        );
        let mut out = Vec::new();
        rule.apply("/old").write("/old", Some("a=b"), &mut out);
        assert_eq!(out, b"/new?a=b");
    }
}
