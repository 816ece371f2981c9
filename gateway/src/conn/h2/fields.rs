//! Heads and trailers as the codec wants them.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use sallyport_core::h1::{
    BodyKind, HeaderEdits, HeaderIndex, ResponseLine, TrailerLines, forwarded,
};

/// What belongs to the handshake of a WebSocket over HTTP/1 only (RFC 8441 §5).
const ACCEPT: &[u8] = b"sec-websocket-accept";

/// A response's head, and its size in bytes as fields.
pub(super) fn response(
    line: &ResponseLine<'_>,
    buf: &[u8],
    index: &HeaderIndex,
    edits: &HeaderEdits,
) -> (Response<()>, u64) {
    let switches = line.upgrade.is_some();
    let fields = || {
        let all = forwarded(buf, index, edits);
        all.filter(move |(name, _)| !(switches && *name == ACCEPT))
    };
    let mut map = collect(fields);
    if let (BodyKind::Length(length), _) | (BodyKind::None, Some(length)) =
        (line.body, line.declared_length)
    {
        map.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let size: usize = map.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
    let mut response = Response::new(());
    *response.headers_mut() = map;
    *response.status_mut() = if switches {
        StatusCode::OK
    } else {
        StatusCode::from_u16(line.status).unwrap_or(StatusCode::BAD_GATEWAY)
    };
    (response, u64::try_from(size).unwrap_or(u64::MAX))
}

/// Trailer fields from their lines.
pub(super) fn trailers(lines: &[u8]) -> HeaderMap {
    collect(|| TrailerLines(lines).iter())
}

/// The values lie in one piece of memory, which each of them shares.
fn collect<'f, I: Iterator<Item = (&'f [u8], &'f [u8])>>(fields: impl Fn() -> I) -> HeaderMap {
    let mut values = BytesMut::new();
    let mut count = 0;
    for (_, value) in fields() {
        values.put_slice(value);
        count += 1;
    }
    let mut values = values.freeze();
    let mut map = HeaderMap::with_capacity(count);
    for (name, value) in fields() {
        let value: Bytes = values.split_to(value.len());
        let name = HeaderName::from_bytes(name);
        // Both were checked when they were parsed or compiled.
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value)) {
            map.append(name, value);
        }
    }
    map
}
