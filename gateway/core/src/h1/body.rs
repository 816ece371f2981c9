//! Reading a body: which of the bytes that arrived are payload, and has it ended?
//!
//! The reader never holds payload; it answers with ranges of the caller's buffer, so that bytes
//! go from socket to socket without passing through here. It can stop and go on at any byte.

use std::ops::Range;

use crate::h1::BodyKind;
use crate::h1::error::H1Error;
use crate::h1::scan;
use crate::h1::trailers::Section;
use crate::limits::{MAX_CHUNK_LINE_BYTES, MAX_CHUNK_OVERHEAD_BYTES};

/// What one look at the input found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are dealt with, payload included. Zero without [`Progress::done`]
    /// means that more input is needed.
    pub consumed: usize,
    /// Where in the input the payload lies; empty if these bytes were only framing.
    pub payload: Range<usize>,
    /// The body has ended behind `consumed`.
    pub done: bool,
}

/// The state of one body.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    /// Bytes of the current chunk line.
    line: usize,
    /// Framing bytes beyond what the data justified so far.
    overhead: u64,
    trailers: Section,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    /// Reading a chunk size; whether a digit was seen.
    Size(u64, bool),
    Extension(u64, Extension),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Where in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    Escaped,
    AfterQuoted,
    /// White space behind a value: only another extension may follow.
    Space,
}

