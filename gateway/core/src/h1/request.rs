//! Request heads: request line, fields, and everything that follows from them together.

use crate::authority;
use crate::h1::connection::Connection;
use crate::h1::error::H1Error;
use crate::h1::field::{self, FieldSet, HeaderIndex, Span};
use crate::h1::known::KnownHeader;
use crate::h1::{BodyKind, Parse, Version, framing, scan};
use crate::limits::{Http1Profile, MAX_HEAD_BYTES};
use crate::method::Method;

/// The form in which the target was sent (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetForm {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`; the authority wins over `Host`.
    Absolute,
    /// `host:port`, CONNECT only.
    Authority,
    /// `*`, OPTIONS only.
    Asterisk,
}

/// A protocol that the client wants to switch to and the gateway tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// RFC 6455.
    WebSocket,
}

/// A request head, as ranges of the buffer it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method's text.
    pub method_text: Span,
    /// Path and query (never empty; begins with `/`), `*`, or CONNECT's `host:port`. A fragment
    /// is still on it: [`crate::path`] drops it.
    pub target: Span,
    /// The form the target was sent in.
    pub form: TargetForm,
    /// Host and port as sent, from the target if that has them; empty only in HTTP/1.0.
    pub authority: Span,
    /// The host within the authority, brackets of an IPv6 literal included.
    pub host: Span,
    /// The port within the authority.
    pub port: Option<u16>,
    /// The version.
    pub version: Version,
    /// How the body ends; never [`BodyKind::UntilClose`].
    pub body: BodyKind,
    /// Whether another request may follow on this connection.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The client wants a tunnel; only the origin's 101 opens it.
    pub upgrade: Option<Upgrade>,
    /// The client takes trailers.
    pub te_trailers: bool,
    /// Fields that do not go to the next hop as they are.
    pub drop: FieldSet,
}

/// Parses a request head at the front of `buf`, which may be followed by anything.
///
/// Names are lower-cased in `buf`. The verdict depends on the bytes alone, not on how they were
/// cut: a line is judged once its end has arrived, except that a first byte which no request can
/// begin with is refused at once. On [`Parse::Partial`] call again with the same bytes and more;
/// `index` remembers where to go on.
///
/// # Errors
/// The rule that was broken, with the reply to send before closing.
pub fn parse_request(
    buf: &mut [u8],
    index: &mut HeaderIndex,
    profile: &Http1Profile,
) -> Result<Parse<RequestHead>, H1Error> {
    let window = buf.len().min(MAX_HEAD_BYTES);
    let view = buf.get_mut(..window).unwrap_or_default();
    let start = skip_empty_line(view)?;
    if index.looked_at > 0 && !index.has_news(view) {
        return Ok(Parse::Partial);
    }
    index.forget_fields();
    let mut cursor = start;
    match parse_lines(view, &mut cursor, index, profile) {
        Ok(Some(line)) => {
            index.looked_at = 0;
            let head = resolve(view, index, &line, profile)?;
            Ok(Parse::Complete { head, len: cursor })
        }
        Ok(None) if window < MAX_HEAD_BYTES => {
            index.looked_at = window;
            Ok(Parse::Partial)
        }
        Ok(None) if cursor == start => Err(H1Error::RequestLineTooLong),
        Ok(None) => Err(H1Error::HeadTooLarge),
        Err(error) => field::judge(error, view, cursor, index),
    }
}

/// Whether `buf` begins with the HTTP/2 connection preface (RFC 9113 §3.4); `None` while it could
/// still become one. Ask before [`parse_request`], which refuses it.
#[must_use]
pub fn is_http2_preface(buf: &[u8]) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if buf.starts_with(PREFACE) {
        return Some(true);
    }
    if PREFACE.starts_with(buf) {
        None
    } else {
        Some(false)
    }
}

/// At most one empty line before the request line is ignored (RFC 9112 §2.2).
fn skip_empty_line(view: &[u8]) -> Result<usize, H1Error> {
    let start = match view {
        [b'\r', b'\n', b'\r', ..] => return Err(H1Error::EmptyLines),
        [b'\r', b'\n', ..] => 2,
        [b'\r', _, ..] => return Err(H1Error::BareCr),
        [b'\r'] => return Ok(0),
        _ => 0,
    };
    match view.get(start) {
        Some(b'\n') => Err(H1Error::BareLf),
        Some(byte) if !scan::is_token(*byte) => Err(H1Error::BadRequestLine),
        _ => Ok(start),
    }
}

struct RequestLine {
    method: Method,
    method_text: Span,
    target: Span,
    version: Version,
}

/// Request line and fields; `None` while incomplete. The cursor stays at the line in question.
fn parse_lines(
    view: &mut [u8],
    cursor: &mut usize,
    index: &mut HeaderIndex,
    profile: &Http1Profile,
) -> Result<Option<RequestLine>, H1Error> {
    let Some(line) = parse_request_line(view, cursor, profile)? else {
        return Ok(None);
    };
    let whole = field::parse_fields(view, cursor, index, profile.underscores)?;
    Ok(whole.then_some(line))
}

