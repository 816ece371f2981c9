//! HTTP/3 towards clients, with quinn and h3 on the other side.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::timeout;

use super::support::{House, Origin, PATIENCE, on_each_driver};
use super::tls::{Pair, pair, secured};

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;
type Stream = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// A QUIC client that trusts one certificate and speaks `h3`.
pub(super) fn endpoint(trusted: &Pair) -> quinn::Endpoint {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(&trusted.chain).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint
}

/// Runs a client; a test ends rather than hangs.
pub(super) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { timeout(PATIENCE, client).await.expect("in time") })
}

/// A connection, and a way to send requests on it.
pub(super) async fn connect(
    endpoint: &quinn::Endpoint,
    door: SocketAddr,
    name: &str,
) -> (quinn::Connection, Sender) {
    let connection = endpoint.connect(door, name).unwrap().await.unwrap();
    let quic = h3_quinn::Connection::new(connection.clone());
    let (mut driver, sender) = h3::client::new(quic).await.unwrap();
    tokio::spawn(async move { std::future::poll_fn(|context| driver.poll_close(context)).await });
    (connection, sender)
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://a.example{path}"))
        .body(())
        .unwrap()
}

/// The rest of an answer.
async fn answer(stream: &mut Stream) -> (Response<()>, Vec<u8>, Option<HeaderMap>) {
    let response = stream.recv_response().await.unwrap();
    let mut body = Vec::new();
    while let Some(mut data) = stream.recv_data().await.unwrap() {
        while data.has_remaining() {
            let chunk = data.chunk().to_vec();
            data.advance(chunk.len());
            body.extend(chunk);
        }
    }
    let trailers = stream.recv_trailers().await.unwrap();
    (response, body, trailers)
}

async fn ask(sender: &mut Sender, request: Request<()>) -> (Response<()>, Vec<u8>) {
    let mut stream = sender.send_request(request).await.unwrap();
    stream.finish().await.unwrap();
    let (response, body, _) = answer(&mut stream).await;
    (response, body)
}

#[test]
fn requests_are_answered() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let (_connection, mut sender) = connect(&endpoint(&a), house.door, "a.example").await;
            for turn in 0..5 {
                let (response, body) = ask(&mut sender, get(&format!("/{turn}?q"))).await;
                assert_eq!((response.status().as_u16(), &body[..]), (200, &b"ok"[..]));
                assert_eq!(response.headers()["content-length"], "2");
            }
        });
        let head = origin.heads.lock().unwrap()[0][4].clone();
        assert!(
            head.starts_with("GET /4?q HTTP/1.1\r\nhost: a.example\r\n"),
            "{head}"
        );
        assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
        assert_eq!(house.report().handshakes_ok, 1);
        assert_eq!(house.close(), 0);
    });
}
