//! What is known of a connection when it is over: counted, and written to the access log.

use sallyport_core::call::NoHeaders;
use sallyport_core::log::Record;
use sallyport_core::time::Now;

use super::Conn;
use crate::stats::counters::{LabelNames, Labels};
use crate::stats::tcp::Tcp;

impl Conn {
    /// Counts the connection as opened.
    pub(super) fn note_opened(&mut self) {
        let mut stats = self.worker.stats.borrow_mut();
        let labels = Labels {
            workload: (*self.note.workload).into(),
            flags: self.note.flags.0,
            principals: LabelNames::of(self.note.principals.as_deref()),
            ..self.note.labels.clone()
        };
        self.note.slot = stats.tcp.slot(labels);
        let opened = Tcp {
            opened: 1,
            ..Tcp::default()
        };
        stats.tcp.add(self.note.slot, &opened);
    }

    /// Counts the bytes that were not counted yet.
    pub(super) fn note_bytes(&mut self) {
        let (received, sent) = self.note.counted;
        let moved = Tcp {
            received: self.note.received - received,
            sent: self.note.sent - sent,
            ..Tcp::default()
        };
        self.note.counted = (self.note.received, self.note.sent);
        let mut stats = self.worker.stats.borrow_mut();
        stats.tcp.add(self.note.slot, &moved);
    }

    /// Counts the connection as closed, and writes its line.
    pub(super) fn close(&mut self) {
        self.note_bytes();
        let mut stats = self.worker.stats.borrow_mut();
        let closed = Tcp {
            closed: 1,
            ..Tcp::default()
        };
        stats.tcp.add(self.note.slot, &closed);
        drop(stats);
        let active = self.worker.active();
        if let Some(line) = &active.generation.serving.line {
            let chain = self.link.chain(&active.generation);
            let record = self.record(chain, self.worker.timers.now());
            let mut log = self.worker.log.borrow_mut();
            log.line(|out| line.write(&record, out));
        }
    }

    fn record<'a>(&'a self, chain: &'a str, now: Now) -> Record<'a> {
        let (link, note) = (&self.link, &self.note);
        let tls = link.tls.as_deref();
        Record {
            start_us: self.worker.clock.unix_micros(self.opened),
            duration_us: now.since(self.opened),
            request_us: None,
            request_tx_us: None,
            response_us: None,
            method: "",
            scheme: "",
            authority: "",
            path: "",
            original_path: "",
            protocol: "",
            request: &NoHeaders,
            response: &NoHeaders,
            trailers: &NoHeaders,
            status: 0,
            flags: note.flags,
            details: "",
            termination: &note.termination,
            transport_failure: note.transport,
            bytes_received: note.received,
            bytes_sent: note.sent,
            grpc_status: None,
            upstream_host: note.upstream,
            upstream_socket: note.upstream_socket.as_deref().unwrap_or_default(),
            upstream_local: note.upstream_local,
            upstream_cluster: &note.labels.cluster,
            upstream_protocol: "",
            attempts: note.attempts,
            client: link.ends.source,
            peer: link.peer,
            local: link.local,
            sni: link.sni().unwrap_or_default(),
            route: "",
            chain,
            tls_version: tls.map_or("", |tls| tls.version),
            tls_cipher: tls.map_or("", |tls| tls.cipher),
            peer_subject: link.verified().map_or("", |peer| &peer.subject),
            peer_uri: link.verified().map_or("", |peer| &peer.uris),
            hostname: &self.worker.hostname,
            connection: link.serial,
            observed: &note.observed,
        }
    }
}
