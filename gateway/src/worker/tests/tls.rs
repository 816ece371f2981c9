//! TLS towards clients, with rustls on the other side.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sallyport_config::ir;

use super::support::{
    Client, GET, House, Lines, Origin, PATIENCE, on_each_driver, origin, snapshot,
};

pub(super) struct Pair {
    pub(super) chain: Arc<[u8]>,
    key: Arc<[u8]>,
}

pub(super) fn pair(name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair {
        chain: made.cert.pem().into_bytes().into(),
        key: made.signing_key.serialize_pem().into_bytes().into(),
    }
}

/// The plain snapshot behind two chains, one a name.
pub(super) fn secured(upstream: std::net::SocketAddr, pairs: &[(&str, &Pair)]) -> ir::Snapshot {
    let mut snapshot = snapshot(upstream);
    let ir::ListenerKind::Plain(service) = snapshot.listeners[0].kind.clone() else {
        panic!("not plain");
    };
    let chain = |(index, (name, _)): (u32, &(&str, &Pair))| ir::FilterChain {
        name: (*name).to_owned(),
        sni: vec![ir::HostPattern::Exact((*name).to_owned())],
        mesh_only: false,
        tls: Some(ir::ServerTls {
            mode: ir::ServerTlsMode::Simple,
            certificates: vec![ir::CertificateId(index)],
            client_ca: None,
            client_crl: None,
            pins: Vec::new(),
            subject_alt_names: Vec::new(),
            min_version: ir::TlsVersion::V1_2,
            max_version: ir::TlsVersion::V1_3,
            cipher_suites: Vec::new(),
            alpn: Vec::new(),
        }),
        service: service.clone(),
        origin: origin(),
    };
    let chains = (0..).zip(pairs).map(chain).collect();
    snapshot.listeners[0].kind = ir::ListenerKind::Tls(chains);
    snapshot.certificates = pairs
        .iter()
        .map(|(name, pair)| ir::Certificate {
            name: format!("kubernetes://{name}"),
            source: ir::CertificateSource::Inline {
                chain: Arc::clone(&pair.chain),
                key: ir::Secret(Arc::clone(&pair.key)),
            },
            staple: None,
            origin: origin(),
        })
        .collect();
    snapshot
}

pub(super) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

/// What believes this one.
pub(super) fn roots(trusted: &Pair) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&trusted.chain).unwrap())
        .unwrap();
    roots
}

pub(super) fn config(
    trusted: &Pair,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    use rustls::crypto::aws_lc_rs;
    let mut provider = aws_lc_rs::default_provider();
    provider
        .kx_groups
        .insert(0, aws_lc_rs::kx_group::X25519MLKEM768);
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(trusted))
        .with_no_client_auth();
    Arc::new(config)
}

pub(super) fn connect(house: &House, config: &Arc<ClientConfig>, name: &'static str) -> TlsClient {
    let stream = TcpStream::connect(house.door).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(name).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    Client::new(StreamOwned::new(connection, stream))
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let pairs = [("a.example", &a), ("b.example", &b)];
        let house = House::open(driver, secured(origin.address, &pairs));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            for (name, pair) in [("a.example", &a), ("b.example", &b)] {
                let mut client = connect(&house, &config(pair, version), name);
                // GET is for a.example: on the other name's connection it is misdirected.
                let status = if name == "a.example" { 200 } else { 421 };
                for _ in 0..5 {
                    assert_eq!(client.ask(GET).status, status);
                }
            }
        }
        let head = origin.heads.lock().unwrap()[0][0].clone();
        assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
        assert_eq!(house.report().handshakes_ok, 4);
    });
}

