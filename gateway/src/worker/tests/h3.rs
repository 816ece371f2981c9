//! HTTP/3 towards clients, with quinn and h3 on the other side.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sallyport_config::ir;
use tokio::time::timeout;

use super::support::{Act, GET, House, Lines, Origin, PATIENCE, field, on_each_driver};
use super::tls::{Pair, pair, secured};
use crate::stats::Report;

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;
pub(super) type Stream = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// What a client offers that trusts one certificate and speaks `h3`.
pub(super) fn tls(trusted: &Pair) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(&trusted.chain).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls
}

/// A QUIC client that trusts one certificate and speaks `h3`.
pub(super) fn endpoint(trusted: &Pair) -> quinn::Endpoint {
    let tls = tls(trusted);
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint
}

/// Runs a client; a test ends rather than hangs.
pub(super) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { timeout(PATIENCE, client).await.expect("in time") })
}

/// Does something on another thread, while the client on this one does nothing.
pub(super) fn meanwhile<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

/// A connection, and a way to send requests on it.
pub(super) async fn connect(
    endpoint: &quinn::Endpoint,
    door: SocketAddr,
    name: &str,
) -> (quinn::Connection, Sender) {
    let connection = endpoint.connect(door, name).unwrap().await.unwrap();
    let quic = h3_quinn::Connection::new(connection.clone());
    let (mut driver, sender) = h3::client::new(quic).await.unwrap();
    tokio::spawn(async move { std::future::poll_fn(|context| driver.poll_close(context)).await });
    (connection, sender)
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://a.example{path}"))
        .body(())
        .unwrap()
}

/// The rest of an answer.
async fn answer(stream: &mut Stream) -> (Response<()>, Vec<u8>, Option<HeaderMap>) {
    let response = stream.recv_response().await.unwrap();
    let mut body = Vec::new();
    while let Some(mut data) = stream.recv_data().await.unwrap() {
        while data.has_remaining() {
            let chunk = data.chunk().to_vec();
            data.advance(chunk.len());
            body.extend(chunk);
        }
    }
    let trailers = stream.recv_trailers().await.unwrap();
    (response, body, trailers)
}

async fn ask(sender: &mut Sender, request: Request<()>) -> (Response<()>, Vec<u8>) {
    let mut stream = sender.send_request(request).await.unwrap();
    stream.finish().await.unwrap();
    let (response, body, _) = answer(&mut stream).await;
    (response, body)
}

#[test]
fn requests_are_answered() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let lines = Lines::new("h3");
        let mut snapshot = secured(origin.address, &[("a.example", &a)]);
        lines.write_to(
            &mut snapshot,
            "%PROTOCOL% %RESPONSE_CODE% %DOWNSTREAM_TLS_VERSION%\n",
        );
        let house = House::open(driver, snapshot);
        run(async {
            let (_connection, mut sender) = connect(&endpoint(&a), house.door, "a.example").await;
            for turn in 0..5 {
                let (response, body) = ask(&mut sender, get(&format!("/{turn}?q"))).await;
                assert_eq!((response.status().as_u16(), &body[..]), (200, &b"ok"[..]));
                assert_eq!(response.headers()["content-length"], "2");
            }
        });
        let head = origin.heads.lock().unwrap()[0][4].clone();
        assert!(
            head.starts_with("GET /4?q HTTP/1.1\r\nhost: a.example\r\n"),
            "{head}"
        );
        assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
        assert_eq!(house.report().handshakes_ok, 1);
        assert_eq!(lines.take(5), ["HTTP/3 200 TLSv1.3"; 5]);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let a = pair("a.example");
    let body = vec![b'x'; 1 << 20];
    let mut reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n100000\r\n".to_vec();
    reply.extend(&body);
    reply.extend(b"\r\n0\r\nx-sum: 7\r\n\r\n");
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Read(1 << 20), Act::Send(reply.clone())]);
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let (_connection, mut sender) = connect(&endpoint(&a), house.door, "a.example").await;
            for _ in 0..2 {
                let mut request = get("/");
                *request.method_mut() = http::Method::POST;
                let length = http::HeaderValue::from_static("1048576");
                request.headers_mut().insert("content-length", length);
                let mut stream = sender.send_request(request).await.unwrap();
                stream.send_data(body.clone().into()).await.unwrap();
                stream.finish().await.unwrap();
                let (response, came, trailers) = answer(&mut stream).await;
                assert!(came == body, "{} bytes", came.len());
                assert_eq!(response.headers().get("content-length"), None);
                assert_eq!(trailers.unwrap()["x-sum"], "7");
            }
        });
        let report = house.report();
        let sent: u64 = report.series.values().map(|s| s.requests).sum();
        assert_eq!(sent, 2);
    });
}

