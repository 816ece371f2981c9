//! `VirtualService` as a whole: hosts, gateways, and what each protocol's routes need.

use std::collections::HashSet;

use super::{Path, Scope, policy, route, route_match, rules, words};
use crate::api::VirtualService;
use crate::api::virtual_service::{HttpRoute, RouteDestination, TcpRoute, TlsRoute};

pub(super) fn check(spec: &VirtualService, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    let is_delegate = spec.hosts.is_empty();
    let to_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|g| g == "mesh");
    let to_gateway = spec.gateways.iter().any(|g| g != "mesh");
    if is_delegate {
        delegate(spec, &root, scope);
    } else {
        hosts(&spec.hosts, to_mesh, &root, scope);
    }
    for (i, gateway) in spec.gateways.iter().enumerate() {
        gateway_name(gateway, &root.item("gateways", i), scope);
    }
    policy::export_to(&spec.export_to, &root, scope);
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        scope.error(
            &root,
            "a VirtualService needs at least one of `http`, `tls` and `tcp`",
            "add a route",
        );
    }
    for (i, http) in spec.http.iter().enumerate() {
        let at = root.item("http", i);
        route::http(http, &at, scope);
        if !to_gateway && !is_delegate {
            claims_need_a_gateway(http, &at, scope);
        }
    }
    for (i, tls) in spec.tls.iter().enumerate() {
        tls_route(tls, &spec.hosts, &root.item("tls", i), scope);
    }
    for (i, tcp) in spec.tcp.iter().enumerate() {
        tcp_route(tcp, &root.item("tcp", i), scope);
    }
    if !scope.refused() {
        rules::unreachable(&spec.http, &root, scope);
    }
}

fn delegate(spec: &VirtualService, root: &Path<'_>, scope: &mut Scope<'_>) {
    if !spec.gateways.is_empty() {
        let help = "a VirtualService without hosts is a delegate and takes its gateways from the root; add hosts, or remove the gateways";
        scope.error(
            &root.field("gateways"),
            "a delegate VirtualService cannot name gateways",
            help,
        );
    }
    if !spec.tls.is_empty() || !spec.tcp.is_empty() {
        scope.error(
            root,
            "a delegate VirtualService has `http` routes only",
            "add hosts, or remove `tls` and `tcp`",
        );
    }
    for (i, http) in spec.http.iter().enumerate() {
        if http.delegate.is_some() {
            let at = root.item("http", i);
            scope.error(
                &at.field("delegate"),
                "a delegate cannot delegate again",
                "only one level is possible: write the route here",
            );
        }
    }
}

fn hosts(hosts: &[String], to_mesh: bool, root: &Path<'_>, scope: &mut Scope<'_>) {
    let mut seen: HashSet<String> = HashSet::new();
    for (i, host) in hosts.iter().enumerate() {
        let at = root.item("hosts", i);
        if words::is_ip(host) {
            continue;
        }
        scope.judge(
            &at,
            words::wildcard_host(host),
            "a host is a DNS name, like shop.example.com or *.example.com",
        );
        if to_mesh && host == "*" {
            let help = "name the hosts, or bind the VirtualService to a Gateway only";
            scope.error(
                &at,
                "host `*` is not allowed for sidecars (gateway `mesh`)",
                help,
            );
        }
        let lower = host.to_ascii_lowercase();
        if !seen.insert(lower.clone()) {
            scope.error(
                &at,
                format!("host `{host}` is given twice"),
                "remove one of them",
            );
        }
    }
    for (i, host) in hosts.iter().enumerate() {
        let lower = host.to_ascii_lowercase();
        if let Some(wider) = wider_wildcards(&lower).find(|w| seen.contains(w)) {
            let message = format!(
                "host `{host}` is already covered by host `{wider}` of the same VirtualService"
            );
            scope.error(
                &root.item("hosts", i),
                message,
                "keep one of them, or write two VirtualServices",
            );
        }
    }
}

/// `*.b.c`, `*.c` and `*` for `a.b.c`; without the name itself.
fn wider_wildcards(host: &str) -> impl Iterator<Item = String> + '_ {
    let dots = host
        .match_indices('.')
        .map(|(i, _)| format!("*{}", host.get(i..).unwrap_or_default()));
    dots.chain(std::iter::once("*".to_owned()))
        .filter(move |w| w != host)
}

