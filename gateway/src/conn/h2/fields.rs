//! Heads of responses as the codec wants them.

use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Response, StatusCode};
use sallyport_core::h1::{BodyKind, HeaderEdits, HeaderIndex, HeaderView, ResponseLine, forwarded};

use crate::codec::fields::collect;

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

/// The head of an interim response. `None`: its status is none.
pub(super) fn interim(status: u16, fields: HeaderView<'_>) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    *response.headers_mut() = collect(|| forwarded(fields.buf, fields.index, fields.edits));
    Some(response)
}
