//! What every server has to take: the cases that h2spec calls generic.

use super::super::frames::*;
use super::*;

/// On connections that have said nothing.
pub(super) const BEGIN: &[Case] = &[(
    "generic 1/1",
    |f| {
        f.raw(PREFACE);
        f.send(SETTINGS, 0, 0, &setting(4, 65_535));
        let first = f.next().unwrap();
        assert_eq!((first.kind, first.flags), (SETTINGS, 0));
    },
    FINE,
)];

/// No dependence and the weight of 256.
const WEIGHT: [u8; 5] = [0, 0, 0, 0, 255];

/// A request whose answer waits for a window, then something, then the window.
fn amid(frames: &mut Frames, then: fn(&mut Frames)) {
    frames.send(SETTINGS, 0, 0, &setting(4, 0));
    frames.get(1);
    then(frames);
    frames.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    assert_eq!(frames.data(1), b"h");
}

/// A request behind PRIORITY.
fn after_priority(frames: &mut Frames, stream: u32, payload: &[u8]) {
    frames.send(PRIORITY, 0, stream, payload);
    frames.get(1);
    frames.answer(1);
}

/// `custom-key` and `custom-value` in the Huffman code (RFC 7541 C.4.3), with their lengths.
const KEY: &[u8] = b"\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f";
const VALUE: &[u8] = b"\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";

/// A request with one more field of these bytes, which is answered.
fn field(frames: &mut Frames, parts: &[&[u8]]) {
    ask_raw(frames, &parts.concat());
    frames.answer(1);
}

