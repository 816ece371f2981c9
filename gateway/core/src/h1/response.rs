//! Response heads from an upstream, as strict as request heads: an upstream is trusted with the
//! content, not with the framing of the next response on a shared connection.

use crate::h1::connection::Connection;
use crate::h1::error::{H1Error, ResponseError};
use crate::h1::field::{self, FieldSet, HeaderIndex, Span};
use crate::h1::known::KnownHeader;
use crate::h1::{BodyKind, Parse, Version, framing, scan};
use crate::limits::{MAX_HEAD_BYTES, Underscores};
use crate::method::Method;

/// What the response answers; framing depends on it (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The request's method.
    pub method: Method,
    /// The request asked to switch protocols.
    pub upgrade: bool,
}

/// A response head, as ranges of the buffer it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// The version.
    pub version: Version,
    /// How the body ends.
    pub body: BodyKind,
    /// The length that the body would have: for HEAD and 304, where [`BodyKind::None`] hides it.
    pub declared_length: Option<u64>,
    /// Whether the connection may serve another request once the body has ended (and no byte
    /// followed it).
    pub keep_alive: bool,
    /// A 1xx other than 101: another head follows. The caller counts them against
    /// [`crate::limits::MAX_INTERIM_RESPONSES`].
    pub interim: bool,
    /// The connection is a tunnel from here on: 101 to an upgrade, 2xx to CONNECT.
    pub tunnel: bool,
    /// Fields that do not go to the client as they are.
    pub drop: FieldSet,
}

/// Parses a response head at the front of `buf`; otherwise like [`crate::h1::parse_request`].
///
/// # Errors
/// The rule that was broken; the client gets 502 and the connection is not used again.
pub fn parse_response(
    buf: &mut [u8],
    index: &mut HeaderIndex,
    asked: Asked,
) -> Result<Parse<ResponseHead>, ResponseError> {
    parse(buf, index, asked).map_err(ResponseError)
}

fn parse(
    buf: &mut [u8],
    index: &mut HeaderIndex,
    asked: Asked,
) -> Result<Parse<ResponseHead>, H1Error> {
    let window = buf.len().min(MAX_HEAD_BYTES);
    let view = buf.get_mut(..window).unwrap_or_default();
    if index.looked_at > 0 && !index.has_news(view) {
        return Ok(Parse::Partial);
    }
    index.forget_fields();
    if view.first().is_some_and(|byte| *byte != b'H') {
        return Err(H1Error::BadStatusLine);
    }
    let mut cursor = 0;
    match parse_lines(view, &mut cursor, index) {
        Ok(Some(line)) => {
            index.looked_at = 0;
            let head = resolve(view, index, &line, asked)?;
            Ok(Parse::Complete { head, len: cursor })
        }
        Ok(None) if window < MAX_HEAD_BYTES => {
            index.looked_at = window;
            Ok(Parse::Partial)
        }
        Ok(None) => Err(H1Error::HeadTooLarge),
        Err(error) => field::judge(error, view, cursor, index),
    }
}

struct StatusLine {
    version: Version,
    status: u16,
    reason: Span,
}

fn parse_lines(
    view: &mut [u8],
    cursor: &mut usize,
    index: &mut HeaderIndex,
) -> Result<Option<StatusLine>, H1Error> {
    let Some(line) = parse_status_line(view, cursor)? else {
        return Ok(None);
    };
    let whole = field::parse_fields(view, cursor, index, Underscores::Pass)?;
    Ok(whole.then_some(line))
}

/// `HTTP/1.d SP 3DIGIT [SP reason] CRLF`. A missing reason without its space is common and has
/// one meaning only, so it passes.
fn parse_status_line(view: &[u8], cursor: &mut usize) -> Result<Option<StatusLine>, H1Error> {
    let (Some(prefix), Some(after)) = (view.get(..12), view.get(12)) else {
        // no line this short is a status line
        let ended = view.contains(&b'\n');
        return if ended {
            Err(H1Error::BadStatusLine)
        } else {
            Ok(None)
        };
    };
    let version = match prefix.get(..9) {
        Some(b"HTTP/1.1 ") => Version::Http11,
        Some(b"HTTP/1.0 ") => Version::Http10,
        _ => return Err(H1Error::BadStatusLine),
    };
    let mut status = 0;
    for byte in prefix.get(9..).unwrap_or_default() {
        if !byte.is_ascii_digit() {
            return Err(H1Error::BadStatusLine);
        }
        status = status * 10 + u16::from(byte - b'0');
    }
    if !(100..=599).contains(&status) {
        return Err(H1Error::BadStatus);
    }
    let reason_start = match after {
        b' ' => 13,
        b'\r' => 12,
        b'\n' => return Err(H1Error::BareLf),
        _ => return Err(H1Error::BadStatusLine),
    };
    let end = reason_start + scan::text(view.get(reason_start..).unwrap_or_default());
    match (view.get(end), view.get(end + 1)) {
        (None, _) | (Some(b'\r'), None) => return Ok(None),
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), _) => return Err(H1Error::BareCr),
        (Some(b'\n'), _) => return Err(H1Error::BareLf),
        _ => return Err(H1Error::BadStatusLine),
    }
    *cursor = end + 2;
    Ok(Some(StatusLine {
        version,
        status,
        reason: Span::new(reason_start, end),
    }))
}

fn resolve(
    view: &[u8],
    index: &HeaderIndex,
    line: &StatusLine,
    asked: Asked,
) -> Result<ResponseHead, H1Error> {
    let declared = framing::declared(view, index, line.version)?;
    let connection = Connection::read(view, index)?;
    let persistent = match line.version {
        Version::Http11 | Version::Http2 | Version::Http3 => !connection.close,
        Version::Http10 => connection.keep_alive && !connection.close,
    };
    if line.status == 101 && !(asked.upgrade && connection.upgrade) {
        return Err(H1Error::UnexpectedUpgrade);
    }
    let interim = line.status < 200 && line.status != 101;
    let tunnel = line.status == 101
        || (asked.method == Method::Connect && (200..300).contains(&line.status));
    let body = body_kind(index, declared, line.status, asked.method, tunnel);
    // A 1xx or 204 that declares a body may be followed by one all the same: whose bytes they are
    // is anyone's guess.
    let bodiless = line.status < 200 || line.status == 204;
    let honest = !bodiless || matches!(declared, BodyKind::None | BodyKind::Length(0));
    if interim && !honest {
        return Err(H1Error::BadContentLength);
    }
    Ok(ResponseHead {
        status: line.status,
        reason: line.reason,
        version: line.version,
        body,
        declared_length: match declared {
            BodyKind::Length(length) => Some(length),
            _ => None,
        },
        keep_alive: persistent && honest && !tunnel && body != BodyKind::UntilClose,
        interim,
        tunnel,
        drop: index.per_hop().union(connection.nominated),
    })
}

fn body_kind(
    index: &HeaderIndex,
    declared: BodyKind,
    status: u16,
    method: Method,
    tunnel: bool,
) -> BodyKind {
    if status < 200 || status == 204 || status == 304 || method == Method::Head || tunnel {
        return BodyKind::None;
    }
    let framed = index.has(KnownHeader::ContentLength) || index.has(KnownHeader::TransferEncoding);
    if framed {
        declared
    } else {
        BodyKind::UntilClose
    }
}
