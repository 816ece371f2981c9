//! `MeshConfig` (`mesh/v1alpha1/config.proto`), mesh-wide settings. Istio drops unknown keys here
//! without a word; they are warnings.

pub mod provider;
pub mod proxy;

use std::time::Duration;

use super::destination_rule::{
    ConnectionPoolSettings, H2UpgradePolicy, LocalityLoadBalancerSetting, OutlierDetection,
    TcpKeepalive, ZoneAwareLoadBalancerSetting,
};
use super::gateway::TlsProtocol;
use super::virtual_service::HttpRetry;
use crate::message::{Map, enumeration, message};
use crate::yaml::Node;
pub use provider::*;
pub use proxy::*;

message! {
    /// Settings of the whole mesh.
    pub struct MeshConfig [Later("mesh settings")] unknown Warn {
        proxy_listen_port: i32 => Honoured,
        proxy_inbound_listen_port: i32 => Honoured,
        proxy_http_port: i32 => NoEffect("of sidecars only"),
        connect_timeout: Option<Duration> => Honoured,
        tcp_keepalive: Option<TcpKeepalive>,
        ingress_class: String => Later("Kubernetes Ingress"),
        ingress_service: String => Later("Kubernetes Ingress"),
        ingress_selector: String => Later("Kubernetes Ingress"),
        ingress_controller_mode: IngressControllerMode => Later("Kubernetes Ingress"),
        enable_tracing: Option<bool> => Later("tracing"),
        access_log_file: String => Honoured,
        access_log_format: String => Honoured,
        access_log_encoding: AccessLogEncoding => Honoured,
        enable_envoy_access_log_service: bool => NoEffect("there is no Envoy"),
        disable_envoy_listener_log: bool,
        default_config: Option<MeshProxyConfig> => Honoured,
        outbound_traffic_policy: Option<MeshOutboundTrafficPolicy> => Partly("of sidecars; ALLOW_ANY_DYNAMIC_DNS is ALLOW_ANY"),
        inbound_traffic_policy: Option<MeshInboundTrafficPolicy> => Later("sidecar configuration"),
        config_sources: Vec<ConfigSource> => NoEffect("sources are given on the command line"),
        enable_auto_mtls: Option<bool> => Honoured,
        trust_domain: String => Honoured,
        trust_domain_aliases: Vec<String> => Honoured,
        ca_certificates: Vec<CertificateData> => Later("mutual TLS"),
        default_service_export_to: Vec<String> => Honoured,
        default_virtual_service_export_to: Vec<String> => Honoured,
        default_destination_rule_export_to: Vec<String> => Honoured,
        root_namespace: String => Honoured,
        locality_lb_setting: Option<LocalityLoadBalancerSetting> => Honoured,
        zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting> => NoEffect("of sidecars only"),
        dns_refresh_rate: Option<Duration>,
        h2_upgrade_policy: H2UpgradePolicy,
        inbound_cluster_stat_name: String => NoEffect("of sidecars only"),
        outbound_cluster_stat_name: String => NoEffect("cluster names are not configurable"),
        enable_prometheus_merge: Option<bool> => NoEffect("of sidecars only"),
        verify_certificate_at_client: Option<bool> => NoEffect("certificates of upstreams are always verified"),
        extension_providers: Vec<ExtensionProvider> => Partly("of external authorization"),
        default_providers: Option<DefaultProviders> => Later("extension providers"),
        discovery_selectors: Vec<Node> => Later("discovery"),
        path_normalization: Option<ProxyPathNormalization> => Honoured,
        default_http_retry_policy: Option<HttpRetry> => Honoured,
        default_inbound_http_retry_policy: Option<HttpRetry> => NoEffect("of sidecars only"),
        mesh_mtls as "meshMTLS" also "mesh_mTLS": Option<MeshTlsConfig> => Later("mutual TLS"),
        tls_defaults: Option<MeshTlsConfig> => Honoured,
        default_traffic_policy: Option<DefaultTrafficPolicy> => Honoured,
        protocol_detection_timeout: Option<Duration> => NoEffect("of sidecars only"),
        hbone_idle_timeout: Option<Duration> => NoEffect("there is no ambient mode"),
        service_settings: Vec<ServiceSettings> => Later("several clusters"),
        service_scope_configs: Vec<Node> => NoEffect("there is no ambient mode"),
        service_entry_visibility: Option<Node> => Later("sidecar configuration"),
        ca: Option<Node> => Later("an external authority"),
        certificates: Vec<Node> => NoEffect("Istio dropped it"),
    }

    /// Default policy of every host, under every DestinationRule.
    pub struct DefaultTrafficPolicy [Honoured] {
        connection_pool: Option<ConnectionPoolSettings>,
        outlier_detection: Option<OutlierDetection>,
    }

    /// What sidecars do with unknown hosts.
    pub struct MeshOutboundTrafficPolicy [Later("sidecar configuration")] {
        mode: MeshOutboundMode,
        tls: Option<Node>,
    }

    /// What sidecars do with unknown ports.
    pub struct MeshInboundTrafficPolicy [Later("sidecar configuration")] {
        mode: MeshInboundMode,
    }

    /// Where configuration comes from.
    pub struct ConfigSource [NoEffect("sources are given on the command line")] {
        address: String,
        tls_settings: Option<Node>,
        subscribed_resources: Vec<Node>,
    }

    /// A further root of trust.
    pub struct CertificateData [Later("mutual TLS")] {
        pem: Option<String>,
        spiffe_bundle_url: Option<String>,
        cert_signers: Vec<String>,
        trust_domains: Vec<String>,
    }
    oneof [pem, spiffe_bundle_url]

    /// Which providers are used when a Telemetry names none.
    pub struct DefaultProviders [Later("extension providers")] {
        tracing: Vec<String>,
        metrics: Vec<String>,
        access_logging: Vec<String>,
    }

    /// How paths are made comparable.
    pub struct ProxyPathNormalization [Honoured] {
        normalization: NormalizationType,
    }

    /// TLS parameters of the mesh.
    pub struct MeshTlsConfig [Honoured] {
        min_protocol_version: TlsProtocol,
        ecdh_curves: Vec<String>,
        cipher_suites: Vec<String>,
    }

    /// Settings of some services.
    pub struct ServiceSettings [Later("several clusters")] {
        settings: Option<ServiceSetting>,
        hosts: Vec<String>,
    }

    /// Whether a service stays inside its cluster.
    pub struct ServiceSetting [Later("several clusters")] {
        cluster_local: bool,
    }

    /// `MeshNetworks`: networks and the gateways between them.
    pub struct MeshNetworks [Honoured] {
        networks: Map<Network>,
    }

    /// One network.
    pub struct Network [Honoured] {
        endpoints: Vec<NetworkEndpoints> => Later("networks by address or by registry"),
        gateways: Vec<NetworkGateway>,
    }

    /// Endpoints that are in the network.
    pub struct NetworkEndpoints [Later("networks by address or by registry")] {
        from_cidr: Option<String>,
        from_registry: Option<String>,
    }
    oneof [from_cidr, from_registry]

    /// How the network is reached from others.
    pub struct NetworkGateway [Honoured] {
        registry_service_name: Option<String>,
        address: Option<String>,
        port: u32,
        locality: String => Later("localities of network gateways"),
    }
    oneof [registry_service_name, address]
}

enumeration! {
    /// Which Ingress objects are served.
    pub enum IngressControllerMode {
        Unspecified = "UNSPECIFIED",
        Off = "OFF",
        Default = "DEFAULT",
        Strict = "STRICT",
    }

    /// Form of the access log.
    pub enum AccessLogEncoding {
        Text = "TEXT",
        Json = "JSON",
    }

    /// What sidecars do with unknown hosts; the mesh's default is ALLOW_ANY.
    pub enum MeshOutboundMode {
        RegistryOnly = "REGISTRY_ONLY",
        AllowAny = "ALLOW_ANY",
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS",
    }

    /// What sidecars do with unknown ports.
    pub enum MeshInboundMode {
        Passthrough = "PASSTHROUGH",
        Localhost = "LOCALHOST",
    }

    /// How paths are made comparable.
    pub enum NormalizationType {
        Default = "DEFAULT",
        None = "NONE",
        Base = "BASE",
        MergeSlashes = "MERGE_SLASHES",
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
}
