//! Heads that came in another form than HTTP/1's: HTTP/2 and HTTP/3 (RFC 9113 §8.3, RFC 9114 §4.3).
//!
//! A request is written down once as field lines with their index, judged by the rules that hold
//! for HTTP/1 as well, and from then on nobody asks what wire it came by. What RFC 9113 §8.1.1
//! calls malformed ends the stream; what is well-formed and not wanted is answered.

mod response;

use crate::authority;
use crate::h1::error::H1Error;
use crate::h1::field::{HeaderIndex, Span};
use crate::h1::known::KnownHeader;
use crate::h1::request::{RequestHead, TargetForm, Upgrade, takes_trailers};
use crate::h1::trailers::is_allowed;
use crate::h1::{BodyKind, Version, framing, scan};
use crate::limits::{Http1Profile, MAX_FIELDS, MAX_HEAD_BYTES, MAX_TRAILER_BYTES, Underscores};
use crate::method::Method;

pub use response::write_response;

/// What a request says in its pseudo-fields, and what its wire knows besides.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:scheme`.
    pub scheme: Option<&'a [u8]>,
    /// `:authority`.
    pub authority: Option<&'a [u8]>,
    /// `:path`.
    pub path: Option<&'a [u8]>,
    /// `:protocol` of an extended CONNECT (RFC 8441, RFC 9220).
    pub protocol: Option<&'a [u8]>,
    /// The stream ended with the head: there is no body.
    pub ended: bool,
    /// The wire's version.
    pub version: Version,
    /// Chance for the key that a WebSocket needs on an HTTP/1 connection.
    pub nonce: [u8; 16],
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is malformed: its stream is reset with a protocol error, the connection lives on.
    Malformed(H1Error),
    /// It is answered with the error's status.
    Answered(H1Error),
}

/// Writes a request's head behind what `buf` holds (nothing) and describes it in `index` (empty).
/// `fields` goes through the fields from the start each time it is called.
/// Crumbs of `cookie` become one field; a `host` field gives way to `:authority`; an extended
/// CONNECT for WebSocket becomes the GET with `upgrade` that HTTP/1 has for it.
///
/// # Errors
/// The rule that was broken.
pub fn write_request<'f, I: Iterator<Item = (&'f [u8], &'f [u8])>>(
    buf: &mut Vec<u8>,
    index: &mut HeaderIndex,
    parts: &RequestParts<'_>,
    fields: impl Fn() -> I,
    profile: &Http1Profile,
) -> Result<RequestHead, Refusal> {
    let upgrade = upgrade(parts)?;
    let method = method(parts, upgrade, profile)?;
    check_scheme(parts, method, profile)?;
    let method_text = if upgrade.is_some() {
        append(buf, b"GET")
    } else {
        append(buf, parts.method)
    };
    let (form, target) = target(buf, parts, method)?;
    write_authority(buf, index, parts, fields())?;
    write_fields(buf, index, fields, profile)?;
    if upgrade.is_some() {
        write_handshake(buf, index, parts.nonce)?;
    }
    if buf.len() > MAX_HEAD_BYTES {
        return Err(Refusal::Answered(H1Error::HeadTooLarge));
    }
    let authority = index.first(KnownHeader::Host).map(|(_, field)| field.value);
    let authority = authority.unwrap_or_default();
    let address = authority::parse(authority.of(buf));
    let address = address.map_err(|_| Refusal::Malformed(H1Error::BadHost))?;
    let (host_len, port) = (address.host.len(), address.port);
    if form == TargetForm::Authority && port.is_none() {
        return Err(Refusal::Malformed(H1Error::BadTarget));
    }
    let body = body(buf, index, parts, method, upgrade)?;
    Ok(RequestHead {
        method,
        method_text,
        target: target.unwrap_or(authority),
        form,
        authority,
        host: Span::new(authority.start(), authority.start() + host_len),
        port,
        version: parts.version,
        body,
        keep_alive: true,
        expect_continue: expectation(buf, index)?,
        upgrade,
        te_trailers: takes_trailers(buf, index),
        drop: index.per_hop(),
    })
}

/// Writes trailer fields as lines behind what `out` holds, without those that come too late to be
/// believed.
///
/// # Errors
/// A malformed field, or more of them than a head may have.
pub fn write_trailers<'f>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<(), H1Error> {
    let begin = out.len();
    for (count, (name, value)) in fields.enumerate() {
        check_name(name)?;
        check_value(value)?;
        if count >= MAX_FIELDS {
            return Err(H1Error::TooManyFields);
        }
        if !is_allowed(name) {
            continue;
        }
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
        if out.len() - begin > MAX_TRAILER_BYTES {
            return Err(H1Error::TrailerTooLarge);
        }
    }
    Ok(())
}

