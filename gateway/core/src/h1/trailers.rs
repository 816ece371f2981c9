//! Collecting a trailer section: bounded, judged line by line, usually dropped.
//!
//! Trailers are rare, so their section is gathered whole and tokenised by `httparse`; what that
//! would let through (a bare LF) never gets that far.

use crate::call::HeaderLines;
use crate::h1::error::H1Error;
use crate::h1::scan;
use crate::limits::{MAX_FIELDS, MAX_TRAILER_BYTES};

/// The bytes of a trailer section so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    bytes: Vec<u8>,
}

impl Section {
    /// Takes one byte; whether it was the last one of the section.
    pub(super) fn take(&mut self, byte: u8) -> Result<bool, H1Error> {
        let previous = self.bytes.last().copied();
        if byte == b'\n' && previous != Some(b'\r') {
            return Err(H1Error::BareLf);
        }
        if previous == Some(b'\r') && byte != b'\n' {
            return Err(H1Error::BareCr);
        }
        if self.bytes.len() >= MAX_TRAILER_BYTES {
            return Err(H1Error::TrailerTooLarge);
        }
        self.bytes.push(byte);
        let last = self.bytes == b"\r\n" || self.bytes.ends_with(b"\r\n\r\n");
        if last {
            self.check()?;
        }
        Ok(last)
    }

    fn check(&self) -> Result<(), H1Error> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(&self.bytes, &mut fields) {
            Ok(httparse::Status::Complete((len, _))) if len == self.bytes.len() => Ok(()),
            Err(httparse::Error::TooManyHeaders) => Err(H1Error::TooManyFields),
            _ => Err(H1Error::BadTrailer),
        }
    }

    /// The fields that may be used after the body has ended. Those that frame, route or
    /// authenticate a message come too late to be believed and are left out (RFC 9110 §6.5.1).
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.bytes.split(|b| *b == b'\n');
        lines.filter_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = scan::trim(value.strip_suffix(b"\r")?.get(1..)?);
            is_allowed(name).then_some((name, value))
        })
    }
}

/// Trailer fields as the lines `name: value CRLF`, names in lower case: how they pass from one wire
/// to the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrailerLines<'a>(pub &'a [u8]);

impl<'a> TrailerLines<'a> {
    /// Name and value of every field.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line.get(..colon)?, line.get(colon + 2..)?))
        })
    }
}

impl HeaderLines for TrailerLines<'_> {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut named = self.iter().filter(|(n, _)| *n == name.as_bytes());
        named.any(|(_, value)| visit(value))
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.iter().filter(|(n, _)| *n == name.as_bytes());
        named.next().map(|(_, value)| value)
    }
}

/// Whether a field may come in a trailer section, by its name in any case.
pub(crate) fn is_allowed(name: &[u8]) -> bool {
    !FORBIDDEN
        .iter()
        .any(|forbidden| forbidden.eq_ignore_ascii_case(name))
        && !name
            .get(..8)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"x-envoy-"))
        && !name
            .get(..12)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"))
}

/// Fields without meaning in a trailer section, or with too much.
const FORBIDDEN: [&[u8]; 20] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"proxy-authorization",
    b"proxy-connection",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-request-id",
];
