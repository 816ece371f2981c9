//! `defaultConfig` (`mesh/v1alpha1/proxy.proto`), also the annotation `proxy.istio.io/config`.

use std::time::Duration;

use crate::api::destination_rule::ClientTlsSettings;
use crate::api::telemetry::CustomTag;
use crate::message::{Map, enumeration, message};
use crate::yaml::Node;

message! {
    /// Settings of every proxy.
    pub struct MeshProxyConfig [NoEffect("of Envoy's start")] unknown Warn {
        config_path: String,
        binary_path: String,
        service_cluster: Option<String>,
        tracing_service_name: Option<String> => Later("tracing"),
        drain_duration: Option<Duration> => Honoured,
        discovery_address: String => Later("the control process"),
        statsd_udp_address: String,
        proxy_admin_port: i32,
        control_plane_auth_policy: Option<String>,
        custom_config_file: String,
        stat_name_length: i32,
        concurrency: Option<i32> => Later("workers by configuration"),
        proxy_bootstrap_template_path: String,
        interception_mode: InterceptionMode => NoEffect("of sidecars only"),
        tracing: Option<MeshTracing> => Later("tracing"),
        envoy_access_log_service: Option<Node>,
        envoy_metrics_service: Option<Node>,
        proxy_metadata: Map<String> => Later("the control process"),
        runtime_values: Map<String>,
        status_port: i32,
        extra_stat_tags: Vec<String>,
        termination_drain_duration: Option<Duration> => Later("draining by configuration"),
        mesh_id: String => Later("several clusters"),
        readiness_probe: Option<Node>,
        proxy_stats_matcher: Option<ProxyStatsMatcher>,
        hold_application_until_proxy_starts: Option<bool> => NoEffect("of sidecars only"),
        ca_certificates_pem: Vec<String> => Later("mutual TLS"),
        image: Option<Node>,
        private_key_provider: Option<Node>,
        proxy_headers: Option<ProxyHeaders> => Later("header settings"),
        gateway_topology: Option<Topology> => Honoured,
        file_flush_interval: Option<Duration>,
        file_flush_min_size_kb: Option<u32>,
        stats_compression: Option<bool>,
        connection_settings: Option<ConnectionSettings> => Honoured,
    }

    /// Where spans go and how many.
    pub struct MeshTracing [Later("tracing")] {
        zipkin: Option<TracingAddress>,
        lightstep: Option<Node>,
        datadog: Option<TracingAddress>,
        stackdriver: Option<Node>,
        open_census_agent: Option<Node>,
        custom_tags: Map<CustomTag>,
        max_path_tag_length: u32,
        sampling: f64,
        tls_settings: Option<ClientTlsSettings>,
        enable_istio_tags: Option<bool>,
    }

    /// A collector's address.
    pub struct TracingAddress [Later("tracing")] {
        address: String,
    }

    /// Which statistics Envoy keeps.
    pub struct ProxyStatsMatcher [NoEffect("of Envoy's statistics")] {
        inclusion_prefixes: Vec<String>,
        inclusion_suffixes: Vec<String>,
        inclusion_regexps: Vec<String>,
    }

    /// What stands in front of a gateway.
    pub struct Topology [Later("trusted proxies")] {
        num_trusted_proxies: u32 => Honoured,
        forward_client_cert_details: ForwardClientCertDetails => Honoured,
        proxy_protocol: Option<ProxyProtocolConfiguration> => Honoured,
    }

    /// PROXY protocol is expected when this is there.
    pub struct ProxyProtocolConfiguration [Honoured] {
    }

    /// Headers that a proxy adds.
    pub struct ProxyHeaders [Later("header settings")] {
        forwarded_client_cert: ForwardClientCertDetails,
        set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
        request_id: Option<HeaderSwitch>,
        server: Option<ServerHeader>,
        attempt_count: Option<HeaderSwitch>,
        envoy_debug_headers: Option<HeaderSwitch>,
        metadata_exchange_headers: Option<MetadataExchangeHeaders>,
        preserve_http1_header_case: Option<bool>,
        x_forwarded_host: Option<ForwardedSwitch>,
        x_forwarded_port: Option<ForwardedSwitch>,
    }

    /// What of the client's certificate is forwarded.
    pub struct SetCurrentClientCertDetails [Later("mutual TLS")] {
        subject: Option<bool>,
        cert: Option<bool>,
        chain: Option<bool>,
        dns: Option<bool>,
        uri: Option<bool>,
    }

    /// A header that can be turned off.
    pub struct HeaderSwitch [Later("header settings")] {
        disabled: Option<bool>,
    }

    /// A header that can be turned on.
    pub struct ForwardedSwitch [Later("header settings")] {
        enabled: Option<bool>,
    }

    /// The `server` header.
    pub struct ServerHeader [Later("header settings")] {
        disabled: Option<bool>,
        value: String,
    }

    /// Peer metadata headers.
    pub struct MetadataExchangeHeaders [NoEffect("of sidecars only")] {
        mode: MetadataExchangeMode,
    }

    /// Limits and timeouts of connections.
    pub struct ConnectionSettings [Honoured] {
        profile: Option<ConnectionProfile>,
        listener_per_connection_buffer_limit_bytes: Option<u32> => NoEffect("a connection holds at most 16 KiB of a body in each direction, whatever is said"),
        cluster_per_connection_buffer_limit_bytes: Option<u32> => NoEffect("a connection holds at most 16 KiB of a body in each direction, whatever is said"),
        http_idle_timeout: Option<Duration>,
        http_max_connection_duration: Option<Duration>,
        http_drain_timeout: Option<Duration> => Later("draining by configuration"),
        http_request_timeout: Option<Duration>,
        http_request_headers_timeout: Option<Duration>,
        http_stream_idle_timeout: Option<Duration>,
        http_max_stream_duration: Option<Duration>,
        http_max_concurrent_streams: Option<u32>,
        http2_initial_stream_window_size: Option<u32>,
        http2_initial_connection_window_size: Option<u32>,
        http_headers_with_underscores_action: HeadersWithUnderscoresAction => Partly("DROP_HEADER refuses the request"),
        http_merge_slashes: Option<bool>,
        http_path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
        listener_connection_limit: Option<u32>,
        global_downstream_connection_limit: Option<u64>,
    }
}

