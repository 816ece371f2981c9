//! Conditions that nearly always almost match.

use super::{PATHS, VALUES};
use crate::agreement::dice::Bytes;
use sallyport_config::ir::*;

const PATH_PATTERNS: &[&str] = &[
    "/a.*", "/[ab]/.*", ".*", "/a|/ab", "/(a|b)+", r"/\d+", "(?i)/a", "(", r"/a\.?b", "/a/?b",
    "/x(y)|/a", "", "^/a/b$",
];

const VALUE_PATTERNS: &[&str] = &["x.*", ".*", ".+", "[xy]+", r"\w+", "(", "", "x|y"];

pub(super) fn matcher(bytes: &mut Bytes<'_>) -> Matcher {
    Matcher {
        path: path(bytes),
        method: bytes.maybe(10, |bytes| one_of(&["GET", "OPTIONS", "P"], bytes)),
        authority: bytes.maybe(8, |bytes| one_of(&["a.com", "a.com:80", "A"], bytes)),
        scheme: bytes.maybe(8, |bytes| one_of(&["http", "https"], bytes)),
        headers: rarely(bytes, header),
        query: rarely(bytes, query),
        claims: rarely(bytes, claim),
    }
}

fn rarely<T>(bytes: &mut Bytes<'_>, make: fn(&mut Bytes<'_>) -> T) -> Vec<T> {
    bytes
        .maybe(15, |bytes| bytes.some(2, make))
        .unwrap_or_default()
}

fn path(bytes: &mut Bytes<'_>) -> PathMatch {
    match bytes.below(10) {
        0..=2 => PathMatch::Any,
        3 | 4 => PathMatch::Exact {
            path: bytes.text(PATHS),
            ignore_case: bytes.chance(20),
        },
        5..=8 => PathMatch::Prefix {
            prefix: bytes.text(PATHS),
            ignore_case: bytes.chance(20),
        },
        _ => PathMatch::Regex(bytes.text(PATH_PATTERNS)),
    }
}

fn one_of(values: &[&'static str], bytes: &mut Bytes<'_>) -> ValueMatch {
    match bytes.below(3) {
        0 => ValueMatch::Present,
        1 => ValueMatch::Prefix(bytes.text(values)),
        _ => ValueMatch::Exact(bytes.text(values)),
    }
}

fn value(bytes: &mut Bytes<'_>) -> ValueMatch {
    if bytes.chance(20) {
        ValueMatch::Regex(bytes.text(VALUE_PATTERNS))
    } else {
        one_of(VALUES, bytes)
    }
}

fn header(bytes: &mut Bytes<'_>) -> HeaderMatch {
    let pseudo = [
        (":path", "/a"),
        (":method", "GET"),
        (":scheme", "http"),
        ("host", "a"),
    ];
    let invert = bytes.chance(40);
    match bytes.below(8) {
        0 => {
            let (name, prefix) = bytes.pick(&pseudo);
            HeaderMatch {
                name: name.to_owned(),
                value: ValueMatch::Prefix(prefix.to_owned()),
                invert,
            }
        }
        _ => HeaderMatch {
            name: bytes.text(&["x-a", "x-b", "x-c"]),
            value: value(bytes),
            invert,
        },
    }
}

fn query(bytes: &mut Bytes<'_>) -> QueryMatch {
    QueryMatch {
        name: bytes.text(&["a", "b", "A", "?a"]),
        value: value(bytes),
    }
}

fn claim(bytes: &mut Bytes<'_>) -> ClaimMatch {
    let path = bytes.pick::<&[&str]>(&[&["sub"], &["a", "b"]]);
    ClaimMatch {
        path: path.iter().map(|part| (*part).to_owned()).collect(),
        value: value(bytes),
        invert: bytes.chance(30),
    }
}
