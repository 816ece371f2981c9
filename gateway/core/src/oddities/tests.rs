//! Floods of every kind, and clients that only work hard.

use super::*;

const SECOND: u64 = 1_000_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn fresh() -> Oddities {
    let mut oddities = Oddities::new(Now(0));
    oddities.scan(&[b'P'; 24], Now(0));
    oddities.scan(&frame(4, 0, 0, &[0; 12]), Now(0));
    oddities
}

/// Name, the n-th frames, and the counts by which GOAWAY is said and the connection closed.
type Flood<'a> = (&'a str, &'a dyn Fn(u32) -> Vec<u8>, u32, u32);

/// How many of these frames bring a connection to each verdict, sent at once.
fn counts(frames: &dyn Fn(u32) -> Vec<u8>) -> (u32, u32) {
    let mut oddities = fresh();
    let mut calm = 0;
    for count in 1..100_000 {
        oddities.scan(&frames(count), Now(0));
        match oddities.verdict() {
            Verdict::Fine | Verdict::Misshapen => {}
            Verdict::Calm if calm == 0 => calm = count,
            Verdict::Calm => {}
            Verdict::Close => return (calm, count),
        }
    }
    panic!("never closed");
}

#[test]
fn floods_end_before_their_counts() {
    let reset = |n: u32| {
        [
            frame(1, 5, 2 * n + 1, b"h"),
            frame(3, 0, 2 * n + 1, &[0; 4]),
        ]
        .concat()
    };
    let open = |n: u32| frame(2, 0, n, &[0; 5]);
    let cases: [Flood<'_>; 8] = [
        ("rapid reset", &reset, 150, 200),
        ("SETTINGS", &|_| frame(4, 0, 0, &[]), 625, 833),
        ("PING", &|_| frame(6, 0, 0, &[0; 8]), 625, 833),
        ("empty DATA", &|_| frame(0, 0, 1, &[]), 75, 100),
        ("PRIORITY", &open, 75, 100),
        ("WINDOW_UPDATE", &|_| frame(8, 0, 0, &[0; 4]), 20, 25),
        ("empty CONTINUATION", &|_| frame(9, 0, 1, &[]), 0, 2),
        ("CONTINUATION", &|_| frame(9, 0, 1, b"x"), 0, 9),
    ];
    for (name, frames, calm, close) in cases {
        let (saw_calm, saw_close) = counts(frames);
        assert!(
            saw_calm <= calm && saw_close <= close,
            "{name}: {saw_calm} {saw_close}"
        );
    }
}

#[test]
fn a_client_that_works_is_left_alone() {
    let mut oddities = fresh();
    for round in 0..100_000_u32 {
        let stream = 2 * round + 1;
        let now = Now(u64::from(round) * 1_000);
        oddities.scan(&frame(1, 5, stream, b"head"), now);
        if round % 10 == 0 {
            // Cancels one of ten, pings, and refills windows for every piece.
            oddities.scan(&frame(3, 0, stream, &[0; 4]), now);
            oddities.scan(&frame(6, 0, 0, &[0; 8]), now);
        }
        oddities.scan(&frame(8, 0, 0, &[0, 0, 1, 0]), now);
        oddities.worked();
        assert_eq!(oddities.verdict(), Verdict::Fine, "round {round}");
    }
}

#[test]
fn what_was_odd_is_forgotten() {
    let mut oddities = fresh();
    for _ in 0..150 {
        oddities.scan(&frame(3, 0, 1, &[0; 4]), Now(0));
    }
    assert_eq!(oddities.verdict(), Verdict::Calm);
    oddities.scan(&[], Now(10 * SECOND));
    assert_eq!(oddities.verdict(), Verdict::Fine);
    assert_eq!(oddities.seen(), 151);
}

#[test]
fn frames_have_the_lengths_of_their_types() {
    let cases = [
        (frame(2, 0, 1, &[0; 4]), frame(2, 0, 1, &[0; 5])),
        (frame(3, 0, 1, &[0; 3]), frame(3, 0, 1, &[0; 4])),
        (frame(4, 0, 0, &[0; 7]), frame(4, 0, 0, &[0; 12])),
        (frame(4, 1, 0, &[0; 6]), frame(4, 1, 0, &[])),
        (frame(6, 0, 0, &[0; 6]), frame(6, 0, 0, &[0; 8])),
        (frame(8, 0, 0, &[0; 3]), frame(8, 0, 0, &[0; 4])),
    ];
    for (bad, good) in cases {
        let mut oddities = fresh();
        oddities.scan(&good, Now(0));
        assert_eq!(oddities.verdict(), Verdict::Fine);
        oddities.scan(&bad, Now(0));
        assert_eq!(oddities.verdict(), Verdict::Misshapen, "{bad:?}");
    }
}

#[test]
fn how_the_bytes_are_cut_changes_nothing() {
    let bytes: Vec<u8> = (0..40)
        .flat_map(|n| {
            [
                frame(1, 4, 2 * n + 1, b"abc"),
                frame(3, 0, 2 * n + 1, &[0; 4]),
            ]
            .concat()
        })
        .collect();
    let mut whole = fresh();
    whole.scan(&bytes, Now(0));
    let mut cut = fresh();
    for byte in bytes.chunks(1) {
        cut.scan(byte, Now(0));
    }
    assert_eq!((whole.points, whole.seen), (cut.points, cut.seen));
    assert_eq!(whole.seen, 41);
}
