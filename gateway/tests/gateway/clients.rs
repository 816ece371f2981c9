//! Clients that people use, with the libraries that they use them from: each is a script in
//! `gateway/tests/clients/` that says `ok` at its end.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::child::{Gateway, Origin, Scratch, config, receive};

/// Bytes of the download over HTTP/3.
const BIG: usize = 10 * 1024 * 1024;

/// Runs a script to its end, which must be a good one.
fn run(script: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let done = Command::new("python3")
        .arg(path.join(script))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let wrong = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said == "ok\n", "{said}{wrong}");
}

/// A port of this host that was free a moment ago: for origins that a script opens itself.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The rules of `config`, for every host, with these changes.
fn rules(origin: SocketAddr, changes: &[(&str, &str)]) -> String {
    let text = config(origin).replace("api.example.com", "'*'");
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// Answers every request: to `/big` with [`BIG`] bytes.
fn download() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Ok((head, _)) = receive(&mut stream) {
                    let size = if head.starts_with("GET /big ") {
                        BIG
                    } else {
                        2
                    };
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
                    let mut answer = answer.into_bytes();
                    answer.resize(answer.len() + size, b'x');
                    // A client that had enough is no news.
                    drop(stream.get_mut().write_all(&answer));
                }
            });
        }
    });
    address
}

macro_rules! on_each_driver {
    ($($name:ident => $test:expr;)*) => { $(
        mod $name {
            use super::*;

            #[test]
            fn on_io_uring_or_what_there_is() {
                $test("auto");
            }

            #[test]
            fn on_epoll() {
                $test("epoll");
            }
        }
    )* };
}

on_each_driver! {
    peers_that_break_tls_are_sent_away_and_cost_nobody_anything => hostile;
    aioquic_downloads_while_its_address_changes => aioquic;
    aioquic_sends_early_data => early;
    websockets_of_python_echo => websockets;
    grpcio_calls_streams_gives_up_and_cancels => grpcio;
}

/// A gateway that serves HTTPS for `a.example`, and its port.
fn secured(scratch: &Scratch, driver: &str, origin: SocketAddr) -> (Gateway, String) {
    annotated(scratch, driver, origin, "")
}

/// As [`secured`], with this in the metadata of the Gateway, too.
fn annotated(
    scratch: &Scratch,
    driver: &str,
    origin: SocketAddr,
    metadata: &str,
) -> (Gateway, String) {
    let own = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    scratch.write("credentials/own/tls.crt", &own.cert.pem());
    scratch.write("credentials/own/tls.key", &own.signing_key.serialize_pem());
    let https = "{number: 443, name: https, protocol: HTTPS}\n    \
        tls: {mode: SIMPLE, credentialName: own}";
    let plain = "{number: 80, name: http, protocol: HTTP}";
    let name = "name: gw, namespace: istio-system";
    let named = format!("{name}{metadata}");
    let changes = [(plain, https), (name, named.as_str())];
    scratch.write("config/a.yaml", &rules(origin, &changes));
    let credentials = scratch.path("credentials");
    let gateway = Gateway::start(
        Path::new(&scratch.path("config")),
        &[
            "--port-map",
            "443=0",
            "--driver",
            driver,
            "--workers",
            "2",
            "--credentials",
            &credentials,
        ],
    );
    let port = gateway.listener(443).port().to_string();
    (gateway, port)
}

fn hostile(driver: &str) {
    let scratch = Scratch::new(&format!("hostile-{driver}"));
    let origin = Origin::start("ok");
    let (gateway, port) = secured(&scratch, driver, origin.address);
    run("hostile.py", &[&port, &gateway.pid()]);
    let failed = gateway.sample(&["sallyport_tls_handshakes_total{outcome=\"failed\"}"]);
    assert!(failed.unwrap() > 50.0, "{failed:?}");
}

fn aioquic(driver: &str) {
    let scratch = Scratch::new(&format!("aioquic-{driver}"));
    let (_gateway, port) = secured(&scratch, driver, download());
    run("http3.py", &["127.0.0.1", &port, &BIG.to_string()]);
}

fn early(driver: &str) {
    let scratch = Scratch::new(&format!("early-{driver}"));
    let annotation = ", annotations: {sallyport.io/http3-early-data: 'on'}";
    let (gateway, port) = annotated(&scratch, driver, download(), annotation);
    run("early.py", &["127.0.0.1", &port]);
    let early = gateway.sample(&["sallyport_early_requests_total{outcome=\"served\"}"]);
    assert!(early.is_some(), "it is counted");
}

fn websockets(driver: &str) {
    let scratch = Scratch::new(&format!("websockets-{driver}"));
    let origin = free();
    scratch.write("a.yaml", &rules(origin, &[]));
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0", "--driver", driver]);
    let door = gateway.listener(80).to_string();
    run("websocket.py", &[&door, &origin.to_string()]);
}

fn grpcio(driver: &str) {
    let scratch = Scratch::new(&format!("grpcio-{driver}"));
    let origin = free();
    let upstream = (
        "ports: [{number: 8000, name: http, protocol: HTTP}]",
        "ports: [{number: 8000, name: http, protocol: GRPC}]",
    );
    scratch.write("a.yaml", &rules(origin, &[upstream]));
    let gateway = Gateway::start(&scratch.0, &["--port-map", "80=0", "--driver", driver]);
    let door = gateway.listener(80).to_string();
    run("grpc_calls.py", &[&door, &origin.to_string()]);
}
