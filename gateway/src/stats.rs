//! Counters of one worker, and the sum over all.
//!
//! Each worker owns a [`WorkerStats`] and adds to it with plain arithmetic: no atomics, no locks.
//! The side thread asks for a [`Report`] by message and merges them; reading never disturbs a
//! request. Recording a request is one hash lookup and a few additions.

pub(crate) mod counters;
pub(crate) mod histogram;
pub(crate) mod names;
pub(crate) mod prometheus;
pub(crate) mod tcp;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sallyport_config::ir;
use sallyport_config::model::{Observed, Shadow};
use sallyport_core::admit::Outcome;
use sallyport_core::flags::Flags;
use sallyport_core::quota::What;
use sallyport_core::rate::Met;

use crate::tls::client::Principals;
use counters::{Labels, Listener, Mixer, Series, SeriesTable, UPSTREAMS_MAX, Upstream};
use tcp::{Tcp, TcpTable};

/// Longest duration that the quantiles tell apart: one hour, in microseconds.
const LATENCY_MAX_US: u64 = 3_600_000_000;
/// Significant digits of the quantiles.
const LATENCY_DIGITS: u8 = 2;
/// Listeners with counters of their own; more share the last one's.
const LISTENERS_MAX: usize = 1_024;
/// Authorizers with counters of their own, of all configurations since the start.
const AUTHORIZERS_MAX: usize = 64;
/// Rate limits with counters of their own, of all configurations since the start.
const LIMITS_MAX: usize = 1_024;

/// How often an authorizer let pass, refused, failed, and failed open.
pub(crate) type Answers = [u64; 4];

/// What policies said that decide nothing, as often as they said it: no, yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Watched {
    /// An AUDIT policy matches.
    pub(crate) audited: [u64; 2],
    /// DENY policies that run dry would let pass.
    pub(crate) deny: [u64; 2],
    /// ALLOW policies that run dry would let pass.
    pub(crate) allow: [u64; 2],
}

impl Watched {
    fn add(&mut self, observed: &Observed) {
        let note = |counts: &mut [u64; 2], said: Option<bool>| {
            let [no, yes] = counts;
            match said {
                Some(true) => *yes += 1,
                Some(false) => *no += 1,
                None => {}
            }
        };
        let allowed = |shadow: &Option<Shadow>| shadow.as_ref().map(|shadow| shadow.allowed);
        note(&mut self.audited, observed.audited);
        note(&mut self.deny, allowed(&observed.deny));
        note(&mut self.allow, allowed(&observed.allow));
    }

    fn merge(&mut self, other: Self) {
        for (mine, theirs) in [
            (&mut self.audited, other.audited),
            (&mut self.deny, other.deny),
            (&mut self.allow, other.allow),
        ] {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine += theirs;
            }
        }
    }
}
/// How many requests of a rate limit had a token, had none, and were refused for it.
pub(crate) type Limited = [u64; 3];

/// `request_protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// HTTP of any version.
    Http,
    /// gRPC: `content-type: application/grpc…`.
    Grpc,
    /// Bytes.
    Tcp,
}

impl Protocol {
    /// The label's value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

/// What one finished request adds to the counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample<'a> {
    /// Where it went; `None` when no cluster was chosen.
    pub(crate) cluster: Option<&'a ir::Cluster>,
    /// Workload of the endpoint that answered, empty when unknown.
    pub(crate) workload: &'a str,
    /// Who spoke with whom on the upstream's connection, if that was over TLS.
    pub(crate) principals: Option<&'a Principals>,
    /// HTTP or gRPC.
    pub(crate) protocol: Protocol,
    /// Status sent to the client; 0 when it was gone before one was sent.
    pub(crate) code: u16,
    /// `grpc-status` of the answer, for gRPC.
    pub(crate) grpc_status: Option<u16>,
    /// Response flags.
    pub(crate) flags: Flags,
    /// From the first byte of the request to the last byte of the answer, in microseconds.
    pub(crate) duration_us: u64,
    /// Bytes received: head and body.
    pub(crate) request_bytes: u64,
    /// Bytes sent: head and body.
    pub(crate) response_bytes: u64,
}

