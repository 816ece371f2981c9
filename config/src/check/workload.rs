//! `ServiceEntry`, `WorkloadEntry` and `WorkloadGroup`: services and workloads outside Kubernetes.

use std::collections::HashSet;

use super::{Path, Scope, gateway, policy, words};
use crate::api::service_entry::Resolution;
use crate::api::{ServiceEntry, WorkloadEntry, WorkloadGroup};

/// Most hosts of a ServiceEntry.
const MAX_HOSTS: usize = 256;

/// `ServiceEntry`.
pub(super) fn service_entry(spec: &ServiceEntry, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    hosts(spec, &root, scope);
    policy::export_to(&spec.export_to, &root, scope);
    if let Some(selector) = &spec.workload_selector {
        policy::labels(
            &selector.labels,
            &root.field("workloadSelector.labels"),
            scope,
        );
        if !spec.endpoints.is_empty() {
            scope.error(
                &root.field("workloadSelector"),
                "only one of `workloadSelector` and `endpoints` may be set",
                "keep one of them",
            );
        }
        if selector.labels.is_empty() {
            scope.warn(
                &root.field("workloadSelector"),
                "the selector is empty and selects every workload of the namespace",
                "add labels",
            );
        }
    }
    addresses(spec, &root, scope);
    ports(spec, &root, scope);
    resolution(spec, &root, scope);
    for (i, endpoint) in spec.endpoints.iter().enumerate() {
        let at = root.item("endpoints", i);
        entry(endpoint, spec.resolution == Resolution::Static, &at, scope);
        for port in endpoint.ports.keys() {
            if !spec.ports.iter().any(|p| p.name == port) {
                let message = format!("the ServiceEntry has no port of name `{port}`");
                scope.error(
                    &at.field("ports"),
                    message,
                    "the keys are names of `spec.ports`",
                );
            }
        }
        if endpoint.address.starts_with("unix:") && spec.ports.len() != 1 {
            scope.error(
                &at.field("address"),
                "a socket endpoint needs exactly one port",
                "",
            );
        }
    }
    for (i, name) in spec.subject_alt_names.iter().enumerate() {
        scope.require(
            !name.is_empty(),
            &root.item("subjectAltNames", i),
            "the name is empty",
            "remove it",
        );
    }
}

fn hosts(spec: &ServiceEntry, root: &Path<'_>, scope: &mut Scope<'_>) {
    if spec.hosts.is_empty() {
        scope.error(root, "`hosts` is missing", "name at least one host");
    }
    if spec.hosts.len() > MAX_HOSTS {
        scope.error(
            &root.field("hosts"),
            format!("{} hosts, {MAX_HOSTS} are allowed", spec.hosts.len()),
            "write a second ServiceEntry",
        );
    }
    let mut seen = HashSet::new();
    for (i, host) in spec.hosts.iter().enumerate() {
        let at = root.item("hosts", i);
        if host == "*" {
            scope.error(
                &at,
                "`*` alone is not possible",
                "name a domain, like *.example.com",
            );
        } else {
            scope.judge(&at, words::wildcard_host(host), "");
        }
        if !seen.insert(host.to_ascii_lowercase()) {
            scope.error(
                &at,
                format!("host `{host}` is given twice"),
                "remove one of them",
            );
        }
        if !host.contains('.') && !host.is_empty() && host != "*" {
            let message =
                format!("`{host}` is a short name: sidecars of other namespaces do not find it");
            scope.warn(&at, message, "write the full name");
        }
    }
    let tcp = spec.ports.iter().any(|p| is_l4(&p.protocol));
    if spec.hosts.len() > 1 && tcp && spec.resolution != Resolution::None {
        let message = "TCP carries no host name, so only the first host is effective on TCP ports";
        scope.warn(
            &root.field("hosts"),
            message,
            "write a ServiceEntry for each host",
        );
    }
}

