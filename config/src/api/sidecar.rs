//! `Sidecar` (`networking/v1alpha3/sidecar.proto`). All of it is for the sidecars that the control
//! process configures.

use super::destination_rule::ConnectionPoolSettings;
use super::gateway::ServerTlsSettings;
use super::shared::{LabelSelector, PortSelector};
use crate::message::{enumeration, message};

message! {
    /// What a sidecar accepts and reaches.
    pub struct Sidecar [Later("sidecar configuration")] {
        workload_selector: Option<LabelSelector>,
        ingress: Vec<IstioIngressListener>,
        egress: Vec<IstioEgressListener>,
        inbound_connection_pool: Option<ConnectionPoolSettings>,
        outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    /// A port that a sidecar accepts connections for.
    pub struct IstioIngressListener [Later("sidecar configuration")] {
        port: Option<SidecarPort>,
        bind: String,
        capture_mode: CaptureMode,
        default_endpoint: String,
        tls: Option<ServerTlsSettings>,
        connection_pool: Option<ConnectionPoolSettings>,
    }

    /// Hosts that a sidecar reaches.
    pub struct IstioEgressListener [Later("sidecar configuration")] {
        port: Option<SidecarPort>,
        bind: String,
        capture_mode: CaptureMode,
        hosts: Vec<String>,
    }

    /// A port of a sidecar.
    pub struct SidecarPort [Later("sidecar configuration")] {
        number: u32,
        protocol: String,
        name: String,
        target_port: u32,
    }

    /// What happens to traffic for unknown hosts.
    pub struct OutboundTrafficPolicy [Later("sidecar configuration")] {
        mode: OutboundTrafficPolicyMode,
        egress_proxy: Option<EgressProxy>,
    }

    /// Where unknown traffic goes.
    pub struct EgressProxy [Later("sidecar configuration")] {
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
