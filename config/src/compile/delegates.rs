//! A VirtualService's rules with its delegates' put in place. Istio
//! `pilot/pkg/model/virtualservice.go` (`mergeVirtualServicesIfNeeded`).
//!
//! One level deep. Every rule of the delegate meets every match of the root: matches that agree
//! are merged, those that contradict each other are dropped, and a rule of which none is left too.
//! What the delegate leaves unset is the root's.

use super::draft::{Draft, finding};
use crate::api::Map;
use crate::api::VirtualService;
use crate::api::shared::StringMatch;
use crate::api::virtual_service::{Delegate, HttpMatchRequest, HttpRoute};
use crate::diag::{Level, codes};
use crate::resource::Resource;
use crate::world::Typed;
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

/// One rule, wherever it was written.
#[derive(Debug)]
pub(super) struct Rule<'w> {
    /// The rule.
    pub http: Cow<'w, HttpRoute>,
    /// The VirtualService that it was written in.
    pub resource: &'w Resource,
    /// Where in it: `spec.http[0]`.
    pub path: String,
}

/// Rules of the VirtualServices seen so far, by the address of the object.
#[derive(Debug, Default)]
pub(super) struct Rules<'w> {
    seen: HashMap<usize, Rc<[Rule<'w>]>>,
}

/// The rules of a VirtualService in order.
pub(super) fn rules<'w>(
    draft: &mut Draft<'w>,
    service: Typed<'w, VirtualService>,
) -> Rc<[Rule<'w>]> {
    let key = std::ptr::from_ref(service.spec).addr();
    if let Some(known) = draft.rules.seen.get(&key) {
        return Rc::clone(known);
    }
    let mut all = Vec::with_capacity(service.spec.http.len());
    for (index, http) in service.spec.http.iter().enumerate() {
        let path = format!("spec.http[{index}]");
        match &http.delegate {
            None => all.push(Rule {
                http: Cow::Borrowed(http),
                resource: service.resource,
                path,
            }),
            Some(delegate) => all.extend(delegated(draft, service.resource, http, delegate, &path)),
        }
    }
    let all: Rc<[Rule<'w>]> = all.into();
    draft.rules.seen.insert(key, Rc::clone(&all));
    all
}

fn delegated<'w>(
    draft: &mut Draft<'w>,
    root: &'w Resource,
    http: &'w HttpRoute,
    delegate: &Delegate,
    path: &str,
) -> Vec<Rule<'w>> {
    let root_namespace = &root.meta.namespace;
    let namespace = if delegate.namespace.is_empty() {
        root_namespace
    } else {
        delegate.namespace.as_str()
    };
    let missing = |draft: &mut Draft<'w>, why: &str| {
        let message = format!(
            "Referenced delegate VirtualService not found: \"{namespace}/{}\"{why}",
            delegate.name
        );
        draft.report(codes::IST0101, root, &format!("{path}.delegate"), message);
        Vec::new()
    };
    let Some(target) = draft.world.virtual_service(namespace, &delegate.name) else {
        return missing(draft, "");
    };
    if !target.spec.hosts.is_empty() || !target.spec.gateways.is_empty() {
        return missing(draft, " without hosts and gateways");
    }
    let export = &target.spec.export_to;
    let default = &draft.world.mesh.default_virtual_service_export_to;
    let export = if export.is_empty() { default } else { export };
    let sees = |e: &String| {
        e == "*" || e == &**root_namespace || e == "." && namespace == &**root_namespace
    };
    if !export.is_empty() && !export.iter().any(sees) {
        return missing(draft, " (it is not exported to the namespace)");
    }
    let mut out = Vec::new();
    for (index, rule) in target.spec.http.iter().enumerate() {
        let path = format!("spec.http[{index}]");
        if rule.delegate.is_some() {
            let message = "a delegate cannot delegate: the rule is left out".to_owned();
            draft.report(
                codes::SP0402,
                target.resource,
                &format!("{path}.delegate"),
                message,
            );
            continue;
        }
        match merge(http, rule) {
            Some(merged) => out.push(Rule {
                http: Cow::Owned(merged),
                resource: target.resource,
                path,
            }),
            None => {
                let message = format!(
                    "the rule contradicts every match of {} that delegates to it",
                    root.key()
                );
                let found = finding(
                    codes::SP0402,
                    target.resource,
                    &format!("{path}.match"),
                    message,
                );
                draft.found.push(found.level(Level::Warning));
            }
        }
    }
    out
}

