//! Messages that several kinds use.

use crate::message::{Map, message};

message! {
    /// How to compare a string. With none set (`{}`), presence is enough.
    pub struct StringMatch [Honoured] {
        exact: Option<String>,
        prefix: Option<String>,
        regex: Option<String>,
    }
    oneof [exact, prefix, regex]

    /// A port by number.
    pub struct PortSelector [Honoured] {
        number: u32,
    }

    /// A share in percent, 0 to 100.
    pub struct Percent [Honoured] {
        value: f64,
    }

    /// A port of a server or a host (networking's `Port` and `ServicePort`, `SidecarPort`).
    pub struct Port [Honoured] {
        number: u32,
        protocol: String,
        name: String,
        target_port: u32 => Refused("IST0106"),
    }

    /// Workloads by labels, as security and telemetry write it.
    pub struct WorkloadSelector [Honoured] {
        match_labels: Map<String>,
    }

    /// Workloads by labels, as networking writes it.
    pub struct LabelSelector [Honoured] {
        labels: Map<String>,
    }

    /// Workloads by the object that they belong to.
    pub struct PolicyTargetReference [Honoured] {
        group: String,
        kind: String,
        name: String,
        namespace: String,
    }
}
