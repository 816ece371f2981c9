//! Whether authorization policies let a call pass.

use super::{Call, Observed, Shadow, Verdict, edit};
use crate::ir::*;
use crate::re2;
use std::net::IpAddr;

/// The denial, if there is one: CUSTOM, then DENY, then ALLOW. AUDIT and dry runs decide nothing.
pub(super) fn denied(policies: &Policies, call: &Call) -> Option<Verdict> {
    let asked = |action: PolicyAction| {
        let all = policies.authorization.iter();
        all.filter(move |p| p.action == action && !p.dry_run)
    };
    // nobody has looked at tokens when CUSTOM is asked
    let early = Call {
        claims: Vec::new(),
        ..call.clone()
    };
    let matching = |policy: &AuthorizationPolicy, call: &Call| {
        let rule = policy.rules.iter().position(|rule| holds(rule, call))?;
        Some(policy.id(rule))
    };
    let first = |action: PolicyAction| asked(action).find_map(|p| matching(p, call));
    let mut custom = asked(PolicyAction::Custom);
    let nobody = custom.find_map(|p| matching(p, &early).filter(|_| p.authorizer.is_none()));
    let mut custom = asked(PolicyAction::Custom);
    if nobody.is_none()
        && custom.any(|p| p.authorizer.is_some() && matching(p, &early).is_some())
        && let Some(status) = call.refused
    {
        return Some(Verdict::Denied {
            status,
            details: "ext_authz_denied".to_owned(),
        });
    }
    let matched = match (nobody, first(PolicyAction::Deny)) {
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => {
            let open = asked(PolicyAction::Allow).count() == 0;
            if open || first(PolicyAction::Allow).is_some() {
                return None;
            }
            "none".to_owned()
        }
    };
    Some(Verdict::Denied {
        status: 403,
        details: format!("rbac_access_denied_matched_policy[{matched}]"),
    })
}

/// What AUDIT and dry runs say. They are asked in Istio's order, AUDIT, DENY, ALLOW: whoever refuses
/// is the last that is asked.
pub(super) fn observed(policies: &Policies, call: &Call) -> Observed {
    let only = |action: PolicyAction| Policies {
        authorization: policies
            .authorization
            .iter()
            .filter(|p| p.action == action)
            .cloned()
            .collect(),
        ..policies.clone()
    };
    if denied(&only(PolicyAction::Custom), call).is_some() {
        return Observed::default();
    }
    let of = |action: PolicyAction, dry_run: bool| -> Vec<&AuthorizationPolicy> {
        let all = policies.authorization.iter();
        all.filter(|p| p.action == action && p.dry_run == dry_run)
            .collect()
    };
    let first = |all: &[&AuthorizationPolicy]| {
        all.iter().find_map(|policy| {
            let rule = policy.rules.iter().position(|rule| holds(rule, call))?;
            Some(policy.id(rule).into_boxed_str())
        })
    };
    let shadow = |action: PolicyAction| {
        let all = of(action, true);
        let policy = first(&all);
        (!all.is_empty()).then(|| Shadow {
            allowed: policy.is_some() == (action == PolicyAction::Allow),
            policy,
        })
    };
    let audit = of(PolicyAction::Audit, false);
    let refused = denied(&only(PolicyAction::Deny), call).is_some();
    Observed {
        audited: (!audit.is_empty()).then(|| first(&audit).is_some()),
        deny: shadow(PolicyAction::Deny),
        allow: shadow(PolicyAction::Allow).filter(|_| !refused),
    }
}

/// Whether a connection that carries bytes is refused: only what is known of it is asked.
pub(super) fn refused(policies: &Policies, call: &Call) -> bool {
    denied(&on_connection(policies), call).is_some()
}

/// Policies as they are asked about connections that carry bytes.
pub(super) fn on_connection(policies: &Policies) -> Policies {
    let about = |policy: &AuthorizationPolicy| AuthorizationPolicy {
        // HTTP cannot be asked about bytes
        dry_run: policy.dry_run
            || policy
                .authorizer
                .and_then(|id| policies.authorizer(id))
                .is_some_and(|asked| asked.protocol != CheckProtocol::Grpc),
        rules: policy
            .rules
            .iter()
            .map(|rule| rule.on_connection(policy.action).unwrap_or_else(never))
            .collect(),
        ..policy.clone()
    };
    Policies {
        jwt: Vec::new(),
        authorization: policies.authorization.iter().map(about).collect(),
        authorizers: policies.authorizers.clone(),
    }
}