#[test]
fn a_body_without_length_goes_up_in_chunks_with_its_trailers() {
    let a = pair("a.example");
    let ok = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
    let chunks = "5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n";
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Read(chunks.len()), Act::Send(ok.clone())]);
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let (_connection, mut sender) = connect(&endpoint(&a), house.door, "a.example").await;
            let mut request = get("/");
            *request.method_mut() = http::Method::PUT;
            let te = http::HeaderValue::from_static("trailers");
            request.headers_mut().insert("te", te);
            let mut stream = sender.send_request(request).await.unwrap();
            stream
                .send_data(Bytes::from_static(b"hello"))
                .await
                .unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-t", http::HeaderValue::from_static("1"));
            stream.send_trailers(trailers).await.unwrap();
            stream.finish().await.unwrap();
            let (response, body, _) = answer(&mut stream).await;
            assert_eq!((response.status().as_u16(), body.len()), (204, 0));
        });
        let head = origin.heads.lock().unwrap()[0][0].clone();
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    });
}

#[test]
fn many_requests_share_a_connection() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let (_connection, sender) = connect(&endpoint(&a), house.door, "a.example").await;
            let mut all = tokio::task::JoinSet::new();
            for turn in 0..400 {
                let mut sender = sender.clone();
                all.spawn(async move { ask(&mut sender, get(&format!("/{turn}"))).await.1 });
            }
            while let Some(body) = all.join_next().await {
                assert_eq!(body.unwrap(), b"ok");
            }
        });
        let report = house.report_when(|report| report.in_flight == 0);
        assert_eq!(report.series.values().map(|s| s.requests).sum::<u64>(), 400);
    });
}

/// The counters, once they are as they should be, while the client goes on.
async fn report_when(house: &House, done: impl Fn(&Report) -> bool) -> Report {
    loop {
        let report = std::thread::scope(|scope| scope.spawn(|| house.report()).join().unwrap());
        if done(&report) {
            return report;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn requests_that_are_given_up_leave_nothing_behind() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        // the origin never answers
        let origin = Origin::script(vec![Act::Read(1 << 30)]);
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let finished = |report: &Report| report.series.values().map(|s| s.requests).sum::<u64>();
        let report = run(async {
            let client = endpoint(&a);
            let (connection, mut sender) = connect(&client, house.door, "a.example").await;
            for turn in 0..50 {
                let mut stream = sender.send_request(get("/")).await.unwrap();
                stream.send_data(Bytes::from_static(b"part")).await.unwrap();
                // What is reset before its head has come was never a request.
                while origin.connections() <= turn {
                    tokio::task::yield_now().await;
                }
                stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED);
                stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
            }
            let mut open = sender.send_request(get("/")).await.unwrap();
            open.send_data(Bytes::from_static(b"part")).await.unwrap();
            report_when(&house, |report| finished(report) >= 50).await;
            while origin.connections() <= 50 {
                tokio::task::yield_now().await;
            }
            connection.close(0x100_u32.into(), b"");
            client.wait_idle().await;
            report_when(&house, |report| finished(report) == 51).await
        });
        assert_eq!(report.in_flight, 0);
        for labels in report.series.keys() {
            assert!(
                labels.flags & sallyport_core::flags::Flags::DC.0 != 0,
                "{labels:?}"
            );
        }
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn a_head_that_is_too_large_is_answered() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let (_connection, mut sender) = connect(&endpoint(&a), house.door, "a.example").await;
            let mut request = get("/");
            for at in 0..101 {
                let name: http::HeaderName = format!("x-{at}").parse().unwrap();
                let value = http::HeaderValue::from_static("y");
                request.headers_mut().insert(name, value);
            }
            assert_eq!(ask(&mut sender, request).await.0.status(), 431);
            assert_eq!(
                ask(&mut sender, get("/")).await.0.status(),
                200,
                "only the stream"
            );
        });
    });
}

