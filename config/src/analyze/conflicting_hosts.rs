//! Do two VirtualServices define the same host for sidecars?

use std::collections::HashMap;

use super::index::{applies_to_mesh, full_host};
use super::{Finding, Findings, Index, listed};
use crate::api::VirtualService;
use crate::diag::codes;
use crate::resource::Resource;

/// One VirtualService with a host, by the place of the host.
struct Claim<'a> {
    resource: &'a Resource,
    host: usize,
    public: bool,
}

pub(super) fn find(index: &Index<'_>, to: &mut Findings) {
    let mut claims: HashMap<String, Vec<Claim<'_>>> = HashMap::new();
    for (resource, spec) in &index.virtual_services {
        if !applies_to_mesh(spec) {
            continue;
        }
        for (i, host) in spec.hosts.iter().enumerate() {
            let claim = Claim {
                resource,
                host: i,
                public: is_public(index, spec),
            };
            claims
                .entry(full_host(host, &resource.meta.namespace))
                .or_default()
                .push(claim);
        }
    }
    for (host, list) in &claims {
        for (i, claim) in list.iter().enumerate().skip(1) {
            let namespace = &claim.resource.meta.namespace;
            let meets = |other: &&Claim<'_>| {
                !std::ptr::eq(other.resource, claim.resource)
                    && (other.resource.meta.namespace == *namespace
                        || (other.public && claim.public))
            };
            let before = list.get(..i).unwrap_or_default();
            let Some(first) = before.iter().find(meets) else {
                continue;
            };
            let names: Vec<String> = [first, claim]
                .iter()
                .map(|c| format!("{}/{}", c.resource.meta.namespace, c.resource.meta.name))
                .collect();
            let message = format!(
                "VirtualServices {} both define host `{host}` for sidecars; only the older one is used",
                listed(&names)
            );
            let finding = Finding::new(
                codes::IST0109,
                claim.resource,
                format!("spec.hosts[{}]", claim.host),
                message,
            );
            to.push(
                finding
                    .help(
                        "merge the rules into one VirtualService, or restrict one with `exportTo`",
                    )
                    .label(
                        first.resource,
                        format!("spec.hosts[{}]", first.host),
                        "the older one is here",
                    ),
            );
        }
    }
}

/// Whether other namespaces see it.
fn is_public(index: &Index<'_>, spec: &VirtualService) -> bool {
    let default = index
        .meshes
        .iter()
        .map(|m| &m.default_virtual_service_export_to)
        .find(|d| !d.is_empty());
    let list = if spec.export_to.is_empty() {
        default.unwrap_or(&spec.export_to)
    } else {
        &spec.export_to
    };
    list.is_empty() || list.iter().any(|e| e == "*")
}
