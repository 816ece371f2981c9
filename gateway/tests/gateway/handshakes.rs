//! What clients of OpenSSL are shown in handshakes: the certificate whose key they can verify, and
//! what its authority says about it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair};

use crate::child::{Gateway, Origin, Scratch, config, eventually};

const NAME: &str = "api.example.com";

/// Runs a program to its end: what it said, also of errors.
fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let done = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// What `openssl s_client` says of a handshake.
fn s_client(door: SocketAddr, arguments: &[&str]) -> String {
    let door = door.to_string();
    let whole = ["s_client", "-connect", &door, "-servername", NAME];
    run("openssl", &[&whole, arguments].concat())
}

/// A server on 443 with these lines about its certificates.
fn secured(origin: SocketAddr, tls: &str) -> String {
    let plain = "{number: 80, name: http, protocol: HTTP}\n";
    let https = format!(
        "{{number: 443, name: https, protocol: HTTPS}}\n    tls: {{mode: SIMPLE, {tls}}}\n"
    );
    let text = config(origin);
    assert!(text.contains(plain));
    text.replace(plain, &https)
}

fn open(scratch: &Scratch) -> (Gateway, SocketAddr) {
    let credentials = scratch.path("credentials");
    let arguments = ["--port-map", "443=0", "--credentials", &credentials];
    let gateway = Gateway::start(Path::new(&scratch.path("config")), &arguments);
    let door = gateway.listener(443);
    (gateway, door)
}

/// Who signs with what, and what a client must offer to see it.
const KINDS: [(&str, &[&str]); 6] = [
    ("ECDSA", &["-sigalgs", "ECDSA+SHA256"]),
    ("RSA-PSS", &["-sigalgs", "RSA-PSS+SHA256"]),
    // Whoever takes both gets the one that is written first.
    ("RSA-PSS", &["-sigalgs", "ECDSA+SHA256:RSA-PSS+SHA256"]),
    (
        "ECDSA",
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ),
    (
        "RSA",
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
    ),
    ("RSA", &["-tls1_2", "-sigalgs", "RSA+SHA256"]),
];

#[test]
fn of_an_rsa_and_an_ecdsa_certificate_each_client_gets_the_one_it_can_verify() {
    let scratch = Scratch::new("pair");
    let origin = Origin::start("origin");
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    for (kind, key) in [
        ("rsa", rsa.unwrap()),
        ("ecdsa", KeyPair::generate().unwrap()),
    ] {
        let parameters = CertificateParams::new([NAME.to_owned()]).unwrap();
        let chain = parameters.self_signed(&key).unwrap().pem();
        scratch.write(&format!("credentials/{kind}/tls.crt"), &chain);
        scratch.write(&format!("credentials/{kind}/tls.key"), &key.serialize_pem());
    }
    let file = |kind: &str| {
        let place = scratch.path(&format!("credentials/{kind}"));
        format!("{{serverCertificate: {place}/tls.crt, privateKey: {place}/tls.key}}")
    };
    let by_file = format!("tlsCertificates: [{}, {}]", file("rsa"), file("ecdsa"));
    for tls in ["credentialNames: [rsa, ecdsa]", &by_file] {
        scratch.write("config/a.yaml", &secured(origin.address, tls));
        let (_gateway, door) = open(&scratch);
        for (kind, arguments) in KINDS {
            let said = s_client(door, arguments);
            let signature = format!("Peer signature type: {kind}");
            assert!(said.contains(&signature), "{arguments:?}: {said}");
        }
        for kind in ["rsa", "ecdsa"] {
            let ciphers = format!("ECDHE-{}-AES256-GCM-SHA384", kind.to_uppercase());
            let port = door.port();
            // It believes this certificate alone.
            let arguments = [
                "--silent",
                "--show-error",
                "--tls-max",
                "1.2",
                "--ciphers",
                &ciphers,
                "--cacert",
                &scratch.path(&format!("credentials/{kind}/tls.crt")),
                "--resolve",
                &format!("{NAME}:{port}:127.0.0.1"),
                &format!("https://{NAME}:{port}/"),
            ];
            assert_eq!(run("curl", &arguments), "origin", "{kind}");
        }
    }
}

