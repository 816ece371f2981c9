//! Regexes with RE2's meaning: ASCII classes, whole value, bounded size.

use regex::bytes::{Regex, RegexBuilder};
use std::collections::HashMap;

/// Bytes that a compiled program may take; a larger one never matches.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Compiles each pattern once, however many rules use it.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    known: HashMap<String, Option<Regex>>,
}

impl Patterns {
    /// A pattern that must match a whole value. `None`: it does not compile, which the compiler
    /// has made a broken rule; here it never matches.
    pub(super) fn whole(&mut self, pattern: &str) -> Option<Regex> {
        self.get(format!(r"\A(?:{pattern})\z"))
    }

    /// A pattern that may match anywhere.
    pub(crate) fn part(&mut self, pattern: &str) -> Option<Regex> {
        self.get(pattern.to_owned())
    }

    fn get(&mut self, pattern: String) -> Option<Regex> {
        if let Some(known) = self.known.get(&pattern) {
            return known.clone();
        }
        let compiled = compile(&pattern);
        self.known.insert(pattern, compiled.clone());
        compiled
    }
}

/// RE2's `\d`, `\w`, `\s`, `\b` are ASCII; only a pattern that names Unicode (`\pL`, `[é]`) needs
/// the other mode.
fn compile(pattern: &str) -> Option<Regex> {
    let build = |unicode| {
        RegexBuilder::new(pattern)
            .unicode(unicode)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .ok()
    };
    build(false).or_else(|| build(true))
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
    fn patterns_mean_what_re2_means() {
        for (pattern, value, want) in [
            ("a|b", "a", true),
            ("a|b", "ab", false),
            (r"\d+", "12", true),
            (r"\d+", "١٢", false),
            (r"\w", "é", false),
            ("[é]", "é", true),
            (r"\pL+", "éa", true),
            ("x.*", "x\u{ff}é", true),
            ("(?i)abc", "aBC", true),
            ("(", "(", false),
            ("a$", "a", true),
        ] {
            let regex = Patterns::default().whole(pattern);
            let found = regex.is_some_and(|regex| regex.is_match(value.as_bytes()));
            assert_eq!(found, want, "{pattern} on {value}");
        }
        assert!(Patterns::default().whole("((a{100}){100}){100}").is_none());
    }

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
