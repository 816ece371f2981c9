//! TLS towards upstreams, with rustls on the other side.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sallyport_config::ir;

use super::support::{GET, House, Origin, field, on_each_driver, origin, snapshot};

const ME: &str = "spiffe://cluster.local/ns/istio-system/sa/gateway";
pub(super) const SHOP: &str = "spiffe://cluster.local/ns/shop/sa/shop";
const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";
const SNI: &str = "outbound_.80_.v1_.up.shop.svc.cluster.local";

/// An authority of a test mesh.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) root: Arc<[u8]>,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) chain: Arc<[u8]>,
    pub(super) key: Arc<[u8]>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = parameters.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(parameters, key),
            root: root.into_bytes().into(),
        }
    }

    pub(super) fn sign(&self, uris: &str, years: std::ops::Range<i32>) -> Pair {
        let mut parameters = CertificateParams::new(["up.example".to_owned()]).unwrap();
        for uri in uris.split(' ') {
            let uri = SanType::URI(uri.try_into().unwrap());
            parameters.subject_alt_names.push(uri);
        }
        parameters.serial_number = Some(SerialNumber::from(uris.len() as u64));
        parameters.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Pair {
            chain: certificate.pem().into_bytes().into(),
            key: key.serialize_pem().into_bytes().into(),
        }
    }

    pub(super) fn identity(&self, uri: &str) -> Pair {
        self.sign(uri, 2000..2090)
    }

    /// A list that revokes what was signed for these URIs.
    pub(super) fn revoke(&self, uris: &[&str]) -> Arc<[u8]> {
        let revoked = |uris: &&str| RevokedCertParams {
            serial_number: SerialNumber::from(uris.len() as u64),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: uris.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        list.pem().unwrap().into_bytes().into()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.root) {
            roots.add(certificate.unwrap()).unwrap();
        }
        roots
    }
}

/// What an upstream saw of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    sni: Option<String>,
    alpn: Option<String>,
    certificates: usize,
    resumed: bool,
}

/// An upstream that speaks TLS, asks for a certificate of its authority, and answers 200.
struct Upstream {
    address: SocketAddr,
    sights: Arc<Mutex<Vec<Sight>>>,
}

impl Upstream {
    fn start(pair: &Pair, clients: &Authority) -> Self {
        Self::speaking(pair, clients, &["istio-http/1.1", "http/1.1"])
    }

    fn speaking(pair: &Pair, clients: &Authority, alpn: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let verifier = WebPkiClientVerifier::builder(clients.roots().into()).build();
        let chain: Result<_, _> = CertificateDer::pem_slice_iter(&pair.chain).collect();
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier.unwrap())
            .with_single_cert(
                chain.unwrap(),
                PrivateKeyDer::from_pem_slice(&pair.key).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let config = Arc::new(config);
        let sights = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sights);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, seen) = (Arc::clone(&config), Arc::clone(&seen));
                std::thread::spawn(move || answer(stream.unwrap(), config, &seen));
            }
        });
        Self { address, sights }
    }

    fn sights(&self) -> Vec<Sight> {
        self.sights.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>, seen: &Mutex<Vec<Sight>>) {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let (mut head, mut byte, mut first) = (Vec::new(), [0], true);
    while let Ok(1) = stream.read(&mut byte) {
        if std::mem::take(&mut first) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            seen.lock().unwrap().push(Sight {
                sni: stream.conn.server_name().map(str::to_owned),
                alpn: stream.conn.alpn_protocol().map(text),
                certificates: stream.conn.peer_certificates().map_or(0, <[_]>::len),
                resumed: stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            });
        }
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head);
            let length = field(&text, "content-length").map(|length| length.parse().unwrap());
            let mut body = vec![0; length.unwrap_or(0)];
            if stream.read_exact(&mut body).is_err() {
                return;
            }
            if body.is_empty() {
                body.extend_from_slice(b"ok");
            }
            let length = body.len();
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            if stream
                .write_all(&[reply.as_bytes(), &body].concat())
                .is_err()
            {
                return;
            }
            head.clear();
        }
    }
}

/// Mutual TLS of the mesh, as a DestinationRule or a label asks for it.
fn mesh(authority: &Authority, names: &[&str]) -> ir::ClientTls {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    ir::ClientTls {
        mode: ir::ClientTlsMode::IstioMutual,
        certificate: Some(ir::CertificateId(0)),
        roots: ir::Roots::Given(ir::Bundle::Inline(Arc::clone(&authority.root))),
        crl: None,
        sni: ir::ServerName::Fixed(SNI.to_owned()),
        names: ir::PeerNames::OneOf(names),
    }
}

