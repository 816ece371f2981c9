//! Do two servers claim the same host on the same port of the same workloads?

use std::collections::HashMap;

use super::{Finding, Findings, Index};
use crate::api::Map;
use crate::diag::{Level, codes};
use crate::resource::Resource;

/// A server: its Gateway and place.
#[derive(Clone, Copy)]
struct Claim<'a> {
    resource: &'a Resource,
    server: usize,
    secure: bool,
}

pub(super) fn find(index: &Index<'_>, to: &mut Findings) {
    let mut claims: HashMap<(String, u32, &str, String), Claim<'_>> = HashMap::new();
    for (resource, gateway) in index.set.gateways() {
        let selector = canonical(&gateway.selector);
        let mut told: Vec<*const Resource> = Vec::new();
        for (i, server) in gateway.servers.iter().enumerate() {
            let Some(port) = &server.port else { continue };
            let secure = matches!(port.protocol.to_ascii_uppercase().as_str(), "HTTPS" | "TLS");
            for (j, host) in server.hosts.iter().enumerate() {
                let key = (
                    selector.clone(),
                    port.number,
                    server.bind.as_str(),
                    plain(host, &resource.meta.namespace),
                );
                let claim = Claim {
                    resource,
                    server: i,
                    secure,
                };
                let Some(first) = claims.get(&key).copied() else {
                    claims.insert(key, claim);
                    continue;
                };
                let own = std::ptr::eq(first.resource, resource) && first.server == i;
                if own || told.contains(&std::ptr::from_ref(first.resource)) {
                    continue;
                }
                told.push(std::ptr::from_ref(first.resource));
                conflict(first, claim, (j, host, port.number), to);
            }
        }
    }
}

fn conflict(
    first: Claim<'_>,
    second: Claim<'_>,
    (host_at, host, port): (usize, &str, u32),
    to: &mut Findings,
) {
    let name = format!(
        "{}/{}",
        first.resource.meta.namespace, first.resource.meta.name
    );
    let (message, level) = if first.secure || second.secure {
        (
            format!(
                "host `{host}` on port {port} already belongs to Gateway `{name}`, which is older: this server is not used"
            ),
            Level::Error,
        )
    } else {
        (
            format!(
                "host `{host}` on port {port} already belongs to Gateway `{name}`; the two are merged"
            ),
            Level::Warning,
        )
    };
    let path = format!("spec.servers[{}].hosts[{host_at}]", second.server);
    let finding = Finding::new(codes::IST0145, second.resource, path, message)
        .level(level)
        .help("keep the host in one Gateway, or use other ports or workloads")
        .label(
            first.resource,
            format!("spec.servers[{}].hosts", first.server),
            "the first claim is here",
        );
    to.push(finding);
}

/// A selector as text that equal selectors share.
pub(super) fn canonical(selector: &Map<String>) -> String {
    let mut pairs: Vec<String> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.sort();
    pairs.join(",")
}

/// A host of a server with its namespace spelt out, where that narrows it.
fn plain(host: &str, namespace: &str) -> String {
    let lower = host.to_ascii_lowercase();
    match lower.split_once('/') {
        Some(("*", name)) => name.to_owned(),
        Some((".", name)) => format!("{namespace}/{name}"),
        _ => lower,
    }
}
