//! Heads and trailers as the codec wants them.

use bytes::{BufMut, Bytes, BytesMut};
use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};
use sallyport_core::h1::{
    BodyKind, HeaderEdits, HeaderIndex, RequestLine, TrailerLines, Upgrade, forwarded,
};

/// What belongs to the handshake of a WebSocket over HTTP/1 only (RFC 8441 §5).
const KEY: &[u8] = b"sec-websocket-key";

/// A request's head for cleartext; an upgrade becomes an extended CONNECT (RFC 8441 §4). `None`: HTTP/2 cannot say it.
pub(crate) fn request(
    line: &RequestLine<'_>,
    buf: &[u8],
    index: &HeaderIndex,
    edits: &HeaderEdits,
) -> Option<Request<()>> {
    let tunnel = line.upgrade.is_some();
    let fields = || {
        let all = forwarded(buf, index, edits);
        all.filter(move |(name, _)| !(tunnel && name.eq_ignore_ascii_case(KEY)))
    };
    let mut map = collect(fields);
    if let BodyKind::Length(length) = line.body {
        map.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if line.te_trailers {
        map.insert(TE, HeaderValue::from_static("trailers"));
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(line.authority).ok()?);
    parts.path_and_query = Some(PathAndQuery::try_from(line.target).ok()?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(line.method).ok()?;
    if let Some(Upgrade::WebSocket) = line.upgrade {
        *request.method_mut() = Method::CONNECT;
        let protocol = Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
    }
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = map;
    Some(request)
}

/// The head for what it is sent over.
pub(crate) fn with_scheme(request: Request<()>, tls: bool) -> Option<Request<()>> {
    if !tls {
        return Some(request);
    }
    let (mut head, ()) = request.into_parts();
    let mut parts = head.uri.into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    head.uri = Uri::from_parts(parts).ok()?;
    Some(Request::from_parts(head, ()))
}

/// Trailer fields from their lines.
pub(crate) fn trailers(lines: &[u8]) -> HeaderMap {
    collect(|| TrailerLines(lines).iter())
}

/// The values lie in one piece of memory, which each of them shares.
pub(crate) fn collect<'f, I: Iterator<Item = (&'f [u8], &'f [u8])>>(
    fields: impl Fn() -> I,
) -> HeaderMap {
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
