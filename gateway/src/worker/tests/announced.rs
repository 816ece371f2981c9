//! Upstreams that are told whose a connection is, in both versions of the PROXY protocol.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use sallyport_config::ir::{self, ProxyVersion};
use sallyport_core::proxy_protocol::{Ends, parse, write_v2};

use super::origin_h2::H2Origin;
use super::support::{GET, House, Origin, on_each_driver, snapshot};
use super::tcp::{bytes, echo, server};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const VERSIONS: [ProxyVersion; 2] = [ProxyVersion::V1, ProxyVersion::V2];

/// Who each connection was announced as, in order.
type Announced = Arc<Mutex<Vec<Option<Ends>>>>;

/// Reads a header off each connection, and passes what follows on to an origin.
fn front(origin: SocketAddr) -> (SocketAddr, Announced) {
    let announced = Announced::default();
    let seen = Arc::clone(&announced);
    let address = server(move |mut stream| {
        let mut bytes = Vec::new();
        let header = loop {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            bytes.push(byte[0]);
            if let Some(header) = parse(&bytes).unwrap() {
                break header;
            }
        };
        seen.lock().unwrap().push(header.ends);
        let mut behind = TcpStream::connect(origin).unwrap();
        let (mut up, mut down) = (behind.try_clone().unwrap(), stream.try_clone().unwrap());
        std::thread::spawn(move || {
            drop(std::io::copy(&mut down, &mut up));
            drop(up.shutdown(Shutdown::Write));
        });
        drop(std::io::copy(&mut behind, &mut stream));
        drop(stream.shutdown(Shutdown::Write));
    });
    (address, announced)
}

/// Sends a snapshot's traffic to the front, with headers of this version.
fn by_front(snapshot: &mut ir::Snapshot, front: SocketAddr, version: ProxyVersion) {
    snapshot.clusters[0].traffic.proxy_protocol = Some(version);
    snapshot.clusters[0].endpoints[0].address = front;
}

/// The ends of a client's connection.
fn own(client: &TcpStream) -> Option<Ends> {
    Some(Ends {
        source: client.local_addr().unwrap(),
        destination: client.peer_addr().unwrap(),
    })
}

#[test]
fn each_client_has_connections_of_its_own() {
    on_each_driver(|driver| {
        for version in VERSIONS {
            let origin = Origin::answers(OK);
            let (front, announced) = front(origin.address);
            let mut snapshot = snapshot(origin.address);
            by_front(&mut snapshot, front, version);
            let house = House::open(driver, snapshot);
            let (mut one, mut two) = (house.client(), house.client());
            for _ in 0..2 {
                assert_eq!(one.ask(GET).status, 200);
                assert_eq!(two.ask(GET).status, 200);
            }
            let want = [own(&one.stream), own(&two.stream)];
            assert_eq!(*announced.lock().unwrap(), want);
            // One whose rule says nothing more has connections without a header.
            let mut plain = super::support::snapshot(origin.address);
            plain.clusters[0].endpoints[0].address = origin.address;
            house.activate(2, plain);
            assert_eq!(one.ask(GET).status, 200);
            assert_eq!(
                (announced.lock().unwrap().len(), origin.connections()),
                (2, 3)
            );
            assert_eq!(house.close(), 0);
        }
    });
}

#[test]
fn streams_of_different_clients_share_no_connection() {
    on_each_driver(|driver| {
        for version in VERSIONS {
            let origin = H2Origin::start(100, usize::MAX);
            let (front, announced) = front(origin.address);
            let mut snapshot = origin.snapshot();
            by_front(&mut snapshot, front, version);
            let house = House::open(driver, snapshot);
            let mut clients: Vec<_> = (0..3).map(|_| house.client()).collect();
            // All at once: nobody waits for the connection of another.
            for client in &mut clients {
                client.stream.write_all(GET).unwrap();
            }
            for client in &mut clients {
                assert_eq!(client.answer(true).status, 200);
                assert_eq!(client.ask(GET).status, 200);
            }
            let port = |ends: &Option<Ends>| ends.unwrap().source.port();
            let mut seen: Vec<_> = announced.lock().unwrap().iter().map(port).collect();
            let mut want: Vec<_> = clients.iter().map(|c| port(&own(&c.stream))).collect();
            seen.sort_unstable();
            want.sort_unstable();
            assert_eq!(seen, want);
            assert_eq!(origin.connections(), 3);
            house.close();
        }
    });
}

#[test]
fn bytes_come_behind_a_header_and_ends_that_were_announced_are_passed_on() {
    on_each_driver(|driver| {
        for version in VERSIONS {
            let (front, announced) = front(echo());
            let mut snapshot = bytes(&[front]);
            by_front(&mut snapshot, front, version);
            snapshot.settings.proxy_protocol = true;
            let house = House::open(driver, snapshot);
            let ends = Ends {
                source: "[2001:db8::9]:4711".parse().unwrap(),
                destination: "[2001:db8::1]:443".parse().unwrap(),
            };
            let mut head = Vec::new();
            write_v2(&ends, &mut head);
            let mut stream = house.client().stream;
            stream.write_all(&[&head[..], b"hello"].concat()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut back = String::new();
            stream.read_to_string(&mut back).unwrap();
            assert_eq!(back, "hello");
            assert_eq!(*announced.lock().unwrap(), [Some(ends)]);
            house.close();
        }
    });
}

#[test]
fn tls_begins_behind_the_header() {
    on_each_driver(|driver| {
        let (heard, hears) = std::sync::mpsc::channel();
        let origin = server(move |mut stream| {
            let mut hello = [0; 2];
            stream.read_exact(&mut hello).unwrap();
            heard.send(hello).unwrap();
        });
        let (front, announced) = front(origin);
        let mut snapshot = snapshot(origin);
        by_front(&mut snapshot, front, ProxyVersion::V1);
        let tls = ir::ClientTls {
            mode: ir::ClientTlsMode::Simple,
            certificate: None,
            roots: ir::Roots::Unchecked,
            crl: None,
            sni: ir::ServerName::Authority,
            names: ir::PeerNames::Any,
        };
        snapshot.clusters[0].tls = ir::UpstreamTls::Always(Arc::new(tls));
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        assert_eq!(client.ask(GET).status, 503);
        // A handshake record of TLS.
        let hello = hears.recv_timeout(super::support::PATIENCE).unwrap();
        assert_eq!(hello, [22, 3]);
        assert_eq!(announced.lock().unwrap()[0], own(&client.stream));
        house.close();
    });
}