fn merge(root: &HttpRoute, rule: &HttpRoute) -> Option<HttpRoute> {
    let mut out = rule.clone();
    out.match_ = merge_matches(&root.match_, &rule.match_)?;
    out.name = joined(&root.name, &rule.name);
    macro_rules! inherit {
        ($($field:ident),*) => {$(
            if out.$field.is_none() {
                out.$field.clone_from(&root.$field);
            }
        )*};
    }
    inherit!(
        rewrite,
        direct_response,
        timeout,
        retries,
        fault,
        mirror,
        mirror_percent
    );
    inherit!(mirror_percentage, cors_policy, headers);
    if out.mirrors.is_empty() {
        out.mirrors.clone_from(&root.mirrors);
    }
    Some(out)
}

fn joined(root: &str, leaf: &str) -> String {
    match (root, leaf) {
        (root, "") => root.to_owned(),
        ("", leaf) => leaf.to_owned(),
        (root, leaf) => format!("{root}-{leaf}"),
    }
}

fn merge_matches(
    root: &[HttpMatchRequest],
    leaf: &[HttpMatchRequest],
) -> Option<Vec<HttpMatchRequest>> {
    if root.is_empty() {
        return Some(leaf.to_vec());
    }
    if leaf.is_empty() {
        return Some(root.to_vec());
    }
    let pairs = leaf
        .iter()
        .flat_map(|leaf| root.iter().map(move |root| (root, leaf)));
    let agree = pairs.filter(|(root, leaf)| !contradicts(root, leaf));
    let merged: Vec<HttpMatchRequest> = agree.map(|(root, leaf)| merge_match(root, leaf)).collect();
    (!merged.is_empty()).then_some(merged)
}

