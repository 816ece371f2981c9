//! What several kinds share (selectors, labels, `exportTo`, string matches), and the small kinds
//! that are little more than that.

use std::collections::HashSet;

use super::{Path, Scope, words};
use crate::api::request_authentication::JwtRule;
use crate::api::shared::{PolicyTargetReference, StringMatch, WorkloadSelector};
use crate::api::{Map, PeerAuthentication, ProxyConfig, RequestAuthentication};

/// Most `targetRefs` of a policy.
const MAX_TARGETS: usize = 16;
/// Most `spaceDelimitedClaims` of a JWT rule.
const MAX_CLAIMS: usize = 64;

/// A value to compare with.
pub(super) fn string_match(value: &StringMatch, at: &Path<'_>, scope: &mut Scope<'_>) {
    if value.prefix.as_deref() == Some("") {
        scope.error(
            &at.field("prefix"),
            "an empty prefix matches everything",
            "remove the match, or write `{}` for presence",
        );
    }
    if let Some(text) = &value.regex
        && text != "*"
    {
        scope.regex(
            &at.field("regex"),
            text,
            "the syntax is RE2's: no look-around and no back-references",
        );
    }
}

/// Labels that are compared with those of workloads.
pub(super) fn labels(map: &Map<String>, at: &Path<'_>, scope: &mut Scope<'_>) {
    for (key, value) in map.iter() {
        let at = at.field(key);
        scope.judge(&at, words::label_key(key), "");
        if value.contains('*') {
            scope.error(
                &at,
                format!("label value `{value}` has a wildcard; labels are compared as they are"),
                "write the value",
            );
        } else {
            scope.judge(&at, words::label_value(value), "");
        }
    }
}

/// The selector of a policy.
pub(super) fn selector(selector: Option<&WorkloadSelector>, at: &Path<'_>, scope: &mut Scope<'_>) {
    let Some(selector) = selector else { return };
    let at = at.field("selector.matchLabels");
    labels(&selector.match_labels, &at, scope);
    for key in selector.match_labels.keys() {
        scope.require(!key.is_empty(), &at, "a key of the selector is empty", "");
    }
}

/// `exportTo`: `.`, `*`, or names of namespaces.
pub(super) fn export_to(list: &[String], at: &Path<'_>, scope: &mut Scope<'_>) {
    let mut seen = HashSet::new();
    for (i, entry) in list.iter().enumerate() {
        let at = at.item("exportTo", i);
        if !matches!(entry.as_str(), "." | "*" | "~") && !words::is_label(entry) {
            scope.error(
                &at,
                format!("`{entry}` is not a namespace"),
                "write `.` for this namespace, `*` for all, or names",
            );
        }
        if !seen.insert(entry) {
            scope.error(
                &at,
                format!("`{entry}` is given twice"),
                "remove one of them",
            );
        }
    }
    if list.len() > 1 && list.iter().any(|e| e == "*") {
        scope.error(
            &at.field("exportTo"),
            "`*` already exports to every namespace",
            "write `*` alone, or names alone",
        );
    }
    if list.len() > 1 && list.iter().any(|e| e == "~") {
        scope.error(
            &at.field("exportTo"),
            "`~` exports to no namespace and stands alone",
            "remove the other entries",
        );
    }
}

/// `targetRef` and `targetRefs`, which exclude a selector.
pub(super) fn targets(
    selector: bool,
    one: Option<&PolicyTargetReference>,
    many: &[PolicyTargetReference],
    at: &Path<'_>,
    scope: &mut Scope<'_>,
) {
    if one.is_some() && !many.is_empty() {
        scope.error(
            &at.field("targetRef"),
            "only one of `targetRef` and `targetRefs` may be set",
            "use `targetRefs`",
        );
    }
    if selector && (one.is_some() || !many.is_empty()) {
        scope.error(
            &at.field("targetRefs"),
            "only one of `selector` and `targetRefs` may be set",
            "keep one of them",
        );
    }
    if many.len() > MAX_TARGETS {
        scope.error(
            &at.field("targetRefs"),
            format!("{} targets, {MAX_TARGETS} are allowed", many.len()),
            "write a second policy",
        );
    }
    for (i, target) in many.iter().enumerate() {
        target_ref(target, &at.item("targetRefs", i), scope);
    }
    if let Some(target) = one {
        target_ref(target, &at.field("targetRef"), scope);
    }
}

fn target_ref(target: &PolicyTargetReference, at: &Path<'_>, scope: &mut Scope<'_>) {
    scope.require(
        !target.name.is_empty(),
        at,
        "`name` of the target is missing",
        "",
    );
    scope.require(
        !target.kind.is_empty(),
        at,
        "`kind` of the target is missing",
        "",
    );
    if !target.namespace.is_empty() {
        let help = "remove it: a target is in the namespace of its policy";
        scope.error(
            &at.field("namespace"),
            "a target in another namespace is not possible",
            help,
        );
    }
}

