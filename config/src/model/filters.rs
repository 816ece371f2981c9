//! What stands between the route and its action: fault, then CORS.

use super::matching::value_matches;
use super::{Call, edit};
use crate::ir::*;

/// Status of an injected abort, if the die falls on it.
pub(super) fn aborted(route: &Route, call: &Call) -> Option<u16> {
    let abort = route
        .fault
        .as_ref()?
        .abort
        .as_ref()
        .filter(|a| a.share.hit(call.dice.abort))?;
    let grpc = edit::lines(call, "content-type", "")
        .iter()
        .filter_map(|t| t.strip_prefix("application/grpc"))
        .any(|rest| rest.is_empty() || rest.starts_with('+'));
    Some(match abort.status {
        AbortStatus::Http(status) => status,
        AbortStatus::Grpc(_) if grpc => 200,
        AbortStatus::Grpc(code) => edit::http_of_grpc(code),
    })
}

/// Whether the policy lets this origin in; a condition that accepts `*` accepts every origin.
fn allowed_origin<'c>(cors: &Cors, call: &'c Call) -> Option<&'c str> {
    let (_, origin) = call
        .headers
        .iter()
        .find(|(n, v)| n == "origin" && !v.is_empty())?;
    let allows = |m: &ValueMatch| value_matches(m, "*") || value_matches(m, origin);
    cors.allow_origins.iter().any(allows).then_some(origin)
}

/// The answer to a preflight, if this is one and it is ours to answer.
pub(super) fn preflight(route: &Route, call: &Call) -> Option<Vec<(String, String)>> {
    let cors = route.cors.as_ref()?;
    let has = |name: &str| call.headers.iter().any(|(n, v)| n == name && !v.is_empty());
    if call.method != "OPTIONS" || !has("origin") || !has("access-control-request-method") {
        return None;
    }
    let Some(origin) = allowed_origin(cors, call) else {
        return (!cors.forward_unmatched_preflights).then(Vec::new);
    };
    let age = cors
        .max_age_seconds
        .map(|s| s.to_string())
        .unwrap_or_default();
    let credentials = if cors.allow_credentials { "true" } else { "" };
    let fields = [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", credentials),
        ("access-control-allow-methods", &cors.allow_methods),
        ("access-control-allow-headers", &cors.allow_headers),
        ("access-control-max-age", &age),
    ];
    let filled = fields.into_iter().filter(|(_, value)| !value.is_empty());
    Some(
        filled
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

/// What the response to an allowed origin gets.
pub(super) fn cors_fields(cors: &Cors, call: &Call) -> Vec<String> {
    let Some(origin) = allowed_origin(cors, call) else {
        return Vec::new();
    };
    let mut fields = vec![format!("access-control-allow-origin={origin}")];
    if cors.allow_credentials {
        fields.push("access-control-allow-credentials=true".to_owned());
    }
    if !cors.expose_headers.is_empty() {
        fields.push(format!(
            "access-control-expose-headers={}",
            cors.expose_headers
        ));
    }
    fields
}