#[test]
fn names_are_served_apart() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let pairs = [("a.example", &a), ("b.example", &b)];
        let house = House::open(driver, secured(origin.address, &pairs));
        run(async {
            let (_connection, mut sender) = connect(&endpoint(&b), house.door, "b.example").await;
            let (response, _) = ask(&mut sender, get("/")).await;
            assert_eq!(
                response.status(),
                421,
                "a.example over the connection of b.example"
            );
            let stranger = endpoint(&a).connect(house.door, "c.example").unwrap().await;
            assert!(stranger.is_err());
        });
        let report = house.report_when(|report| report.handshakes_failed > 0);
        assert_eq!((report.handshakes_ok, report.handshakes_failed), (1, 1));
    });
}

#[test]
fn certificates_change_without_a_connection_noticing() {
    let (old, new) = (pair("a.example"), pair("a.example"));
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &old)]));
        run(async {
            let (_first, mut before) = connect(&endpoint(&old), house.door, "a.example").await;
            assert_eq!(ask(&mut before, get("/")).await.1, b"ok");
            let rotated = secured(origin.address, &[("a.example", &new)]);
            let activate = || house.activate(2, rotated);
            std::thread::scope(|scope| scope.spawn(activate).join().unwrap());
            let (_second, mut after) = connect(&endpoint(&new), house.door, "a.example").await;
            assert_eq!(ask(&mut after, get("/")).await.1, b"ok");
            assert_eq!(ask(&mut before, get("/")).await.1, b"ok");
            assert!(
                endpoint(&old)
                    .connect(house.door, "a.example")
                    .unwrap()
                    .await
                    .is_err()
            );
        });
    });
}

#[test]
fn who_could_come_by_http3_is_told() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let config = super::tls::config(&a, &rustls::version::TLS13);
        let told = |request: &[u8]| {
            let mut client = super::tls::connect(&house, &config, "a.example");
            let head = client.ask(request).head;
            field(&head, "alt-svc").map(str::to_owned)
        };
        assert_eq!(told(GET).as_deref(), Some("h3=\":443\"; ma=86400"));
        let with_port = b"GET /x HTTP/1.1\r\nhost: a.example:8443\r\n\r\n";
        assert_eq!(told(with_port).as_deref(), Some("h3=\":8443\"; ma=86400"));
        let refused = b"GET /x HTTP/1.1\r\nhost: other.example\r\n\r\n";
        assert_eq!(told(refused).as_deref(), Some("h3=\":443\"; ma=86400"));
        run(async {
            let (_connection, mut sender) = connect(&endpoint(&a), house.door, "a.example").await;
            let (response, _) = ask(&mut sender, get("/")).await;
            assert_eq!(response.headers().get("alt-svc"), None, "it knows already");
        });
        let mut off = secured(origin.address, &[("a.example", &a)]);
        if let ir::ListenerKind::Tls(chains) = &mut off.listeners[0].kind
            && let ir::Service::Http(http) = &mut chains[0].service
        {
            http.http3 = false;
        }
        house.activate(2, off);
        assert_eq!(told(GET), None);
        run(async {
            let refused = endpoint(&a).connect(house.door, "a.example").unwrap();
            assert!(refused.await.is_err());
        });
    });
}

#[test]
fn a_client_whose_address_changes_is_followed_to_its_worker() {
    let a = pair("a.example");
    let body = vec![b'x'; 1 << 20];
    let mut reply = b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n".to_vec();
    reply.extend(&body);
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Send(reply.clone())]);
        let snapshot = secured(origin.address, &[("a.example", &a)]);
        let house = House::open_with(driver, snapshot, 4);
        run(async {
            let client = endpoint(&a);
            let (connection, mut sender) = connect(&client, house.door, "a.example").await;
            // Each port has another hash, so that most land on another worker than before.
            for _ in 0..8 {
                let mut stream = sender.send_request(get("/")).await.unwrap();
                stream.finish().await.unwrap();
                stream.recv_response().await.unwrap();
                let moved = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                client.rebind(moved).unwrap();
                let mut came = 0;
                while let Some(data) = stream.recv_data().await.unwrap() {
                    came += data.remaining();
                }
                assert_eq!(came, body.len());
            }
            assert!(connection.close_reason().is_none());
        });
        assert_eq!(house.report().handshakes_ok, 1);
    });
}

