//! `PeerAuthentication` (`security/v1beta1/peer_authentication.proto`).

use super::shared::WorkloadSelector;
use crate::message::{Map, enumeration, message};

message! {
    /// Which workloads demand mutual TLS.
    pub struct PeerAuthentication [Partly("in automatic mutual TLS towards upstreams")] {
        selector: Option<WorkloadSelector>,
        mtls: Option<MutualTls>,
        port_level_mtls: Map<MutualTls>,
    }

    /// Whether mutual TLS is demanded.
    pub struct MutualTls [Partly("in automatic mutual TLS towards upstreams")] {
        mode: MutualTlsMode,
    }
}

enumeration! {
    /// Whether mutual TLS is demanded.
    pub enum MutualTlsMode {
        Unset = "UNSET",
        Disable = "DISABLE",
        Permissive = "PERMISSIVE",
        Strict = "STRICT",
    }
}
