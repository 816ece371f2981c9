//! The way up: head and body of the request.

use std::io;

use sallyport_core::exchange::Event;
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::h1::{BodyKind, RequestLine, encode_request};
use sallyport_core::hygiene::set_attempt;
use sallyport_core::time::Now;

use super::super::mirror;
use super::Flight;

impl Flight<'_, '_> {
    /// Writes the head, with as much of the body as is there and fits.
    pub(super) fn begin_try(&mut self, replay: bool, mirror: bool) {
        self.try_begun = true;
        let attempt = self.exchange.attempts().tried;
        let scratch = &mut *self.scratch;
        if attempt > 1 && self.request.active.generation.serving.hygiene.attempt_count {
            set_attempt(&mut scratch.request_edits, &scratch.request, attempt);
        }
        let authority = self.plan.authority.unwrap_or(self.request.authority);
        let head = &self.request.head;
        let line = RequestLine {
            method: self.request.method.as_bytes(),
            target: &scratch.target,
            authority: authority.as_bytes(),
            body: head.body,
            upgrade: head.upgrade,
            te_trailers: head.te_trailers,
            close: self.lease.as_ref().is_some_and(|l| l.is_last(self.cluster)),
        };
        let mut out = self.conn.worker.buffers.take();
        encode_request(
            &mut out,
            &line,
            self.request.buf,
            &scratch.request,
            &scratch.request_edits,
        );
        if replay {
            self.upload.replay(&mut out);
        } else if head.body != BodyKind::None {
            self.take_body();
            self.upload.join(&mut out);
        }
        if mirror && !self.plan.mirrors.is_empty() {
            mirror::start(self);
        }
        if let Some(stream) = self.lease.as_mut().and_then(|lease| lease.stream()) {
            stream.start_write(out);
            if !stream.is_reading() {
                stream.start_read(None);
            }
        }
    }

    /// Starts to write what waits; whether the machine has been told something.
    pub(super) fn pump_up(&mut self) -> bool {
        let writing = match self.lease.as_mut().and_then(|lease| lease.stream()) {
            Some(stream) => stream.is_writing(),
            None => return false,
        };
        if writing || !self.try_begun {
            return false;
        }
        let failed = self.take_body();
        if failed {
            return true;
        }
        if !self.upload.out.is_empty() {
            let out = std::mem::take(&mut self.upload.out);
            if let Some(stream) = self.lease.as_mut().and_then(|lease| lease.stream()) {
                stream.start_write(out);
            }
            return false;
        }
        if self.upload.taken && !self.upload.told {
            self.upload.told = true;
            let now = self.now();
            self.ledger.request_tx_us = Some(now.since(self.conn.begun));
            self.exchange.on(Event::Sent, now);
            return true;
        }
        false
    }

    /// Takes body bytes that the client has sent; whether that failed.
    fn take_body(&mut self) -> bool {
        if self.upload.taken || self.conn.input.is_empty() {
            return false;
        }
        let taken = {
            let conn = &mut *self.conn;
            self.upload
                .take(&conn.worker, &mut conn.input, &self.exchange)
        };
        let now = self.now();
        match taken {
            Ok(moved) => {
                if moved.payload > 0 {
                    self.exchange.on(Event::BodyProgress(moved.payload), now);
                }
                if moved.done {
                    self.ledger.request_us = Some(now.since(self.conn.begun));
                    self.exchange.on(Event::BodyEnd, now);
                }
                false
            }
            Err(error) => {
                self.keep = false;
                let kind = FailureKind::Downstream {
                    status: error.status(),
                    details: error.detail(),
                };
                self.exchange.on(Event::ClientFailed(kind.into()), now);
                true
            }
        }
    }

    /// A write upstream is over.
    pub(super) fn sent_up(&mut self, result: io::Result<()>, now: Now) {
        match result {
            Ok(()) if !self.head_told => {
                self.head_told = true;
                self.exchange.on(Event::HeadSent, now);
            }
            Ok(()) => {}
            // What the upstream said before it closed counts more than that it closed: an early
            // answer may be waiting to be read. The read that is pending tells how it ended.
            Err(_) if self.download.begun || self.is_read_pending() => self.upload.give_up(),
            Err(_) => self.upstream_failed(FailureKind::UpstreamClosed.into(), now),
        }
    }

    fn is_read_pending(&mut self) -> bool {
        let stream = self.lease.as_mut().and_then(|lease| lease.stream());
        stream.is_some_and(|stream| stream.is_reading())
    }

    pub(super) fn upstream_failed(&mut self, failure: Failure, now: Now) {
        let bytes_received = self.download.begun;
        self.exchange.on(
            Event::UpstreamFailed {
                failure,
                bytes_received,
            },
            now,
        );
    }
}
