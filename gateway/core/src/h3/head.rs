//! Encoded field sections to the heads and trailers that the rest of the gateway knows.

use std::ops::Range;

use smallvec::SmallVec;

use super::qpack::{Decoder, Line, LineError, Malformed};
use super::{Code, Fault};
use crate::h1::{
    H1Error, HeaderIndex, Refusal, RequestHead, RequestParts, Version, write_request,
    write_trailers,
};
use crate::limits::{Http1Profile, MAX_FIELDS, MAX_HEAD_BYTES, MAX_TRAILER_BYTES};

/// Why a section does not become a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The stream or the connection ends.
    Fault(Fault),
    /// The request is answered with an error.
    Refused(H1Error),
}

impl From<Refusal> for HeadError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(_) => MALFORMED,
            Refusal::Answered(error) => Self::Refused(error),
        }
    }
}

impl From<Malformed> for HeadError {
    fn from(_: Malformed) -> Self {
        Self::Fault(Fault::Connection(Code::DecompressionFailed))
    }
}

const MALFORMED: HeadError = HeadError::Fault(Fault::Stream(Code::Message));

/// What a field line costs beyond its bytes, in the size that we announce (RFC 9114 §4.2.2).
const LINE_COST: usize = 32;

/// The lines of one section, in the buffer that they were decoded to.
type Lines = SmallVec<[Line; 32]>;

/// Pseudo-header fields of a request.
#[derive(Default)]
struct Pseudo {
    method: Option<Range<usize>>,
    scheme: Option<Range<usize>>,
    authority: Option<Range<usize>>,
    path: Option<Range<usize>>,
    protocol: Option<Range<usize>>,
}

/// What the stream knows of a request beside its section.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// What the listener accepts.
    pub profile: &'a Http1Profile,
    /// The stream ends behind the section.
    pub ended: bool,
    /// Chance for the key of a WebSocket.
    pub nonce: [u8; 16],
}

/// Reads a request's head: its lines go to `buf`, which must be empty, and are described by
/// `index`. `text` is working memory.
///
/// # Errors
/// The rule that was broken.
pub fn parse_head(
    section: &[u8],
    text: &mut Vec<u8>,
    buf: &mut Vec<u8>,
    index: &mut HeaderIndex,
    beside: Beside<'_>,
) -> Result<RequestHead, HeadError> {
    index.clear();
    text.clear();
    let mut lines = Lines::new();
    let mut pseudo = Pseudo::default();
    let mut decoder = Decoder::new(section)?;
    let mut size = 0_usize;
    loop {
        let line = match decoder.next(text, MAX_HEAD_BYTES) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(LineError::Malformed) => return Err(Malformed.into()),
            Err(LineError::TooLong) => return Err(HeadError::Refused(H1Error::HeadTooLarge)),
        };
        size += line.name.len() + line.value.len() + LINE_COST;
        if size > MAX_HEAD_BYTES {
            return Err(HeadError::Refused(H1Error::HeadTooLarge));
        }
        if text.get(line.name.start) == Some(&b':') {
            pseudo.take(text, &line, lines.is_empty())?;
        } else if lines.len() >= MAX_FIELDS {
            return Err(HeadError::Refused(H1Error::TooManyFields));
        } else {
            lines.push(line);
        }
    }
    let parts = pseudo.parts(text, &lines, beside)?;
    let fields = || fields(text, &lines);
    Ok(write_request(buf, index, &parts, fields, beside.profile)?)
}

fn fields<'t>(text: &'t [u8], lines: &'t Lines) -> impl Iterator<Item = (&'t [u8], &'t [u8])> {
    let part = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    lines
        .iter()
        .map(move |line| (part(&line.name), part(&line.value)))
}

impl Pseudo {
    /// Takes one, which must be known, come once, and before all other fields (RFC 9114 §4.3).
    fn take(&mut self, text: &[u8], line: &Line, first: bool) -> Result<(), HeadError> {
        let place = match text.get(line.name.clone()).unwrap_or_default() {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return Err(MALFORMED),
        };
        match place.replace(line.value.clone()) {
            None if first => Ok(()),
            _ => Err(MALFORMED),
        }
    }

    /// What must be there is (RFC 9114 §4.3.1): a scheme, except for a plain CONNECT, and an
    /// authority or a `host`.
    fn parts<'t>(
        &self,
        text: &'t [u8],
        lines: &Lines,
        beside: Beside<'_>,
    ) -> Result<RequestParts<'t>, HeadError> {
        let part = |range: &Option<Range<usize>>| text.get(range.clone()?);
        let method = part(&self.method).ok_or(MALFORMED)?;
        let tunnel = method == b"CONNECT" && self.protocol.is_none();
        let no_host = || !fields(text, lines).any(|(name, _)| name == b"host");
        if (self.scheme.is_none() && !tunnel) || (self.authority.is_none() && no_host()) {
            return Err(MALFORMED);
        }
        Ok(RequestParts {
            method,
            scheme: part(&self.scheme),
            authority: part(&self.authority),
            path: part(&self.path),
            protocol: part(&self.protocol),
            ended: beside.ended,
            version: Version::Http3,
            nonce: beside.nonce,
        })
    }
}

/// Reads a trailer section: its lines are appended to `out`.
///
/// # Errors
/// The rule that was broken. Trailers that are too long are an error of the stream: it is too late
/// for an answer.
pub fn parse_trailers(section: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let malformed = Fault::Connection(Code::DecompressionFailed);
    let too_much = Fault::Stream(Code::ExcessiveLoad);
    let mut decoder = Decoder::new(section).map_err(|_| malformed)?;
    let (mut text, mut lines) = (Vec::new(), Lines::new());
    while let Some(line) = match decoder.next(&mut text, MAX_TRAILER_BYTES) {
        Ok(line) => line,
        Err(LineError::Malformed) => return Err(malformed),
        Err(LineError::TooLong) => return Err(too_much),
    } {
        if lines.len() >= MAX_FIELDS {
            return Err(too_much);
        }
        lines.push(line);
    }
    write_trailers(out, fields(&text, &lines)).map_err(|error| match error {
        H1Error::TooManyFields | H1Error::TrailerTooLarge => too_much,
        _ => Fault::Stream(Code::Message),
    })
}
