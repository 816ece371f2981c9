//! `WorkloadEntry` (`networking/v1alpha3/workload_entry.proto`).

use crate::message::{Map, message};

message! {
    /// One endpoint outside Kubernetes, or inline in a ServiceEntry.
    pub struct WorkloadEntry [Honoured] {
        address: String,
        ports: Map<u32>,
        labels: Map<String>,
        network: String,
        locality: String,
        weight: u32,
        service_account: String,
    }
}
