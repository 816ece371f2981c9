//! Rules of one `VirtualService` against each other: what is never reached.
//!
//! Rules are tried in order, so a rule is dead when earlier ones take everything it matches. Only
//! what is certain is said: equal matches, a plain prefix before a longer path, and rules after
//! one without `match`.

use std::collections::HashMap;

use super::{Path, Scope, route_match};
use crate::api::shared::StringMatch;
use crate::api::virtual_service::{HttpMatchRequest, HttpRoute};
use crate::diag::codes;

/// Most matches of a VirtualService for which the hint about bare paths is worked out.
const MAX_HINTED: usize = 256;

/// Reports rules and matches that can never be chosen, and paths that slip between rules.
pub(super) fn unreachable(rules: &[HttpRoute], root: &Path<'_>, scope: &mut Scope<'_>) {
    let mut seen = Seen::default();
    let mut catch_all: Option<usize> = None;
    for (i, rule) in rules.iter().enumerate() {
        let at = root.item("http", i);
        if let Some(first) = catch_all {
            let message = format!(
                "rule {} is never reached: rule {} takes every request",
                named(rule, i),
                named_at(rules, first)
            );
            scope.note(
                codes::IST0130,
                &at,
                message,
                "rules are tried in order: move the rule without conditions to the end",
            );
            continue;
        }
        if rule.match_.is_empty() {
            catch_all = Some(i);
            continue;
        }
        let mut dead = 0;
        for (j, request) in rule.match_.iter().enumerate() {
            if let Some(earlier) = seen.covering(request, i) {
                dead += 1;
                if rule.match_.len() > 1 {
                    let message = format!(
                        "match {} of rule {} decides nothing: rule {} already takes it",
                        named_match(request, j),
                        named(rule, i),
                        named_at(rules, earlier)
                    );
                    scope.note(
                        codes::IST0131,
                        &at.item("match", j),
                        message,
                        "remove it, or move the more specific rule up",
                    );
                }
            }
            seen.add(request, i);
        }
        if dead == rule.match_.len() {
            let message = format!(
                "rule {} is never reached: earlier rules take all its matches",
                named(rule, i)
            );
            scope.note(
                codes::IST0130,
                &at,
                message,
                "remove it, or move the more specific rule up",
            );
        } else if rule.match_.iter().any(takes_everything) {
            catch_all = Some(i);
        }
    }
    hint_bare_paths(rules, root, scope);
}

fn hint_bare_paths(rules: &[HttpRoute], root: &Path<'_>, scope: &mut Scope<'_>) {
    let mut requests = Vec::new();
    let mut spots = Vec::new();
    for (i, rule) in rules.iter().enumerate() {
        for (j, request) in rule.match_.iter().enumerate() {
            requests.push(request);
            spots.push((i, j));
        }
    }
    if requests.len() <= MAX_HINTED {
        route_match::bare_path(&requests, &spots, root, scope);
    }
}

/// What earlier rules take.
#[derive(Default)]
struct Seen<'r> {
    /// Matches by the beginning of their conditions, to compare few with each other.
    alike: HashMap<String, Vec<(&'r HttpMatchRequest, usize)>>,
    /// Rules by the prefix that is their only condition.
    prefixes: HashMap<&'r str, usize>,
}

impl<'r> Seen<'r> {
    fn add(&mut self, request: &'r HttpMatchRequest, rule: usize) {
        self.alike
            .entry(likeness(request))
            .or_default()
            .push((request, rule));
        if let Some(prefix) = only_prefix(request) {
            self.prefixes.entry(prefix).or_insert(rule);
        }
    }

    /// The earlier rule that takes everything this match would.
    fn covering(&self, request: &HttpMatchRequest, rule: usize) -> Option<usize> {
        let bucket = self
            .alike
            .get(&likeness(request))
            .map_or(&[][..], Vec::as_slice);
        let equal = bucket
            .iter()
            .find(|(other, _)| same_conditions(other, request))
            .map(|(_, i)| *i);
        equal.or_else(|| self.covering_prefix(request).filter(|i| *i < rule))
    }

    fn covering_prefix(&self, request: &HttpMatchRequest) -> Option<usize> {
        let uri = request.uri.as_ref()?;
        let path = uri.exact.as_deref().or(uri.prefix.as_deref())?;
        if request.ignore_uri_case || self.prefixes.is_empty() {
            return None;
        }
        let cuts = path
            .char_indices()
            .map(|(i, _)| i)
            .chain(std::iter::once(path.len()));
        cuts.filter_map(|end| self.prefixes.get(path.get(..end)?))
            .min()
            .copied()
    }
}

/// A short text that equal matches share.
fn likeness(request: &HttpMatchRequest) -> String {
    let mut out = request.uri.as_ref().map_or("", text_of).to_owned();
    for map in [
        &request.headers,
        &request.query_params,
        &request.without_headers,
    ] {
        if let Some((name, value)) = map.iter().next() {
            out.push('\n');
            out.push_str(name);
            out.push('=');
            out.push_str(text_of(value));
        }
    }
    out
}

fn text_of(value: &StringMatch) -> &str {
    value
        .exact
        .as_deref()
        .or(value.prefix.as_deref())
        .or(value.regex.as_deref())
        .unwrap_or("")
}

fn same_conditions(a: &HttpMatchRequest, b: &HttpMatchRequest) -> bool {
    a.uri == b.uri
        && a.scheme == b.scheme
        && a.method == b.method
        && a.authority == b.authority
        && a.headers == b.headers
        && a.without_headers == b.without_headers
        && a.query_params == b.query_params
        && a.ignore_uri_case == b.ignore_uri_case
        && a.port == b.port
        && a.source_labels == b.source_labels
        && a.source_namespace == b.source_namespace
        && a.gateways == b.gateways
}

/// The prefix, if nothing else is asked for.
fn only_prefix(request: &HttpMatchRequest) -> Option<&str> {
    let alone = only_uri(request) && !request.ignore_uri_case;
    request
        .uri
        .as_ref()
        .and_then(|u| u.prefix.as_deref())
        .filter(|_| alone)
}

fn only_uri(request: &HttpMatchRequest) -> bool {
    request.scheme.is_none()
        && request.method.is_none()
        && request.authority.is_none()
        && request.headers.is_empty()
        && request.without_headers.is_empty()
        && request.query_params.is_empty()
        && request.port == 0
        && request.source_labels.is_empty()
        && request.source_namespace.is_empty()
        && request.gateways.is_empty()
}

/// A match that is a catch-all for Istio: prefix `/` or regex `.*`, and nothing else.
fn takes_everything(request: &HttpMatchRequest) -> bool {
    let any = match &request.uri {
        None => true,
        Some(uri) => uri.prefix.as_deref() == Some("/") || uri.regex.as_deref() == Some(".*"),
    };
    any && only_uri(request)
}

fn named(rule: &HttpRoute, index: usize) -> String {
    if rule.name.is_empty() {
        format!("#{index}")
    } else {
        format!("`{}`", rule.name)
    }
}

fn named_at(rules: &[HttpRoute], index: usize) -> String {
    rules
        .get(index)
        .map_or_else(|| format!("#{index}"), |rule| named(rule, index))
}

fn named_match(request: &HttpMatchRequest, index: usize) -> String {
    if request.name.is_empty() {
        format!("#{index}")
    } else {
        format!("`{}`", request.name)
    }
}
