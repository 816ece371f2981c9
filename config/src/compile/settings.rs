//! Settings of the whole proxy: MeshConfig and its `defaultConfig`.
//!
//! Istio `pkg/config/mesh/mesh.go` for the defaults, `pilot/pkg/model/telemetry_logging.go` for
//! the access log, `pilot/pkg/networking/core/connection_settings.go` for the profiles. A gateway
//! has the EDGE profile unless the user asks for SIDECAR.

use super::millis;
use crate::api::MeshConfig;
use crate::api::mesh_config::{
    AccessLogEncoding, ConnectionProfile, ConnectionSettings as Declared, ForwardClientCertDetails,
    HeadersWithUnderscoresAction, MeshProxyConfig, NormalizationType, PathWithEscapedSlashesAction,
    ProxyHeaders,
};
use crate::ir::{
    AccessLog, ConnectionSettings, EscapedSlashes, ForwardClientCert, LogFormat, Millis,
    PathNormalization, Ppm, Settings, UnderscoreAction,
};
use crate::view::View;
use std::time::Duration;

/// Istio's text format.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Istio's JSON members.
const JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
];

/// Settings of a gateway.
pub(super) fn settings(mesh: &MeshConfig, view: &View) -> Settings {
    let default = Settings::default();
    let empty = MeshProxyConfig::default();
    let proxy = mesh.default_config.as_ref().unwrap_or(&empty);
    let topology = proxy.gateway_topology.as_ref();
    let normalization = mesh
        .path_normalization
        .as_ref()
        .map(|p| p.normalization)
        .unwrap_or_default();
    let asked = |name: &str| {
        matches!(
            proxy.proxy_metadata.get(name).map(String::as_str),
            Some("1" | "true")
        )
    };
    let settings = Settings {
        path_normalization: match normalization {
            NormalizationType::None => PathNormalization::None,
            NormalizationType::Default | NormalizationType::Base => PathNormalization::Base,
            NormalizationType::MergeSlashes => PathNormalization::MergeSlashes,
            NormalizationType::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
        },
        connection: proxy
            .connection_settings
            .as_ref()
            .map_or_else(ConnectionSettings::edge, connection),
        trusted_hops: topology.map_or(0, |t| t.num_trusted_proxies),
        forward_client_cert: client_cert(
            topology
                .map(|t| t.forward_client_cert_details)
                .unwrap_or_default(),
        ),
        proxy_protocol: topology.is_some_and(|t| t.proxy_protocol.is_some()),
        access_log: access_log(mesh),
        drain: proxy.drain_duration.map_or(default.drain, millis),
        trust_domain: match mesh.trust_domain.as_str() {
            "" => default.trust_domain.clone(),
            domain => domain.to_owned(),
        },
        trace_sampling: proxy.tracing.as_ref().map_or(default.trace_sampling, |t| {
            sampling(t.sampling, default.trace_sampling)
        }),
        http10: view.http10 || asked("ISTIO_META_HTTP10"),
        dns_refresh: mesh
            .dns_refresh_rate
            .map(millis)
            .filter(|rate| rate.0 > 0)
            .unwrap_or(default.dns_refresh),
        ..default
    };
    match &proxy.proxy_headers {
        Some(headers) => with_headers(settings, headers),
        None => settings,
    }
}

fn with_headers(settings: Settings, headers: &ProxyHeaders) -> Settings {
    let off = |switch: &Option<crate::api::mesh_config::HeaderSwitch>| {
        switch.as_ref().and_then(|s| s.disabled).unwrap_or(false)
    };
    let on = |switch: &Option<crate::api::mesh_config::ForwardedSwitch>| {
        switch.as_ref().and_then(|s| s.enabled).unwrap_or(false)
    };
    let server_header = match &headers.server {
        Some(server) if server.disabled.unwrap_or(false) => None,
        Some(server) if !server.value.is_empty() => Some(server.value.clone()),
        _ => settings.server_header.clone(),
    };
    Settings {
        server_header,
        attempt_count: !off(&headers.attempt_count),
        request_id: !off(&headers.request_id),
        debug_headers: !off(&headers.envoy_debug_headers),
        x_forwarded_host: on(&headers.x_forwarded_host),
        x_forwarded_port: on(&headers.x_forwarded_port),
        ..settings
    }
}