#[test]
fn http2_is_spoken_where_both_sides_name_it() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let mut snapshot = secured(origin.address, &[("a.example", &a)]);
        let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind else {
            panic!("not TLS");
        };
        let tls = chains[0].tls.as_mut().unwrap();
        tls.alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
        let house = House::open(driver, snapshot);
        for (offer, expected) in [(&b"h2"[..], &b"h2"[..]), (b"http/1.1", b"http/1.1")] {
            let mut config = (*config(&a, &rustls::version::TLS13)).clone();
            config.alpn_protocols = vec![offer.to_vec()];
            let mut client = connect(&house, &Arc::new(config), "a.example");
            if offer == b"h2" {
                // An empty SETTINGS, and a GET by indexed fields and a literal authority.
                let frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
                    \0\0\x0e\x01\x05\0\0\0\x01\x82\x87\x84\x01\x09a.example";
                client.stream.write_all(frames).unwrap();
                // What ends an answer of two bytes: DATA with END_STREAM.
                assert!(client.until(b"\0\0\x02\0\x01\0\0\0\x01ok").is_some());
            } else {
                assert_eq!(client.ask(GET).body, "ok");
            }
            assert_eq!(client.stream.conn.alpn_protocol(), Some(expected));
        }
    });
}

#[test]
fn sessions_are_resumed_and_large_bodies_pass() {
    let a = pair("a.example");
    let body = "x".repeat(1_000_000);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{body}");
    on_each_driver(|driver| {
        let origin = Origin::answers(&answer);
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let config = config(&a, &rustls::version::TLS13);
        for turn in 0..3 {
            let mut client = connect(&house, &config, "a.example");
            assert!(client.ask(GET).body == body);
            let kind = client.stream.conn.handshake_kind().unwrap();
            let resumed = kind == rustls::HandshakeKind::Resumed;
            assert_eq!(resumed, turn > 0, "{kind:?}");
        }
    });
}

#[test]
fn names_that_nothing_serves_and_bad_handshakes_are_closed() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let mut stranger = connect(&house, &config(&a, &rustls::version::TLS13), "c.example");
        assert!(stranger.is_closed());
        let mut cleartext = house.client();
        cleartext.stream.set_nonblocking(false).unwrap();
        cleartext.stream.write_all(GET).unwrap();
        while cleartext.more() {}
        let report = house.report();
        assert_eq!((report.handshakes_ok, report.handshakes_failed), (0, 2));
    });
}

/// A TLS server that says its name, reads a line and says it back.
fn speaker(name: &'static str, pair: &Pair) -> std::net::SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(&pair.chain).unwrap()];
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(&pair.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    super::tcp::server(move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut word = [0; 5];
        if stream.read_exact(&mut word).is_ok() {
            let said = format!("{name} {}", String::from_utf8_lossy(&word));
            stream.write_all(said.as_bytes()).unwrap();
            stream.conn.send_close_notify();
            drop(stream.flush());
        }
    })
}

/// TLS that is passed through by name: `a.example`, and all below `b.example`.
fn passed(a: std::net::SocketAddr, b: std::net::SocketAddr) -> ir::Snapshot {
    let mut snapshot = snapshot(a);
    let mut other = snapshot.clusters[0].clone();
    other.name = "outbound|80||other".to_owned();
    other.endpoints[0].address = b;
    snapshot.clusters.push(other);
    let chain = |cluster, pattern| ir::FilterChain {
        name: format!("chain-{cluster}"),
        sni: vec![pattern],
        mesh_only: false,
        tls: None,
        service: super::tcp::service(&[(cluster, 1)]),
        origin: origin(),
    };
    snapshot.listeners[0].kind = ir::ListenerKind::Tls(vec![
        chain(0, ir::HostPattern::parse("a.example")),
        chain(1, ir::HostPattern::parse("*.b.example")),
    ]);
    snapshot
}

