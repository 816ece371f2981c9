//! Writing heads: untouched field lines are copied in runs, everything about this hop is written
//! anew.
//!
//! Framing fields never come from the received head: `content-length` is printed from the number,
//! `transfer-encoding` from the body's kind, so a peer's spelling of them cannot reach the next
//! parser.

use crate::h1::edits::HeaderEdits;
use crate::h1::field::HeaderIndex;
use crate::h1::request::Upgrade;
use crate::h1::{BodyKind, Version};

/// The interim response that lets a client send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a request head says besides its fields. Texts must come from a parsed head or from
/// configuration: they are written as they are.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a [u8],
    /// Path and query, `*`, or `host:port` for CONNECT.
    pub target: &'a [u8],
    /// The value of `host`.
    pub authority: &'a [u8],
    /// How the body will be framed; a request cannot end at close, that becomes chunked.
    pub body: BodyKind,
    /// Ask the upstream to switch protocols.
    pub upgrade: Option<Upgrade>,
    /// Tell the upstream that trailers are welcome.
    pub te_trailers: bool,
    /// Ask the upstream to close the connection after its response.
    pub close: bool,
}

/// What a response head says besides its fields.
#[derive(Clone, Copy, Debug)]
pub struct ResponseLine<'a> {
    /// The status.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: &'a [u8],
    /// How the body will be framed. With [`BodyKind::UntilClose`], `keep_alive` must be false.
    pub body: BodyKind,
    /// The length to announce when `body` is [`BodyKind::None`] (HEAD, 304).
    pub declared_length: Option<u64>,
    /// The client's version: an HTTP/1.0 client must be told when the connection stays.
    pub client: Version,
    /// Whether the connection will serve another request.
    pub keep_alive: bool,
    /// The protocol that this 101 switches to.
    pub upgrade: Option<Upgrade>,
}

/// Appends a request head to `out`. `buf` is the buffer that `index` describes.
pub fn encode_request(
    out: &mut Vec<u8>,
    line: &RequestLine<'_>,
    buf: &[u8],
    index: &HeaderIndex,
    edits: &HeaderEdits,
) {
    reserve(out, line.target.len() + line.authority.len(), index, edits);
    out.extend_from_slice(line.method);
    out.push(b' ');
    out.extend_from_slice(line.target);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(line.authority);
    out.extend_from_slice(b"\r\n");
    write_fields(out, buf, index, edits);
    match line.body {
        BodyKind::None => {}
        BodyKind::Length(length) => write_length(out, length),
        BodyKind::Chunked | BodyKind::UntilClose => out.extend_from_slice(CHUNKED),
    }
    if line.te_trailers {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    match line.upgrade {
        Some(Upgrade::WebSocket) => out.extend_from_slice(WEBSOCKET),
        None if line.close => out.extend_from_slice(CLOSE),
        None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a response head to `out`. `buf` is the buffer that `index` describes.
pub fn encode_response(
    out: &mut Vec<u8>,
    line: &ResponseLine<'_>,
    buf: &[u8],
    index: &HeaderIndex,
    edits: &HeaderEdits,
) {
    reserve(out, line.reason.len(), index, edits);
    out.extend_from_slice(b"HTTP/1.1 ");
    write_number(out, u64::from(line.status));
    out.push(b' ');
    out.extend_from_slice(line.reason);
    out.extend_from_slice(b"\r\n");
    write_fields(out, buf, index, edits);
    match (line.body, line.declared_length) {
        (BodyKind::Length(length), _) | (BodyKind::None, Some(length)) => write_length(out, length),
        (BodyKind::Chunked, _) => out.extend_from_slice(CHUNKED),
        (BodyKind::None, None) | (BodyKind::UntilClose, _) => {}
    }
    match (line.upgrade, line.keep_alive, line.client) {
        (Some(Upgrade::WebSocket), _, _) => out.extend_from_slice(WEBSOCKET),
        (None, true, Version::Http11 | Version::Http2 | Version::Http3) => {}
        (None, true, Version::Http10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (None, false, _) if line.status < 200 => {}
        (None, false, _) => out.extend_from_slice(CLOSE),
    }
    out.extend_from_slice(b"\r\n");
}

const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";
const CLOSE: &[u8] = b"connection: close\r\n";
const WEBSOCKET: &[u8] = b"connection: Upgrade\r\nupgrade: websocket\r\n";

/// Bytes that everything but texts and fields needs at most.
const FIXED_BYTES: usize = 160;

fn reserve(out: &mut Vec<u8>, texts: usize, index: &HeaderIndex, edits: &HeaderEdits) {
    out.reserve(texts + index.bytes() + edits.added_bytes() + FIXED_BYTES);
}

/// Copies the kept field lines, neighbours together, then the added ones.
fn write_fields(out: &mut Vec<u8>, buf: &[u8], index: &HeaderIndex, edits: &HeaderEdits) {
    let mut run = 0..0;
    for (position, field) in index.fields().iter().enumerate() {
        if !edits.keeps(position) {
            continue;
        }
        let start = field.name.start();
        if field.plain && run.end == start {
            run.end = field.line_end();
            continue;
        }
        out.extend_from_slice(buf.get(run).unwrap_or_default());
        if field.plain {
            run = start..field.line_end();
            continue;
        }
        run = 0..0;
        out.extend_from_slice(field.name.of(buf));
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value.of(buf));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(buf.get(run).unwrap_or_default());
    edits.write_added(out);
}

/// Name and value of every field that goes on, for wires that write fields by themselves. Those that
/// the line of a head stands for (`content-length`, `te`) are not among them.
pub fn forwarded<'a>(
    buf: &'a [u8],
    index: &'a HeaderIndex,
    edits: &'a HeaderEdits,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let kept = index.fields().iter().enumerate();
    let kept = kept.filter(|(position, _)| edits.keeps(*position));
    let kept = kept.map(|(_, field)| (field.name.of(buf), field.value.of(buf)));
    kept.chain(edits.added())
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    write_number(out, length);
    out.extend_from_slice(b"\r\n");
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(decimal(&mut [0; 20], number));
}

/// `number` in decimal, written to the end of `digits`.
pub(crate) fn decimal(digits: &mut [u8; 20], number: u64) -> &[u8] {
    let mut start = digits.len();
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        start -= 1;
        if left == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}
