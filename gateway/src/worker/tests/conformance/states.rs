//! The states of streams: section 5.

use super::super::frames::*;
use super::*;

pub(super) const CASES: &[Case] = &[
    ("5.1/1", |f| f.send(DATA, END, 1, b"x"), PROTOCOL),
    ("5.1/2", |f| f.send(RST_STREAM, 0, 1, &[0; 4]), PROTOCOL),
    (
        "5.1/3",
        |f| f.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        PROTOCOL,
    ),
    (
        "5.1/4",
        |f| f.send(CONTINUATION, END_HEADERS, 1, &block(&GET)),
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
            f.send(CONTINUATION, END_HEADERS, 1, &block(&GET));
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
            f.send(CONTINUATION, END_HEADERS, 1, &block(&GET));
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
            f.send(CONTINUATION, END_HEADERS, 1, &block(&GET));
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
                &[&[0, 0, 0, 1, 9], &block(&GET)[..]].concat(),
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
    ("5.4.1/2", |f| f.send(PING, 0, 3, &[0; 8]), PROTOCOL),
    ("5.5/1", |f| f.send(255, 0, 1, &[0; 8]), FINE),
    (
        "5.5/2",
        |f| {
            f.send(HEADERS, END, 1, &block(&GET));
            f.send(255, 0, 1, &[0; 8]);
        },
        PROTOCOL,
    ),
];
