//! `Sidecar`: listeners of a sidecar and what they may reach.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::{Path, Scope, gateway, policy, tls, words};
use crate::api::Sidecar;
use crate::api::gateway::ServerTlsMode;
use crate::api::sidecar::{CaptureMode, IstioEgressListener, IstioIngressListener};
use crate::diag::codes;

pub(super) fn check(spec: &Sidecar, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    if let Some(selector) = &spec.workload_selector {
        policy::labels(
            &selector.labels,
            &root.field("workloadSelector.labels"),
            scope,
        );
    }
    let mut ports = HashSet::new();
    for (i, listener) in spec.ingress.iter().enumerate() {
        let at = root.item("ingress", i);
        ingress(listener, &at, scope);
        let number = listener.port.as_ref().map_or(0, |p| p.number);
        if number != 0 && !ports.insert(number) {
            scope.error(
                &at.field("port.number"),
                format!("port {number} has two ingress listeners"),
                "remove one of them",
            );
        }
    }
    for (i, listener) in spec.egress.iter().enumerate() {
        egress(listener, &root.item("egress", i), scope);
    }
    portless(&spec.egress, &root, scope);
    if spec
        .outbound_traffic_policy
        .as_ref()
        .is_some_and(|p| p.egress_proxy.is_some())
    {
        scope.warn(
            &root.field("outboundTrafficPolicy.egressProxy"),
            "`egressProxy` is experimental and not applied",
            "remove it",
        );
    }
}

/// Istio allows one egress listener without port, in the last place. More of them mean the union
/// of their hosts, which is what they are read as.
fn portless(list: &[IstioEgressListener], root: &Path<'_>, scope: &mut Scope<'_>) {
    let without: Vec<usize> = list
        .iter()
        .enumerate()
        .filter(|(_, l)| l.port.is_none())
        .map(|(i, _)| i)
        .collect();
    let Some(first) = without.first() else { return };
    if without.len() > 1 {
        let hosts: Vec<String> = list
            .iter()
            .filter(|l| l.port.is_none())
            .flat_map(|l| l.hosts.iter().map(|h| format!("\"{h}\"")))
            .collect();
        let message = format!(
            "{} egress listeners have no port; they are read as one list of hosts",
            without.len()
        );
        let help = format!(
            "write one listener, in the last place: egress: [{{hosts: [{}]}}]",
            hosts.join(", ")
        );
        scope.note(codes::SP0103, &root.item("egress", *first), message, &help);
    } else if *first + 1 != list.len() {
        let message =
            "the egress listener without port is not the last one; it is read as if it were";
        scope.note(
            codes::SP0103,
            &root.item("egress", *first),
            message,
            "move it to the end",
        );
    }
}

fn ingress(listener: &IstioIngressListener, at: &Path<'_>, scope: &mut Scope<'_>) {
    match &listener.port {
        None => scope.error(
            at,
            "`port` is missing",
            "add port: {number: 8080, protocol: HTTP, name: http}",
        ),
        Some(port) => {
            scope.judge(&at.field("port.number"), words::port(port.number), "");
            gateway::protocol(&port.protocol, &at.field("port"), scope);
        }
    }
    bind(&listener.bind, at, scope);
    if !listener.default_endpoint.is_empty() {
        default_endpoint(
            &listener.default_endpoint,
            &at.field("defaultEndpoint"),
            scope,
        );
    }
    if let Some(settings) = &listener.tls {
        let at = at.field("tls");
        tls::server(settings, &at, scope);
        let possible = matches!(settings.mode, ServerTlsMode::Simple | ServerTlsMode::Mutual);
        scope.require(
            possible,
            &at.field("mode"),
            "an ingress listener terminates TLS in mode SIMPLE or MUTUAL",
            "",
        );
    }
}

fn default_endpoint(endpoint: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    if let Some(path) = endpoint.strip_prefix("unix://") {
        return scope.require(
            path.starts_with('/') || path.starts_with('@'),
            at,
            "it is not the path of a socket",
            "write unix:///path",
        );
    }
    let local = endpoint
        .parse::<SocketAddr>()
        .is_ok_and(|a| (a.ip().is_loopback() || a.ip().is_unspecified()) && a.port() != 0);
    let known = local
        && matches!(
            endpoint.rsplit_once(':'),
            Some(("127.0.0.1" | "0.0.0.0" | "[::1]" | "[::]", _))
        );
    let help = "write 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///path";
    scope.require(
        known,
        at,
        &format!("`{endpoint}` is not an endpoint of the workload itself"),
        help,
    );
}

fn bind(bind: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    if !bind.is_empty() && !bind.starts_with("unix://") && !words::is_ip(bind) {
        scope.error(
            &at.field("bind"),
            format!("`{bind}` is not an address to bind to"),
            "write an IP address or unix:///path",
        );
    }
}

fn egress(listener: &IstioEgressListener, at: &Path<'_>, scope: &mut Scope<'_>) {
    scope.require(
        !listener.hosts.is_empty(),
        at,
        "`hosts` is missing",
        "write hosts: [\"./*\"]",
    );
    bind(&listener.bind, at, scope);
    let unix = listener.bind.starts_with("unix://");
    match &listener.port {
        None if !listener.bind.is_empty() => {
            scope.error(&at.field("bind"), "`bind` needs `port`", "add port")
        }
        None if listener.capture_mode != CaptureMode::Default => {
            scope.error(
                &at.field("captureMode"),
                "`captureMode` needs `port`",
                "add port, or remove it",
            );
        }
        None => {}
        Some(port) => {
            if !(unix && port.number == 0) {
                scope.judge(&at.field("port.number"), words::port(port.number), "");
            }
            gateway::protocol(&port.protocol, &at.field("port"), scope);
        }
    }
    let mut seen = HashSet::new();
    for (i, host) in listener.hosts.iter().enumerate() {
        let at = at.item("hosts", i);
        egress_host(host, &at, scope);
        if !seen.insert(host) {
            scope.warn(
                &at,
                format!("`{host}` is given twice"),
                "remove one of them",
            );
        }
    }
}

/// `namespace/host`, with `.`, `*`, `~` and `~name` for namespaces.
fn egress_host(host: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    let Some((namespace, name)) = host.split_once('/') else {
        scope.error(
            at,
            format!("`{host}` has no namespace"),
            &format!("write ./{host} for this namespace, or */{host} for any"),
        );
        return;
    };
    if namespace == "~" && name != "*" {
        scope.error(
            at,
            format!("`{host}`: no namespace, but a host"),
            "write ~/* to reach nothing",
        );
        return;
    }
    let plain = namespace
        .strip_prefix('~')
        .filter(|n| !n.is_empty())
        .unwrap_or(namespace);
    if !matches!(namespace, "*" | "." | "~") && !words::is_label(plain) {
        scope.error(
            at,
            format!("`{namespace}` in `{host}` is not a namespace"),
            "write `.`, `*` or a name",
        );
    }
    scope.judge(at, words::wildcard_host(name), "");
}
