//! Requests in the first flight of a resumed connection (0-RTT), with quinn on the other side.
//!
//! Between client and gateway is a gate, so that a handshake is complete when a test wants it to be.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use quinn::{Connection, RecvStream, VarInt, ZeroRttAccepted};
use sallyport_config::ir;
use tokio::net::UdpSocket;

use super::h3::{meanwhile, run, tls};
use super::h3_frames::{frame, headers, status};
use super::support::{Act, House, Lines, Origin, PATIENCE, on_each_driver};
use super::tls::{Pair, pair, secured};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The snapshot of some names; each takes early data or does not.
fn early(upstream: SocketAddr, pairs: &[(&str, &Pair, bool)]) -> ir::Snapshot {
    let names: Vec<_> = pairs.iter().map(|(name, pair, _)| (*name, *pair)).collect();
    let mut snapshot = secured(upstream, &names);
    let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind else {
        panic!("not TLS");
    };
    for (chain, (.., on)) in chains.iter_mut().zip(pairs) {
        if let ir::Service::Http(http) = &mut chain.service {
            http.early_data = *on;
        }
    }
    snapshot
}

/// A client that remembers sessions, and sends early data where it may.
fn client(trusted: &Pair, change: impl FnOnce(&mut quinn::ClientConfig)) -> quinn::Endpoint {
    let mut config = tls(trusted);
    config.enable_early_data = true;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    change(&mut config);
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

fn request(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let get = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "a.example"),
        (":path", "/x"),
    ];
    headers(&[&get[..], more].concat())
}

async fn send(connection: &Connection, bytes: &[u8]) -> RecvStream {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    send.finish().unwrap();
    receive
}

async fn is_ok(receive: &mut RecvStream) -> bool {
    receive.read_to_end(4_096).await.unwrap().ends_with(b"ok")
}

/// A connection after which the client knows a session, and may know how to show where it is.
async fn visit(client: &quinn::Endpoint, house: &House, name: &str) {
    let connection = client.connect(house.door, name).unwrap().await.unwrap();
    // Tickets and tokens come before the first answer.
    let mut answer = send(&connection, &request("GET", &[])).await;
    answer.read_to_end(4_096).await.unwrap();
    connection.close(VarInt::from_u32(0x100), b"");
}

/// The way between a client and the gateway: what the client sends first goes by, and nothing else
/// until it is opened, so that the handshake is not complete before.
struct Gate {
    inner: Arc<UdpSocket>,
    outer: Arc<UdpSocket>,
    client: SocketAddr,
    /// What went by.
    flight: Vec<Vec<u8>>,
}

impl Gate {
    fn open(&self) {
        let (inner, outer, client) = (
            Arc::clone(&self.inner),
            Arc::clone(&self.outer),
            self.client,
        );
        tokio::spawn(async move {
            let mut datagram = [0; 2_000];
            while let Ok(len) = outer.recv(&mut datagram).await {
                inner.send_to(&datagram[..len], client).await.unwrap();
            }
        });
        let (inner, outer) = (Arc::clone(&self.inner), Arc::clone(&self.outer));
        tokio::spawn(async move {
            let mut datagram = [0; 2_000];
            while let Ok(len) = inner.recv(&mut datagram).await {
                outer.send(&datagram[..len]).await.unwrap();
            }
        });
    }
}

/// A connection that sends a request with its first packets.
struct Hurry {
    connection: Connection,
    accepted: ZeroRttAccepted,
    answer: RecvStream,
    gate: Gate,
}

/// Resumes a session to send a request with the first packets.
async fn hurry(client: &quinn::Endpoint, house: &House, bytes: &[u8]) -> Hurry {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let (inner, outer) = (bind().await.unwrap(), bind().await.unwrap());
    outer.connect(house.door).await.unwrap();
    let to = inner.local_addr().unwrap();
    let connecting = client.connect(to, "a.example").unwrap();
    let (connection, accepted) = connecting.into_0rtt().expect("a session with early data");
    let answer = send(&connection, bytes).await;
    let mut flight = Vec::new();
    while flight.is_empty() || connection.stats().udp_tx.datagrams > flight.len() as u64 {
        let mut datagram = vec![0; 2_000];
        let len = inner.recv(&mut datagram).await.unwrap();
        datagram.truncate(len);
        outer.send(&datagram).await.unwrap();
        flight.push(datagram);
    }
    let gate = Gate {
        inner: Arc::new(inner),
        outer: Arc::new(outer),
        client: client.local_addr().unwrap(),
        flight,
    };
    Hurry {
        connection,
        accepted,
        answer,
        gate,
    }
}