fn append(buf: &mut Vec<u8>, text: &[u8]) -> Span {
    let start = buf.len();
    buf.extend_from_slice(text);
    Span::new(start, buf.len())
}

/// Only WebSocket is spoken inside of an extended CONNECT.
fn upgrade(parts: &RequestParts<'_>) -> Result<Option<Upgrade>, Refusal> {
    match parts.protocol {
        None => Ok(None),
        Some(_) if parts.method != b"CONNECT" => Err(Refusal::Malformed(H1Error::BadUpgrade)),
        Some(protocol) if protocol.eq_ignore_ascii_case(b"websocket") => {
            Ok(Some(Upgrade::WebSocket))
        }
        Some(_) => Err(Refusal::Answered(H1Error::UnknownUpgrade)),
    }
}

fn method(
    parts: &RequestParts<'_>,
    upgrade: Option<Upgrade>,
    profile: &Http1Profile,
) -> Result<Method, Refusal> {
    if upgrade.is_some() {
        return Ok(Method::Get);
    }
    if !scan::is_token_text(parts.method) {
        return Err(Refusal::Malformed(H1Error::UnknownMethod));
    }
    match Method::parse(parts.method, &profile.extra_methods) {
        None => Err(Refusal::Answered(H1Error::UnknownMethod)),
        Some(Method::Trace) => Err(Refusal::Answered(H1Error::Trace)),
        Some(method) => Ok(method),
    }
}

/// `https` may come in clear, behind something that took the TLS off; `http` cannot come by TLS.
fn check_scheme(
    parts: &RequestParts<'_>,
    method: Method,
    profile: &Http1Profile,
) -> Result<(), Refusal> {
    match parts.scheme {
        Some(_) if method == Method::Connect => Err(Refusal::Malformed(H1Error::BadScheme)),
        Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => Ok(()),
        Some(scheme) if !scheme.eq_ignore_ascii_case(b"http") => {
            Err(Refusal::Malformed(H1Error::BadScheme))
        }
        Some(scheme) if !scheme.eq_ignore_ascii_case(profile.scheme.as_str().as_bytes()) => {
            Err(Refusal::Answered(H1Error::BadScheme))
        }
        _ => Ok(()),
    }
}

/// Form and place of the target; no place for CONNECT, whose target is the authority.
fn target(
    buf: &mut Vec<u8>,
    parts: &RequestParts<'_>,
    method: Method,
) -> Result<(TargetForm, Option<Span>), Refusal> {
    let malformed = Err(Refusal::Malformed(H1Error::BadTarget));
    if method == Method::Connect {
        return match parts.path {
            None => Ok((TargetForm::Authority, None)),
            Some(_) => malformed,
        };
    }
    let path = parts.path.unwrap_or_default();
    let form = match path {
        [b'/', ..] if scan::visible(path) == path.len() => TargetForm::Origin,
        b"*" if method == Method::Options => TargetForm::Asterisk,
        _ => return malformed,
    };
    if path.len() > MAX_HEAD_BYTES {
        return Err(Refusal::Answered(H1Error::RequestLineTooLong));
    }
    Ok((form, Some(append(buf, path))))
}

/// `host` from `:authority`, or as it was sent when there is none; both must agree.
fn write_authority<'f>(
    buf: &mut Vec<u8>,
    index: &mut HeaderIndex,
    parts: &RequestParts<'_>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<(), Refusal> {
    let mut hosts = fields.filter(|(name, _)| *name == b"host");
    let host = hosts.next().map(|(_, value)| value);
    if hosts.next().is_some() {
        return Err(Refusal::Malformed(H1Error::DuplicateHost));
    }
    let authority = match (parts.authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Refusal::Malformed(H1Error::BadHost));
        }
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => return Err(Refusal::Answered(H1Error::MissingHost)),
    };
    authority::parse(authority).map_err(|_| Refusal::Malformed(H1Error::BadHost))?;
    let pushed = index.push(buf, b"host", authority);
    pushed.map_err(Refusal::Answered)
}

fn write_fields<'f, I: Iterator<Item = (&'f [u8], &'f [u8])>>(
    buf: &mut Vec<u8>,
    index: &mut HeaderIndex,
    fields: impl Fn() -> I,
    profile: &Http1Profile,
) -> Result<(), Refusal> {
    let mut crumbs = fields().filter(|(name, _)| *name == b"cookie");
    let crumbled = crumbs.next().is_some() && crumbs.next().is_some();
    let mut joined = false;
    for (name, value) in fields() {
        check_name(name).map_err(Refusal::Malformed)?;
        check_value(value).map_err(Refusal::Malformed)?;
        check_hop(name, value).map_err(Refusal::Malformed)?;
        if profile.underscores == Underscores::Reject && name.contains(&b'_') {
            return Err(Refusal::Answered(H1Error::Underscore));
        }
        if name == b"host" || (joined && name == b"cookie") {
            continue;
        }
        let pushed = if crumbled && name == b"cookie" {
            joined = true;
            index.push(buf, name, &join_cookies(fields()))
        } else {
            index.push(buf, name, value)
        };
        pushed.map_err(Refusal::Answered)?;
    }
    Ok(())
}

