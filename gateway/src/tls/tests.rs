//! Tests of what becomes of certificates: used, or reported.

use std::sync::Arc;

use sallyport_config::ir::{
    Bind, Certificate, CertificateId, CertificateSource, FilterChain, Listener, Origin, Secret,
    ServerTls, ServerTlsMode, Service, TlsVersion,
};

use super::*;

fn origin() -> Origin {
    Origin {
        kind: "Gateway",
        namespace: "test".into(),
        name: "test".into(),
        path: String::new(),
        location: String::new(),
    }
}

fn pair(name: &str) -> (Arc<[u8]>, Arc<[u8]>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    (made.cert.pem().into_bytes().into(), key.into_bytes().into())
}

fn simple() -> ServerTls {
    ServerTls {
        mode: ServerTlsMode::Simple,
        certificates: vec![CertificateId(0)],
        client_ca: None,
        client_crl: None,
        pins: Vec::new(),
        subject_alt_names: Vec::new(),
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        alpn: Vec::new(),
    }
}

fn build(source: CertificateSource, tls: ServerTls) -> (TlsConfigs, Vec<TlsProblem>) {
    let snapshot = Snapshot {
        listeners: vec![Listener {
            name: "door".to_owned(),
            bind: Bind::Default,
            port: 443,
            kind: ListenerKind::Tls(vec![FilterChain {
                name: "chain".to_owned(),
                sni: Vec::new(),
                mesh_only: false,
                tls: Some(tls),
                service: Service::Close,
                origin: origin(),
            }]),
        }],
        certificates: vec![Certificate {
            name: "kubernetes://cert".to_owned(),
            source,
            staple: None,
            origin: origin(),
        }],
        ..Snapshot::default()
    };
    TlsConfigs::build(&snapshot)
}

fn inline(chain: &Arc<[u8]>, key: &Arc<[u8]>) -> CertificateSource {
    CertificateSource::Inline {
        chain: Arc::clone(chain),
        key: Secret(Arc::clone(key)),
    }
}

#[test]
fn a_good_pair_serves() {
    let (chain, key) = pair("a.example");
    let (configs, problems) = build(inline(&chain, &key), simple());
    assert_eq!(problems, []);
    let config = configs.of(ListenerIdx(0), ChainIdx(0)).unwrap();
    assert!(
        config.alpn_protocols.is_empty(),
        "of what is no HTTP nothing is known"
    );
}

#[test]
fn a_certificate_that_demands_a_staple_and_has_none_serves_and_is_reported() {
    let mut parameters = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
    // A sequence of one number: status_request.
    parameters.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(
        &[1, 3, 6, 1, 5, 5, 7, 1, 24],
        vec![0x30, 3, 2, 1, 5],
    )];
    let key = rcgen::KeyPair::generate().unwrap();
    let chain = parameters.self_signed(&key).unwrap().pem().into_bytes();
    let source = inline(&chain.into(), &key.serialize_pem().into_bytes().into());
    let (configs, problems) = build(source, simple());
    assert!(configs.of(ListenerIdx(0), ChainIdx(0)).is_some());
    let said: Vec<_> = problems.iter().map(|p| p.reason.as_str()).collect();
    assert!(
        matches!(*said, [one] if one.contains("must-staple")),
        "{said:?}"
    );
}

#[test]
fn what_cannot_serve_is_reported_and_refuses() {
    let (chain, key) = pair("a.example");
    let (_, other) = pair("b.example");
    let nothing: Arc<[u8]> = b"nothing".as_slice().into();
    let files = CertificateSource::Files {
        chain: "/nowhere/tls.crt".to_owned(),
        key: "/nowhere/tls.key".to_owned(),
    };
    let good = inline(&chain, &key);
    let cases = [
        (inline(&chain, &other), simple(), "do not match"),
        (inline(&nothing, &key), simple(), "no CERTIFICATE block"),
        (inline(&chain, &nothing), simple(), "key: "),
        (files, simple(), "/nowhere/tls.crt"),
        (CertificateSource::Missing, simple(), "not there yet"),
        (
            good.clone(),
            ServerTls {
                mode: ServerTlsMode::IstioMutual,
                ..simple()
            },
            "no CA",
        ),
        (
            good.clone(),
            ServerTls {
                mode: ServerTlsMode::Mutual,
                ..simple()
            },
            "no CA",
        ),
        (
            good,
            ServerTls {
                cipher_suites: vec!["AES128-SHA".to_owned()],
                ..simple()
            },
            "cipher suites",
        ),
    ];
    for (source, tls, reason) in cases {
        let (configs, problems) = build(source, tls);
        assert!(
            configs.of(ListenerIdx(0), ChainIdx(0)).is_none(),
            "{reason}"
        );
        assert!(
            problems.iter().any(|p| p.reason.contains(reason)),
            "{problems:?}"
        );
    }
}
