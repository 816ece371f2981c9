//! Request heads and trailers that arrive as field sections (HTTP/2, HTTP/3) instead of text.
//!
//! A section's lines are written into one buffer as `name: value CRLF`, checked, and indexed, so
//! that everything behind this point (rules, edits, logs, the HTTP/1 writer) sees the one form it
//! knows. What the RFCs call malformed is refused here and never repaired: what passes is safe to
//! write as HTTP/1 (RFC 9113 §8.2 and §8.3, RFC 9114 §4.2 and §4.3 say the same of both).

use std::ops::Range;

use crate::authority;
use crate::call::Scheme;
use crate::h1::{
    BodyKind, H1Error, HeaderIndex, KnownHeader, RequestHead, Span, TargetForm, Upgrade, Version,
    content_length, is_trailer, scan,
};
use crate::limits::{Http1Profile, MAX_FIELDS, MAX_TRAILER_BYTES, Underscores};
use crate::method::Method;

/// Cookie lines that one head may be cut into; browsers send one for each cookie.
const COOKIE_CRUMBS_MAX: usize = MAX_FIELDS;

/// Why a section is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionError {
    /// The message is malformed: its stream is reset, nobody sees it.
    Malformed,
    /// A well-formed request that we do not serve: it is answered.
    Refused(H1Error),
}

impl From<H1Error> for SectionError {
    fn from(error: H1Error) -> Self {
        Self::Refused(error)
    }
}

/// Pseudo-header fields of a request, each at most once.
#[derive(Clone, Debug, Default)]
struct Pseudo {
    method: Option<Range<usize>>,
    scheme: Option<Range<usize>>,
    authority: Option<Range<usize>>,
    path: Option<Range<usize>>,
    protocol: Option<Range<usize>>,
}

/// Gathers the lines of one request head.
#[derive(Debug, Default)]
pub struct HeadSection {
    pseudo: Pseudo,
    /// A regular field came: no pseudo-header field may follow.
    regular: bool,
    fields: usize,
    /// Cookie crumbs; one line is made of them (RFC 9113 §8.2.3, RFC 9114 §4.2.1).
    crumbs: Vec<Range<usize>>,
}

