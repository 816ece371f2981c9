//! How connections to upstreams begin and stay: through a tunnel, pinged, shared.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use sallyport_config::ir;

use super::origin_h2::H2Origin;
use super::support::{
    Client, GET, House, Lines, Origin, PATIENCE, field, on_each_driver, snapshot,
};
use super::tcp::{echo, server, service};

/// Bytes through a proxy at this address, to `far.example:443`.
fn tunnelled(proxy: SocketAddr) -> ir::Snapshot {
    asked(proxy, ir::TunnelMethod::Connect)
}

/// The same, by another method.
fn asked(proxy: SocketAddr, method: ir::TunnelMethod) -> ir::Snapshot {
    let mut snapshot = snapshot(proxy);
    let ir::Service::Tcp(mut tcp) = service(&[(0, 1)]) else {
        panic!("not TCP");
    };
    tcp.tunnel = Some(ir::Tunnel {
        target: "far.example:443".to_owned(),
        method,
    });
    snapshot.listeners[0].kind = ir::ListenerKind::Plain(ir::Service::Tcp(tcp));
    snapshot
}

/// A proxy that answers CONNECT with these bytes and then carries to `to`; with the heads it saw.
fn proxy(says: &'static [u8], to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let address = server(move |stream| {
        let mut near = Client::new(stream);
        let Some(head) = near.head() else { return };
        seen.lock().unwrap().push(head);
        near.stream.write_all(says).unwrap();
        if says.is_empty() || !says.windows(4).any(|four| four == b" 200") {
            return;
        }
        let far = TcpStream::connect(to).unwrap();
        let (mut from, mut into) = (far.try_clone().unwrap(), near.stream.try_clone().unwrap());
        let back = std::thread::spawn(move || drop(std::io::copy(&mut from, &mut into)));
        let mut into = far;
        drop(std::io::copy(&mut near.stream, &mut into));
        drop(into.shutdown(std::net::Shutdown::Write));
        back.join().unwrap();
    });
    (address, heads)
}

fn ping(stream: &mut TcpStream) {
    stream.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}

#[test]
fn bytes_go_through_a_proxy_that_is_asked_to_connect() {
    on_each_driver(|driver| {
        for says in [
            &b"HTTP/1.1 200 Connection established\r\n\r\n"[..],
            b"HTTP/1.0 200 OK\r\nproxy-agent: x\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let (address, heads) = proxy(says, echo());
            let lines = Lines::new("tunnel");
            let mut snapshot = tunnelled(address);
            lines.write_to(
                &mut snapshot,
                "%BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS%",
            );
            let house = House::open(driver, snapshot);
            let mut client = house.client().stream;
            ping(&mut client);
            drop(client);
            let asked = "CONNECT far.example:443 HTTP/1.1\r\nhost: far.example:443\r\n\r\n";
            assert_eq!(*heads.lock().unwrap(), [asked]);
            assert_eq!(lines.take(1), ["4 4 -"]);
            house.close();
        }
    });
}

#[test]
fn what_comes_with_the_answer_is_not_lost() {
    on_each_driver(|driver| {
        let (address, _) = proxy(b"HTTP/1.1 200 OK\r\n\r\nhello ", echo());
        let house = House::open(driver, tunnelled(address));
        let mut client = house.client();
        client.stream.write_all(b"there").unwrap();
        assert_eq!(client.take(11), "hello there");
        house.close();
    });
}

#[test]
fn a_proxy_that_does_not_connect_gets_no_bytes() {
    on_each_driver(|driver| {
        for (says, flags) in [
            (
                &b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"[..],
                "UF",
            ),
            (b"HTTP/1.1 407 Who\r\n\r\n", "UF"),
            (b"SSH-2.0-x\r\n", "UPE"),
            (b"", "UC"),
        ] {
            let (address, heads) = proxy(says, echo());
            let lines = Lines::new("tunnel-refused");
            let mut snapshot = tunnelled(address);
            lines.write_to(
                &mut snapshot,
                "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%",
            );
            let house = House::open(driver, snapshot);
            let mut client = house.client().stream;
            client.write_all(b"secret").unwrap();
            let end = client
                .read_to_end(&mut Vec::new())
                .map_err(|error| error.kind());
            assert!(matches!(end, Err(ErrorKind::ConnectionReset)), "{end:?}");
            let line = lines.take(1).remove(0);
            assert!(line.contains(flags), "{line}");
            assert_eq!(line.contains("tunnel_refused"), flags == "UF", "{line}");
            assert!(
                heads
                    .lock()
                    .unwrap()
                    .iter()
                    .all(|head| !head.contains("secret"))
            );
            house.close();
        }
    });
}

