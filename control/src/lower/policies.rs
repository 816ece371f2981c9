//! Authorization policies as RBAC filters: one for each kind of action, in the order in which they
//! are asked. Istio `pilot/pkg/security/authz/builder`.

mod authorizers;
mod rules;

use super::http::filter as http_filter;
use super::values::any;
use rules::{Reach, policy};
use sallyport_config::ir::{
    AuthorizationPolicy, Authorizer, AuthorizerId, Policies, PolicyAction, Snapshot,
};
use sallyport_wire::envoy::envoy::config::listener::v3::{Filter, filter};
use sallyport_wire::envoy::envoy::config::rbac::v3::{Rbac as Rules, rbac::Action};
use sallyport_wire::envoy::envoy::extensions::filters::http::rbac::v3::Rbac;
use sallyport_wire::envoy::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use sallyport_wire::envoy::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use sallyport_wire::envoy::google::protobuf::Any;
use std::collections::HashMap;

/// Name of the HTTP filter.
const HTTP: &str = "envoy.filters.http.rbac";
/// Name of the network filter.
const NETWORK: &str = "envoy.filters.network.rbac";
/// Prefixes of the statistics of policies that decide nothing yet.
const DRY_ALLOW: &str = "istio_dry_run_allow_";
const DRY_DENY: &str = "istio_dry_run_deny_";

/// What filters ask behind tokens, in order.
const ORDER: [(PolicyAction, Action); 3] = [
    (PolicyAction::Audit, Action::Log),
    (PolicyAction::Deny, Action::Deny),
    (PolicyAction::Allow, Action::Allow),
];

/// Rules of one filter: those that decide, and those that do not.
#[derive(Default)]
struct Asked {
    rules: Option<Rules>,
    shadow: Option<Rules>,
    prefix: &'static str,
}

/// Filters before tokens: CUSTOM. Where nobody can be asked, whatever matches is refused.
pub(super) fn custom(snapshot: &Snapshot) -> Vec<HttpFilter> {
    let policies = &snapshot.policies;
    let refuse = unasked(policies, Reach::Http).into_iter();
    let mut filters: Vec<HttpFilter> = refuse.map(http_rules).collect();
    for (asked, authorizer) in inquiries(policies, Reach::Http) {
        filters.push(http_rules(asked));
        let asks = authorizers::http(snapshot, authorizer, HTTP);
        filters.push(http_filter(authorizers::HTTP, &asks));
    }
    filters
}

/// Filters behind tokens.
pub(super) fn http(policies: &Policies) -> Vec<HttpFilter> {
    let asked = asked(policies, Reach::Http).into_iter();
    asked.map(http_rules).collect()
}

fn http_rules(asked: Asked) -> HttpFilter {
    let rules = Rbac {
        rules: asked.rules,
        shadow_rules_stat_prefix: prefix(asked.shadow.as_ref(), asked.prefix),
        shadow_rules: asked.shadow,
        ..Rbac::default()
    };
    http_filter(HTTP, &rules)
}

/// Filters before bytes are carried.
pub(super) fn network(snapshot: &Snapshot, stat: &str) -> Vec<Filter> {
    let policies = &snapshot.policies;
    let rules = |asked: Asked| {
        let rules = NetworkRbac {
            rules: asked.rules,
            shadow_rules_stat_prefix: prefix(asked.shadow.as_ref(), asked.prefix),
            shadow_rules: asked.shadow,
            stat_prefix: format!("{stat}."),
            ..NetworkRbac::default()
        };
        network_filter(NETWORK, any(&rules))
    };
    let mut filters: Vec<Filter> = unasked(policies, Reach::Bytes)
        .into_iter()
        .map(rules)
        .collect();
    for (asked, authorizer) in inquiries(policies, Reach::Bytes) {
        if let Some(asks) = authorizers::network(snapshot, authorizer, NETWORK) {
            filters.push(rules(asked));
            filters.push(network_filter(authorizers::NETWORK, asks));
        }
    }
    filters.extend(asked(policies, Reach::Bytes).into_iter().map(rules));
    filters
}

fn network_filter(name: &str, config: Any) -> Filter {
    Filter {
        name: name.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(config)),
    }
}

fn prefix(shadow: Option<&Rules>, prefix: &str) -> String {
    shadow.map(|_| prefix.to_owned()).unwrap_or_default()
}

/// CUSTOM policies about which nobody can be asked.
fn unasked(policies: &Policies, reach: Reach) -> Option<Asked> {
    let custom = of(policies, PolicyAction::Custom);
    let rules = rules(
        custom.filter(|p| p.authorizer.is_none()),
        Action::Deny,
        reach,
    );
    rules.is_some().then(|| Asked {
        rules,
        ..Asked::default()
    })
}

/// For each that can be asked, what about.
fn inquiries(policies: &Policies, reach: Reach) -> Vec<(Asked, &Authorizer)> {
    let numbered = (0..).map(AuthorizerId).zip(&policies.authorizers);
    let inquiry = |(id, authorizer)| {
        let custom = of(policies, PolicyAction::Custom);
        let shadow = rules(
            custom.filter(|p| p.authorizer == Some(id)),
            Action::Deny,
            reach,
        );
        shadow.is_some().then(|| {
            let asked = Asked {
                rules: None,
                shadow,
                prefix: authorizers::SHADOW,
            };
            (asked, authorizer)
        })
    };
    numbered.filter_map(inquiry).collect()
}

fn of(policies: &Policies, kind: PolicyAction) -> impl Iterator<Item = &AuthorizationPolicy> {
    let all = policies.authorization.iter();
    all.filter(move |p| p.action == kind)
}

fn asked(policies: &Policies, reach: Reach) -> Vec<Asked> {
    let mut out = Vec::new();
    for (kind, action) in ORDER {
        let chosen = |dry| {
            rules(
                of(policies, kind).filter(|p| p.dry_run == dry),
                action,
                reach,
            )
        };
        let (rules, shadow) = (chosen(false), chosen(true));
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
