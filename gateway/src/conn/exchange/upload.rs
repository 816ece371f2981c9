//! The upload of one request: what was taken from the client, what of it is kept for another try,
//! and what waits to be written.

use sallyport_core::exchange::Exchange;
use sallyport_core::failure::Failure;
use sallyport_core::h1::{BodyKind, ChunkHead};

use super::client::Client;
use super::transit::{Framing, Moved};

/// The upload of one request, through all its tries.
#[derive(Debug)]
pub(super) struct Upload {
    /// Payload taken from the client, for another try.
    kept: Vec<u8>,
    /// Bytes of payload taken from the client.
    payload: u64,
    /// Framed, and not being written yet.
    pub(super) out: Vec<u8>,
    /// All of the body has been taken from the client.
    pub(super) taken: bool,
    /// The upstream's side of the current try has been given the end.
    pub(super) ended: bool,
    /// The current try has been told that all was sent.
    pub(super) told: bool,
    /// The upstream of the current try takes no more.
    given_up: bool,
}

impl Upload {
    /// For a request with such a body.
    pub(super) fn new(kind: BodyKind) -> Self {
        Self {
            taken: matches!(kind, BodyKind::None | BodyKind::Length(0)),
            kept: Vec::new(),
            payload: 0,
            out: Vec::new(),
            ended: false,
            told: false,
            given_up: false,
        }
    }

    /// Another try begins: what was taken stays taken.
    pub(super) fn again(&mut self) {
        self.ended = false;
        self.told = false;
        self.given_up = false;
    }

    /// The client's half of a tunnel: bytes until its end.
    pub(super) fn tunnel(&mut self) {
        self.taken = false;
        self.ended = false;
        self.told = false;
    }

    /// Takes body bytes from the client, if none wait to be written.
    ///
    /// # Errors
    /// The client broke its framing.
    pub(super) fn take<C: Client>(
        &mut self,
        client: &mut C,
        framing: Framing,
        exchange: &Exchange<'_>,
    ) -> Result<Moved, Failure> {
        let wanted = !self.taken && !self.given_up;
        if !wanted || !client.has_body() || !self.out.is_empty() {
            return Ok(Moved::default());
        }
        if self.out.capacity() == 0 {
            self.out = client.visit().worker.buffers.take();
        }
        let keeps = exchange.keeps_replay();
        if !keeps && !self.kept.is_empty() {
            self.kept = Vec::new();
        }
        let copy = keeps.then_some(&mut self.kept);
        let moved = client.take(&mut self.out, framing, copy)?;
        self.taken = moved.done;
        self.payload += moved.payload;
        Ok(moved)
    }

    /// Begins another try: behind the head comes what was taken before.
    pub(super) fn replay(&mut self, framing: Framing, out: &mut Vec<u8>) {
        self.out.clear();
        if self.kept.is_empty() {
            return;
        }
        if framing == Framing::Chunked {
            let size = u64::try_from(self.kept.len()).unwrap_or(u64::MAX);
            out.extend_from_slice(ChunkHead::new(size).as_bytes());
        }
        out.extend_from_slice(&self.kept);
        if framing == Framing::Chunked {
            out.extend_from_slice(b"\r\n");
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
        self.given_up = true;
        self.ended = true;
        self.told = true;
        self.out.clear();
    }
}