#[test]
fn a_worker_that_leaves_says_goodbye() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let door = house.door;
        run(async {
            let (connection, mut sender) = connect(&endpoint(&a), door, "a.example").await;
            assert_eq!(ask(&mut sender, get("/")).await.1, b"ok");
            let closing = std::thread::spawn(move || house.close());
            let end = connection.closed().await;
            assert_eq!(closed_with(&end), Some(0x100), "{end:?}");
            assert_eq!(closing.join().unwrap(), 0);
        });
    });
}

/// The code that a connection was closed with by the gateway's HTTP/3.
pub(super) fn closed_with(end: &quinn::ConnectionError) -> Option<u64> {
    match end {
        quinn::ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

/// First packets of so many clients that say no more.
async fn first_packets(trusted: &Pair, count: usize) -> Vec<Vec<u8>> {
    let sink = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let client = endpoint(trusted);
    let (mut packets, mut all) = (Vec::new(), Vec::new());
    while packets.len() < count {
        let address = sink.local_addr().unwrap();
        all.push(client.connect(address, "a.example").unwrap());
        let mut packet = vec![0; 2_000];
        let len = sink.recv(&mut packet).await.unwrap();
        packet.truncate(len);
        packets.push(packet);
    }
    packets
}

/// What comes back for a packet.
async fn reply_to(socket: &tokio::net::UdpSocket, packet: &[u8], door: SocketAddr) -> Vec<u8> {
    socket.send_to(packet, door).await.unwrap();
    let mut reply = vec![0; 2_000];
    let len = socket.recv(&mut reply).await.unwrap();
    reply.truncate(len);
    reply
}

#[test]
fn a_flood_of_first_packets_has_clients_show_where_they_are() {
    const RETRY: u8 = 0x30;
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let packets = first_packets(&a, crate::quic::RETRY_ABOVE + 8).await;
            let mut retries = 0;
            for packet in packets {
                let bound = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
                let reply = reply_to(&bound.unwrap(), &packet, house.door).await;
                let retry = reply[0] & RETRY == RETRY;
                assert!(retry || retries == 0, "an answer after a Retry");
                assert!(reply.len() <= 3 * packet.len());
                retries += usize::from(retry);
            }
            assert!(retries > 0, "nobody had to show where it is");
            let (_connection, mut sender) = connect(&endpoint(&a), house.door, "a.example").await;
            assert_eq!(ask(&mut sender, get("/")).await.1, b"ok");
        });
    });
}

#[test]
fn versions_that_do_not_exist_are_told_which_do() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let mut packet = vec![0; 1_200];
            packet[..18].copy_from_slice(b"\xc0\x0a\x0a\x0a\x0a\x08dcid5678\x03src");
            let reply = reply_to(&socket.unwrap(), &packet, house.door).await;
            assert_eq!(reply[1..5], [0; 4], "version negotiation");
            assert_eq!(&reply[5..18], b"\x03src\x08dcid5678");
            assert!(reply[18..].chunks(4).any(|version| version == [0, 0, 0, 1]));
        });
    });
}

#[test]
fn without_udp_tcp_serves_on() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let mut snapshot = secured(origin.address, &[("a.example", &a)]);
        // a port that is free for TCP, and taken for UDP
        let (_taken, port) = std::iter::repeat_with(|| {
            let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = free.local_addr().unwrap();
            Some((std::net::UdpSocket::bind(address).ok()?, address.port()))
        })
        .flatten()
        .next()
        .unwrap();
        snapshot.listeners[0].port = port;
        let house = House::open(driver, snapshot);
        assert!(
            house
                .without_quic
                .as_deref()
                .unwrap()
                .contains("UDP 127.0.0.1")
        );
        let config = super::tls::config(&a, &rustls::version::TLS13);
        let head = super::tls::connect(&house, &config, "a.example")
            .ask(GET)
            .head;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(field(&head, "alt-svc"), None);
    });
}
