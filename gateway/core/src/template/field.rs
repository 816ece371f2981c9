//! Operators without argument that have a value here.

macro_rules! fields {
    ($($name:ident = $operator:literal, $doc:literal;)*) => {
        /// An operator without argument.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Field {
            $(#[doc = $doc] $name,)*
        }

        impl Field {
            /// The field of Envoy's operator, if it has a value here.
            #[must_use]
            pub fn named(operator: &str) -> Option<Self> {
                match operator {
                    $($operator => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($operator),*];
    };
}

fields! {
    Protocol = "PROTOCOL", "`HTTP/1.1`, `HTTP/2`, `HTTP/3`.";
    ResponseCode = "RESPONSE_CODE", "Status that the client got; 0 for none.";
    ResponseFlags = "RESPONSE_FLAGS", "Response flags, `-` for none.";
    ResponseCodeDetails = "RESPONSE_CODE_DETAILS", "Why this status, in Envoy's words.";
    ConnectionTerminationDetails = "CONNECTION_TERMINATION_DETAILS", "Why the connection was ended.";
    UpstreamTransportFailureReason = "UPSTREAM_TRANSPORT_FAILURE_REASON", "Why TLS or TCP towards the upstream failed.";
    BytesReceived = "BYTES_RECEIVED", "Bytes of the request body.";
    BytesSent = "BYTES_SENT", "Bytes of the response body.";
    Duration = "DURATION", "From first byte in to last byte out, in milliseconds.";
    RequestDuration = "REQUEST_DURATION", "From first to last byte of the request, in milliseconds.";
    RequestTxDuration = "REQUEST_TX_DURATION", "From first byte in to last byte sent upstream, in milliseconds.";
    ResponseDuration = "RESPONSE_DURATION", "From first byte in to first byte of the upstream's response, in milliseconds.";
    ResponseTxDuration = "RESPONSE_TX_DURATION", "From first byte of the upstream's response to last byte out, in milliseconds.";
    UpstreamHost = "UPSTREAM_HOST", "Address of the endpoint.";
    UpstreamRemoteAddress = "UPSTREAM_REMOTE_ADDRESS", "Address of the endpoint.";
    UpstreamRemoteAddressWithoutPort = "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "Address of the endpoint without port.";
    UpstreamRemotePort = "UPSTREAM_REMOTE_PORT", "Port of the endpoint.";
    UpstreamCluster = "UPSTREAM_CLUSTER", "Name of the cluster.";
    UpstreamClusterRaw = "UPSTREAM_CLUSTER_RAW", "Name of the cluster.";
    UpstreamLocalAddress = "UPSTREAM_LOCAL_ADDRESS", "Our address of the upstream connection.";
    UpstreamLocalAddressWithoutPort = "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "The same without port.";
    UpstreamLocalPort = "UPSTREAM_LOCAL_PORT", "Our port of the upstream connection.";
    UpstreamProtocol = "UPSTREAM_PROTOCOL", "Protocol spoken to the upstream.";
    UpstreamRequestAttemptCount = "UPSTREAM_REQUEST_ATTEMPT_COUNT", "Tries, the first included.";
    DownstreamLocalAddress = "DOWNSTREAM_LOCAL_ADDRESS", "Our address of the client's connection.";
    DownstreamLocalAddressWithoutPort = "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "The same without port.";
    DownstreamLocalPort = "DOWNSTREAM_LOCAL_PORT", "Our port of the client's connection.";
    DownstreamRemoteAddress = "DOWNSTREAM_REMOTE_ADDRESS", "Client after trusted hops.";
    DownstreamRemoteAddressWithoutPort = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "The same without port.";
    DownstreamRemotePort = "DOWNSTREAM_REMOTE_PORT", "Its port.";
    DownstreamDirectRemoteAddress = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "The peer of the connection.";
    DownstreamDirectRemoteAddressWithoutPort = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "The same without port.";
    DownstreamDirectRemotePort = "DOWNSTREAM_DIRECT_REMOTE_PORT", "Its port.";
    RequestedServerName = "REQUESTED_SERVER_NAME", "Server name of the handshake.";
    RouteName = "ROUTE_NAME", "Name of the route.";
    Hostname = "HOSTNAME", "Name of this machine.";
    DownstreamTlsVersion = "DOWNSTREAM_TLS_VERSION", "`TLSv1.3`.";
    DownstreamTlsCipher = "DOWNSTREAM_TLS_CIPHER", "Cipher suite of the client's connection.";
    DownstreamPeerSubject = "DOWNSTREAM_PEER_SUBJECT", "Subject of the client's certificate.";
    DownstreamPeerUriSan = "DOWNSTREAM_PEER_URI_SAN", "URI names of the client's certificate.";
    ConnectionId = "CONNECTION_ID", "Number of the client's connection.";
    FilterChainName = "FILTER_CHAIN_NAME", "Name of the filter chain.";
    AccessLogHint = "DYNAMIC_METADATA(envoy.common:access_log_hint)", "Whether an AUDIT policy matches.";
    DryDenyResult = "DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_deny_shadow_engine_result)", "What DENY policies that run dry would do: `allowed` or `denied`.";
    DryDenyPolicy = "DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_deny_shadow_effective_policy_id)", "The rule of theirs that matches.";
    DryAllowResult = "DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_allow_shadow_engine_result)", "What ALLOW policies that run dry would do: `allowed` or `denied`.";
    DryAllowPolicy = "DYNAMIC_METADATA(envoy.filters.http.rbac:istio_dry_run_allow_shadow_effective_policy_id)", "The rule of theirs that matches.";
    GrpcStatus = "GRPC_STATUS_NUMBER", "gRPC status as a number.";
    GrpcStatusName = "GRPC_STATUS", "gRPC status by its name.";
}
