//! Requests of HTTP/2 that would be dangerous as HTTP/1: none of them reaches the origin, and those
//! that are malformed cost their sender a stream and nobody else anything.

use super::frames::*;
use super::support::{GET as H1_GET, House, Lines, Origin, on_each_driver, snapshot};

/// Ends the stream only.
const STREAM: &str = "reset 1, pong";
/// Ends the connection: nothing in the table is as small as what it would keep.
const CONNECTION: &str = "goaway 1, closed";
/// Is answered by us.
const ANSWERED: &str = "pong";

type Fields = &'static [(&'static str, &'static str)];

/// Fields behind the usual pseudo-fields.
const FIELDS: [(Fields, &str); 29] = [
    (&[("x", "a\r\nb: c")], STREAM),
    (&[("x", "a\nb")], STREAM),
    (&[("x", "a\rb")], STREAM),
    (&[("x", "a\0b")], STREAM),
    (&[("x", "a\x7fb")], STREAM),
    (&[("x\0y", "a")], STREAM),
    (&[(":status", "200")], STREAM),
    (&[("x\r\ny", "a")], STREAM),
    (&[("x:y", "a")], STREAM),
    (&[("x y", "a")], STREAM),
    (&[("X", "a")], STREAM),
    (&[("", "a")], STREAM),
    (&[("x", " lead")], STREAM),
    (&[("x", "trail ")], STREAM),
    (&[("x", "\ttab")], STREAM),
    (&[("transfer-encoding", "chunked")], STREAM),
    (&[("connection", "close")], STREAM),
    (&[("proxy-connection", "close")], STREAM),
    (&[("keep-alive", "1")], STREAM),
    (&[("upgrade", "h2c")], STREAM),
    (&[("te", "gzip")], STREAM),
    (&[("x", "y"), (":path", "/late")], STREAM),
    (&[(":authority", "b.example")], STREAM),
    (&[(":protocol", "websocket")], STREAM),
    (&[("content-length", "5")], STREAM),
    (&[("content-length", "0"), ("content-length", "1")], STREAM),
    (&[("content-length", "+0")], STREAM),
    (&[("host", "b.example")], STREAM),
    (&[("x_y", "1")], ANSWERED),
];

/// All of the fields.
const HEADS: [(Fields, &str); 22] = [
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", ""),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "x"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "http://a.example/"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/ HTTP/1.1\r\nx: y"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/a b"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/é"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GE T"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET / HTTP/1.1\r\nx: y"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "ht\r\ntp"),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "ftp"),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example b"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example/b"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "u@a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", ""),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/\0"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/\nx"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example\r\nx: y"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", ""),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", ""),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        STREAM,
    ),
    (
        &[
            (":method", "get"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        ANSWERED,
    ),
    (
        &[
            (":method", "TRACE"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        ANSWERED,
    ),
    (
        &[(":method", "GET"), (":scheme", "http"), (":path", "/")],
        ANSWERED,
    ),
];

/// All of them are tried.
const PROBES: usize = 51;

#[test]
fn nothing_malformed_reaches_the_origin() {
    assert_eq!(FIELDS.len() + HEADS.len(), PROBES);
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let house = House::open(driver, snapshot(origin.address));
        let behind = FIELDS.map(|(fields, outcome)| ([&GET[..], fields].concat(), outcome));
        let heads = HEADS.map(|(fields, outcome)| (fields.to_vec(), outcome));
        let mut wrong = Vec::new();
        for (fields, expected) in behind.into_iter().chain(heads) {
            let mut frames = Frames::open(&house);
            frames.send(HEADERS, END | END_HEADERS, 1, &block(&fields));
            let outcome = frames.outcome_like(expected);
            if outcome != expected {
                wrong.push(format!("{fields:?}: {outcome}, not {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        // The one request that the origin sees is this.
        assert_eq!(house.client().ask(H1_GET).status, 200);
        let heads = origin.heads.lock().unwrap().concat();
        assert!(
            heads.len() == 1 && heads[0].starts_with("GET /x "),
            "{heads:?}"
        );
    });
}

#[test]
fn what_is_unusual_and_right_passes_as_one_request() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let house = House::open(driver, snapshot(origin.address));
        let mut frames = Frames::open(&house);
        let crumbs = [
            ("cookie", "a=1"),
            ("x", "y"),
            ("cookie", "b=2"),
            ("host", "a.example"),
        ];
        let fields = [&GET[..], &crumbs].concat();
        frames.send(HEADERS, END | END_HEADERS, 1, &block(&fields));
        frames.answer(1);
        let heads = origin.heads.lock().unwrap().concat();
        assert_eq!(heads.len(), 1);
        let head = &heads[0];
        assert!(head.contains("cookie: a=1; b=2\r\n"), "{head}");
        assert_eq!(head.matches("host: ").count(), 1, "{head}");
        assert!(!head.contains("transfer-encoding") && !head.contains("content-length"));
    });
}

/// Fields that die with their streams are in the table of the next ones as they would have been: each
/// other has its place, and theirs is malformed again.
#[test]
fn a_stream_that_dies_leaves_the_table_in_order() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let house = House::open(driver, snapshot(origin.address));
        let mut frames = Frames::open(&house);
        let mut ask = |stream: u32, bytes: &[u8]| {
            let all = [&block(&GET), bytes].concat();
            frames.send(HEADERS, END | END_HEADERS, stream, &all);
            frames.end_of(stream)
        };
        let kept = b"\x40\x03x-a\x011\x40\x03X-b\x0222\x40\x03x-c\x013";
        assert_eq!(ask(1, kept), RST_STREAM);
        assert_eq!(ask(3, b"\xbe\xc0"), DATA);
        assert_eq!(ask(5, b"\xbf"), RST_STREAM);
        // The name of an entry, with a value that cannot be.
        assert_eq!(ask(7, b"\x7e\x02a\n"), RST_STREAM);
        assert_eq!(ask(9, b"\xbf"), DATA);
        // A field of nothing cannot be replaced by something of its size.
        frames.send(
            HEADERS,
            END | END_HEADERS,
            11,
            &[&block(&GET), &b"\x40\0\0"[..]].concat(),
        );
        assert_eq!(frames.outcome(), CONNECTION);
        let heads = origin.heads.lock().unwrap().concat();
        assert_eq!(heads.len(), 2);
        assert!(heads[0].contains("x-c: 3\r\n") && heads[0].contains("x-a: 1\r\n"));
        assert!(heads[1].contains("x-c: 3\r\n"), "{heads:?}");
    });
}

/// What is odd is told where operators look.
#[test]
fn heads_that_cannot_be_are_in_the_access_log() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let lines = Lines::new("downgrade");
        let mut snapshot = snapshot(origin.address);
        lines.write_to(&mut snapshot, "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%");
        let house = House::open(driver, snapshot);
        let mut frames = Frames::open(&house);
        let bad = [&GET[..], &[("X", "a")]].concat();
        frames.send(HEADERS, END | END_HEADERS, 1, &block(&bad));
        assert_eq!(frames.end_of(1), RST_STREAM);
        assert_eq!(lines.take(1), ["DPE http2.invalid_header_field"]);
    });
}
