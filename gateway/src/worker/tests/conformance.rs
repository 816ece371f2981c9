//! The cases that HTTP/2 servers are commonly tried with, by section of RFC 7540 and number, in bytes
//! of our own. An outcome may be stricter than asked for: a connection may end where a stream
//! would do.

use super::frames::*;
use super::support::{Act, House, Origin, on_each_driver, snapshot};

/// Section and number, what is sent, and what may come of it.
type Case = (&'static str, fn(&mut Frames), &'static [&'static str]);

/// Runs cases, each on a connection of its own.
fn run(cases: &[Case]) {
    on_each_driver(|driver| {
        // Whoever answers before the request is whole leaves nothing to reset.
        let hello = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec();
        let origin = Origin::script(vec![Act::Whole, Act::Send(hello)]);
        let house = House::open(driver, snapshot(origin.address));
        let mut wrong = Vec::new();
        for (id, send, expected) in cases {
            let mut frames = Frames::open(&house);
            send(&mut frames);
            let outcome = frames.outcome_like(expected.last().copied().unwrap_or_default());
            if !expected.contains(&outcome.as_str()) {
                wrong.push(format!("{id}: {outcome}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

// What may come: nothing in particular; the connection's end, or a stream's, with this error.
const FINE: &[&str] = &["pong"];
const PROTOCOL: &[&str] = &["goaway 1, closed"];
const FLOW: &[&str] = &["goaway 3, closed"];
const SIZE: &[&str] = &["goaway 6, closed"];
const STREAM: &[&str] = &["reset 1, pong"];
// The codec ends the connection with PROTOCOL_ERROR where RFC 9113 has COMPRESSION_ERROR, or where
// STREAM_CLOSED would end a stream.
const COMPRESSION: &[&str] = PROTOCOL;
const CLOSED: &[&str] = &["goaway 1, closed", "reset 5, pong"];
// Names that cannot be are errors of the compression to it.
const NAME: &[&str] = PROTOCOL;
// And it does not look for pseudo-fields in trailers, which do not go on in any case.
const UNSEEN: &[&str] = FINE;

fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    block(fields)
}

/// A request with these fields behind the usual pseudo-fields.
fn ask(frames: &mut Frames, fields: &[(&str, &str)]) {
    let all = [&GET[..], fields].concat();
    frames.send(HEADERS, END | END_HEADERS, 1, &head(&all));
}

const FORMATS: &[Case] = &[
    ("4.1/1", |f| f.send(200, 0, 0, &[0; 8]), FINE),
    ("4.1/2", |f| f.send(PING, 0x16, 0, &[0; 8]), FINE),
    ("4.1/3", |f| f.send(PING, 0, 1 << 31, &[0; 8]), FINE),
    (
        "4.2/1",
        |f| {
            f.post(1);
            f.send(DATA, END, 1, &[0; 16_384]);
        },
        FINE,
    ),
    (
        "4.2/2",
        |f| {
            f.post(1);
            f.send(DATA, END, 1, &[0; 16_385]);
        },
        SIZE,
    ),
    (
        "4.2/3",
        |f| f.send(HEADERS, END | END_HEADERS, 1, &[0; 16_385]),
        SIZE,
    ),
    (
        "4.3/1",
        |f| f.send(HEADERS, END | END_HEADERS, 1, &[0x40, 0x80]),
        COMPRESSION,
    ),
    (
        "4.3/2",
        |f| {
            f.send(HEADERS, END, 1, &head(&GET));
            f.send(PRIORITY, 0, 3, &[0; 5]);
        },
        PROTOCOL,
    ),
    (
        "4.3/3",
        |f| {
            f.send(HEADERS, END, 1, &head(&GET));
            f.get(3);
        },
        PROTOCOL,
    ),
    (
        "hpack 2.3.3/1",
        |f| f.send(HEADERS, END | END_HEADERS, 1, &[0xff, 0xff, 0]),
        COMPRESSION,
    ),
    (
        "hpack 4.2/1",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &[head(&GET), vec![0x20]].concat(),
            )
        },
        COMPRESSION,
    ),
    (
        "hpack 5.2/1",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &[head(&GET), b"\x00\x01x\x83\xf2\x7f\xff".to_vec()].concat(),
            )
        },
        COMPRESSION,
    ),
    (
        "hpack 5.2/2",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &[head(&GET), b"\x00\x01x\x81\x18".to_vec()].concat(),
            )
        },
        COMPRESSION,
    ),
    (
        "hpack 5.2/3",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &[head(&GET), b"\x00\x01x\x84\xff\xff\xff\xff".to_vec()].concat(),
            )
        },
        COMPRESSION,
    ),
    (
        "hpack 6.1/1",
        |f| f.send(HEADERS, END | END_HEADERS, 1, &[0x80]),
        COMPRESSION,
    ),
    (
        "hpack 6.3/1",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &[&[0x3f, 0xff, 0xff, 0x7f], &head(&GET)[..]].concat(),
            )
        },
        COMPRESSION,
    ),
];

