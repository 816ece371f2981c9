//! `WorkloadGroup` (`networking/v1alpha3/workload_group.proto`).

use super::workload_entry::WorkloadEntry;
use crate::message::{Map, message};

message! {
    /// What WorkloadEntries of registering workloads look like.
    pub struct WorkloadGroup [Honoured] {
        metadata: Option<ObjectMeta>,
        template: Option<WorkloadEntry>,
        probe: Option<ReadinessProbe>,
    }

    /// Labels and annotations of the entries.
    pub struct ObjectMeta [Honoured] {
        labels: Map<String>,
        annotations: Map<String>,
    }

    /// How health is found out.
    pub struct ReadinessProbe [Honoured] {
        initial_delay_seconds: i32,
        timeout_seconds: i32,
        period_seconds: i32,
        success_threshold: i32,
        failure_threshold: i32,
        http_get: Option<HttpHealthCheck>,
        tcp_socket: Option<TcpHealthCheck>,
        exec: Option<ExecHealthCheck>,
        grpc: Option<GrpcHealthCheck>,
    }
    oneof [http_get, tcp_socket, exec, grpc]

    /// Health by an HTTP request.
    pub struct HttpHealthCheck [Honoured] {
        path: String,
        port: u32,
        host: String,
        scheme: String => Partly("HTTP; a probe over HTTPS is reported as a failure"),
        http_headers: Vec<HttpHeader>,
    }

    /// A header of the request.
    pub struct HttpHeader [Honoured] {
        name: String,
        value: String,
    }

    /// Health by a connection.
    pub struct TcpHealthCheck [Honoured] {
        host: String,
        port: u32,
    }

    /// Health by a command.
    pub struct ExecHealthCheck [Honoured] {
        command: Vec<String>,
    }

    /// Health by gRPC.
    pub struct GrpcHealthCheck [Honoured] {
        port: u32,
        service: String,
    }
}
