//! Entry points for fuzzers: each takes any bytes and checks what must hold for all of them.
//!
//! They are ordinary code so that stable tests replay the corpora; a broken promise is a panic,
//! which is what a fuzzer looks for. Nothing in the gateway calls them.
#![allow(clippy::panic, reason = "a panic is how a fuzz target reports")]

mod certificates;
mod exchange;
mod h2;
mod h3;
mod tokens;

use crate::authority;
use crate::call::Scheme;
use crate::client_hello::{ClientHello, HelloReader};
use crate::h1::{
    Asked, BodyKind, BodyReader, ChunkHead, H1Error, HeaderEdits, HeaderIndex, LAST_CHUNK, Parse,
    RequestHead, RequestLine, ResponseLine, Upgrade, Version, encode_request, encode_response,
    parse_request, parse_response,
};
use crate::limits::{Http1Profile, MAX_TRAILER_BYTES};
use crate::method::Method;
use crate::path::{PathAction, PathPolicy, normalize};
use crate::proxy_protocol;

pub use certificates::fuzz_certificate;
pub use exchange::fuzz_exchange_ops;
pub use h2::fuzz_h2_head;
pub use h3::fuzz_h3_frames;
pub use tokens::{fuzz_authority, fuzz_jwks, fuzz_jwt_token};

/// Heads: the verdict is the same whole and cut; a request that is accepted and written again is
/// accepted again, with the same meaning.
pub fn fuzz_head(data: &[u8]) {
    let profile = Http1Profile::sidecar(Scheme::Http);
    let mut index = HeaderIndex::new();
    let mut buf = data.to_vec();
    let whole = parse_request(&mut buf, &mut index, &profile);
    let cut = parse_in_pieces(data, &profile);
    check(whole == cut, "a request head depends on how it was cut");
    if let Ok(Parse::Complete { head, len }) = whole {
        check(len <= data.len(), "a head longer than its input");
        round_trip(&head, &buf, &index, &profile);
    }
    for (method, upgrade) in [
        (Method::Get, false),
        (Method::Get, true),
        (Method::Head, false),
    ] {
        fuzz_response(data, Asked { method, upgrade });
    }
}

/// The same for a response to `asked`.
fn fuzz_response(data: &[u8], asked: Asked) {
    let mut index = HeaderIndex::new();
    let mut buf = data.to_vec();
    let whole = parse_response(&mut buf, &mut index, asked);
    let mut cut_index = HeaderIndex::new();
    let mut cut = Ok(Parse::Partial);
    for end in (0..=data.len())
        .step_by(data.len() / 7 + 1)
        .chain([data.len()])
    {
        let mut part = data.get(..end).unwrap_or_default().to_vec();
        cut = parse_response(&mut part, &mut cut_index, asked);
        if cut != Ok(Parse::Partial) {
            break;
        }
    }
    check(whole == cut, "a response head depends on how it was cut");
    let Ok(Parse::Complete { head, .. }) = whole else {
        return;
    };
    let mut edits = HeaderEdits::new();
    edits.begin(head.drop, &index);
    let switches = head.tunnel && asked.upgrade;
    let line = ResponseLine {
        status: head.status,
        reason: head.reason.of(&buf),
        body: head.body,
        declared_length: if head.tunnel {
            None
        } else {
            head.declared_length
        },
        client: Version::Http11,
        keep_alive: head.keep_alive,
        upgrade: switches.then_some(Upgrade::WebSocket),
    };
    let mut out = Vec::new();
    encode_response(&mut out, &line, &buf, &index, &edits);
    match parse_response(&mut out, &mut HeaderIndex::new(), asked) {
        Ok(Parse::Complete { head: again, len }) => {
            check(len == out.len(), "our own response head ends elsewhere");
            check(again.status == head.status, "the status changed");
            check(again.body == head.body, "framing changed");
            check(
                again.interim == head.interim,
                "an interim response became final",
            );
        }
        Err(error) if is_bound(error.0) => {}
        _ => panic!("our own response head is refused"),
    }
}

/// What we add (host, framing) may push a head that fills its bounds over them.
fn is_bound(error: H1Error) -> bool {
    matches!(
        error,
        H1Error::HeadTooLarge | H1Error::TooManyFields | H1Error::RequestLineTooLong
    )
}

fn parse_in_pieces(data: &[u8], profile: &Http1Profile) -> Result<Parse<RequestHead>, H1Error> {
    let step = data.len() / 7 + 1;
    let mut index = HeaderIndex::new();
    let mut buf = Vec::new();
    let mut verdict = parse_request(&mut buf, &mut index, profile);
    for piece in data.chunks(step) {
        buf.extend_from_slice(piece);
        verdict = parse_request(&mut buf, &mut index, profile);
        if verdict != Ok(Parse::Partial) {
            break;
        }
    }
    verdict
}

