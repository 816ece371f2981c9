//! Conditions in words: what a rule wanted and what the request had.

use crate::admit::Claims;
use crate::call::Call;
use crate::tables::{Conditions, query_value};
use sallyport_config::ir::{
    ClaimMatch, HeaderMatch, HostPattern, Matcher, PathMatch, QueryMatch, ValueMatch,
};

/// Values longer than this are cut.
const VALUE_SHOWN_MAX: usize = 100;

/// Exact, suffix, any.
pub(super) fn rank(pattern: &HostPattern) -> u8 {
    match pattern {
        HostPattern::Exact(_) => 0,
        HostPattern::Suffix(_) => 1,
        HostPattern::Any => 2,
    }
}

/// The first condition that a call does not meet.
pub(super) fn first_failed(
    matcher: &Matcher,
    conditions: &Conditions,
    call: &Call<'_>,
) -> Option<String> {
    if !conditions.path_holds(call.path) {
        return Some(format!(
            "uri {} does not match {}",
            path_words(&matcher.path),
            cut(call.path.as_bytes())
        ));
    }
    let failed = conditions.first_failed(call, &Claims::default())?;
    let words = others(matcher, call).nth(failed);
    Some(words.unwrap_or_else(|| "a condition does not hold".to_owned()))
}

fn path_words(wanted: &PathMatch) -> String {
    let case = |ignore: &bool| if *ignore { " (case ignored)" } else { "" };
    match wanted {
        PathMatch::Any => "*".to_owned(),
        PathMatch::Exact { path, ignore_case } => format!("exact {path}{}", case(ignore_case)),
        PathMatch::Prefix {
            prefix,
            ignore_case,
        } => format!("prefix {prefix}{}", case(ignore_case)),
        PathMatch::Regex(pattern) => format!("regex {pattern}"),
    }
}

/// Words for each condition beside the path, should it fail, in the order in which conditions are
/// asked.
fn others<'a>(matcher: &'a Matcher, call: &'a Call<'a>) -> impl Iterator<Item = String> {
    let plain = [
        ("method", &matcher.method, call.method),
        ("authority", &matcher.authority, call.authority),
        ("scheme", &matcher.scheme, call.scheme.as_str()),
    ];
    let plain = plain.into_iter().filter_map(|(name, wanted, value)| {
        let wanted = value_words(wanted.as_ref()?);
        Some(format!(
            "{name} {wanted} does not match {}",
            cut(value.as_bytes())
        ))
    });
    let headers = matcher.headers.iter().map(|wanted| header(wanted, call));
    let query = matcher.query.iter().map(|wanted| query(wanted, call));
    let claims = matcher.claims.iter().map(claim);
    plain.chain(headers).chain(query).chain(claims)
}

fn header(wanted: &HeaderMatch, call: &Call<'_>) -> String {
    let name = &wanted.name;
    let mut lines = Vec::new();
    call.headers.any(name, &mut |line| {
        lines.push(cut(line));
        false
    });
    let value = match name.as_str() {
        ":method" => call.method.to_owned(),
        ":authority" | "host" => call.authority.to_owned(),
        ":path" => call.path.to_owned(),
        ":scheme" => call.scheme.as_str().to_owned(),
        _ if lines.is_empty() => "nothing".to_owned(),
        _ => lines.join(", "),
    };
    let words = value_words(&wanted.value);
    if wanted.invert {
        format!("header {name} must not match {words}, and is {value}")
    } else {
        format!("header {name} {words} does not match {value}")
    }
}

fn query(wanted: &QueryMatch, call: &Call<'_>) -> String {
    let words = value_words(&wanted.value);
    let name = &wanted.name;
    match query_value(call.query, name) {
        Some(value) => format!(
            "query parameter {name} {words} does not match {}",
            cut(value.as_bytes())
        ),
        None => format!("query parameter {name} {words} is not there"),
    }
}

fn claim(wanted: &ClaimMatch) -> String {
    let not = if wanted.invert { "not " } else { "" };
    let words = value_words(&wanted.value);
    format!(
        "claim {} must {not}match {words}, and there is no token",
        wanted.path.join(".")
    )
}

fn value_words(wanted: &ValueMatch) -> String {
    match wanted {
        ValueMatch::Present => "present".to_owned(),
        ValueMatch::Exact(text) => format!("exact \"{text}\""),
        ValueMatch::Prefix(text) => format!("prefix \"{text}\""),
        ValueMatch::Regex(pattern) => format!("regex {pattern}"),
    }
}

/// A value from a client, fit to be shown: no control characters, not too long.
fn cut(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let mut shown: String = text
        .chars()
        .take(VALUE_SHOWN_MAX)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if text.chars().count() > VALUE_SHOWN_MAX {
        shown.push('…');
    }
    if shown.is_empty() {
        "\"\"".to_owned()
    } else {
        shown
    }
}
