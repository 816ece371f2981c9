//! HTTP/2 towards origins: shared connections, streams that end in every way.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sallyport_config::ir;

use super::http2;
use super::origin_h2::H2Origin;
use super::support::{GET, House, Lines, Origin, field, on_each_driver, snapshot};

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n\r\n").into_bytes()
}

#[test]
fn clients_share_one_connection_of_http2() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let lines = Lines::new("h2-shared");
        let mut snapshot = origin.snapshot();
        lines.write_to(
            &mut snapshot,
            "%PROTOCOL% %UPSTREAM_PROTOCOL% %RESPONSE_CODE% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
        );
        let house = House::open(driver, snapshot);
        for _ in 0..10 {
            let mut client = house.client();
            assert_eq!(client.ask(GET).status, 200);
            assert_eq!(client.ask(&get("/x")).status, 200);
        }
        assert_eq!(origin.connections(), 1);
        assert_eq!(lines.take(20)[19], "HTTP/1.1 HTTP/2 200 127.0.0.1");
        let heads = origin.seen.heads.lock().unwrap();
        assert!(heads[0].starts_with("GET a.example /x\r\n"), "{}", heads[0]);
        assert_eq!(field(&heads[0], "x-forwarded-proto"), Some("http"));
        for name in ["host", "te", "connection"] {
            assert_eq!(field(&heads[0], name), None, "{}", heads[0]);
        }
        assert_eq!(field(&heads[1], "te"), Some("trailers"));
        drop(heads);
        let report = house.report();
        let upstream = report.upstreams.values().next().unwrap();
        assert_eq!((upstream.connects, upstream.active()), (1, 1));
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn more_streams_than_a_connection_takes_open_more_connections() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(4, usize::MAX);
        let house = House::open(driver, origin.snapshot());
        // The first request learns what the origin allows.
        assert_eq!(house.client().ask(GET).status, 200);
        let mut clients: Vec<_> = (0..12).map(|_| house.client()).collect();
        for client in &mut clients {
            client.stream.write_all(&get("/slow")).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.answer(true).body, "slow");
        }
        assert!(origin.seen.crowd.load(Ordering::Relaxed) <= 4);
        // Streams that came before the origin's settings wait inside a connection.
        assert!(
            (2..=12).contains(&origin.connections()),
            "{}",
            origin.connections()
        );
        house.close();
    });
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let house = House::open(driver, origin.snapshot());
        let mut client = house.client();
        let body = "x".repeat(1_000_000);
        let head = "POST /echo HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n";
        let sized = format!("{head}content-length: 1000000\r\n\r\n{body}");
        let mut writer = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || writer.write_all(sized.as_bytes()).unwrap());
        let seen = client.answer(true);
        sending.join().unwrap();
        assert!(seen.whole && seen.body == body, "{}", seen.body.len());
        assert_eq!(client.trailers(), "x-end: true\r\n");

        let chunked =
            format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n");
        // An answer that came before its request was whole has ended the first connection.
        let mut client = house.client();
        client.stream.write_all(chunked.as_bytes()).unwrap();
        assert_eq!(client.answer(true).body, "hello");
        let trailers = client.trailers();
        assert!(trailers.contains("x-sum: 7\r\n"), "{trailers}");
        assert_eq!(origin.connections(), 1);
        house.close();
    });
}

#[test]
fn a_refused_stream_is_sent_once_more() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let mut snapshot = origin.snapshot();
        let retry = ir::Retry {
            attempts: 1,
            on: ir::RetryOn {
                refused_stream: true,
                ..ir::RetryOn::default()
            },
            ..ir::Retry::default()
        };
        set_retry(&mut snapshot, retry);
        let house = House::open(driver, snapshot);
        assert_eq!(house.client().ask(&get("/refused-once")).status, 200);
        assert_eq!(origin.seen.requests.load(Ordering::Relaxed), 2);
        assert_eq!(origin.connections(), 1);
        house.close();
    });
}

fn set_retry(snapshot: &mut ir::Snapshot, retry: ir::Retry) {
    let host = &mut snapshot.route_tables[0].hosts[0];
    let mut routes = host.routes.to_vec();
    if let ir::Action::Forward(forward) = &mut routes[0].action {
        forward.retry = retry;
    }
    host.routes = routes.into();
}

#[test]
fn a_connection_that_goes_away_is_replaced_and_nothing_is_lost() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, 3);
        let house = House::open(driver, origin.snapshot());
        let mut client = house.client();
        for _ in 0..12 {
            assert_eq!(client.ask(GET).status, 200);
        }
        assert!(
            (4..=5).contains(&origin.connections()),
            "{}",
            origin.connections()
        );
        house.report_when(|report| report.upstreams.values().all(|u| u.active() <= 1));

        let origin = H2Origin::start(100, usize::MAX);
        let mut snapshot = origin.snapshot();
        snapshot.clusters[0].max_requests_per_connection = 3;
        house.activate(2, snapshot);
        for _ in 0..9 {
            assert_eq!(client.ask(GET).status, 200);
        }
        assert_eq!(origin.connections(), 3);
        house.close();
    });
}