#[test]
fn frames_and_their_compression() {
    run(FORMATS);
}

const STATES: &[Case] = &[
    ("5.1/1", |f| f.send(DATA, END, 1, b"x"), PROTOCOL),
    ("5.1/2", |f| f.send(RST_STREAM, 0, 1, &[0; 4]), PROTOCOL),
    (
        "5.1/3",
        |f| f.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        PROTOCOL,
    ),
    (
        "5.1/4",
        |f| f.send(CONTINUATION, END_HEADERS, 1, &head(&GET)),
        PROTOCOL,
    ),
    (
        "5.1/5",
        |f| {
            f.get(1);
            f.send(DATA, END, 1, b"x");
        },
        CLOSED,
    ),
    (
        "5.1/6",
        |f| {
            f.get(1);
            f.get(1);
        },
        CLOSED,
    ),
    (
        "5.1/7",
        |f| {
            f.get(1);
            f.send(CONTINUATION, END_HEADERS, 1, &head(&GET));
        },
        PROTOCOL,
    ),
    (
        "5.1/8",
        |f| {
            f.post(1);
            f.send(RST_STREAM, 0, 1, &[0; 4]);
            f.send(DATA, END, 1, b"x");
        },
        CLOSED,
    ),
    (
        "5.1/9",
        |f| {
            f.post(1);
            f.send(RST_STREAM, 0, 1, &[0; 4]);
            f.get(1);
        },
        CLOSED,
    ),
    (
        "5.1/10",
        |f| {
            f.post(1);
            f.send(RST_STREAM, 0, 1, &[0; 4]);
            f.send(CONTINUATION, END_HEADERS, 1, &head(&GET));
        },
        PROTOCOL,
    ),
    (
        "5.1/11",
        |f| {
            f.get(1);
            f.answer(1);
            f.send(DATA, END, 1, b"x");
        },
        CLOSED,
    ),
    (
        "5.1/12",
        |f| {
            f.get(1);
            f.answer(1);
            f.get(1);
        },
        CLOSED,
    ),
    (
        "5.1/13",
        |f| {
            f.get(1);
            f.answer(1);
            f.send(CONTINUATION, END_HEADERS, 1, &head(&GET));
        },
        PROTOCOL,
    ),
    ("5.1.1/1", |f| f.get(2), PROTOCOL),
    (
        "5.1.1/2",
        |f| {
            f.get(5);
            f.answer(5);
            f.get(3);
        },
        PROTOCOL,
    ),
    (
        "5.3.1/1",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS | PRIORITIZED,
                1,
                &[&[0, 0, 0, 1, 9], &head(&GET)[..]].concat(),
            )
        },
        STREAM,
    ),
    (
        "5.3.1/2",
        |f| f.send(PRIORITY, 0, 1, &[0, 0, 0, 1, 9]),
        STREAM,
    ),
    ("5.4.1/1", |f| f.send(PING, 0, 0, &[0; 6]), SIZE),
    ("5.5/1", |f| f.send(255, 0, 1, &[0; 8]), FINE),
    (
        "5.5/2",
        |f| {
            f.send(HEADERS, END, 1, &head(&GET));
            f.send(255, 0, 1, &[0; 8]);
        },
        PROTOCOL,
    ),
];

#[test]
fn states_of_streams() {
    run(STATES);
}

