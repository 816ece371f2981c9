//! Mesh configuration, installation files, and annotations: where wishes most often stay wishes.

use super::{Path, Scope, tls, words};
use crate::api::gateway::TlsProtocol;
use crate::api::istio_operator::Values;
use crate::api::kube::Deployment;
use crate::api::mesh_config::MeshOutboundMode;
use crate::api::{IstioOperator, MeshConfig};
use crate::diag::codes;
use crate::message::nearest;
use crate::yaml::Node;

/// Profiles of Istio's installer.
const PROFILES: [&str; 10] = [
    "ambient",
    "default",
    "demo",
    "empty",
    "minimal",
    "openshift",
    "openshift-ambient",
    "preview",
    "remote",
    "stable",
];

/// Environment of Istio's control process that people set.
pub(crate) const ENVIRONMENT: [&str; 40] = [
    "PILOT_CERT_PROVIDER",
    "PILOT_DEBOUNCE_AFTER",
    "PILOT_DEBOUNCE_MAX",
    "PILOT_DISTRIBUTION_HISTORY_RETENTION",
    "PILOT_DNS_CARES_UDP_MAX_QUERIES",
    "PILOT_ENABLE_ALPHA_GATEWAY_API",
    "PILOT_ENABLE_AMBIENT",
    "PILOT_ENABLE_ANALYSIS",
    "PILOT_ENABLE_CDS_CACHE",
    "PILOT_ENABLE_CONFIG_DISTRIBUTION_TRACKING",
    "PILOT_ENABLE_CROSS_CLUSTER_WORKLOAD_ENTRY",
    "PILOT_ENABLE_EDS_DEBOUNCE",
    "PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES",
    "PILOT_ENABLE_GATEWAY_API",
    "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER",
    "PILOT_ENABLE_GATEWAY_API_STATUS",
    "PILOT_ENABLE_IP_AUTOALLOCATE",
    "PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES",
    "PILOT_ENABLE_MONGO_FILTER",
    "PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS",
    "PILOT_ENABLE_MYSQL_FILTER",
    "PILOT_ENABLE_PERSISTENT_SESSION_FILTER",
    "PILOT_ENABLE_QUIC_LISTENERS",
    "PILOT_ENABLE_RDS_CACHE",
    "PILOT_ENABLE_REDIS_FILTER",
    "PILOT_ENABLE_ROUTE_COLLAPSE_OPTIMIZATION",
    "PILOT_ENABLE_SENDING_HBONE",
    "PILOT_ENABLE_SERVICEENTRY_SELECT_PODS",
    "PILOT_ENABLE_TELEMETRY_LABEL",
    "PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION",
    "PILOT_ENABLE_WORKLOAD_ENTRY_HEALTHCHECKS",
    "PILOT_FILTER_GATEWAY_CLUSTER_CONFIG",
    "PILOT_HTTP10",
    "PILOT_JWT_ENABLE_REMOTE_JWKS",
    "PILOT_JWT_PUB_KEY_REFRESH_INTERVAL",
    "PILOT_MAX_REQUESTS_PER_SECOND",
    "PILOT_PUSH_THROTTLE",
    "PILOT_SCOPE_GATEWAY_TO_NAMESPACE",
    "PILOT_SEND_UNHEALTHY_ENDPOINTS",
    "PILOT_TRACE_SAMPLING",
];

/// Annotations that work on pods only.
const POD_ONLY: [&str; 10] = [
    "sidecar.istio.io/proxyCPU",
    "sidecar.istio.io/proxyCPULimit",
    "sidecar.istio.io/proxyMemory",
    "sidecar.istio.io/proxyMemoryLimit",
    "sidecar.istio.io/proxyImage",
    "sidecar.istio.io/logLevel",
    "sidecar.istio.io/statsInclusionPrefixes",
    "proxy.istio.io/config",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeOutboundPorts",
];

const INJECT: &str = "sidecar.istio.io/inject";

/// `IstioOperator`.
pub(super) fn istio_operator(spec: &IstioOperator, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    if !spec.profile.is_empty() && !PROFILES.contains(&spec.profile.as_str()) {
        let help = if spec.profile == "production" {
            "write `default` (or `stable`), and set replicas and autoscaling explicitly".to_owned()
        } else {
            let near = nearest(&spec.profile, PROFILES.iter().copied());
            near.map_or_else(
                || format!("the profiles are {}", PROFILES.join(", ")),
                |n| format!("did you mean `{n}`?"),
            )
        };
        let message = format!(
            "there is no profile `{}`; it is read as `default`",
            spec.profile
        );
        scope.note(codes::SP0106, &root.field("profile"), message, &help);
    }
    if let Some(mesh) = &spec.mesh_config {
        mesh_config(mesh, &root.field("meshConfig"), scope);
    }
    if let Some(values) = &spec.values {
        remote_pilot(values, &root.field("values"), scope);
    }
    security_context(&root, scope);
    if let Some(components) = &spec.components {
        no_effect(components, &root.field("components"), scope);
        environment(components, &root.field("components"), scope);
    }
}