impl Sample<'_> {
    fn fingerprint(&self) -> u64 {
        let mut mixer = Mixer::default();
        mixer.text(self.cluster.map_or("", |cluster| &cluster.name));
        mixer.text(self.workload);
        if let Some(Principals { own, peer }) = self.principals {
            mixer.text(own);
            mixer.text(peer);
        }
        mixer
            .word(u64::from(self.flags.0) << 32 | u64::from(self.code) << 8 | self.protocol as u64);
        mixer.word(self.grpc_status.map_or(u64::MAX, u64::from));
        mixer.finish()
    }
}

/// A listener's place in the counters of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerSlot(usize);

/// Requests that came before their connection's handshake was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Early {
    /// Acted on at once.
    pub(crate) served: u64,
    /// Held until the handshake was complete.
    pub(crate) held: u64,
}

/// Counters of one worker.
#[derive(Debug)]
pub(crate) struct WorkerStats {
    series: SeriesTable,
    /// Connections that carry bytes.
    pub(crate) tcp: TcpTable,
    upstreams: HashMap<Arc<str>, Upstream>,
    listeners: Vec<(Arc<str>, Listener)>,
    authorizers: BTreeMap<Arc<str>, Answers>,
    watched: Watched,
    limits: BTreeMap<Arc<str>, Limited>,
    latency: Option<hdrhistogram::Histogram<u64>>,
    in_flight: u64,
    handshakes_ok: u64,
    handshakes_failed: u64,
    handshakes_shed: u64,
    handshakes_waited: u64,
    revoked: u64,
    oddities: u64,
    early: Early,
    log_dropped: u64,
}

impl Default for WorkerStats {
    fn default() -> Self {
        Self {
            series: SeriesTable::default(),
            tcp: TcpTable::default(),
            upstreams: HashMap::new(),
            listeners: Vec::new(),
            authorizers: BTreeMap::new(),
            watched: Watched::default(),
            limits: BTreeMap::new(),
            latency: new_latency(),
            in_flight: 0,
            handshakes_ok: 0,
            handshakes_failed: 0,
            handshakes_shed: 0,
            handshakes_waited: 0,
            revoked: 0,
            oddities: 0,
            early: Early::default(),
            log_dropped: 0,
        }
    }
}

/// `None` only if the constants above were outside what the histogram takes.
fn new_latency() -> Option<hdrhistogram::Histogram<u64>> {
    hdrhistogram::Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).ok()
}

impl WorkerStats {
    /// The place of a listener's counters; the same name gets the same place. Ask once when the
    /// listener opens, not for each connection.
    pub(crate) fn listener(&mut self, name: &str) -> ListenerSlot {
        let known = self
            .listeners
            .iter()
            .position(|(known, _)| **known == *name);
        let slot = known.unwrap_or_else(|| {
            if self.listeners.len() < LISTENERS_MAX {
                self.listeners.push((name.into(), Listener::default()));
            }
            self.listeners.len() - 1
        });
        ListenerSlot(slot)
    }

    /// A client connection was accepted.
    pub(crate) fn connection_opened(&mut self, slot: ListenerSlot) {
        if let Some((_, listener)) = self.listeners.get_mut(slot.0) {
            listener.opened += 1;
        }
    }

    /// A client connection ended. Every `connection_opened` has exactly one.
    pub(crate) fn connection_closed(&mut self, slot: ListenerSlot) {
        if let Some((_, listener)) = self.listeners.get_mut(slot.0) {
            listener.closed += 1;
        }
    }

    /// A client connection was closed at once because a limit was reached; it was never opened.
    pub(crate) fn connection_refused(&mut self, slot: ListenerSlot) {
        if let Some((_, listener)) = self.listeners.get_mut(slot.0) {
            listener.refused += 1;
        }
    }

    /// A TLS handshake with a client ended.
    pub(crate) fn handshake(&mut self, succeeded: bool) {
        if succeeded {
            self.handshakes_ok += 1;
        } else {
            self.handshakes_failed += 1;
        }
    }

    /// A TLS handshake with a client had to wait for others.
    pub(crate) fn handshake_waited(&mut self) {
        self.handshakes_waited += 1;
    }

    /// A TLS handshake was not begun because too many waited.
    pub(crate) fn handshake_shed(&mut self) {
        self.handshakes_shed += 1;
    }

    /// A connection is ended because its client's certificate is not accepted any more.
    pub(crate) fn revoked(&mut self) {
        self.revoked += 1;
    }

