//! Does every destination of a route exist: its host, its subset, and its port?

use super::index::{Service, full_host, namespace_of};
use super::{Finding, Findings, Index};
use crate::api::VirtualService;
use crate::api::virtual_service::Destination;
use crate::diag::{Level, codes};
use crate::message::nearest;
use crate::resource::{Resource, Spec};

pub(super) fn find(index: &Index<'_>, to: &mut Findings) {
    for (resource, spec) in &index.virtual_services {
        let mut told: Vec<String> = Vec::new();
        each(spec, |destination, path| {
            let host = full_host(&destination.host, &resource.meta.namespace);
            if !known_host(index, resource, destination, &host, &path, &mut told, to) {
                return;
            }
            subset(index, resource, destination, &host, &path, to);
            port(index, resource, destination, &host, &path, to);
        });
    }
}

/// Calls with every destination of a VirtualService and the path of it.
pub(super) fn each<'v>(spec: &'v VirtualService, mut visit: impl FnMut(&'v Destination, String)) {
    for (i, http) in spec.http.iter().enumerate() {
        for (j, route) in http.route.iter().enumerate() {
            if let Some(destination) = &route.destination {
                visit(
                    destination,
                    format!("spec.http[{i}].route[{j}].destination"),
                );
            }
        }
        if let Some(mirror) = &http.mirror {
            visit(mirror, format!("spec.http[{i}].mirror"));
        }
        for (j, mirror) in http.mirrors.iter().enumerate() {
            if let Some(destination) = &mirror.destination {
                visit(
                    destination,
                    format!("spec.http[{i}].mirrors[{j}].destination"),
                );
            }
        }
    }
    let l4 = [
        ("tls", spec.tls.iter().map(|r| &r.route).collect::<Vec<_>>()),
        ("tcp", spec.tcp.iter().map(|r| &r.route).collect()),
    ];
    for (kind, rules) in l4 {
        for (i, routes) in rules.into_iter().enumerate() {
            for (j, route) in routes.iter().enumerate() {
                if let Some(destination) = &route.destination {
                    visit(
                        destination,
                        format!("spec.{kind}[{i}].route[{j}].destination"),
                    );
                }
            }
        }
    }
}

/// Whether the host exists, as far as the input tells. What is not there is told once per
/// VirtualService.
fn known_host(
    index: &Index<'_>,
    on: &Resource,
    destination: &Destination,
    host: &str,
    path: &str,
    told: &mut Vec<String>,
    to: &mut Findings,
) -> bool {
    if !index.services(host).is_empty() || destination.host.is_empty() {
        return true;
    }
    if told.iter().any(|t| t == host) {
        return !index.is_known(host);
    }
    told.push(host.to_owned());
    let path = format!("{path}.host");
    if !index.is_known(host) {
        // the cluster may have it: said so that a gateway without a cluster is not left guessing
        let message = format!(
            "`{host}` is not among the services given; without endpoints requests are answered 503"
        );
        let help = "give its Service and EndpointSlices, or a ServiceEntry, unless they come from elsewhere";
        to.push(
            Finding::new(codes::IST0101, on, path, message)
                .level(Level::Info)
                .help(help),
        );
        return true;
    }
    let message = format!(
        "there is no Service and no ServiceEntry for host `{host}`: requests are answered 503"
    );
    to.push(Finding::new(codes::IST0101, on, path, message).help(host_help(index, host)));
    false
}

fn host_help(index: &Index<'_>, host: &str) -> String {
    let parts: Vec<&str> = host.split('.').collect();
    if let [name, namespace] = parts.as_slice() {
        let full = format!("{name}.{namespace}.svc.cluster.local");
        if !index.services(&full).is_empty() {
            return format!("write `{full}`: a name with a dot is taken as it stands");
        }
    }
    let names: Vec<&str> = index
        .set
        .services()
        .filter(|(r, _)| namespace_of(host) == Some(&r.meta.namespace))
        .map(|(r, _)| &*r.meta.name)
        .collect();
    let short = host.split('.').next().unwrap_or_default();
    match nearest(short, names.into_iter()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if namespace_of(host).is_none() => "add a ServiceEntry for the host".to_owned(),
        None => "add the Service, or correct the host".to_owned(),
    }
}

fn subset(
    index: &Index<'_>,
    on: &Resource,
    destination: &Destination,
    host: &str,
    path: &str,
    to: &mut Findings,
) {
    if destination.subset.is_empty() {
        return;
    }
    let rules = index.rules_for(host);
    let all = || {
        rules
            .iter()
            .flat_map(|(_, rule)| &rule.subsets)
            .map(|s| s.name.as_str())
    };
    if all().any(|name| name == destination.subset) {
        return;
    }
    let message = format!(
        "there is no subset `{}` of `{host}`: requests are answered 503",
        destination.subset
    );
    let mut finding = Finding::new(codes::IST0101, on, format!("{path}.subset"), message);
    finding = match (nearest(&destination.subset, all()), rules.first()) {
        (Some(near), Some((rule, _))) => finding.help(format!("did you mean `{near}`?")).label(
            rule,
            "spec.subsets",
            "the subsets of the host are here",
        ),
        (None, Some((rule, _))) => finding.help("add it to the DestinationRule").label(
            rule,
            "spec.host",
            "the DestinationRule of the host is here",
        ),
        (_, None) => finding.help(format!(
            "add a DestinationRule with host: {host} and this subset"
        )),
    };
    to.push(finding);
}

fn port(
    index: &Index<'_>,
    on: &Resource,
    destination: &Destination,
    host: &str,
    path: &str,
    to: &mut Findings,
) {
    let services = index.services(host);
    let Some(service) = services
        .iter()
        .find(|s| s.resource.meta.namespace == on.meta.namespace)
        .or_else(|| services.first())
    else {
        return;
    };
    let wanted = destination.port.as_ref().map_or(0, |p| p.number);
    if wanted == 0 && service.ports.len() > 1 {
        let ports: Vec<String> = service.ports.iter().map(u32::to_string).collect();
        let message = format!(
            "`{host}` has several ports ({}), and the route does not say which",
            ports.join(", ")
        );
        let finding = Finding::new(codes::IST0112, on, path, message).help(format!(
            "add port: {{number: {}}}",
            ports.first().map_or("80", String::as_str)
        ));
        to.push(finding.label(service.resource, "spec.ports", "the ports are here"));
        return;
    }
    let (services, service) = match behind_alias(index, service) {
        [] => (services, service),
        found => (found, found.first().unwrap_or(service)),
    };
    if wanted != 0
        && !service.ports.is_empty()
        && !services.iter().any(|s| s.ports.contains(&wanted))
    {
        let ports: Vec<String> = service.ports.iter().map(u32::to_string).collect();
        let message = format!("`{host}` has no port {wanted}: requests are answered 503");
        let finding = Finding::new(codes::IST0101, on, format!("{path}.port.number"), message);
        to.push(
            finding
                .help(format!("its ports are {}", ports.join(", ")))
                .label(service.resource, "spec.ports", "the ports are here"),
        );
    }
}

/// The services that one of type `ExternalName` stands for: their ports count. None if it is a name
/// of DNS, or no alias at all.
fn behind_alias<'i, 'a>(index: &'i Index<'a>, service: &Service<'a>) -> &'i [Service<'a>] {
    let Spec::Service(service) = &service.resource.spec else {
        return &[];
    };
    let spec = service.spec.as_ref().filter(|s| s.type_ == "ExternalName");
    let target = spec.map(|s| s.external_name.trim_end_matches('.').to_ascii_lowercase());
    target.map_or(&[], |target| index.services(&target))
}
