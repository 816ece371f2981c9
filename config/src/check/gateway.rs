//! `Gateway`: servers, their ports and hosts.

use std::collections::HashMap;

use super::{Path, Scope, policy, tls, words};
use crate::api::Gateway;
use crate::api::gateway::{Server, ServerTlsMode};
use crate::api::shared::Port;
use crate::message::nearest;

/// Protocols of a port, in capitals.
pub(super) const PROTOCOLS: [&str; 12] = [
    "HTTP",
    "HTTPS",
    "GRPC",
    "GRPC-WEB",
    "HTTP2",
    "MONGO",
    "TCP",
    "TLS",
    "REDIS",
    "MYSQL",
    "HTTP_PROXY",
    "UDP",
];

pub(super) fn check(spec: &Gateway, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    if spec.servers.is_empty() {
        scope.error(
            &root,
            "a Gateway needs at least one server",
            "add servers: [{port: ..., hosts: [...]}]",
        );
    }
    policy::labels(&spec.selector, &root.field("selector"), scope);
    if spec.selector.is_empty() {
        let help = "add selector: {istio: ingressgateway}";
        scope.warn(
            &root,
            "without `selector` the Gateway applies to every gateway workload of the mesh",
            help,
        );
    }
    switches(scope);
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (i, server) in spec.servers.iter().enumerate() {
        let at = root.item("servers", i);
        check_server(server, &at, scope);
        let Some(port) = server.port.as_ref().filter(|p| !p.name.is_empty()) else {
            continue;
        };
        if let Some(first) = names.insert(&port.name, i) {
            let message = format!(
                "port name `{}` is already used by servers[{first}]",
                port.name
            );
            scope.error(
                &at.field("port.name"),
                message,
                "names of ports are unique within a Gateway",
            );
        }
    }
}

/// Annotations that switch something on or off for all servers: what they keep to when they say
/// neither, and how they are meant to be written.
const SWITCHES: [(&str, &str, &str); 2] = [
    (
        "sallyport.io/http3",
        "HTTP/3 stays on",
        "write sallyport.io/http3: \"off\" to serve HTTPS over TCP only",
    ),
    (
        "sallyport.io/http3-early-data",
        "early data is refused",
        "write sallyport.io/http3-early-data: \"on\" if every origin knows what `Early-Data` means",
    ),
];

fn switches(scope: &mut Scope<'_>) {
    let root = Path::root("metadata");
    let at = root.field("annotations");
    for (name, else_, help) in SWITCHES {
        let value = scope.resource.meta.annotations.get(name).cloned();
        if let Some(value) = value.filter(|value| value != "on" && value != "off") {
            let message = format!("`{value}` is neither `on` nor `off`: {else_}");
            scope.warn(&at.field(name), message, help);
        }
    }
}

fn check_server(server: &Server, at: &Path<'_>, scope: &mut Scope<'_>) {
    scope.require(
        !server.hosts.is_empty(),
        at,
        "`hosts` is missing",
        "name the hosts, or write [\"*\"]",
    );
    for (i, host) in server.hosts.iter().enumerate() {
        check_host(host, &at.item("hosts", i), scope);
    }
    if server.hosts.len() > 1 && server.hosts.iter().any(|h| h == "*" || h == "*/*") {
        scope.warn(
            &at.field("hosts"),
            "`*` already covers the other hosts",
            "remove them",
        );
    }
    let unix = server.bind.starts_with("unix:");
    bind(&server.bind, at, scope);
    let Some(port) = &server.port else {
        scope.error(
            &at.field("port"),
            "`port` is missing",
            "add port: {number: 443, name: https, protocol: HTTPS}",
        );
        return;
    };
    check_port(port, unix, &at.field("port"), scope);
    if !server.default_endpoint.is_empty() {
        scope.warn(
            &at.field("defaultEndpoint"),
            "`defaultEndpoint` of a Gateway does nothing",
            "remove it",
        );
    }
    let protocol = port.protocol.to_ascii_uppercase();
    let secure = matches!(protocol.as_str(), "HTTPS" | "TLS");
    match &server.tls {
        None if secure => {
            let message = format!("a server of protocol {protocol} needs `tls`");
            scope.error(
                at,
                message,
                "add tls: {mode: SIMPLE, credentialName: ...}, or use protocol HTTP",
            );
        }
        None => {}
        Some(settings) => {
            tls::server(settings, &at.field("tls"), scope);
            if protocol == "HTTP"
                && settings.mode != ServerTlsMode::Passthrough
                && !settings.https_redirect
            {
                let message = "`tls` has no effect on a server of protocol HTTP";
                scope.error(&at.field("tls"), message, "use protocol HTTPS");
            }
            if settings.https_redirect && secure {
                let help = "put `httpsRedirect` on the server of port 80";
                scope.error(
                    &at.field("tls.httpsRedirect"),
                    format!("a server of protocol {protocol} cannot redirect to HTTPS"),
                    help,
                );
            }
        }
    }
}

