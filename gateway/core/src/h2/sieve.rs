//! Header blocks are found among the frames of a connection, and read before the codec sees them.

use super::block;

/// The frames that matter (RFC 9113 §6), and their flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 32;

/// Bytes of a frame's header.
const HEADER_BYTES: usize = 9;
/// Bytes of a frame's payload, at most: the codec says no other size.
const PAYLOAD_MAX: usize = 16_384;
/// Bytes that wait for the rest of their block. Blocks of more are left to the codec, which takes six
/// frames as well.
const HELD_MAX: usize = 6 * (HEADER_BYTES + PAYLOAD_MAX);
/// Streams that are remembered as not ended by their client. Trailers of others are the codec's matter.
const OPEN_MAX: usize = 128;
/// The client's preface.
const PREFACE_BYTES: usize = 24;

/// Reads the blocks of one connection. What is not whole yet waits here.
#[derive(Clone, Debug)]
pub struct Sieve {
    /// Bytes that go by before the next frame's header.
    skip: usize,
    /// From the header of the first frame that is not whole, and how long it will be.
    held: Vec<u8>,
    wanted: usize,
    /// Streams whose head came and whose end did not: another block for one is of trailers. The oldest
    /// first.
    open: Vec<u32>,
    /// Something was not read: the codec is about to end the connection.
    lost: bool,
}

/// A frame's header.
#[derive(Clone, Copy)]
struct Header {
    kind: u8,
    flags: u8,
    stream: u32,
    len: usize,
}

/// What stands at a place among the frames.
enum Found {
    /// Not whole: so many bytes are needed from there on.
    Wanting(usize),
    /// A frame of another kind.
    Other(Header),
    /// A block's frames, of so many bytes.
    Block(usize),
    /// Frames that may not follow each other.
    Wrong,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            skip: PREFACE_BYTES,
            held: Vec::new(),
            wanted: 0,
            open: Vec::new(),
            lost: false,
        }
    }
}

impl Sieve {
    /// Takes what came and leaves in its place what the codec may see: less when a block is not whole,
    /// more when it has become so. Says how many heads could not be and were replaced.
    pub fn pass(&mut self, bytes: &mut Vec<u8>) -> u32 {
        if self.lost {
            return 0;
        }
        if self.held.len() + bytes.len() < self.wanted {
            self.held.append(bytes);
            return 0;
        }
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            bytes.splice(..0, held);
        }
        self.wanted = 0;
        let (mut at, mut replaced) = (0, 0);
        loop {
            let step = self.skip.min(bytes.len() - at);
            self.skip -= step;
            at += step;
            if at >= bytes.len() {
                return replaced;
            }
            match find(bytes.get(at..).unwrap_or_default()) {
                Found::Other(head) => {
                    let ends = head.kind == DATA && head.flags & END_STREAM != 0;
                    if ends || head.kind == RST_STREAM {
                        self.open.retain(|stream| *stream != head.stream);
                    }
                    self.skip = HEADER_BYTES + head.len;
                }
                Found::Wanting(len) if len <= HELD_MAX => {
                    self.held = bytes.split_off(at);
                    self.wanted = len;
                    return replaced;
                }
                Found::Block(len) => match self.judge(bytes.get(at..at + len)) {
                    Ok(None) => at += len,
                    Ok(Some(other)) => {
                        replaced += 1;
                        let end = at + other.len();
                        bytes.splice(at..at + len, other);
                        at = end;
                    }
                    Err(block::Unreadable) => return self.lose(replaced),
                },
                Found::Wanting(_) | Found::Wrong => return self.lose(replaced),
            }
        }
    }

    /// Remembers a stream that is not ended with its head.
    fn note(&mut self, head: Header) {
        self.open.retain(|stream| *stream != head.stream);
        if head.flags & END_STREAM == 0 {
            if self.open.len() >= OPEN_MAX {
                self.open.remove(0);
            }
            self.open.push(head.stream);
        }
    }

    fn lose(&mut self, replaced: u32) -> u32 {
        self.lost = true;
        replaced
    }

    /// Frames that take the place of a block's, if it needs others.
    fn judge(&mut self, frames: Option<&[u8]>) -> Result<Option<Vec<u8>>, block::Unreadable> {
        let frames = frames.ok_or(block::Unreadable)?;
        let head = header(frames).ok_or(block::Unreadable)?;
        let trailers = self.open.contains(&head.stream);
        self.note(head);
        let first = fragment(frames, head).ok_or(block::Unreadable)?;
        let end = HEADER_BYTES + head.len;
        let mended = if end == frames.len() {
            block::mend(first, trailers)?
        } else {
            let mut all = first.to_vec();
            let mut rest = frames.get(end..).unwrap_or_default();
            while let Some(next) = header(rest) {
                let end = HEADER_BYTES + next.len;
                all.extend_from_slice(rest.get(HEADER_BYTES..end).unwrap_or_default());
                rest = rest.get(end..).unwrap_or_default();
            }
            block::mend(&all, trailers)?
        };
        Ok(mended.map(|block| frame(head, &block)))
    }
}

/// Looks for a block's end.
fn find(bytes: &[u8]) -> Found {
    let Some(head) = header(bytes) else {
        return Found::Wanting(HEADER_BYTES);
    };
    if head.kind != HEADERS {
        return Found::Other(head);
    }
    let (mut end, mut last) = (0, head);
    loop {
        if last.len > PAYLOAD_MAX {
            return Found::Wrong;
        }
        end += HEADER_BYTES + last.len;
        let Some(rest) = bytes.get(end..) else {
            return Found::Wanting(end);
        };
        if last.flags & END_HEADERS != 0 {
            return Found::Block(end);
        }
        match header(rest) {
            None => return Found::Wanting(end + HEADER_BYTES),
            Some(next) if next.kind == CONTINUATION && next.stream == head.stream => last = next,
            Some(_) => return Found::Wrong,
        }
    }
}