fn parse_request_line(
    view: &[u8],
    cursor: &mut usize,
    profile: &Http1Profile,
) -> Result<Option<RequestLine>, H1Error> {
    let start = *cursor;
    let rest = view.get(start..).unwrap_or_default();
    let Some(method_len) = rest.iter().position(|b| !scan::is_token(*b)) else {
        return Ok(None);
    };
    let method_text = Span::new(start, start + method_len);
    line_byte(view, method_text.end(), b' ')?;
    let method = Method::parse(method_text.of(view), &profile.extra_methods)
        .ok_or(H1Error::UnknownMethod)?;
    if method == Method::Trace {
        return Err(H1Error::Trace);
    }
    let target_start = start + method_len + 1;
    let target_len = scan::visible(view.get(target_start..).unwrap_or_default());
    let target_end = target_start + target_len;
    if target_end == view.len() {
        return Ok(None);
    }
    line_byte(view, target_end, b' ')?;
    if target_len == 0 {
        return Err(H1Error::BadRequestLine);
    }
    let Some(version) = parse_version(view, target_end + 1)? else {
        return Ok(None);
    };
    if version == Version::Http10 && !profile.http10 {
        return Err(H1Error::LowVersion);
    }
    *cursor = target_end + 1 + VERSION_LINE.len();
    let target = Span::new(target_start, target_end);
    Ok(Some(RequestLine {
        method,
        method_text,
        target,
        version,
    }))
}

/// The byte at `at` must be `expected`; names the rule that another one breaks.
fn line_byte(view: &[u8], at: usize, expected: u8) -> Result<(), H1Error> {
    match view.get(at) {
        Some(byte) if *byte == expected => Ok(()),
        Some(b'\n') => Err(H1Error::BareLf),
        _ => Err(H1Error::BadRequestLine),
    }
}

const VERSION_LINE: &[u8; 10] = b"HTTP/1.1\r\n";

/// `HTTP/d.d CRLF` and nothing else; `None` while incomplete.
fn parse_version(view: &[u8], at: usize) -> Result<Option<Version>, H1Error> {
    let rest = view.get(at..).unwrap_or_default();
    if rest.starts_with(VERSION_LINE) {
        return Ok(Some(Version::Http11));
    }
    for (byte, expected) in rest.iter().zip(VERSION_LINE) {
        let good = if expected.is_ascii_digit() {
            byte.is_ascii_digit()
        } else {
            byte == expected
        };
        if !good {
            let bare = *byte == b'\n' && *expected == b'\r';
            return Err(if bare {
                H1Error::BareLf
            } else {
                H1Error::BadRequestLine
            });
        }
    }
    let (Some(major), Some(minor), Some(_)) = (rest.get(5), rest.get(7), rest.get(9)) else {
        return Ok(None);
    };
    match (major, minor) {
        (b'1', b'0') => Ok(Some(Version::Http10)),
        (b'0', b'9') => Err(H1Error::LowVersion),
        _ => Err(H1Error::UnsupportedVersion),
    }
}

/// Draws the conclusions once every line has arrived.
fn resolve(
    view: &mut [u8],
    index: &HeaderIndex,
    line: &RequestLine,
    profile: &Http1Profile,
) -> Result<RequestHead, H1Error> {
    let body = framing::declared(view, index, line.version)?;
    let from_host = read_host(view, index, line.version)?;
    let (form, target, from_target) = resolve_target(view, line, profile)?;
    let Address {
        authority,
        host,
        port,
    } = from_target.unwrap_or(from_host);
    if host.is_empty() && line.version == Version::Http11 {
        return Err(H1Error::BadHost);
    }
    let connection = Connection::read(view, index)?;
    if line.method == Method::Connect && body != BodyKind::None {
        return Err(H1Error::BadTarget);
    }
    let keep_alive = match line.version {
        Version::Http11 | Version::Http2 | Version::Http3 => !connection.close,
        Version::Http10 => connection.keep_alive && !connection.close,
    };
    Ok(RequestHead {
        method: line.method,
        method_text: line.method_text,
        target,
        form,
        authority,
        host,
        port,
        version: line.version,
        body,
        keep_alive,
        expect_continue: expectation(view, index, line.version)?,
        upgrade: upgrade(view, index, line, body, connection)?,
        te_trailers: takes_trailers(view, index),
        drop: index.per_hop().union(connection.nominated),
    })
}

#[derive(Clone, Copy)]
struct Address {
    authority: Span,
    host: Span,
    port: Option<u16>,
}

impl Address {
    fn parse(view: &[u8], authority: Span) -> Result<Self, H1Error> {
        let parts = authority::parse(authority.of(view)).map_err(|_| H1Error::BadHost)?;
        let start = authority.start();
        Ok(Self {
            authority,
            host: Span::new(start, start + parts.host.len()),
            port: parts.port,
        })
    }
}

