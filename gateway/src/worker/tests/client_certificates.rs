//! Clients that show certificates: who is let in, and what upstreams are told.

use std::io::Write as _;
use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sallyport_config::ir::{self, Bundle, Pin, ServerTlsMode};
use sha2::{Digest, Sha256};

use super::support::{House, Lines, Origin, field, on_each_driver};
use super::upstream_tls::{Authority, Pair};
use super::{tls, upstream_tls};

const SHOP: &str = "spiffe://cluster.local/ns/shop/sa/shop";
const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";
const TWO: &str = "spiffe://cluster.local/ns/shop/sa/one spiffe://cluster.local/ns/shop/sa/two";
/// What a client must not be able to say of itself.
const REQUEST: &[u8] =
    b"GET /x HTTP/1.1\r\nhost: a.example\r\nx-forwarded-client-cert: URI=spiffe://forged\r\n\r\n";

/// A client that believes the server and shows a pair, if it has one.
fn client(server: &tls::Pair, own: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(&server.chain).unwrap();
    roots.add(root).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::from_pem_slice(&pair.chain).unwrap();
            let key = PrivateKeyDer::from_pem_slice(&pair.key).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    })
}

/// A server's rules about certificates.
fn rules(ca: &Authority, mode: ServerTlsMode) -> ir::ServerTls {
    ir::ServerTls {
        mode,
        certificates: vec![ir::CertificateId(0)],
        client_ca: Some(Bundle::Inline(Arc::clone(&ca.root))),
        client_crl: None,
        pins: Vec::new(),
        subject_alt_names: Vec::new(),
        min_version: ir::TlsVersion::V1_2,
        max_version: ir::TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        alpn: Vec::new(),
    }
}

/// Whether a client with this pair gets an answer, and what the upstream was told about it.
fn told(house: &House, origin: &Origin, config: &Arc<ClientConfig>) -> Option<Option<String>> {
    let mut client = tls::connect(house, config, "a.example");
    client.stream.write_all(REQUEST).ok()?;
    let seen = client.answer(true);
    if seen.status != 200 {
        return None;
    }
    let heads = origin.heads.lock().unwrap().concat();
    let head = heads.last().unwrap();
    Some(field(head, "x-forwarded-client-cert").map(str::to_owned))
}

#[test]
fn certificates_decide_who_comes_in() {
    use ServerTlsMode::{IstioMutual, Mutual, OptionalMutual};
    let (ca, stranger) = (Authority::new(), Authority::new());
    let server = tls::pair("a.example");
    let (shop, other) = (ca.identity(SHOP), ca.identity(OTHER));
    let (forged, late) = (stranger.identity(SHOP), ca.sign(SHOP, 2000..2001));
    let two = ca.identity(TWO);
    let leaf = CertificateDer::from_pem_slice(&shop.chain).unwrap();
    let with = |mode, change: &dyn Fn(&mut ir::ServerTls)| {
        let mut tls = rules(&ca, mode);
        change(&mut tls);
        tls
    };
    let named = with(Mutual, &|tls| tls.subject_alt_names = vec![SHOP.to_owned()]);
    let pinned = with(Mutual, &|tls| {
        let digest = Sha256::digest(&leaf).into();
        tls.pins = vec![Pin::Key([7; 32]), Pin::Certificate(digest)];
    });
    let revoking = with(Mutual, &|tls| {
        tls.client_crl = Some(Bundle::Inline(ca.revoke(&[OTHER])));
    });
    let (any, optional, mesh) = (
        rules(&ca, Mutual),
        rules(&ca, OptionalMutual),
        rules(&ca, IstioMutual),
    );
    // the server's rules, what the client shows, whether it comes in
    let cases: [(&ir::ServerTls, Option<&Pair>, bool); 16] = [
        (&any, Some(&shop), true),
        (&any, Some(&two), true),
        (&any, None, false),
        (&any, Some(&forged), false),
        (&any, Some(&late), false),
        (&optional, Some(&shop), true),
        (&optional, None, true),
        (&optional, Some(&forged), false),
        (&named, Some(&shop), true),
        (&named, Some(&other), false),
        (&pinned, Some(&shop), true),
        (&pinned, Some(&other), false),
        (&revoking, Some(&shop), true),
        (&revoking, Some(&other), false),
        (&mesh, Some(&shop), true),
        (&mesh, Some(&two), false),
    ];
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        for (number, (tls, own, comes_in)) in cases.iter().enumerate() {
            let mut snapshot = tls::secured(origin.address, &[("a.example", &server)]);
            let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind else {
                panic!("not TLS");
            };
            chains[0].tls = Some((*tls).clone());
            let house = House::open(driver, snapshot);
            let told = told(&house, &origin, &client(&server, *own));
            assert_eq!(told.is_some(), *comes_in, "case {number}");
            let element = told.flatten();
            assert_eq!(
                element.is_some(),
                *comes_in && own.is_some(),
                "case {number}"
            );
            if let Some(element) = element {
                let whole = element.starts_with("Hash=") && element.contains(";URI=spiffe://");
                assert!(whole && !element.contains("forged"), "{element}");
            }
            house.close();
        }
    });
}

