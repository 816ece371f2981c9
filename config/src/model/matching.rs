//! Whether a matcher applies to a call.

use super::{Call, edit};
use crate::ir::*;
use crate::re2;

/// Whether all conditions hold.
pub(super) fn applies(matcher: &Matcher, call: &Call, scheme: &str) -> bool {
    let path = edit::split_query(&call.path).0;
    let on = |condition: &Option<ValueMatch>, value: &str| {
        condition.as_ref().is_none_or(|c| value_matches(c, value))
    };
    path_matches(&matcher.path, path)
        && on(&matcher.method, &call.method)
        && on(&matcher.authority, &call.authority)
        && on(&matcher.scheme, scheme)
        && matcher
            .headers
            .iter()
            .all(|m| header_matches(m, call, scheme))
        && matcher.query.iter().all(|m| query_matches(m, &call.path))
        && matcher.claims.iter().all(|m| {
            let any = call.claims.iter().any(|(claim, values)| {
                *claim == m.path && values.iter().any(|v| value_matches(&m.value, v))
            });
            any != m.invert
        })
}

fn path_matches(condition: &PathMatch, path: &str) -> bool {
    let same = |a: &str, b: &str, ignore_case: bool| {
        if ignore_case {
            a.eq_ignore_ascii_case(b)
        } else {
            a == b
        }
    };
    match condition {
        PathMatch::Any => true,
        PathMatch::Exact {
            path: want,
            ignore_case,
        } => same(path, want, *ignore_case),
        PathMatch::Prefix {
            prefix,
            ignore_case,
        } => path
            .get(..prefix.len())
            .is_some_and(|head| same(head, prefix, *ignore_case)),
        PathMatch::Regex(pattern) => full_match(pattern, path),
    }
}

/// Whether a value meets a condition.
pub(super) fn value_matches(condition: &ValueMatch, value: &str) -> bool {
    match condition {
        ValueMatch::Present => true,
        ValueMatch::Exact(want) => value == want,
        ValueMatch::Prefix(prefix) => value.starts_with(prefix.as_str()),
        ValueMatch::Regex(pattern) => full_match(pattern, value),
    }
}

fn full_match(pattern: &str, text: &str) -> bool {
    re2::whole(pattern).is_ok_and(|r| r.is_match(text.as_bytes()))
}

fn header_matches(matcher: &HeaderMatch, call: &Call, scheme: &str) -> bool {
    let lines = edit::lines(call, &matcher.name, scheme);
    match (&matcher.value, matcher.invert) {
        (value, false) => lines.iter().any(|line| value_matches(value, line)),
        (ValueMatch::Present, true) => lines.is_empty(),
        // an absent header counts as an empty value
        (value, true) if lines.is_empty() => !value_matches(value, ""),
        (value, true) => !lines.iter().any(|line| value_matches(value, line)),
    }
}

fn query_matches(matcher: &QueryMatch, path: &str) -> bool {
    let query = edit::split_query(path).1;
    let query = query.strip_prefix('?').unwrap_or(query);
    let mut pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .find(|(name, _)| *name == matcher.name)
        .is_some_and(|(_, v)| value_matches(&matcher.value, v))
}
