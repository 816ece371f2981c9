//! Every metric name that the gateway exports, and its help text. Nothing else spells one.
//!
//! Names and labels of `istio_*` are Istio's (`proxy/testdata/metric/client_request_total.yaml.tmpl`),
//! so that dashboards work unchanged; those of `envoy_*` are Envoy's. Ours begin with `sallyport_`.

/// What kind of metric a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
}

impl Kind {
    /// The word in a `# TYPE` line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// A metric: name, kind, and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    /// As exported.
    pub(crate) text: &'static str,
    /// How it behaves.
    pub(crate) kind: Kind,
    /// One sentence for people.
    pub(crate) help: &'static str,
}

macro_rules! names {
    ($($id:ident = $kind:ident $text:literal, $help:literal;)*) => {
        $(#[doc = $help] pub(crate) const $id: Name = Name { text: $text, kind: Kind::$kind, help: $help };)*
        /// All of them.
        #[cfg(test)]
        pub(crate) const ALL: &[Name] = &[$($id),*];
    };
}

names! {
    REQUESTS = Counter "istio_requests_total", "Requests answered, by source, destination and answer.";
    REQUEST_DURATION = Histogram "istio_request_duration_milliseconds", "Milliseconds from the first byte of a request to the last byte of its answer.";
    REQUEST_BYTES = Histogram "istio_request_bytes", "Bytes of a request.";
    RESPONSE_BYTES = Histogram "istio_response_bytes", "Bytes of a response.";
    TCP_OPENED = Counter "istio_tcp_connections_opened_total", "TCP connections opened, by source and destination.";
    TCP_CLOSED = Counter "istio_tcp_connections_closed_total", "TCP connections closed, by source and destination.";
    TCP_SENT = Counter "istio_tcp_sent_bytes_total", "Bytes sent to clients of TCP connections.";
    TCP_RECEIVED = Counter "istio_tcp_received_bytes_total", "Bytes received from clients of TCP connections.";
    BUILD = Gauge "istio_build", "Always 1; the labels say which build this is.";
    CONNECTIONS_ACTIVE = Gauge "sallyport_connections_active", "Client connections open, by listener.";
    CONNECTIONS = Counter "sallyport_connections_total", "Client connections accepted, by listener.";
    CONNECTIONS_REFUSED = Counter "sallyport_connections_refused_total", "Client connections closed at once because a limit was reached, by listener.";
    UPSTREAM_ACTIVE = Gauge "sallyport_upstream_connections_active", "Upstream connections open, by cluster.";
    UPSTREAM_CONNECTS = Counter "sallyport_upstream_connects_total", "Upstream connections opened, by cluster.";
    UPSTREAM_FAILURES = Counter "sallyport_upstream_connect_failures_total", "Upstream connections that could not be opened, by cluster.";
    RETRIES = Counter "sallyport_upstream_retries_total", "Requests sent to an upstream once more, by cluster.";
    OVERFLOWS = Counter "sallyport_upstream_overflow_total", "Requests and retries that a circuit breaker refused, by cluster and limit.";
    EJECTED = Gauge "sallyport_upstream_endpoints_ejected", "Endpoints left out because they failed, by cluster.";
    EJECTIONS = Counter "sallyport_upstream_ejections_total", "Times that endpoints were left out because they failed, by cluster.";
    UNHEALTHY = Gauge "sallyport_upstream_endpoints_unhealthy", "Endpoints that health checks leave out, by cluster.";
    HEALTH_CHECKS = Counter "sallyport_upstream_health_checks_total", "Health checks of endpoints, by cluster and outcome.";
    ALARMS = Gauge "sallyport_alarms", "Deadlines that connections and streams hold.";
    MIRRORS = Gauge "sallyport_mirrors_in_flight", "Copies of requests under way.";
    IN_FLIGHT = Gauge "sallyport_requests_in_flight", "Requests that wait for their answer.";
    DURATION_QUANTILES = Summary "sallyport_request_duration", "Microseconds from the first byte of a request to the last byte of its answer.";
    EXT_AUTHZ_OK = Counter "sallyport_ext_authz_allowed_total", "Requests that an authorizer let pass, by provider.";
    EXT_AUTHZ_DENIED = Counter "sallyport_ext_authz_denied_total", "Requests that an authorizer refused, by provider.";
    EXT_AUTHZ_ERROR = Counter "sallyport_ext_authz_errors_total", "Requests that an authorizer had no answer to, by provider.";
    EXT_AUTHZ_FAILED_OPEN = Counter "sallyport_ext_authz_failed_open_total", "Requests that passed because an authorizer had no answer to them, by provider.";
    LIMIT_OK = Counter "sallyport_local_rate_limit_ok_total", "Requests for which a rate limit had a token, by limit.";
    LIMIT_LIMITED = Counter "sallyport_local_rate_limit_rate_limited_total", "Requests for which a rate limit had no token, by limit.";
    LIMIT_ENFORCED = Counter "sallyport_local_rate_limit_enforced_total", "Requests that a rate limit refused, by limit.";
    AUDITED = Counter "sallyport_authz_audited_total", "Requests and connections that AUDIT policies were asked about, by result: logged or not_logged.";
    DRY_RUNS = Counter "sallyport_authz_dry_run_total", "Requests and connections that policies with the annotation istio.io/dry-run were asked about, by action and by what they would have done.";
    LIMIT_FORGOTTEN = Counter "sallyport_local_rate_limit_keys_forgotten_total", "Values of a key that a rate limit forgot though they were limited, because it met more than maxKeys, by limit.";
    HANDSHAKES = Counter "sallyport_tls_handshakes_total", "TLS handshakes with clients, by outcome; those that were shed found too many others waiting.";
    HANDSHAKES_WAITED = Counter "sallyport_tls_handshakes_waited_total", "TLS handshakes with clients that had to wait for others.";
    REVOKED = Counter "sallyport_tls_revoked_total", "Client connections ended because a new revocation list or authority does not accept their certificate any more.";
    ODDITIES = Counter "sallyport_oddities_total", "Odd frames of HTTP/2 and HTTP/3 clients (resets, pings, empty frames, malformed requests), of connections that have ended.";
    EARLY = Counter "sallyport_early_requests_total", "HTTP/3 requests in early data (0-RTT), by what was done: served at once, or held until the handshake was complete.";
    LOG_DROPPED = Counter "sallyport_access_log_dropped_total", "Access-log lines that were not written, by reason.";
    SERIES_DROPPED = Counter "sallyport_stats_overflow_total", "Requests counted without labels because the table of label sets was full.";
    GENERATION = Gauge "sallyport_config_generation", "Number of the generation that is served.";
    GENERATION_AGE = Gauge "sallyport_config_generation_age_seconds", "Seconds since the generation became active.";
    REJECTED = Counter "sallyport_config_rejected_total", "Readings of the configuration in which something was refused.";
    OBJECTS_REJECTED = Gauge "sallyport_config_objects_rejected", "Objects whose last good state is served because the newest is broken.";
    DIAGNOSTICS = Gauge "sallyport_config_diagnostics", "Findings about the configuration, by level.";
    CERTIFICATE_EXPIRY = Gauge "sallyport_certificate_expiry_seconds", "Seconds until a certificate expires; negative when it has.";
    STAPLE_EXPIRY = Gauge "sallyport_ocsp_staple_expiry_seconds", "Seconds until the OCSP staple of a certificate expires; negative when it has: it is not sent any more.";
    DRIVER = Gauge "sallyport_driver", "Always 1; the label names the I/O driver.";
    WORKERS = Gauge "sallyport_workers", "Workers that serve.";
    WORKERS_SILENT = Gauge "sallyport_workers_silent", "Workers that did not answer this collection in time.";
    UPTIME = Gauge "sallyport_uptime_seconds", "Seconds since the start of the process.";
    DNS_LOOKUPS = Counter "sallyport_dns_lookups_total", "Questions to name servers for names of endpoints, by outcome.";
    DNS_NAMES = Gauge "sallyport_dns_names", "Names of endpoints that are followed.";
    DNS_NAMES_FAILING = Gauge "sallyport_dns_names_failing", "Names of endpoints whose last question gave no address.";
    JWKS_FETCHES = Counter "sallyport_jwks_fetches_total", "Fetches of token issuers' keys, by outcome.";
    JWKS_AGE = Gauge "sallyport_jwks_age_seconds", "Seconds since the keys in use were fetched, by URL; absent while there are none.";
    JWKS_FAILURES = Gauge "sallyport_jwks_failures", "Fetches in a row that failed, by URL.";
    MEMORY_LIMIT = Gauge "sallyport_memory_limit_bytes", "Bytes of memory that may be used; absent without a limit.";
    MEMORY_USED = Gauge "sallyport_memory_used_bytes", "Bytes of memory that are used, as far as they count against the limit; absent without one.";
    PRESSURE = Gauge "sallyport_overload", "1 while connections end after their request because memory is tight, 2 while connections and requests are refused.";
    CONTROL_CONNECTED = Gauge "sallyport_control_connected", "1 while the control process is connected.";
    CONTROL_STREAMS = Counter "sallyport_control_streams_total", "Streams to the control process that were opened.";
    CONTROL_UPDATES = Counter "sallyport_control_updates_total", "Responses of the control process, by outcome.";
    CONTROL_DOCUMENTS = Gauge "sallyport_control_documents", "Objects that the control process gave.";
    DRAINING = Gauge "sallyport_draining", "1 while the process drains.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        for (index, name) in ALL.iter().enumerate() {
            assert!(
                ALL[index + 1..].iter().all(|other| other.text != name.text),
                "{} twice",
                name.text
            );
            assert!(
                name.text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            assert!(name.text.starts_with("istio_") || name.text.starts_with("sallyport_"));
            // Prometheus' convention: a counter, and only a counter, ends in `_total`.
            assert_eq!(name.kind == Kind::Counter, name.text.ends_with("_total"));
        }
    }
}
