//! Certificates that change while clients come in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::super::*;
use super::support::{GET, House, Origin, on_each_driver};
use super::tls::{Pair, connect, pair, secured};

/// A client that believes all of these.
fn believing(pairs: &[Pair]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pair in pairs {
        roots
            .add(CertificateDer::from_pem_slice(&pair.chain).unwrap())
            .unwrap();
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    // Every handshake is a whole one.
    config.resumption = rustls::client::Resumption::disabled();
    config.into()
}

#[test]
fn a_stream_of_handshakes_goes_on_while_certificates_change() {
    let pairs: Vec<Pair> = (0..5).map(|_| pair("a.example")).collect();
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let snapshot =
            |turn: usize| secured(origin.address, &[("a.example", &pairs[turn % pairs.len()])]);
        let house = House::open_with(driver, snapshot(0), 1);
        let config = believing(&pairs);
        let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let seen = connect(&house, &config, "a.example").ask(GET);
                        assert_eq!((seen.status, &*seen.body), (200, "ok"), "{driver:?}");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let mut turn = 1;
            while turn <= 60 {
                let before = answered.load(Ordering::Relaxed);
                house.activate(turn as u64 + 1, snapshot(turn));
                // Some come in by each.
                while answered.load(Ordering::Relaxed) < before + 3 && scope_is_well(&house) {
                    std::thread::yield_now();
                }
                // From the moment that a generation is active nobody gets an older certificate.
                let newest = CertificateDer::from_pem_slice(&pairs[turn % pairs.len()].chain);
                let mut client = connect(&house, &config, "a.example");
                assert_eq!(client.ask(GET).status, 200);
                let shown = client.stream.conn.peer_certificates().unwrap();
                assert_eq!(shown[0], newest.unwrap(), "{driver:?}, turn {turn}");
                turn += 1;
            }
            over.store(true, Ordering::Relaxed);
        });
        let report = house.report();
        assert_eq!(report.handshakes_failed, 0, "{driver:?}");
        assert!(report.handshakes_ok >= 240, "{driver:?}");
        house.close();
    });
}

/// Whether no handshake has failed so far.
fn scope_is_well(house: &House) -> bool {
    house.report().handshakes_failed == 0
}