fn remote_pilot(values: &Values, at: &Path<'_>, scope: &mut Scope<'_>) {
    let Some(global) = &values.global else { return };
    let address = global.remote_pilot_address.as_str();
    let inside =
        address.ends_with(".svc.cluster.local") || address.ends_with(".svc") || address == "istiod";
    if inside {
        let message = format!(
            "`{address}` is resolved in the remote cluster and so leads back to the remote cluster itself"
        );
        let help = "write the address of the primary cluster's east-west gateway";
        scope.note(
            codes::SP0109,
            &at.field("global.remotePilotAddress"),
            message,
            help,
        );
    }
}

/// Settings of pods that are often written into ProxyConfig, where there are no such fields.
fn security_context(root: &Path<'_>, scope: &mut Scope<'_>) {
    let node = scope
        .resource
        .node
        .get("spec")
        .and_then(|s| s.get("meshConfig"))
        .and_then(|m| m.get("defaultConfig"));
    let fields: Vec<&str> = [
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "fsGroup",
        "securityContext",
    ]
    .into_iter()
    .filter(|f| node.is_some_and(|n| n.get(f).is_some()))
    .collect();
    for field in fields {
        let at = root.field("meshConfig.defaultConfig");
        let help = "sidecars run as 1337 without capabilities with components.cni.enabled: true; other settings go to the injection template or values.global.proxy";
        scope.note(
            codes::SP0107,
            &at.field(field),
            format!("`{field}` is not a field of ProxyConfig and hardens nothing"),
            help,
        );
    }
}

fn no_effect(components: &Node, at: &Path<'_>, scope: &mut Scope<'_>) {
    for entry in components.entries() {
        let settings = entry.value.get("k8s").into_iter().flat_map(Node::entries);
        let parts: Vec<&str> = settings.map(|e| &*e.key).filter(|k| *k != "env").collect();
        if !parts.is_empty() {
            let at = at.field(&entry.key);
            let message = format!(
                "{} of `{}` are not applied from here",
                parts.join(", "),
                entry.key
            );
            scope.note(
                codes::SP0111,
                &at.field("k8s"),
                message,
                "set them where the process is started: a Deployment or a unit file",
            );
        }
    }
}

fn environment(components: &Node, at: &Path<'_>, scope: &mut Scope<'_>) {
    for entry in components.entries() {
        let list = entry.value.get("k8s").and_then(|k| k.get("env"));
        let at = at.field(&entry.key);
        let at = at.field("k8s");
        for (i, variable) in list.into_iter().flat_map(Node::items).enumerate() {
            let Some(name) = variable.get("name").and_then(Node::scalar) else {
                continue;
            };
            if let Some(help) = unknown_environment(name) {
                let at = at.item("env", i);
                scope.note(
                    codes::SP0108,
                    &at.field("name"),
                    format!("`{name}` is not known and has no effect"),
                    &help,
                );
            }
        }
    }
}

/// What to say about an environment name of the control process; none if it is a known one.
#[must_use]
pub(crate) fn unknown_environment(name: &str) -> Option<String> {
    if !name.starts_with("PILOT_") || ENVIRONMENT.contains(&name) {
        return None;
    }
    let near = nearest(name, ENVIRONMENT.iter().copied());
    Some(near.map_or_else(
        || "remove it, or look its successor up".to_owned(),
        |n| format!("did you mean `{n}`?"),
    ))
}

/// `MeshConfig`, of its own or inside an `IstioOperator`.
pub(super) fn mesh_config(spec: &MeshConfig, at: &Path<'_>, scope: &mut Scope<'_>) {
    if let Some(timeout) = spec.connect_timeout {
        scope.judge(&at.field("connectTimeout"), words::duration(timeout), "");
    }
    if spec
        .outbound_traffic_policy
        .as_ref()
        .is_some_and(|p| p.mode == MeshOutboundMode::RegistryOnly)
    {
        let message =
            "REGISTRY_ONLY is not a firewall (it can be bypassed), and gateways ignore it";
        scope.note(
            codes::SP0307,
            &at.field("outboundTrafficPolicy.mode"),
            message,
            "add network policies",
        );
    }
    if spec.enable_tracing == Some(true) {
        let sent = !spec.extension_providers.is_empty()
            || spec
                .default_providers
                .as_ref()
                .is_some_and(|p| !p.tracing.is_empty())
            || spec
                .default_config
                .as_ref()
                .is_some_and(|c| c.tracing.is_some());
        if !sent {
            let message = "`enableTracing` is true by default, and alone exports nothing";
            scope.note(
                codes::SP0112,
                &at.field("enableTracing"),
                message,
                "add an extensionProvider and name it in defaultProviders.tracing or a Telemetry",
            );
        }
    }
    mesh_tls(spec, at, scope);
    dns_allocation(spec, at, scope);
}

