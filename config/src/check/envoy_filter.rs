//! `EnvoyFilter`: there is no Envoy to patch, so each patch is answered with the native field for
//! what it wants, or with the plain statement that there is none. Rate limits are recognised.

use super::{Path, Scope};
use crate::api::EnvoyFilter;
use crate::api::envoy_filter::{EnvoyConfigObjectPatch, PatchContext};
use crate::diag::{Level, codes};
use crate::local_ratelimit::{self, Read};
use crate::yaml::{Node, Value};

/// Words of a patch by which its purpose is known, and the native field for it.
const NATIVE: [(&str, &str, &str); 14] = [
    (
        "xff_num_trusted_hops",
        "the number of trusted proxies",
        "meshConfig.defaultConfig.gatewayTopology.numTrustedProxies",
    ),
    (
        "normalize_path",
        "normalisation of paths",
        "meshConfig.pathNormalization.normalization: BASE (the default)",
    ),
    (
        "merge_slashes",
        "merging of slashes",
        "meshConfig.pathNormalization.normalization: MERGE_SLASHES",
    ),
    (
        "path_with_escaped_slashes_action",
        "escaped slashes",
        "meshConfig.defaultConfig.connectionSettings.httpPathWithEscapedSlashesAction",
    ),
    (
        "proxy_protocol",
        "the PROXY protocol",
        "meshConfig.defaultConfig.gatewayTopology.proxyProtocol: {}",
    ),
    (
        "use_remote_address",
        "the address of the client",
        "nothing: the gateway always uses the remote address; set gatewayTopology.numTrustedProxies behind proxies",
    ),
    (
        "request_headers_timeout",
        "the timeout for headers",
        "meshConfig.defaultConfig.connectionSettings.httpRequestHeadersTimeout",
    ),
    (
        "request_timeout",
        "the timeout for requests",
        "meshConfig.defaultConfig.connectionSettings.httpRequestTimeout",
    ),
    (
        "stream_idle_timeout",
        "the idle timeout of streams",
        "meshConfig.defaultConfig.connectionSettings.httpStreamIdleTimeout",
    ),
    (
        "max_concurrent_streams",
        "the number of streams",
        "meshConfig.defaultConfig.connectionSettings.httpMaxConcurrentStreams",
    ),
    (
        "server_header_transformation",
        "the `server` header",
        "meshConfig.defaultConfig.proxyHeaders.server",
    ),
    (
        "per_connection_buffer_limit_bytes",
        "buffers of connections",
        "meshConfig.defaultConfig.connectionSettings.listenerPerConnectionBufferLimitBytes",
    ),
    (
        "forward_client_cert_details",
        "forwarding of client certificates",
        "meshConfig.defaultConfig.gatewayTopology.forwardClientCertDetails",
    ),
    (
        "header_format",
        "the case of headers",
        "meshConfig.defaultConfig.proxyHeaders.preserveHttp1HeaderCase",
    ),
];

/// Filters that are known and not offered, with what to do instead.
const MISSING: [(&str, &str, &str); 6] = [
    (
        "local_ratelimit",
        "rate limits",
        "insert envoy.filters.http.local_ratelimit as Istio's task does, or write a RateLimit",
    ),
    (
        "ratelimit",
        "rate limits",
        "write a RateLimit, which each gateway counts for itself, or limit in the service",
    ),
    (
        "lua",
        "Lua",
        "use header operations, rewrites, direct responses, or an ext_authz service",
    ),
    ("wasm", "WebAssembly", "use an ext_authz service"),
    (
        "ext_proc",
        "external processing",
        "use an ext_authz service, or a service behind the gateway",
    ),
    (
        "buffer",
        "buffering of requests",
        "limit the size in the service",
    ),
];