impl BodyReader {
    /// A reader at the first byte of a body.
    #[must_use]
    pub fn new(kind: BodyKind) -> Self {
        let state = match kind {
            BodyKind::None | BodyKind::Length(0) => State::Done,
            BodyKind::Length(length) => State::Length(length),
            BodyKind::Chunked => State::Size(0, false),
            BodyKind::UntilClose => State::UntilClose,
        };
        Self {
            state,
            line: 0,
            overhead: 0,
            trailers: Section::default(),
        }
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes still to come, when that is known.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Whether the connection's end is this body's proper end. Otherwise an end before
    /// [`BodyReader::is_done`] means that the body was cut off.
    #[must_use]
    pub fn ends_at_close(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// Trailer fields, after the body has ended, without those that may not be merged.
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.trailers.fields()
    }

    /// Writes the trailer fields as lines, names in lower case.
    pub fn write_trailers(&self, out: &mut Vec<u8>) {
        for (name, value) in self.trailers.fields() {
            out.extend(name.iter().map(u8::to_ascii_lowercase));
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Looks at input that follows everything consumed so far, up to the end of the next payload.
    /// Call again with the rest until it consumes nothing or is done; bytes behind a body's end
    /// are never consumed.
    ///
    /// # Errors
    /// A chunked body that is not exactly what RFC 9112 §7.1 says, or beyond its bounds. The
    /// connection cannot be used again.
    pub fn advance(&mut self, input: &[u8]) -> Result<Progress, H1Error> {
        match self.state {
            State::Done => Ok(Progress {
                done: true,
                ..Progress::default()
            }),
            State::Length(left) => Ok(self.counted(input, left)),
            State::UntilClose => {
                let all = input.len();
                Ok(Progress {
                    consumed: all,
                    payload: 0..all,
                    done: false,
                })
            }
            _ => self.chunked(input),
        }
    }

    fn counted(&mut self, input: &[u8], left: u64) -> Progress {
        let take = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let left = left - as_u64(take);
        self.state = if left == 0 {
            State::Done
        } else {
            State::Length(left)
        };
        Progress {
            consumed: take,
            payload: 0..take,
            done: left == 0,
        }
    }

    fn chunked(&mut self, input: &[u8]) -> Result<Progress, H1Error> {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            if let State::Data(left) = self.state {
                return Ok(self.chunk_data(input, at, left));
            }
            self.framing_byte(*byte)?;
            at += 1;
            if self.state == State::Done {
                return Ok(Progress {
                    consumed: at,
                    payload: at..at,
                    done: true,
                });
            }
        }
        Ok(Progress {
            consumed: at,
            payload: at..at,
            done: false,
        })
    }

    /// The chunk data at `at`; when the last chunk follows at once, that too.
    fn chunk_data(&mut self, input: &[u8], at: usize, left: u64) -> Progress {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        let rest = input.len() - at;
        let take = usize::try_from(left).map_or(rest, |left| left.min(rest));
        let end = at + take;
        let left = left - as_u64(take);
        self.state = if left == 0 {
            State::DataCr
        } else {
            State::Data(left)
        };
        let ended = left == 0 && input.get(end..).is_some_and(|tail| tail.starts_with(END));
        if ended {
            self.state = State::Done;
        }
        Progress {
            consumed: if ended { end + END.len() } else { end },
            payload: at..end,
            done: ended,
        }
    }

    fn framing_byte(&mut self, byte: u8) -> Result<(), H1Error> {
        self.state = match self.state {
            State::Size(size, seen) => self.size_byte(byte, size, seen)?,
            State::Extension(size, at) => self.extension_byte(byte, size, at)?,
            State::SizeLf(size) => self.size_line_end(byte, size)?,
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => State::Size(0, false),
            State::DataCr | State::DataLf => return Err(H1Error::BadChunkEnd),
            State::Trailers if self.trailers.take(byte)? => State::Done,
            other => other,
        };
        Ok(())
    }

    fn size_byte(&mut self, byte: u8, size: u64, seen: bool) -> Result<State, H1Error> {
        self.count_line_byte()?;
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if seen => return Ok(State::SizeLf(size)),
            b';' if seen => return Ok(State::Extension(size, Extension::BeforeName)),
            b'\n' => return Err(H1Error::BareLf),
            _ => return Err(H1Error::BadChunkSize),
        };
        let size = size.checked_mul(16).ok_or(H1Error::BadChunkSize)?;
        Ok(State::Size(size | u64::from(digit), true))
    }

    fn extension_byte(&mut self, byte: u8, size: u64, at: Extension) -> Result<State, H1Error> {
        self.count_line_byte()?;
        match byte {
            b'\n' => Err(H1Error::BareLf),
            b'\r' if at.may_end() => Ok(State::SizeLf(size)),
            _ => match at.next(byte) {
                Some(next) => Ok(State::Extension(size, next)),
                None => Err(H1Error::BadChunkExtension),
            },
        }
    }

    fn count_line_byte(&mut self) -> Result<(), H1Error> {
        self.line += 1;
        if self.line > MAX_CHUNK_LINE_BYTES {
            Err(H1Error::ChunkOverhead)
        } else {
            Ok(())
        }
    }

    fn size_line_end(&mut self, byte: u8, size: u64) -> Result<State, H1Error> {
        if byte != b'\n' {
            return Err(H1Error::BareCr);
        }
        let earned = size.saturating_mul(2).saturating_add(16);
        self.overhead = self
            .overhead
            .saturating_add(as_u64(self.line))
            .saturating_sub(earned);
        self.line = 0;
        if self.overhead > MAX_CHUNK_OVERHEAD_BYTES {
            return Err(H1Error::ChunkOverhead);
        }
        Ok(if size == 0 {
            State::Trailers
        } else {
            State::Data(size)
        })
    }
}

impl Extension {
    const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::AfterQuoted)
    }

    fn next(self, byte: u8) -> Option<Self> {
        let space = matches!(byte, b' ' | b'\t');
        match self {
            Self::BeforeName | Self::BeforeValue if space => Some(self),
            Self::BeforeName | Self::Name if scan::is_token(byte) => Some(Self::Name),
            Self::Name | Self::AfterName if byte == b'=' => Some(Self::BeforeValue),
            Self::Name | Self::AfterName if space => Some(Self::AfterName),
            Self::BeforeValue if byte == b'"' => Some(Self::Quoted),
            Self::BeforeValue | Self::Value if scan::is_token(byte) => Some(Self::Value),
            Self::Quoted if byte == b'"' => Some(Self::AfterQuoted),
            Self::Quoted if byte == b'\\' => Some(Self::Escaped),
            Self::Quoted | Self::Escaped if is_quotable(byte) => Some(Self::Quoted),
            Self::Name | Self::AfterName | Self::Value | Self::AfterQuoted | Self::Space
                if byte == b';' =>
            {
                Some(Self::BeforeName)
            }
            Self::Value | Self::AfterQuoted | Self::Space if space => Some(Self::Space),
            _ => None,
        }
    }
}

const fn is_quotable(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// What follows the data of the last chunk, trailers left out.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The line before a chunk's data; CRLF follows the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    bytes: [u8; 18],
    start: u8,
}

impl ChunkHead {
    /// The line for `length` bytes of data, which must not be zero: that would end the body.
    #[must_use]
    pub fn new(length: u64) -> Self {
        let mut bytes = *b"0000000000000000\r\n";
        let mut start = 16;
        let mut left = length;
        for byte in bytes.iter_mut().take(16).rev() {
            *byte = match left & 15 {
                digit @ 0..=9 => b'0' + u8::try_from(digit).unwrap_or(0),
                digit => b'a' + u8::try_from(digit - 10).unwrap_or(0),
            };
            left >>= 4;
            start -= 1;
            if left == 0 {
                break;
            }
        }
        Self { bytes, start }
    }

    /// The line.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(usize::from(self.start)..)
            .unwrap_or_default()
    }
}
