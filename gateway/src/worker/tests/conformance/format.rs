//! Frames as such: sections 4 and 5.5.

use super::super::frames::*;
use super::*;

pub(super) const CASES: &[Case] = &[
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
            f.send(HEADERS, END, 1, &block(&GET));
            f.send(PRIORITY, 0, 3, &[0; 5]);
        },
        PROTOCOL,
    ),
    (
        "4.3/3",
        |f| {
            f.send(HEADERS, END, 1, &block(&GET));
            f.get(3);
        },
        PROTOCOL,
    ),
];