pub(super) fn check(spec: &EnvoyFilter, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    if spec.config_patches.is_empty() {
        scope.note(
            codes::SP0102,
            &root,
            "the EnvoyFilter has no patches",
            "remove it",
        );
    }
    let patches = spec.config_patches.iter().enumerate();
    let limits: Vec<_> = patches
        .map(|(i, patch)| local_ratelimit::read(patch, i))
        .collect();
    for (i, patch) in spec.config_patches.iter().enumerate() {
        let at = root.item("configPatches", i);
        if let Some(Some(read)) = limits.get(i)
            && !of_nobody(patch)
        {
            limit(read, &limits, &at, scope);
            continue;
        }
        if let Some(context) = of_sidecar(patch) {
            let message = format!("the patch for {} is not applied", context.as_str());
            scope.note(
                codes::SP0102,
                &at,
                message,
                "patches of sidecars need Istio's control plane",
            );
            scope.soften(Level::Info);
            continue;
        }
        let mut words = Vec::new();
        if let Some(value) = patch.patch.as_ref().and_then(|p| p.value.as_ref()) {
            collect(value, &mut words);
        }
        answer(&words, &at, scope);
    }
    // what is understood of the object is applied
    if limits.iter().flatten().any(|read| read.local.is_some()) {
        let refused = scope.found.iter_mut();
        refused
            .filter(|finding| finding.level == Level::Error)
            .for_each(|finding| finding.level = Level::Warning);
    }
}

/// What there is to say about a rate limit that was read.
fn limit(read: &Read, all: &[Option<Read>], at: &Path<'_>, scope: &mut Scope<'_>) {
    for finding in &read.found {
        let mut finding = finding.clone().on(&scope.resource.key());
        let path = finding.path.clone();
        finding.span = finding.span.or_else(|| Some(scope.resource.span_at(&path)));
        scope.found.push(finding);
    }
    let is_filter = |read: &Read| {
        let local = read.local.as_ref();
        local.is_some_and(|local| local.stage.is_some() && local.limit.is_some())
    };
    if read
        .local
        .as_ref()
        .is_some_and(|local| local.stage.is_none())
        && all.iter().flatten().any(is_filter)
    {
        scope.warn(
            at,
            "the filter has a token_bucket of its own, of which these requests take as well",
            "leave the token_bucket to hosts and routes, or write a RateLimit",
        );
    }
}

/// Whether a patch is for proxies that have no such limits.
fn of_nobody(patch: &EnvoyConfigObjectPatch) -> bool {
    let context = patch.match_.as_ref().map(|place| place.context);
    matches!(
        context,
        Some(PatchContext::SidecarOutbound | PatchContext::Waypoint)
    )
}

fn of_sidecar(patch: &EnvoyConfigObjectPatch) -> Option<PatchContext> {
    let context = patch.match_.as_ref()?.context;
    matches!(
        context,
        PatchContext::SidecarInbound | PatchContext::SidecarOutbound | PatchContext::Waypoint
    )
    .then_some(context)
}

fn answer(words: &[&str], at: &Path<'_>, scope: &mut Scope<'_>) {
    let has = |needle: &str| words.iter().any(|w| w.contains(needle));
    let mut answered = false;
    for (word, what, field) in NATIVE {
        if has(word) {
            answered = true;
            let message = format!("the patch is not applied; {what} is a setting of its own here");
            scope.note(codes::SP0101, at, message, &format!("write {field}"));
        }
    }
    if answered {
        return;
    }
    if let Some((_, what, instead)) = MISSING.iter().find(|(word, _, _)| has(word)) {
        scope.note(
            codes::SP0102,
            at,
            format!("the patch is not applied; {what} is not offered by this gateway"),
            instead,
        );
    } else {
        let help = "look for a field of Istio's API that does it; `sallyctl explain-code SP0102` says more";
        scope.note(
            codes::SP0102,
            at,
            "the patch is not applied: there is no Envoy configuration behind this gateway",
            help,
        );
    }
}

/// Keys, names and types of a patch's value.
fn collect<'n>(node: &'n Node, words: &mut Vec<&'n str>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                words.push(&entry.key);
                if matches!(&*entry.key, "name" | "@type" | "type_url") {
                    words.extend(entry.value.scalar());
                }
                collect(&entry.value, words);
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Null | Value::Scalar { .. } => {}
    }
}
