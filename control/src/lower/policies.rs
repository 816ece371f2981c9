//! Authorization policies as RBAC filters: one for each kind of action, in the order in which they
//! are asked. Istio `pilot/pkg/security/authz/builder`.

mod rules;

use super::values::any;
use rules::{Reach, policy};
use sallyport_config::ir::{AuthorizationPolicy, PolicyAction};
use sallyport_wire::envoy::envoy::config::listener::v3::{Filter, filter};
use sallyport_wire::envoy::envoy::config::rbac::v3::{Rbac as Rules, rbac::Action};
use sallyport_wire::envoy::envoy::extensions::filters::http::rbac::v3::Rbac;
use sallyport_wire::envoy::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use std::collections::HashMap;

/// Name of the HTTP filter.
pub(super) const HTTP: &str = "envoy.filters.http.rbac";
/// Name of the network filter.
const NETWORK: &str = "envoy.filters.network.rbac";
/// Prefixes of the statistics of policies that decide nothing yet.
const DRY_ALLOW: &str = "istio_dry_run_allow_";
const DRY_DENY: &str = "istio_dry_run_deny_";

/// What filters ask, in order. Whom a CUSTOM policy would ask is not known to this proxy: whatever
/// it matches is refused, as by Istio without a provider.
const ORDER: [(PolicyAction, Action); 4] = [
    (PolicyAction::Custom, Action::Deny),
    (PolicyAction::Audit, Action::Log),
    (PolicyAction::Deny, Action::Deny),
    (PolicyAction::Allow, Action::Allow),
];

/// Rules of one action: those that decide, and those that only count.
struct Asked {
    rules: Option<Rules>,
    shadow: Option<Rules>,
    prefix: &'static str,
}

/// Filters of an HTTP connection manager.
pub(super) fn http(policies: &[AuthorizationPolicy]) -> Vec<Rbac> {
    let asked = asked(policies, Reach::Http).into_iter();
    let filter = |asked: Asked| Rbac {
        rules: asked.rules,
        shadow_rules_stat_prefix: prefix(asked.shadow.as_ref(), asked.prefix),
        shadow_rules: asked.shadow,
        ..Rbac::default()
    };
    asked.map(filter).collect()
}

/// Filters before bytes are carried.
pub(super) fn network(policies: &[AuthorizationPolicy], stat: &str) -> Vec<Filter> {
    let asked = asked(policies, Reach::Bytes).into_iter();
    let filter = |asked: Asked| Filter {
        name: NETWORK.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(any(&NetworkRbac {
            rules: asked.rules,
            shadow_rules_stat_prefix: prefix(asked.shadow.as_ref(), asked.prefix),
            shadow_rules: asked.shadow,
            stat_prefix: format!("{stat}."),
            ..NetworkRbac::default()
        }))),
    };
    asked.map(filter).collect()
}

fn prefix(shadow: Option<&Rules>, prefix: &str) -> String {
    shadow.map(|_| prefix.to_owned()).unwrap_or_default()
}

fn asked(policies: &[AuthorizationPolicy], reach: Reach) -> Vec<Asked> {
    let mut out = Vec::new();
    for (kind, action) in ORDER {
        let of = |dry| {
            let chosen = policies
                .iter()
                .filter(|p| p.action == kind && p.dry_run == dry);
            rules(chosen, action, reach)
        };
        let (rules, shadow) = (of(false), of(true));
        if rules.is_some() || shadow.is_some() {
            let prefix = match action {
                Action::Allow => DRY_ALLOW,
                _ => DRY_DENY,
            };
            out.push(Asked {
                rules,
                shadow,
                prefix,
            });
        }
    }
    out
}

/// Rules of policies of one action; none without policies. Policies without rules match nothing:
/// an ALLOW of that kind refuses everything.
fn rules<'p>(
    policies: impl Iterator<Item = &'p AuthorizationPolicy>,
    action: Action,
    reach: Reach,
) -> Option<Rules> {
    let mut any = false;
    let mut all = HashMap::new();
    for written in policies {
        any = true;
        for (index, rule) in written.rules.iter().enumerate() {
            if let Some(policy) = policy(rule, action, reach) {
                all.insert(written.id(index), policy);
            }
        }
    }
    any.then(|| Rules {
        action: action.into(),
        policies: all,
        ..Rules::default()
    })
}
