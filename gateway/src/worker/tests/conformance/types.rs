//! Each type of frame: sections 6 and 7.

use super::super::frames::*;
use super::*;

pub(super) const CASES: &[Case] = &[
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
        "6.2/1",
        |f| {
            f.send(HEADERS, 0, 1, &block(&GET));
            f.send(PRIORITY, 0, 1, &[0; 5]);
            f.send(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]));
        },
        PROTOCOL,
    ),
    (
        "6.2/2",
        |f| {
            f.send(HEADERS, 0, 1, &block(&GET));
            f.send(HEADERS, END | END_HEADERS, 3, &block(&GET));
            f.send(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]));
        },
        PROTOCOL,
    ),
    (
        "6.2/3",
        |f| f.send(HEADERS, END | END_HEADERS, 0, &block(&GET)),
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
            let h = block(&GET);
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
            let h = block(&GET);
            f.send(HEADERS, END, 1, &h[..9]);
            f.send(CONTINUATION, 0, 1, &h[9..]);
            f.send(DATA, END, 1, b"x");
        },
        PROTOCOL,
    ),
    (
        "6.10/3",
        |f| {
            let h = block(&GET);
            f.send(HEADERS, END, 1, &h[..9]);
            f.send(CONTINUATION, END_HEADERS, 0, &h[9..]);
        },
        PROTOCOL,
    ),
    (
        "6.10/4",
        |f| {
            f.get(1);
            f.send(CONTINUATION, END_HEADERS, 1, &block(&GET));
        },
        PROTOCOL,
    ),
    (
        "6.10/5",
        |f| {
            let h = block(&GET);
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
            f.send(CONTINUATION, END_HEADERS, 1, &block(&GET));
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
                &[&[0, 0, 0, 2], &block(&GET)[..]].concat(),
            )
        },
        PROTOCOL,
    ),
];
