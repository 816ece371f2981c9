//! Heads as bytes: read, cleaned, written.

use super::Work;
use sallyport_core::call::Scheme;
use sallyport_core::h1::{
    Asked, BodyKind, HeaderEdits, HeaderIndex, Parse, RequestHead, RequestLine, encode_request,
    parse_request, parse_response,
};
use sallyport_core::hygiene::{HygieneSettings, Peer, clean_request};
use sallyport_core::limits::Http1Profile;
use sallyport_core::method::Method;
use sallyport_core::path::{PathPolicy, normalize};
use sallyport_core::rng::Rng;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

/// What a browser sends.
const REQUEST: &[u8] = b"GET /products/42?colour=blue&size=xl HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/products\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    DNT: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Connection: keep-alive\r\n\r\n";

/// What an origin answers.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: text/html; charset=utf-8\r\n\
    content-length: 1024\r\n\
    date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
    cache-control: private, max-age=0\r\n\
    etag: \"0123456789abcdef\"\r\n\
    set-cookie: session=0123456789abcdef0123456789abcdef; Path=/; Secure; HttpOnly\r\n\
    vary: accept-encoding\r\n\r\n";

/// A request head that has been read.
struct Head {
    buf: Vec<u8>,
    index: HeaderIndex,
    head: RequestHead,
}

impl Head {
    fn read() -> Self {
        let (mut buf, mut index) = (REQUEST.to_vec(), HeaderIndex::new());
        let parsed = parse_request(&mut buf, &mut index, &Http1Profile::edge(Scheme::Https));
        let Ok(Parse::Complete { head, .. }) = parsed else {
            unreachable!("the request above is whole: {parsed:?}");
        };
        Self { buf, index, head }
    }
}

/// Reads a request head.
pub(super) fn request_head() -> Work {
    let (mut buf, mut index) = (REQUEST.to_vec(), HeaderIndex::new());
    let profile = Http1Profile::edge(Scheme::Https);
    Box::new(move || {
        index.clear();
        buf.clear();
        buf.extend_from_slice(REQUEST);
        assert!(black_box(parse_request(&mut buf, &mut index, &profile)).is_ok());
    })
}

/// Reads a response head.
pub(super) fn response_head() -> Work {
    let (mut buf, mut index) = (RESPONSE.to_vec(), HeaderIndex::new());
    let asked = Asked {
        method: Method::Get,
        upgrade: false,
    };
    Box::new(move || {
        index.clear();
        buf.clear();
        buf.extend_from_slice(RESPONSE);
        assert!(black_box(parse_response(&mut buf, &mut index, asked)).is_ok());
    })
}

/// Removes and adds what an edge does.
pub(super) fn hygiene() -> Work {
    let Head { buf, index, head } = Head::read();
    let (mut edits, mut rng) = (HeaderEdits::new(), Rng::new(1));
    let settings = HygieneSettings::default();
    Box::new(move || {
        let peer = Peer {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            text: "127.0.0.1",
            scheme: Scheme::Https,
            client_cert: None,
        };
        black_box(clean_request(
            &mut edits, head.drop, &buf, &index, &settings, peer, &mut rng,
        ));
    })
}

/// Writes the request for the upstream.
pub(super) fn encode() -> Work {
    let Head { buf, index, head } = Head::read();
    let mut edits = HeaderEdits::new();
    edits.begin(head.drop, &index);
    edits.add(b"x-forwarded-for", b"192.0.2.7");
    edits.add(b"x-forwarded-proto", b"https");
    let mut out = Vec::with_capacity(4096);
    Box::new(move || {
        out.clear();
        let line = RequestLine {
            method: b"GET",
            target: b"/products/42?colour=blue&size=xl",
            authority: b"shop.example.com",
            body: BodyKind::None,
            upgrade: None,
            te_trailers: false,
            close: false,
        };
        encode_request(&mut out, &line, &buf, &index, &edits);
        black_box(&out);
    })
}

/// Looks at a path that is normal already.
pub(super) fn path() -> Work {
    let mut out = Vec::new();
    Box::new(move || {
        let policy = PathPolicy::DECODE_AND_MERGE_SLASHES;
        let path = black_box(b"/products/42/reviews/7?colour=blue&size=xl");
        black_box(normalize(path, policy, &mut out));
    })
}
