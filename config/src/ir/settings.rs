//! Settings of the whole proxy: from MeshConfig, `defaultConfig` and ProxyConfig.

use super::{Millis, Ppm};

/// Proxy-wide settings with defaults applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// `pathNormalization.normalization`; BASE by default.
    pub path_normalization: PathNormalization,
    /// Limits of the connection profile; EDGE unless the user says SIDECAR.
    pub connection: ConnectionSettings,
    /// `gatewayTopology.numTrustedProxies`.
    pub trusted_hops: u32,
    /// `gatewayTopology.forwardClientCertDetails`.
    pub forward_client_cert: ForwardClientCert,
    /// `gatewayTopology.proxyProtocol` present: every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Value of the `server` response header; `None` leaves the upstream's.
    pub server_header: Option<String>,
    /// Set `x-envoy-attempt-count` on upstream requests (`proxyHeaders.attemptCount`).
    pub attempt_count: bool,
    /// Generate and forward `x-request-id` (`proxyHeaders.requestId`).
    pub request_id: bool,
    /// Set `x-envoy-upstream-service-time` on responses (`proxyHeaders.envoyDebugHeaders`).
    pub debug_headers: bool,
    /// Append `x-forwarded-host` when the authority is rewritten.
    pub x_forwarded_host: bool,
    /// Set `x-forwarded-port`.
    pub x_forwarded_port: bool,
    /// Access log; `None` when off.
    pub access_log: Option<AccessLog>,
    /// Time an old connection may live on while draining. `drainDuration`, default 45 s.
    pub drain: Millis,
    /// Mesh trust domain, default `cluster.local`.
    pub trust_domain: String,
    /// Random share of requests to sample for tracing.
    pub trace_sampling: Ppm,
    /// Accept HTTP/1.0 requests (`ISTIO_META_HTTP10`); otherwise 426.
    pub http10: bool,
    /// How often names are looked up whose answers do not say how long they are good, and again
    /// after a failure. `dnsRefreshRate`, default 60 s.
    pub dns_refresh: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path_normalization: PathNormalization::Base,
            connection: ConnectionSettings::edge(),
            trusted_hops: 0,
            forward_client_cert: ForwardClientCert::SanitizeSet,
            proxy_protocol: false,
            server_header: Some("istio-envoy".to_owned()),
            attempt_count: true,
            request_id: true,
            debug_headers: true,
            x_forwarded_host: false,
            x_forwarded_port: false,
            access_log: None,
            drain: Millis(45_000),
            trust_domain: "cluster.local".to_owned(),
            trace_sampling: Ppm(10_000),
            http10: false,
            dns_refresh: Millis(60_000),
        }
    }
}

/// How request paths are normalised before anything looks at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathNormalization {
    /// As sent.
    None,
    /// RFC 3986 dot segments, backslash to slash, unreserved octets decoded.
    Base,
    /// `Base`, then runs of slashes merged.
    MergeSlashes,
    /// `%2F` and `%5C` decoded first, then `MergeSlashes`.
    DecodeAndMergeSlashes,
}

/// What happens to `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardClientCert {
    /// Remove it.
    Sanitize,
    /// Pass it on when the connection is mutually authenticated.
    ForwardOnly,
    /// Append ours when the connection is mutually authenticated.
    AppendForward,
    /// Replace it by ours (default).
    SanitizeSet,
    /// Pass it on always.
    AlwaysForwardOnly,
}

/// What happens to a header name with an underscore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnderscoreAction {
    /// Passed on.
    Allow,
    /// The request is refused with 400.
    Reject,
    /// The header is dropped.
    Drop,
}

/// What happens to `%2F`, `%2f`, `%5C`, `%5c` in a path, beside `path_normalization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EscapedSlashes {
    /// Kept.
    Keep,
    /// Refused with 400.
    Reject,
    /// Unescaped, and the client is redirected (307) to the unescaped path.
    UnescapeAndRedirect,
    /// Unescaped in place.
    UnescapeAndForward,
}

/// Limits and timeouts of connections (`defaultConfig.connectionSettings`,
/// istio `pilot/pkg/networking/core/connection_settings.go`). `None` means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionSettings {
    /// Idle connection is closed after this. Default 1 h.
    pub idle_timeout: Option<Millis>,
    /// A request head must be complete within this. EDGE: 10 s (Istio's EDGE: 60 s).
    pub request_headers_timeout: Option<Millis>,
    /// A whole request must be received within this. EDGE: 5 min.
    pub request_timeout: Option<Millis>,
    /// A stream without progress is ended after this. EDGE: 5 min.
    pub stream_idle_timeout: Option<Millis>,
    /// A connection is drained after this age.
    pub max_connection_duration: Option<Millis>,
    /// A stream is ended after this age.
    pub max_stream_duration: Option<Millis>,
    /// HTTP/2 concurrent streams. EDGE: 100.
    pub max_concurrent_streams: Option<u32>,
    /// HTTP/2 stream window in bytes. EDGE: 64 KiB.
    pub initial_stream_window: Option<u32>,
    /// HTTP/2 connection window in bytes. EDGE: 1 MiB.
    pub initial_connection_window: Option<u32>,
    /// Bytes buffered per connection and direction. EDGE: 32 KiB.
    pub buffer_limit: Option<u32>,
    /// Header names with `_`. EDGE: reject.
    pub underscores: UnderscoreAction,
    /// Runs of slashes are merged beside `path_normalization`. EDGE: yes.
    pub merge_slashes: bool,
    /// Escaped slashes. EDGE: unescape and redirect.
    pub escaped_slashes: EscapedSlashes,
    /// Connections per listener.
    pub listener_connection_limit: Option<u32>,
    /// Connections of the whole proxy.
    pub global_connection_limit: Option<u32>,
}

impl ConnectionSettings {
    /// The profile of a proxy that faces the internet: our default.
    #[must_use]
    pub fn edge() -> Self {
        Self {
            idle_timeout: Some(Millis(3_600_000)),
            request_headers_timeout: Some(Millis(10_000)),
            request_timeout: Some(Millis(300_000)),
            stream_idle_timeout: Some(Millis(300_000)),
            max_connection_duration: None,
            max_stream_duration: None,
            max_concurrent_streams: Some(100),
            initial_stream_window: Some(65_536),
            initial_connection_window: Some(1_048_576),
            buffer_limit: Some(32_768),
            underscores: UnderscoreAction::Reject,
            merge_slashes: true,
            escaped_slashes: EscapedSlashes::UnescapeAndRedirect,
            listener_connection_limit: None,
            global_connection_limit: None,
        }
    }

    /// Istio's default profile: no hardening.
    #[must_use]
    pub fn sidecar() -> Self {
        Self {
            request_headers_timeout: None,
            request_timeout: None,
            stream_idle_timeout: None,
            max_concurrent_streams: None,
            initial_stream_window: None,
            initial_connection_window: None,
            buffer_limit: None,
            underscores: UnderscoreAction::Allow,
            merge_slashes: false,
            escaped_slashes: EscapedSlashes::Keep,
            ..Self::edge()
        }
    }
}

/// Access log: where and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// File path; `/dev/stdout` for standard output.
    pub path: String,
    /// Text template or JSON members.
    pub format: LogFormat,
}

/// Form of an access-log line. Operators are Envoy's (`%REQ(X)%` …).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// One template; a newline is added if missing.
    Text(String),
    /// Members in order; each value is a template.
    Json(Vec<(String, String)>),
}
