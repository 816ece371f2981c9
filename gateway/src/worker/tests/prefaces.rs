//! How an HTTP/2 connection begins, however it is cut, and what SETTINGS change later.

use super::frames::*;
use super::support::{House, Origin, on_each_driver, snapshot};

#[test]
fn prefaces_and_settings() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let house = House::open(driver, snapshot(origin.address));
        // 3.5/1, 6.5.3/2, split at every byte of the preface.
        for cut in [1, 10, 17, 23] {
            let mut frames = Frames::silent(&house);
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
            frames.raw(&preface[..cut]);
            std::thread::yield_now();
            frames.raw(&preface[cut..]);
            frames.send(SETTINGS, 0, 0, &[]);
            assert_eq!(frames.next().unwrap().kind, SETTINGS);
            frames.get(1);
            frames.answer(1);
        }
        // 3.5/2: what is nearly a preface is a bad request of HTTP/1.
        let mut frames = Frames::silent(&house);
        frames.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX");
        assert!(frames.next().is_none_or(|frame| frame.kind != SETTINGS));
        // 6.5.3/1, 6.9.1/1, 6.9.2/1 and /2: windows of one byte, then wider, then narrower.
        let mut frames = Frames::open(&house);
        let two = [setting(4, 100), setting(4, 1)].concat();
        frames.send(SETTINGS, 0, 0, &two);
        frames.get(1);
        let data = |frames: &mut Frames| loop {
            let frame = frames.next().unwrap();
            if frame.kind == DATA {
                return frame.payload;
            }
        };
        assert_eq!(data(&mut frames), b"h");
        frames.send(SETTINGS, 0, 0, &setting(4, 3));
        assert_eq!(data(&mut frames), b"el");
        frames.send(SETTINGS, 0, 0, &setting(4, 0));
        frames.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 4]);
        assert_eq!(data(&mut frames), b"l");
        frames.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]);
        assert_eq!(data(&mut frames), b"o");
    });
}
