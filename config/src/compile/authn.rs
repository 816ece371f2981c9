//! RequestAuthentications that apply to the proxy: one list of rules, ordered by issuer.
//!
//! Istio `pilot/pkg/security/authn/policy_applier.go`: whatever applies is concatenated.

use super::authz::Here;
use super::draft::Draft;
use super::millis;
use crate::api::request_authentication::{JwtRule as Written, Presence};
use crate::diag::codes;
use crate::ir::{JwtKeys, JwtRule, KeySource, Millis, TokenPlace};
use crate::resource::Resource;
use crate::world::World;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Limit of a fetch of keys unless `timeout` says otherwise.
const FETCH_TIMEOUT: Millis = Millis(5_000);
/// Claims whose strings are always read as lists.
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// The rules that apply.
pub(super) fn rules(draft: &mut Draft<'_>) -> Vec<JwtRule> {
    let world = draft.world;
    let here = Here {
        world,
        view: draft.view,
    };
    let mut out = Vec::new();
    for policy in world.request_authentications() {
        let spec = policy.spec;
        let one = spec.target_ref.as_ref();
        if !here.selects(
            policy.resource,
            spec.selector.as_ref(),
            one,
            &spec.target_refs,
        ) {
            continue;
        }
        for (index, rule) in spec.jwt_rules.iter().enumerate() {
            out.push(compile(draft, policy.resource, rule, index));
        }
    }
    out.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    out
}

fn compile(draft: &mut Draft<'_>, resource: &Resource, rule: &Written, index: usize) -> JwtRule {
    let path = format!("spec.jwtRules[{index}]");
    let keys = keys(rule);
    let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    if matches!(keys, JwtKeys::Discovery { .. }) && !is_url(&rule.issuer) {
        let message = format!(
            "the issuer `{}` is no URL that could say where its keys are: its tokens are refused",
            rule.issuer
        );
        draft.report(codes::SP0309, resource, &format!("{path}.issuer"), message);
    }
    let payload = rule.output_payload_to_header.to_ascii_lowercase();
    let claims = rule.output_claim_to_headers.iter().map(|to| {
        let path = to.claim.split('.').map(str::to_owned);
        (to.header.to_ascii_lowercase(), path.collect())
    });
    let mut space_delimited: Vec<String> = SPACE_DELIMITED.map(str::to_owned).to_vec();
    space_delimited.extend(rule.space_delimited_claims.iter().cloned());
    space_delimited.sort();
    space_delimited.dedup();
    JwtRule {
        issuer: rule.issuer.clone(),
        audiences: rule.audiences.clone(),
        keys,
        from: places(rule),
        forward: rule.forward_original_token,
        payload_header: Some(payload).filter(|name| !name.is_empty()),
        claim_headers: claims.collect(),
        space_delimited,
        required: rule.presence == Presence::Required,
        origin: draft.world.origin(resource, path),
    }
}

/// Where the keys of a rule are.
fn keys(rule: &Written) -> JwtKeys {
    let timeout = rule.timeout.map_or(FETCH_TIMEOUT, millis);
    match (rule.jwks.as_str(), rule.jwks_uri.as_str()) {
        ("", "") => JwtKeys::Discovery { timeout },
        ("", uri) => JwtKeys::Remote {
            uri: uri.to_owned(),
            timeout,
        },
        (jwks, _) => JwtKeys::Inline(Arc::from(jwks)),
    }
}

/// All sets of keys that rules of a world need fetched, whichever proxies they are for.
#[must_use]
pub fn key_sources(world: &World) -> BTreeSet<KeySource> {
    let policies = world.request_authentications();
    let rules = policies.flat_map(|policy| &policy.spec.jwt_rules);
    rules
        .filter_map(|rule| keys(rule).source(&rule.issuer))
        .collect()
}

/// Where tokens are looked for: as written, or else where Istio looks.
fn places(rule: &Written) -> Vec<TokenPlace> {
    let headers = rule.from_headers.iter().map(|header| TokenPlace::Header {
        name: header.name.to_ascii_lowercase(),
        prefix: header.prefix.clone(),
    });
    let params = rule.from_params.iter().cloned().map(TokenPlace::Param);
    let cookies = rule.from_cookies.iter().cloned().map(TokenPlace::Cookie);
    let mut places: Vec<TokenPlace> = headers.chain(params).chain(cookies).collect();
    if places.is_empty() {
        places.push(TokenPlace::Header {
            name: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
        });
        places.push(TokenPlace::Param("access_token".to_owned()));
    }
    places
}
