//! Can the protocol of a service's ports be told?

use super::{Finding, Findings, Index};
use crate::api::kube::ServicePort;
use crate::check::is_l4;
use crate::diag::codes;

/// Protocols that the name of a port can begin with.
const PROTOCOLS: [&str; 11] = [
    "http", "http2", "https", "grpc", "grpc-web", "tcp", "tls", "udp", "mongo", "mysql", "redis",
];

/// Namespaces whose services belong to the platform.
const PLATFORM: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

pub(super) fn find(index: &Index<'_>, to: &mut Findings) {
    for (resource, service) in index.set.services() {
        if PLATFORM.contains(&&*resource.meta.namespace) || *resource.meta.namespace == *index.root
        {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        for (i, port) in spec.ports.iter().enumerate() {
            if named(port) {
                continue;
            }
            let name = if port.name.is_empty() {
                "a port without name".to_owned()
            } else {
                format!("port name `{}`", port.name)
            };
            let message = format!(
                "{name} (port {}) does not say its protocol, which is guessed then",
                port.port
            );
            let suffix = if port.name.is_empty() {
                String::new()
            } else {
                format!("-{}", port.name)
            };
            let path = if port.name.is_empty() {
                format!("spec.ports[{i}]")
            } else {
                format!("spec.ports[{i}].name")
            };
            let help = format!("name it http{suffix} or tcp{suffix}, or set `appProtocol`");
            to.push(Finding::new(codes::IST0118, resource, path, message).help(help));
        }
    }
    for (resource, entry) in index.set.service_entries() {
        let Some((i, port)) = entry
            .ports
            .iter()
            .enumerate()
            .find(|(_, p)| is_l4(&p.protocol))
        else {
            continue;
        };
        if entry.addresses.is_empty() {
            let message = format!(
                "port {} is {} and the entry has no `addresses`: it takes every connection to that port",
                port.number,
                port.protocol.to_ascii_uppercase()
            );
            let finding = Finding::new(
                codes::IST0134,
                resource,
                format!("spec.ports[{i}].protocol"),
                message,
            );
            to.push(finding.help("add `addresses`, or use protocol TLS if the bytes are TLS"));
        }
    }
}

fn named(port: &ServicePort) -> bool {
    let prefix = |text: &str| {
        let text = text.to_ascii_lowercase();
        PROTOCOLS.iter().any(|p| {
            text.strip_prefix(p)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    !port.app_protocol.is_empty()
        || matches!(port.protocol.as_str(), "UDP" | "SCTP")
        || prefix(&port.name)
}
