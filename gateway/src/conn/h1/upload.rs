//! The upload of one request: what was taken from the client, what of it is kept for another try,
//! and what waits to be written.

use sallyport_core::exchange::Exchange;
use sallyport_core::h1::{BodyKind, ChunkHead, H1Error, LAST_CHUNK};

use super::transit::{Framing, Moved, Transit};
use crate::worker::Worker;

/// The upload of one request, through all its tries.
#[derive(Debug)]
pub(super) struct Upload {
    transit: Transit,
    framing: Framing,
    /// Payload taken from the client, for another try.
    kept: Vec<u8>,
    /// Bytes of payload taken from the client.
    payload: u64,
    /// Framed, and not being written yet.
    pub(super) out: Vec<u8>,
    /// All of the body has been taken from the client.
    pub(super) taken: bool,
    /// The current try has been told that all was sent.
    pub(super) told: bool,
}

impl Upload {
    /// For a request with such a body.
    pub(super) fn new(kind: BodyKind) -> Self {
        let framing = match kind {
            BodyKind::Chunked => Framing::Chunked,
            BodyKind::None | BodyKind::Length(_) | BodyKind::UntilClose => Framing::Bare,
        };
        let transit = Transit::new(kind, framing);
        Self {
            taken: transit.is_done(),
            transit,
            framing,
            kept: Vec::new(),
            payload: 0,
            out: Vec::new(),
            told: false,
        }
    }

    /// The client's half of a tunnel: bytes until its end.
    pub(super) fn tunnel(&mut self) {
        self.transit = Transit::new(BodyKind::UntilClose, Framing::Bare);
        self.taken = false;
        self.told = false;
    }

    /// Takes body bytes from the input, if none wait to be written.
    ///
    /// # Errors
    /// The client broke its framing.
    pub(super) fn take(
        &mut self,
        worker: &Worker,
        input: &mut Vec<u8>,
        exchange: &Exchange<'_>,
    ) -> Result<Moved, H1Error> {
        if self.taken || input.is_empty() || !self.out.is_empty() {
            return Ok(Moved::default());
        }
        if self.out.capacity() == 0 {
            self.out = worker.buffers.take();
        }
        let keeps = exchange.keeps_replay();
        if !keeps && !self.kept.is_empty() {
            self.kept = Vec::new();
        }
        let copy = keeps.then_some(&mut self.kept);
        let moved = self.transit.pass(input, &mut self.out, copy)?;
        self.taken = moved.done;
        self.payload += moved.payload;
        Ok(moved)
    }

    /// Begins another try: behind the head comes what was taken before.
    pub(super) fn replay(&mut self, out: &mut Vec<u8>) {
        self.told = false;
        self.out.clear();
        let chunked = self.framing == Framing::Chunked;
        if !self.kept.is_empty() {
            if chunked {
                let size = u64::try_from(self.kept.len()).unwrap_or(u64::MAX);
                out.extend_from_slice(ChunkHead::new(size).as_bytes());
            }
            out.extend_from_slice(&self.kept);
            if chunked {
                out.extend_from_slice(b"\r\n");
            }
        }
        if chunked && self.taken {
            out.extend_from_slice(LAST_CHUNK);
        }
    }

    /// The whole body, if it has come and was kept.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        let kept = u64::try_from(self.kept.len()).unwrap_or(u64::MAX);
        (self.taken && kept == self.payload).then_some(&self.kept)
    }

    /// Appends what waits to `out`, if it fits.
    pub(super) fn join(&mut self, out: &mut Vec<u8>) {
        if out.len() + self.out.len() <= out.capacity() {
            out.append(&mut self.out);
        }
    }

    /// The upstream takes no more: what is left is not sent.
    pub(super) fn give_up(&mut self) {
        self.taken = true;
        self.told = true;
        self.out.clear();
    }
}
