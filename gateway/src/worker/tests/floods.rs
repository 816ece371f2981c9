//! Attacks on an HTTP/2 connection: each ends before its count, and a good client notices nothing.

use super::frames::*;
use super::support::{Act, House, Origin, on_each_driver, snapshot};

/// An attack: its name, the frames of round `n`, and the rounds it may have.
type Attack = (&'static str, fn(u32) -> Vec<u8>, u32);

const ATTACKS: [Attack; 16] = [
    (
        "rapid reset",
        |n| {
            let request = frame(HEADERS, END | END_HEADERS, 2 * n + 1, &block(&GET));
            [request, frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
        },
        200,
    ),
    (
        "CONTINUATION",
        |n| {
            let kind = if n == 0 { HEADERS } else { CONTINUATION };
            frame(kind, 0, 1, &block(&[("x-flood", "y")]))
        },
        10,
    ),
    (
        "empty CONTINUATION",
        |n| frame(if n == 0 { HEADERS } else { CONTINUATION }, 0, 1, &[]),
        4,
    ),
    ("SETTINGS", |_| frame(SETTINGS, 0, 0, &[]), 1_000),
    ("PING", |_| frame(PING, 0, 0, &[0; 8]), 1_000),
    (
        "empty DATA",
        |n| {
            let open = frame(HEADERS, END_HEADERS, 1, &block(&POST));
            let data = frame(DATA, 0, 1, &[]);
            if n == 0 { open } else { data }
        },
        100,
    ),
    (
        "DATA that is nothing but padding",
        |n| {
            let open = frame(HEADERS, END_HEADERS, 1, &block(&POST));
            let padding = [&[255][..], &[0; 255]].concat();
            let data = frame(DATA, PADDED, 1, &padding);
            if n == 0 { open } else { data }
        },
        1_000,
    ),
    ("unknown types", |n| frame(0x42, 0, n % 100, &[0; 16]), 500),
    (
        "PRIORITY",
        |n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 9]),
        100,
    ),
    (
        "WINDOW_UPDATE",
        |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        100,
    ),
    (
        "made to reset by a window of nothing",
        |n| {
            let request = frame(HEADERS, END_HEADERS, 2 * n + 1, &block(&POST));
            [request, frame(WINDOW_UPDATE, 0, 2 * n + 1, &[0; 4])].concat()
        },
        150,
    ),
    (
        "made to reset by data after the end",
        |n| {
            let request = frame(HEADERS, END | END_HEADERS, 2 * n + 1, &block(&GET));
            [request, frame(DATA, 0, 2 * n + 1, b"x")].concat()
        },
        150,
    ),
    (
        "made to reset by dependence on itself",
        |n| {
            let request = frame(HEADERS, END_HEADERS, 2 * n + 1, &block(&POST));
            let id = (2 * n + 1).to_be_bytes();
            [
                request,
                frame(PRIORITY, 0, 2 * n + 1, &[&id[..], &[9]].concat()),
            ]
            .concat()
        },
        150,
    ),
    (
        "pseudo-fields that do not exist",
        |n| {
            let bad = [&GET[..], &[(":test", "x")]].concat();
            frame(HEADERS, END | END_HEADERS, 2 * n + 1, &block(&bad))
        },
        150,
    ),
    (
        "answers to SETTINGS that nobody sent",
        |_| frame(SETTINGS, END, 0, &[]),
        1_000,
    ),
    (
        "malformed requests",
        |n| {
            let bad = [&GET[..], &[("x", " y")]].concat();
            frame(HEADERS, END | END_HEADERS, 2 * n + 1, &block(&bad))
        },
        150,
    ),
];

#[test]
fn floods_end_and_others_are_served() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let house = House::open(driver, snapshot(origin.address));
        let mut good = Frames::open(&house);
        for (turn, (_, round, rounds)) in (0..).zip(ATTACKS) {
            let mut bad = Frames::open(&house);
            // All at once: an attacker does not wait for answers.
            let bytes: Vec<u8> = (0..rounds).flat_map(round).collect();
            bad.raw(&bytes);
            bad.end();
            good.get(2 * turn + 1);
            good.answer(2 * turn + 1);
        }
        assert_eq!(good.outcome(), "pong");
        let report = house.report_when(|report| report.oddities > 0);
        assert!(report.oddities > 1_000, "{}", report.oddities);
        drop(good);
        assert_eq!(house.close(), 0);
    });
}

/// A hundred streams are served. As many are refused, so that their client may send them again
/// elsewhere or later; one that goes on opening is sent away.
#[test]
fn streams_beyond_the_bound_are_refused() {
    const OPENED: u32 = 500;
    const SERVED: u32 = 100;
    on_each_driver(|driver| {
        // Answers only to who sends a body.
        let origin = Origin::script(vec![Act::Read(1)]);
        let house = House::open(driver, snapshot(origin.address));
        let mut frames = Frames::open(&house);
        (0..SERVED + 50).for_each(|n| frames.post(2 * n + 1));
        let mut refused = Vec::new();
        while refused.len() < 50 {
            let frame = frames.next().unwrap();
            if frame.kind == RST_STREAM {
                assert_eq!(frame.payload, [0, 0, 0, 7]);
                refused.push(frame.stream);
            }
        }
        assert!(refused.iter().all(|stream| *stream > 2 * SERVED - 1));
        assert_eq!(frames.outcome(), "pong");
        assert_eq!(house.report().in_flight, u64::from(SERVED));
        (SERVED + 50..OPENED).for_each(|n| frames.post(2 * n + 1));
        assert_eq!(frames.outcome(), "reset 7, goaway 11, closed");
        house.report_when(|report| report.in_flight == 0);
    });
}