#[test]
fn a_proxy_that_says_nothing_is_given_up_in_time() {
    on_each_driver(|driver| {
        let silent = server(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
        let mut snapshot = tunnelled(silent);
        snapshot.clusters[0].connect_timeout = ir::Millis(50);
        let house = House::open(driver, snapshot);
        let end = house.client().stream.read_to_end(&mut Vec::new());
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        house.close();
    });
}

/// A proxy that answers POST with these bytes; of a body in chunks it sends the chunks back, behind
/// anything else it closes.
fn poster(says: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let address = server(move |stream| {
        let mut near = Client::new(stream);
        let Some(head) = near.head() else { return };
        seen.lock().unwrap().push(head);
        near.stream.write_all(says).unwrap();
        if says.ends_with(b"chunked\r\n\r\n") {
            let mut back = near.stream.try_clone().unwrap();
            drop(std::io::copy(&mut near.stream, &mut back));
        }
    });
    (address, heads)
}

#[test]
fn bytes_go_through_a_proxy_as_the_bodies_of_a_post() {
    on_each_driver(|driver| {
        let says = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let (address, heads) = poster(says);
        let house = House::open(driver, asked(address, ir::TunnelMethod::Post));
        let mut client = house.client().stream;
        ping(&mut client);
        let much = vec![b'x'; 300_000];
        let mut sender = client.try_clone().unwrap();
        let sent = much.clone();
        let sending = std::thread::spawn(move || {
            sender.write_all(&sent).unwrap();
            sender.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        sending.join().unwrap();
        assert!(back == much, "{} bytes", back.len());
        let head = "POST / HTTP/1.1\r\nhost: far.example:443\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(*heads.lock().unwrap(), [head]);
        house.close();
    });
}

#[test]
fn what_ends_a_post_ends_the_bytes_and_what_cuts_it_off_breaks_them() {
    on_each_driver(|driver| {
        for (says, end) in [
            (&b"HTTP/1.1 200 OK\r\n\r\nhello"[..], Ok(5)),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Ok(5)),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello",
                Err(ErrorKind::ConnectionReset),
            ),
            (
                b"HTTP/1.1 403 No\r\ncontent-length: 5\r\n\r\nhello",
                Err(ErrorKind::ConnectionReset),
            ),
        ] {
            let (address, _) = poster(says);
            let house = House::open(driver, asked(address, ir::TunnelMethod::Post));
            let mut client = house.client().stream;
            let read = client.read_to_end(&mut Vec::new());
            assert_eq!(
                read.map_err(|error| error.kind()),
                end,
                "{}",
                says.escape_ascii()
            );
            house.close();
        }
    });
}

#[test]
fn tunnels_over_http2_are_streams_of_one_connection() {
    on_each_driver(|driver| {
        for (method, head) in [
            (ir::TunnelMethod::Connect, "CONNECT far.example:443 \r\n"),
            (ir::TunnelMethod::Post, "POST far.example:443 /\r\n"),
        ] {
            let origin = H2Origin::start(100, usize::MAX);
            let mut snapshot = asked(origin.address, method);
            snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
            let house = House::open(driver, snapshot);
            let mut clients: Vec<_> = (0..3).map(|_| house.client().stream).collect();
            for client in &mut clients {
                ping(client);
            }
            for client in &mut clients {
                let mut sender = client.try_clone().unwrap();
                let sending = std::thread::spawn(move || {
                    sender.write_all(&vec![b'x'; 300_000]).unwrap();
                    sender.shutdown(std::net::Shutdown::Write).unwrap();
                });
                let mut back = Vec::new();
                client.read_to_end(&mut back).unwrap();
                sending.join().unwrap();
                assert_eq!(back.len(), 300_000);
            }
            assert_eq!(origin.connections(), 1);
            assert_eq!(*origin.seen.heads.lock().unwrap(), [head; 3]);
            house.close();
        }
    });
}

#[test]
fn a_stream_that_is_refused_or_reset_carries_nothing() {
    on_each_driver(|driver| {
        for (target, flags) in [("shut.example:443", "UF"), ("reset.example:443", "UR")] {
            let origin = H2Origin::start(100, usize::MAX);
            let lines = Lines::new("tunnel-stream");
            let mut snapshot = tunnelled(origin.address);
            let kind = &mut snapshot.listeners[0].kind;
            if let ir::ListenerKind::Plain(ir::Service::Tcp(tcp)) = kind {
                tcp.tunnel.as_mut().unwrap().target = target.to_owned();
            }
            snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
            lines.write_to(&mut snapshot, "%RESPONSE_FLAGS% %BYTES_SENT%");
            let house = House::open(driver, snapshot);
            let mut client = house.client().stream;
            client.write_all(b"secret").unwrap();
            let end = client.read_to_end(&mut Vec::new());
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
            let line = lines.take(1).remove(0);
            assert!(line.contains(flags) && line.ends_with(" 0"), "{line}");
            house.close();
        }
    });
}

#[test]
fn streams_share_a_connection_as_far_as_a_rule_lets_them() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let mut snapshot = origin.snapshot();
        snapshot.clusters[0].traffic.max_streams = Some(2);
        let house = House::open(driver, snapshot);
        let mut clients: Vec<_> = (0..6).map(|_| house.client()).collect();
        let slow = b"GET /slow HTTP/1.1\r\nhost: a.example\r\n\r\n";
        for client in &mut clients {
            client.stream.write_all(slow).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.answer(true).body, "slow");
        }
        assert!(origin.seen.crowd.load(Ordering::Relaxed) <= 2);
        assert!(origin.connections() >= 3, "{}", origin.connections());
        house.close();
    });
}

