//! Frames (RFC 9114 §7): type, length, payload.

use super::{Code, Fault, varint};

/// What a frame's type means on the streams that a server reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    CancelPush,
    Settings,
    PushPromise,
    Goaway,
    MaxPushId,
    /// A type that HTTP/2 used for something (RFC 9114 §7.2.8): always an error.
    Forbidden,
    /// A type that means nothing to us, reserved ones included: ignored (§9).
    Unknown,
}

impl Kind {
    const fn of(number: u64) -> Self {
        match number {
            0x00 => Self::Data,
            0x01 => Self::Headers,
            0x03 => Self::CancelPush,
            0x04 => Self::Settings,
            0x05 => Self::PushPromise,
            0x07 => Self::Goaway,
            0x0d => Self::MaxPushId,
            0x02 | 0x06 | 0x08 | 0x09 => Self::Forbidden,
            _ => Self::Unknown,
        }
    }
}

/// Two integers at most.
const HEADER_BYTES_MAX: usize = 16;

/// Collects a frame's header from bytes that come in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderReader {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl HeaderReader {
    /// Takes bytes from the front of `input`: the frame's kind, the bytes of its payload, and how
    /// many bytes were taken of this input. `None` when all were taken and more are needed.
    pub(super) fn take(&mut self, input: &[u8]) -> (Option<(Kind, u64)>, usize) {
        for (taken, byte) in input.iter().enumerate() {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = *byte;
                self.len += 1;
            }
            if let Some(header) = self.whole() {
                self.len = 0;
                return (Some(header), taken + 1);
            }
        }
        (None, input.len())
    }

    fn whole(&self) -> Option<(Kind, u64)> {
        let bytes = self.bytes.get(..self.len)?;
        let (kind, first) = varint::read(bytes)?;
        let (len, _) = varint::read(bytes.get(first..)?)?;
        Some((Kind::of(kind), len))
    }

    /// Whether no byte of a header waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// What framing may cost beyond what it carries, per stream, in bytes: every frame counts for
/// [`FRAME_COST`], what is ignored for its length, and data pays back. Stops a body of empty or
/// one-byte frames and streams of nothing but unknown frames.
const OVERHEAD_BYTES_MAX: u64 = 16 * 1024;
const FRAME_COST: u64 = 16;

/// The balance of framing and payload on one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overhead(u64);

impl Overhead {
    /// A frame began; `useful` bytes of its payload are data, `ignored` are for nobody.
    pub(super) fn frame(&mut self, useful: u64, ignored: u64) -> Result<(), Fault> {
        self.0 = self
            .0
            .saturating_add(FRAME_COST)
            .saturating_add(ignored)
            .saturating_sub(useful.saturating_mul(2));
        if self.0 > OVERHEAD_BYTES_MAX {
            return Err(Fault::Connection(Code::ExcessiveLoad));
        }
        Ok(())
    }

    /// The peer did something useful elsewhere that justifies a few frames here.
    pub(super) const fn forgive(&mut self, bytes: u64) {
        self.0 = self.0.saturating_sub(bytes);
    }
}
