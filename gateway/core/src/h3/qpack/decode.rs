//! Reading encoded field sections (RFC 9204 §4.5).

use std::ops::Range;

use super::{Malformed, fixed};
use crate::huffman;

/// The largest number that prefixed integers may hold (RFC 9204 §4.1.1 asks for 62 bits).
const INTEGER_MAX: u64 = crate::h3::varint::MAX;

/// One field line, as ranges of the buffer that it was decoded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The name.
    pub(crate) name: Range<usize>,
    /// The value.
    pub(crate) value: Range<usize>,
}

/// Why a line is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineError {
    /// It is malformed.
    Malformed,
    /// It crosses the limit.
    TooLong,
}

impl From<Malformed> for LineError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Reads the field lines of one section.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Begins a section: reads its prefix, which must not refer to a dynamic table.
    ///
    /// # Errors
    /// A required insert count other than 0, a base below 0 (RFC 9204 §4.5.1), or no prefix.
    pub fn new(section: &'a [u8]) -> Result<Self, Malformed> {
        let mut decoder = Self { rest: section };
        let (required, _) = decoder.integer(8)?;
        let (_, flags) = decoder.integer(7)?;
        let negative_base = flags & 0x80 != 0;
        if required != 0 || negative_base {
            return Err(Malformed);
        }
        Ok(decoder)
    }

    /// Appends the next field line to `out` as `name: value CRLF`, unchecked, and says where its
    /// parts lie; `None` at the end of the section. `limit` bounds the length of `out`.
    ///
    /// # Errors
    /// Malformed input, a reference to the dynamic table, an index outside the static one; a line
    /// that crosses the limit.
    pub(crate) fn next(
        &mut self,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Option<Line>, LineError> {
        let Some(first) = self.rest.first().copied() else {
            return Ok(None);
        };
        let from = out.len();
        let (name, value) = match first {
            // indexed field line, T = 1
            0xc0..=0xff => {
                let (name, value) = self.entry(6)?;
                out.extend_from_slice(name);
                let name = from..out.len();
                out.extend_from_slice(SEPARATOR);
                (name, append(out, value))
            }
            // literal with a name of the static table
            0x50..=0x5f | 0x70..=0x7f => {
                let (name, _) = self.entry(4)?;
                out.extend_from_slice(name);
                let name = from..out.len();
                out.extend_from_slice(SEPARATOR);
                (name, self.string(7, out, limit)?)
            }
            // literal with a literal name
            0x20..=0x3f => {
                let name = self.string(3, out, limit)?;
                out.extend_from_slice(SEPARATOR);
                (name, self.string(7, out, limit)?)
            }
            // everything else refers to the dynamic table
            _ => return Err(LineError::Malformed),
        };
        out.extend_from_slice(b"\r\n");
        if out.len() > limit {
            return Err(LineError::TooLong);
        }
        Ok(Some(Line { name, value }))
    }

    fn entry(&mut self, prefix: u32) -> Result<(&'static [u8], &'static [u8]), Malformed> {
        let (index, _) = self.integer(prefix)?;
        let index = usize::try_from(index).map_err(|_| Malformed)?;
        fixed::TABLE.get(index).copied().ok_or(Malformed)
    }

    /// A string literal (RFC 9204 §4.1.2): the bit before the length says whether it is coded.
    fn string(
        &mut self,
        prefix: u32,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Range<usize>, LineError> {
        let (len, flags) = self.integer(prefix)?;
        let coded = flags & (1 << prefix) != 0;
        let len = usize::try_from(len).map_err(|_| Malformed)?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        // A byte is at least five bits, so a coded string is at most 8/5 as long.
        if out.len() + len > limit {
            return Err(LineError::TooLong);
        }
        if coded {
            let from = out.len();
            huffman::decode(text, |byte| out.push(byte)).map_err(|_| Malformed)?;
            return Ok(from..out.len());
        }
        Ok(append(out, text))
    }

    /// A prefixed integer (RFC 7541 §5.1), and the byte that holds its prefix.
    fn integer(&mut self, prefix: u32) -> Result<(u64, u8), Malformed> {
        let (number, first, rest) = integer(self.rest, prefix)?;
        self.rest = rest;
        Ok((number, first))
    }
}

const SEPARATOR: &[u8] = b": ";

fn append(out: &mut Vec<u8>, text: &[u8]) -> Range<usize> {
    let from = out.len();
    out.extend_from_slice(text);
    from..out.len()
}

fn integer(bytes: &[u8], prefix: u32) -> Result<(u64, u8, &[u8]), Malformed> {
    let (first, mut rest) = bytes.split_first().ok_or(Malformed)?;
    let mask = u8::MAX >> (8 - prefix.min(8));
    let mut number = u64::from(first & mask);
    if first & mask != mask {
        return Ok((number, *first, rest));
    }
    // nine bytes of seven bits are more than any number needs
    for shift in (0..63).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Malformed)?;
        rest = after;
        number = number
            .checked_add(u64::from(byte & 0x7f) << shift)
            .filter(|number| *number <= INTEGER_MAX)
            .ok_or(Malformed)?;
        if byte & 0x80 == 0 {
            return Ok((number, *first, rest));
        }
    }
    Err(Malformed)
}
