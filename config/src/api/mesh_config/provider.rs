//! `extensionProviders`: services that proxies ask or tell.

use std::time::Duration;

use crate::message::{Map, enumeration, message};
use crate::yaml::Node;

message! {
    /// A named provider of one kind.
    pub struct ExtensionProvider [Later("extension providers")] {
        name: String => Honoured,
        envoy_ext_authz_http: Option<EnvoyExtAuthzHttp> => Honoured,
        envoy_ext_authz_grpc: Option<EnvoyExtAuthzGrpc> => Honoured,
        zipkin: Option<Zipkin> => Later("tracing"),
        lightstep: Option<Node> => Later("tracing"),
        datadog: Option<Datadog> => Later("tracing"),
        stackdriver: Option<Node> => NoEffect("of Google Cloud only"),
        opencensus: Option<Node> => NoEffect("Istio dropped it"),
        skywalking: Option<Skywalking> => Later("tracing"),
        opentelemetry: Option<OpenTelemetry> => Later("tracing"),
        prometheus: Option<Prometheus>,
        envoy_file_access_log: Option<EnvoyFileAccessLog> => Later("telemetry policies"),
        envoy_http_als: Option<Node> => NoEffect("there is no Envoy"),
        envoy_tcp_als: Option<Node> => NoEffect("there is no Envoy"),
        envoy_otel_als: Option<EnvoyOtelAls> => Later("telemetry policies"),
        sds: Option<Sds>,
    }
    oneof [
        envoy_ext_authz_http, envoy_ext_authz_grpc, zipkin, lightstep, datadog, stackdriver, opencensus, skywalking,
        opentelemetry, prometheus, envoy_file_access_log, envoy_http_als, envoy_tcp_als, envoy_otel_als, sds
    ]

    /// External authorization over HTTP.
    pub struct EnvoyExtAuthzHttp [Honoured] {
        service: String,
        port: u32,
        timeout: Option<Duration>,
        path_prefix: String,
        fail_open: bool,
        clear_route_cache: bool => Partly("always on: routes see what an authorizer changed"),
        status_on_error: String,
        include_headers_in_check: Vec<String>,
        include_request_headers_in_check: Vec<String>,
        include_additional_headers_in_check: Map<String>,
        include_request_body_in_check: Option<RequestBody>,
        headers_to_upstream_on_allow: Vec<String>,
        headers_to_downstream_on_deny: Vec<String>,
        headers_to_downstream_on_allow: Vec<String>,
    }

    /// External authorization over gRPC.
    pub struct EnvoyExtAuthzGrpc [Honoured] {
        service: String,
        port: u32,
        timeout: Option<Duration>,
        fail_open: bool,
        clear_route_cache: bool => Partly("always on: routes see what an authorizer changed"),
        status_on_error: String,
        include_request_body_in_check: Option<RequestBody>,
    }

    /// How much of the body goes into a check.
    pub struct RequestBody [Honoured] {
        max_request_bytes: u32 => Partly("at most 4 MiB"),
        allow_partial_message: bool,
        pack_as_bytes: bool,
    }

    /// Zipkin.
    pub struct Zipkin [Later("tracing")] {
        service: String,
        port: u32,
        max_tag_length: u32,
        enable_64bit_trace_id: bool,
        path: String,
        trace_context_option: TraceContextOption,
        timeout: Option<Duration>,
        headers: Vec<Node>,
    }

    /// Datadog.
    pub struct Datadog [Later("tracing")] {
        service: String,
        port: u32,
        max_tag_length: u32,
    }

    /// SkyWalking.
    pub struct Skywalking [Later("tracing")] {
        service: String,
        port: u32,
        access_token: String,
    }

    /// OpenTelemetry.
    pub struct OpenTelemetry [Later("tracing")] {
        service: String,
        port: u32,
        max_tag_length: u32,
        http: Option<Node>,
        grpc: Option<Node>,
        resource_detectors: Option<Node>,
        dynatrace_sampler: Option<Node>,
        service_attribute_enrichment: Option<Node>,
    }

    /// Prometheus; has no settings.
    pub struct Prometheus [Honoured] {
    }

    /// Access log to a file.
    pub struct EnvoyFileAccessLog [Later("telemetry policies")] {
        path: String,
        log_format: Option<LogFormat>,
        omit_empty_values: bool,
    }

    /// Text or labels.
    pub struct LogFormat [Later("telemetry policies")] {
        text: Option<String>,
        labels: Option<Node>,
    }
    oneof [text, labels]

    /// Access log to OpenTelemetry.
    pub struct EnvoyOtelAls [Later("telemetry policies")] {
        service: String,
        port: u32,
        log_name: String,
        log_format: Option<LogFormat>,
    }

    /// Certificates from another server.
    pub struct Sds [Later("certificates from elsewhere")] {
        name: String,
        service: String,
        port: u32,
    }
}

enumeration! {
    /// Which trace headers are read and written.
    pub enum TraceContextOption {
        UseB3 = "USE_B3",
        UseB3WithW3cPropagation = "USE_B3_WITH_W3C_PROPAGATION",
    }
}
