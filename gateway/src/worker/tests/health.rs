//! Endpoints that are asked whether they are well, go sick, and come back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Instant;

use sallyport_config::ir;

use super::support::{Client, GET, House, PATIENCE, on_each_driver, snapshot};
use super::tcp::server;

/// An origin whose health is what the number says; with the checks that it saw.
fn patient(status: Arc<AtomicU16>, name: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let checks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&checks);
    let address = server(move |stream| {
        let mut client = Client::new(stream);
        while let Some(head) = client.head() {
            let asked = head.starts_with("GET /healthz HTTP/1.1\r\nhost: shop.example\r\n");
            let status = match asked {
                true => status.load(Ordering::Relaxed),
                false => 200,
            };
            seen.fetch_add(usize::from(asked), Ordering::Relaxed);
            let length = name.len();
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{name}");
            if std::io::Write::write_all(&mut client.stream, text.as_bytes()).is_err() {
                return;
            }
        }
    });
    (address, checks)
}

fn checked(endpoints: &[SocketAddr], probe: ir::HealthProbe) -> ir::Snapshot {
    let mut snapshot = snapshot(endpoints[0]);
    let cluster = &mut snapshot.clusters[0];
    let like = cluster.endpoints[0].clone();
    let at = |address: &SocketAddr| ir::Endpoint {
        address: *address,
        ..like.clone()
    };
    cluster.endpoints = endpoints.iter().map(at).collect();
    cluster.traffic.panic_threshold = 0;
    cluster.traffic.health = Some(ir::HealthCheck {
        probe,
        interval: ir::Millis(20),
        timeout: ir::Millis(2_000),
        unhealthy: 2,
        healthy: 2,
    });
    snapshot
}

fn http() -> ir::HealthProbe {
    ir::HealthProbe::Http {
        path: "/healthz".to_owned(),
        host: "shop.example".to_owned(),
    }
}

/// Who answers ten requests, each on a connection of its own.
fn answers(house: &House) -> Vec<String> {
    let mut seen: Vec<_> = (0..10).map(|_| house.client().ask(GET).body).collect();
    seen.sort();
    seen.dedup();
    seen
}

fn until(what: &str, house: &House, wanted: &[&str]) {
    let begun = Instant::now();
    while answers(house) != wanted {
        assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", answers(house));
    }
}

#[test]
fn a_sick_endpoint_is_left_out_by_all_workers_and_comes_back() {
    on_each_driver(|driver| {
        let health = [200, 200].map(|status| Arc::new(AtomicU16::new(status)));
        let (a, checks) = patient(Arc::clone(&health[0]), "a");
        let (b, _) = patient(Arc::clone(&health[1]), "b");
        let house = House::open_with(driver, checked(&[a, b], http()), 2);
        until("both are well", &house, &["a", "b"]);
        health[0].store(503, Ordering::Relaxed);
        until("one is sick", &house, &["b"]);
        assert_eq!(house.commons.sick("outbound|80||up"), [a]);
        health[1].store(404, Ordering::Relaxed);
        until("both are", &house, &["no healthy upstream"]);
        let facts = house.commons.facts().remove(0);
        assert_eq!(facts.sick, 2);
        assert!(
            facts.checks.failed >= 4 && facts.checks.passed >= 1,
            "{facts:?}"
        );
        health[0].store(204, Ordering::Relaxed);
        until("one is back", &house, &["a"]);
        health[1].store(200, Ordering::Relaxed);
        until("both are back", &house, &["a", "b"]);
        // only the first worker asks
        assert!(checks.load(Ordering::Relaxed) > 4);
        house.close();
    });
}

#[test]
fn a_reload_forgets_no_illness_and_without_checks_there_is_none() {
    on_each_driver(|driver| {
        let health = Arc::new(AtomicU16::new(500));
        let (a, _) = patient(Arc::clone(&health), "a");
        let mut snapshot = checked(&[a], http());
        let house = House::open(driver, snapshot.clone());
        until("it is sick", &house, &["no healthy upstream"]);
        snapshot.clusters[0].traffic.breakers.max_retries = Some(7);
        house.activate(2, snapshot.clone());
        assert_eq!(answers(&house), ["no healthy upstream"]);
        snapshot.clusters[0].traffic.health = None;
        house.activate(3, snapshot);
        until("nobody asks", &house, &["a"]);
        house.close();
    });
}

#[test]
fn a_port_that_takes_no_connections_is_sick() {
    on_each_driver(|driver| {
        let (a, _) = patient(Arc::default(), "a");
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let b = nowhere.local_addr().unwrap();
        drop(nowhere);
        let house = House::open(driver, checked(&[a, b], ir::HealthProbe::Tcp));
        until("who takes connections is asked", &house, &["a"]);
        let begun = Instant::now();
        while house.commons.sick("outbound|80||up") != [b] {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
        house.close();
    });
}

/// A gRPC server with `grpc.health.v1.Health` that says this status of the service `shop.Shop`.
fn grpc(status: Arc<AtomicU16>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let status = Arc::clone(&status);
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else {
                        return;
                    };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let status = Arc::clone(&status);
                        tokio::spawn(serve(request, respond, status));
                    }
                });
            }
        });
    });
    address
}

async fn serve(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
    status: Arc<AtomicU16>,
) -> Result<(), Infallible> {
    let path = request.uri().path().to_owned();
    let kind = request.headers().get("content-type").cloned();
    let mut body = request.into_body();
    let mut message = Vec::new();
    while let Some(Ok(bytes)) = body.data().await {
        message.extend_from_slice(&bytes);
    }
    let asked = path == "/grpc.health.v1.Health/Check"
        && kind.is_some_and(|kind| kind == "application/grpc")
        && message == b"\0\0\0\0\x0b\x0a\x09shop.Shop";
    let status = u8::try_from(status.load(Ordering::Relaxed)).unwrap();
    let mut send = respond
        .send_response(http::Response::new(()), false)
        .unwrap();
    let answer = if asked {
        vec![0, 0, 0, 0, 2, 8, status]
    } else {
        b"fine".to_vec()
    };
    send.send_data(answer.into(), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    send.send_trailers(trailers).unwrap();
    Ok(())
}

#[test]
fn a_grpc_service_says_itself_how_it_is() {
    on_each_driver(|driver| {
        let status = Arc::new(AtomicU16::new(2));
        let service = "shop.Shop".to_owned();
        let probe = ir::HealthProbe::Grpc { service };
        let mut snapshot = checked(&[grpc(Arc::clone(&status))], probe);
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
        let house = House::open(driver, snapshot);
        until("not serving", &house, &["no healthy upstream"]);
        status.store(1, Ordering::Relaxed);
        until("serving", &house, &["fine"]);
        house.close();
    });
}