fn merge_match(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> HttpMatchRequest {
    let either = |root: &Option<StringMatch>, leaf: &Option<StringMatch>| {
        leaf.clone().or_else(|| root.clone())
    };
    HttpMatchRequest {
        name: joined(&root.name, &leaf.name),
        uri: either(&root.uri, &leaf.uri),
        scheme: either(&root.scheme, &leaf.scheme),
        method: either(&root.method, &leaf.method),
        authority: either(&root.authority, &leaf.authority),
        headers: overlaid(&root.headers, &leaf.headers),
        without_headers: overlaid(&root.without_headers, &leaf.without_headers),
        query_params: overlaid(&root.query_params, &leaf.query_params),
        ignore_uri_case: leaf.ignore_uri_case,
        port: if leaf.port == 0 { root.port } else { leaf.port },
        source_labels: overlaid(&root.source_labels, &leaf.source_labels),
        source_namespace: first_of(&leaf.source_namespace, &root.source_namespace),
        gateways: if leaf.gateways.is_empty() {
            root.gateways.clone()
        } else {
            leaf.gateways.clone()
        },
        stat_prefix: first_of(&leaf.stat_prefix, &root.stat_prefix),
    }
}

fn first_of(leaf: &str, root: &str) -> String {
    if leaf.is_empty() {
        root.to_owned()
    } else {
        leaf.to_owned()
    }
}

fn overlaid<T: Clone>(root: &Map<T>, leaf: &Map<T>) -> Map<T> {
    let mut out = root.clone();
    for (key, value) in leaf.iter() {
        out.insert(key, value.clone());
    }
    out
}

fn contradicts(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> bool {
    let strings = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    let both = |(root, leaf): (&Map<StringMatch>, &Map<StringMatch>)| {
        leaf.iter()
            .any(|(key, leaf)| root.get(key).is_some_and(|root| narrower(root, leaf)))
    };
    strings.into_iter().any(|(root, leaf)| match (root, leaf) {
        (Some(root), Some(leaf)) => narrower(root, leaf),
        _ => false,
    }) || maps.into_iter().any(both)
        || root.ignore_uri_case != leaf.ignore_uri_case
        || (root.port != 0 && leaf.port != 0 && root.port != leaf.port)
        || leaf
            .source_labels
            .iter()
            .any(|(k, v)| root.source_labels.get(k).is_some_and(|r| r != v))
        || (!root.source_namespace.is_empty() && root.source_namespace != leaf.source_namespace)
        || (!root.gateways.is_empty() && leaf.gateways.iter().any(|g| !root.gateways.contains(g)))
}

/// Whether the root asks for what the leaf does not imply.
fn narrower(root: &StringMatch, leaf: &StringMatch) -> bool {
    let some = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let (root, leaf) = (
        (some(&root.exact), some(&root.prefix), some(&root.regex)),
        (some(&leaf.exact), some(&leaf.prefix), some(&leaf.regex)),
    );
    let any = |m: &(Option<String>, Option<String>, Option<String>)| {
        m.0.is_some() || m.1.is_some() || m.2.is_some()
    };
    match (&root, &leaf) {
        // a regex on either side cannot be compared with anything
        ((_, _, Some(_)), _) => any(&leaf),
        (_, (_, _, Some(_))) => any(&root),
        ((Some(root), _, _), (leaf, None, _)) => leaf.as_ref() != Some(root),
        ((Some(_), _, _), (_, Some(_), _)) => true,
        ((None, Some(root), _), (Some(leaf), _, _) | (None, Some(leaf), _)) => {
            !leaf.starts_with(root.as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> StringMatch {
        StringMatch {
            exact: Some(text.to_owned()),
            ..StringMatch::default()
        }
    }

    fn prefix(text: &str) -> StringMatch {
        StringMatch {
            prefix: Some(text.to_owned()),
            ..StringMatch::default()
        }
    }

    fn regex(text: &str) -> StringMatch {
        StringMatch {
            regex: Some(text.to_owned()),
            ..StringMatch::default()
        }
    }

    #[test]
    fn a_leaf_may_only_narrow_its_root() {
        for (root, leaf, want) in [
            (exact("/a"), exact("/a"), false),
            (exact("/a"), exact("/b"), true),
            (exact("/a"), prefix("/a"), true),
            (prefix("/a"), prefix("/a/b"), false),
            (prefix("/a"), exact("/a/b"), false),
            (prefix("/a/b"), prefix("/a"), true),
            (prefix("/a"), regex("/a.*"), true),
            (regex("/a.*"), exact("/a"), true),
            (StringMatch::default(), exact("/a"), false),
        ] {
            assert_eq!(narrower(&root, &leaf), want, "{root:?} {leaf:?}");
        }
    }

    #[test]
    fn matches_are_merged_pairwise() {
        let uri = |m: StringMatch, name: &str| HttpMatchRequest {
            uri: Some(m),
            name: name.to_owned(),
            ..HttpMatchRequest::default()
        };
        let roots = [uri(prefix("/a"), "r1"), uri(prefix("/b"), "r2")];
        let merged = merge_matches(&roots, &[uri(prefix("/a/x"), "l")]).unwrap();
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].name, "r1-l");
        assert_eq!(merged[0].uri, Some(prefix("/a/x")));
        assert!(merge_matches(&roots, &[uri(prefix("/c"), "")]).is_none());
        assert_eq!(merge_matches(&roots, &[]).unwrap(), roots);
        assert_eq!(merge_matches(&[], &roots).unwrap(), roots);
    }
}
