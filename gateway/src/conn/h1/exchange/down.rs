//! The way down: head and body of the response.

use std::io;

use sallyport_core::call::HeaderLines;
use sallyport_core::exchange::{Event, Head};
use sallyport_core::failure::FailureKind;
use sallyport_core::h1::{
    Asked, BodyKind, CONTINUE, FieldSet, HeaderEdits, HeaderView, Parse, ResponseHead,
    ResponseLine, encode_response, parse_response,
};
use sallyport_core::hygiene::clean_response;
use sallyport_core::limits::{MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES};
use sallyport_core::log::Capture;
use sallyport_core::time::Now;

use super::super::answer::Sink;
use super::{Flight, grpc_status};
use crate::worker::Active;

/// How much a buffer grows by when a head does not fit.
const GROWTH: usize = 16 * 1024;
/// Room kept behind a head for what may be framed after it.
const FRAME_BYTES: usize = 32;

impl<'t> Flight<'_, 't> {
    /// A read upstream is over.
    pub(super) fn received(&mut self, result: io::Result<usize>, buffer: Vec<u8>, now: Now) {
        let ended = !matches!(result, Ok(count) if count > 0);
        let old = std::mem::replace(&mut self.download.input, buffer);
        self.conn.give(old);
        if !ended {
            self.download.begun = true;
            if !self.download.is_relaying() {
                self.look_for_head(now);
            }
            return;
        }
        let Some(body) = &mut self.download.body else {
            return self.upstream_failed(FailureKind::UpstreamClosed.into(), now);
        };
        if body.ends_at_close() && result.is_ok() {
            body.end(&mut self.download.out);
            self.download.done = true;
        } else {
            // What came goes to the client first.
            self.download.broken = true;
        }
    }

    /// Looks for the final head at the front of what came.
    fn look_for_head(&mut self, now: Now) {
        let asked = Asked {
            method: self.request.head.method,
            upgrade: self.request.head.upgrade.is_some(),
        };
        loop {
            let parsed =
                parse_response(&mut self.download.input, &mut self.scratch.response, asked);
            match parsed {
                Ok(Parse::Complete { head, len }) if head.interim => {
                    self.download.input.drain(..len);
                    self.scratch.response.clear();
                    self.download.interims += 1;
                    if self.download.interims > MAX_INTERIM_RESPONSES {
                        return self.upstream_failed(FailureKind::UpstreamProtocol.into(), now);
                    }
                    self.exchange.on(Event::Interim(head.status), now);
                    self.relay_continue(head.status);
                    if self.download.input.is_empty() {
                        return;
                    }
                }
                Ok(Parse::Complete { head, len }) => return self.found_head(head, len, now),
                Ok(Parse::Partial) => return,
                Err(_) => {
                    return self.upstream_failed(FailureKind::UpstreamProtocol.into(), now);
                }
            }
        }
    }

    /// Tells the client to send its body, once, if it waits for that. Other interim responses are
    /// not passed on: HTTP/1 clients that did not ask for them are known to trip over them.
    fn relay_continue(&mut self, status: u16) {
        let waits = self.request.head.expect_continue && !self.continued && !self.upload.taken;
        if status == 100 && waits && !self.conn.stream.is_writing() {
            self.continued = true;
            let mut out = self.conn.worker.buffers.take();
            out.extend_from_slice(CONTINUE);
            self.conn.stream.start_write(out);
        }
    }

    fn found_head(&mut self, head: ResponseHead, len: usize, now: Now) {
        let nothing = HeaderEdits::new();
        let view = HeaderView {
            buf: &self.download.input,
            index: &self.scratch.response,
            edits: &nothing,
        };
        let facts = Head {
            status: head.status,
            grpc_status: grpc_status(&view),
            rate_limited: view.first("x-envoy-ratelimited").is_some(),
            retriable_header: false,
        };
        self.ledger.grpc_status = facts.grpc_status.map(u16::from);
        self.ledger.response_us = Some(now.since(self.conn.begun));
        self.download.head = Some((head, len));
        self.exchange.on(Event::Head(facts), now);
    }

    /// Writes the head for the client, with as much of the body as is there and fits.
    pub(super) fn begin_relay(&mut self, early: bool) {
        let Some((head, len)) = self.download.head else {
            return;
        };
        let now = self.now();
        let framed = self.download.relay(&head, self.request.head.version);
        self.keep = self.keep && !early && framed != BodyKind::UntilClose && !self.conn.shall_end();
        if head.tunnel {
            self.upload.tunnel();
        }
        self.edit_response(&head, now);
        let bodiless = framed == BodyKind::None;
        let line = ResponseLine {
            status: head.status,
            reason: head.reason.of(&self.download.input),
            body: framed,
            declared_length: head
                .declared_length
                .filter(|_| bodiless && head.status != 204),
            client: self.request.head.version,
            keep_alive: self.keep,
            upgrade: self.request.head.upgrade.filter(|_| head.tunnel),
        };
        let mut out = self.conn.worker.buffers.take();
        encode_response(
            &mut out,
            &line,
            &self.download.input,
            &self.scratch.response,
            &self.scratch.response_edits,
        );
        self.ledger.head_sent = u64::try_from(out.len()).unwrap_or(u64::MAX);
        self.download
            .input
            .drain(..len.min(self.download.input.len()));
        self.download.out = out;
        let room = self.download.out.capacity() - self.download.out.len();
        if self.download.input.len() + FRAME_BYTES <= room {
            self.pass_body(now);
        }
    }

    fn edit_response(&mut self, head: &ResponseHead, now: Now) {
        let serving = &self.request.active.generation.serving;
        let outcome = self.exchange.outcome();
        let date = self.conn.worker.clock.date(now);
        clean_response(
            &mut self.scratch.response_edits,
            head.drop,
            &self.scratch.response,
            &serving.hygiene,
            outcome.upstream_micros.unwrap_or(0) / 1_000,
            &date,
        );
        if !self.plan.response.is_empty() || self.plan.cors.is_some() {
            self.apply_rules(head.drop, now);
        }
        let active: &'t Active = self.request.active;
        if let Some(line) = &active.generation.serving.line
            && !line.response_names().is_empty()
        {
            let view = HeaderView {
                buf: &self.download.input,
                index: &self.scratch.response,
                edits: &self.scratch.response_edits,
            };
            let mut capture = Capture::new(line.response_names());
            capture.take(&view);
            self.ledger.response = Some(capture);
        }
    }

    /// Rules' edits of the response; their templates see the request.
    fn apply_rules(&mut self, _drop: FieldSet, now: Now) {
        let view = HeaderView {
            buf: self.request.buf,
            index: &self.scratch.request,
            edits: &self.scratch.request_edits,
        };
        let (worker, link) = (&self.conn.worker, &self.conn.link);
        let begun = self.conn.begun;
        let facts = self
            .ledger
            .record(worker, link, begun, self.request, &view, now);
        let mut sink = Sink {
            edits: &mut self.scratch.response_edits,
            buf: &self.download.input,
            index: &self.scratch.response,
        };
        self.plan
            .edit_response(&facts, &mut self.scratch.text, &mut sink);
    }

    /// Moves body bytes from what came to what goes; `false` when the upstream broke its framing.
    fn pass_body(&mut self, now: Now) -> bool {
        let download = &mut self.download;
        let Some(body) = &mut download.body else {
            return true;
        };
        if download.done || download.input.is_empty() {
            return true;
        }
        match body.pass(&mut download.input, &mut download.out, None) {
            Ok(moved) => {
                download.done = moved.done;
                if moved.payload > 0 {
                    self.exchange.on(Event::ReplyProgress(moved.payload), now);
                }
                true
            }
            Err(_) => {
                download.broken = true;
                false
            }
        }
    }

    /// Starts what can be started; whether the machine has been told something.
    pub(super) fn pump_down(&mut self) -> bool {
        if !self.download.is_relaying() {
            self.read_on();
            return false;
        }
        if !self.conn.stream.is_writing() {
            let now = self.now();
            let waits = !self.download.input.is_empty() && !self.download.done;
            if self.download.out.is_empty() && waits && !self.download.broken {
                if self.download.out.capacity() == 0 {
                    self.download.out = self.conn.worker.buffers.take();
                }
                self.pass_body(now);
            }
            if !self.download.out.is_empty() {
                let out = std::mem::take(&mut self.download.out);
                self.conn.stream.start_write(out);
            } else if self.download.done {
                let keep_alive = self.download.head.is_some_and(|(head, _)| head.keep_alive)
                    && self.download.input.is_empty();
                self.exchange.on(Event::ReplyEnd { keep_alive }, now);
                return true;
            } else if self.download.broken {
                self.upstream_failed(FailureKind::UpstreamClosed.into(), now);
                return true;
            }
        }
        self.read_on();
        false
    }

    /// Keeps a read pending upstream, unless something read waits to be passed on.
    fn read_on(&mut self) {
        let relaying = self.download.is_relaying();
        let download = &mut self.download;
        let Some(stream) = self.lease.as_mut().and_then(|lease| lease.stream()) else {
            return;
        };
        if stream.is_reading() || download.done || download.broken {
            return;
        }
        if download.input.is_empty() {
            stream.start_read(None);
        } else if !relaying && self.try_begun {
            // Part of a head: the rest goes behind it.
            let mut partial = std::mem::take(&mut download.input);
            if partial.len() == partial.capacity() {
                let room = MAX_HEAD_BYTES.saturating_sub(partial.len());
                partial.reserve_exact(GROWTH.min(room).max(1));
            }
            stream.start_read(Some(partial));
        }
    }
}
