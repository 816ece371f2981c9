//! `DestinationRule` (`networking/v1alpha3/destination_rule.proto`).

use std::time::Duration;

use super::shared::{PortSelector, WorkloadSelector};
use crate::message::{Map, enumeration, message};

message! {
    /// What happens between routing and the upstream.
    pub struct DestinationRule [Honoured] {
        host: String,
        traffic_policy: Option<TrafficPolicy>,
        subsets: Vec<Subset>,
        export_to: Vec<String>,
        workload_selector: Option<WorkloadSelector> => Later("sidecar configuration"),
    }

    /// Some endpoints of the host, by labels.
    pub struct Subset [Honoured] {
        name: String,
        labels: Map<String>,
        traffic_policy: Option<TrafficPolicy>,
    }

    /// Policies of a host or a subset.
    pub struct TrafficPolicy [Honoured] {
        load_balancer: Option<LoadBalancerSettings>,
        connection_pool: Option<ConnectionPoolSettings>,
        outlier_detection: Option<OutlierDetection>,
        tls: Option<ClientTlsSettings>,
        port_level_settings: Vec<PortTrafficPolicy>,
        tunnel: Option<TunnelSettings>,
        proxy_protocol: Option<ProxyProtocol>,
        retry_budget: Option<RetryBudget>,
    }

    /// Policies of one port; they replace those of the host.
    pub struct PortTrafficPolicy [Honoured] {
        port: Option<PortSelector>,
        load_balancer: Option<LoadBalancerSettings>,
        connection_pool: Option<ConnectionPoolSettings>,
        outlier_detection: Option<OutlierDetection>,
        tls: Option<ClientTlsSettings>,
    }

    /// How an endpoint is chosen.
    pub struct LoadBalancerSettings [Honoured] {
        simple: Option<SimpleLb> => Partly("all but PASSTHROUGH"),
        consistent_hash: Option<ConsistentHashLb>,
        locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting> => NoEffect("of sidecars only"),
        warmup_duration_secs: Option<Duration>,
        warmup: Option<WarmupConfiguration>,
        backend_utilization: Option<BackendUtilization> => NoEffect("Istio does not implement it"),
    }
    oneof [simple, consistent_hash, backend_utilization]

    /// Choice by a hash of the request.
    pub struct ConsistentHashLb [Honoured] {
        http_header_name: Option<String>,
        http_cookie: Option<HttpCookie>,
        use_source_ip: Option<bool>,
        http_query_parameter_name: Option<String>,
        ring_hash: Option<RingHash>,
        maglev: Option<Maglev>,
        minimum_ring_size: u64,
    }
    oneof [http_header_name, http_cookie, use_source_ip, http_query_parameter_name]
    oneof [ring_hash, maglev]

    /// The cookie that is hashed, and made when missing.
    pub struct HttpCookie [Honoured] {
        name: String,
        path: String,
        ttl: Option<Duration>,
        attributes: Vec<CookieAttribute>,
    }

    /// A further attribute of the cookie.
    pub struct CookieAttribute [Honoured] {
        name: String,
        value: String,
    }

    /// Ring hash.
    pub struct RingHash [Honoured] {
        minimum_ring_size: u64,
    }

    /// Maglev.
    pub struct Maglev [Honoured] {
        table_size: Option<u64>,
    }

    /// Preference by region, zone and sub-zone.
    pub struct LocalityLoadBalancerSetting [Honoured] {
        distribute: Vec<LocalityDistribute>,
        failover: Vec<LocalityFailover>,
        failover_priority: Vec<String>,
        enabled: Option<bool>,
    }

    /// Shares of the traffic from one locality.
    pub struct LocalityDistribute [Honoured] {
        from: String,
        to: Map<u32>,
    }

    /// Where traffic of one locality goes when it fails.
    pub struct LocalityFailover [Honoured] {
        from: String,
        to: String,
    }

    /// Preference for the own zone.
    pub struct ZoneAwareLoadBalancerSetting [NoEffect("of sidecars only")] {
        enabled: Option<bool>,
        failover: Vec<LocalityFailover>,
        failover_priority: Vec<String>,
        min_cluster_size: Option<u64>,
    }

    /// Slow start of new endpoints.
    pub struct WarmupConfiguration [Honoured] {
        duration: Option<Duration>,
        minimum_percent: Option<f64>,
        aggression: Option<f64>,
    }

    /// Weights from load reports.
    pub struct BackendUtilization [NoEffect("Istio does not implement it")] {
        metric_names_for_computing_utilization: Vec<String>,
        error_utilization_penalty_percent: u32,
        weight_expiration_period: Option<Duration>,
        weight_stabilization_period: Option<Duration>,
        weight_update_period: Option<Duration>,
    }

    /// Connections to the host.
    pub struct ConnectionPoolSettings [Honoured] {
        tcp: Option<TcpSettings>,
        http: Option<HttpSettings>,
    }

    /// Connections of any protocol.
    pub struct TcpSettings [Honoured] {
        max_connections: i32,
        connect_timeout: Option<Duration> => Honoured,
        tcp_keepalive: Option<TcpKeepalive>,
        max_connection_duration: Option<Duration>,
        idle_timeout: Option<Duration>,
    }

    /// The kernel's keep-alive probes.
    pub struct TcpKeepalive [Honoured] {
        probes: u32,
        time: Option<Duration>,
        interval: Option<Duration>,
    }

    /// HTTP connections.
    pub struct HttpSettings [Honoured] {
        http1_max_pending_requests: i32,
        http2_max_requests: i32,
        max_requests_per_connection: i32 => Honoured,
        max_retries: i32,
        idle_timeout: Option<Duration> => Honoured,
        h2_upgrade_policy: H2UpgradePolicy => Honoured,
        use_client_protocol: bool => Honoured,
        max_concurrent_streams: i32,
        http2_keep_alive: Option<Http2KeepAlive>,
    }

    /// HTTP/2 pings.
    pub struct Http2KeepAlive [Honoured] {
        interval: Option<Duration>,
        timeout: Option<Duration>,
    }

    /// When an endpoint is left out for a while.
    pub struct OutlierDetection [Honoured] {
        consecutive_errors: i32 => Partly("read as consecutive5xxErrors, which Istio no longer does"),
        split_external_local_origin_errors: bool,
        consecutive_local_origin_failures: Option<u32>,
        consecutive_gateway_errors: Option<u32>,
        consecutive_5xx_errors: Option<u32>,
        interval: Option<Duration>,
        base_ejection_time: Option<Duration>,
        max_ejection_percent: i32,
        min_health_percent: i32,
        outlier_detection_http_error_codes: Vec<u32>,
    }

    /// TLS towards the host.
    pub struct ClientTlsSettings [Honoured] {
        mode: ClientTlsMode,
        client_certificate: String,
        private_key: String,
        ca_certificates: String,
        credential_name: String,
        subject_alt_names: Vec<String> => Partly("all but e-mail addresses"),
        sni: String,
        insecure_skip_verify: Option<bool>,
        ca_crl: String,
    }

    /// CONNECT through a proxy.
    pub struct TunnelSettings [Honoured] {
        protocol: String,
        target_host: String,
        target_port: u32,
    }

    /// PROXY protocol towards the host.
    pub struct ProxyProtocol [Honoured] {
        version: ProxyProtocolVersion,
    }

    /// How many retries may run beside first tries.
    pub struct RetryBudget [Honoured] {
        percent: Option<Percentage>,
        min_retry_concurrency: u32,
        budget_interval: Option<Duration>,
    }
}

/// A percentage written as a bare number.
pub type Percentage = f64;

enumeration! {
    /// Load balancing without parameters.
    pub enum SimpleLb {
        Unspecified = "UNSPECIFIED",
        LeastConn = "LEAST_CONN",
        Random = "RANDOM",
        Passthrough = "PASSTHROUGH",
        RoundRobin = "ROUND_ROBIN",
        LeastRequest = "LEAST_REQUEST",
    }

    /// Whether HTTP/1 requests go upstream as HTTP/2.
    pub enum H2UpgradePolicy {
        Default = "DEFAULT",
        DoNotUpgrade = "DO_NOT_UPGRADE",
        Upgrade = "UPGRADE",
    }

    /// What TLS a client uses.
    pub enum ClientTlsMode {
        Disable = "DISABLE",
        Simple = "SIMPLE",
        Mutual = "MUTUAL",
        IstioMutual = "ISTIO_MUTUAL",
    }

    /// Version of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        V1 = "V1",
        V2 = "V2",
    }
}
