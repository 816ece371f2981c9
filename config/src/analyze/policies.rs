//! Do policies select something, and does what they rely on exist?

use std::collections::HashMap;

use super::claims::compatible;
use super::{Finding, Findings, Index};
use crate::api::authorization_policy::Action;
use crate::api::shared::WorkloadSelector;
use crate::api::{AuthorizationPolicy, Map};
use crate::diag::codes;
use crate::resource::Resource;

pub(super) fn find(index: &Index<'_>, to: &mut Findings) {
    selectors(index, to);
    several_peer_authentications(index, to);
    port_level_mtls(index, to);
    for (resource, policy) in index.set.authorization_policies() {
        tokens(index, resource, policy, to);
        provider(index, resource, policy, to);
    }
}

/// Selectors that match no known workload.
fn selectors(index: &Index<'_>, to: &mut Findings) {
    let set = index.set;
    let policies = set
        .authorization_policies()
        .map(|(r, p)| (r, p.selector.as_ref()))
        .chain(
            set.peer_authentications()
                .map(|(r, p)| (r, p.selector.as_ref())),
        )
        .chain(
            set.request_authentications()
                .map(|(r, p)| (r, p.selector.as_ref())),
        )
        .chain(set.telemetries().map(|(r, p)| (r, p.selector.as_ref())));
    // one answer for each selector of a namespace, however many policies share it
    let mut answers: HashMap<(&str, String), bool> = HashMap::new();
    for (resource, selector) in policies {
        let Some(labels) = selector.map(|s| &s.match_labels).filter(|l| !l.is_empty()) else {
            continue;
        };
        let namespace: &str = &resource.meta.namespace;
        let everywhere = namespace == index.root;
        let shown = labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
            .join(",");
        let found = *answers
            .entry((namespace, shown.clone()))
            .or_insert_with(|| {
                if everywhere {
                    let mut all = index.all_workloads().peekable();
                    all.peek().is_none() || all.any(|w| w.matches(labels))
                } else {
                    index
                        .workloads(namespace)
                        .is_none_or(|list| list.iter().any(|w| w.matches(labels)))
                }
            });
        if !found {
            let message = format!(
                "no workload of the input has the labels {shown}: the policy applies to nothing"
            );
            let finding = Finding::new(
                codes::IST0127,
                resource,
                "spec.selector.matchLabels",
                message,
            );
            to.push(finding.help("compare them with the labels of the pods"));
        }
    }
}

/// The oldest PeerAuthentication of a scope counts, the others are silently without effect.
fn several_peer_authentications(index: &Index<'_>, to: &mut Findings) {
    let mut first: HashMap<&str, &Resource> = HashMap::new();
    for (resource, policy) in index.set.peer_authentications() {
        if !is_empty(policy.selector.as_ref()) {
            continue;
        }
        let namespace: &str = &resource.meta.namespace;
        let Some(older) = first.get(namespace) else {
            first.insert(namespace, resource);
            continue;
        };
        let scope = if namespace == index.root {
            "the whole mesh".to_owned()
        } else {
            format!("the whole namespace `{namespace}`")
        };
        let message = format!(
            "`{}` applies to {scope} already and is older: this one has no effect",
            older.meta.name
        );
        let finding = Finding::new(codes::SP0304, resource, "metadata.name", message);
        to.push(
            finding
                .help("keep one of them, by convention named `default`")
                .label(older, "metadata.name", "the one that counts is here"),
        );
    }
}

fn is_empty(selector: Option<&WorkloadSelector>) -> bool {
    selector.is_none_or(|s| s.match_labels.is_empty())
}

