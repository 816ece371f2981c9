//! Rules for tokens. Istio `pilot/pkg/security/authn/policy_applier.go`: every token that comes
//! must be good; none need come, unless a rule asks for one.

use super::matches::PAYLOAD;
use super::values::bytes;
use sallyport_config::ir::{JwtKeys, JwtRule, TokenPlace};
use sallyport_core::admit::KeySet;
use sallyport_wire::envoy::envoy::config::route::v3::{RouteMatch, route_match::PathSpecifier};
use sallyport_wire::envoy::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, JwtClaimToHeader, JwtHeader, JwtProvider, JwtRequirement,
    JwtRequirementAndList, JwtRequirementOrList, RequirementRule,
    jwt_provider::{JwksSourceSpecifier, NormalizePayload},
    jwt_requirement::RequiresType,
    requirement_rule::RequirementType,
};
use sallyport_wire::envoy::google::protobuf::Empty;

/// A key set for issuers whose keys are not known, because Envoy takes none without a key. Its one
/// key verifies nothing: the point's x is SHA-256 of `no keys are known 3`, and nobody knows what
/// private key would belong to that.
const NO_KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"aBG1tXR1QTvNu0VKtYNEAHvAuqWGb6cfilIoultU44c","y":"LCPUTBb8FWhVrMLejp0SuFcSYKuv01kdqg6-nYbAxSk"}]}"#;

/// The filter's configuration; none without rules.
pub(super) fn authentication(rules: &[JwtRule]) -> Option<JwtAuthentication> {
    if rules.is_empty() {
        return None;
    }
    let named = rules.iter().enumerate();
    let providers = named.map(|(index, rule)| (name(index), provider(rule)));
    Some(JwtAuthentication {
        providers: providers.collect(),
        rules: vec![RequirementRule {
            r#match: Some(RouteMatch {
                path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                ..RouteMatch::default()
            }),
            requirement_type: Some(RequirementType::Requires(requirement(rules))),
        }],
        bypass_cors_preflight: true,
        ..JwtAuthentication::default()
    })
}

fn name(index: usize) -> String {
    format!("origins-{index}")
}

fn requires(kind: RequiresType) -> JwtRequirement {
    JwtRequirement {
        requires_type: Some(kind),
    }
}

fn any_of(requirements: Vec<JwtRequirement>) -> JwtRequirement {
    requires(RequiresType::RequiresAny(JwtRequirementOrList {
        requirements,
    }))
}

/// One token by any rule, or else every rule content with what there is.
fn requirement(rules: &[JwtRule]) -> JwtRequirement {
    let provider = |index| requires(RequiresType::ProviderName(name(index)));
    let missing = || requires(RequiresType::AllowMissing(Empty {}));
    let content = |(index, rule): (usize, &JwtRule)| {
        if rule.required {
            provider(index)
        } else {
            any_of(vec![provider(index), missing()])
        }
    };
    let mut contents: Vec<JwtRequirement> = rules.iter().enumerate().map(content).collect();
    if rules.len() == 1 {
        return contents.pop().unwrap_or_default();
    }
    let all = requires(RequiresType::RequiresAll(JwtRequirementAndList {
        requirements: contents,
    }));
    if rules.iter().any(|rule| rule.required) {
        return all;
    }
    let mut any: Vec<JwtRequirement> = (0..rules.len()).map(provider).collect();
    any.push(all);
    any_of(any)
}

fn provider(rule: &JwtRule) -> JwtProvider {
    let usable = |keys: &&str| KeySet::parse(keys).is_ok_and(|set| !set.is_empty());
    let keys = match &rule.keys {
        // one set without a key would make Envoy refuse the whole listener
        JwtKeys::Inline(keys) => Some(&**keys).filter(usable).unwrap_or(NO_KEYS),
        // before they were fetched no token is good
        JwtKeys::Remote { .. } | JwtKeys::Discovery { .. } => NO_KEYS,
    };
    let mut provider = JwtProvider {
        issuer: rule.issuer.clone(),
        audiences: rule.audiences.clone(),
        forward: rule.forward,
        forward_payload_header: rule.payload_header.clone().unwrap_or_default(),
        payload_in_metadata: PAYLOAD.to_owned(),
        normalize_payload_in_metadata: Some(NormalizePayload {
            space_delimited_claims: rule.space_delimited.clone(),
        }),
        // routes may ask for claims
        clear_route_cache: true,
        jwks_source_specifier: Some(JwksSourceSpecifier::LocalJwks(bytes(keys.as_bytes()))),
        ..JwtProvider::default()
    };
    for place in &rule.from {
        match place {
            TokenPlace::Header { name, prefix } => provider.from_headers.push(JwtHeader {
                name: name.clone(),
                value_prefix: prefix.clone(),
            }),
            TokenPlace::Param(name) => provider.from_params.push(name.clone()),
            TokenPlace::Cookie(name) => provider.from_cookies.push(name.clone()),
        }
    }
    let claims = rule.claim_headers.iter();
    provider.claim_to_headers = claims
        .map(|(header, path)| JwtClaimToHeader {
            header_name: header.clone(),
            claim_name: path.join("."),
            ..JwtClaimToHeader::default()
        })
        .collect();
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_a_key_that_a_verifier_takes() {
        assert!(KeySet::parse(NO_KEYS).is_ok_and(|set| !set.is_empty()));
    }
}