    /// An HTTP/2 connection ended on which so many frames were odd.
    pub(crate) fn oddities(&mut self, count: u64) {
        self.oddities += count;
    }

    /// A request came in early data.
    pub(crate) fn early_request(&mut self, served: bool) {
        if served {
            self.early.served += 1;
        } else {
            self.early.held += 1;
        }
    }

    /// A request head was read.
    pub(crate) fn request_started(&mut self) {
        self.in_flight += 1;
    }

    /// A request is over. Every `request_started` has exactly one.
    pub(crate) fn request_finished(&mut self, sample: &Sample<'_>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.series.record(sample);
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(sample.duration_us);
        }
    }

    /// An upstream connection was opened.
    pub(crate) fn upstream_connected(&mut self, cluster: &str) {
        self.upstream(cluster, |upstream| upstream.connects += 1);
    }

    /// An upstream connection could not be opened.
    pub(crate) fn upstream_failed(&mut self, cluster: &str) {
        self.upstream(cluster, |upstream| upstream.failures += 1);
    }

    /// An upstream connection ended. Every `upstream_connected` has exactly one.
    pub(crate) fn upstream_closed(&mut self, cluster: &str) {
        self.upstream(cluster, |upstream| upstream.closes += 1);
    }

    /// A request is sent once more.
    pub(crate) fn upstream_retried(&mut self, cluster: &str) {
        self.upstream(cluster, |upstream| upstream.retries += 1);
    }

    /// A breaker of a cluster was open.
    pub(crate) fn upstream_overflow(&mut self, cluster: &str, what: What) {
        self.upstream(cluster, |upstream| match what {
            What::Connections => upstream.overflows[0] += 1,
            What::Pending => upstream.overflows[1] += 1,
            What::Requests => upstream.overflows[2] += 1,
            What::Retries => upstream.overflows[3] += 1,
        });
    }

    fn upstream(&mut self, cluster: &str, add: impl FnOnce(&mut Upstream)) {
        if let Some(upstream) = self.upstreams.get_mut(cluster) {
            add(upstream);
        } else if self.upstreams.len() < UPSTREAMS_MAX {
            add(self.upstreams.entry(cluster.into()).or_default());
        }
    }

    /// Somebody was asked whether a request may pass.
    pub(crate) fn authorizer_asked(&mut self, name: &str, outcome: Outcome) {
        if !self.authorizers.contains_key(name) {
            if self.authorizers.len() >= AUTHORIZERS_MAX {
                return;
            }
            self.authorizers.insert(name.into(), Answers::default());
        }
        let Some([ok, denied, error, open]) = self.authorizers.get_mut(name) else {
            return;
        };
        match outcome {
            Outcome::Ok => *ok += 1,
            Outcome::Denied => *denied += 1,
            Outcome::Error => *error += 1,
            // Envoy counts it as a failure, too
            Outcome::FailedOpen => {
                *error += 1;
                *open += 1;
            }
        }
    }

    /// Policies that decide nothing were asked about a request or a connection.
    pub(crate) fn observed(&mut self, observed: &Observed) {
        self.watched.add(observed);
    }

    /// A request met a rate limit.
    pub(crate) fn limit_met(&mut self, name: &str, met: Met) {
        if !self.limits.contains_key(name) {
            if self.limits.len() >= LIMITS_MAX {
                return;
            }
            self.limits.insert(name.into(), Limited::default());
        }
        let Some([ok, limited, enforced]) = self.limits.get_mut(name) else {
            return;
        };
        match met {
            Met::Within => *ok += 1,
            Met::Unenforced => *limited += 1,
            Met::Refused => {
                *limited += 1;
                *enforced += 1;
            }
        }
    }

    /// How many access-log lines the worker's buffer has dropped so far; a total, not a difference.
    pub(crate) fn set_log_dropped(&mut self, total: u64) {
        self.log_dropped = total;
    }

    /// A copy for the side thread.
    pub(crate) fn report(&self) -> Report {
        Report {
            series: self.series.rows().iter().cloned().collect(),
            tcp: self.tcp.rows().iter().cloned().collect(),
            upstreams: self
                .upstreams
                .iter()
                .map(|(k, v)| (k.clone(), *v))
                .collect(),
            listeners: self.listeners.iter().cloned().collect(),
            authorizers: self.authorizers.clone(),
            watched: self.watched,
            limits: self.limits.clone(),
            latency: self.latency.clone(),
            in_flight: self.in_flight,
            alarms: 0,
            mirrors: 0,
            handshakes_ok: self.handshakes_ok,
            handshakes_failed: self.handshakes_failed,
            handshakes_shed: self.handshakes_shed,
            handshakes_waited: self.handshakes_waited,
            revoked: self.revoked,
            oddities: self.oddities,
            early: self.early,
            log_dropped: self.log_dropped,
            series_overflow: self.series.overflow() + self.tcp.overflow(),
        }
    }
}

