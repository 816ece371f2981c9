//! Match blocks. Istio `pilot/pkg/networking/core/route/route.go` (`TranslateRouteMatch`).

use crate::api::shared::StringMatch;
use crate::api::virtual_service::HttpMatchRequest;
use crate::ir::{ClaimMatch, HeaderMatch, Matcher, PathMatch, QueryMatch, ValueMatch};
use regex::Regex;
use std::cell::RefCell;
use std::collections::HashMap;

/// Longest regular expression that Istio accepts, in bytes.
const LONGEST_REGEX: usize = 1024;
/// Keys of claims begin so, in any letter case.
const CLAIMS: &str = "@request.auth.claims";

/// Regular expressions that were seen, and what is wrong with them: compiling one is expensive,
/// and many rules use the same.
#[derive(Debug, Default)]
pub(super) struct Regexes {
    seen: RefCell<HashMap<String, Option<String>>>,
}

impl Regexes {
    /// Accepts a pattern, or says what is wrong with it.
    pub(super) fn check(&self, pattern: &str) -> Result<String, String> {
        if let Some(known) = self.seen.borrow().get(pattern) {
            return known.clone().map_or_else(|| Ok(pattern.to_owned()), Err);
        }
        let wrong = if pattern.len() > LONGEST_REGEX {
            Some(format!("the regex is longer than {LONGEST_REGEX} bytes"))
        } else {
            let compiled = Regex::new(&format!("^(?:{pattern})$"));
            compiled
                .err()
                .map(|e| format!("regex `{pattern}`: {}", last_line(&e.to_string())))
        };
        self.seen
            .borrow_mut()
            .insert(pattern.to_owned(), wrong.clone());
        wrong.map_or_else(|| Ok(pattern.to_owned()), Err)
    }

    fn value(&self, condition: &StringMatch) -> Result<ValueMatch, String> {
        Ok(
            match (&condition.exact, &condition.prefix, &condition.regex) {
                (Some(exact), _, _) => ValueMatch::Exact(exact.clone()),
                (_, Some(prefix), _) => ValueMatch::Prefix(prefix.clone()),
                (_, _, Some(regex)) if regex != "*" => ValueMatch::Regex(self.check(regex)?),
                // `{}`, null and `regex: "*"` ask for presence
                _ => ValueMatch::Present,
            },
        )
    }

    /// Several conditions.
    pub(super) fn values(&self, conditions: &[StringMatch]) -> Result<Vec<ValueMatch>, String> {
        conditions.iter().map(|c| self.value(c)).collect()
    }

    /// One match block.
    pub(super) fn matcher(&self, block: &HttpMatchRequest) -> Result<Matcher, String> {
        let on =
            |condition: &Option<StringMatch>| condition.as_ref().map(|c| self.value(c)).transpose();
        let mut matcher = Matcher {
            path: self.path(block)?,
            method: on(&block.method)?,
            authority: on(&block.authority)?,
            scheme: on(&block.scheme)?,
            ..Matcher::default()
        };
        for (map, invert) in [(&block.headers, false), (&block.without_headers, true)] {
            let mut sorted: Vec<_> = map.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            for (name, condition) in sorted {
                let value = self.value(condition)?;
                if let Some(path) = claim(name) {
                    matcher.claims.push(ClaimMatch {
                        path,
                        value,
                        invert,
                    });
                } else if !matches!(name, "uri" | "scheme" | "method" | "authority") {
                    matcher.headers.push(HeaderMatch {
                        name: name.to_ascii_lowercase(),
                        value,
                        invert,
                    });
                }
            }
        }
        let mut query: Vec<_> = block.query_params.iter().collect();
        query.sort_by(|a, b| a.0.cmp(b.0));
        for (name, condition) in query {
            matcher.query.push(QueryMatch {
                name: name.to_owned(),
                value: self.value(condition)?,
            });
        }
        Ok(matcher)
    }

