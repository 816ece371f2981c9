//! The upload of one request: what was taken from the client, what of it is kept for another try,
//! and what waits to be written.

use std::rc::Rc;

use sallyport_core::exchange::Exchange;
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::grpc_web::{Decoder, Web};
use sallyport_core::h1::BodyKind;

use super::client::Client;
use super::held::Held;
use super::transit::{Framing, Moved, write_piece};

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
    /// The client sends base64.
    text: Option<Decoder>,
    /// What was taken from the client before, and waits to be forwarded.
    held: Option<Held>,
}

impl Upload {
    /// For a request with such a body, which may be gRPC-Web's, and of which this has been taken.
    pub(super) fn new(kind: BodyKind, web: Option<Web>, held: Held) -> Self {
        Self {
            taken: matches!(kind, BodyKind::None | BodyKind::Length(0)),
            kept: Vec::new(),
            payload: 0,
            out: Vec::new(),
            ended: false,
            told: false,
            given_up: false,
            text: web.filter(|web| web.text_up).map(|_| Decoder::default()),
            held: held.is_begun().then_some(held),
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
        let is_there = self.held.is_some() || client.has_body();
        if !wanted || !is_there || !self.out.is_empty() {
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
        let held = self.held.take();
        let moved = match (&mut self.text, held) {
            (None, None) => client.take(&mut self.out, framing, copy)?,
            (None, Some(held)) => pass_on(&held, &mut self.out, framing, copy),
            (Some(decoder), held) => decode(client, held, decoder, &mut self.out, framing, copy)?,
        };
        self.taken = moved.done;
        self.payload += moved.payload;
        Ok(moved)
    }

    /// Begins another try: behind the head comes what was taken before.
    pub(super) fn replay(&mut self, framing: Framing, out: &mut Vec<u8>) {
        self.out.clear();
        write_piece(framing, &self.kept, out);
    }

    /// Whether all of the body has been taken from the client, forwarded or not.
    pub(super) fn is_whole(&self) -> bool {
        self.taken || self.held.as_ref().is_some_and(|held| held.whole)
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

/// Takes base64 from the client, and moves what it says to the end of `out`, framed.
fn decode<C: Client>(
    client: &mut C,
    held: Option<Held>,
    decoder: &mut Decoder,
    out: &mut Vec<u8>,
    framing: Framing,
    copy: Option<&mut Vec<u8>>,
) -> Result<Moved, Failure> {
    let buffers = Rc::clone(&client.visit().worker.buffers);
    let mut text = buffers.take();
    let moved = match held {
        Some(held) => pass_on(&held, &mut text, Framing::Bare, None),
        None => client.take(&mut text, Framing::Bare, None)?,
    };
    let mut bytes = buffers.take();
    let read = decoder.read(&text, &mut bytes);
    if read.is_err() || moved.done && !decoder.is_whole() {
        // Envoy's name for it.
        let details = "grpc_base_64_decode_failed";
        let status = 400;
        return Err(FailureKind::Downstream { status, details }.into());
    }
    write_piece(framing, &bytes, out);
    if let Some(copy) = copy {
        copy.extend_from_slice(&bytes);
    }
    let payload = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    buffers.give(text);
    buffers.give(bytes);
    Ok(Moved { payload, ..moved })
}

/// Moves what was held.
fn pass_on(held: &Held, out: &mut Vec<u8>, framing: Framing, copy: Option<&mut Vec<u8>>) -> Moved {
    if let Some(copy) = copy {
        copy.extend_from_slice(&held.bytes);
    }
    if !held.bytes.is_empty() {
        write_piece(framing, &held.bytes, out);
    }
    Moved {
        payload: u64::try_from(held.bytes.len()).unwrap_or(u64::MAX),
        done: held.whole,
    }
}
