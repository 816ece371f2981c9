//! Requests of HTTP/2 that would be dangerous as HTTP/1: none of them reaches the origin, and those
//! that the codec lets us judge cost their sender a stream and nobody else anything.

use super::frames::*;
use super::support::{GET as H1_GET, House, Origin, on_each_driver, snapshot};

/// Ends the stream only.
const STREAM: &str = "reset 1, pong";
/// Ends the connection: an error of the compression to the codec.
const CONNECTION: &str = "goaway 1, closed";
/// Is answered by us.
const ANSWERED: &str = "pong";

type Fields = &'static [(&'static str, &'static str)];

/// Fields behind the usual pseudo-fields.
const FIELDS: [(Fields, &str); 26] = [
    (&[("x", "a\r\nb: c")], CONNECTION),
    (&[("x", "a\nb")], CONNECTION),
    (&[("x", "a\rb")], CONNECTION),
    (&[("x", "a\0b")], CONNECTION),
    (&[("x\r\ny", "a")], CONNECTION),
    (&[("x:y", "a")], CONNECTION),
    (&[("x y", "a")], CONNECTION),
    (&[("X", "a")], CONNECTION),
    (&[("", "a")], CONNECTION),
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
const HEADS: [(Fields, &str); 17] = [
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
        CONNECTION,
    ),
    (
        &[
            (":method", "GET / HTTP/1.1\r\nx: y"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a.example"),
        ],
        CONNECTION,
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

#[test]
fn nothing_malformed_reaches_the_origin() {
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
