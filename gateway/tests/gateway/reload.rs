//! Configuration and certificates change under traffic; broken ones do not.

use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::child::{Client, DEADLINE, Gateway, Origin, Scratch, config, eventually, receive};

const RELOADS: u64 = 1_000;
const CLIENTS: usize = 1;

#[test]
fn a_thousand_reloads_on_io_uring_fail_no_request_and_close_no_connection() {
    a_thousand_reloads("io_uring");
}

#[test]
fn a_thousand_reloads_on_epoll_fail_no_request_and_close_no_connection() {
    a_thousand_reloads("epoll");
}

fn a_thousand_reloads(driver: &str) {
    let scratch = Scratch::new(&format!("thousand-{driver}"));
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let texts = [config(one.address), config(two.address)];
    scratch.write("a.yaml", &texts[0]);
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0", "--driver", driver]);
    let address = gateway.listener(80);
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (done, served) = (Arc::clone(&done), Arc::clone(&served));
            std::thread::spawn(move || load(address, &done, &served))
        })
        .collect();
    let tunnel = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || tunnel(address, &done))
    };
    let mut admin = Client::connect(gateway.address("admin"));
    let mut generation = || {
        // The operators' server closes idle connections; a machine that stood still for a while
        // makes one of this.
        let asked = admin.send(GENERATION).and_then(|()| admin.receive());
        asked.map(|(_, body)| body).unwrap_or_else(|_| {
            admin = Client::connect(gateway.address("admin"));
            String::new()
        })
    };
    for reload in 1..=RELOADS {
        let text = &texts[usize::try_from(reload % 2).unwrap()];
        if reload % 100 == 0 {
            scratch.write("a.yaml", &text.replace("hosts:", "{ hosts:"));
            eventually("the broken file is noticed", || {
                generation().contains("SP0001").then_some(())
            });
        }
        scratch.write("a.yaml", text);
        let wanted = format!("\"id\": {},", reload + 1);
        eventually("the new generation", || {
            generation().contains(&wanted).then_some(())
        });
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let echoed = tunnel.join().unwrap();
    let served = served.load(Ordering::Relaxed);
    eprintln!("{driver}: {RELOADS} reloads, {served} requests, {echoed} echoes, none failed");
    assert!(served > RELOADS, "only {served} requests");
    let ok = gateway
        .sample(&["istio_requests_total{", "response_code=\"200\""])
        .unwrap();
    assert!(
        (ok - served as f64).abs() < 0.5,
        "{ok} counted, {served} served"
    );
}

const GENERATION: &str = "GET /generation HTTP/1.1\r\nhost: a\r\n\r\n";