#[test]
fn a_connection_that_is_old_takes_no_more_streams() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let mut snapshot = origin.snapshot();
        snapshot.clusters[0].traffic.max_connection_duration = Some(ir::Millis(50));
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        let mut busy = house.client();
        busy.stream.write_all(&get("/hang")).unwrap();
        assert!(busy.head().unwrap().starts_with("HTTP/1.1 200"));
        let end = std::time::Instant::now() + super::support::PATIENCE;
        while origin.connections() < 2 {
            assert_eq!(client.ask(GET).status, 200);
            assert!(
                std::time::Instant::now() < end,
                "one connection serves them all"
            );
        }
        // A stream that is under way is not cut.
        assert!(origin.seen.resets.lock().unwrap().is_empty());
        drop(busy);
        house.close();
    });
}

#[test]
fn a_websocket_goes_by_http1_where_no_stream_can_be_a_tunnel() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let lines = Lines::new("h2-websocket");
        let mut snapshot = origin.snapshot();
        lines.write_to(&mut snapshot, "%UPSTREAM_PROTOCOL% %RESPONSE_CODE%");
        let house = House::open(driver, snapshot);
        let handshake = "GET /x HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        // The origin does not speak that, and says nothing of tunnels in its SETTINGS.
        assert_eq!(house.client().ask(handshake.as_bytes()).status, 502);
        assert_eq!(lines.take(1), ["HTTP/1.1 502"]);
        assert_eq!(house.client().ask(GET).status, 200);
        assert_eq!(origin.connections(), 2);
        house.close();
    });
}

#[test]
fn resets_reach_the_client_and_the_log() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let lines = Lines::new("h2-resets");
        let mut snapshot = origin.snapshot();
        lines.write_to(&mut snapshot, "%RESPONSE_CODE% %RESPONSE_FLAGS%");
        let house = House::open(driver, snapshot);
        assert_eq!(house.client().ask(&get("/reset")).status, 503);
        let torn = house.client().ask(&get("/torn"));
        assert_eq!((torn.status, torn.whole), (200, false));
        assert!(torn.body.starts_with("half"), "{}", torn.body);
        assert_eq!(house.client().ask(&get("/early")).status, 403);
        assert_eq!(lines.take(3), ["503 UR", "200 UR", "403 -"]);
        assert_eq!(origin.connections(), 1);
        house.close();
    });
}

#[test]
fn a_client_that_leaves_resets_its_stream_and_no_other() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let house = House::open(driver, origin.snapshot());
        let mut leaving = house.client();
        leaving.stream.write_all(&get("/hang")).unwrap();
        assert!(leaving.head().unwrap().starts_with("HTTP/1.1 200"));
        let mut staying = house.client();
        staying.stream.write_all(&get("/slow")).unwrap();
        drop(leaving);
        assert_eq!(staying.answer(true).body, "slow");
        let end = std::time::Instant::now() + super::support::PATIENCE;
        while origin.seen.resets.lock().unwrap().is_empty() {
            assert!(std::time::Instant::now() < end, "no reset");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(*origin.seen.resets.lock().unwrap(), [h2::Reason::CANCEL]);
        assert_eq!(origin.connections(), 1);
        house.close();
    });
}

#[test]
fn a_client_that_waits_is_told_to_continue() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let house = House::open(driver, origin.snapshot());
        let mut client = house.client();
        let head = "POST /continue HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\n\
                    content-length: 5\r\n\r\n";
        client.stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(client.head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.stream.write_all(b"hello").unwrap();
        assert_eq!(client.answer(true).body, "hello");
        house.close();
    });
}

#[test]
fn the_clients_protocol_may_be_the_origins_and_nobody_speaks_another() {
    on_each_driver(|driver| {
        let one = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let mut snapshot = snapshot(one.address);
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Client;
        let house = House::open(driver, snapshot.clone());
        assert_eq!(house.client().ask(GET).status, 200);
        assert_eq!(one.connections(), 1);
        // Who answers HTTP/2 with HTTP/1 does not speak it.
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Http2;
        house.activate(2, snapshot);
        assert_eq!(house.client().ask(GET).status, 502);
        house.report_when(|report| report.upstreams.values().all(|u| u.active() <= 1));
        house.close();
    });
}