/// `mesh`, `name` or `namespace/name`.
fn gateway_name(name: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    let (namespace, gateway) = name
        .split_once('/')
        .map_or((None, name), |(ns, n)| (Some(ns), n));
    if namespace.is_some_and(|ns| !words::is_label(ns)) {
        let help = "write `namespace/name`, or `name` for a Gateway of the same namespace";
        scope.error(
            at,
            format!("`{name}` is not the name of a Gateway: its namespace is not a DNS label"),
            help,
        );
    } else if words::fqdn(gateway).is_err() {
        scope.error(
            at,
            format!("`{name}` is not the name of a Gateway"),
            "write `namespace/name`, or `mesh`",
        );
    }
}

fn claims_need_a_gateway(http: &HttpRoute, at: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, request) in http.match_.iter().enumerate() {
        let keys = request.headers.keys().chain(request.without_headers.keys());
        for key in keys.filter(|k| route_match::is_claim(k)) {
            let message = format!("matching a JWT claim (`{key}`) works on gateways only");
            scope.error(
                &at.item("match", i),
                message,
                "bind the VirtualService to a Gateway",
            );
        }
    }
}

fn tls_route(tls: &TlsRoute, hosts: &[String], at: &Path<'_>, scope: &mut Scope<'_>) {
    scope.require(
        !tls.match_.is_empty(),
        at,
        "a TLS route needs a `match` with `sniHosts`",
        "add match: [{sniHosts: [...]}]",
    );
    for (i, m) in tls.match_.iter().enumerate() {
        let at = at.item("match", i);
        scope.require(
            !m.sni_hosts.is_empty(),
            &at,
            "`sniHosts` is missing",
            "name the hosts of the handshake",
        );
        for (j, sni) in m.sni_hosts.iter().enumerate() {
            let at = at.item("sniHosts", j);
            scope.judge(&at, words::wildcard_host(sni), "");
            let covered = hosts.iter().any(|h| covers(h, sni));
            if !covered && words::wildcard_host(sni).is_ok() {
                let message =
                    format!("SNI host `{sni}` is not among the hosts of the VirtualService");
                scope.error(
                    &at,
                    message,
                    "add it to `spec.hosts`; a host there may be wider, like *.example.com",
                );
            }
        }
        l4_match(&m.destination_subnets, m.port, &m.gateways, &at, scope);
        policy::labels(&m.source_labels, &at.field("sourceLabels"), scope);
    }
    destinations(&tls.route, at, scope);
}

/// Whether every name under `inner` is a name under `outer`; both may begin with a wildcard.
fn covers(outer: &str, inner: &str) -> bool {
    match outer.strip_prefix('*') {
        Some(suffix) => {
            inner.len() > suffix.len()
                && inner
                    .to_ascii_lowercase()
                    .ends_with(&suffix.to_ascii_lowercase())
        }
        None => outer.eq_ignore_ascii_case(inner),
    }
}

fn tcp_route(tcp: &TcpRoute, at: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, m) in tcp.match_.iter().enumerate() {
        let at = at.item("match", i);
        l4_match(&m.destination_subnets, m.port, &m.gateways, &at, scope);
        policy::labels(&m.source_labels, &at.field("sourceLabels"), scope);
        if !m.source_subnet.is_empty() {
            scope.warn(
                &at.field("sourceSubnet"),
                "`sourceSubnet` is ignored",
                "remove it",
            );
        }
    }
    destinations(&tcp.route, at, scope);
}

fn l4_match(
    subnets: &[String],
    port: u32,
    gateways: &[String],
    at: &Path<'_>,
    scope: &mut Scope<'_>,
) {
    for (i, subnet) in subnets.iter().enumerate() {
        scope.judge(
            &at.item("destinationSubnets", i),
            words::ip_or_cidr(subnet),
            "",
        );
    }
    if port != 0 {
        scope.judge(&at.field("port"), words::port(port), "");
    }
    for (i, gateway) in gateways.iter().enumerate() {
        gateway_name(gateway, &at.item("gateways", i), scope);
    }
}

fn destinations(routes: &[RouteDestination], at: &Path<'_>, scope: &mut Scope<'_>) {
    scope.require(
        !routes.is_empty(),
        at,
        "`route` is missing",
        "add route: [{destination: {host: ...}}]",
    );
    for (i, r) in routes.iter().enumerate() {
        let at = at.item("route", i);
        route::destination(r.destination.as_ref(), &at, scope);
    }
    route::weights(routes.iter().map(|r| r.weight), at, scope);
}
