//! Settings of a generation, translated once into what the parsers and header rules take.

use sallyport_config::ir::{
    ConnectionSettings, EscapedSlashes, ForwardClientCert, Millis, PathNormalization, Settings,
    UnderscoreAction,
};
use sallyport_core::call::Scheme;
use sallyport_core::exchange::Limits;
use sallyport_core::hygiene::{ClientCertDetails, HygieneSettings};
use sallyport_core::limits::{Http1Profile, Underscores};
use sallyport_core::log::Line;
use sallyport_core::path;

/// Settings as requests need them.
#[derive(Debug)]
pub(crate) struct Serving {
    /// What cleartext listeners accept.
    http: Http1Profile,
    /// What TLS listeners accept.
    https: Http1Profile,
    /// How paths are normalised.
    pub(crate) path: path::PathPolicy,
    /// Which fields are removed and added.
    pub(crate) hygiene: HygieneSettings,
    /// What HTTP/2 clients are told.
    pub(crate) http2: Http2,
    /// The access log's line; `None` when it is off.
    pub(crate) line: Option<Line>,
    /// Clocks of an exchange.
    pub(crate) limits: Limits,
    /// A request head must be complete within this.
    pub(crate) head_timeout: Option<Millis>,
    /// A connection without a request is closed after this.
    pub(crate) idle_timeout: Option<Millis>,
    /// A connection ends after the request in which it reaches this age.
    pub(crate) connection_age: Option<Millis>,
}

/// Bounds that HTTP/2 clients are told. Without a value of the profile they are Envoy's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Http2 {
    /// Streams at once.
    pub(crate) streams: u32,
    /// Window of a stream, in bytes.
    pub(crate) stream_window: u32,
    /// Window of the connection, in bytes.
    pub(crate) connection_window: u32,
}

impl Http2 {
    fn new(settings: &ConnectionSettings) -> Self {
        let window = |said: Option<u32>, default: u32| {
            // RFC 9113 §6.9.2: less than the default would hold for the first bytes only.
            said.unwrap_or(default).clamp(65_535, (1 << 31) - 1)
        };
        Self {
            streams: settings.max_concurrent_streams.unwrap_or(1_024),
            stream_window: window(settings.initial_stream_window, 16 << 20),
            connection_window: window(settings.initial_connection_window, 24 << 20),
        }
    }
}

impl Serving {
    pub(super) fn new(settings: &Settings) -> Self {
        let connection = &settings.connection;
        Self {
            http: profile(settings, Scheme::Http),
            https: profile(settings, Scheme::Https),
            path: path_policy(settings),
            hygiene: HygieneSettings {
                trusted_proxies: settings.trusted_hops,
                client_cert: client_cert(settings.forward_client_cert),
                request_id: settings.request_id,
                attempt_count: settings.attempt_count,
                server_name: settings.server_header.as_deref().map(Into::into),
                service_time: settings.debug_headers,
            },
            http2: Http2::new(connection),
            line: settings.access_log.as_ref().map(|l| Line::new(&l.format)),
            limits: Limits {
                request: connection.request_timeout,
                idle: connection.stream_idle_timeout,
                duration: connection.max_stream_duration,
            },
            head_timeout: connection.request_headers_timeout,
            idle_timeout: connection.idle_timeout,
            connection_age: connection.max_connection_duration,
        }
    }

    /// What a listener accepts.
    pub(crate) fn profile(&self, scheme: Scheme) -> &Http1Profile {
        match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        }
    }
}

fn profile(settings: &Settings, scheme: Scheme) -> Http1Profile {
    let underscores = match settings.connection.underscores {
        // Dropping is the stricter of the two that the parser has.
        UnderscoreAction::Reject | UnderscoreAction::Drop => Underscores::Reject,
        UnderscoreAction::Allow => Underscores::Pass,
    };
    Http1Profile {
        underscores,
        http10: settings.http10,
        ..Http1Profile::edge(scheme)
    }
}

fn path_policy(settings: &Settings) -> path::PathPolicy {
    let base = match settings.path_normalization {
        PathNormalization::None => path::PathPolicy::NONE,
        PathNormalization::Base => path::PathPolicy::BASE,
        PathNormalization::MergeSlashes => path::PathPolicy::MERGE_SLASHES,
        PathNormalization::DecodeAndMergeSlashes => path::PathPolicy::DECODE_AND_MERGE_SLASHES,
    };
    let connection = &settings.connection;
    let escaped_slashes = match connection.escaped_slashes {
        EscapedSlashes::Keep => base.escaped_slashes,
        EscapedSlashes::Reject => path::EscapedSlashes::Reject,
        EscapedSlashes::UnescapeAndRedirect => path::EscapedSlashes::Redirect,
        EscapedSlashes::UnescapeAndForward => path::EscapedSlashes::Unescape,
    };
    path::PathPolicy {
        merge_slashes: base.merge_slashes || connection.merge_slashes,
        escaped_slashes,
        refuse_dot_parameters: connection.escaped_slashes != EscapedSlashes::Keep,
        ..base
    }
}

fn client_cert(details: ForwardClientCert) -> ClientCertDetails {
    match details {
        ForwardClientCert::Sanitize => ClientCertDetails::Sanitize,
        ForwardClientCert::ForwardOnly => ClientCertDetails::ForwardOnly,
        ForwardClientCert::AppendForward => ClientCertDetails::AppendForward,
        ForwardClientCert::SanitizeSet => ClientCertDetails::SanitizeSet,
        ForwardClientCert::AlwaysForwardOnly => ClientCertDetails::AlwaysForwardOnly,
    }
}