pub(super) const CASES: &[Case] = &[
    ("generic 2/1", |f| f.send(PRIORITY, 0, 1, &WEIGHT), FINE),
    ("generic 2/2", |f| amid(f, |_| {}), FINE),
    (
        "generic 2/3",
        |f| amid(f, |f| f.send(PRIORITY, 0, 1, &WEIGHT)),
        FINE,
    ),
    (
        "generic 2/4",
        |f| {
            f.get(1);
            f.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        },
        FINE,
    ),
    (
        "generic 2/5",
        |f| {
            f.get(1);
            f.answer(1);
            f.send(PRIORITY, 0, 1, &WEIGHT);
        },
        FINE,
    ),
    (
        "generic 3.1/1",
        |f| {
            f.post(1);
            f.send(DATA, END, 1, b"test");
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 3.1/2",
        |f| {
            f.post(1);
            f.send(DATA, 0, 1, b"test");
            f.send(DATA, END, 1, b"test");
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 3.1/3",
        |f| {
            f.post(1);
            f.send(DATA, END | PADDED, 1, b"\x06test\0\0\0\0\0\0");
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 3.2/1",
        |f| {
            f.get(1);
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 3.2/2",
        |f| {
            let padded = [&[6], &block(&GET)[..], &[0; 6]].concat();
            f.send(HEADERS, END | END_HEADERS | PADDED, 1, &padded);
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 3.2/3",
        |f| {
            let weighed = [&WEIGHT, &block(&GET)[..]].concat();
            f.send(HEADERS, END | END_HEADERS | PRIORITIZED, 1, &weighed);
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 3.3/1",
        |f| after_priority(f, 1, &[0, 0, 0, 0, 0]),
        FINE,
    ),
    ("generic 3.3/2", |f| after_priority(f, 1, &WEIGHT), FINE),
    (
        "generic 3.3/3",
        |f| after_priority(f, 1, &[0, 0, 0, 3, 255]),
        FINE,
    ),
    (
        "generic 3.3/4",
        |f| after_priority(f, 1, &[0x80, 0, 0, 3, 255]),
        FINE,
    ),
    ("generic 3.3/5", |f| after_priority(f, 3, &WEIGHT), FINE),
    (
        "generic 3.4/1",
        |f| {
            f.post(1);
            f.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        },
        FINE,
    ),
    (
        "generic 3.5/1",
        |f| {
            let all = [
                setting(1, 4_096),
                setting(2, 1),
                setting(3, 100),
                setting(4, 65_535),
                setting(5, 16_384),
                setting(6, 100),
            ];
            f.send(SETTINGS, 0, 0, &all.concat());
            f.acknowledged();
        },
        FINE,
    ),
    ("generic 3.7/1", |f| f.send(PING, 0, 0, b"pingpong"), FINE),
    (
        "generic 3.8/1",
        |f| f.send(GOAWAY, 0, 0, &[0; 8]),
        &["pong", "goaway 0, closed", "closed"],
    ),
    (
        "generic 3.9/1",
        |f| f.send(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        FINE,
    ),
    (
        "generic 3.9/2",
        |f| {
            f.get(1);
            f.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 3.10/1",
        |f| {
            f.send(HEADERS, END, 1, &block(&GET));
            f.send(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]));
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 3.10/2",
        |f| {
            f.send(HEADERS, END, 1, &block(&GET));
            f.send(CONTINUATION, 0, 1, &block(&[("x", "y")]));
            f.send(CONTINUATION, END_HEADERS, 1, &block(&[("x", "z")]));
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 4/1",
        |f| {
            f.get(1);
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 4/2",
        |f| {
            let head = block(&[(":method", "HEAD"), GET[1], GET[2], GET[3]]);
            f.send(HEADERS, END | END_HEADERS, 1, &head);
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 4/3",
        |f| {
            f.post(1);
            f.send(DATA, END, 1, b"test");
            f.answer(1);
        },
        FINE,
    ),
    (
        "generic 4/4",
        |f| {
            let announced = [&POST[..], &[("trailer", "x-test")]].concat();
            f.send(HEADERS, END_HEADERS, 1, &block(&announced));
            f.send(DATA, 0, 1, b"test");
            let trailers = block(&[("x-test", "ok")]);
            f.send(HEADERS, END | END_HEADERS, 1, &trailers);
            f.answer(1);
        },
        FINE,
    ),
    // `accept-encoding: gzip, deflate`
    ("generic 5/1", |f| field(f, &[b"\x90"]), FINE),
    // With a place in the table, without, and never: the name from the table or not, plain or coded.
    (
        "generic 5/2",
        |f| field(f, &[b"\x7a\x0ccustom-value"]),
        FINE,
    ),
    ("generic 5/3", |f| field(f, &[b"\x7a", VALUE]), FINE),
    (
        "generic 5/4",
        |f| field(f, &[b"\x40\x0acustom-key\x0ccustom-value"]),
        FINE,
    ),
    ("generic 5/5", |f| field(f, &[b"\x40", KEY, VALUE]), FINE),
    (
        "generic 5/6",
        |f| field(f, &[b"\x0f\x2b\x0ccustom-value"]),
        FINE,
    ),
    ("generic 5/7", |f| field(f, &[b"\x0f\x2b", VALUE]), FINE),
    (
        "generic 5/8",
        |f| field(f, &[b"\x00\x0acustom-key\x0ccustom-value"]),
        FINE,
    ),
    ("generic 5/9", |f| field(f, &[b"\x00", KEY, VALUE]), FINE),
    (
        "generic 5/10",
        |f| field(f, &[b"\x1f\x2b\x0ccustom-value"]),
        FINE,
    ),
    ("generic 5/11", |f| field(f, &[b"\x1f\x2b", VALUE]), FINE),
    (
        "generic 5/12",
        |f| field(f, &[b"\x10\x0acustom-key\x0ccustom-value"]),
        FINE,
    ),
    ("generic 5/13", |f| field(f, &[b"\x10", KEY, VALUE]), FINE),
    // To 128 bytes; and to 128 and back to 4,096.
    ("generic 5/14", |f| resized(f, b"\x3f\x61"), FINE),
    (
        "generic 5/15",
        |f| resized(f, b"\x3f\x61\x3f\xe1\x1f"),
        FINE,
    ),
];

/// A request whose block begins with these updates of the table's size.
fn resized(frames: &mut Frames, updates: &[u8]) {
    let all = [updates, &block(&GET)].concat();
    frames.send(HEADERS, END | END_HEADERS, 1, &all);
    frames.answer(1);
}