fn round_trip(head: &RequestHead, buf: &[u8], index: &HeaderIndex, profile: &Http1Profile) {
    let mut edits = HeaderEdits::new();
    edits.begin(head.drop, index);
    let line = RequestLine {
        method: head.method_text.of(buf),
        target: head.target.of(buf),
        authority: head.authority.of(buf),
        body: head.body,
        upgrade: head.upgrade,
        te_trailers: head.te_trailers,
        close: !head.keep_alive,
    };
    let mut out = Vec::new();
    encode_request(&mut out, &line, buf, index, &edits);
    let mut again_index = HeaderIndex::new();
    let again = match parse_request(&mut out, &mut again_index, profile) {
        Ok(Parse::Complete { head, len }) if len == out.len() => head,
        Err(error) if is_bound(error) => return,
        _ => panic!("our own request head is refused"),
    };
    check(
        again.method == head.method && again.body == head.body,
        "framing changed",
    );
    check(
        again.target.of(&out) == head.target.of(buf),
        "the target changed",
    );
    check(
        again.authority.of(&out) == head.authority.of(buf),
        "the authority changed",
    );
    check(again.upgrade == head.upgrade, "the upgrade changed");
    let kept = |buf: &[u8], index: &HeaderIndex, drop: crate::h1::FieldSet| -> Vec<Vec<u8>> {
        let fields = index.fields().iter().enumerate();
        let fields = fields.filter(|(at, _)| !drop.contains(*at));
        fields
            .map(|(_, f)| [f.name.of(buf), b":", f.value.of(buf)].concat())
            .collect()
    };
    let before = kept(buf, index, head.drop);
    check(
        kept(&out, &again_index, again.drop) == before,
        "the fields changed",
    );
}

/// Chunked bodies: the same payload and verdict whole and byte by byte, never a byte consumed
/// behind the end, and what was read can be written and read again.
pub fn fuzz_body(data: &[u8]) {
    let whole = read_body(data, data.len().max(1));
    let bytes = read_body(data, 1);
    check(whole == bytes, "a body depends on how it was cut");
    let Ok((payload, true, _)) = whole else {
        return;
    };
    let mut again = Vec::new();
    if !payload.is_empty() {
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        again.extend_from_slice(ChunkHead::new(length).as_bytes());
        again.extend_from_slice(&payload);
        again.extend_from_slice(b"\r\n");
    }
    again.extend_from_slice(LAST_CHUNK);
    let expected = Ok((payload, true, again.len()));
    check(
        read_body(&again, again.len()) == expected,
        "our own chunks are refused",
    );
}

/// Payload, whether the body ended, bytes consumed.
fn read_body(data: &[u8], step: usize) -> Result<(Vec<u8>, bool, usize), H1Error> {
    let mut reader = BodyReader::new(BodyKind::Chunked);
    let (mut payload, mut at) = (Vec::new(), 0);
    for piece in data.chunks(step) {
        let mut rest = piece;
        while !reader.is_done() {
            let progress = reader.advance(rest)?;
            payload.extend_from_slice(rest.get(progress.payload.clone()).unwrap_or_default());
            rest = rest.get(progress.consumed..).unwrap_or_default();
            at += progress.consumed;
            if progress.consumed == 0 {
                break;
            }
        }
    }
    let trailers: usize = reader
        .trailers()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    check(trailers <= MAX_TRAILER_BYTES, "trailers beyond their bound");
    Ok((payload, reader.is_done(), at))
}

/// Paths and hosts: normal forms are stable and hold nothing that their mode removes.
pub fn fuzz_path_host(data: &[u8]) {
    if let Ok(parts) = authority::parse(data) {
        let host = authority::parse(parts.host);
        check(
            host.is_ok_and(|host| host.port.is_none()),
            "a host that is none by itself",
        );
        check(data.starts_with(parts.host), "a host from elsewhere");
    }
    for policy in [
        PathPolicy::NONE,
        PathPolicy::BASE,
        PathPolicy::MERGE_SLASHES,
        PathPolicy::DECODE_AND_MERGE_SLASHES,
        PathPolicy::EDGE,
    ] {
        let mut once = Vec::new();
        let form = match normalize(data, policy, &mut once) {
            PathAction::Unchanged => data,
            PathAction::Rewritten | PathAction::Redirect => &once,
            PathAction::Reject { .. } => continue,
        };
        if form.first() != Some(&b'/') {
            continue;
        }
        let again = normalize(form, policy, &mut Vec::new());
        check(
            again == PathAction::Unchanged,
            "a normal form that is not stable",
        );
        let path = form.split(|b| *b == b'?').next().unwrap_or_default();
        check(!form.contains(&b'#'), "a fragment");
        if policy.normalize {
            let dots = path.split(|b| *b == b'/').any(|s| s == b"." || s == b"..");
            check(
                !dots && !path.contains(&b'\\'),
                "a dot segment or backslash",
            );
        }
        if policy.merge_slashes {
            check(!path.windows(2).any(|w| w == b"//"), "an empty segment");
        }
    }
}