#[test]
fn a_list_that_cannot_be_read_lets_nobody_in() {
    let ca = Authority::new();
    let server = tls::pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let open = tls::secured(origin.address, &[("a.example", &server)]);
        let house = House::open(driver, open.clone());
        let mut closed = open;
        let ir::ListenerKind::Tls(chains) = &mut closed.listeners[0].kind else {
            panic!("not TLS");
        };
        chains[0].tls = Some(ir::ServerTls {
            client_crl: Some(Bundle::Missing("no such file".to_owned())),
            ..rules(&ca, ServerTlsMode::OptionalMutual)
        });
        house.activate(2, closed);
        let shop = ca.identity(upstream_tls::SHOP);
        assert_eq!(told(&house, &origin, &client(&server, Some(&shop))), None);
        house.close();
    });
}

/// A server that lets clients in by these rules.
fn guarded(
    upstream: std::net::SocketAddr,
    server: &tls::Pair,
    rules: ir::ServerTls,
) -> ir::Snapshot {
    let mut snapshot = tls::secured(upstream, &[("a.example", server)]);
    let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind else {
        panic!("not TLS");
    };
    chains[0].tls = Some(rules);
    snapshot
}

#[test]
fn who_is_revoked_is_cut_off_wherever_it_is() {
    let ca = Authority::new();
    let server = tls::pair("a.example");
    let (shop, other) = (ca.identity(SHOP), ca.identity(OTHER));
    on_each_driver(|driver| {
        // An answer that has no end.
        let begun = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbegun";
        let origin = Origin::answers(begun);
        let lines = Lines::new("revoked");
        let mut snapshot = guarded(origin.address, &server, rules(&ca, ServerTlsMode::Mutual));
        lines.write_to(&mut snapshot, "%RESPONSE_FLAGS% %DOWNSTREAM_PEER_URI_SAN%");
        let house = House::open(driver, snapshot.clone());
        let come = |pair: &Pair, asks: bool| {
            let mut client = tls::connect(&house, &client(&server, Some(pair)), "a.example");
            if asks {
                client.stream.write_all(REQUEST).unwrap();
                assert!(client.until(b"begun").is_some());
            } else {
                client.stream.flush().unwrap();
            }
            client
        };
        let (good, idle_good) = (come(&shop, true), come(&shop, false));
        let mut revoked = [come(&other, true), come(&other, false)];
        house.report_when(|report| report.handshakes_ok == 4);

        let list = Some(Bundle::Inline(ca.revoke(&[OTHER])));
        let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind else {
            panic!("not TLS");
        };
        chains[0].tls.as_mut().unwrap().client_crl = list;
        house.activate(2, snapshot.clone());
        for client in &mut revoked {
            assert!(client.is_closed(), "{driver:?}");
        }
        let report = house.report_when(|report| {
            report.in_flight == 1 && report.listeners.values().all(|l| l.active() == 2)
        });
        assert_eq!(report.revoked, 2, "{driver:?}");
        assert_eq!(lines.take(1), [format!("DC {OTHER}")]);
        // The same list again asks nobody.
        house.activate(3, snapshot);
        assert_eq!(house.report().revoked, 2);
        drop((good, idle_good));
        house.close();
    });
}

#[test]
fn a_session_is_resumed_with_its_client_and_only_under_the_same_rules() {
    let ca = Authority::new();
    let (server, renewed) = (tls::pair("a.example"), tls::pair("a.example"));
    let shop = ca.identity(SHOP);
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let mutual = rules(&ca, ServerTlsMode::Mutual);
        let house = House::open(driver, guarded(origin.address, &server, mutual.clone()));
        let config = client(&server, Some(&shop));
        let come = || {
            let mut client = tls::connect(&house, &config, "a.example");
            client.stream.write_all(REQUEST).ok()?;
            if client.answer(true).status != 200 {
                return None;
            }
            let heads = origin.heads.lock().unwrap().concat();
            let told = field(heads.last().unwrap(), "x-forwarded-client-cert");
            assert!(told.unwrap().contains(SHOP), "{driver:?}");
            client.stream.conn.handshake_kind()
        };
        assert_eq!(come(), Some(HandshakeKind::Full));
        assert_eq!(come(), Some(HandshakeKind::Resumed));
        house.activate(2, guarded(origin.address, &renewed, mutual.clone()));
        assert_eq!(
            come(),
            Some(HandshakeKind::Resumed),
            "another certificate of ours"
        );
        let listed = |uris: &[&str]| ir::ServerTls {
            client_crl: Some(Bundle::Inline(ca.revoke(uris))),
            ..mutual.clone()
        };
        house.activate(3, guarded(origin.address, &server, listed(&[OTHER])));
        assert_eq!(come(), Some(HandshakeKind::Full), "other rules");
        assert_eq!(come(), Some(HandshakeKind::Resumed));
        house.activate(4, guarded(origin.address, &server, listed(&[SHOP])));
        assert_eq!(come(), None, "revoked");
        house.close();
    });
}