#[test]
fn streams_of_clients_become_streams_of_origins() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let mut snapshot = origin.snapshot();
        snapshot.clusters[0].protocol = ir::UpstreamProtocol::Client;
        let house = House::open(driver, snapshot);
        http2::client(&house, |send| async move {
            let calls = (0..20).map(|_| http2::get(&send));
            for call in calls.collect::<Vec<_>>() {
                let mut body = call.await.into_body();
                let (_, trailers) = http2::whole(&mut body).await.unwrap();
                assert_eq!(trailers.unwrap()["x-end"], "true");
            }
            let mut send = send.ready().await.unwrap();
            let request = http2::request(http::Method::POST);
            let (response, mut upload) = send.send_request(request, false).unwrap();
            let mut body = response.await.unwrap().into_body();
            // The answer is under way while the request still is.
            for part in ["one", "two"] {
                upload.send_data(part.into(), false).unwrap();
                assert_eq!(body.data().await.unwrap().unwrap(), part);
            }
            let trailers = [(
                http::HeaderName::from_static("x-sum"),
                http::HeaderValue::from_static("2"),
            )];
            upload
                .send_trailers(trailers.into_iter().collect())
                .unwrap();
            let (_, trailers) = http2::whole(&mut body).await.unwrap();
            assert_eq!(trailers.unwrap()["x-sum"], "2");
        });
        assert_eq!(origin.connections(), 1);
        house.close();
    });
}

#[test]
fn large_bodies_pass_through_both_windows() {
    const SIZE: usize = 8 * 1024 * 1024;
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let house = House::open(driver, origin.snapshot());
        http2::client(&house, |send| async move {
            let mut send = send.ready().await.unwrap();
            let request = http2::request(http::Method::POST);
            let (response, mut upload) = send.send_request(request, false).unwrap();
            let sending = async {
                let mut left = bytes::Bytes::from(vec![7; SIZE]);
                while !left.is_empty() {
                    upload.reserve_capacity(left.len());
                    let room = std::future::poll_fn(|context| upload.poll_capacity(context));
                    let room = room.await.unwrap().unwrap();
                    upload.send_data(left.split_to(room), false).unwrap();
                }
                upload.send_data(left, true).unwrap();
            };
            let receiving = async {
                let mut body = response.await.unwrap().into_body();
                http2::whole(&mut body).await.unwrap().0
            };
            let ((), body) = tokio::join!(sending, receiving);
            assert!(body.len() == SIZE && body.iter().all(|byte| *byte == 7));
        });
        house.close();
    });
}

#[test]
fn a_reset_passes_both_ways() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let house = House::open(driver, origin.snapshot());
        http2::client(&house, |send| async move {
            let ask = |path: &str| {
                let uri = format!("http://a.example{path}");
                http::Request::get(uri).body(()).unwrap()
            };
            let mut send = send.ready().await.unwrap();
            let (response, _) = send.send_request(ask("/torn"), true).unwrap();
            let mut body = response.await.unwrap().into_body();
            let torn = http2::whole(&mut body).await.unwrap_err();
            assert!(torn.is_reset() && torn.is_remote(), "{torn}");
            let (response, mut stream) = send.send_request(ask("/hang"), true).unwrap();
            let body = response.await.unwrap().into_body();
            stream.send_reset(h2::Reason::CANCEL);
            drop(body);
            let end = std::time::Instant::now() + super::support::PATIENCE;
            while origin.seen.resets.lock().unwrap().is_empty() {
                assert!(std::time::Instant::now() < end, "no reset");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        house.close();
    });
}

#[test]
fn copies_are_sent_by_the_protocol_of_their_cluster() {
    on_each_driver(|driver| {
        let one = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let copied = H2Origin::start(100, usize::MAX);
        let mut snapshot = snapshot(one.address);
        let mut other = copied.snapshot().clusters.remove(0);
        other.name = "outbound|80||other".to_owned();
        snapshot.clusters.push(other);
        let host = &mut snapshot.route_tables[0].hosts[0];
        let mut routes = host.routes.to_vec();
        if let ir::Action::Forward(forward) = &mut routes[0].action {
            forward.mirrors = vec![ir::Mirror {
                cluster: ir::ClusterRef::Known(ir::ClusterId(1)),
                share: ir::Ppm::ALL,
            }];
        }
        host.routes = routes.into();
        let house = House::open(driver, snapshot);
        let post = b"POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhello";
        let mut client = house.client();
        for request in [GET, post] {
            assert_eq!(client.ask(request).status, 200);
        }
        let end = std::time::Instant::now() + super::support::PATIENCE;
        while copied.seen.requests.load(Ordering::Relaxed) < 2 {
            assert!(std::time::Instant::now() < end, "no copies");
            std::thread::sleep(Duration::from_millis(5));
        }
        let heads = copied.seen.heads.lock().unwrap();
        assert!(
            heads
                .iter()
                .any(|head| head.starts_with("POST a.example /x"))
        );
        drop(heads);
        house.close();
    });
}
