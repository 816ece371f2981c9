//! Compressed heads: RFC 7541.

use super::super::frames::*;
use super::*;

pub(super) const CASES: &[Case] = &[
    (
        "hpack 2.3.3/1",
        |f| f.send(HEADERS, END | END_HEADERS, 1, &[0xff, 0xff, 0]),
        COMPRESSION,
    ),
    // An index for the name alone.
    (
        "hpack 2.3.3/2",
        |f| ask_raw(f, b"\x7f\x10\x01x"),
        COMPRESSION,
    ),
    (
        "hpack 4.2/1",
        |f| {
            f.send(
                HEADERS,
                END | END_HEADERS,
                1,
                &[block(&GET), vec![0x20]].concat(),
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
                &[block(&GET), b"\x00\x01x\x83\xf2\x7f\xff".to_vec()].concat(),
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
                &[block(&GET), b"\x00\x01x\x81\x18".to_vec()].concat(),
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
                &[block(&GET), b"\x00\x01x\x84\xff\xff\xff\xff".to_vec()].concat(),
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
                &[&[0x3f, 0xff, 0xff, 0x7f], &block(&GET)[..]].concat(),
            )
        },
        COMPRESSION,
    ),
];