/// Everything goes to one endpoint, encrypted like this, by someone with this identity.
fn secured(upstream: SocketAddr, own: &Pair, tls: ir::UpstreamTls) -> ir::Snapshot {
    let mut snapshot = snapshot(upstream);
    snapshot.clusters[0].tls = tls;
    snapshot.certificates = vec![ir::Certificate {
        name: "default".to_owned(),
        source: ir::CertificateSource::Inline {
            chain: Arc::clone(&own.chain),
            key: ir::Secret(Arc::clone(&own.key)),
        },
        staple: None,
        origin: origin(),
    }];
    snapshot.settings.access_log = None;
    snapshot
}

fn always(tls: ir::ClientTls) -> ir::UpstreamTls {
    ir::UpstreamTls::Always(Arc::new(tls))
}

/// Asks once through a gateway of its own.
fn ask(choice: crate::rt::DriverChoice, snapshot: ir::Snapshot) -> (u16, String) {
    let house = House::open(choice, snapshot);
    let seen = house.client().ask(GET);
    house.close();
    (seen.status, seen.body)
}

#[test]
fn both_sides_know_each_other() {
    let mesh_ca = Authority::new();
    on_each_driver(|choice| {
        let upstream = Upstream::start(&mesh_ca.identity(SHOP), &mesh_ca);
        let tls = always(mesh(&mesh_ca, &[OTHER, SHOP]));
        let house = House::open(
            choice,
            secured(upstream.address, &mesh_ca.identity(ME), tls),
        );
        let mut client = house.client();
        for _ in 0..3 {
            assert_eq!(client.ask(GET).body, "ok");
        }
        let once = [Sight {
            sni: Some(SNI.to_owned()),
            alpn: Some("istio-http/1.1".to_owned()),
            certificates: 1,
            resumed: false,
        }];
        assert_eq!(upstream.sights(), once, "one connection serves them all");
        // the labels of Istio's metrics say so
        let report = house.report();
        let (labels, series) = report.series.first_key_value().unwrap();
        let who = (&*labels.principals.own, &*labels.principals.peer);
        assert_eq!((who, series.requests), ((ME, SHOP), 3));
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn who_is_not_who_was_meant_gets_nothing() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let me = ca.identity(ME);
    let cases: [(Pair, &str); 4] = [
        (ca.identity(OTHER), "name"),
        (stranger.identity(SHOP), "issuer"),
        (ca.sign(SHOP, 2000..2001), "expired"),
        (ca.sign(SHOP, 2080..2090), "too early"),
    ];
    on_each_driver(|choice| {
        for (pair, why) in &cases {
            let upstream = Upstream::start(pair, &ca);
            let tls = always(mesh(&ca, &[SHOP]));
            let (status, body) = ask(choice, secured(upstream.address, &me, tls));
            assert_eq!(status, 503, "{why}: {body}");
            assert!(
                body.contains("reset reason: remote connection failure"),
                "{body}"
            );
            assert_eq!(upstream.sights(), [], "{why}: nothing was sent");
        }
    });
}

#[test]
fn an_upstream_that_does_not_believe_us_is_not_asked() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    on_each_driver(|choice| {
        let upstream = Upstream::start(&ca.identity(SHOP), &ca);
        let tls = always(mesh(&ca, &[SHOP]));
        let snapshot = secured(upstream.address, &stranger.identity(ME), tls);
        assert_eq!(ask(choice, snapshot).0, 503);
        assert_eq!(upstream.sights(), [], "it read no request");
    });
}

#[test]
fn a_revoked_upstream_gets_nothing() {
    let ca = Authority::new();
    on_each_driver(|choice| {
        let upstream = Upstream::start(&ca.identity(SHOP), &ca);
        for (revoked, status) in [(OTHER, 200), (SHOP, 503)] {
            let tls = always(ir::ClientTls {
                crl: Some(ir::Bundle::Inline(ca.revoke(&[revoked]))),
                ..mesh(&ca, &[SHOP])
            });
            let snapshot = secured(upstream.address, &ca.identity(ME), tls);
            assert_eq!(ask(choice, snapshot).0, status, "{revoked}");
        }
        assert_eq!(upstream.sights().len(), 1);
    });
}

#[test]
fn an_upstream_in_cleartext_gets_no_request() {
    let ca = Authority::new();
    on_each_driver(|choice| {
        let plain = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let tls = always(mesh(&ca, &[SHOP]));
        let mut snapshot = secured(plain.address, &ca.identity(ME), tls);
        snapshot.clusters[0].connect_timeout = ir::Millis(300);
        assert_eq!(ask(choice, snapshot).0, 503);
        let heads = plain.heads.lock().unwrap().concat();
        assert!(!heads.concat().contains("GET /x"), "{heads:?}");
    });
}

#[test]
fn without_usable_settings_nothing_is_sent() {
    let ca = Authority::new();
    let plain = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let missing = || ir::Roots::Given(ir::Bundle::Missing("no CA".to_owned()));
    let broken = [
        always(ir::ClientTls {
            roots: missing(),
            ..mesh(&ca, &[])
        }),
        always(ir::ClientTls {
            certificate: Some(ir::CertificateId(7)),
            ..mesh(&ca, &[])
        }),
        ir::UpstreamTls::Refused("why".to_owned()),
    ];
    on_each_driver(|choice| {
        for tls in &broken {
            let house = House::open(choice, snapshot(plain.address));
            house.activate(2, secured(plain.address, &ca.identity(ME), tls.clone()));
            let seen = house.client().ask(GET);
            assert_eq!((seen.status, plain.connections()), (503, 0), "{tls:?}");
            house.close();
        }
    });
}

#[test]
fn each_endpoint_is_spoken_to_as_it_says() {
    let ca = Authority::new();
    on_each_driver(|choice| {
        let secure = Upstream::start(&ca.identity(SHOP), &ca);
        let plain = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let tls = ir::UpstreamTls::ByEndpoint(Arc::new(mesh(&ca, &[SHOP])));
        let mut snapshot = secured(plain.address, &ca.identity(ME), tls);
        let mut other = snapshot.clusters[0].endpoints[0].clone();
        (other.address, other.mtls) = (secure.address, true);
        snapshot.clusters[0].endpoints.push(other);
        let house = House::open(choice, snapshot);
        let mut client = house.client();
        for _ in 0..4 {
            assert_eq!(client.ask(GET).status, 200);
        }
        assert_eq!((secure.sights().len(), plain.connections()), (1, 1));
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn other_settings_mean_other_connections() {
    let (ca, other_ca) = (Authority::new(), Authority::new());
    on_each_driver(|choice| {
        let upstream = Upstream::start(&ca.identity(SHOP), &ca);
        let me = ca.identity(ME);
        let with = |tls| secured(upstream.address, &me, always(tls));
        let house = House::open(choice, with(mesh(&ca, &[SHOP])));
        let mut client = house.client();
        assert_eq!(client.ask(GET).status, 200);
        // The same again changes nothing.
        house.activate(2, with(mesh(&ca, &[SHOP])));
        assert_eq!(client.ask(GET).status, 200);
        assert_eq!(upstream.sights().len(), 1);
        // Another name, and another root: the old connection would have answered.
        house.activate(3, with(mesh(&ca, &[OTHER])));
        assert_eq!(client.ask(GET).status, 503);
        house.activate(4, with(mesh(&other_ca, &[SHOP])));
        assert_eq!(client.ask(GET).status, 503);
        // A new key, and both roots: what a rotation looks like.
        let both: Arc<[u8]> = [&*ca.root, &*other_ca.root].concat().into();
        let rotated = ir::ClientTls {
            roots: ir::Roots::Given(ir::Bundle::Inline(both)),
            ..mesh(&ca, &[SHOP])
        };
        let new = ca.identity(ME);
        house.activate(5, secured(upstream.address, &new, always(rotated)));
        assert_eq!(client.ask(GET).status, 200);
        assert_eq!(upstream.sights().len(), 2);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn a_host_of_the_outside_is_asked_for_by_its_name() {
    let ca = Authority::new();
    let simple = ir::ClientTls {
        mode: ir::ClientTlsMode::Mutual,
        sni: ir::ServerName::Authority,
        names: ir::PeerNames::ServerName,
        ..mesh(&ca, &[])
    };
    on_each_driver(|choice| {
        let upstream = Upstream::start(&ca.identity(SHOP), &ca);
        let tls = always(simple.clone());
        let mut snapshot = secured(upstream.address, &ca.identity(ME), tls);
        snapshot.route_tables[0].hosts[0].domains = vec![ir::HostPattern::Any];
        let house = House::open(choice, snapshot);
        let ask = |host: &str| {
            let request = format!("GET /x HTTP/1.1\r\nhost: {host}\r\n\r\n");
            house.client().ask(request.as_bytes()).status
        };
        assert_eq!([ask("up.example:80"), ask("UP.example")], [200, 200]);
        assert_eq!(ask("other.example"), 503, "a name that it does not have");
        assert_eq!(ask("up_.example."), 503, "nor this");
        let names: Vec<_> = upstream.sights().into_iter().map(|s| s.sni).collect();
        let wanted = Some("up.example".to_owned());
        assert_eq!(
            names,
            [wanted.clone(), wanted],
            "connections are shared by name"
        );
        house.close();
    });
}

#[test]
fn what_is_offered_outside_of_the_mesh_is_what_is_spoken() {
    let ca = Authority::new();
    let simple = ir::ClientTls {
        mode: ir::ClientTlsMode::Mutual,
        sni: ir::ServerName::Fixed("up.example".to_owned()),
        names: ir::PeerNames::ServerName,
        ..mesh(&ca, &[])
    };
    on_each_driver(|choice| {
        for (protocol, alpn, status) in [
            (ir::UpstreamProtocol::Http1, None, 200),
            // the upstream agrees to HTTP/2, and then answers by HTTP/1
            (ir::UpstreamProtocol::Http2, Some("h2"), 502),
        ] {
            let upstream = Upstream::speaking(&ca.identity(SHOP), &ca, &["h2", "http/1.1"]);
            let tls = always(simple.clone());
            let mut snapshot = secured(upstream.address, &ca.identity(ME), tls);
            snapshot.clusters[0].protocol = protocol;
            assert_eq!(ask(choice, snapshot).0, status, "{protocol:?}");
            let offered: Vec<_> = upstream.sights().into_iter().map(|s| s.alpn).collect();
            assert_eq!(offered, [alpn.map(str::to_owned)], "{protocol:?}");
        }
    });
}

#[test]
fn sessions_are_resumed() {
    let ca = Authority::new();
    on_each_driver(|choice| {
        let upstream = Upstream::start(&ca.identity(SHOP), &ca);
        let tls = always(mesh(&ca, &[SHOP]));
        let mut snapshot = secured(upstream.address, &ca.identity(ME), tls);
        snapshot.clusters[0].max_requests_per_connection = 1;
        let house = House::open(choice, snapshot);
        let mut client = house.client();
        for _ in 0..3 {
            assert_eq!(client.ask(GET).status, 200);
        }
        let resumed: Vec<_> = upstream.sights().iter().map(|s| s.resumed).collect();
        assert_eq!(resumed, [false, true, true]);
        house.close();
    });
}

#[test]
fn a_long_body_goes_both_ways() {
    let ca = Authority::new();
    on_each_driver(|choice| {
        let upstream = Upstream::start(&ca.identity(SHOP), &ca);
        let tls = always(mesh(&ca, &[SHOP]));
        let house = House::open(choice, secured(upstream.address, &ca.identity(ME), tls));
        let body = "0123456789abcdef".repeat(64 * 1024);
        let length = body.len();
        let head =
            format!("POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: {length}\r\n\r\n");
        let seen = house.client().ask(format!("{head}{body}").as_bytes());
        assert!(seen.status == 200 && seen.body == body);
        house.close();
    });
}

#[test]
fn bytes_are_counted_with_who_speaks_with_whom() {
    let ca = Authority::new();
    on_each_driver(|choice| {
        let upstream = Upstream::speaking(&ca.identity(SHOP), &ca, &["istio"]);
        let tls = always(mesh(&ca, &[SHOP]));
        let mut snapshot = secured(upstream.address, &ca.identity(ME), tls);
        snapshot.listeners[0].kind = ir::ListenerKind::Plain(super::tcp::service(&[(0, 1)]));
        let house = House::open(choice, snapshot);
        assert_eq!(house.client().ask(GET).body, "ok");
        let report = house.report_when(|report| report.tcp.values().any(|tcp| tcp.closed == 1));
        let (labels, _) = report.tcp.first_key_value().unwrap();
        let who = (&*labels.principals.own, &*labels.principals.peer);
        assert_eq!(who, (ME, SHOP));
        assert_eq!(house.close(), 0);
    });
}
