//! Does a DestinationRule apply to anything, and does its TLS check whom it talks to?

use std::collections::HashSet;

use super::index::{full_host, namespace_of};
use super::{Finding, Findings, Index, destinations, listed};
use crate::api::DestinationRule;
use crate::api::destination_rule::{ClientTlsMode, ClientTlsSettings, TrafficPolicy};
use crate::diag::codes;
use crate::resource::Resource;

pub(super) fn find(index: &Index<'_>, to: &mut Findings) {
    let mut routed: HashSet<String> = HashSet::new();
    for (resource, spec) in &index.virtual_services {
        destinations::each(spec, |destination, _| {
            routed.insert(full_host(&destination.host, &resource.meta.namespace));
        });
    }
    for (resource, rule) in index.set.destination_rules() {
        let host = full_host(&rule.host, &resource.meta.namespace);
        if index.services(&host).is_empty() && !host.starts_with('*') {
            if index.is_known(&host) {
                unknown(index, resource, &host, to);
            } else if !routed.contains(&host) {
                beside(resource, &host, &routed, to);
            }
        }
        if let Some(policy) = &rule.traffic_policy {
            verification(resource, rule, policy, "spec.trafficPolicy", to);
        }
        for (i, subset) in rule.subsets.iter().enumerate() {
            if let Some(policy) = &subset.traffic_policy {
                verification(
                    resource,
                    rule,
                    policy,
                    &format!("spec.subsets[{i}].trafficPolicy"),
                    to,
                );
            }
        }
    }
}

fn unknown(index: &Index<'_>, on: &Resource, host: &str, to: &mut Findings) {
    let message =
        format!("no Service and no ServiceEntry has host `{host}`: the rule applies to nothing");
    let full = format!("{host}.svc.cluster.local");
    let help = if !index.services(&full).is_empty() {
        format!("write `{full}`: a name with a dot is taken as it stands")
    } else if namespace_of(host).is_some() {
        "correct the host, or add the Service".to_owned()
    } else {
        "correct the host, or add a ServiceEntry".to_owned()
    };
    to.push(Finding::new(codes::IST0174, on, "spec.host", message).help(help));
}

/// A rule for `api` where the routes lead to `api-v1` and `api-v2`.
fn beside(on: &Resource, host: &str, routed: &HashSet<String>, to: &mut Findings) {
    let (Some(namespace), Some((name, _))) = (namespace_of(host), host.split_once('.')) else {
        return;
    };
    let mut near: Vec<&str> = routed
        .iter()
        .filter(|r| namespace_of(r) == Some(namespace))
        .filter(|r| {
            r.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('-'))
        })
        .map(String::as_str)
        .collect();
    if near.is_empty() {
        return;
    }
    near.sort_unstable();
    let message = format!(
        "no route leads to `{host}`, only to {}: gateways do not use this rule",
        listed(&near)
    );
    to.push(
        Finding::new(codes::SP0302, on, "spec.host", message)
            .help("write a rule for each host that the routes name"),
    );
}

fn verification(
    on: &Resource,
    rule: &DestinationRule,
    policy: &TrafficPolicy,
    path: &str,
    to: &mut Findings,
) {
    let help = "set `caCertificates` (or `credentialName`), and `subjectAltNames` to pin the server's names";
    if policy.tls.as_ref().is_some_and(unverified) {
        let message = format!(
            "TLS to `{}` is checked against the system's roots only: any public CA can vouch for the server",
            rule.host
        );
        to.push(Finding::new(codes::IST0128, on, format!("{path}.tls.mode"), message).help(help));
    }
    for (i, settings) in policy.port_level_settings.iter().enumerate() {
        if settings.tls.as_ref().is_some_and(unverified) {
            let port = settings.port.as_ref().map_or(0, |p| p.number);
            let message = format!(
                "TLS to `{}` at port {port} is checked against the system's roots only: any public CA can vouch for the server",
                rule.host
            );
            let path = format!("{path}.portLevelSettings[{i}].tls.mode");
            to.push(Finding::new(codes::IST0129, on, path, message).help(help));
        }
    }
}

fn unverified(tls: &ClientTlsSettings) -> bool {
    matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
        && tls.ca_certificates.is_empty()
        && tls.credential_name.is_empty()
        && tls.insecure_skip_verify != Some(true)
}
