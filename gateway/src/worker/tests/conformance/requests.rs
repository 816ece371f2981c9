//! Requests: section 8.

use super::super::frames::*;
use super::*;

pub(super) const CASES: &[Case] = &[
    (
        "8.1/1",
        |f| {
            f.post(1);
            f.send(HEADERS, END_HEADERS, 1, &block(&[("x-test", "ok")]));
        },
        STREAM,
    ),
    ("8.1.2/1", |f| ask(f, &[("X-TEST", "ok")]), STREAM),
    ("8.1.2.1/1", |f| ask(f, &[(":test", "ok")]), STREAM),
    ("8.1.2.1/2", |f| ask(f, &[(":status", "200")]), STREAM),
    (
        "8.1.2.1/3",
        |f| {
            f.post(1);
            f.send(HEADERS, END | END_HEADERS, 1, &block(&[(":method", "GET")]));
        },
        STREAM,
    ),
    (
        "8.1.2.1/4",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &block(&[GET[0], GET[1], ("x-test", "ok"), GET[2], GET[3]]),
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
                &block(&[GET[0], GET[1], (":path", ""), GET[3]]),
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
                &block(&[GET[1], GET[2], GET[3]]),
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
                &block(&[GET[0], GET[2], GET[3]]),
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
                &block(&[GET[0], GET[1], GET[3]]),
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
                &block(&[GET[0], GET[0], GET[1], GET[2], GET[3]]),
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
                &block(&[GET[0], GET[1], GET[1], GET[2], GET[3]]),
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
                &block(&[GET[0], GET[1], GET[2], GET[2], GET[3]]),
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
                &block(&[&POST[..], &[("content-length", "1")]].concat()),
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
                &block(&[&POST[..], &[("content-length", "1")]].concat()),
            );
            f.send(DATA, 0, 1, b"test");
            f.send(DATA, END, 1, b"test");
        },
        STREAM,
    ),
];