/// `PeerAuthentication`.
pub(super) fn peer_authentication(spec: &PeerAuthentication, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    selector(spec.selector.as_ref(), &root, scope);
    let selects = spec
        .selector
        .as_ref()
        .is_some_and(|s| !s.match_labels.is_empty());
    let at = root.field("portLevelMtls");
    if !spec.port_level_mtls.is_empty() && !selects {
        scope.error(
            &at,
            "`portLevelMtls` needs a selector",
            "add selector: {matchLabels: ...}: ports belong to workloads",
        );
    }
    for port in spec.port_level_mtls.keys() {
        let known = port.parse::<u32>().is_ok_and(|p| words::port(p).is_ok());
        scope.require(
            known,
            &at.field(port),
            &format!("`{port}` is not a port"),
            "the key is the port of the workload, 1 to 65535",
        );
    }
}

/// `ProxyConfig`.
pub(super) fn proxy_config(spec: &ProxyConfig, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    selector(spec.selector.as_ref(), &root, scope);
    if let Some(concurrency) = spec.concurrency.filter(|c| *c < 0) {
        scope.error(
            &root.field("concurrency"),
            format!("{concurrency} threads are less than none"),
            "use 0 for one a CPU",
        );
    }
    if let Some(image) = &spec.image
        && !matches!(
            image.image_type.as_str(),
            "" | "default" | "debug" | "distroless"
        )
    {
        let help = "the types are default, debug and distroless";
        scope.warn(
            &root.field("image.imageType"),
            format!("`{}` is not a type of image", image.image_type),
            help,
        );
    }
}

/// `RequestAuthentication`.
pub(super) fn request_authentication(spec: &RequestAuthentication, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    selector(spec.selector.as_ref(), &root, scope);
    targets(
        spec.selector.is_some(),
        spec.target_ref.as_ref(),
        &spec.target_refs,
        &root,
        scope,
    );
    for (i, rule) in spec.jwt_rules.iter().enumerate() {
        jwt_rule(rule, &root.item("jwtRules", i), scope);
    }
}

fn jwt_rule(rule: &JwtRule, at: &Path<'_>, scope: &mut Scope<'_>) {
    scope.require(
        !rule.issuer.is_empty(),
        at,
        "`issuer` is missing",
        "name the `iss` of the tokens",
    );
    for (i, audience) in rule.audiences.iter().enumerate() {
        scope.require(
            !audience.is_empty(),
            &at.item("audiences", i),
            "an audience is empty",
            "remove it",
        );
    }
    if !rule.jwks.is_empty() && !rule.jwks_uri.is_empty() {
        scope.error(
            &at.field("jwks"),
            "only one of `jwks` and `jwksUri` may be set",
            "keep one of them",
        );
    }
    if !rule.jwks_uri.is_empty() {
        jwks_uri(&rule.jwks_uri, &at.field("jwksUri"), scope);
    }
    if !rule.jwks.is_empty() {
        let keys = serde_json::from_str::<serde_json::Value>(&rule.jwks).ok();
        let good = keys.is_some_and(|v| v.get("keys").is_some_and(serde_json::Value::is_array));
        scope.require(
            good,
            &at.field("jwks"),
            "`jwks` is not a JSON Web Key Set",
            "write {\"keys\": [...]} (RFC 7517)",
        );
    }
    jwt_fields(rule, at, scope);
}

/// Where a token is found, and what becomes of its claims.
fn jwt_fields(rule: &JwtRule, at: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, header) in rule.from_headers.iter().enumerate() {
        let at = at.item("fromHeaders", i);
        scope.judge(&at.field("name"), words::header_name(&header.name), "");
    }
    for (list, names) in [
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
    ] {
        for (i, name) in names.iter().enumerate() {
            scope.require(
                !name.is_empty(),
                &at.item(list, i),
                "the name is empty",
                "remove it",
            );
        }
    }
    if !rule.output_payload_to_header.is_empty() {
        scope.judge(
            &at.field("outputPayloadToHeader"),
            words::header_name(&rule.output_payload_to_header),
            "",
        );
    }
    for (i, out) in rule.output_claim_to_headers.iter().enumerate() {
        let at = at.item("outputClaimToHeaders", i);
        scope.judge(
            &at.field("header"),
            words::header_name(&out.header),
            "letters, digits, `-` and `_`",
        );
        scope.require(
            !out.claim.is_empty(),
            &at.field("claim"),
            "`claim` is missing",
            "name the claim",
        );
    }
    if let Some(timeout) = rule.timeout {
        scope.judge(&at.field("timeout"), words::duration(timeout), "");
    }
    if rule.space_delimited_claims.len() > MAX_CLAIMS {
        let message = format!(
            "{} claims, {MAX_CLAIMS} are allowed",
            rule.space_delimited_claims.len()
        );
        scope.error(&at.field("spaceDelimitedClaims"), message, "");
    }
    for (i, claim) in rule.space_delimited_claims.iter().enumerate() {
        scope.require(
            !claim.is_empty(),
            &at.item("spaceDelimitedClaims", i),
            "the name is empty",
            "remove it",
        );
    }
}

fn jwks_uri(uri: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    let rest = uri
        .strip_prefix("https://")
        .or_else(|| uri.strip_prefix("http://"));
    let authority = rest
        .and_then(|r| r.split(['/', '?', '#']).next())
        .unwrap_or_default();
    if authority.is_empty() {
        scope.error(
            at,
            format!("`{uri}` is not a URL"),
            "write it like https://issuer.example.com/keys",
        );
    } else if uri.starts_with("http://") {
        let message = "the keys come over plain HTTP: whoever is on the way can replace them";
        scope.warn(at, message, "use https");
    }
}
