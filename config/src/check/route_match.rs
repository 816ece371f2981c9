//! The `match` blocks of an HTTP rule.

use super::{Path, Scope, policy, words};
use crate::api::virtual_service::HttpMatchRequest;
use crate::diag::codes;

/// Header keys with this beginning are claims of a verified JWT.
const CLAIMS: &str = "@request.auth.claims";

/// Whether a key of `headers` stands for a claim of a JWT.
pub(crate) fn is_claim(key: &str) -> bool {
    key.get(..CLAIMS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(CLAIMS))
}

pub(super) fn check(request: &HttpMatchRequest, at: &Path<'_>, scope: &mut Scope<'_>) {
    let parts = [
        ("uri", &request.uri),
        ("scheme", &request.scheme),
        ("method", &request.method),
        ("authority", &request.authority),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            policy::string_match(value, &at.field(name), scope);
        }
    }
    if let Some(uri) = &request.uri {
        let text = uri.exact.as_deref().or(uri.prefix.as_deref());
        if text.is_some_and(|t| !t.starts_with('/') && !t.is_empty()) {
            scope.warn(
                &at.field("uri"),
                "a path begins with `/`, so this never matches",
                "add the slash",
            );
        }
        if text.is_some_and(|t| t.contains(['?', '#'])) {
            scope.warn(
                &at.field("uri"),
                "the query is not part of the path, so this never matches",
                "use `queryParams`",
            );
        }
    }
    for (list, map) in [
        ("headers", &request.headers),
        ("withoutHeaders", &request.without_headers),
    ] {
        let at = at.field(list);
        for (name, value) in map.iter() {
            let at = at.field(name);
            header(name, &at, scope);
            policy::string_match(value, &at, scope);
        }
    }
    for (name, value) in request.query_params.iter() {
        let at = at.field("queryParams");
        let at = at.field(name);
        scope.require(
            !name.is_empty(),
            &at,
            "the name of a query parameter is missing",
            "",
        );
        policy::string_match(value, &at, scope);
    }
    if request.port != 0 {
        scope.judge(&at.field("port"), words::port(request.port), "");
    }
    policy::labels(&request.source_labels, &at.field("sourceLabels"), scope);
}

fn header(name: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    if is_claim(name) {
        let claim = name.get(CLAIMS.len()..).unwrap_or_default();
        let dotted = claim
            .strip_prefix('.')
            .is_some_and(|c| !c.is_empty() && c.split('.').all(|p| !p.is_empty()));
        let bracketed = claim.starts_with('[') && claim.ends_with(']') && claim.len() > 2;
        if !dotted && !bracketed {
            let help = "write @request.auth.claims.group or @request.auth.claims[group]";
            scope.error(at, format!("`{name}` names no claim"), help);
        }
        return;
    }
    if name.starts_with('@') {
        scope.error(
            at,
            format!("`{name}` is not the name of a header"),
            "claims begin with @request.auth.claims",
        );
    } else if matches!(
        name.to_ascii_lowercase().as_str(),
        "uri" | "scheme" | "method" | "authority"
    ) {
        let help = format!("use the field `{name}` beside `headers`");
        scope.warn(at, format!("key `{name}` of `headers` is ignored"), &help);
    } else {
        scope.judge(at, words::header_name(name.trim_start_matches(':')), "");
    }
}

/// A hint where `/v2/` takes its own subtree but not `/v2`.
pub(super) fn bare_path(
    requests: &[&HttpMatchRequest],
    spots: &[(usize, usize)],
    root: &Path<'_>,
    scope: &mut Scope<'_>,
) {
    for (request, (rule, index)) in requests.iter().zip(spots) {
        let Some(prefix) = request.uri.as_ref().and_then(|u| u.prefix.as_deref()) else {
            continue;
        };
        let Some(bare) = prefix.strip_suffix('/').filter(|b| b.len() > 1) else {
            continue;
        };
        let taken = requests.iter().any(|other| {
            other.uri.as_ref().is_some_and(|u| {
                u.exact.as_deref() == Some(bare)
                    || u.prefix.as_deref() == Some(bare)
                    || u.regex.is_some()
            })
        });
        if !taken {
            let at = root.item("http", *rule);
            let at = at.item("match", *index);
            let message =
                format!("`{bare}` itself does not begin with `{prefix}`: it takes another rule");
            let help = format!("add a match uri: {{exact: \"{bare}\"}} if it belongs here too");
            scope.note(codes::SP0211, &at.field("uri.prefix"), message, &help);
        }
    }
}