/// A rule that holds for nothing, and keeps the numbers of those behind it.
fn never() -> PolicyRule {
    let test = PolicyTest::Port(Vec::new());
    PolicyRule {
        when: vec![PolicyCondition {
            test,
            negated: false,
        }],
        ..PolicyRule::default()
    }
}

/// Whether a rule matches a call.
pub(super) fn holds(rule: &PolicyRule, call: &Call) -> bool {
    let all = |conditions: &Conditions| conditions.iter().all(|c| test(&c.test, call) != c.negated);
    (rule.from.is_empty() || rule.from.iter().any(all))
        && (rule.to.is_empty() || rule.to.iter().any(all))
        && all(&rule.when)
}

fn test(test: &PolicyTest, call: &Call) -> bool {
    match test {
        PolicyTest::Text(of, values) => {
            let texts = texts(of, call);
            texts.iter().any(|text| any(values, text))
        }
        PolicyTest::Path(patterns) => {
            let path = edit::split_query(&call.path).0;
            patterns.iter().any(|pattern| on_path(pattern, path))
        }
        PolicyTest::RequestPrincipal(principals) => {
            let claim = |name: &str| texts(&TextOf::Claim(vec![name.to_owned()]), call);
            let some = |m: &TextMatch, texts: &[String]| texts.iter().any(|t| matches(m, t));
            principals
                .iter()
                .any(|p| some(&p.issuer, &claim("iss")) && some(&p.subject, &claim("sub")))
        }
        PolicyTest::Address(of, blocks) => {
            let address: IpAddr = match of {
                AddressOf::Peer => call.peer(),
                AddressOf::Client => call.client(),
                AddressOf::Local => call.local(),
            };
            blocks.iter().any(|block| block.contains(address))
        }
        PolicyTest::Port(ports) => ports.contains(&call.port),
    }
}

fn texts(of: &TextOf, call: &Call) -> Vec<String> {
    let identity = call.identity.as_deref();
    let identity = identity.and_then(|uri| uri.strip_prefix("spiffe://"));
    let parts: Vec<&str> = identity.unwrap_or_default().split('/').collect();
    let part = match (of, parts.as_slice()) {
        (TextOf::Principal, _) => identity.map(str::to_owned),
        (TextOf::Namespace, [_, "ns", namespace, "sa", _]) => Some((*namespace).to_owned()),
        (TextOf::ServiceAccount, [_, "ns", namespace, "sa", account]) => {
            Some(format!("{namespace}/{account}"))
        }
        (TextOf::TrustDomain, [domain, ..]) if identity.is_some() => Some((*domain).to_owned()),
        (TextOf::Host, _) => Some(call.authority.to_ascii_lowercase()),
        (TextOf::Method, _) => Some(call.method.clone()),
        (TextOf::Sni, _) => call.sni.clone(),
        (TextOf::Header(name), _) if name == ":scheme" => None,
        (TextOf::Header(name), _) => {
            let lines = edit::lines(call, name, "").into_iter();
            return lines.map(str::to_owned).collect();
        }
        (TextOf::Claim(path), _) => {
            let claims = call.claims.iter().filter(|(claim, _)| claim == path);
            return claims.flat_map(|(_, values)| values.clone()).collect();
        }
        _ => None,
    };
    part.into_iter().collect()
}

fn any(values: &[TextMatch], text: &str) -> bool {
    values.iter().any(|value| matches(value, text))
}

fn matches(value: &TextMatch, text: &str) -> bool {
    match value {
        TextMatch::Exact(want) => text == want,
        TextMatch::Prefix(want) => text.starts_with(want.as_str()),
        TextMatch::Suffix(want) => text.ends_with(want.as_str()),
        TextMatch::Present => !text.is_empty(),
    }
}

fn on_path(pattern: &PathPattern, path: &str) -> bool {
    let segments = match pattern {
        PathPattern::Text(value) => return matches(value, path),
        PathPattern::Template(segments) => segments,
    };
    let regex = segments.iter().map(|segment| match segment {
        PathSegment::Literal(text) => format!("/{}", regex::escape(text)),
        PathSegment::One => "/[^/]+".to_owned(),
        PathSegment::Any => "/.*".to_owned(),
    });
    re2::whole(&regex.collect::<String>()).is_ok_and(|regex| regex.is_match(path.as_bytes()))
}
