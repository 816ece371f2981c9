//! What is known of a request when it is over: counted, and written to the access log.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use sallyport_config::ir::{Cluster, Route};
use sallyport_core::call::{HeaderLines, NoHeaders};
use sallyport_core::flags::Flags;
use sallyport_core::grpc_web;
use sallyport_core::h1::{HeaderView, KnownHeader, TrailerLines};
use sallyport_core::log::{Capture, Record};
use sallyport_core::time::Now;

use super::client::Visit;
use super::request::Request;
use crate::conn::Link;
use crate::stats::{Protocol, Sample};
use crate::tls::client::Principals;
use crate::worker::{Active, Scratch, Worker};

/// What is noted of a request on its way.
#[derive(Debug, Default)]
pub(super) struct Ledger<'t> {
    pub(super) status: u16,
    pub(super) flags: Flags,
    pub(super) details: Cow<'static, str>,
    pub(super) transport: &'static str,
    /// Bodies.
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Heads.
    pub(super) head_received: u64,
    pub(super) head_sent: u64,
    pub(super) route: Option<&'t Route>,
    pub(super) cluster: Option<&'t Cluster>,
    pub(super) endpoint: Option<u32>,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) upstream_socket: Option<Arc<str>>,
    pub(super) upstream_local: Option<SocketAddr>,
    /// Who spoke with whom there.
    pub(super) principals: Option<Rc<Principals>>,
    /// Protocol spoken with it; empty before there is one.
    pub(super) upstream_protocol: &'static str,
    pub(super) attempts: u32,
    pub(super) request_us: Option<u64>,
    pub(super) request_tx_us: Option<u64>,
    pub(super) response_us: Option<u64>,
    /// Of any answer that has one.
    pub(super) grpc_status: Option<u16>,
    /// All of the request's body has been taken off the connection.
    pub(super) body_taken: bool,
    /// Response fields that the log asks for.
    pub(super) response: Option<Capture<'t>>,
    /// Response trailers that the log asks for.
    pub(super) trailers: Option<Capture<'t>>,
}

impl<'t> Ledger<'t> {
    /// Notes what is asked of the response's trailers.
    pub(super) fn note_trailers(&mut self, request: &Request<'t>, lines: &[u8]) {
        let trailers = TrailerLines(lines);
        let status = trailers.first("grpc-status");
        let status = status.and_then(|line| str::from_utf8(line).ok()?.parse().ok());
        self.grpc_status = status.or(self.grpc_status);
        let active: &'t Active = request.active;
        if let Some(line) = &active.generation.serving.line
            && !line.trailer_names().is_empty()
        {
            let mut capture = Capture::new(line.trailer_names());
            capture.take(&trailers);
            self.trailers = Some(capture);
        }
    }

    /// The record of a request as it stands. `view` shows its fields.
    pub(super) fn record<'a>(
        &'a self,
        worker: &'a Worker,
        link: &'a Link,
        begun: Now,
        request: &'a Request<'a>,
        view: &'a HeaderView<'a>,
        now: Now,
    ) -> Record<'a> {
        let tls = link.tls.as_deref();
        let response: &dyn HeaderLines = match &self.response {
            Some(capture) => capture,
            None => &NoHeaders,
        };
        let trailers: &dyn HeaderLines = match &self.trailers {
            Some(capture) => capture,
            None => &NoHeaders,
        };
        let cluster = self.cluster.map_or("", |cluster| cluster.name.as_str());
        Record {
            start_us: worker.clock.unix_micros(begun),
            duration_us: now.since(begun),
            request_us: self.request_us,
            request_tx_us: self.request_tx_us,
            response_us: self.response_us,
            method: request.method,
            scheme: request.scheme.as_str(),
            authority: request.authority,
            path: request.target,
            original_path: "",
            protocol: request.head.version.as_str(),
            request: view,
            response,
            trailers,
            status: self.status,
            flags: self.flags,
            details: &self.details,
            termination: "",
            transport_failure: self.transport,
            bytes_received: self.received,
            bytes_sent: self.sent,
            grpc_status: self.grpc_status,
            upstream_host: self.upstream,
            upstream_socket: self.upstream_socket.as_deref().unwrap_or_default(),
            upstream_local: self.upstream_local,
            upstream_cluster: cluster,
            upstream_protocol: self.upstream_protocol,
            attempts: self.attempts,
            client: SocketAddr::new(request.client, link.ends.source.port()),
            peer: link.peer,
            local: link.local,
            sni: link.sni().unwrap_or_default(),
            route: self.route.map_or("", |route| route.name.as_str()),
            chain: link.chain(&request.active.generation),
            tls_version: tls.map_or("", |tls| tls.version),
            tls_cipher: tls.map_or("", |tls| tls.cipher),
            peer_subject: link.verified().map_or("", |peer| &peer.subject),
            peer_uri: link.verified().map_or("", |peer| &peer.uris),
            hostname: &worker.hostname,
            connection: link.serial,
            observed: request.observed,
        }
    }

    /// Counts the request and writes its line.
    pub(super) fn close(&self, visit: &Visit, scratch: &Scratch, request: &Request<'_>, now: Now) {
        let is_grpc = is_grpc(request, scratch);
        let endpoint = self.cluster.and_then(|cluster| {
            let index = usize::try_from(self.endpoint?).ok()?;
            cluster.endpoints.get(index)
        });
        let sample = Sample {
            cluster: self.cluster,
            workload: endpoint.map_or("", |endpoint| endpoint.workload.as_str()),
            principals: self.principals.as_deref(),
            protocol: if is_grpc {
                Protocol::Grpc
            } else {
                Protocol::Http
            },
            code: self.status,
            grpc_status: if is_grpc { self.grpc_status } else { None },
            flags: self.flags,
            duration_us: now.since(visit.begun),
            request_bytes: self.received + self.head_received,
            response_bytes: self.sent + self.head_sent,
        };
        visit.worker.stats.borrow_mut().request_finished(&sample);
        let (worker, link) = (&visit.worker, &visit.link);
        self.log(worker, link, visit.begun, scratch, request, now);
    }

    /// Writes the request's line, if there is a log.
    pub(super) fn log(
        &self,
        worker: &Worker,
        link: &Link,
        begun: Now,
        scratch: &Scratch,
        request: &Request<'_>,
        now: Now,
    ) {
        if let Some(line) = &request.active.generation.serving.line {
            let view = HeaderView {
                buf: request.buf,
                index: &scratch.request,
                edits: &scratch.request_edits,
            };
            let record = self.record(worker, link, begun, request, &view, now);
            let mut log = worker.log.borrow_mut();
            log.line(|out| line.write(&record, out));
        }
    }
}

/// Whether a request is gRPC by its content type, or becomes so.
pub(super) fn is_grpc(request: &Request<'_>, scratch: &Scratch) -> bool {
    let value = scratch.request.value(request.buf, KnownHeader::ContentType);
    request.web.is_some() || value.is_some_and(grpc_web::is_grpc)
}
