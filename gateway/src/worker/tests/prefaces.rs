//! How an HTTP/2 connection begins, however it is cut.

use super::frames::*;
use super::support::{House, Origin, on_each_driver, snapshot};

#[test]
fn prefaces_may_come_in_pieces_and_must_be_whole() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let house = House::open(driver, snapshot(origin.address));
        for cut in [1, 10, 17, 23] {
            let mut frames = Frames::silent(&house);
            frames.raw(&PREFACE[..cut]);
            std::thread::yield_now();
            frames.raw(&PREFACE[cut..]);
            frames.send(SETTINGS, 0, 0, &[]);
            assert_eq!(frames.next().unwrap().kind, SETTINGS);
            frames.get(1);
            frames.answer(1);
        }
        // What is nearly a preface is a bad request of HTTP/1.
        let mut frames = Frames::silent(&house);
        frames.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX");
        assert!(frames.next().is_none_or(|frame| frame.kind != SETTINGS));
    });
}
