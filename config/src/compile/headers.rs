//! Header operations, with Istio's order of precedence.
//!
//! One destination: its operations follow the route's in one list, so a destination's `set` wins.
//! Several: each destination's are applied first and the route's after, so a route's `set` wins.
//! `host` and `:authority` set the authority; every other pseudo name is dropped. Istio
//! `pilot/pkg/networking/core/route/route.go` (`TranslateHeadersOperations`).

use crate::api::virtual_service::{HeaderOperations, Headers};
use crate::ir::{HeaderEdits, HeaderOps, HeaderWrite};
use crate::template;

/// Operations of one level.
#[derive(Debug, Clone, Default)]
pub(super) struct Level {
    /// On both heads.
    pub ops: HeaderOps,
    /// What the request's authority is set to.
    pub authority: Option<String>,
}

/// Reads the operations of a route or of a destination. The error names the header.
pub(super) fn level(headers: Option<&Headers>) -> Result<Level, String> {
    let Some(headers) = headers else {
        return Ok(Level::default());
    };
    Ok(Level {
        ops: HeaderOps {
            request: edits(headers.request.as_ref())?,
            response: edits(headers.response.as_ref())?,
        },
        authority: headers.request.as_ref().and_then(authority),
    })
}

/// A name that Istio keeps for itself.
fn internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn authority(request: &HeaderOperations) -> Option<String> {
    let of =
        |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    let mut all = request.set.iter().chain(request.add.iter());
    all.find(|(name, _)| of(name))
        .map(|(_, value)| value.clone())
}

fn edits(operations: Option<&HeaderOperations>) -> Result<HeaderEdits, String> {
    let Some(operations) = operations else {
        return Ok(HeaderEdits::default());
    };
    let mut write = Vec::new();
    for (map, append) in [(&operations.set, false), (&operations.add, true)] {
        let mut sorted: Vec<_> = map.iter().filter(|(name, _)| !internal(name)).collect();
        sorted.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        for (name, value) in sorted {
            let value = template::parse(value).map_err(|why| format!("header `{name}`: {why}"))?;
            write.push(HeaderWrite {
                name: name.to_ascii_lowercase(),
                value,
                append,
            });
        }
    }
    let remove = operations.remove.iter().filter(|name| !internal(name));
    Ok(HeaderEdits {
        remove: remove.map(|name| name.to_ascii_lowercase()).collect(),
        write,
    })
}

/// One list of a route's and its only destination's operations.
pub(super) fn merge(route: HeaderOps, destination: HeaderOps) -> HeaderOps {
    HeaderOps {
        request: merge_edits(route.request, destination.request),
        response: merge_edits(route.response, destination.response),
    }
}

fn merge_edits(mut route: HeaderEdits, destination: HeaderEdits) -> HeaderEdits {
    for name in destination.remove {
        if !route.remove.contains(&name) {
            route.remove.push(name);
        }
    }
    for write in destination.write {
        if !write.append {
            route.write.retain(|w| w.append || w.name != write.name);
        }
        route.write.push(write);
    }
    // sets by name, then adds in order: the sort is stable
    route.write.sort_by(|a, b| {
        let name = |w: &HeaderWrite| {
            if w.append {
                String::new()
            } else {
                w.name.clone()
            }
        };
        (a.append, name(a)).cmp(&(b.append, name(b)))
    });
    route
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> Headers {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        Headers {
            request: Some(HeaderOperations {
                set: map(set),
                add: map(add),
                remove: remove.iter().map(|s| (*s).to_owned()).collect(),
            }),
            response: None,
        }
    }

    fn shown(edits: &HeaderEdits) -> String {
        let write = edits
            .write
            .iter()
            .map(|w| format!("{}{}", if w.append { '+' } else { '=' }, w.name));
        edits
            .remove
            .iter()
            .map(|n| format!("-{n}"))
            .chain(write)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn sets_come_sorted_before_adds_and_internal_names_are_dropped() {
        let level = level(Some(&headers(
            &[("X-B", "1"), (":path", "/x"), ("x-a", "1")],
            &[("x-0", "1"), ("Host", "h")],
            &["X-C", "host", ":method"],
        )));
        let level = level.unwrap();
        assert_eq!(shown(&level.ops.request), "-x-c =x-a =x-b +x-0");
        assert_eq!(level.authority.as_deref(), Some("h"));
    }

    #[test]
    fn a_set_authority_beats_an_added_one() {
        let level = level(Some(&headers(
            &[(":authority", "set")],
            &[("host", "added")],
            &[],
        )));
        assert_eq!(level.unwrap().authority.as_deref(), Some("set"));
    }

    #[test]
    fn the_only_destination_wins_over_the_route() {
        let of = |h: &Headers| level(Some(h)).unwrap().ops;
        let merged = merge(
            of(&headers(
                &[("x-a", "route"), ("x-c", "route")],
                &[("x-a", "route")],
                &["x-r"],
            )),
            of(&headers(
                &[("x-a", "destination")],
                &[("x-b", "destination")],
                &["x-r", "x-s"],
            )),
        );
        assert_eq!(shown(&merged.request), "-x-r -x-s =x-a =x-c +x-a +x-b");
        assert_eq!(
            merged.request.write[0].value,
            template::parse("destination").unwrap()
        );
    }

    #[test]
    fn a_broken_format_string_names_its_header() {
        let error = level(Some(&headers(&[("x-a", "50%")], &[], &[]))).unwrap_err();
        assert!(error.starts_with("header `x-a`"), "{error}");
    }
}