/// Counters of one worker, or the sum of several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Requests by label set.
    pub(crate) series: BTreeMap<Labels, Series>,
    /// Connections that carry bytes by label set.
    pub(crate) tcp: BTreeMap<Labels, Tcp>,
    /// Upstream connections by cluster name.
    pub(crate) upstreams: BTreeMap<Arc<str>, Upstream>,
    /// Client connections by listener name.
    pub(crate) listeners: BTreeMap<Arc<str>, Listener>,
    /// Answers by name of the authorizer.
    pub(crate) authorizers: BTreeMap<Arc<str>, Answers>,
    /// What policies said that decide nothing.
    pub(crate) watched: Watched,
    /// Requests by rate limit.
    pub(crate) limits: BTreeMap<Arc<str>, Limited>,
    /// Durations in microseconds.
    pub(crate) latency: Option<hdrhistogram::Histogram<u64>>,
    /// Requests that wait for their answer.
    pub(crate) in_flight: u64,
    /// Deadlines that somebody holds, set or not: each connection and each stream has one.
    pub(crate) alarms: u64,
    /// Copies of requests under way.
    pub(crate) mirrors: u64,
    /// TLS handshakes that succeeded.
    pub(crate) handshakes_ok: u64,
    /// TLS handshakes that failed.
    pub(crate) handshakes_failed: u64,
    /// TLS handshakes that were not begun because too many waited.
    pub(crate) handshakes_shed: u64,
    /// TLS handshakes that had to wait for others.
    pub(crate) handshakes_waited: u64,
    /// Connections ended because the client's certificate was not accepted any more.
    pub(crate) revoked: u64,
    /// Frames of HTTP/2 clients that are odd, of connections that have ended.
    pub(crate) oddities: u64,
    /// Requests in early data.
    pub(crate) early: Early,
    /// Access-log lines dropped because a worker's buffer was full.
    pub(crate) log_dropped: u64,
    /// Requests, and connections that carry bytes, without a label set of their own.
    pub(crate) series_overflow: u64,
}

impl Report {
    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: Self) {
        for (labels, series) in other.series {
            self.series.entry(labels).or_default().merge(&series);
        }
        for (labels, tcp) in other.tcp {
            self.tcp.entry(labels).or_default().merge(&tcp);
        }
        for (name, upstream) in other.upstreams {
            self.upstreams.entry(name).or_default().merge(&upstream);
        }
        for (name, listener) in other.listeners {
            self.listeners.entry(name).or_default().merge(&listener);
        }
        for (name, answers) in other.authorizers {
            let mine = self.authorizers.entry(name).or_default();
            for (mine, theirs) in mine.iter_mut().zip(answers) {
                *mine += theirs;
            }
        }
        self.watched.merge(other.watched);
        for (name, limited) in other.limits {
            let mine = self.limits.entry(name).or_default();
            for (mine, theirs) in mine.iter_mut().zip(limited) {
                *mine += theirs;
            }
        }
        match (&mut self.latency, other.latency) {
            // Both have the same bounds, so adding cannot fail; if it did, quantiles would lack
            // one worker and nothing else.
            (Some(mine), Some(theirs)) => drop(mine.add(theirs)),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
        self.in_flight += other.in_flight;
        self.alarms += other.alarms;
        self.mirrors += other.mirrors;
        self.handshakes_ok += other.handshakes_ok;
        self.handshakes_failed += other.handshakes_failed;
        self.handshakes_shed += other.handshakes_shed;
        self.handshakes_waited += other.handshakes_waited;
        self.revoked += other.revoked;
        self.oddities += other.oddities;
        self.early.served += other.early.served;
        self.early.held += other.early.held;
        self.log_dropped += other.log_dropped;
        self.series_overflow += other.series_overflow;
    }
}
