//! Origins of HTTP/2 that take nothing: clients get an answer, and nobody is asked for ever.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sallyport_config::ir;

use super::frames::*;
use super::support::{GET, House, Lines, on_each_driver, snapshot};

/// An origin that says these frames to whoever connects, and nothing more; how many did.
fn says(bytes: Vec<u8>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            let (mut stream, bytes) = (stream.unwrap(), bytes.clone());
            std::thread::spawn(move || {
                stream.write_all(&bytes).unwrap();
                let mut rest = [0; 4_096];
                while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
            });
        }
    });
    (address, connections)
}

/// Has requests end after this.
fn limit(snapshot: &mut ir::Snapshot, timeout: ir::Millis) {
    let host = &mut snapshot.route_tables[0].hosts[0];
    let mut routes = host.routes.to_vec();
    if let ir::Action::Forward(forward) = &mut routes[0].action {
        forward.timeout = Some(timeout);
    }
    host.routes = routes.into();
}

/// CVE-2021-32780: GOAWAY together with SETTINGS that allow no stream, in either order.
#[test]
fn an_origin_that_takes_no_streams_is_answered_for() {
    let none = frame(SETTINGS, 0, 0, &setting(3, 0));
    let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
    let all = [
        ([none.clone(), goaway.clone()].concat(), 503),
        (
            [frame(SETTINGS, 0, 0, &[]), goaway, none.clone()].concat(),
            503,
        ),
        // It may allow some later: the request waits as long as it may.
        (none, 504),
    ];
    on_each_driver(|driver| {
        for (bytes, status) in &all {
            let (address, connections) = says(bytes.clone());
            let lines = Lines::new("h2-hostile");
            let mut snapshot = snapshot(address);
            snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
            limit(&mut snapshot, ir::Millis(500));
            lines.write_to(&mut snapshot, "%RESPONSE_CODE% %RESPONSE_FLAGS%");
            let house = House::open(driver, snapshot);
            let mut clients: Vec<_> = (0..5).map(|_| house.client()).collect();
            for client in &mut clients {
                client.stream.write_all(GET).unwrap();
            }
            for client in &mut clients {
                assert_eq!(client.answer(true).status, *status);
            }
            // A request and its two retries may each look for a better one; who may allow streams
            // later is waited for on one.
            let most = if *status == 504 { 1 } else { 15 };
            assert!(
                connections.load(Ordering::Relaxed) <= most,
                "{connections:?}"
            );
            for line in lines.take(5) {
                assert!(line.starts_with(&format!("{status} U")), "{line}");
            }
            house.report_when(|report| report.in_flight == 0);
            assert_eq!(house.close(), 0);
        }
    });
}

/// Reads one frame: its kind and its stream.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [a, b, c, kind, _, id @ ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]);
    let mut payload = vec![0; length.try_into().unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some((kind, u32::from_be_bytes(id)))
}

#[test]
fn requests_wait_together_for_an_origin_that_takes_streams_later() {
    const OK: u8 = 0x88;
    on_each_driver(|driver| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut snapshot = snapshot(listener.local_addr().unwrap());
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
        let house = House::open(driver, snapshot);
        let mut clients: Vec<_> = (0..20).map(|_| house.client()).collect();
        clients[0].stream.write_all(GET).unwrap();
        let (mut origin, _) = listener.accept().unwrap();
        origin
            .write_all(&frame(SETTINGS, 0, 0, &setting(3, 0)))
            .unwrap();
        let mut preface = [0; 24];
        origin.read_exact(&mut preface).unwrap();
        // Its own settings, and the answer to ours; the first request may have come before that.
        let (mut settings, mut asked) = (0, Vec::new());
        while settings < 2 {
            match read_frame(&mut origin).unwrap() {
                (SETTINGS, _) => settings += 1,
                (HEADERS, id) => asked.push(id),
                _ => {}
            }
        }
        for client in &mut clients[1..] {
            client.stream.write_all(GET).unwrap();
        }
        house.report_when(|report| report.in_flight == 20);
        origin
            .write_all(&frame(SETTINGS, 0, 0, &setting(3, 100)))
            .unwrap();
        std::thread::spawn(move || {
            loop {
                for id in asked.drain(..) {
                    let answer = frame(HEADERS, END | END_HEADERS, id, &[OK]);
                    origin.write_all(&answer).unwrap();
                }
                match read_frame(&mut origin) {
                    Some((HEADERS, id)) => asked.push(id),
                    Some(_) => {}
                    None => return,
                }
            }
        });
        for client in &mut clients {
            assert_eq!(client.answer(true).status, 200);
        }
        let report = house.report_when(|report| report.in_flight == 0);
        let upstream = report.upstreams.values().next().unwrap();
        assert_eq!(upstream.connects, 1);
        drop(clients);
        assert_eq!(house.close(), 0);
    });
}