/// Zero means unset, as protobuf has it.
fn sampling(percent: f64, default: Ppm) -> Ppm {
    match super::actions::ppm(percent) {
        Ppm(0) => default,
        given => given,
    }
}

fn client_cert(details: ForwardClientCertDetails) -> ForwardClientCert {
    match details {
        ForwardClientCertDetails::Sanitize => ForwardClientCert::Sanitize,
        ForwardClientCertDetails::ForwardOnly => ForwardClientCert::ForwardOnly,
        ForwardClientCertDetails::AppendForward => ForwardClientCert::AppendForward,
        ForwardClientCertDetails::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
        ForwardClientCertDetails::Undefined | ForwardClientCertDetails::SanitizeSet => {
            ForwardClientCert::SanitizeSet
        }
    }
}

/// A given duration, of which zero means no limit; else the profile's.
fn time(said: Option<Duration>, profile: Option<Millis>) -> Option<Millis> {
    match said.map(millis) {
        Some(Millis(0)) => None,
        Some(given) => Some(given),
        None => profile,
    }
}

fn connection(said: &Declared) -> ConnectionSettings {
    let profile = match said.profile {
        Some(ConnectionProfile::Sidecar) => ConnectionSettings::sidecar(),
        Some(ConnectionProfile::Edge) | None => ConnectionSettings::edge(),
    };
    let escaped = match said.http_path_with_escaped_slashes_action {
        PathWithEscapedSlashesAction::Unspecified => profile.escaped_slashes,
        PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
        PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    };
    let underscores = match said.http_headers_with_underscores_action {
        HeadersWithUnderscoresAction::Unspecified => profile.underscores,
        HeadersWithUnderscoresAction::Allow => UnderscoreAction::Allow,
        HeadersWithUnderscoresAction::RejectRequest => UnderscoreAction::Reject,
        HeadersWithUnderscoresAction::DropHeader => UnderscoreAction::Drop,
    };
    let global = said
        .global_downstream_connection_limit
        .map(|l| u32::try_from(l).unwrap_or(u32::MAX));
    ConnectionSettings {
        idle_timeout: time(said.http_idle_timeout, profile.idle_timeout),
        request_headers_timeout: time(
            said.http_request_headers_timeout,
            profile.request_headers_timeout,
        ),
        request_timeout: time(said.http_request_timeout, profile.request_timeout),
        stream_idle_timeout: time(said.http_stream_idle_timeout, profile.stream_idle_timeout),
        max_connection_duration: time(
            said.http_max_connection_duration,
            profile.max_connection_duration,
        ),
        max_stream_duration: time(said.http_max_stream_duration, profile.max_stream_duration),
        max_concurrent_streams: said
            .http_max_concurrent_streams
            .or(profile.max_concurrent_streams),
        initial_stream_window: said
            .http2_initial_stream_window_size
            .or(profile.initial_stream_window),
        initial_connection_window: said
            .http2_initial_connection_window_size
            .or(profile.initial_connection_window),
        buffer_limit: said
            .listener_per_connection_buffer_limit_bytes
            .or(profile.buffer_limit),
        underscores,
        merge_slashes: said.http_merge_slashes.unwrap_or(profile.merge_slashes),
        escaped_slashes: escaped,
        listener_connection_limit: said
            .listener_connection_limit
            .or(profile.listener_connection_limit),
        global_connection_limit: global.or(profile.global_connection_limit),
    }
}

fn access_log(mesh: &MeshConfig) -> Option<AccessLog> {
    if mesh.access_log_file.is_empty() {
        return None;
    }
    let given = mesh.access_log_format.as_str();
    let format = match mesh.access_log_encoding {
        AccessLogEncoding::Text => {
            let text = if given.is_empty() { TEXT } else { given };
            let newline = if text.ends_with('\n') { "" } else { "\n" };
            LogFormat::Text(format!("{text}{newline}"))
        }
        AccessLogEncoding::Json => LogFormat::Json(members(given).unwrap_or_else(|| {
            JSON.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec()
        })),
    };
    Some(AccessLog {
        path: mesh.access_log_file.clone(),
        format,
    })
}

/// Members of a JSON format; none when it is not an object, and then Istio's is used.
fn members(text: &str) -> Option<Vec<(String, String)>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let member = |(name, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(text) => (name, text),
        other => (name, other.to_string()),
    };
    Some(object.into_iter().map(member).collect())
}
