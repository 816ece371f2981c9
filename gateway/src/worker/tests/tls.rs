//! TLS towards clients, with rustls on the other side.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sallyport_config::ir;

use super::support::{Client, GET, House, Origin, PATIENCE, on_each_driver, origin, snapshot};

struct Pair {
    chain: Arc<[u8]>,
    key: Arc<[u8]>,
}

fn pair(name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair {
        chain: made.cert.pem().into_bytes().into(),
        key: made.signing_key.serialize_pem().into_bytes().into(),
    }
}

/// The plain snapshot behind two chains, one a name.
fn secured(upstream: std::net::SocketAddr, pairs: &[(&str, &Pair)]) -> ir::Snapshot {
    let mut snapshot = snapshot(upstream);
    let ir::ListenerKind::Plain(service) = snapshot.listeners[0].kind.clone() else {
        panic!("not plain");
    };
    let chain = |(index, (name, _)): (u32, &(&str, &Pair))| ir::FilterChain {
        name: (*name).to_owned(),
        sni: vec![ir::HostPattern::Exact((*name).to_owned())],
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
            origin: origin(),
        })
        .collect();
    snapshot
}

type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

fn config(trusted: &Pair, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&trusted.chain).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn connect(house: &House, config: &Arc<ClientConfig>, name: &'static str) -> TlsClient {
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
        std::io::Write::write_all(&mut cleartext.stream, GET).unwrap();
        while cleartext.more() {}
        let report = house.report();
        assert_eq!((report.handshakes_ok, report.handshakes_failed), (0, 2));
    });
}