    fn path(&self, block: &HttpMatchRequest) -> Result<PathMatch, String> {
        let ignore_case = block.ignore_uri_case;
        let Some(uri) = &block.uri else {
            return Ok(PathMatch::Any);
        };
        Ok(match (&uri.exact, &uri.prefix, &uri.regex) {
            (Some(path), _, _) => PathMatch::Exact {
                path: path.clone(),
                ignore_case,
            },
            (_, Some(prefix), _) => PathMatch::Prefix {
                prefix: prefix.clone(),
                ignore_case,
            },
            (_, _, Some(regex)) => PathMatch::Regex(self.check(regex)?),
            _ => PathMatch::Any,
        })
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
}

/// Path of a claim: `@request.auth.claims.a.b`, or `@request.auth.claims[a][b.c]`.
fn claim(key: &str) -> Option<Vec<String>> {
    let head = key.get(..CLAIMS.len())?;
    let rest = key.get(CLAIMS.len()..)?;
    if !head.eq_ignore_ascii_case(CLAIMS) {
        return None;
    }
    if let Some(dotted) = rest.strip_prefix('.') {
        return Some(dotted.split('.').map(str::to_owned).collect());
    }
    let inside = rest.strip_prefix('[')?.strip_suffix(']')?;
    Some(inside.split("][").map(str::to_owned).collect())
}

/// Whether every request matches, as far as Istio looks: the routes behind are not reached.
pub(super) fn catches_all(matcher: &Matcher) -> bool {
    let path = match &matcher.path {
        PathMatch::Any => true,
        PathMatch::Prefix { prefix, .. } => prefix == "/" || prefix.is_empty(),
        PathMatch::Regex(regex) => regex == ".*",
        PathMatch::Exact { .. } => false,
    };
    path && matcher.method.is_none()
        && matcher.authority.is_none()
        && matcher.scheme.is_none()
        && matcher.headers.is_empty()
        && matcher.query.is_empty()
        && matcher.claims.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_named_with_dots_or_brackets() {
        for (key, want) in [
            ("@request.auth.claims.sub", Some(vec!["sub"])),
            (
                "@Request.Auth.Claims.nested.key",
                Some(vec!["nested", "key"]),
            ),
            (
                "@request.auth.claims[https://a.b/c][d]",
                Some(vec!["https://a.b/c", "d"]),
            ),
            ("@request.auth.claimsx", None),
            ("x-header", None),
        ] {
            let want: Option<Vec<String>> =
                want.map(|p| p.into_iter().map(str::to_owned).collect());
            assert_eq!(claim(key), want, "{key}");
        }
    }

    #[test]
    fn a_regex_is_checked_once_and_named_when_broken() {
        let regexes = Regexes::default();
        assert!(regexes.check("a.*b").is_ok());
        let error = regexes.check("a(b").unwrap_err();
        assert!(error.contains("regex `a(b`"), "{error}");
        assert_eq!(regexes.check("a(b").unwrap_err(), error);
        assert!(regexes.check(&"a".repeat(1025)).is_err());
        // no look-around, no back references: RE2's syntax
        assert!(regexes.check("(?=x)").is_err() && regexes.check(r"(a)\1").is_err());
    }

    #[test]
    fn only_a_bare_match_catches_all() {
        let with = |path| Matcher {
            path,
            ..Matcher::default()
        };
        let prefix = |p: &str| PathMatch::Prefix {
            prefix: p.to_owned(),
            ignore_case: false,
        };
        assert!(catches_all(&Matcher::default()));
        assert!(catches_all(&with(prefix("/"))));
        assert!(catches_all(&with(PathMatch::Regex(".*".to_owned()))));
        assert!(!catches_all(&with(prefix("/a"))));
        assert!(!catches_all(&with(PathMatch::Regex("/.*".to_owned()))));
        assert!(!catches_all(&Matcher {
            method: Some(ValueMatch::Present),
            ..Matcher::default()
        }));
    }
}
