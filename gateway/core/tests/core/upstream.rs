//! What an upstream may answer: framing by method and status, and what is a 502.

use sallyport_core::h1::{
    Asked, BodyKind, H1Error, HeaderIndex, Parse, ResponseError, ResponseHead, parse_response,
};
use sallyport_core::method::Method;

const GET: Asked = Asked {
    method: Method::Get,
    upgrade: false,
};
const HEAD: Asked = Asked {
    method: Method::Head,
    upgrade: false,
};
const SOCKET: Asked = Asked {
    method: Method::Get,
    upgrade: true,
};
const CONNECT: Asked = Asked {
    method: Method::Connect,
    upgrade: false,
};

/// The verdict on a response; the same whole, cut anywhere, and byte by byte.
fn parse(bytes: &[u8], asked: Asked) -> Result<Parse<ResponseHead>, ResponseError> {
    let whole = parse_response(&mut bytes.to_vec(), &mut HeaderIndex::new(), asked);
    if bytes.len() < 500 {
        for step in [1, 2, 7] {
            let mut index = HeaderIndex::new();
            let mut buf = Vec::new();
            let mut verdict = Ok(Parse::Partial);
            for chunk in bytes.chunks(step) {
                buf.extend_from_slice(chunk);
                verdict = parse_response(&mut buf, &mut index, asked);
                if verdict != Ok(Parse::Partial) {
                    break;
                }
            }
            assert_eq!(
                verdict,
                whole,
                "{} by {step}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
    whole
}

fn head(text: &str, asked: Asked) -> ResponseHead {
    match parse(text.as_bytes(), asked) {
        Ok(Parse::Complete { head, .. }) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn framing_follows_method_and_status() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let rows: [(&str, Asked, BodyKind, bool); 15] = [
        ("Content-Length: 5\r\n", GET, BodyKind::Length(5), true),
        ("Content-Length: 0\r\n", GET, BodyKind::Length(0), true),
        ("Content-Length: 007\r\n", GET, BodyKind::Length(7), true),
        (
            "Transfer-Encoding: Chunked\r\n",
            GET,
            BodyKind::Chunked,
            true,
        ),
        ("", GET, BodyKind::UntilClose, false),
        (
            "Connection: close\r\nContent-Length: 5\r\n",
            GET,
            BodyKind::Length(5),
            false,
        ),
        (
            "Connection: keep-alive\r\n",
            GET,
            BodyKind::UntilClose,
            false,
        ),
        ("Content-Length: 5\r\n", HEAD, BodyKind::None, true),
        ("Transfer-Encoding: chunked\r\n", HEAD, BodyKind::None, true),
        ("", HEAD, BodyKind::None, true),
        ("Content-Length: 5\r\n", CONNECT, BodyKind::None, false),
        ("Content-Length: 5\r\n", SOCKET, BodyKind::Length(5), true),
        (
            "x_y: z\r\nContent-Length: 5\r\n",
            GET,
            BodyKind::Length(5),
            true,
        ),
        (
            "Connection: x\r\nx: y\r\nContent-Length: 5\r\n",
            GET,
            BodyKind::Length(5),
            true,
        ),
        (
            "Upgrade: h2c\r\nContent-Length: 5\r\n",
            GET,
            BodyKind::Length(5),
            true,
        ),
    ];
    for (fields, asked, body, keep_alive) in rows {
        let head = head(&format!("{ok}{fields}\r\n"), asked);
        assert_eq!(
            (head.body, head.keep_alive),
            (body, keep_alive),
            "{fields} {asked:?}"
        );
        assert!(!head.interim);
    }
}

#[test]
fn bodiless_statuses() {
    for (text, keep_alive, declared) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", true, None),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            true,
            Some(0),
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            false,
            Some(5),
        ),
        (
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
            None,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            true,
            Some(5),
        ),
    ] {
        let head = head(text, GET);
        assert_eq!(head.body, BodyKind::None, "{text}");
        assert_eq!(
            (head.keep_alive, head.declared_length),
            (keep_alive, declared),
            "{text}"
        );
    }
}

#[test]
fn versions_and_reasons() {
    assert!(!head("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", GET).keep_alive);
    let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n";
    assert!(head(kept, GET).keep_alive);
    for (text, reason) in [
        ("HTTP/1.1 200 All is well\r\n\r\n", "All is well"),
        ("HTTP/1.1 200 \r\n\r\n", ""),
        ("HTTP/1.1 200\r\n\r\n", ""),
    ] {
        assert_eq!(head(text, GET).reason.text(text.as_bytes()), reason);
    }
}

#[test]
fn interim_responses_and_tunnels() {
    for status in [100, 102, 103, 199] {
        let head = head(&format!("HTTP/1.1 {status} x\r\nLink: y\r\n\r\n"), GET);
        assert!(head.interim && !head.tunnel && head.body == BodyKind::None);
    }
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let tunnel = head(switch, SOCKET);
    assert!(tunnel.tunnel && !tunnel.interim && !tunnel.keep_alive);
    let unasked = Err(ResponseError(H1Error::UnexpectedUpgrade));
    assert_eq!(parse(switch.as_bytes(), GET), unasked);
    assert_eq!(parse(b"HTTP/1.1 101 x\r\n\r\n", SOCKET), unasked);
    assert!(head("HTTP/1.1 200 OK\r\n\r\n", CONNECT).tunnel);
    assert!(!head("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", CONNECT).tunnel);
}

const BAD_STATUS_LINES: &[(&str, H1Error)] = &[
    ("HTTP/1.1 000 x", H1Error::BadStatus),
    ("HTTP/1.1 099 x", H1Error::BadStatus),
    ("HTTP/1.1 600 x", H1Error::BadStatus),
    ("HTTP/1.1 999 x", H1Error::BadStatus),
    ("HTTP/1.1 20 x\r\n", H1Error::BadStatusLine),
    ("HTTP/1.1 2000 x", H1Error::BadStatusLine),
    ("HTTP/1.1  200 x", H1Error::BadStatusLine),
    ("HTTP/1.1 +20 x", H1Error::BadStatusLine),
    ("HTTP/2.0 200 x", H1Error::BadStatusLine),
    ("HTTP/1.2 200 x", H1Error::BadStatusLine),
    ("http/1.1 200 x", H1Error::BadStatusLine),
    ("ICY 200 OK", H1Error::BadStatusLine),
    ("HTTP/1.1 200 a\0b", H1Error::BadStatusLine),
    ("HTTP/1.1 200 a\rb", H1Error::BareCr),
    ("HTTP/1.1 200 OK\nX: y", H1Error::BareLf),
    ("garbage", H1Error::BadStatusLine),
    ("H\nof more than a status line", H1Error::BadStatusLine),
    ("\r\nHTTP/1.1 200 OK", H1Error::BadStatusLine),
];

#[test]
fn everything_else_is_a_502() {
    let fields = [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            H1Error::LengthAndEncoding,
        ),
        (
            "Content-Length: 2\r\nContent-Length: 3\r\n",
            H1Error::DuplicateContentLength,
        ),
        (
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            H1Error::DuplicateContentLength,
        ),
        ("Content-Length: 2, 2\r\n", H1Error::BadContentLength),
        ("Content-Length: -1\r\n", H1Error::BadContentLength),
        (
            "Transfer-Encoding: gzip\r\n",
            H1Error::UnknownTransferCoding,
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            H1Error::UnknownTransferCoding,
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            H1Error::BadTransferEncoding,
        ),
        ("X: y\0z\r\n", H1Error::BadFieldValue),
        ("X: y\r\n z\r\n", H1Error::ObsFold),
        ("X: y\n", H1Error::BareLf),
        ("X: y\rz\r\n", H1Error::BareCr),
        ("X : y\r\n", H1Error::BadFieldName),
        ("Connection: content-length\r\n", H1Error::ProtectedField),
    ];
    for (field, error) in fields {
        let text = format!("HTTP/1.1 200 OK\r\n{field}\r\n");
        assert_eq!(
            parse(text.as_bytes(), GET),
            Err(ResponseError(error)),
            "{field}"
        );
    }
    for &(line, error) in BAD_STATUS_LINES {
        let text = format!("{line}\r\n\r\n");
        assert_eq!(
            parse(text.as_bytes(), GET),
            Err(ResponseError(error)),
            "{line}"
        );
    }
    let interim = b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(
        parse(interim, GET),
        Err(ResponseError(H1Error::BadContentLength))
    );
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100 * 1024));
    assert_eq!(
        parse(large.as_bytes(), GET),
        Err(ResponseError(H1Error::HeadTooLarge))
    );
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    assert_eq!(
        parse(many.as_bytes(), GET),
        Err(ResponseError(H1Error::TooManyFields))
    );
    let error = ResponseError(H1Error::HeadTooLarge);
    assert_eq!((error.status(), error.flag()), (502, "UPE"));
}
