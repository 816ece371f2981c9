//! What is counted, under the names that istiod has for it, so that its dashboards work.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::resources::TypeUrl;

/// Upper bounds of the buckets of times, in milliseconds.
const BOUNDS: [u64; 9] = [10, 100, 500, 1_000, 3_000, 5_000, 10_000, 20_000, 30_000];
/// Types, as an index.
const TYPES: usize = TypeUrl::ALL.len();

/// All counters of the process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Responses sent, by type.
    pub(crate) pushes: [Counter; TYPES],
    /// Responses refused, by type.
    pub(crate) rejects: [Counter; TYPES],
    /// Bytes of resources sent.
    pub(crate) bytes: Counter,
    /// Streams refused: `pilot_xds_..` has no name for it.
    pub(crate) refused: Counter,
    /// Streams that took too long to take a response.
    pub(crate) write_timeouts: Counter,
    /// Results that could not be made.
    pub(crate) internal_errors: Counter,
    /// Configurations that came.
    pub(crate) updates: Counter,
    /// Requests for certificates.
    pub(crate) csr: Counter,
    /// Certificates issued.
    pub(crate) issued: Counter,
    /// Callers that are nobody.
    pub(crate) authentication_failures: Counter,
    /// Requests that could not be read or signed.
    pub(crate) csr_errors: Counter,
    /// Configuration to resources.
    pub(crate) push_time: Times,
    /// Configuration to the last response of it being sent.
    pub(crate) convergence: Times,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, in buckets.
#[derive(Debug, Default)]
pub(crate) struct Times {
    buckets: [Counter; BOUNDS.len()],
    count: Counter,
    sum: Counter,
}

impl Times {
    pub(crate) fn add(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            bucket.add(u64::from(millis <= *bound));
        }
        self.count.add(1);
        self.sum.add(millis);
    }
}

/// The counter of a type.
pub(crate) fn of(counters: &[Counter; TYPES], ty: TypeUrl) -> Option<&Counter> {
    let index = TypeUrl::ALL.iter().position(|known| *known == ty)?;
    counters.get(index)
}

/// Numbers that are looked up when they are asked for.
pub(crate) struct Gauges {
    /// Streams that are open.
    pub(crate) streams: usize,
    /// Streams whose last response of a type was refused.
    pub(crate) rejecting: [usize; TYPES],
    /// Number of the configuration.
    pub(crate) generation: u64,
    /// Errors in it.
    pub(crate) errors: usize,
    /// End of the root certificate, in seconds since 1970; 0 without a CA.
    pub(crate) root_expiry: i64,
    /// Fetches of keys of token issuers: good, failed.
    pub(crate) fetches: [u64; 2],
    /// How often the files of the CA were taken anew.
    pub(crate) ca_reloads: u64,
}

impl Metrics {
    /// Names and values of what only grows.
    fn counters(&self) -> [(&'static str, u64); 10] {
        let rejects = self.rejects.iter().map(Counter::get).sum::<u64>();
        [
            ("pilot_total_xds_rejects", rejects),
            (
                "pilot_total_xds_internal_errors",
                self.internal_errors.get(),
            ),
            ("pilot_xds_write_timeout", self.write_timeouts.get()),
            ("pilot_inbound_updates", self.updates.get()),
            ("citadel_server_csr_count", self.csr.get()),
            (
                "citadel_server_success_cert_issuance_count",
                self.issued.get(),
            ),
            (
                "citadel_server_authentication_failure_count",
                self.authentication_failures.get(),
            ),
            (
                "citadel_server_csr_parsing_err_count",
                self.csr_errors.get(),
            ),
            (
                "sallyport_control_streams_refused_total",
                self.refused.get(),
            ),
            ("sallyport_control_sent_bytes_total", self.bytes.get()),
        ]
    }

    /// The text that Prometheus reads (exposition format 0.0.4).
    pub(crate) fn render(&self, gauges: &Gauges) -> String {
        let mut out = String::new();
        let version = env!("CARGO_PKG_VERSION");
        line(
            &mut out,
            "istio_build",
            "gauge",
            &format!("{{component=\"pilot\",tag=\"{version}\"}}"),
            1,
        );
        line(
            &mut out,
            "pilot_xds",
            "gauge",
            &format!("{{version=\"{version}\"}}"),
            gauges.streams,
        );
        typed(&mut out, "pilot_xds_pushes", "counter", |i| {
            self.pushes.get(i).map_or(0, Counter::get)
        });
        for (index, ty) in TypeUrl::ALL.iter().enumerate() {
            let name = format!("pilot_xds_{ty}_reject");
            let rejecting = gauges.rejecting.get(index).copied().unwrap_or_default();
            line(&mut out, &name, "gauge", "", rejecting);
        }
        for (name, value) in self.counters() {
            line(&mut out, name, "counter", "", value);
        }
        line(
            &mut out,
            "sallyport_control_generation",
            "gauge",
            "",
            gauges.generation,
        );
        line(
            &mut out,
            "sallyport_control_config_errors",
            "gauge",
            "",
            gauges.errors,
        );
        line(
            &mut out,
            "sallyport_control_ca_reloads_total",
            "counter",
            "",
            gauges.ca_reloads,
        );
        let [good, failed] = gauges.fetches;
        for (name, value) in [
            ("pilot_jwks_resolver_network_fetch_success_total", good),
            ("pilot_jwks_resolver_network_fetch_fail_total", failed),
        ] {
            line(&mut out, name, "counter", "", value);
        }
        if gauges.root_expiry != 0 {
            line(
                &mut out,
                "citadel_server_root_cert_expiry_timestamp",
                "gauge",
                "",
                gauges.root_expiry,
            );
        }
        times(&mut out, "pilot_xds_push_time", &self.push_time);
        times(&mut out, "pilot_proxy_convergence_time", &self.convergence);
        out
    }
}

fn line(out: &mut String, name: &str, kind: &str, labels: &str, value: impl std::fmt::Display) {
    // writing to a String cannot fail
    let _ = writeln!(out, "# TYPE {name} {kind}\n{name}{labels} {value}");
}

fn typed(out: &mut String, name: &str, kind: &str, value: impl Fn(usize) -> u64) {
    let _ = writeln!(out, "# TYPE {name} {kind}");
    for (index, ty) in TypeUrl::ALL.iter().enumerate() {
        let _ = writeln!(out, "{name}{{type=\"{ty}\"}} {}", value(index));
    }
}

/// Times are kept in milliseconds and shown in seconds.
fn times(out: &mut String, name: &str, times: &Times) {
    let seconds = |millis: u64| Duration::from_millis(millis).as_secs_f64();
    let _ = writeln!(out, "# TYPE {name} histogram");
    for (bound, bucket) in BOUNDS.iter().zip(&times.buckets) {
        let _ = writeln!(
            out,
            "{name}_bucket{{le=\"{}\"}} {}",
            seconds(*bound),
            bucket.get()
        );
    }
    let count = times.count.get();
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(
        out,
        "{name}_sum {}\n{name}_count {count}",
        seconds(times.sum.get())
    );
}