const TYPES: &[Case] = &[
    ("6.1/1", |f| f.send(DATA, END, 0, b"x"), PROTOCOL),
    (
        "6.1/2",
        |f| {
            f.get(1);
            f.answer(1);
            f.send(DATA, END, 1, b"x");
        },
        CLOSED,
    ),
    (
        "6.1/3",
        |f| {
            f.post(1);
            f.send(DATA, END | PADDED, 1, &[9, 0, 0]);
        },
        PROTOCOL,
    ),
    (
        "6.2/3",
        |f| f.send(HEADERS, END | END_HEADERS, 0, &head(&GET)),
        PROTOCOL,
    ),
    (
        "6.2/4",
        |f| f.send(HEADERS, END | END_HEADERS | PADDED, 1, &[200, 0, 0]),
        PROTOCOL,
    ),
    ("6.3/1", |f| f.send(PRIORITY, 0, 0, &[0; 5]), PROTOCOL),
    ("6.3/2", |f| f.send(PRIORITY, 0, 1, &[0; 4]), SIZE),
    ("6.4/1", |f| f.send(RST_STREAM, 0, 0, &[0; 4]), PROTOCOL),
    ("6.4/2", |f| f.send(RST_STREAM, 0, 1, &[0; 4]), PROTOCOL),
    (
        "6.4/3",
        |f| {
            f.post(1);
            f.send(RST_STREAM, 0, 1, &[0; 3]);
        },
        SIZE,
    ),
    ("6.5/1", |f| f.send(SETTINGS, END, 0, &[0; 6]), SIZE),
    (
        "6.5/2",
        |f| f.send(SETTINGS, 0, 1, &setting(3, 100)),
        PROTOCOL,
    ),
    ("6.5/3", |f| f.send(SETTINGS, 0, 0, &[0; 3]), SIZE),
    (
        "6.5.2/1",
        |f| f.send(SETTINGS, 0, 0, &setting(2, 2)),
        PROTOCOL,
    ),
    (
        "6.5.2/2",
        |f| f.send(SETTINGS, 0, 0, &setting(4, 1 << 31)),
        PROTOCOL,
    ),
    (
        "6.5.2/3",
        |f| f.send(SETTINGS, 0, 0, &setting(5, 16_383)),
        PROTOCOL,
    ),
    (
        "6.5.2/4",
        |f| f.send(SETTINGS, 0, 0, &setting(5, 1 << 24)),
        PROTOCOL,
    ),
    (
        "6.5.2/5",
        |f| f.send(SETTINGS, 0, 0, &setting(255, 1)),
        FINE,
    ),
    ("6.7/1", |f| f.send(PING, 0, 0, b"h2spec!!"), FINE),
    ("6.7/2", |f| f.send(PING, END, 0, b"invalid!"), FINE),
    ("6.7/3", |f| f.send(PING, 0, 1, &[0; 8]), PROTOCOL),
    ("6.7/4", |f| f.send(PING, 0, 0, &[0; 6]), SIZE),
    ("6.8/1", |f| f.send(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
    ("6.9/1", |f| f.send(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL),
    (
        "6.9/2",
        |f| {
            f.post(1);
            f.send(WINDOW_UPDATE, 0, 1, &[0; 4]);
        },
        PROTOCOL,
    ),
    ("6.9/3", |f| f.send(WINDOW_UPDATE, 0, 0, &[0; 3]), SIZE),
    (
        "6.9.1/2",
        |f| (0..2).for_each(|_| f.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        FLOW,
    ),
    (
        "6.9.1/3",
        |f| {
            f.post(1);
            (0..2).for_each(|_| f.send(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]));
        },
        &["reset 3, pong"],
    ),
    (
        "6.9.2/3",
        |f| f.send(SETTINGS, 0, 0, &setting(4, 1 << 31)),
        PROTOCOL,
    ),
    (
        "6.10/1",
        |f| {
            let h = head(&GET);
            f.send(HEADERS, END, 1, &h[..9]);
            f.send(CONTINUATION, 0, 1, &h[9..20]);
            f.send(CONTINUATION, END_HEADERS, 1, &h[20..]);
            f.answer(1);
        },
        FINE,
    ),
    (
        "6.10/2",
        |f| {
            let h = head(&GET);
            f.send(HEADERS, END, 1, &h[..9]);
            f.send(CONTINUATION, 0, 1, &h[9..]);
            f.send(DATA, END, 1, b"x");
        },
        PROTOCOL,
    ),
    (
        "6.10/3",
        |f| {
            let h = head(&GET);
            f.send(HEADERS, END, 1, &h[..9]);
            f.send(CONTINUATION, END_HEADERS, 0, &h[9..]);
        },
        PROTOCOL,
    ),
    (
        "6.10/4",
        |f| {
            f.get(1);
            f.send(CONTINUATION, END_HEADERS, 1, &head(&GET));
        },
        PROTOCOL,
    ),
    (
        "6.10/5",
        |f| {
            let h = head(&GET);
            f.send(HEADERS, END, 1, &h[..9]);
            f.send(CONTINUATION, END_HEADERS, 1, &h[9..]);
            f.send(CONTINUATION, END_HEADERS, 1, &h);
        },
        PROTOCOL,
    ),
    (
        "6.10/6",
        |f| {
            f.post(1);
            f.send(DATA, 0, 1, b"x");
            f.send(CONTINUATION, END_HEADERS, 1, &head(&GET));
        },
        PROTOCOL,
    ),
    (
        "7/1",
        |f| f.send(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]),
        &["pong", "goaway 0, closed", "closed"],
    ),
    (
        "7/2",
        |f| {
            f.post(1);
            f.send(RST_STREAM, 0, 1, &[0, 0, 0, 0xff]);
        },
        FINE,
    ),
    (
        "8.2/1",
        |f| {
            f.send(
                PUSH_PROMISE,
                END_HEADERS,
                1,
                &[&[0, 0, 0, 2], &head(&GET)[..]].concat(),
            )
        },
        PROTOCOL,
    ),
];

#[test]
fn each_frame_type() {
    run(TYPES);
}

const REQUESTS: &[Case] = &[
    (
        "8.1/1",
        |f| {
            f.post(1);
            f.send(HEADERS, END_HEADERS, 1, &head(&[("x-test", "ok")]));
        },
        STREAM,
    ),
    ("8.1.2/1", |f| ask(f, &[("X-TEST", "ok")]), NAME),
    ("8.1.2.1/1", |f| ask(f, &[(":test", "ok")]), NAME),
    ("8.1.2.1/2", |f| ask(f, &[(":status", "200")]), STREAM),
    (
        "8.1.2.1/3",
        |f| {
            f.post(1);
            f.send(HEADERS, END | END_HEADERS, 1, &head(&[(":method", "GET")]));
        },
        UNSEEN,
    ),
    (
        "8.1.2.1/4",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &head(&[GET[0], GET[1], ("x-test", "ok"), GET[2], GET[3]]),
            )
        },
        STREAM,
    ),
    (
        "8.1.2.2/1",
        |f| ask(f, &[("connection", "keep-alive")]),
        STREAM,
    ),
    ("8.1.2.2/2", |f| ask(f, &[("te", "gzip")]), STREAM),
    (
        "8.1.2.3/1",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &head(&[GET[0], GET[1], (":path", ""), GET[3]]),
            )
        },
        STREAM,
    ),
    (
        "8.1.2.3/2",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &head(&[GET[1], GET[2], GET[3]]),
            )
        },
        STREAM,
    ),
    (
        "8.1.2.3/3",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &head(&[GET[0], GET[2], GET[3]]),
            )
        },
        STREAM,
    ),
    (
        "8.1.2.3/4",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &head(&[GET[0], GET[1], GET[3]]),
            )
        },
        STREAM,
    ),
    (
        "8.1.2.3/5",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &head(&[GET[0], GET[0], GET[1], GET[2], GET[3]]),
            )
        },
        STREAM,
    ),
    (
        "8.1.2.3/6",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &head(&[GET[0], GET[1], GET[1], GET[2], GET[3]]),
            )
        },
        STREAM,
    ),
    (
        "8.1.2.3/7",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &head(&[GET[0], GET[1], GET[2], GET[2], GET[3]]),
            )
        },
        STREAM,
    ),
    (
        "8.1.2.6/1",
        |f| {
            f.send(
                HEADERS,
                END_HEADERS,
                1,
                &head(&[&POST[..], &[("content-length", "1")]].concat()),
            );
            f.send(DATA, END, 1, b"test");
        },
        STREAM,
    ),
    (
        "8.1.2.6/2",
        |f| {
            f.send(
                HEADERS,
                END_HEADERS,
                1,
                &head(&[&POST[..], &[("content-length", "1")]].concat()),
            );
            f.send(DATA, 0, 1, b"test");
            f.send(DATA, END, 1, b"test");
        },
        STREAM,
    ),
];

#[test]
fn fields_of_requests() {
    run(REQUESTS);
}