#[test]
fn tls_is_passed_through_unread_by_its_server_name() {
    let (a, b) = (pair("a.example"), pair("x.b.example"));
    on_each_driver(|driver| {
        let lines = Lines::new("passthrough");
        let mut snapshot = passed(speaker("a", &a), speaker("b", &b));
        let format =
            "%REQUESTED_SERVER_NAME% %FILTER_CHAIN_NAME% %UPSTREAM_CLUSTER% %RESPONSE_FLAGS%";
        lines.write_to(&mut snapshot, format);
        let house = House::open(driver, snapshot);
        for (name, pair, says) in [("a.example", &a, "a hello"), ("x.b.example", &b, "b hello")] {
            for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
                let mut client = connect(&house, &config(pair, version), name);
                client.stream.write_all(b"hello").unwrap();
                assert_eq!(client.take(says.len()), says);
                assert!(client.is_closed());
            }
        }
        let config = config(&a, &rustls::version::TLS13);
        assert!(connect(&house, &config, "b.example").is_closed());
        let mut seen = lines.take(5);
        seen.sort();
        seen.dedup();
        assert_eq!(
            seen,
            [
                "a.example chain-0 outbound|80||up -",
                "b.example - - NR",
                "x.b.example chain-1 outbound|80||other -",
            ]
        );
        let report = house.report();
        assert_eq!((report.handshakes_ok, report.handshakes_failed), (0, 1));
        house.close();
    });
}

#[test]
fn a_chain_of_the_mesh_is_for_clients_of_the_mesh_only() {
    let name = "outbound_.80_._.shop.default.svc.cluster.local";
    let a = pair(name);
    on_each_driver(|driver| {
        let lines = Lines::new("autopassthrough");
        let mut snapshot = passed(speaker("a", &a), speaker("b", &a));
        let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind else {
            panic!("not TLS");
        };
        chains[0].sni = vec![ir::HostPattern::parse(name)];
        chains[0].mesh_only = true;
        lines.write_to(&mut snapshot, "%RESPONSE_FLAGS% %UPSTREAM_CLUSTER%");
        let house = House::open(driver, snapshot);
        let offering = |names: &[&str]| {
            let mut config = (*config(&a, &rustls::version::TLS13)).clone();
            config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
            connect(&house, &Arc::new(config), name)
        };
        let mut client = offering(&["istio", "h2"]);
        client.stream.write_all(b"hello").unwrap();
        assert_eq!(client.take(7), "a hello");
        drop(client);
        assert_eq!(lines.take(1), ["- outbound|80||up"]);
        for stranger in [&[][..], &["h2", "http/1.1"]] {
            assert!(offering(stranger).is_closed());
        }
        assert_eq!(lines.take(3)[1..], ["NR -", "NR -"]);
        house.close();
    });
}

#[test]
fn a_hello_may_come_byte_by_byte_and_garbage_is_answered_with_an_alert() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let house = House::open(driver, passed(speaker("a", &a), speaker("b", &a)));
        let config = config(&a, &rustls::version::TLS13);
        let name = ServerName::try_from("a.example").unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
        let mut stream = TcpStream::connect(house.door).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        // A post-quantum key share alone is larger than this.
        assert!(hello.len() > 1_200, "{}", hello.len());
        for byte in hello {
            stream.write_all(&[byte]).unwrap();
        }
        let mut client = Client::new(StreamOwned::new(connection, stream));
        client.stream.write_all(b"bytes").unwrap();
        assert_eq!(client.take(7), "a bytes");

        let mut cleartext = house.client();
        cleartext
            .stream
            .write_all(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00")
            .unwrap();
        assert_eq!(cleartext.whole(7).unwrap(), [21, 3, 3, 0, 2, 2, 10]);
        assert!(cleartext.is_closed());
        house.close();
    });
}

#[test]
fn terminated_tls_carries_bytes_and_ends_half_by_half() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let mut snapshot = secured(super::tcp::echo(), &[("a.example", &a)]);
        let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind else {
            panic!("not TLS");
        };
        chains[0].service = super::tcp::service(&[(0, 1)]);
        let house = House::open(driver, snapshot);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut client = connect(&house, &config(&a, version), "a.example");
            let text = "x".repeat(300_000);
            client.stream.write_all(text.as_bytes()).unwrap();
            client.stream.conn.send_close_notify();
            client.stream.flush().unwrap();
            assert!(client.take(text.len()) == text);
            assert!(client.is_closed());
        }
        house.close();
    });
}
