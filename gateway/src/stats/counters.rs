//! Label sets and their counters: bounded tables that cost one hash lookup a request.
//!
//! A request finds its series by a 64-bit fingerprint of everything that becomes a label. The
//! labels themselves are kept once, so equality is checked on a hit and a collision is counted as
//! overflow, never merged into the wrong series.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use sallyport_config::ir;
use sallyport_core::flags::Flags;

use super::histogram::Histogram;
use super::{Protocol, Sample};
use crate::tls::client::Principals;

/// Label sets of requests per worker. 480 bytes each: at most 2 MiB.
pub(crate) const SERIES_MAX: usize = 4_096;
/// Clusters with connection counters per worker.
pub(crate) const UPSTREAMS_MAX: usize = 16_384;

/// Everything that tells one series from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Labels {
    /// Cluster name, empty when no cluster was chosen.
    pub(crate) cluster: Arc<str>,
    /// `destination_service`: host of the cluster.
    pub(crate) service: Arc<str>,
    /// `destination_service_name`.
    pub(crate) service_name: Arc<str>,
    /// `destination_service_namespace`.
    pub(crate) service_namespace: Arc<str>,
    /// `destination_workload`.
    pub(crate) workload: Arc<str>,
    /// `source_principal` and `destination_principal`.
    pub(crate) principals: LabelNames,
    /// `request_protocol`.
    pub(crate) protocol: Protocol,
    /// `response_code`.
    pub(crate) code: u16,
    /// `grpc_response_status`, only for gRPC.
    pub(crate) grpc_status: Option<u16>,
    /// `response_flags`, as bits.
    pub(crate) flags: u32,
}

/// Who spoke with whom: ours and the upstream's, empty when unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LabelNames {
    /// `source_principal`
    pub(crate) own: Arc<str>,
    /// `destination_principal`
    pub(crate) peer: Arc<str>,
}

impl Default for LabelNames {
    fn default() -> Self {
        Self::of(None)
    }
}

impl LabelNames {
    /// As a connection has it.
    pub(crate) fn of(principals: Option<&Principals>) -> Self {
        Self {
            own: principals.map_or("", |p| &p.own).into(),
            peer: principals.map_or("", |p| &p.peer).into(),
        }
    }

    fn describe(&self, principals: Option<&Principals>) -> bool {
        *self.own == *principals.map_or("", |p| &p.own)
            && *self.peer == *principals.map_or("", |p| &p.peer)
    }
}

impl Labels {
    fn of(sample: &Sample<'_>) -> Self {
        let text = |field: fn(&ir::Cluster) -> &str| -> Arc<str> {
            sample.cluster.map_or("", field).into()
        };
        Self {
            cluster: text(|c| &c.name),
            service: text(|c| &c.host),
            service_name: text(|c| &c.service_name),
            service_namespace: text(|c| &c.service_namespace),
            workload: sample.workload.into(),
            principals: LabelNames::of(sample.principals),
            protocol: sample.protocol,
            code: sample.code,
            grpc_status: sample.grpc_status,
            flags: sample.flags.0,
        }
    }

    fn describe(&self, sample: &Sample<'_>) -> bool {
        self.code == sample.code
            && self.flags == sample.flags.0
            && self.protocol == sample.protocol
            && self.grpc_status == sample.grpc_status
            && *self.workload == *sample.workload
            && self.principals.describe(sample.principals)
            && *self.cluster == *sample.cluster.map_or("", |c| &c.name)
    }

    /// The flags, printable.
    pub(crate) fn flags(&self) -> Flags {
        Flags(self.flags)
    }
}

/// Counters of one label set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Series {
    /// Requests.
    pub(crate) requests: u64,
    /// Durations; the unit is a millisecond.
    pub(crate) duration: Histogram,
    /// Request sizes; the unit is a byte.
    pub(crate) request_bytes: Histogram,
    /// Response sizes; the unit is a byte.
    pub(crate) response_bytes: Histogram,
}

impl Series {
    fn record(&mut self, sample: &Sample<'_>) {
        self.requests += 1;
        self.duration.record(sample.duration_us);
        self.request_bytes
            .record(sample.request_bytes.saturating_mul(1_000));
        self.response_bytes
            .record(sample.response_bytes.saturating_mul(1_000));
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.duration.merge(&other.duration);
        self.request_bytes.merge(&other.request_bytes);
        self.response_bytes.merge(&other.response_bytes);
    }
}

/// Series by label set, at most [`SERIES_MAX`].
#[derive(Debug, Default)]
pub(crate) struct SeriesTable {
    index: HashMap<u64, usize, BuildHasherDefault<Fingerprinted>>,
    rows: Vec<(Labels, Series)>,
    overflow: u64,
}

impl SeriesTable {
    /// Counts one request.
    pub(crate) fn record(&mut self, sample: &Sample<'_>) {
        let fingerprint = sample.fingerprint();
        if let Some(index) = self.index.get(&fingerprint) {
            match self.rows.get_mut(*index) {
                Some((labels, series)) if labels.describe(sample) => series.record(sample),
                _ => self.overflow += 1,
            }
        } else if self.rows.len() < SERIES_MAX {
            let mut series = Series::default();
            series.record(sample);
            self.index.insert(fingerprint, self.rows.len());
            self.rows.push((Labels::of(sample), series));
        } else {
            self.overflow += 1;
        }
    }

    /// All series, in the order of their first request.
    pub(crate) fn rows(&self) -> &[(Labels, Series)] {
        &self.rows
    }

    /// Requests that found no room.
    pub(crate) fn overflow(&self) -> u64 {
        self.overflow
    }
}

/// Connection counters of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Upstream {
    /// Connections opened.
    pub(crate) connects: u64,
    /// Connections that could not be opened.
    pub(crate) failures: u64,
    /// Connections closed.
    pub(crate) closes: u64,
    /// Requests sent once more.
    pub(crate) retries: u64,
    /// Times that a breaker was open: of connections, of requests that wait, of requests in
    /// flight, of retries.
    pub(crate) overflows: [u64; 4],
}

impl Upstream {
    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.connects += other.connects;
        self.failures += other.failures;
        self.closes += other.closes;
        self.retries += other.retries;
        for (mine, theirs) in self.overflows.iter_mut().zip(other.overflows) {
            *mine += theirs;
        }
    }

    /// Connections open.
    pub(crate) fn active(&self) -> u64 {
        self.connects.saturating_sub(self.closes)
    }
}

/// Connection counters of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Listener {
    /// Connections accepted.
    pub(crate) opened: u64,
    /// Connections closed.
    pub(crate) closed: u64,
    /// Connections closed at once because a limit was reached.
    pub(crate) refused: u64,
}

impl Listener {
    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.refused += other.refused;
    }

    /// Connections open.
    pub(crate) fn active(&self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }
}

/// Multiply-and-rotate mixing of words; fast, and enough where collisions are detected.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mixer(u64);

impl Mixer {
    /// Odd, with well-spread bits: 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Mixes one word in.
    pub(crate) fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(Self::FACTOR);
    }

    /// Mixes text and its length in.
    pub(crate) fn text(&mut self, text: &str) {
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let tail = rest
            .iter()
            .fold(0, |tail: u64, byte| (tail << 8) | u64::from(*byte));
        self.word(tail);
        self.word(text.len() as u64);
    }

    /// The fingerprint; high bits are folded in because hash tables use the low ones.
    pub(crate) fn finish(self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// A hasher for keys that are fingerprints already.
#[derive(Debug, Default)]
pub(crate) struct Fingerprinted(u64);

impl Hasher for Fingerprinted {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}
