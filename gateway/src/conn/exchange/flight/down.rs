//! The way down: head and body of the response.

use sallyport_core::call::HeaderLines;
use sallyport_core::exchange::{Event, Head};
use sallyport_core::grpc_web::{Web, is_grpc};
use sallyport_core::h1::{
    Asked, BodyKind, HeaderEdits, HeaderView, KnownHeader, ResponseHead, ResponseLine,
};
use sallyport_core::hygiene::{advertise_http3, clean_response};
use sallyport_core::log::Capture;
use sallyport_core::outlier::Verdict;
use sallyport_core::plan::EditSink;
use sallyport_core::time::Now;

use super::super::aim;
use super::super::answer::{Sink, http3_port};
use super::super::client::Client;
use super::super::origin::{News, Origin};
use super::super::websocket;
use super::{Flight, grpc_status};
use crate::worker::Active;

/// Room kept behind a head for what may be framed after it.
const FRAME_BYTES: usize = 32;
/// Hints that are passed on for one request. They wait for the client without backpressure.
pub(super) const HINTS_MAX: u8 = 4;

impl<'t, C: Client> Flight<'_, 't, C> {
    /// News from the upstream's side.
    pub(super) fn heard(&mut self, news: News, now: Now) {
        match news {
            News::Came if self.download.is_relaying() => {}
            News::Came => self.look_for_head(now),
            News::Written(result) => self.sent_up(result, now),
            // What came goes to the client first.
            News::Failed(failure) if self.download.is_relaying() => {
                self.download.broken = Some(failure);
            }
            News::Failed(failure) => self.upstream_failed(failure, now),
        }
    }

    /// Looks for the final head at the front of what came.
    fn look_for_head(&mut self, now: Now) {
        let asked = Asked {
            method: self.request.head.method,
            upgrade: self.request.head.upgrade.is_some(),
        };
        while let Some(origin) = &mut self.origin {
            match origin.take_head(&mut self.scratch.response, asked) {
                Ok(Some(head)) if head.interim => {
                    self.exchange.on(Event::Interim(head.status), now);
                    self.relay_interim(&head);
                    self.scratch.response.clear();
                }
                Ok(Some(head)) => return self.found_head(head, now),
                Ok(None) => return,
                Err(failure) => return self.upstream_failed(failure, now),
            }
        }
    }

    /// Tells the client to send its body, once, if it waits for that, and what hints say (RFC 8297),
    /// without what belongs to the upstream's connection. Rules do not see them, as in Envoy. Other
    /// interim responses are not passed on.
    fn relay_interim(&mut self, head: &ResponseHead) {
        if self.client.is_writing() {
            return;
        }
        let waits = self.request.head.expect_continue && !self.continued && !self.upload.taken;
        match head.status {
            100 if waits => {
                self.continued = true;
                self.client.start_continue();
            }
            103 if self.hints < HINTS_MAX => {
                self.hints += 1;
                let Some(origin) = &self.origin else { return };
                let edits = &mut self.scratch.response_edits;
                edits.begin(head.drop, &self.scratch.response);
                let fields = HeaderView {
                    buf: origin.bytes(),
                    index: &self.scratch.response,
                    edits,
                };
                self.client.start_interim(head.status, fields);
            }
            _ => {}
        }
    }

    fn found_head(&mut self, head: ResponseHead, now: Now) {
        let Some(origin) = &self.origin else {
            return;
        };
        let nothing = HeaderEdits::new();
        let view = HeaderView {
            buf: origin.bytes(),
            index: &self.scratch.response,
            edits: &nothing,
        };
        let facts = Head {
            status: head.status,
            grpc_status: grpc_status(&view),
            rate_limited: view.first("x-envoy-ratelimited").is_some(),
            retriable_header: false,
        };
        self.note(match facts.grpc_status {
            Some(status) if self.exchange.is_grpc() => Verdict::grpc(status),
            _ => Verdict::Status(head.status),
        });
        self.ledger.grpc_status = facts.grpc_status.map(u16::from);
        self.ledger.response_us = Some(now.since(self.client.visit().begun));
        self.download.head = Some(head);
        self.exchange.on(Event::Head(facts), now);
    }

    /// Writes the head for the client, with as much of the body as is there and fits.
    pub(super) fn begin_relay(&mut self, early: bool) {
        let Some(head) = self.download.head else {
            return;
        };
        let now = self.now();
        let web = self.web();
        let body = match head.body {
            // The trailers follow as payload.
            BodyKind::Length(1..) if web.is_some() => BodyKind::Chunked,
            other => other,
        };
        let framed = self.client.frame(body, head.tunnel);
        self.download.relay(&head, framed, web);
        let framed = framed.kind;
        let open = framed == BodyKind::UntilClose || head.tunnel;
        self.keep = self.keep && !early && !open && !self.client.shall_end();
        if head.tunnel {
            self.upload.tunnel();
            self.client.open_tunnel();
        }
        self.edit_response(&head, now);
        let bodiless = framed == BodyKind::None;
        let Some(origin) = &mut self.origin else {
            return;
        };
        let line = ResponseLine {
            status: head.status,
            reason: head.reason.of(origin.bytes()),
            body: framed,
            declared_length: head
                .declared_length
                .filter(|_| bodiless && head.status != 204),
            client: self.request.head.version,
            keep_alive: self.keep,
            upgrade: self.request.head.upgrade.filter(|_| head.tunnel),
        };
        let mut out = self.client.visit().worker.buffers.take();
        let (index, edits) = (&self.scratch.response, &self.scratch.response_edits);
        self.ledger.head_sent = self
            .client
            .head(&mut out, &line, origin.bytes(), index, edits);
        origin.begin_body();
        let room = out.capacity() - out.len();
        let fits = origin.waiting() + FRAME_BYTES <= room;
        self.download.out = out;
        if fits {
            self.pass_body(now);
        }
    }

    /// How the answer goes to a client of gRPC-Web; one that is not gRPC goes as it is.
    fn web(&self) -> Option<Web> {
        let bytes = self.origin.as_ref()?.bytes();
        let index = &self.scratch.response;
        let kind = index.value(bytes, KnownHeader::ContentType)?;
        self.request.web.filter(|_| is_grpc(kind))
    }

    fn edit_response(&mut self, head: &ResponseHead, now: Now) {
        let serving = &self.request.active.generation.serving;
        let outcome = self.exchange.outcome();
        let date = self.client.visit().worker.clock.date(now);
        clean_response(
            &mut self.scratch.response_edits,
            head.drop,
            &self.scratch.response,
            &serving.hygiene,
            outcome.upstream_micros.unwrap_or(0) / 1_000,
            &date,
        );
        if let Some(origin) = &self.origin {
            let mut sink = Sink {
                edits: &mut self.scratch.response_edits,
                buf: origin.bytes(),
                index: &self.scratch.response,
            };
            aim::set_cookie(&self.key, &mut sink);
            if let Some(web) = self.download.web {
                sink.set("content-type", web.content_type().as_bytes());
            }
        }
        if head.tunnel {
            self.accept_tunnel();
        }
        if let Some(port) = http3_port(self.client.visit(), self.request) {
            let (edits, index) = (&mut self.scratch.response_edits, &self.scratch.response);
            advertise_http3(edits, index, port);
        }
        if !self.plan.response.is_empty() || self.plan.cors.is_some() {
            self.apply_rules(now);
        }
        if let Some(origin) = &self.origin {
            let (edits, index) = (&mut self.scratch.response_edits, &self.scratch.response);
            self.request.change_response(edits, origin.bytes(), index);
        }
        let active: &'t Active = self.request.active;
        if let Some(line) = &active.generation.serving.line
            && !line.response_names().is_empty()
            && let Some(origin) = &self.origin
        {
            let view = HeaderView {
                buf: origin.bytes(),
                index: &self.scratch.response,
                edits: &self.scratch.response_edits,
            };
            let mut capture = Capture::new(line.response_names());
            capture.take(&view);
            self.ledger.response = Some(capture);
        }
    }

    /// Gives an HTTP/1 client what belongs to its handshake, if the upstream knew nothing of that.
    fn accept_tunnel(&mut self) {
        let (Some(origin), false) = (&self.origin, self.request.head.version.is_multiplexed())
        else {
            return;
        };
        let (buf, index) = (self.request.buf, &self.scratch.request);
        let key = HeaderView {
            buf,
            index,
            edits: &HeaderEdits::new(),
        }
        .first("sec-websocket-key")
        .map(websocket::accept);
        let view = HeaderView {
            buf: origin.bytes(),
            index: &self.scratch.response,
            edits: &self.scratch.response_edits,
        };
        if let (Some(accept), None) = (key, view.first("sec-websocket-accept")) {
            let edits = &mut self.scratch.response_edits;
            edits.add(b"sec-websocket-accept", &accept);
        }
    }

    /// Rules' edits of the response; their templates see the request.
    fn apply_rules(&mut self, now: Now) {
        let Some(origin) = &self.origin else {
            return;
        };
        let view = HeaderView {
            buf: self.request.buf,
            index: &self.scratch.request,
            edits: &self.scratch.request_edits,
        };
        let visit = self.client.visit();
        let (worker, link) = (&visit.worker, &visit.link);
        let facts = self
            .ledger
            .record(worker, link, visit.begun, self.request, &view, now);
        let mut sink = Sink {
            edits: &mut self.scratch.response_edits,
            buf: origin.bytes(),
            index: &self.scratch.response,
        };
        self.plan
            .edit_response(&facts, &mut self.scratch.text, &mut sink);
    }

    /// Moves body bytes from what came to what goes.
    fn pass_body(&mut self, now: Now) {
        let download = &mut self.download;
        let (Some(framing), Some(origin)) = (download.relayed, &mut self.origin) else {
            return;
        };
        if download.done || !origin.has_body() {
            return;
        }
        let buffers = &self.client.visit().worker.buffers;
        match download.pass(origin, framing, buffers) {
            Ok(moved) => {
                download.done = moved.done;
                if moved.payload > 0 {
                    self.exchange.on(Event::ReplyProgress(moved.payload), now);
                }
            }
            Err(failure) => download.broken = Some(failure),
        }
    }

    /// Starts what can be started; whether the machine has been told something.
    pub(super) fn pump_down(&mut self) -> bool {
        let told = self.download.is_relaying() && self.relay_on();
        if !told && let Some(origin) = &mut self.origin {
            origin.listen();
        }
        told
    }

    fn relay_on(&mut self) -> bool {
        let now = self.now();
        // A client that takes a piece at once does not say so: what else waits follows right away.
        loop {
            if self.client.is_writing() {
                return false;
            }
            let waits = self.origin.as_ref().is_some_and(Origin::has_body);
            if self.download.out.is_empty() && waits && !self.download.done {
                if self.download.out.capacity() == 0 {
                    let waiting = self.origin.as_ref().map_or(0, Origin::waiting);
                    let buffers = &self.client.visit().worker.buffers;
                    self.download.out = buffers.take_for(waiting + FRAME_BYTES);
                }
                self.pass_body(now);
            }
            let ends = self.download.done && !self.download.ended;
            if self.download.out.is_empty() && !ends {
                break;
            }
            let out = std::mem::take(&mut self.download.out);
            self.write_down(out, ends);
        }
        if self.download.ended {
            let head = self.download.head;
            let clean = self.origin.as_ref().is_some_and(Origin::is_clean);
            let keep_alive = head.is_some_and(|head| head.keep_alive) && clean;
            self.exchange.on(Event::ReplyEnd { keep_alive }, now);
            return true;
        }
        if let Some(failure) = self.download.broken {
            self.upstream_failed(failure, now);
            return true;
        }
        false
    }

    /// Starts to write; behind the last of the body, its end.
    fn write_down(&mut self, out: Vec<u8>, ends: bool) {
        if !ends {
            return self.client.start_write(out, None);
        }
        self.download.ended = true;
        self.trailers.clear();
        if let Some(origin) = &self.origin {
            origin.trailers(&mut self.trailers);
        }
        if !self.trailers.is_empty() {
            self.ledger.note_trailers(self.request, &self.trailers);
        }
        // They are in the body already.
        if self.download.web.is_some() {
            self.trailers.clear();
        }
        self.client.start_write(out, Some(&self.trailers));
    }
}
