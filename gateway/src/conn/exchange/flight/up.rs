//! The way up: head and body of the request.

use std::io;

use sallyport_core::exchange::Event;
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::h1::{BodyKind, RequestLine};
use sallyport_core::hygiene::set_attempt;
use sallyport_core::outlier::Verdict;
use sallyport_core::time::Now;

use super::super::client::Client;
use super::super::mirror;
use super::super::origin::Origin;
use super::Flight;

impl<C: Client> Flight<'_, '_, C> {
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
        let Some(origin) = &mut self.origin else {
            return;
        };
        let line = RequestLine {
            method: self.request.method.as_bytes(),
            target: &scratch.target,
            authority: authority.as_bytes(),
            body: head.body,
            upgrade: head.upgrade,
            te_trailers: head.te_trailers,
            close: origin.is_last(self.cluster),
        };
        let mut out = self.client.visit().worker.buffers.take();
        let (index, edits) = (&scratch.request, &scratch.request_edits);
        origin.head(&mut out, &line, self.request.buf, index, edits);
        if replay {
            self.upload.replay(origin.framing(), &mut out);
        } else if head.body != BodyKind::None {
            self.take_body();
            self.upload.join(&mut out);
        }
        if mirror && !self.plan.mirrors.is_empty() {
            mirror::start(self);
        }
        self.write_up(out);
        if let Some(origin) = &mut self.origin {
            origin.listen();
        }
    }

    /// Starts to write; behind the last of the body, its end.
    fn write_up(&mut self, out: Vec<u8>) {
        let Some(origin) = &mut self.origin else {
            return;
        };
        let end = self.upload.taken && self.upload.out.is_empty();
        if end && !self.upload.ended {
            self.upload.ended = true;
            self.trailers.clear();
            self.client.trailers(&mut self.trailers);
            origin.start_write(out, Some(&self.trailers));
        } else {
            origin.start_write(out, None);
        }
    }

    /// Starts to write what waits; whether the machine has been told something.
    pub(super) fn pump_up(&mut self) -> bool {
        let idle = self.origin.as_mut().is_some_and(|o| !o.is_writing());
        if !idle || !self.try_begun {
            return false;
        }
        let failed = self.take_body();
        if failed {
            return true;
        }
        if !self.upload.out.is_empty() || (self.upload.taken && !self.upload.ended) {
            let out = std::mem::take(&mut self.upload.out);
            self.write_up(out);
            if self.origin.as_mut().is_some_and(|o| o.is_writing()) {
                return false;
            }
        }
        if self.upload.ended && !self.upload.told {
            self.upload.told = true;
            let now = self.now();
            self.ledger.request_tx_us = Some(now.since(self.client.visit().begun));
            self.exchange.on(Event::Sent, now);
            return true;
        }
        false
    }

    /// Takes body bytes that the client has sent; whether that failed.
    fn take_body(&mut self) -> bool {
        let Some(origin) = &self.origin else {
            return false;
        };
        let framing = origin.framing();
        let taken = self.upload.take(self.client, framing, &self.exchange);
        let now = self.now();
        match taken {
            Ok(moved) => {
                if moved.payload > 0 {
                    self.exchange.on(Event::BodyProgress(moved.payload), now);
                }
                if moved.done {
                    self.ledger.request_us = Some(now.since(self.client.visit().begun));
                    self.exchange.on(Event::BodyEnd, now);
                }
                false
            }
            Err(failure) => {
                self.keep = false;
                self.exchange.on(Event::ClientFailed(failure), now);
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
            Err(_) if self.may_say_more() => self.upload.give_up(),
            Err(_) => self.upstream_failed(FailureKind::UpstreamClosed.into(), now),
        }
    }

    fn may_say_more(&mut self) -> bool {
        let origin = self.origin.as_mut();
        origin.is_some_and(|origin| origin.has_begun() || origin.is_listening())
    }

    pub(super) fn upstream_failed(&mut self, failure: Failure, now: Now) {
        let bytes_received = self.origin.as_ref().is_some_and(Origin::has_begun);
        self.exchange.on(
            Event::UpstreamFailed {
                failure,
                bytes_received,
            },
            now,
        );
        // A pooled connection that was dying says nothing about its endpoint.
        if !self.exchange.is_trying_afresh() {
            self.note(Verdict::Broken);
        }
    }
}