fn mesh_tls(spec: &MeshConfig, at: &Path<'_>, scope: &mut Scope<'_>) {
    for (field, settings) in [
        ("tlsDefaults", &spec.tls_defaults),
        ("meshMTLS", &spec.mesh_mtls),
    ] {
        let Some(settings) = settings else { continue };
        let at = at.field(field);
        tls::suites(&settings.cipher_suites, &at, scope);
        if matches!(
            settings.min_protocol_version,
            TlsProtocol::Tlsv1_0 | TlsProtocol::Tlsv1_1
        ) {
            let message = format!(
                "{} is not offered here; the least version is TLSV1_2",
                settings.min_protocol_version.as_str()
            );
            scope.note(
                codes::SP0113,
                &at.field("minProtocolVersion"),
                message,
                "set it to TLSV1_2",
            );
        }
    }
    if spec
        .mesh_mtls
        .as_ref()
        .is_some_and(|m| !m.ecdh_curves.is_empty())
    {
        scope.error(
            &at.field("meshMTLS.ecdhCurves"),
            "`ecdhCurves` cannot be set for mesh traffic",
            "remove it",
        );
    }
}

fn dns_allocation(spec: &MeshConfig, at: &Path<'_>, scope: &mut Scope<'_>) {
    let metadata = spec.default_config.as_ref().map(|c| &c.proxy_metadata);
    if metadata.is_some_and(|m| m.contains_key("ISTIO_META_DNS_AUTO_ALLOCATE")) {
        let at = at.field("defaultConfig.proxyMetadata");
        let message = "`ISTIO_META_DNS_AUTO_ALLOCATE` was superseded";
        let help = "remove it: addresses are allocated by the control process (PILOT_ENABLE_IP_AUTOALLOCATE, on by default)";
        scope.note(
            codes::SP0110,
            &at.field("ISTIO_META_DNS_AUTO_ALLOCATE"),
            message,
            help,
        );
    }
}

/// Annotations of a `Namespace`.
pub(super) fn namespace(scope: &mut Scope<'_>) {
    let annotations = scope.resource.meta.annotations.clone();
    let root = Path::root("metadata");
    let at = root.field("annotations");
    for name in annotations.keys().filter(|n| POD_ONLY.contains(n)) {
        let help = "put it on the pod template, or set values.global.proxy.resources for all pods";
        scope.note(
            codes::IST0107,
            &at.field(name),
            format!("annotation `{name}` does nothing here: it can only be applied to Pod"),
            help,
        );
    }
}

/// Annotations of a `Deployment` and of its pods.
pub(super) fn deployment(spec: &Deployment, scope: &mut Scope<'_>) {
    let own = scope.resource.meta.annotations.clone();
    let root = Path::root("metadata");
    let at = root.field("annotations");
    for name in own.keys().filter(|n| POD_ONLY.contains(n) || *n == INJECT) {
        let message =
            format!("annotation `{name}` does nothing here: it can only be applied to Pod");
        scope.note(
            codes::IST0107,
            &at.field(name),
            message,
            "move it to spec.template.metadata",
        );
    }
    let metadata = spec
        .spec
        .as_ref()
        .and_then(|s| s.template.as_ref())
        .and_then(|t| t.metadata.as_ref());
    if metadata.is_some_and(|m| m.annotations.contains_key(INJECT)) {
        let root = Path::root("spec");
        let at = root.field("template.metadata.annotations");
        inject(&at, scope);
    }
}

/// Annotations of a `Pod`.
pub(super) fn pod(scope: &mut Scope<'_>) {
    if scope.resource.meta.annotations.contains_key(INJECT) {
        let root = Path::root("metadata");
        inject(&root.field("annotations"), scope);
    }
}

fn inject(at: &Path<'_>, scope: &mut Scope<'_>) {
    let message = format!("annotation `{INJECT}` is deprecated");
    scope.note(
        codes::IST0135,
        &at.field(INJECT),
        message,
        "write the pod label of the same name instead",
    );
}