/// Ports of workloads that no Service leads to.
fn port_level_mtls(index: &Index<'_>, to: &mut Findings) {
    for (resource, policy) in index.set.peer_authentications() {
        let Some(selector) = policy
            .selector
            .as_ref()
            .filter(|_| !policy.port_level_mtls.is_empty())
        else {
            continue;
        };
        let services: Vec<_> = index
            .set
            .services()
            .filter(|(r, _)| r.meta.namespace == resource.meta.namespace)
            .flat_map(|(r, _)| {
                index.services(&super::index::full_host(&r.meta.name, &r.meta.namespace))
            })
            .filter(|s| {
                s.selector
                    .is_some_and(|own| selects(own, &selector.match_labels))
            })
            .collect();
        let Some(one) = services.first() else {
            continue;
        };
        let targets: Option<Vec<&Vec<u32>>> = services.iter().map(|s| s.targets.as_ref()).collect();
        let Some(targets) = targets else { continue };
        for port in policy.port_level_mtls.keys() {
            let Ok(number) = port.parse::<u32>() else {
                continue;
            };
            if targets.iter().any(|t| t.contains(&number)) {
                continue;
            }
            let known: Vec<String> = targets
                .iter()
                .flat_map(|t| t.iter())
                .map(u32::to_string)
                .collect();
            let message = format!(
                "no Service of the workload has target port {number}: the key is the port of the workload, not of the Service"
            );
            let finding = Finding::new(
                codes::SP0308,
                resource,
                format!("spec.portLevelMtls.{port}"),
                message,
            );
            to.push(
                finding
                    .help(format!("the target ports are {}", known.join(", ")))
                    .label(one.resource, "spec.ports", "the ports are here"),
            );
        }
    }
}

/// Whether a Service's selector takes the workloads of a policy.
fn selects(service: &Map<String>, policy: &Map<String>) -> bool {
    service.keys().any(|k| policy.contains_key(k)) && compatible(service, policy)
}

/// Policies that ask for a verified token where nothing verifies one.
fn tokens(index: &Index<'_>, on: &Resource, policy: &AuthorizationPolicy, to: &mut Findings) {
    let Some(path) = asks_for_token(policy) else {
        return;
    };
    let none = Map::default();
    let labels = policy.selector.as_ref().map_or(&none, |s| &s.match_labels);
    let verified = index
        .set
        .request_authentications()
        .any(|(resource, other)| {
            let reaches = resource.meta.namespace == on.meta.namespace
                || &*resource.meta.namespace == index.root
                || &*on.meta.namespace == index.root;
            let targets = other.target_ref.is_some() || !other.target_refs.is_empty();
            reaches
                && (targets
                    || other
                        .selector
                        .as_ref()
                        .is_none_or(|s| compatible(&s.match_labels, labels)))
        });
    if verified {
        return;
    }
    let effect = match policy.action {
        Action::Allow => "nobody passes it, and every request is answered 403",
        Action::Deny | Action::Audit | Action::Custom => "it never sees a claim or principal",
    };
    let message = format!(
        "the policy asks for a verified token, but no RequestAuthentication applies to its workloads: {effect}"
    );
    let shown: Vec<String> = labels.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    let help = format!(
        "add a RequestAuthentication with selector: {{matchLabels: {{{}}}}} and jwtRules: [{{issuer: ..., jwksUri: ...}}]",
        shown.join(", ")
    );
    to.push(Finding::new(codes::SP0305, on, path, message).help(help));
}

fn asks_for_token(policy: &AuthorizationPolicy) -> Option<String> {
    policy.rules.iter().enumerate().find_map(|(i, rule)| {
        let from = rule.from.iter().enumerate().find_map(|(j, from)| {
            let asks = from
                .source
                .as_ref()
                .is_some_and(|s| !s.request_principals.is_empty());
            asks.then(|| format!("spec.rules[{i}].from[{j}].source.requestPrincipals"))
        });
        from.or_else(|| {
            let when = rule
                .when
                .iter()
                .enumerate()
                .find(|(_, c)| c.key.starts_with("request.auth.") && !c.values.is_empty());
            when.map(|(j, _)| format!("spec.rules[{i}].when[{j}].key"))
        })
    })
}

/// CUSTOM policies whose provider is in no mesh configuration.
fn provider(index: &Index<'_>, on: &Resource, policy: &AuthorizationPolicy, to: &mut Findings) {
    let Some(provider) = policy
        .provider
        .as_ref()
        .filter(|p| policy.action == Action::Custom && !p.name.is_empty())
    else {
        return;
    };
    let mut known = index
        .meshes
        .iter()
        .flat_map(|m| &m.extension_providers)
        .map(|p| p.name.as_str());
    if index.meshes.is_empty() || known.any(|name| name == provider.name) {
        return;
    }
    let message = format!(
        "there is no extension provider `{}`: every request that the rules match is answered 403",
        provider.name
    );
    let finding = Finding::new(codes::IST0101, on, "spec.provider.name", message);
    to.push(finding.help("add it to meshConfig.extensionProviders"));
}
