//! A body on its way through, in one direction: decoded by the sender's framing, encoded by ours.
//! Where the two are the same and the bytes are payload only, the buffer itself changes hands.

use std::ops::Range;

use sallyport_core::h1::{BodyKind, BodyReader, ChunkHead, H1Error, LAST_CHUNK};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// As it is: its length was announced, or its end is the connection's.
    Bare,
    /// Chunked.
    Chunked,
}

/// Pieces of payload found in one buffer; more chunks than this are framed in several rounds.
const PIECES_MAX: usize = 64;

/// A body in transit, in one direction.
#[derive(Debug)]
pub(super) struct Transit {
    reader: BodyReader,
    framing: Framing,
}

/// What one look at a buffer moved.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    /// Bytes of payload.
    pub(super) payload: u64,
    /// The body has ended.
    pub(super) done: bool,
}

impl Transit {
    /// From the framing that the sender uses to ours.
    pub(super) fn new(kind: BodyKind, framing: Framing) -> Self {
        Self {
            reader: BodyReader::new(kind),
            framing,
        }
    }

    /// Whether all of the body has been read.
    pub(super) fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// Whether the sender's end of stream is the body's proper end.
    pub(super) fn ends_at_close(&self) -> bool {
        self.reader.ends_at_close()
    }

    /// Moves what belongs to the body from the front of `input` to the end of `out`, framed. What
    /// follows the body stays. Payload is also appended to `copy`.
    ///
    /// # Errors
    /// The sender broke its framing.
    pub(super) fn pass(
        &mut self,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
        mut copy: Option<&mut Vec<u8>>,
    ) -> Result<Moved, H1Error> {
        if let Some(moved) = self.hand_over(input, out, copy.as_deref_mut())? {
            return Ok(moved);
        }
        let mut pieces: [Range<usize>; PIECES_MAX] = [const { 0..0 }; PIECES_MAX];
        let mut count = 0;
        let mut at = 0;
        let mut total = 0;
        let mut done = self.reader.is_done();
        while !done && at < input.len() && count < PIECES_MAX {
            let progress = self.reader.advance(input.get(at..).unwrap_or_default())?;
            done = progress.done;
            if !progress.payload.is_empty()
                && let Some(piece) = pieces.get_mut(count)
            {
                *piece = at + progress.payload.start..at + progress.payload.end;
                total += progress.payload.len();
                count += 1;
            }
            if progress.consumed == 0 {
                break;
            }
            at += progress.consumed;
        }
        let pieces = pieces.get(..count).unwrap_or_default();
        if let Some(copy) = copy {
            for piece in pieces {
                copy.extend_from_slice(input.get(piece.clone()).unwrap_or_default());
            }
        }
        self.write(input, pieces, total, done, out);
        input.drain(..at);
        Ok(Moved {
            payload: u64::try_from(total).unwrap_or(u64::MAX),
            done,
        })
    }

    /// Swaps the buffers when everything in `input` is payload that goes on as it is.
    fn hand_over(
        &mut self,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
        copy: Option<&mut Vec<u8>>,
    ) -> Result<Option<Moved>, H1Error> {
        let left = self.reader.remaining().unwrap_or_else(|| {
            // Until the end of the stream everything is payload; chunks never are.
            if self.ends_at_close() { u64::MAX } else { 0 }
        });
        let len = u64::try_from(input.len()).unwrap_or(u64::MAX);
        if self.framing != Framing::Bare || !out.is_empty() || left < len || len == 0 {
            return Ok(None);
        }
        let done = self.reader.advance(input)?.done;
        if let Some(copy) = copy {
            copy.extend_from_slice(input);
        }
        std::mem::swap(input, out);
        Ok(Some(Moved { payload: len, done }))
    }

    fn write(
        &self,
        input: &[u8],
        pieces: &[Range<usize>],
        total: usize,
        done: bool,
        out: &mut Vec<u8>,
    ) {
        let chunked = self.framing == Framing::Chunked;
        if chunked && total > 0 {
            let size = u64::try_from(total).unwrap_or(u64::MAX);
            out.extend_from_slice(ChunkHead::new(size).as_bytes());
        }
        for piece in pieces {
            out.extend_from_slice(input.get(piece.clone()).unwrap_or_default());
        }
        if chunked && total > 0 {
            out.extend_from_slice(b"\r\n");
        }
        if chunked && done {
            out.extend_from_slice(LAST_CHUNK);
        }
    }

    /// The sender's stream has ended and with it the body: what is left to say about that.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        if self.framing == Framing::Chunked && !self.reader.is_done() {
            out.extend_from_slice(LAST_CHUNK);
        }
    }
}
