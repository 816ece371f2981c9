//! Does somebody verify the tokens whose claims a gateway's routes match?

use super::{Finding, Findings, Index};
use crate::api::{Map, VirtualService};
use crate::check::is_claim;
use crate::diag::codes;

pub(super) fn find(index: &Index<'_>, to: &mut Findings) {
    for (resource, spec) in &index.virtual_services {
        let Some((path, key)) = first_claim(spec) else {
            continue;
        };
        for (_, namespace, name) in Index::gateway_names(resource, spec) {
            let Some((gateway, servers)) = index.gateways.get(&(namespace, name)) else {
                continue;
            };
            if verified(index, &servers.selector) {
                continue;
            }
            let message = format!(
                "the route matches claim `{key}`, but no RequestAuthentication applies to Gateway `{namespace}/{name}`: the match is never true"
            );
            let labels: Vec<String> = servers
                .selector
                .iter()
                .map(|(k, v)| format!("{k}: {v}"))
                .collect();
            let help = format!(
                "add a RequestAuthentication with selector: {{matchLabels: {{{}}}}}",
                labels.join(", ")
            );
            to.push(
                Finding::new(codes::IST0149, resource, path.as_str(), message)
                    .help(help)
                    .label(
                        gateway,
                        "spec.selector",
                        "the gateway's workloads are selected here",
                    ),
            );
        }
    }
}

/// The first use of a claim, and its key.
fn first_claim(spec: &VirtualService) -> Option<(String, &str)> {
    spec.http.iter().enumerate().find_map(|(i, rule)| {
        rule.match_.iter().enumerate().find_map(|(j, request)| {
            let with = request
                .headers
                .keys()
                .find(|k| is_claim(k))
                .map(|k| ("headers", k));
            let found = with.or_else(|| {
                request
                    .without_headers
                    .keys()
                    .find(|k| is_claim(k))
                    .map(|k| ("withoutHeaders", k))
            });
            found.map(|(list, key)| (format!("spec.http[{i}].match[{j}].{list}"), key))
        })
    })
}

/// Whether a RequestAuthentication may apply to workloads with these labels.
fn verified(index: &Index<'_>, gateway: &Map<String>) -> bool {
    index.set.request_authentications().any(|(_, policy)| {
        let targets = policy.target_ref.is_some() || !policy.target_refs.is_empty();
        targets
            || policy
                .selector
                .as_ref()
                .is_none_or(|s| compatible(&s.match_labels, gateway))
    })
}

/// Whether some workload can carry both: no label is asked for with two values.
pub(super) fn compatible(a: &Map<String>, b: &Map<String>) -> bool {
    a.iter()
        .all(|(key, value)| b.get(key).is_none_or(|other| other == value))
}
