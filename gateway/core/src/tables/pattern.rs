//! Regexes, each compiled once, and what can be known of their matches beforehand.

use regex::bytes::Regex;
use sallyport_config::re2;
use std::collections::HashMap;

/// Compiles each pattern once, however many rules use it.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    whole: HashMap<String, Option<Regex>>,
    part: HashMap<String, Option<Regex>>,
}

impl Patterns {
    /// A pattern that must match a whole value. `None`: it does not compile, which the compiler
    /// has made a broken rule; here it never matches.
    pub(crate) fn whole(&mut self, pattern: &str) -> Option<Regex> {
        let known = self.whole.entry(pattern.to_owned());
        known.or_insert_with(|| re2::whole(pattern).ok()).clone()
    }

    /// A pattern that may match anywhere.
    pub(crate) fn part(&mut self, pattern: &str) -> Option<Regex> {
        let known = self.part.entry(pattern.to_owned());
        known.or_insert_with(|| re2::part(pattern).ok()).clone()
    }
}

/// What every match of a whole-value pattern begins with: a key for the path index.
pub(super) fn literal_prefix(pattern: &str) -> String {
    let mut prefix = String::new();
    let mut rest = pattern
        .strip_prefix('^')
        .unwrap_or(pattern)
        .chars()
        .peekable();
    if alternates(pattern) {
        return prefix;
    }
    while let Some(char) = rest.next() {
        let literal = match char {
            '\\' => rest.next().filter(char::is_ascii_punctuation),
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' | '|' => None,
            char => Some(char),
        };
        let Some(literal) = literal else {
            break;
        };
        if matches!(rest.peek(), Some('*' | '+' | '?' | '{')) {
            break;
        }
        prefix.push(literal);
    }
    prefix
}

/// Whether there is a `|` outside parentheses, or possibly so.
fn alternates(pattern: &str) -> bool {
    pattern
        .split('(')
        .next()
        .is_some_and(|head| head.contains('|'))
        || pattern
            .rsplit(')')
            .next()
            .is_some_and(|tail| tail.contains('|'))
        || (pattern.contains('|') && depth_zero_bar(pattern))
}

fn depth_zero_bar(pattern: &str) -> bool {
    let mut depth = 0_usize;
    let mut escaped = false;
    for byte in pattern.bytes() {
        match byte {
            _ if escaped => {
                escaped = false;
                continue;
            }
            b'\\' => escaped = true,
            // A class may hold any bracket: then this count means nothing, so assume the worst.
            b'[' => return true,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_prefixes_never_claim_too_much() {
        for (pattern, want) in [
            ("/api/v[0-9]+/.*", "/api/v"),
            ("/a/b", "/a/b"),
            (r"/a\.b/c?d", "/a.b/"),
            ("/ab*", "/a"),
            ("/a+", "/"),
            ("^/x(y|z)", "/x"),
            ("/a|/b", ""),
            ("(/a|/b)/c", ""),
            ("/x(y)|/z", ""),
            ("/x(a|b)(c)|(d)", ""),
            ("/x[|](a)", ""),
            (".*", ""),
            ("(?i)/a", ""),
            (r"/a\d", "/a"),
            ("/é{2}x", "/"),
        ] {
            assert_eq!(literal_prefix(pattern), want, "{pattern}");
        }
    }
}