/// Waits until so many requests have come to the origin.
fn wait_for(origin: &Origin, requests: usize) {
    let end = Instant::now() + PATIENCE;
    while heads(origin).len() < requests {
        assert!(Instant::now() < end, "the request did not come");
        std::thread::yield_now();
    }
}

/// The heads that came to the origin, in order.
fn heads(origin: &Origin) -> Vec<String> {
    origin.heads.lock().unwrap().concat()
}

#[test]
fn safe_requests_are_served_before_the_handshake_is_complete() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let lines = Lines::new("early");
        let mut snapshot = early(origin.address, &[("a.example", &a, true)]);
        lines.write_to(
            &mut snapshot,
            "%REQ(:METHOD)% %REQ(EARLY-DATA)% %RESPONSE_CODE%\n",
        );
        let house = House::open(driver, snapshot);
        run(async {
            let client = client(&a, |_| {});
            visit(&client, &house, "a.example").await;
            for (turn, method) in ["GET", "HEAD", "OPTIONS"].into_iter().enumerate() {
                // What a client says of itself is replaced by the truth.
                let bytes = request(method, &[("early-data", "0"), ("early-data", "no")]);
                let mut hurry = hurry(&client, &house, &bytes).await;
                wait_for(&origin, 2 * turn + 2);
                hurry.gate.open();
                assert!(method == "HEAD" || is_ok(&mut hurry.answer).await);
                assert!(hurry.accepted.await);
                let mut later = send(&hurry.connection, &request("GET", &[])).await;
                assert!(is_ok(&mut later).await, "after the handshake");
                hurry.connection.close(VarInt::from_u32(0x100), b"");
            }
        });
        let said: Vec<_> = heads(&origin)
            .iter()
            .map(|head| {
                head.matches("early-data: 1\r\n").count() + 10 * head.matches("early-data").count()
            })
            .collect();
        assert_eq!(said, [0, 11, 0, 11, 0, 11, 0]);
        let all = lines.take(7);
        assert_eq!(all[..3], ["GET - 200", "GET 1 200", "GET - 200"]);
        assert_eq!(all[3..5], ["HEAD 1 200", "GET - 200"]);
        let report = house.report_when(|report| report.in_flight == 0);
        assert_eq!((report.early.served, report.early.held), (3, 0));
        assert_eq!(report.handshakes_ok, 4);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn other_requests_wait_for_the_end_of_the_handshake() {
    let a = pair("a.example");
    let body = |method| [request(method, &[]), frame(0, b"body")].concat();
    let cases = [
        ("POST", request("POST", &[])),
        ("PUT", body("PUT")),
        ("GET", body("GET")),
    ];
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Whole, Act::Send(OK.into())]);
        let house = House::open(driver, early(origin.address, &[("a.example", &a, true)]));
        run(async {
            let client = client(&a, |_| {});
            visit(&client, &house, "a.example").await;
            for (turn, (_, bytes)) in (1..).zip(&cases) {
                let mut hurry = hurry(&client, &house, bytes).await;
                meanwhile(|| house.report_when(|report| report.early.held == turn));
                assert_eq!(heads(&origin).len() as u64, turn, "it waits");
                hurry.gate.open();
                assert!(is_ok(&mut hurry.answer).await);
                assert!(hurry.accepted.await);
                hurry.connection.close(VarInt::from_u32(0x100), b"");
            }
        });
        for (head, (method, _)) in heads(&origin).iter().skip(1).zip(&cases) {
            assert!(head.starts_with(method), "{head}");
            assert!(!head.contains("early-data"), "{head}");
        }
        assert_eq!(house.report().early.served, 0);
        assert_eq!(house.close(), 0);
    });
}