/// The crumbs of a cookie, as one value (RFC 9113 §8.2.3).
fn join_cookies<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Vec<u8> {
    let mut whole = Vec::new();
    // An empty crumb says nothing, and would leave the separator at an end of the value.
    for (_, crumb) in fields.filter(|(name, crumb)| *name == b"cookie" && !crumb.is_empty()) {
        if !whole.is_empty() {
            whole.extend_from_slice(b"; ");
        }
        whole.extend_from_slice(crumb);
    }
    whole
}

/// A token without upper-case letters (RFC 9113 §8.2.1).
fn check_name(name: &[u8]) -> Result<(), H1Error> {
    let lower = !name.iter().any(u8::is_ascii_uppercase);
    if lower && scan::is_token_text(name) {
        Ok(())
    } else {
        Err(H1Error::BadFieldName)
    }
}

/// No control characters, and no white space at either end (RFC 9113 §8.2.1).
fn check_value(value: &[u8]) -> Result<(), H1Error> {
    if scan::text(value) == value.len() && scan::trim(value).len() == value.len() {
        Ok(())
    } else {
        Err(H1Error::BadFieldValue)
    }
}

/// Fields of an HTTP/1 connection have no place here (RFC 9113 §8.2.2).
fn check_hop(name: &[u8], value: &[u8]) -> Result<(), H1Error> {
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"upgrade" | b"http2-settings" => {
            Err(H1Error::BadConnection)
        }
        b"transfer-encoding" => Err(H1Error::BadTransferEncoding),
        b"te" if !value.eq_ignore_ascii_case(b"trailers") => Err(H1Error::BadTransferEncoding),
        _ => Ok(()),
    }
}

/// What an HTTP/1 origin wants to see of a WebSocket handshake; `connection` and `upgrade` are
/// written with the head, and are here for rules that ask for them.
fn write_handshake(
    buf: &mut Vec<u8>,
    index: &mut HeaderIndex,
    nonce: [u8; 16],
) -> Result<(), Refusal> {
    let mut push = |name: &[u8], value: &[u8]| index.push(buf, name, value);
    push(b"connection", b"Upgrade").map_err(Refusal::Answered)?;
    push(b"upgrade", b"websocket").map_err(Refusal::Answered)?;
    let pushed = push(b"sec-websocket-key", &base64(nonce));
    pushed.map_err(Refusal::Answered)
}

/// 16 bytes in base64.
fn base64(bytes: [u8; 16]) -> [u8; 24] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let number = u128::from_be_bytes(bytes);
    let mut text = [b'='; 24];
    for (place, letter) in text.iter_mut().take(22).enumerate() {
        let shift = 122_usize.saturating_sub(place * 6);
        // The last letter stands for two bits and four that are zero.
        let bits = if place < 21 {
            number >> shift
        } else {
            number << 4
        };
        let at = usize::try_from(bits & 63).unwrap_or(0);
        *letter = LETTERS.get(at).copied().unwrap_or(b'A');
    }
    text
}

fn body(
    buf: &[u8],
    index: &HeaderIndex,
    parts: &RequestParts<'_>,
    method: Method,
    upgrade: Option<Upgrade>,
) -> Result<BodyKind, Refusal> {
    let declared = framing::declared(buf, index, parts.version).map_err(Refusal::Malformed)?;
    let tunnel = upgrade.is_some() || method == Method::Connect;
    match declared {
        _ if tunnel && declared != BodyKind::None => {
            Err(Refusal::Malformed(H1Error::BadContentLength))
        }
        _ if tunnel => Ok(BodyKind::None),
        BodyKind::Length(length) if parts.ended && length > 0 => {
            Err(Refusal::Malformed(H1Error::BadContentLength))
        }
        BodyKind::None if !parts.ended => Ok(BodyKind::Chunked),
        declared => Ok(declared),
    }
}

fn expectation(buf: &[u8], index: &HeaderIndex) -> Result<bool, Refusal> {
    match index.value(buf, KnownHeader::Expect) {
        None => Ok(false),
        Some(value)
            if value.eq_ignore_ascii_case(b"100-continue")
                && !index.is_repeated(KnownHeader::Expect) =>
        {
            Ok(true)
        }
        Some(_) => Err(Refusal::Answered(H1Error::BadExpect)),
    }
}

#[cfg(test)]
mod tests;