fn header(bytes: &[u8]) -> Option<Header> {
    let (head, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [a, b, c, kind, flags, stream @ ..] = *head;
    Some(Header {
        kind,
        flags,
        stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        len: usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?,
    })
}

/// The part of a block in HEADERS, without padding and priority.
fn fragment(frame: &[u8], head: Header) -> Option<&[u8]> {
    let mut part = frame.get(HEADER_BYTES..HEADER_BYTES + head.len)?;
    if head.flags & PADDED != 0 {
        let (padding, rest) = part.split_first()?;
        part = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
    }
    if head.flags & PRIORITIZED != 0 {
        part = part.get(5..)?;
    }
    Some(part)
}

/// The frames of a block.
fn frame(head: Header, block: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + HEADER_BYTES);
    let pieces = block.len().div_ceil(PAYLOAD_MAX).max(1);
    for piece in 0..pieces {
        let from = piece * PAYLOAD_MAX;
        let part = block
            .get(from..block.len().min(from + PAYLOAD_MAX))
            .unwrap_or_default();
        let (kind, flags) = match piece {
            0 => (HEADERS, head.flags & END_STREAM),
            _ => (CONTINUATION, 0),
        };
        let last = if piece + 1 == pieces { END_HEADERS } else { 0 };
        let len = u32::try_from(part.len()).unwrap_or(0).to_be_bytes();
        out.extend_from_slice(len.get(1..).unwrap_or_default());
        out.extend_from_slice(&[kind, flags | last]);
        out.extend_from_slice(&head.stream.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [0, len[0], len[1], kind, flags, 0, 0, 0, stream];
        [&head, payload].concat()
    }

    /// What the codec sees of these bytes, cut in pieces of this size.
    fn seen(bytes: &[u8], size: usize) -> (Vec<u8>, u32) {
        let mut sieve = Sieve::default();
        let (mut out, mut replaced) = (Vec::new(), 0);
        for piece in bytes.chunks(size) {
            let mut piece = piece.to_vec();
            replaced += sieve.pass(&mut piece);
            out.append(&mut piece);
        }
        (out, replaced)
    }

    #[test]
    fn bad_heads_are_replaced_however_they_are_cut() {
        let preface = [b'p'; PREFACE_BYTES];
        let bad = b"\x82\x86\x84\x40\x01X\x03abc";
        let padded = [&b"\x02\0\0\0\0\x09"[..], bad, b"\0\0"].concat();
        let came = [
            &preface[..],
            &raw(4, 0, 0, b""),
            &raw(1, 5, 1, b"\x82\x86\x84\x41\x01a"),
            &raw(1, 1, 3, b"\x82\x86\x84\x40"),
            &raw(9, 4, 3, b"\x01X\x03abc"),
            &raw(1, PADDED | PRIORITIZED | 4, 5, &padded),
            &raw(0, 0, 5, b"body"),
            &raw(1, 5, 5, b"\x82"),
            // Streams that are over have no trailers.
            &raw(1, 5, 5, b"\x82"),
            &raw(1, 4, 7, b"\x82"),
            &raw(0, 1, 7, b"body"),
            &raw(1, 5, 7, b"\x82"),
            &raw(6, 0, 0, &[0; 8]),
        ]
        .concat();
        let good = b"\x82\x86\x84\x40\x02te\x02xx";
        let wanted = [
            &preface[..],
            &raw(4, 0, 0, b""),
            &raw(1, 5, 1, b"\x82\x86\x84\x41\x01a"),
            &raw(1, 5, 3, good),
            &raw(1, 4, 5, good),
            &raw(0, 0, 5, b"body"),
            &raw(1, 5, 5, b"\x00\x02te\x01x"),
            &raw(1, 5, 5, b"\x82"),
            &raw(1, 4, 7, b"\x82"),
            &raw(0, 1, 7, b"body"),
            &raw(1, 5, 7, b"\x82"),
            &raw(6, 0, 0, &[0; 8]),
        ]
        .concat();
        for size in 1..=came.len() {
            assert_eq!(seen(&came, size), (wanted.clone(), 3), "pieces of {size}");
        }
    }

    #[test]
    fn what_is_wrong_goes_to_the_codec_as_it_came() {
        let preface = [b'p'; PREFACE_BYTES];
        for wrong in [
            // No block, another frame in it, padding without end, and a frame without end.
            raw(1, 5, 1, b"\x40\x80"),
            [raw(1, 1, 1, b"\x82"), raw(6, 0, 0, &[0; 8])].concat(),
            raw(1, 5 | PADDED, 1, b"\x09\x82"),
            raw(1, 5, 1, &[0; 16_385]),
        ] {
            let came = [&preface[..], &wrong, &raw(1, 5, 3, b"\x00\x01X\x01a")].concat();
            for size in [1, 7, came.len()] {
                assert_eq!(seen(&came, size), (came.clone(), 0));
            }
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut sieve = Sieve::default();
        let mut given = 0;
        let mut pass = |mut bytes: Vec<u8>| {
            given += bytes.len();
            sieve.pass(&mut bytes);
            given -= bytes.len();
            assert!(given <= HELD_MAX, "{given}");
        };
        pass(vec![0; PREFACE_BYTES]);
        pass(raw(1, 0, 1, b""));
        for _ in 0..20 {
            pass(raw(9, 0, 1, &[0x82; PAYLOAD_MAX]));
        }
        assert_eq!(given, 0);
    }
}