/// Asks on one connection until `done`; any failure ends the thread with a panic.
fn load(address: SocketAddr, done: &AtomicBool, served: &AtomicU64) {
    let mut client = Client::connect(address);
    while !done.load(Ordering::Relaxed) {
        let (status, body) = client.get("api.example.com", "/x");
        assert_eq!(status, 200);
        assert!(body == "one" || body == "two", "{body}");
        served.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends bytes back and forth on one WebSocket connection until `done`; gives how often.
fn tunnel(address: SocketAddr, done: &AtomicBool) -> u64 {
    let mut client = Client::connect(address);
    let (status, _) = client.ask(
        "GET /ws HTTP/1.1\r\nhost: api.example.com\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(status, 101);
    let mut echoed = 0_u64;
    while !done.load(Ordering::Relaxed) {
        client.echo(&echoed.to_be_bytes());
        echoed += 1;
    }
    echoed
}

#[test]
fn a_route_changes_for_the_next_request_of_a_live_connection() {
    let scratch = Scratch::new("route");
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    scratch.write("a.yaml", &config(one.address));
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0"]);
    let mut client = Client::connect(gateway.listener(80));
    assert_eq!(client.get("api.example.com", "/").1, "one");
    scratch.write("a.yaml", &config(two.address));
    eventually("the new route", || {
        (client.get("api.example.com", "/").1 == "two").then_some(())
    });
}

#[test]
fn a_swapped_mount_is_noticed() {
    // As Kubernetes mounts a ConfigMap: visible links into a hidden directory that is swapped.
    let scratch = Scratch::new("mount");
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    scratch.write("config/..1/a.yaml", &config(one.address));
    scratch.write("config/..2/a.yaml", &config(two.address));
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, scratch.0.join("config").join(name)).unwrap();
    };
    link("..1", "..data");
    link("..data/a.yaml", "a.yaml");
    let gateway = Gateway::start(&scratch.0.join("config"), &["--port-map", "80=0"]);
    let mut client = Client::connect(gateway.listener(80));
    assert_eq!(client.get("api.example.com", "/").1, "one");
    link("..2", "..data_tmp");
    let path = |name: &str| scratch.0.join("config").join(name);
    std::fs::rename(path("..data_tmp"), path("..data")).unwrap();
    eventually("the new content", || {
        (client.get("api.example.com", "/").1 == "two").then_some(())
    });
}

#[test]
fn the_same_content_changes_nothing() {
    let scratch = Scratch::new("same");
    let origin = Origin::start("origin");
    scratch.write("a.yaml", &config(origin.address));
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0"]);
    let before = gateway.generation();
    scratch.write("a.yaml", &config(origin.address));
    gateway.signal("HUP");
    // A change that is visible shows that the ones before it have been read.
    scratch.write("b.yaml", "{ broken");
    eventually("the broken file", || {
        gateway
            .admin("/diagnostics")
            .contains("SP0001")
            .then_some(())
    });
    let after = gateway.generation();
    assert_eq!(
        (&after["id"], &after["hash"]),
        (&before["id"], &before["hash"])
    );
}

#[test]
fn a_broken_file_changes_nothing_and_is_reported() {
    let scratch = Scratch::new("broken");
    let origin = Origin::start("origin");
    scratch.write("a.yaml", &config(origin.address));
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0"]);
    let mut client = Client::connect(gateway.listener(80));
    for (broken, code) in [
        (
            config(origin.address).replace("http:\n  - name", "htp:\n  - name"),
            "SP0002",
        ),
        (
            config(origin.address).replace("kind: Gateway", "kind: {"),
            "SP0001",
        ),
        ("kind: [".to_owned(), "SP0001"),
    ] {
        scratch.write("a.yaml", &broken);
        eventually("the report", || {
            gateway.admin("/diagnostics").contains(code).then_some(())
        });
        assert_eq!(client.get("api.example.com", "/").0, 200);
        assert_eq!(gateway.generation_id(), 1);
        assert!(
            gateway.generation()["last_error"]["message"]
                .as_str()
                .unwrap()
                .contains(code)
        );
        assert!(
            gateway
                .sample(&["sallyport_config_objects_rejected "])
                .unwrap()
                >= 1.0
        );
        scratch.write("a.yaml", &config(origin.address));
        eventually("the repair", || {
            gateway.generation()["last_error"].is_null().then_some(())
        });
    }
    assert!(
        gateway
            .sample(&["sallyport_config_rejected_total "])
            .unwrap()
            >= 3.0
    );
    assert!(gateway.log().contains("a.yaml:"), "{}", gateway.log());
}

#[test]
fn an_emptied_directory_is_refused_as_a_whole() {
    let scratch = Scratch::new("emptied");
    let origin = Origin::start("origin");
    scratch.write("config/a.yaml", &config(origin.address));
    let gateway = Gateway::start(&scratch.0.join("config"), &["--port-map", "80=0"]);
    std::fs::remove_file(scratch.0.join("config/a.yaml")).unwrap();
    eventually("the report", || {
        gateway
            .admin("/diagnostics")
            .contains("nothing is left")
            .then_some(())
    });
    assert_eq!(
        Client::connect(gateway.listener(80))
            .get("api.example.com", "/")
            .0,
        200
    );
}

#[test]
fn a_restart_with_a_broken_file_serves_what_was_good() {
    let scratch = Scratch::new("restart");
    let origin = Origin::start("origin");
    let state = scratch.path("state");
    scratch.write("config/a.yaml", &config(origin.address));
    let directory = scratch.0.join("config");
    let arguments = ["--port-map", "80=0", "--state-dir", &state];
    drop(Gateway::start(&directory, &arguments));
    scratch.write(
        "config/a.yaml",
        &config(origin.address).replace("kind: Gateway", "kind: {"),
    );
    let gateway = Gateway::start(&directory, &arguments);
    assert_eq!(gateway.ask("status", "GET", "/healthz/ready").0, 200);
    assert_eq!(
        Client::connect(gateway.listener(80))
            .get("api.example.com", "/")
            .1,
        "origin"
    );
    assert!(gateway.admin("/diagnostics").contains("last good"));
    // What is damaged is not served.
    drop(gateway);
    std::fs::write(scratch.0.join("state/last-good"), "damaged").unwrap();
    let gateway = Gateway::start(&directory, &arguments);
    assert_eq!(gateway.ask("status", "GET", "/healthz/ready").0, 503);
}

#[test]
fn listeners_open_and_close_while_others_stay() {
    let scratch = Scratch::new("listeners");
    let origin = Origin::start("origin");
    let text = config(origin.address);
    let more = text.replace(
        "  servers:\n",
        "  servers:\n  - port: {number: 81, name: http-two, protocol: HTTP}\n    hosts: ['*']\n",
    );
    scratch.write("a.yaml", &text);
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0,81=0"]);
    let first = gateway.listener(80);
    let mut client = Client::connect(first);
    assert_eq!(client.get("api.example.com", "/").0, 200);
    scratch.write("a.yaml", &more);
    let second = gateway.listener(81);
    assert_eq!(Client::connect(second).get("api.example.com", "/").0, 200);
    assert_eq!(gateway.listener(80), first, "its socket was not touched");
    scratch.write("a.yaml", &text);
    eventually("the second one closes", || {
        TcpStream::connect(second).is_err().then_some(())
    });
    assert_eq!(client.get("api.example.com", "/").0, 200);
}

/// Accepts any certificate: the test looks at which one it is.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
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
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A TLS connection, after the handshake.
fn tls(
    address: SocketAddr,
    name: &'static str,
) -> Result<BufReader<StreamOwned<ClientConnection, TcpStream>>, std::io::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    let mut stream = StreamOwned::new(connection, socket.try_clone()?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut socket)?;
    }
    Ok(BufReader::new(stream))
}

