//! How a connection begins, and windows that are changed under a stream: sections 3.5, 5.1.2, 6.5.3,
//! 6.9.1 and 6.9.2.

use super::super::frames::*;
use super::*;

/// On connections that have said nothing.
pub(super) const BEGIN: &[Case] = &[
    (
        "3.5/1",
        |f| {
            f.raw(PREFACE);
            f.send(SETTINGS, 0, 0, &[]);
            let first = f.next().unwrap();
            assert_eq!((first.kind, first.flags), (SETTINGS, 0));
        },
        FINE,
    ),
    // It is a bad request of HTTP/1.
    (
        "3.5/2",
        |f| f.raw(b"INVALID CONNECTION PREFACE\r\n\r\n"),
        &["closed"],
    ),
];

/// Sets the window of streams.
fn window(frames: &mut Frames, bytes: u32) {
    frames.send(SETTINGS, 0, 0, &setting(4, bytes));
    frames.acknowledged();
}

pub(super) const CASES: &[Case] = &[
    (
        "5.1.2/1",
        |f| {
            window(f, 0);
            (0..=100).for_each(|n| f.get(2 * n + 1));
        },
        &["reset 7, pong"],
    ),
    (
        "6.5.3/1",
        |f| {
            let two = [setting(4, 100), setting(4, 1)].concat();
            f.send(SETTINGS, 0, 0, &two);
            f.acknowledged();
            f.get(1);
            assert_eq!(f.data(1), b"h");
        },
        FINE,
    ),
    ("6.5.3/2", |f| window(f, 65_535), FINE),
    (
        "6.9.1/1",
        |f| {
            window(f, 1);
            f.get(1);
            assert_eq!(f.data(1), b"h");
        },
        FINE,
    ),
    (
        "6.9.2/1",
        |f| {
            window(f, 0);
            f.get(1);
            window(f, 1);
            assert_eq!(f.data(1), b"h");
        },
        FINE,
    ),
    (
        "6.9.2/2",
        |f| {
            window(f, 3);
            f.get(1);
            assert_eq!(f.data(1), b"hel");
            window(f, 2);
            f.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2]);
            assert_eq!(f.data(1), b"l");
        },
        FINE,
    ),
];