/// Policies and logs go by the address: who has not shown that it is there waits.
#[test]
fn a_client_that_could_be_anywhere_waits() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let house = House::open(driver, early(origin.address, &[("a.example", &a, true)]));
        run(async {
            let client = client(&a, |config| {
                config.token_store(Arc::new(quinn::NoneTokenStore));
            });
            visit(&client, &house, "a.example").await;
            let mut hurry = hurry(&client, &house, &request("GET", &[])).await;
            meanwhile(|| house.report_when(|report| report.early.held == 1));
            assert_eq!(heads(&origin).len(), 1);
            hurry.gate.open();
            assert!(is_ok(&mut hurry.answer).await);
            assert!(hurry.accepted.await);
        });
        assert_eq!(house.report().early.served, 0);
    });
}

#[test]
fn early_data_is_refused_where_it_is_off() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let off = early(origin.address, &[("a.example", &a, false)]);
        let house = House::open(driver, off.clone());
        run(async {
            let client = client(&a, |_| {});
            visit(&client, &house, "a.example").await;
            let again = client.connect(house.door, "a.example").unwrap();
            assert!(again.into_0rtt().is_err(), "the session allows none");
            // Beside a server that takes it, its own sessions allow it: its requests wait.
            let pairs = [("a.example", &a, false), ("b.example", &b, true)];
            let activate = |id, snapshot| meanwhile(|| house.activate(id, snapshot));
            activate(2, early(origin.address, &pairs));
            visit(&client, &house, "a.example").await;
            let get = request("GET", &[]);
            let mut held = hurry(&client, &house, &get).await;
            meanwhile(|| house.report_when(|report| report.early.held == 1));
            held.gate.open();
            assert!(is_ok(&mut held.answer).await);
            assert!(held.accepted.await);
            // A session from before it was switched off.
            activate(3, off);
            let served = heads(&origin).len();
            let mut refused = hurry(&client, &house, &get).await;
            refused.gate.open();
            assert!(!refused.accepted.await);
            assert!(refused.answer.read_to_end(4_096).await.is_err());
            assert_eq!(heads(&origin).len(), served);
            let mut again = send(&refused.connection, &get).await;
            assert!(is_ok(&mut again).await, "the connection is as good as any");
        });
        let report = house.report();
        assert_eq!((report.early.served, report.early.held), (0, 1));
    });
}

#[test]
fn a_first_flight_that_was_captured_opens_nothing_twice() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let snapshot = early(origin.address, &[("a.example", &a, true)]);
        let house = House::open_with(driver, snapshot, 4);
        run(async {
            let client = client(&a, |_| {});
            visit(&client, &house, "a.example").await;
            let hurry = hurry(&client, &house, &request("GET", &[])).await;
            wait_for(&origin, 2);
            // Each port may have another worker, for which it is a connection like any other: a
            // handshake without a session.
            let mut answers = tokio::task::JoinSet::new();
            for _ in 0..16 {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                for datagram in &hurry.gate.flight {
                    socket.send_to(datagram, house.door).await.unwrap();
                }
                answers.spawn(async move { socket.recv(&mut [0; 2_000]).await.unwrap() });
            }
            assert!(answers.join_next().await.unwrap().unwrap() > 0);
        });
        let report = house.report_when(|report| report.early.served == 1);
        assert_eq!(report.early.held, 0);
        assert_eq!(heads(&origin).len(), 2, "the visit, and one of the flights");
    });
}

#[test]
fn an_upstream_may_say_that_it_is_too_early() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 425 Too Early\r\ncontent-length: 0\r\n\r\n");
        let house = House::open(driver, early(origin.address, &[("a.example", &a, true)]));
        run(async {
            let client = client(&a, |_| {});
            visit(&client, &house, "a.example").await;
            let mut hurry = hurry(&client, &house, &request("GET", &[])).await;
            meanwhile(|| house.report_when(|report| report.early.served == 1));
            hurry.gate.open();
            let chunk = hurry.answer.read_chunk(4_096, true).await.unwrap().unwrap();
            assert_eq!(status(chunk.bytes), 425);
            // A field that came from the hop before is passed on: nothing here can take it back.
            let passed = request("GET", &[("early-data", "1")]);
            let mut later = send(&hurry.connection, &passed).await;
            later.read_to_end(4_096).await.unwrap();
        });
        let heads = heads(&origin);
        let told: Vec<_> = heads
            .iter()
            .map(|head| head.contains("early-data: 1\r\n"))
            .collect();
        assert_eq!(told, [false, true, true]);
    });
}