fn ask(stream: &mut BufReader<StreamOwned<ClientConnection, TcpStream>>) -> String {
    use std::io::Write as _;
    let request = b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n";
    stream.get_mut().write_all(request).unwrap();
    receive(stream).unwrap().1
}

#[test]
fn certificates_change_without_a_closed_connection() {
    let scratch = Scratch::new("certificates");
    let origin = Origin::start("origin");
    let write = |scratch: &Scratch, certificate: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        scratch.write("credentials/api/tls.crt", &certificate.cert.pem());
        scratch.write(
            "credentials/api/tls.key",
            &certificate.signing_key.serialize_pem(),
        );
    };
    let make = || rcgen::generate_simple_self_signed(vec!["api.example.com".to_owned()]).unwrap();
    let (old, new) = (make(), make());
    write(&scratch, &old);
    let text = config(origin.address).replace(
        "{number: 80, name: http, protocol: HTTP}\n",
        "{number: 443, name: https, protocol: HTTPS}\n    tls: {mode: SIMPLE, credentialName: api}\n",
    );
    scratch.write("config/a.yaml", &text);
    let credentials = scratch.path("credentials");
    let arguments = ["--port-map", "443=0", "--credentials", &credentials];
    let gateway = Gateway::start(&scratch.0.join("config"), &arguments);
    let address = gateway.listener(443);
    let mut before = tls(address, "api.example.com").unwrap();
    let leaf = |stream: &BufReader<StreamOwned<ClientConnection, TcpStream>>| {
        stream.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
    };
    assert_eq!(leaf(&before), old.cert.der().to_vec());
    assert_eq!(ask(&mut before), "origin");
    write(&scratch, &new);
    eventually("the new certificate", || {
        (leaf(&tls(address, "api.example.com").unwrap()) == new.cert.der().to_vec()).then_some(())
    });
    assert_eq!(ask(&mut before), "origin", "the old connection goes on");
    // Broken ones are reported, the last good pair stays.
    scratch.write("credentials/api/tls.key", "no key");
    eventually("the report", || {
        gateway
            .admin("/diagnostics")
            .contains("the last good pair stays")
            .then_some(())
    });
    assert_eq!(
        leaf(&tls(address, "api.example.com").unwrap()),
        new.cert.der().to_vec()
    );
    assert!(
        gateway
            .admin("/certs")
            .contains("\"dns\": \"api.example.com\"")
    );
    assert!(
        gateway
            .sample(&["sallyport_certificate_expiry_seconds{"])
            .unwrap()
            > 0.0
    );
    let handshakes = ["sallyport_tls_handshakes_total{outcome=\"ok\"}"];
    assert!(gateway.sample(&handshakes).unwrap() >= 2.0);
    for page in [
        "/config_dump",
        "/certs",
        "/diagnostics",
        "/generation",
        "/server_info",
    ] {
        assert!(!gateway.admin(page).contains("PRIVATE KEY"), "{page}");
    }
}