impl HeadSection {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the line that was appended to `buf` last, as `name: value CRLF`.
    ///
    /// # Errors
    /// The line, or the section with it, is not acceptable.
    pub fn line(
        &mut self,
        buf: &[u8],
        index: &mut HeaderIndex,
        profile: &Http1Profile,
        name: Range<usize>,
        value: Range<usize>,
    ) -> Result<(), SectionError> {
        let name_text = buf.get(name.clone()).unwrap_or_default();
        let value_text = buf.get(value.clone()).unwrap_or_default();
        if !is_value(value_text) {
            return Err(SectionError::Malformed);
        }
        if name_text.first() == Some(&b':') {
            if self.regular {
                return Err(SectionError::Malformed);
            }
            return self.pseudo(name_text, value);
        }
        self.regular = true;
        check_name(name_text)?;
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(H1Error::TooManyFields.into());
        }
        if profile.underscores == Underscores::Reject && name_text.contains(&b'_') {
            return Err(H1Error::Underscore.into());
        }
        let known = KnownHeader::of(name_text);
        match known {
            Some(KnownHeader::Cookie) if self.crumbs.len() < COOKIE_CRUMBS_MAX => {
                self.crumbs.push(value);
                return Ok(());
            }
            Some(KnownHeader::Te) if !value_text.eq_ignore_ascii_case(b"trailers") => {
                return Err(SectionError::Malformed);
            }
            Some(KnownHeader::Te | KnownHeader::Host) => {}
            Some(KnownHeader::ContentLength) if index.has(KnownHeader::ContentLength) => {
                return Err(SectionError::Malformed);
            }
            Some(known) if is_of_the_connection(known) => return Err(SectionError::Malformed),
            _ => {}
        }
        index.take_line(known, name, value);
        Ok(())
    }

    fn pseudo(&mut self, name: &[u8], value: Range<usize>) -> Result<(), SectionError> {
        let place = match name {
            b":method" => &mut self.pseudo.method,
            b":scheme" => &mut self.pseudo.scheme,
            b":authority" => &mut self.pseudo.authority,
            b":path" => &mut self.pseudo.path,
            b":protocol" => &mut self.pseudo.protocol,
            _ => return Err(SectionError::Malformed),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(SectionError::Malformed),
        }
    }

    /// Draws the conclusions once every line has come. `ended` says that the message has: it has no
    /// body then.
    ///
    /// # Errors
    /// The head is not acceptable.
    pub fn finish(
        mut self,
        buf: &mut Vec<u8>,
        index: &mut HeaderIndex,
        profile: &Http1Profile,
        version: Version,
        ended: bool,
    ) -> Result<RequestHead, SectionError> {
        self.join_crumbs(buf, index)?;
        let body = declared(buf, index, ended)?;
        let (authority, host, port) = self.authority(buf, index)?;
        let method_text = self.pseudo.method.clone().ok_or(SectionError::Malformed)?;
        let method_bytes = buf.get(method_text.clone()).unwrap_or_default();
        if !scan::is_token_text(method_bytes) {
            return Err(SectionError::Malformed);
        }
        let method =
            Method::parse(method_bytes, &profile.extra_methods).ok_or(H1Error::UnknownMethod)?;
        let mut head = RequestHead {
            method,
            method_text: Span::from(method_text),
            target: Span::default(),
            form: TargetForm::Origin,
            authority,
            host,
            port,
            version,
            body,
            keep_alive: true,
            expect_continue: expects(buf, index)?,
            upgrade: None,
            te_trailers: index.has(KnownHeader::Te),
            drop: index.per_hop(),
        };
        if method == Method::Connect {
            self.connect(buf, &mut head, profile)?;
        } else {
            self.target(buf, &mut head, profile)?;
        }
        match method {
            Method::Trace => Err(H1Error::Trace.into()),
            _ => Ok(head),
        }
    }

    /// Puts the crumbs together into one line.
    fn join_crumbs(
        &mut self,
        buf: &mut Vec<u8>,
        index: &mut HeaderIndex,
    ) -> Result<(), SectionError> {
        let mut crumbs = std::mem::take(&mut self.crumbs).into_iter();
        let Some(first) = crumbs.next() else {
            return Ok(());
        };
        let mut cookie = buf.get(first).unwrap_or_default().to_vec();
        for crumb in crumbs {
            cookie.extend_from_slice(b"; ");
            cookie.extend_from_slice(buf.get(crumb).unwrap_or_default());
        }
        Ok(index.push(buf, b"cookie", &cookie)?)
    }

    /// Authority, host and port: of `:authority` or `host`, which must agree if both are there.
    fn authority(
        &self,
        buf: &[u8],
        index: &HeaderIndex,
    ) -> Result<(Span, Span, Option<u16>), SectionError> {
        let field = index.first(KnownHeader::Host).map(|(_, field)| field.value);
        if index.is_repeated(KnownHeader::Host) {
            return Err(SectionError::Malformed);
        }
        let pseudo = self.pseudo.authority.clone().map(Span::from);
        let span = match (pseudo, field) {
            (Some(pseudo), Some(field)) if pseudo.of(buf) != field.of(buf) => {
                return Err(SectionError::Malformed);
            }
            (Some(span), _) | (None, Some(span)) => span,
            (None, None) => return Err(SectionError::Malformed),
        };
        let parts = authority::parse(span.of(buf)).map_err(|_| SectionError::Malformed)?;
        let host = Span::from(span.start()..span.start() + parts.host.len());
        Ok((span, host, parts.port))
    }

    fn target(
        &self,
        buf: &[u8],
        head: &mut RequestHead,
        profile: &Http1Profile,
    ) -> Result<(), SectionError> {
        if self.pseudo.protocol.is_some() {
            return Err(SectionError::Malformed);
        }
        let path = self.path(buf, profile)?;
        head.form = match (path.of(buf), head.method) {
            ([b'/', ..], _) => TargetForm::Origin,
            (b"*", Method::Options) => TargetForm::Asterisk,
            _ => return Err(SectionError::Malformed),
        };
        head.target = path;
        Ok(())
    }

    /// Scheme and path, which every request but a plain CONNECT has.
    fn path(&self, buf: &[u8], profile: &Http1Profile) -> Result<Span, SectionError> {
        let scheme = self.pseudo.scheme.clone().ok_or(SectionError::Malformed)?;
        let path = Span::from(self.pseudo.path.clone().ok_or(SectionError::Malformed)?);
        if path.is_empty() || scan::visible(path.of(buf)) != path.len() {
            return Err(SectionError::Malformed);
        }
        let scheme = buf.get(scheme).unwrap_or_default();
        // A proxy that ends TLS in front of a cleartext listener may send the client's.
        let known = [Scheme::Http, Scheme::Https]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known.as_str().as_bytes()));
        let own = scheme.eq_ignore_ascii_case(profile.scheme.as_str().as_bytes());
        if !known || (!own && profile.scheme == Scheme::Https) {
            return Err(H1Error::BadScheme.into());
        }
        Ok(path)
    }

    /// A tunnel to a host (RFC 9110 §9.3.6), or a WebSocket (RFC 8441, RFC 9220), which is from
    /// here on what it would have been in HTTP/1: a GET that asks for an upgrade.
    fn connect(
        &self,
        buf: &mut Vec<u8>,
        head: &mut RequestHead,
        profile: &Http1Profile,
    ) -> Result<(), SectionError> {
        let Some(protocol) = self.pseudo.protocol.clone() else {
            if self.pseudo.scheme.is_some() || self.pseudo.path.is_some() || head.port.is_none() {
                return Err(SectionError::Malformed);
            }
            head.form = TargetForm::Authority;
            head.target = head.authority;
            head.body = BodyKind::None;
            return Ok(());
        };
        head.target = self.path(buf, profile)?;
        if head.target.of(buf).first() != Some(&b'/') {
            return Err(SectionError::Malformed);
        }
        if buf.get(protocol).unwrap_or_default() != b"websocket" {
            return Err(H1Error::UnknownUpgrade.into());
        }
        if matches!(head.body, BodyKind::Length(_)) {
            return Err(H1Error::BadUpgrade.into());
        }
        let start = buf.len();
        buf.extend_from_slice(b"GET");
        head.method = Method::Get;
        head.method_text = Span::from(start..buf.len());
        head.upgrade = Some(Upgrade::WebSocket);
        head.body = BodyKind::None;
        Ok(())
    }
}

