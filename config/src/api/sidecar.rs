//! `Sidecar` (`networking/v1alpha3/sidecar.proto`). All of it is for the sidecars that the control
//! process configures; gateways have no use for it.

use super::destination_rule::ConnectionPoolSettings;
use super::gateway::ServerTlsSettings;
use super::shared::{LabelSelector, PortSelector};
use crate::message::{enumeration, message};

message! {
    /// What a sidecar accepts and reaches.
    pub struct Sidecar [Honoured] {
        workload_selector: Option<LabelSelector>,
        ingress: Vec<IstioIngressListener>,
        egress: Vec<IstioEgressListener>,
        inbound_connection_pool: Option<ConnectionPoolSettings> => Later("limits of a sidecar's own ports"),
        outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    /// A port that a sidecar accepts connections for.
    pub struct IstioIngressListener [Honoured] {
        port: Option<SidecarPort>,
        bind: String => Later("sidecar ports on addresses of their own"),
        capture_mode: CaptureMode => Later("sidecar ports that are captured in another way"),
        default_endpoint: String,
        tls: Option<ServerTlsSettings> => Later("TLS of a sidecar's own ports"),
        connection_pool: Option<ConnectionPoolSettings> => Later("limits of a sidecar's own ports"),
    }

    /// Hosts that a sidecar reaches.
    pub struct IstioEgressListener [Honoured] {
        port: Option<SidecarPort>,
        bind: String => Later("sidecar ports on addresses of their own"),
        capture_mode: CaptureMode => Later("sidecar ports that are captured in another way"),
        hosts: Vec<String>,
    }

    /// A port of a sidecar.
    pub struct SidecarPort [Honoured] {
        number: u32,
        protocol: String,
        name: String,
        target_port: u32 => NoEffect("Istio does not read it either"),
    }

    /// What happens to traffic for unknown hosts.
    pub struct OutboundTrafficPolicy [Honoured] {
        mode: OutboundTrafficPolicyMode,
        egress_proxy: Option<EgressProxy> => Later("unknown traffic by way of a proxy"),
    }

    /// Where unknown traffic goes.
    pub struct EgressProxy [Later("unknown traffic by way of a proxy")] {
        host: String,
        subset: String,
        port: Option<PortSelector>,
    }
}

enumeration! {
    /// Which traffic a listener expects.
    pub enum CaptureMode {
        Default = "DEFAULT",
        Iptables = "IPTABLES",
        None = "NONE",
    }

    /// What happens to traffic for unknown hosts. The zero value refuses.
    pub enum OutboundTrafficPolicyMode {
        RegistryOnly = "REGISTRY_ONLY",
        AllowAny = "ALLOW_ANY",
    }
}