fn addresses(spec: &ServiceEntry, root: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, address) in spec.addresses.iter().enumerate() {
        let at = root.item("addresses", i);
        scope.judge(&at, words::ip_or_cidr(address), "");
        if address.contains('/')
            && !matches!(spec.resolution, Resolution::None | Resolution::Static)
        {
            let message = format!(
                "a range of addresses is possible with resolution NONE and STATIC only, not {}",
                spec.resolution.as_str()
            );
            scope.error(&at, message, "write single addresses");
        }
    }
}

/// Protocols that carry neither host name nor SNI.
pub(crate) fn is_l4(protocol: &str) -> bool {
    matches!(
        protocol.to_ascii_uppercase().as_str(),
        "TCP" | "MONGO" | "REDIS" | "MYSQL"
    )
}

fn ports(spec: &ServiceEntry, root: &Path<'_>, scope: &mut Scope<'_>) {
    if spec.ports.is_empty() {
        scope.warn(
            root,
            "without `ports` the entry serves nothing",
            "add ports: [{number: 443, name: https, protocol: HTTPS}]",
        );
    }
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
    for (i, port) in spec.ports.iter().enumerate() {
        let at = root.item("ports", i);
        scope.judge(&at.field("number"), words::port(port.number), "");
        if !numbers.insert(port.number) {
            scope.error(
                &at.field("number"),
                format!("port {} is given twice", port.number),
                "numbers of ports are unique",
            );
        }
        if port.name.is_empty() {
            scope.error(&at, "`name` of the port is missing", "name it like https");
        } else if !names.insert(&port.name) {
            scope.error(
                &at.field("name"),
                format!("port name `{}` is given twice", port.name),
                "names of ports are unique",
            );
        }
        if !port.protocol.is_empty() {
            gateway::protocol(&port.protocol, &at, scope);
        }
        if port.target_port != 0 {
            scope.judge(&at.field("targetPort"), words::port(port.target_port), "");
        }
    }
}

/// What `resolution` asks of hosts and endpoints.
fn resolution(spec: &ServiceEntry, root: &Path<'_>, scope: &mut Scope<'_>) {
    let wild = spec.hosts.iter().any(|h| h.starts_with('*'));
    let at = root.field("resolution");
    match spec.resolution {
        Resolution::None => {
            if !spec.endpoints.is_empty() {
                scope.error(
                    &root.field("endpoints"),
                    "resolution NONE takes no endpoints",
                    "set resolution: STATIC (or DNS, for endpoints with names)",
                );
            }
        }
        Resolution::Static => {
            if wild && spec.endpoints.is_empty() && spec.workload_selector.is_none() {
                scope.warn(
                    &at,
                    "there are no endpoints",
                    "add endpoints, or workloadSelector",
                );
            } else if spec.endpoints.is_empty() && spec.workload_selector.is_none() {
                scope.warn(
                    root,
                    "resolution STATIC without endpoints answers 503",
                    "add endpoints, or workloadSelector",
                );
            }
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            if wild && spec.endpoints.is_empty() && spec.workload_selector.is_none() {
                let message = format!(
                    "a wildcard host cannot be resolved with resolution {}",
                    spec.resolution.as_str()
                );
                scope.error(&at, message, "add endpoints, or use DYNAMIC_DNS or NONE");
            }
            if spec.resolution == Resolution::DnsRoundRobin && spec.endpoints.len() > 1 {
                scope.error(
                    &root.field("endpoints"),
                    "resolution DNS_ROUND_ROBIN takes one endpoint",
                    "use DNS",
                );
            }
        }
        Resolution::DynamicDns => {
            if !spec.hosts.iter().all(|h| h.starts_with('*')) {
                scope.error(
                    &root.field("hosts"),
                    "resolution DYNAMIC_DNS is for wildcard hosts",
                    "use DNS for a host with a name",
                );
            }
            if !spec.endpoints.is_empty() || spec.workload_selector.is_some() {
                scope.error(
                    &root.field("endpoints"),
                    "resolution DYNAMIC_DNS takes no endpoints",
                    "remove them",
                );
            }
            if spec.ports.iter().any(|p| is_l4(&p.protocol)) {
                scope.error(
                    &root.field("ports"),
                    "resolution DYNAMIC_DNS needs a protocol that carries a host name",
                    "use HTTP or TLS",
                );
            }
        }
    }
}

