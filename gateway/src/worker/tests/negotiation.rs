//! What a TLS handshake settles on: versions, suites, groups, sessions.

use rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, Error, HandshakeKind,
    NamedGroup, ProtocolVersion,
};
use rustls_pki_types::ServerName;
use sallyport_config::ir;

use super::super::*;
use super::support::{GET, House, Origin, on_each_driver};
use super::tls::{Pair, config, connect, pair, secured};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server with these changes to its TLS.
fn changed(origin: &Origin, own: &Pair, change: impl FnOnce(&mut ir::ServerTls)) -> ir::Snapshot {
    let mut snapshot = secured(origin.address, &[("a.example", own)]);
    let ir::ListenerKind::Tls(chains) = &mut snapshot.listeners[0].kind else {
        panic!("not TLS");
    };
    change(chains[0].tls.as_mut().unwrap());
    snapshot
}

/// How a handshake ends: the version and the suite, or the alert.
fn shake(
    house: &House,
    config: &Arc<ClientConfig>,
) -> Result<(ProtocolVersion, CipherSuite), AlertDescription> {
    let name = ServerName::try_from("a.example").unwrap();
    let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut socket = std::net::TcpStream::connect(house.door).unwrap();
    socket
        .set_read_timeout(Some(super::support::PATIENCE))
        .unwrap();
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            let error = error.downcast::<Error>().unwrap();
            let Error::AlertReceived(alert) = error else {
                panic!("{error}");
            };
            return Err(alert);
        }
    }
    let suite = connection.negotiated_cipher_suite().unwrap().suite();
    Ok((connection.protocol_version().unwrap(), suite))
}

#[test]
fn versions_and_suites_are_as_they_are_configured() {
    let own = pair("a.example");
    let (old, new) = (config(&own, &TLS12), config(&own, &TLS13));
    let aes_128 = TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256.suite();
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let open = |change: &dyn Fn(&mut ir::ServerTls)| {
            House::open(driver, changed(&origin, &own, change))
        };
        let strict = open(&|tls| tls.min_version = ir::TlsVersion::V1_3);
        assert_eq!(shake(&strict, &old), Err(AlertDescription::ProtocolVersion));
        assert_eq!(shake(&strict, &new).unwrap().0, ProtocolVersion::TLSv1_3);
        let lax = open(&|tls| tls.max_version = ir::TlsVersion::V1_2);
        assert_eq!(shake(&lax, &new), Err(AlertDescription::ProtocolVersion));
        assert_eq!(shake(&lax, &old).unwrap().0, ProtocolVersion::TLSv1_2);
        let narrow = open(&|tls| tls.cipher_suites = vec!["ECDHE-ECDSA-AES128-GCM-SHA256".into()]);
        assert_eq!(
            shake(&narrow, &old),
            Ok((ProtocolVersion::TLSv1_2, aes_128))
        );
    });
}

#[test]
fn who_offers_a_post_quantum_group_gets_it() {
    let own = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let house = House::open(driver, changed(&origin, &own, |_| {}));
        let mut client = connect(&house, &config(&own, &TLS13), "a.example");
        assert_eq!(client.ask(GET).status, 200);
        let group = client.stream.conn.negotiated_key_exchange_group();
        assert_eq!(group.unwrap().name(), NamedGroup::X25519MLKEM768);
    });
}

#[test]
fn a_session_is_resumed_on_whichever_worker_it_lands() {
    let own = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers(OK);
        let house = House::open_with(driver, changed(&origin, &own, |_| {}), 2);
        let config = config(&own, &TLS13);
        let mut kept = Vec::new();
        for turn in 0..20 {
            let mut client = connect(&house, &config, "a.example");
            assert_eq!(client.ask(GET).status, 200);
            let kind = client.stream.conn.handshake_kind().unwrap();
            assert_eq!(
                kind == HandshakeKind::Resumed,
                turn > 0,
                "{driver:?}, {turn}"
            );
            kept.push(client);
        }
        // They are spread by how many each worker has.
        assert!(
            house.seats().iter().all(|seats| *seats >= 5),
            "{:?}",
            house.seats()
        );
    });
}