/// The framing: what `content-length` says, nothing after the end, chunks else.
fn declared(buf: &[u8], index: &HeaderIndex, ended: bool) -> Result<BodyKind, SectionError> {
    let length = index.value(buf, KnownHeader::ContentLength);
    let length = length.map(content_length).transpose();
    match (length.map_err(|_| SectionError::Malformed)?, ended) {
        (Some(0), _) | (None, true) => Ok(BodyKind::None),
        (Some(_), true) => Err(SectionError::Malformed),
        (Some(length), false) => Ok(BodyKind::Length(length)),
        (None, false) => Ok(BodyKind::Chunked),
    }
}

/// Only `100-continue` exists (RFC 9110 §10.1.1).
fn expects(buf: &[u8], index: &HeaderIndex) -> Result<bool, SectionError> {
    match index.value(buf, KnownHeader::Expect) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(H1Error::BadExpect.into()),
    }
}

/// A value has no control characters, and no white space around it: a peer that reads it as
/// HTTP/1 would strip that, so rules must not see another value than the upstream.
fn is_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    scan::text(value) == value.len() && !is_space(value.first()) && !is_space(value.last())
}

/// A token in lower case.
fn check_name(name: &[u8]) -> Result<(), SectionError> {
    let upper = name.iter().any(u8::is_ascii_uppercase);
    if upper || !scan::is_token_text(name) {
        return Err(SectionError::Malformed);
    }
    Ok(())
}

/// Fields that only HTTP/1 has a use for.
const fn is_of_the_connection(known: KnownHeader) -> bool {
    matches!(
        known,
        KnownHeader::Connection
            | KnownHeader::KeepAlive
            | KnownHeader::ProxyConnection
            | KnownHeader::TransferEncoding
            | KnownHeader::Upgrade
    )
}

/// Checks a trailer field and appends it to `out` as a line; one that comes too late to be believed
/// (it frames, routes or authenticates) is left out.
///
/// # Errors
/// A pseudo-header field, a field of the connection, or a line that is malformed; too many bytes.
pub fn take_trailer(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), SectionError> {
    check_name(name)?;
    let of_the_connection = KnownHeader::of(name).is_some_and(is_of_the_connection);
    if of_the_connection || !is_value(value) {
        return Err(SectionError::Malformed);
    }
    if out.len() + name.len() + value.len() + 4 > MAX_TRAILER_BYTES {
        return Err(H1Error::TrailerTooLarge.into());
    }
    if is_trailer(name) {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}