fn check_port(port: &Port, unix: bool, at: &Path<'_>, scope: &mut Scope<'_>) {
    if !(unix && port.number == 0) {
        scope.judge(&at.field("number"), words::port(port.number), "");
    }
    scope.require(
        !port.name.is_empty(),
        at,
        "`port.name` is missing",
        "name it like http or https-shop",
    );
    if port.target_port != 0 {
        let help = "remove it; the port that the gateway listens on follows from its Service";
        scope.error(
            &at.field("targetPort"),
            "`targetPort` has no effect on Gateways",
            help,
        );
    }
    protocol(&port.protocol, at, scope);
}

/// The protocol of a port, in any letter case.
pub(super) fn protocol(text: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    if text.is_empty() {
        scope.error(at, "`protocol` is missing", "write HTTP, HTTPS, TCP or TLS");
        return;
    }
    let upper = text.to_ascii_uppercase();
    let listed = PROTOCOLS.get(..10).unwrap_or_default();
    if !listed.contains(&upper.as_str()) {
        let help = nearest(&upper, listed.iter().copied()).map_or_else(
            || format!("the protocols are {}", listed.join(", ")),
            |n| format!("did you mean {n}?"),
        );
        scope.error(
            &at.field("protocol"),
            format!("`{text}` is not a protocol"),
            &help,
        );
    }
}

/// `[namespace/]host`, both with wildcards.
fn check_host(host: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    let (namespace, name) = host
        .split_once('/')
        .map_or((None, host), |(ns, n)| (Some(ns), n));
    if let Some(namespace) = namespace
        && !matches!(namespace, "*" | ".")
        && !words::is_label(namespace)
    {
        let message = format!("`{namespace}` in `{host}` is not a namespace");
        scope.error(
            at,
            message,
            "write `host`, `namespace/host`, `./host` or `*/host`",
        );
    }
    if name.is_empty() {
        scope.error(
            at,
            format!("`{host}` names no host"),
            "write `*` for every host",
        );
    } else if !words::is_ip(name) {
        scope.judge(
            at,
            words::wildcard_host(name),
            "hosts have no port; the port is that of the server",
        );
    } else {
        scope.error(
            at,
            format!("`{name}` is an address, not a host"),
            "write `*`, and use `bind` to choose the address",
        );
    }
}

fn bind(bind: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    let at = at.field("bind");
    if let Some(path) = bind.strip_prefix("unix://") {
        let good = path.starts_with('/') || (path.starts_with('@') && path.len() > 1);
        scope.require(
            good,
            &at,
            &format!("`{bind}` is not the path of a socket"),
            "write unix:///path or unix://@name",
        );
    } else if !bind.is_empty() && !words::is_ip(bind) {
        scope.error(
            &at,
            format!("`{bind}` is not an address to bind to"),
            "write an IP address or unix:///path",
        );
    }
}
