//! An HTTP/1 body that comes in: decoded by the sender's framing, written in the one that the other
//! side wants. Where the bytes are payload only, the buffer itself changes hands.

use std::ops::Range;

use sallyport_core::h1::{BodyKind, BodyReader, ChunkHead, H1Error};

/// How the payload of a body is written for who takes it. What says that it ended is written by
/// the taker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As it is: its end is known otherwise.
    Bare,
    /// In chunks.
    Chunked,
}

/// Pieces of payload found in one buffer; more chunks than this are framed in several rounds.
const PIECES_MAX: usize = 64;

/// A body in transit, in one direction.
#[derive(Debug)]
pub(crate) struct Transit(BodyReader);

/// What one look at a buffer moved.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moved {
    /// Bytes of payload.
    pub(crate) payload: u64,
    /// The body has ended.
    pub(crate) done: bool,
}

impl Transit {
    /// A body that the sender frames like this.
    pub(crate) fn new(kind: BodyKind) -> Self {
        Self(BodyReader::new(kind))
    }

    /// Whether all of the body has been read.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Trailer fields, as lines, once all has been read.
    pub(crate) fn trailers(&self, out: &mut Vec<u8>) {
        self.0.write_trailers(out);
    }

    /// Whether the sender's end of stream is the body's proper end.
    pub(crate) fn ends_at_close(&self) -> bool {
        self.0.ends_at_close()
    }

    /// Moves what belongs to the body from the front of `input` to the end of `out`, framed. What
    /// follows the body stays. Payload is also appended to `copy`.
    ///
    /// # Errors
    /// The sender broke its framing.
    pub(crate) fn pass(
        &mut self,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
        framing: Framing,
        mut copy: Option<&mut Vec<u8>>,
    ) -> Result<Moved, H1Error> {
        if framing == Framing::Bare
            && let Some(moved) = self.hand_over(input, out, copy.as_deref_mut())?
        {
            return Ok(moved);
        }
        let mut pieces: [Range<usize>; PIECES_MAX] = [const { 0..0 }; PIECES_MAX];
        let mut count = 0;
        let mut at = 0;
        let mut total = 0;
        let mut done = self.0.is_done();
        while !done && at < input.len() && count < PIECES_MAX {
            let progress = self.0.advance(input.get(at..).unwrap_or_default())?;
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
        write(input, pieces, total, framing, out);
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
        let left = self.0.remaining().unwrap_or_else(|| {
            // Until the end of the stream everything is payload; chunks never are.
            if self.ends_at_close() { u64::MAX } else { 0 }
        });
        let len = u64::try_from(input.len()).unwrap_or(u64::MAX);
        if !out.is_empty() || left < len || len == 0 {
            return Ok(None);
        }
        let done = self.0.advance(input)?.done;
        if let Some(copy) = copy {
            copy.extend_from_slice(input);
        }
        std::mem::swap(input, out);
        Ok(Some(Moved { payload: len, done }))
    }
}

fn write(input: &[u8], pieces: &[Range<usize>], total: usize, framing: Framing, out: &mut Vec<u8>) {
    let chunked = framing == Framing::Chunked && total > 0;
    if chunked {
        let size = u64::try_from(total).unwrap_or(u64::MAX);
        out.extend_from_slice(ChunkHead::new(size).as_bytes());
    }
    for piece in pieces {
        out.extend_from_slice(input.get(piece.clone()).unwrap_or_default());
    }
    if chunked {
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes a piece of payload.
pub(crate) fn write_piece(framing: Framing, bytes: &[u8], out: &mut Vec<u8>) {
    let whole = 0..bytes.len();
    write(
        bytes,
        std::slice::from_ref(&whole),
        bytes.len(),
        framing,
        out,
    );
}

/// Writes what says that a body has ended.
pub(crate) fn write_end(framing: Framing, trailers: &[u8], out: &mut Vec<u8>) {
    if framing == Framing::Chunked {
        out.extend_from_slice(b"0\r\n");
        out.extend_from_slice(trailers);
        out.extend_from_slice(b"\r\n");
    }
}