/// Exactly one `Host`, by the grammar. An empty one is left to the caller: it is right when the
/// target is absolute.
fn read_host(view: &[u8], index: &HeaderIndex, version: Version) -> Result<Address, H1Error> {
    let nothing = Address {
        authority: Span::default(),
        host: Span::default(),
        port: None,
    };
    match index.first(KnownHeader::Host) {
        None if version == Version::Http10 => Ok(nothing),
        None => Err(H1Error::MissingHost),
        Some(_) if index.is_repeated(KnownHeader::Host) => Err(H1Error::DuplicateHost),
        Some((_, field)) if field.value.is_empty() => Ok(nothing),
        Some((_, field)) => Address::parse(view, field.value),
    }
}

type Target = (TargetForm, Span, Option<Address>);

fn resolve_target(
    view: &mut [u8],
    line: &RequestLine,
    profile: &Http1Profile,
) -> Result<Target, H1Error> {
    let text = line.target.of(view);
    if line.method == Method::Connect {
        let address = Address::parse(view, line.target).map_err(|_| H1Error::BadTarget)?;
        address.port.ok_or(H1Error::BadTarget)?;
        return Ok((TargetForm::Authority, line.target, Some(address)));
    }
    match text {
        [b'/', ..] => Ok((TargetForm::Origin, line.target, None)),
        b"*" if line.method == Method::Options => Ok((TargetForm::Asterisk, line.target, None)),
        _ => absolute_target(view, line, profile),
    }
}

fn absolute_target(
    view: &mut [u8],
    line: &RequestLine,
    profile: &Http1Profile,
) -> Result<Target, H1Error> {
    let text = line.target.of(view);
    let separator = text
        .windows(3)
        .position(|w| w == b"://")
        .ok_or(H1Error::BadTarget)?;
    let scheme = text.get(..separator).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(profile.scheme.as_str().as_bytes()) {
        return Err(H1Error::BadScheme);
    }
    let after = text.get(separator + 3..).unwrap_or_default();
    let len = after
        .iter()
        .position(|b| matches!(b, b'/' | b'?' | b'#'))
        .unwrap_or(after.len());
    let start = line.target.start() + separator + 3;
    let end = start + len;
    let address = Address::parse(view, Span::new(start, end))?;
    if view.get(end) == Some(&b'/') {
        let target = Span::new(end, line.target.end());
        return Ok((TargetForm::Absolute, target, Some(address)));
    }
    // An empty path means `/`, or `*` for OPTIONS (RFC 9112 §3.2.4). The authority moves over the
    // second slash before it, which makes room for that byte.
    let asterisk = line.method == Method::Options && end == line.target.end();
    view.copy_within(start..end, start - 1);
    if let Some(byte) = view.get_mut(end - 1) {
        *byte = if asterisk { b'*' } else { b'/' };
    }
    let address = Address::parse(view, Span::new(start - 1, end - 1))?;
    Ok((
        TargetForm::Absolute,
        Span::new(end - 1, line.target.end()),
        Some(address),
    ))
}

/// Only `100-continue` exists (RFC 9110 §10.1.1); HTTP/1.0 clients cannot mean it.
fn expectation(view: &[u8], index: &HeaderIndex, version: Version) -> Result<bool, H1Error> {
    let Some(value) = index.value(view, KnownHeader::Expect) else {
        return Ok(false);
    };
    if index.is_repeated(KnownHeader::Expect) || !value.eq_ignore_ascii_case(b"100-continue") {
        return Err(H1Error::BadExpect);
    }
    Ok(version == Version::Http11)
}

/// The protocol to switch to. `h2c` is dropped (RFC 9113 §3.1 retired it), WebSocket is tunnelled,
/// anything else is refused: bytes of a protocol that we do not know would otherwise pass for
/// requests. A body would leave it open whose bytes come after it, so there must be none.
fn upgrade(
    view: &[u8],
    index: &HeaderIndex,
    line: &RequestLine,
    body: BodyKind,
    connection: Connection,
) -> Result<Option<Upgrade>, H1Error> {
    if !index.has(KnownHeader::Upgrade) || !connection.upgrade || line.version == Version::Http10 {
        return Ok(None);
    }
    let mut wanted = None;
    let mut unknown = false;
    for (_, field) in index.all(KnownHeader::Upgrade) {
        for protocol in scan::members(field.value.of(view)) {
            if protocol.eq_ignore_ascii_case(b"websocket") {
                wanted = Some(Upgrade::WebSocket);
            } else if !protocol.eq_ignore_ascii_case(b"h2c") && !protocol.is_empty() {
                unknown = true;
            }
        }
    }
    let has_body = !matches!(body, BodyKind::None | BodyKind::Length(0));
    if (wanted.is_some() || unknown) && has_body {
        return Err(H1Error::BadUpgrade);
    }
    if unknown {
        return Err(H1Error::UnknownUpgrade);
    }
    if wanted.is_some() && line.method != Method::Get {
        return Err(H1Error::BadUpgrade);
    }
    Ok(wanted)
}

/// Whether `TE` has the member `trailers`.
pub(super) fn takes_trailers(view: &[u8], index: &HeaderIndex) -> bool {
    index.all(KnownHeader::Te).any(|(_, field)| {
        scan::members(field.value.of(view)).any(|m| m.eq_ignore_ascii_case(b"trailers"))
    })
}