/// `WorkloadEntry`.
pub(super) fn workload_entry(spec: &WorkloadEntry, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    entry(spec, false, &root, scope);
    if spec.address.starts_with("unix:") && !spec.ports.is_empty() {
        scope.error(&root.field("ports"), "a socket has no ports", "remove them");
    }
}

fn entry(spec: &WorkloadEntry, must_be_ip: bool, at: &Path<'_>, scope: &mut Scope<'_>) {
    if let Some(path) = spec.address.strip_prefix("unix://") {
        let good = path.starts_with('/') || path.starts_with('@');
        scope.require(
            good,
            &at.field("address"),
            &format!("`{}` is not the path of a socket", spec.address),
            "write unix:///path",
        );
    } else if spec.address.is_empty() {
        if spec.network.is_empty() {
            scope.error(
                at,
                "`address` is missing",
                "set `address`, or `network` for a workload behind that network's gateway",
            );
        }
    } else if must_be_ip && !words::is_ip(&spec.address) {
        scope.error(
            &at.field("address"),
            format!(
                "`{}` is not an IP address, which resolution STATIC needs",
                spec.address
            ),
            "set resolution: DNS",
        );
    } else if !words::is_ip(&spec.address) {
        scope.judge(
            &at.field("address"),
            words::fqdn(&spec.address),
            "the port goes to `ports`",
        );
    }
    for (name, number) in spec.ports.iter() {
        let at = at.field("ports");
        let at = at.field(name);
        scope.judge(&at, words::port(*number), "");
        scope.require(!name.is_empty(), &at, "the name of a port is empty", "");
    }
    policy::labels(&spec.labels, &at.field("labels"), scope);
    if !spec.locality.is_empty() {
        let parts: Vec<&str> = spec.locality.split('/').collect();
        let good = parts.len() <= 3 && parts.iter().all(|p| !p.is_empty() && !p.contains('*'));
        scope.require(
            good,
            &at.field("locality"),
            &format!("`{}` is not a locality", spec.locality),
            "write region/zone/subzone",
        );
    }
}

/// `WorkloadGroup`.
pub(super) fn workload_group(spec: &WorkloadGroup, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    let Some(template) = &spec.template else {
        scope.error(
            &root,
            "`template` is missing",
            "add template: {serviceAccount: ...}",
        );
        return;
    };
    if !template.address.is_empty() {
        scope.warn(
            &root.field("template.address"),
            "the address of a template is replaced on registration",
            "remove it",
        );
    }
    policy::labels(&template.labels, &root.field("template.labels"), scope);
    if let Some(metadata) = &spec.metadata {
        policy::labels(&metadata.labels, &root.field("metadata.labels"), scope);
    }
    let Some(probe) = &spec.probe else { return };
    let at = root.field("probe");
    if let Some(http) = &probe.http_get {
        scope.judge(&at.field("httpGet.port"), words::port(http.port), "");
        scope.require(
            matches!(http.scheme.as_str(), "" | "HTTP" | "HTTPS"),
            &at.field("httpGet.scheme"),
            "the scheme is not HTTP or HTTPS",
            "",
        );
    } else if let Some(tcp) = &probe.tcp_socket {
        scope.judge(&at.field("tcpSocket.port"), words::port(tcp.port), "");
    } else if let Some(grpc) = &probe.grpc {
        scope.judge(&at.field("grpc.port"), words::port(grpc.port), "");
    } else if let Some(exec) = &probe.exec {
        scope.require(
            !exec.command.is_empty(),
            &at.field("exec"),
            "`command` is missing",
            "",
        );
    } else {
        scope.error(
            &at,
            "the probe asks nothing",
            "add `httpGet`, `tcpSocket`, `grpc` or `exec`",
        );
    }
    let counts = [
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (name, value) in counts {
        scope.require(
            value >= 0,
            &at.field(name),
            &format!("{value} is negative"),
            "",
        );
    }
}