#[test]
fn an_upstream_that_answers_no_ping_is_left_and_one_that_does_is_kept() {
    on_each_driver(|driver| {
        let pinged = |snapshot: &mut ir::Snapshot| {
            snapshot.clusters[0].traffic.ping = Some(ir::Ping {
                interval: ir::Millis(20),
                timeout: ir::Millis(500),
            });
        };
        let (left, leaves) = channel();
        let dead = server(move |mut stream| {
            // an empty SETTINGS, and not a word more
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
            let mut all = Vec::new();
            drop(stream.read_to_end(&mut all));
            let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0];
            left.send(all.windows(9).any(|nine| nine == ping)).unwrap();
        });
        let mut snapshot = snapshot(SocketAddr::from((Ipv4Addr::LOCALHOST, dead.port())));
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
        pinged(&mut snapshot);
        let house = House::open(driver, snapshot);
        let seen = house.client().ask(GET);
        assert_eq!(seen.status, 503, "{}", seen.head);
        assert_eq!(field(&seen.head, "server"), Some("istio-envoy"));
        assert!(leaves.recv_timeout(PATIENCE).unwrap(), "it was pinged");

        let origin = H2Origin::start(100, usize::MAX);
        let mut snapshot = origin.snapshot();
        pinged(&mut snapshot);
        house.activate(2, snapshot);
        let slow = b"GET /slow HTTP/1.1\r\nhost: a.example\r\n\r\n";
        for _ in 0..5 {
            assert_eq!(house.client().ask(slow).body, "slow");
        }
        assert_eq!(origin.connections(), 1);
        house.close();
    });
}

#[test]
fn a_connection_that_is_idle_for_too_long_is_closed() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let mut snapshot = snapshot(origin.address);
        snapshot.clusters[0].idle_timeout = Some(ir::Millis(20));
        let house = House::open(driver, snapshot);
        for connections in 1..=2 {
            assert_eq!(house.client().ask(GET).body, "ok");
            house.report_when(|report| report.upstreams.values().all(|u| u.active() == 0));
            assert_eq!(origin.connections(), connections, "{driver:?}");
        }
        house.close();
    });
}