enumeration! {
    /// How traffic reaches a sidecar.
    pub enum InterceptionMode {
        Redirect = "REDIRECT",
        Tproxy = "TPROXY",
        None = "NONE",
    }

    /// What happens to `x-forwarded-client-cert`.
    pub enum ForwardClientCertDetails {
        Undefined = "UNDEFINED",
        Sanitize = "SANITIZE",
        ForwardOnly = "FORWARD_ONLY",
        AppendForward = "APPEND_FORWARD",
        SanitizeSet = "SANITIZE_SET",
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    }

    /// Whether peer metadata headers leave the mesh.
    pub enum MetadataExchangeMode {
        Undefined = "UNDEFINED",
        InMesh = "IN_MESH",
    }

    /// What happens to header names with underscores.
    pub enum HeadersWithUnderscoresAction {
        Unspecified = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED",
        Allow = "HEADERS_WITH_UNDERSCORES_ALLOW",
        RejectRequest = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        DropHeader = "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    }

    /// What happens to `%2F` and `%5C` in paths.
    pub enum PathWithEscapedSlashesAction {
        Unspecified = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
        KeepUnchanged = "KEEP_UNCHANGED",
        RejectRequest = "REJECT_REQUEST",
        UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT",
        UnescapeAndForward = "UNESCAPE_AND_FORWARD",
    }

    /// Which set of limits.
    pub enum ConnectionProfile {
        Sidecar = "SIDECAR",
        Edge = "EDGE",
    }
}