/// Whatever a text compiles to can be served: tables are built of it.
pub fn fuzz_compile(data: &[u8]) {
    let snapshot = sallyport_config::fuzzing::fuzz_compile(data);
    let _ = crate::tables::Tables::build(std::sync::Arc::new(snapshot));
}

fn check(holds: bool, broken: &str) {
    if !holds {
        panic!("{broken}");
    }
}

/// First messages of TLS clients: the verdict is the same whole and cut, and a name is one.
pub fn fuzz_client_hello(data: &[u8]) {
    let whole = HelloReader::default().feed(data);
    let mut reader = HelloReader::default();
    let mut cut = Ok(None);
    for piece in data.chunks(data.len() / 7 + 1) {
        cut = reader.feed(piece);
        if cut != Ok(None) {
            break;
        }
    }
    check(whole == cut, "a first message depends on how it was cut");
    if let Ok(Some(ClientHello {
        sni: Some(name), ..
    })) = whole
    {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        check(name.bytes().all(plain), "a server name that is none");
        check(!name.bytes().any(|b| b.is_ascii_uppercase()), "capitals");
    }
}

/// Announcements of proxies: the verdict does not change with what follows, and what is read is
/// what we would write.
pub fn fuzz_proxy_protocol(data: &[u8]) {
    let Ok(Some(header)) = proxy_protocol::parse(data) else {
        return;
    };
    check(header.len <= data.len(), "a header longer than its input");
    for end in 0..header.len {
        let part = data.get(..end).unwrap_or_default();
        check(proxy_protocol::parse(part) == Ok(None), "part of a header");
    }
    let Some(ends) = header.ends else { return };
    for write in [proxy_protocol::write_v1, proxy_protocol::write_v2] {
        let mut out = Vec::new();
        write(&ends, &mut out);
        let again = proxy_protocol::parse(&out).ok().flatten();
        check(
            again.is_some_and(|again| again.ends == Some(ends) && again.len == out.len()),
            "our own header is read otherwise",
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that come near the grammar often enough to get past the first check.
    fn near_http() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(PIECES.to_vec()).prop_map(<[u8]>::to_vec);
        let noise = prop::collection::vec(any::<u8>(), 0..4);
        let pieces = prop::collection::vec(prop_oneof![30 => piece, 1 => noise], 0..14);
        let start = prop::sample::select(STARTS.to_vec());
        (start, pieces).prop_map(|(start, pieces)| [start, &pieces.concat()].concat())
    }

    const STARTS: &[&[u8]] = &[
        b"",
        b"POST /a HTTP/1.1\r\nhost: a\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204\r\n",
        b"HTTP/1.1 101 x\r\nconnection: upgrade\r\n",
        b"HTTP/1.1 103 x\r\n",
    ];

    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"GET /",
        b"OPTIONS *",
        b" HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Host: b:80\r\n",
        b"Content-Length: 5\r\n",
        b"content-length:  0\r\n",
        b"http://b/c?d",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: x, upgrade\r\n",
        b"x: y\r\n",
        b"X:z  \r\n",
        b"X-Y:\t\r\n",
        b"a_b: c\r\n",
        b"upgrade: websocket\r\n",
        b"TE: trailers\r\n",
        b"Expect: 100-continue\r\n",
        b"\n",
        b"\r",
        b" ",
        b"5\r\n",
        b"hello",
        b"\r\n0\r\n\r\n",
        b"0\r\n",
        b"a;b=\"c\"\r\n",
        b"1\r\nx\r\n",
        b"CONNECT a:1",
        b":",
        b"cookie: a=b\r\n",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn heads(data in near_http()) {
            fuzz_head(&data);
        }

        #[test]
        fn bodies(data in near_http()) {
            fuzz_body(&data);
        }

        #[test]
        fn paths(text in "(/|\\.|%2[eEfF]|%5c|\\\\|%[0-9a-f]|[a-c0-9%?#;\\[\\]:]){0,20}") {
            fuzz_path_host(text.as_bytes());
        }

        #[test]
        fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_head(&data);
            fuzz_body(&data);
            fuzz_path_host(&data);
            fuzz_exchange_ops(&data);
        }
    }
}
