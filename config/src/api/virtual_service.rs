//! `VirtualService` (`networking/v1alpha3/virtual_service.proto`).

use std::time::Duration;

use super::shared::{Percent, PortSelector, StringMatch};
use crate::message::{Bytes, Map, enumeration, message};

message! {
    /// Routes of some hosts.
    pub struct VirtualService [Honoured] {
        hosts: Vec<String>,
        gateways: Vec<String>,
        http: Vec<HttpRoute>,
        tls: Vec<TlsRoute>,
        tcp: Vec<TcpRoute>,
        export_to: Vec<String>,
    }

    /// One HTTP rule.
    pub struct HttpRoute [Honoured] {
        name: String,
        match_: Vec<HttpMatchRequest>,
        route: Vec<HttpRouteDestination>,
        redirect: Option<HttpRedirect>,
        direct_response: Option<HttpDirectResponse>,
        delegate: Option<Delegate>,
        rewrite: Option<HttpRewrite>,
        timeout: Option<Duration>,
        retries: Option<HttpRetry>,
        fault: Option<HttpFaultInjection>,
        mirror: Option<Destination>,
        mirrors: Vec<HttpMirrorPolicy>,
        mirror_percent also "mirror_percent": Option<u32>,
        mirror_percentage: Option<Percent>,
        cors_policy: Option<CorsPolicy>,
        headers: Option<Headers>,
    }

    /// Conditions on a request, all of which must hold.
    pub struct HttpMatchRequest [Honoured] {
        name: String,
        uri: Option<StringMatch>,
        scheme: Option<StringMatch>,
        method: Option<StringMatch>,
        authority: Option<StringMatch>,
        headers: Map<StringMatch>,
        without_headers: Map<StringMatch>,
        query_params: Map<StringMatch>,
        ignore_uri_case: bool,
        port: u32,
        source_labels: Map<String>,
        source_namespace: String,
        gateways: Vec<String>,
        stat_prefix: String => Later("statistics per route"),
    }

    /// A weighted destination.
    pub struct HttpRouteDestination [Honoured] {
        destination: Option<Destination>,
        weight: i32,
        headers: Option<Headers>,
    }

    /// A host, perhaps a subset and a port of it.
    pub struct Destination [Honoured] {
        host: String,
        subset: String,
        port: Option<PortSelector>,
    }

    /// Another VirtualService that has the routes.
    pub struct Delegate [Honoured] {
        name: String,
        namespace: String,
    }

    /// An answer with a location.
    pub struct HttpRedirect [Honoured] {
        uri: String,
        prefix_rewrite: Option<String>,
        authority: String,
        port: Option<u32>,
        derive_port: Option<RedirectPortSelection>,
        scheme: String,
        redirect_code: u32,
    }
    oneof [port, derive_port]

    /// An answer without an upstream.
    pub struct HttpDirectResponse [Honoured] {
        status: u32,
        body: Option<HttpBody>,
    }

    /// Body of a direct response.
    pub struct HttpBody [Honoured] {
        string: Option<String>,
        bytes: Option<Bytes>,
    }
    oneof [string, bytes]

    /// What to change in the request line.
    pub struct HttpRewrite [Honoured] {
        uri: String,
        authority: String,
        uri_regex_rewrite: Option<RegexRewrite>,
    }

    /// A regular expression and what replaces its matches.
    pub struct RegexRewrite [Honoured] {
        match_: String,
        rewrite: String,
    }

    /// Header operations of both directions.
    pub struct Headers [Honoured] {
        request: Option<HeaderOperations>,
        response: Option<HeaderOperations>,
    }

    /// Header operations of one direction.
    pub struct HeaderOperations [Honoured] {
        set: Map<String>,
        add: Map<String>,
        remove: Vec<String>,
    }

    /// When and how often to try again.
    pub struct HttpRetry [Honoured] {
        attempts: i32,
        per_try_timeout: Option<Duration>,
        retry_on: String,
        retry_remote_localities: Option<bool> => Later("locality load balancing"),
        retry_ignore_previous_hosts: Option<bool>,
        backoff: Option<Duration>,
    }

    /// Cross-origin rules.
    pub struct CorsPolicy [Honoured] {
        allow_origin: Vec<String>,
        allow_origins: Vec<StringMatch>,
        allow_methods: Vec<String>,
        allow_headers: Vec<String>,
        expose_headers: Vec<String>,
        max_age: Option<Duration>,
        allow_credentials: Option<bool>,
        unmatched_preflights: UnmatchedPreflights,
    }

    /// Faults to inject.
    pub struct HttpFaultInjection [Honoured] {
        delay: Option<FaultDelay>,
        abort: Option<FaultAbort>,
    }

    /// A delay before forwarding.
    pub struct FaultDelay [Honoured] {
        percent: i32,
        percentage: Option<Percent>,
        fixed_delay: Option<Duration>,
        exponential_delay: Option<Duration> => Refused("IST0106"),
    }
    oneof [fixed_delay, exponential_delay]

    /// An answer instead of forwarding.
    pub struct FaultAbort [Honoured] {
        percentage: Option<Percent>,
        http_status: Option<i32>,
        grpc_status: Option<String>,
        http2_error: Option<String> => Refused("IST0106"),
    }
    oneof [http_status, grpc_status, http2_error]

    /// A destination that gets a copy.
    pub struct HttpMirrorPolicy [Honoured] {
        destination: Option<Destination>,
        percentage: Option<Percent>,
    }

    /// One rule for TLS passed through.
    pub struct TlsRoute [Honoured] {
        match_: Vec<TlsMatchAttributes>,
        route: Vec<RouteDestination>,
    }

    /// Conditions on a TLS connection.
    pub struct TlsMatchAttributes [Honoured] {
        sni_hosts: Vec<String>,
        destination_subnets: Vec<String> => NoEffect("a gateway looks at no destination address"),
        port: u32,
        source_labels: Map<String>,
        gateways: Vec<String>,
        source_namespace: String,
    }

    /// One rule for TCP.
    pub struct TcpRoute [Honoured] {
        match_: Vec<L4MatchAttributes>,
        route: Vec<RouteDestination>,
    }

    /// Conditions on a TCP connection.
    pub struct L4MatchAttributes [Honoured] {
        destination_subnets: Vec<String> => NoEffect("a gateway looks at no destination address"),
        port: u32,
        source_subnet: String => NoEffect("Istio ignores it"),
        source_labels: Map<String>,
        gateways: Vec<String>,
        source_namespace: String,
    }

    /// A weighted destination of TLS and TCP rules.
    pub struct RouteDestination [Honoured] {
        destination: Option<Destination>,
        weight: i32,
    }
}

enumeration! {
    /// Where a redirect takes its port from.
    pub enum RedirectPortSelection {
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        FromRequestPort = "FROM_REQUEST_PORT",
    }

    /// What happens to a preflight whose origin is not allowed.
    pub enum UnmatchedPreflights {
        Unspecified = "UNSPECIFIED",
        Forward = "FORWARD",
        Ignore = "IGNORE",
    }
}
