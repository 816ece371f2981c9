//! Counters as text: Prometheus' exposition format, and Envoy's `/stats` lines.

use std::fmt::{Display, Write as _};

use super::counters::{Labels, Listener, Series, Upstream};
use super::histogram::Histogram;
use super::names::{self, Kind, Name};
use super::tcp::Tcp;
use super::{Protocol, Report, Watched};
use sallyport_core::outlier::Checks;

use crate::args::Node;
use crate::control::Facts as ControlFacts;
use crate::upstream::ClusterFacts;
use sallyport_issuers::KeyStatus;

/// Content type of the exposition format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What Istio writes where it does not know.
const UNKNOWN: &str = "unknown";
/// Breakers, in the order of their counters.
const LIMITS: [&str; 4] = ["connections", "pending", "requests", "retries"];
/// Shares of requests whose duration is given.
const QUANTILES: [(&str, f64); 4] = [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99), ("0.999", 0.999)];

/// What is exported beside the workers' counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Ejections by cluster.
    pub(crate) clusters: Vec<ClusterFacts>,
    /// Values that rate limits forgot, by limit.
    pub(crate) forgotten: Vec<(String, u64)>,
    /// Labels of this gateway as `source_…`, in their order.
    pub(crate) source: Source,
    /// Number of the generation that is served, 0 for none.
    pub(crate) generation: u64,
    /// Seconds since it became active.
    pub(crate) generation_age: u64,
    /// Generations refused as a whole.
    pub(crate) rejected: u64,
    /// Objects served in their last good state because the newest is broken.
    pub(crate) objects_rejected: usize,
    /// Findings as (level, count).
    pub(crate) diagnostics: Vec<(&'static str, usize)>,
    /// Certificates as (name, seconds until they expire).
    pub(crate) certificates: Vec<(String, i64)>,
    /// OCSP staples of certificates as (name, seconds until they expire).
    pub(crate) staples: Vec<(String, i64)>,
    /// I/O driver.
    pub(crate) driver: String,
    /// Workers that serve.
    pub(crate) workers: usize,
    /// Workers that did not answer in time.
    pub(crate) silent: usize,
    /// Seconds since the start.
    pub(crate) uptime: u64,
    /// Whether the process drains.
    pub(crate) draining: bool,
    /// Limit of memory and what of it is used, if there is one.
    pub(crate) memory: Option<(u64, u64)>,
    /// How much load is shed.
    pub(crate) pressure: u8,
    /// Questions to name servers as (outcome, count).
    pub(crate) lookups: [(&'static str, u64); 3],
    /// Names that are followed.
    pub(crate) names: usize,
    /// Names whose last question gave no address.
    pub(crate) names_failing: usize,
    /// Fetches of keys as (outcome, count).
    pub(crate) fetches: [(&'static str, u64); 2],
    /// Keys of token issuers.
    pub(crate) key_sets: Vec<KeyStatus>,
    /// Access-log lines that could not be written.
    pub(crate) log_failed: u64,
    /// How this stands with the control process, if configuration comes from one.
    pub(crate) control: Option<ControlFacts>,
}

/// This gateway as the source of requests: what Istio derives from the labels of the workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Source {
    workload: String,
    canonical_service: String,
    canonical_revision: String,
    namespace: String,
    app: String,
    version: String,
    cluster: String,
}

impl Source {
    /// Istio's rules: the canonical service is named by label, else by `app`, else by the workload;
    /// the revision by label, else by `version`, else it is `latest`.
    pub(crate) fn of(node: &Node) -> Self {
        let label = |names: &[&str]| {
            let values = names.iter().filter_map(|name| node.labels.get(*name));
            values.into_iter().next().cloned()
        };
        Self {
            workload: node.name.clone(),
            canonical_service: label(&[
                "service.istio.io/canonical-name",
                "app.kubernetes.io/name",
                "app",
            ])
            .unwrap_or_else(|| node.name.clone()),
            canonical_revision: label(&[
                "service.istio.io/canonical-revision",
                "app.kubernetes.io/version",
                "version",
            ])
            .unwrap_or_else(|| "latest".to_owned()),
            namespace: node.namespace.clone(),
            app: label(&["app"]).unwrap_or_default(),
            version: label(&["version"]).unwrap_or_default(),
            cluster: node.cluster.clone(),
        }
    }
}

/// Everything, in the exposition format.
pub(crate) fn render(report: &Report, facts: &Facts) -> String {
    let mut page = Page::default();
    requests(&mut page, report, &facts.source);
    tcp(&mut page, report, &facts.source);
    connections(&mut page, report);
    limits(&mut page, report);
    forgotten(&mut page, facts);
    ejections(&mut page, facts);
    process(&mut page, report, facts);
    page.out
}

/// Everything, as `name{labels}: value` lines: what Envoy's `/stats` is to people and to grep.
/// Buckets are left out; lines without `filter` as well.
pub(crate) fn lines(report: &Report, facts: &Facts, filter: &str) -> String {
    let text = render(report, facts);
    let samples = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    let mut out = String::new();
    for (name, value) in samples.filter_map(|line| line.rsplit_once(' ')) {
        if name.contains(filter) {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name}: {value}");
        }
    }
    out
}

fn requests(page: &mut Page, report: &Report, source: &Source) {
    page.head(names::REQUESTS);
    for (labels, series) in &report.series {
        page.sample(
            names::REQUESTS,
            "",
            &istio_labels(source, labels),
            series.requests,
        );
    }
    let mut histograms = |name, part: fn(&Series) -> &Histogram| {
        page.head(name);
        for (labels, series) in &report.series {
            page.histogram(name, &istio_labels(source, labels), part(series));
        }
    };
    histograms(names::REQUEST_DURATION, |series| &series.duration);
    histograms(names::REQUEST_BYTES, |series| &series.request_bytes);
    histograms(names::RESPONSE_BYTES, |series| &series.response_bytes);
    page.head(names::DURATION_QUANTILES);
    if let Some(latency) = &report.latency {
        for (text, share) in QUANTILES {
            let value = latency.value_at_quantile(share);
            page.sample(names::DURATION_QUANTILES, "", &[("quantile", text)], value);
        }
        page.sample::<&str>(names::DURATION_QUANTILES, "_count", &[], latency.len());
    }
}

fn tcp(page: &mut Page, report: &Report, source: &Source) {
    let mut counters = |name, part: fn(&Tcp) -> u64| {
        page.head(name);
        for (labels, tcp) in &report.tcp {
            // A connection has neither a status nor one of gRPC: Istio leaves the labels out.
            let mut labels = istio_labels(source, labels);
            labels.retain(|(label, _)| !matches!(*label, "response_code" | "grpc_response_status"));
            page.sample(name, "", &labels, part(tcp));
        }
    };
    counters(names::TCP_OPENED, |tcp| tcp.opened);
    counters(names::TCP_CLOSED, |tcp| tcp.closed);
    counters(names::TCP_SENT, |tcp| tcp.sent);
    counters(names::TCP_RECEIVED, |tcp| tcp.received);
}

fn istio_labels<'a>(source: &'a Source, labels: &'a Labels) -> Vec<(&'static str, LabelText<'a>)> {
    // Endpoints live in the namespace of their service; one without a workload has neither.
    let namespace = if labels.workload.is_empty() || *labels.workload == *UNKNOWN {
        ""
    } else {
        &labels.service_namespace
    };
    let known = LabelText::Known;
    let grpc = match (labels.protocol, labels.grpc_status) {
        (Protocol::Grpc, Some(status)) => LabelText::Number(status),
        _ => LabelText::Plain(""),
    };
    vec![
        ("reporter", LabelText::Plain("source")),
        ("source_workload", known(&source.workload)),
        ("source_canonical_service", known(&source.canonical_service)),
        (
            "source_canonical_revision",
            known(&source.canonical_revision),
        ),
        ("source_workload_namespace", known(&source.namespace)),
        ("source_principal", known(&labels.principals.own)),
        ("source_app", known(&source.app)),
        ("source_version", known(&source.version)),
        ("source_cluster", known(&source.cluster)),
        ("destination_workload", known(&labels.workload)),
        ("destination_workload_namespace", known(namespace)),
        ("destination_principal", known(&labels.principals.peer)),
        ("destination_app", known("")),
        ("destination_version", known("")),
        ("destination_service", known(&labels.service)),
        ("destination_canonical_service", known("")),
        ("destination_canonical_revision", known("")),
        ("destination_service_name", known(&labels.service_name)),
        (
            "destination_service_namespace",
            known(&labels.service_namespace),
        ),
        ("destination_cluster", known("")),
        (
            "request_protocol",
            LabelText::Plain(labels.protocol.as_str()),
        ),
        ("response_code", LabelText::Number(labels.code)),
        ("grpc_response_status", grpc),
        (
            "response_flags",
            LabelText::Owned(labels.flags().to_string()),
        ),
        ("connection_security_policy", known("")),
    ]
}

fn connections(page: &mut Page, report: &Report) {
    let mut listeners = |name, value: fn(&Listener) -> u64| {
        page.head(name);
        for (listener, counters) in &report.listeners {
            page.sample(name, "", &[("listener", &**listener)], value(counters));
        }
    };
    listeners(names::CONNECTIONS_ACTIVE, Listener::active);
    listeners(names::CONNECTIONS, |listener| listener.opened);
    listeners(names::CONNECTIONS_REFUSED, |listener| listener.refused);
    let mut upstreams = |name, value: fn(&Upstream) -> u64| {
        page.head(name);
        for (cluster, counters) in &report.upstreams {
            page.sample(name, "", &[("cluster", &**cluster)], value(counters));
        }
    };
    upstreams(names::UPSTREAM_ACTIVE, Upstream::active);
    upstreams(names::UPSTREAM_CONNECTS, |upstream| upstream.connects);
    upstreams(names::UPSTREAM_FAILURES, |upstream| upstream.failures);
    upstreams(names::RETRIES, |upstream| upstream.retries);
    page.head(names::OVERFLOWS);
    for (cluster, counters) in &report.upstreams {
        for (limit, value) in LIMITS.iter().zip(counters.overflows) {
            let labels = [("cluster", &**cluster), ("limit", limit)];
            page.sample(names::OVERFLOWS, "", &labels, value);
        }
    }
    for (position, name) in [
        names::EXT_AUTHZ_OK,
        names::EXT_AUTHZ_DENIED,
        names::EXT_AUTHZ_ERROR,
        names::EXT_AUTHZ_FAILED_OPEN,
    ]
    .into_iter()
    .enumerate()
    {
        page.head(name);
        for (provider, answers) in &report.authorizers {
            if let Some(count) = answers.get(position) {
                page.sample(name, "", &[("provider", &**provider)], count);
            }
        }
    }
    watched(page, &report.watched);
    page.head(names::HANDSHAKES);
    for (outcome, value) in [
        ("ok", report.handshakes_ok),
        ("failed", report.handshakes_failed),
        ("shed", report.handshakes_shed),
    ] {
        page.sample(names::HANDSHAKES, "", &[("outcome", outcome)], value);
    }
    page.one(names::HANDSHAKES_WAITED, report.handshakes_waited);
    page.one(names::REVOKED, report.revoked);
}

/// With Istio's labels of dry runs.
fn watched(page: &mut Page, watched: &Watched) {
    page.head(names::AUDITED);
    for (result, count) in ["not_logged", "logged"].iter().zip(watched.audited) {
        page.sample(names::AUDITED, "", &[("result", result)], count);
    }
    page.head(names::DRY_RUNS);
    for (action, counts) in [("deny", watched.deny), ("allow", watched.allow)] {
        for (result, count) in ["denied", "allowed"].iter().zip(counts) {
            let labels = [
                ("authz_dry_run_action", action),
                ("authz_dry_run_result", result),
            ];
            page.sample(names::DRY_RUNS, "", &labels, count);
        }
    }
}

fn limits(page: &mut Page, report: &Report) {
    let all = [names::LIMIT_OK, names::LIMIT_LIMITED, names::LIMIT_ENFORCED];
    for (position, name) in all.into_iter().enumerate() {
        page.head(name);
        for (limit, limited) in &report.limits {
            if let Some(count) = limited.get(position) {
                page.sample(name, "", &[("limit", &**limit)], count);
            }
        }
    }
}

fn forgotten(page: &mut Page, facts: &Facts) {
    page.head(names::LIMIT_FORGOTTEN);
    for (limit, count) in &facts.forgotten {
        page.sample(names::LIMIT_FORGOTTEN, "", &[("limit", &**limit)], count);
    }
}

fn ejections(page: &mut Page, facts: &Facts) {
    page.head(names::EJECTED);
    for cluster in &facts.clusters {
        let labels = [("cluster", &*cluster.name)];
        page.sample(names::EJECTED, "", &labels, cluster.ejected);
    }
    page.head(names::EJECTIONS);
    for cluster in &facts.clusters {
        let labels = [("cluster", &*cluster.name)];
        page.sample(names::EJECTIONS, "", &labels, cluster.ejections);
    }
    page.head(names::UNHEALTHY);
    for cluster in &facts.clusters {
        page.sample(
            names::UNHEALTHY,
            "",
            &[("cluster", &*cluster.name)],
            cluster.sick,
        );
    }
    page.head(names::HEALTH_CHECKS);
    for cluster in &facts.clusters {
        let Checks { passed, failed } = cluster.checks;
        for (outcome, count) in [("passed", passed), ("failed", failed)] {
            let labels = [("cluster", &*cluster.name), ("outcome", outcome)];
            page.sample(names::HEALTH_CHECKS, "", &labels, count);
        }
    }
}

fn process(page: &mut Page, report: &Report, facts: &Facts) {
    page.one(names::IN_FLIGHT, report.in_flight);
    page.one(names::ALARMS, report.alarms);
    page.one(names::MIRRORS, report.mirrors);
    page.one(names::ODDITIES, report.oddities);
    page.head(names::EARLY);
    for (outcome, count) in [("served", report.early.served), ("held", report.early.held)] {
        page.sample(names::EARLY, "", &[("outcome", outcome)], count);
    }
    page.head(names::LOG_DROPPED);
    for (reason, value) in [
        ("buffer_full", report.log_dropped),
        ("write_failed", facts.log_failed),
    ] {
        page.sample(names::LOG_DROPPED, "", &[("reason", reason)], value);
    }
    page.one(names::SERIES_DROPPED, report.series_overflow);
    page.one(names::GENERATION, facts.generation);
    page.one(names::GENERATION_AGE, facts.generation_age);
    page.one(names::REJECTED, facts.rejected);
    page.one(names::OBJECTS_REJECTED, facts.objects_rejected);
    page.head(names::DIAGNOSTICS);
    for (level, count) in &facts.diagnostics {
        page.sample(names::DIAGNOSTICS, "", &[("level", *level)], count);
    }
    page.head(names::CERTIFICATE_EXPIRY);
    for (certificate, seconds) in &facts.certificates {
        let labels = [("certificate", certificate.as_str())];
        page.sample(names::CERTIFICATE_EXPIRY, "", &labels, seconds);
    }
    page.head(names::STAPLE_EXPIRY);
    for (certificate, seconds) in &facts.staples {
        let labels = [("certificate", certificate.as_str())];
        page.sample(names::STAPLE_EXPIRY, "", &labels, seconds);
    }
    page.head(names::BUILD);
    let build = [("component", "proxy"), ("tag", env!("CARGO_PKG_VERSION"))];
    page.sample(names::BUILD, "", &build, 1);
    page.head(names::DRIVER);
    page.sample(names::DRIVER, "", &[("driver", facts.driver.as_str())], 1);
    page.one(names::WORKERS, facts.workers);
    page.one(names::WORKERS_SILENT, facts.silent);
    page.one(names::UPTIME, facts.uptime);
    page.one(names::DRAINING, u8::from(facts.draining));
    if let Some((limit, used)) = facts.memory {
        page.one(names::MEMORY_LIMIT, limit);
        page.one(names::MEMORY_USED, used);
    }
    page.one(names::PRESSURE, facts.pressure);
    learned(page, facts);
    if let Some(control) = &facts.control {
        page.one(names::CONTROL_CONNECTED, u8::from(control.connected));
        page.one(names::CONTROL_STREAMS, control.streams);
        page.head(names::CONTROL_UPDATES);
        for (outcome, count) in [("accepted", control.accepted), ("refused", control.refused)] {
            page.sample(names::CONTROL_UPDATES, "", &[("outcome", outcome)], count);
        }
        page.one(names::CONTROL_DOCUMENTS, control.documents);
    }
}

/// What the side thread learns from name servers and token issuers.
fn learned(page: &mut Page, facts: &Facts) {
    page.head(names::DNS_LOOKUPS);
    for (outcome, count) in &facts.lookups {
        page.sample(names::DNS_LOOKUPS, "", &[("outcome", *outcome)], count);
    }
    page.one(names::DNS_NAMES, facts.names);
    page.one(names::DNS_NAMES_FAILING, facts.names_failing);
    page.head(names::JWKS_FETCHES);
    for (outcome, count) in &facts.fetches {
        page.sample(names::JWKS_FETCHES, "", &[("outcome", *outcome)], count);
    }
    page.head(names::JWKS_AGE);
    for set in &facts.key_sets {
        if let Some(age) = set.age {
            page.sample(names::JWKS_AGE, "", &[("url", &*set.url)], age);
        }
    }
    page.head(names::JWKS_FAILURES);
    for set in &facts.key_sets {
        page.sample(
            names::JWKS_FAILURES,
            "",
            &[("url", &*set.url)],
            set.failures,
        );
    }
}

/// A label's value.
enum LabelText<'a> {
    /// `unknown` when empty.
    Known(&'a str),
    /// As it is.
    Plain(&'a str),
    /// As it is.
    Owned(String),
    /// A number.
    Number(u16),
}

impl Display for LabelText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known("") => f.write_str(UNKNOWN),
            Self::Known(text) | Self::Plain(text) => f.write_str(text),
            Self::Owned(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// The text as it grows.
#[derive(Default)]
struct Page {
    out: String,
}

// Writing to a string cannot fail, hence the discarded results below.
impl Page {
    fn head(&mut self, name: Name) {
        let Name { text, kind, help } = name;
        let _ = writeln!(self.out, "# HELP {text} {help}");
        let _ = writeln!(self.out, "# TYPE {text} {}", kind.word());
    }

    fn one(&mut self, name: Name, value: impl Display) {
        self.head(name);
        self.sample::<&str>(name, "", &[], value);
    }

    fn sample<L: Display>(
        &mut self,
        name: Name,
        suffix: &str,
        labels: &[(&str, L)],
        value: impl Display,
    ) {
        let _ = write!(self.out, "{}{suffix}", name.text);
        if !labels.is_empty() {
            self.out.push('{');
            self.labels(labels);
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn labels<L: Display>(&mut self, labels: &[(&str, L)]) {
        let mut text = String::new();
        for (index, (name, value)) in labels.iter().enumerate() {
            text.clear();
            let _ = write!(text, "{value}");
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(self.out, "{comma}{name}=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    other => self.out.push(other),
                }
            }
            self.out.push('"');
        }
    }

    fn histogram(&mut self, name: Name, labels: &[(&str, LabelText<'_>)], histogram: &Histogram) {
        debug_assert_eq!(name.kind, Kind::Histogram);
        for (bound, count) in histogram.cumulative() {
            let _ = write!(self.out, "{}_bucket{{", name.text);
            self.labels(labels);
            let bound = bound.map_or_else(|| "+Inf".to_owned(), thousandths);
            let _ = writeln!(self.out, ",le=\"{bound}\"}} {count}");
        }
        let sum = thousandths(histogram.sum_thousandths());
        self.sample(name, "_sum", labels, sum);
        self.sample(name, "_count", labels, histogram.count());
    }
}

/// `1500` as `1.5`.
fn thousandths(value: u64) -> String {
    let text = format!("{}.{:03}", value / 1_000, value % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
