//! Encoded field sections to the heads and trailers that the rest of the gateway knows.

use super::qpack::{Decoder, LineError, Malformed};
use super::{Code, Fault};
use crate::h1::{H1Error, HeaderIndex, RequestHead, Version};
use crate::limits::{Http1Profile, MAX_FIELDS, MAX_HEAD_BYTES, MAX_TRAILER_BYTES};
use crate::section::{HeadSection, SectionError, take_trailer};

/// Why a section does not become a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The stream or the connection ends.
    Fault(Fault),
    /// The request is answered with an error.
    Refused(H1Error),
}

impl From<SectionError> for HeadError {
    fn from(error: SectionError) -> Self {
        match error {
            SectionError::Malformed => Self::Fault(Fault::Stream(Code::Message)),
            SectionError::Refused(error) => Self::Refused(error),
        }
    }
}

impl From<Malformed> for HeadError {
    fn from(_: Malformed) -> Self {
        Self::Fault(Fault::Connection(Code::DecompressionFailed))
    }
}

/// What a field line costs beyond its bytes, in the size that we announce (RFC 9114 §4.2.2).
const LINE_COST: usize = 32;

/// Reads a request's head: its lines go to `buf`, which must be empty, and are described by
/// `index`. `ended` says that the stream ends behind the section.
///
/// # Errors
/// The rule that was broken.
pub fn parse_head(
    section: &[u8],
    buf: &mut Vec<u8>,
    index: &mut HeaderIndex,
    profile: &Http1Profile,
    ended: bool,
) -> Result<RequestHead, HeadError> {
    index.clear();
    let mut decoder = Decoder::new(section)?;
    let mut head = HeadSection::new();
    let mut size = 0_usize;
    loop {
        let line = match decoder.next(buf, MAX_HEAD_BYTES) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(LineError::Malformed) => return Err(Malformed.into()),
            Err(LineError::TooLong) => return Err(HeadError::Refused(H1Error::HeadTooLarge)),
        };
        size += line.name.len() + line.value.len() + LINE_COST;
        if size > MAX_HEAD_BYTES {
            return Err(HeadError::Refused(H1Error::HeadTooLarge));
        }
        head.line(buf, index, profile, line.name, line.value)?;
    }
    Ok(head.finish(buf, index, profile, Version::Http3, ended)?)
}

/// Reads a trailer section: its lines are appended to `out`.
///
/// # Errors
/// The rule that was broken. Trailers that are too long are an error of the stream: it is too late
/// for an answer.
pub fn parse_trailers(section: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let malformed = Fault::Connection(Code::DecompressionFailed);
    let mut decoder = Decoder::new(section).map_err(|_| malformed)?;
    let mut line_buf = Vec::new();
    for _ in 0..=MAX_FIELDS {
        line_buf.clear();
        let line = match decoder.next(&mut line_buf, MAX_TRAILER_BYTES) {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(LineError::Malformed) => return Err(malformed),
            Err(LineError::TooLong) => break,
        };
        let name = line_buf.get(line.name).unwrap_or_default();
        let value = line_buf.get(line.value).unwrap_or_default();
        match take_trailer(out, name, value) {
            Ok(()) => {}
            Err(SectionError::Malformed) => return Err(Fault::Stream(Code::Message)),
            Err(SectionError::Refused(_)) => break,
        }
    }
    Err(Fault::Stream(Code::ExcessiveLoad))
}