/// Has `openssl ocsp` answer about the certificate with this serial number.
fn answer(scratch: &Scratch, serial: &str, status: &str, to: &str) {
    let line = match status {
        "V" => format!("V\t401231235959Z\t\t{serial}\tunknown\t/CN=a\n"),
        _ => format!("R\t401231235959Z\t260101000000Z\t{serial}\tunknown\t/CN=a\n"),
    };
    scratch.write("ca/index.txt", &line);
    let place = |name: &str| scratch.path(name);
    let (ca, key, leaf) = (place("ca/ca.crt"), place("ca/ca.key"), place("ca/leaf.crt"));
    let (index, aside) = (place("ca/index.txt"), place("ca/response"));
    let said = run(
        "openssl",
        &[
            "ocsp",
            "-index",
            &index,
            "-CA",
            &ca,
            "-rsigner",
            &ca,
            "-rkey",
            &key,
            "-issuer",
            &ca,
            "-cert",
            &leaf,
            "-respout",
            &aside,
            "-ndays",
            "7",
            "-noverify",
        ],
    );
    let response = std::fs::read(&aside).unwrap_or_else(|error| panic!("{error}: {said}"));
    let to = place(to);
    std::fs::write(format!("{to}.aside"), response).unwrap();
    std::fs::rename(format!("{to}.aside"), to).unwrap();
}

/// An authority, and a certificate by it with the number 0x1234.
fn authority(scratch: &Scratch) -> (String, String) {
    let mut root = CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    scratch.write("ca/ca.crt", &root.self_signed(&root_key).unwrap().pem());
    scratch.write("ca/ca.key", &root_key.serialize_pem());
    let mut own = CertificateParams::new([NAME.to_owned()]).unwrap();
    own.serial_number = Some(vec![0x12, 0x34].into());
    let key = KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let chain = own.signed_by(&key, &issuer).unwrap().pem();
    scratch.write("ca/leaf.crt", &chain);
    (chain, key.serialize_pem())
}

#[test]
fn what_an_authority_says_is_stapled_while_it_says_good_and_changes_at_once() {
    let scratch = Scratch::new("staple");
    let origin = Origin::start("origin");
    let (chain, key) = authority(&scratch);
    for place in ["credentials/own", "files"] {
        scratch.write(&format!("{place}/tls.crt"), &chain);
        scratch.write(&format!("{place}/tls.key"), &key);
    }
    let files = scratch.path("files");
    let by_file = format!("serverCertificate: {files}/tls.crt, privateKey: {files}/tls.key");
    for (tls, staple) in [
        ("credentialName: own", "credentials/own/tls.ocsp-staple"),
        (&*by_file, "files/tls.crt.ocsp"),
    ] {
        scratch.write("config/a.yaml", &secured(origin.address, tls));
        let (gateway, door) = open(&scratch);
        let stapled = |version: &str| {
            let said = s_client(door, &[version, "-status"]);
            let none = said.contains("OCSP response: no response sent");
            let good = said.contains("OCSP Response Status: successful")
                && said.contains("Cert Status: good");
            assert!(none != good, "{said}");
            good
        };
        assert!(!stapled("-tls1_3") && !stapled("-tls1_2"));
        answer(&scratch, "1234", "V", staple);
        eventually("the staple", || stapled("-tls1_3").then_some(()));
        assert!(stapled("-tls1_2"));
        let seconds = gateway
            .sample(&["sallyport_ocsp_staple_expiry_seconds{"])
            .unwrap();
        assert!((600_000.0..=604_800.0).contains(&seconds), "{seconds}");
        // Bad news is for us, not for clients.
        answer(&scratch, "1234", "R", staple);
        eventually("no staple", || (!stapled("-tls1_3")).then_some(()));
        let said = "its OCSP staple is not sent: the certificate was revoked";
        eventually("the log", || gateway.log().contains(said).then_some(()));
        assert_eq!(
            gateway.sample(&["sallyport_ocsp_staple_expiry_seconds{"]),
            None
        );
        answer(&scratch, "1234", "V", staple);
        eventually("a better one", || stapled("-tls1_3").then_some(()));
        std::fs::remove_file(scratch.path(staple)).unwrap();
        eventually("none", || (!stapled("-tls1_3")).then_some(()));
    }
}
