//! Clients that take their time: with a head, a body, a handshake, or with reading.

use std::io::Write as _;
use std::time::Duration;

use sallyport_config::ir::Millis;

use super::support::{Act, House, Lines, Origin, field, on_each_driver, snapshot};

#[test]
fn a_head_that_does_not_end_is_answered_and_closed() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let lines = Lines::new("slow-head");
        let mut snapshot = snapshot(origin.address);
        lines.write_to(&mut snapshot, "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS%");
        snapshot.settings.connection.request_headers_timeout = Some(Millis(150));
        let house = House::open(driver, snapshot);
        let mut clients: Vec<_> = (0..50).map(|_| house.client()).collect();
        for client in &mut clients {
            client
                .stream
                .write_all(b"GET / HTTP/1.1\r\nhost: a")
                .unwrap();
        }
        // A byte now and then is no excuse.
        for byte in *b".example" {
            for client in &mut clients {
                drop(client.stream.write_all(&[byte]));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        for client in &mut clients {
            let seen = client.answer(true);
            assert_eq!(seen.status, 408, "{driver:?}");
            assert_eq!(field(&seen.head, "connection"), Some("close"));
            assert!(client.is_closed());
        }
        assert_eq!(origin.connections(), 0);
        assert!(lines.take(50).iter().all(|line| line.starts_with("408 ")));
        house.report_when(|report| report.listeners.values().all(|l| l.active() == 0));
        house.close();
    });
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Whole]);
        let lines = Lines::new("slow-body");
        for whole in [true, false] {
            let mut snapshot = snapshot(origin.address);
            lines.write_to(&mut snapshot, "%RESPONSE_CODE%");
            let settings = &mut snapshot.settings.connection;
            settings.stream_idle_timeout = (!whole).then_some(Millis(150));
            settings.request_timeout = whole.then_some(Millis(150));
            let house = House::open(driver, snapshot);
            let mut client = house.client();
            let head = b"POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1000000\r\n\r\nx";
            client.stream.write_all(head).unwrap();
            assert_eq!(client.answer(true).status, 408, "{driver:?}");
            assert!(client.is_closed());
            house.report_when(|report| {
                report.in_flight == 0 && report.upstreams.values().all(|u| u.active() == 0)
            });
            house.close();
        }
        assert_eq!(lines.take(2), ["408", "408"]);
    });
}

#[test]
fn who_does_not_read_is_given_up_and_the_origin_is_held_up() {
    on_each_driver(|driver| {
        let body = vec![b'x'; 64 << 20];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let origin = Origin::script(vec![Act::Send([head.as_bytes(), &body].concat())]);
        let lines = Lines::new("slow-reader");
        let mut snapshot = snapshot(origin.address);
        lines.write_to(
            &mut snapshot,
            "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT%",
        );
        snapshot.settings.connection.stream_idle_timeout = Some(Millis(300));
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        client.stream.write_all(super::support::GET).unwrap();
        let line = lines.take(1).remove(0);
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[..2], ["200", "SI"], "{driver:?}");
        let sent: usize = words[2].parse().unwrap();
        assert!(
            sent < body.len() / 2,
            "{sent} bytes were taken off the origin"
        );
        house.close();
    });
}

#[test]
fn pipelined_requests_wait_for_their_answers_to_be_read() {
    on_each_driver(|driver| {
        let body = "x".repeat(1 << 20);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let origin = Origin::script(vec![Act::Send([head, body].concat().into())]);
        let mut snapshot = snapshot(origin.address);
        snapshot.settings.connection.stream_idle_timeout = Some(Millis(300));
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        // What is not taken is in buffers of the kernel.
        client.stream.set_nonblocking(true).unwrap();
        let requests = super::support::GET.repeat(10_000);
        drop(client.stream.write_all(&requests));
        house.report_when(|report| report.listeners.values().any(|l| l.opened > l.active()));
        let asked: usize = origin.heads.lock().unwrap().iter().map(Vec::len).sum();
        assert!((1..100).contains(&asked), "{driver:?}: {asked}");
        house.close();
    });
}
