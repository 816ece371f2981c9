//! OCSP staples: sent while they hold and are about the certificate that is shown.

use std::sync::Mutex;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::super::*;
use super::support::{GET, House, Origin, on_each_driver};
use super::tls::{connect, pair, secured};

/// Believes everybody, and keeps what came beside the certificate.
#[derive(Debug, Default)]
struct Beside(Mutex<Vec<u8>>);

impl ServerCertVerifier for Beside {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], &content].concat()
}

/// A response that says good of the certificate with this number, until then. It is signed by nobody:
/// that is for clients to look at.
fn response(serial: &[u8], until: &str) -> Arc<[u8]> {
    let time = |text: &str| element(0x18, &[text.as_bytes()]);
    let hash = element(4, &[&[1; 20]]);
    let id = element(
        0x30,
        &[&element(0x30, &[]), &hash, &hash, &element(2, &[serial])],
    );
    let (this, next) = (time("20200101000000Z"), element(0xa0, &[&time(until)]));
    let single = element(0x30, &[&id, &[0x80, 0], &this, &next]);
    let data = element(
        0x30,
        &[&element(0xa2, &[&hash]), &this, &element(0x30, &[&single])],
    );
    let kind = [6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let basic = element(4, &[&element(0x30, &[&data])]);
    let bytes = element(0xa0, &[&element(0x30, &[&kind, &basic])]);
    element(0x30, &[&[0x0a, 1, 0], &bytes]).into()
}

#[test]
fn a_staple_is_sent_while_it_holds_and_changes_with_the_next_handshake() {
    let own = pair("a.example");
    let leaf = CertificateDer::from_pem_slice(&own.chain).unwrap();
    let serial = sallyport_core::certificate::read(&leaf).unwrap().serial;
    let good = response(&serial, "20990101000000Z");
    let newer = response(&serial, "20980101000000Z");
    // what there is, and whether clients get it
    let cases = [
        (None, false),
        (Some(&good), true),
        (Some(&newer), true),
        (Some(&response(&serial, "20200102000000Z")), false),
        (Some(&response(&[99], "20990101000000Z")), false),
        (Some(&b"garbage".as_slice().into()), false),
        (Some(&good), true),
    ];
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let plain = secured(origin.address, &[("a.example", &own)]);
        let house = House::open(driver, plain.clone());
        for (number, (staple, sent)) in (2..).zip(cases) {
            let mut snapshot = plain.clone();
            snapshot.certificates[0].staple = staple.cloned();
            house.activate(number, snapshot);
            for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
                let beside = Arc::new(Beside::default());
                let config = ClientConfig::builder_with_protocol_versions(&[version])
                    .dangerous()
                    .with_custom_certificate_verifier(beside.clone())
                    .with_no_client_auth();
                let seen = connect(&house, &config.into(), "a.example").ask(GET);
                assert_eq!(seen.status, 200);
                let got = beside.0.lock().unwrap().clone();
                let want = staple.filter(|_| sent).map_or(&[][..], |staple| staple);
                assert_eq!(got, want, "{driver:?}, case {number}, {version:?}");
            }
        }
        house.close();
    });
}
