//! `ServiceEntry` (`networking/v1alpha3/service_entry.proto`).

use super::shared::LabelSelector;
use super::workload_entry::WorkloadEntry;
use crate::message::{enumeration, message};

message! {
    /// Hosts that no Service describes.
    pub struct ServiceEntry [Honoured] {
        hosts: Vec<String>,
        addresses: Vec<String> => Partly("by sidecars; no CIDR blocks"),
        ports: Vec<ServicePort>,
        location: Location,
        resolution: Resolution,
        endpoints: Vec<WorkloadEntry>,
        workload_selector: Option<LabelSelector>,
        export_to: Vec<String>,
        subject_alt_names: Vec<String> => Partly("all but e-mail addresses"),
    }

    /// A port of the hosts.
    pub struct ServicePort [Honoured] {
        number: u32,
        protocol: String,
        name: String,
        target_port: u32,
    }
}

enumeration! {
    /// Whether the hosts are part of the mesh.
    pub enum Location {
        MeshExternal = "MESH_EXTERNAL",
        MeshInternal = "MESH_INTERNAL",
    }

    /// How endpoints are found.
    pub enum Resolution {
        None = "NONE",
        Static = "STATIC",
        Dns = "DNS",
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        DynamicDns = "DYNAMIC_DNS",
    }
}
