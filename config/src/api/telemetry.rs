//! `Telemetry` (`telemetry/v1alpha1/telemetry.proto`).

use std::time::Duration;

use super::shared::{PolicyTargetReference, WorkloadSelector};
use crate::message::{Map, enumeration, message};

message! {
    /// What is told about traffic, and to whom.
    pub struct Telemetry [Later("telemetry policies")] {
        selector: Option<WorkloadSelector>,
        target_ref: Option<PolicyTargetReference>,
        target_refs: Vec<PolicyTargetReference>,
        tracing: Vec<Tracing>,
        metrics: Vec<Metrics>,
        access_logging: Vec<AccessLogging>,
    }

    /// A provider by name.
    pub struct ProviderRef [Later("telemetry policies")] {
        name: String,
    }

    /// Spans.
    pub struct Tracing [Later("tracing")] {
        match_: Option<ModeSelector>,
        providers: Vec<ProviderRef>,
        random_sampling_percentage: Option<f64>,
        disable_span_reporting: Option<bool>,
        custom_tags: Map<CustomTag>,
        use_request_id_for_trace_sampling: Option<bool>,
        enable_istio_tags: Option<bool>,
        disable_context_propagation: Option<bool>,
    }

    /// Which side of a connection.
    pub struct ModeSelector [Later("telemetry policies")] {
        mode: WorkloadMode,
    }

    /// Where a tag's value comes from.
    pub struct CustomTag [Later("tracing")] {
        literal: Option<TagLiteral>,
        environment: Option<TagEnvironment>,
        header: Option<TagHeader>,
        formatter: Option<TagFormatter>,
    }
    oneof [literal, environment, header, formatter]

    /// A fixed value.
    pub struct TagLiteral [Later("tracing")] {
        value: String,
    }

    /// An environment variable.
    pub struct TagEnvironment [Later("tracing")] {
        name: String,
        default_value: String,
    }

    /// A request header.
    pub struct TagHeader [Later("tracing")] {
        name: String,
        default_value: String,
    }

    /// An access-log format.
    pub struct TagFormatter [Later("tracing")] {
        value: String,
    }

    /// Counters and histograms.
    pub struct Metrics [Later("telemetry policies")] {
        providers: Vec<ProviderRef>,
        overrides: Vec<MetricsOverrides>,
        reporting_interval: Option<Duration>,
    }

    /// A change of some metrics.
    pub struct MetricsOverrides [Later("telemetry policies")] {
        match_: Option<MetricSelector>,
        disabled: Option<bool>,
        tag_overrides: Map<TagOverride>,
    }

    /// Which metrics.
    pub struct MetricSelector [Later("telemetry policies")] {
        metric: Option<IstioMetric>,
        custom_metric: Option<String>,
        mode: WorkloadMode,
    }
    oneof [metric, custom_metric]

    /// A change of one label.
    pub struct TagOverride [Later("telemetry policies")] {
        operation: TagOperation,
        value: String,
    }

    /// Access logs.
    pub struct AccessLogging [Later("telemetry policies")] {
        match_: Option<ModeSelector>,
        providers: Vec<ProviderRef>,
        disabled: Option<bool>,
        filter: Option<LogFilter>,
    }

    /// Which requests are logged.
    pub struct LogFilter [Later("telemetry policies")] {
        expression: String,
    }
}

enumeration! {
    /// Which side of a connection; gateways are clients.
    pub enum WorkloadMode {
        ClientAndServer = "CLIENT_AND_SERVER",
        Client = "CLIENT",
        Server = "SERVER",
    }

    /// Istio's own metrics.
    pub enum IstioMetric {
        AllMetrics = "ALL_METRICS",
        RequestCount = "REQUEST_COUNT",
        RequestDuration = "REQUEST_DURATION",
        RequestSize = "REQUEST_SIZE",
        ResponseSize = "RESPONSE_SIZE",
        TcpOpenedConnections = "TCP_OPENED_CONNECTIONS",
        TcpClosedConnections = "TCP_CLOSED_CONNECTIONS",
        TcpSentBytes = "TCP_SENT_BYTES",
        TcpReceivedBytes = "TCP_RECEIVED_BYTES",
        GrpcRequestMessages = "GRPC_REQUEST_MESSAGES",
        GrpcResponseMessages = "GRPC_RESPONSE_MESSAGES",
    }

    /// What happens to a label.
    pub enum TagOperation {
        Upsert = "UPSERT",
        Remove = "REMOVE",
    }
}
