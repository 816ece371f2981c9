//! Does a subset have workloads, and does a split by subsets hold for requests from outside?

use std::collections::HashMap;

use super::index::{applies_to_mesh, full_host, namespace_of};
use super::{Finding, Findings, Index, destinations};
use crate::api::Map;
use crate::diag::codes;
use crate::resource::Resource;

/// Rules for sidecars that split a host by subsets, where a gateway goes to the host directly.
pub(super) fn ineffective_at_gateways(index: &Index<'_>, to: &mut Findings) {
    let mut direct: HashMap<String, (&Resource, String)> = HashMap::new();
    for (resource, spec) in &index.virtual_services {
        if Index::gateway_names(resource, spec).next().is_none() {
            continue;
        }
        destinations::each(spec, |destination, path| {
            if destination.subset.is_empty() {
                let host = full_host(&destination.host, &resource.meta.namespace);
                direct.entry(host).or_insert((resource, path));
            }
        });
    }
    for (resource, spec) in &index.virtual_services {
        if !applies_to_mesh(spec) || Index::gateway_names(resource, spec).next().is_some() {
            continue;
        }
        let own: Vec<String> = spec
            .hosts
            .iter()
            .map(|h| full_host(h, &resource.meta.namespace))
            .collect();
        let mut told = false;
        destinations::each(spec, |destination, path| {
            let host = full_host(&destination.host, &resource.meta.namespace);
            let split = !destination.subset.is_empty() && own.contains(&host);
            let Some((gateway, at)) = direct.get(&host).filter(|_| split && !told) else {
                return;
            };
            told = true;
            let message =
                format!("requests from a gateway go to `{host}` without this rule and its subsets");
            let finding = Finding::new(codes::IST0140, resource, format!("{path}.subset"), message);
            to.push(
                finding
                    .help("write the subsets and weights into the gateway's VirtualService too, or put both hosts and gateways into one")
                    .label(gateway, at.as_str(), "the gateway's route is here"),
            );
        });
    }
}

/// Subsets whose labels no workload of the host carries.
pub(super) fn without_workloads(index: &Index<'_>, to: &mut Findings) {
    for (resource, rule) in index.set.destination_rules() {
        let host = full_host(&rule.host, &resource.meta.namespace);
        if rule.subsets.is_empty() || host.starts_with('*') {
            continue;
        }
        for (i, subset) in rule.subsets.iter().enumerate() {
            if subset.labels.is_empty() || selects(index, &host, &subset.labels) != Some(false) {
                continue;
            }
            let labels: Vec<String> = subset
                .labels
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            let message = format!(
                "subset `{}` selects no workload of `{host}`: requests to it are answered 503",
                subset.name
            );
            let finding = Finding::new(
                codes::IST0173,
                resource,
                format!("spec.subsets[{i}].labels"),
                message,
            );
            to.push(finding.help(format!("no workload of the host has {}", labels.join(", "))));
        }
    }
}

/// Whether a workload of the host carries the labels; none when no workload of it is known.
fn selects(index: &Index<'_>, host: &str, labels: &Map<String>) -> Option<bool> {
    let mut any = false;
    for service in index.services(host) {
        let written = service
            .entry
            .map(|e| e.endpoints.as_slice())
            .unwrap_or_default();
        for endpoint in written {
            any = true;
            if labels
                .iter()
                .all(|(k, v)| endpoint.labels.get(k) == Some(v))
            {
                return Some(true);
            }
        }
        let Some(selector) = service.selector else {
            continue;
        };
        let namespace = namespace_of(host).unwrap_or(&service.resource.meta.namespace);
        for workload in index
            .workloads(namespace)
            .unwrap_or_default()
            .iter()
            .filter(|w| w.matches(selector))
        {
            any = true;
            if workload.matches(labels) {
                return Some(true);
            }
        }
    }
    any.then_some(false)
}
