//! HTTP/2 from clients: what passes, what ends a stream, and what leaves nothing behind.

use std::future::Future;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use sallyport_config::ir;
use tokio::net::TcpStream;

use super::support::{Act, House, Origin, PATIENCE, field, on_each_driver, snapshot};
use crate::rt::DriverChoice;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Runs a client on a connection of its own.
pub(super) fn client<F: Future>(
    house: &House,
    test: impl FnOnce(SendRequest<Bytes>) -> F,
) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let work = async {
        let stream = TcpStream::connect(house.door).await.unwrap();
        // Room for a stream that is not read beside others.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 20);
        let (send, connection) = builder.handshake(stream).await.unwrap();
        // How a connection ends is seen by its streams.
        tokio::spawn(async move { drop(connection.await) });
        test(send).await
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.unwrap() })
}

pub(super) fn request(method: Method) -> Request<()> {
    let request = Request::builder().method(method);
    request.uri("http://a.example/x").body(()).unwrap()
}

/// Waits for the gateway's SETTINGS.
async fn settled(send: &SendRequest<Bytes>) {
    while !send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
}

/// A request without a body; its answer.
pub(super) async fn get(send: &SendRequest<Bytes>) -> Response<RecvStream> {
    let mut send = send.clone().ready().await.unwrap();
    let (response, _) = send.send_request(request(Method::GET), true).unwrap();
    response.await.unwrap()
}

/// All of a body, and its trailers.
pub(super) async fn whole(
    body: &mut RecvStream,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, body.trailers().await?))
}

/// Sends a body as the window allows.
async fn upload(send: &mut SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        send.reserve_capacity(body.len());
        let room = std::future::poll_fn(|context| send.poll_capacity(context)).await;
        let part = body.split_to(room.unwrap().unwrap());
        send.send_data(part, false).unwrap();
    }
}

/// Nothing is left of anything that was begun.
fn nothing_is_left(house: &House, driver: DriverChoice) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let report = house.report();
        let clients = report.listeners.values().map(|l| l.active()).sum::<u64>();
        if report.in_flight == 0 && clients == 0 {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{driver:?}: {report:?}"
        );
        std::thread::yield_now();
    }
}

#[test]
fn many_streams_share_a_connection() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let house = House::open(driver, snapshot(origin.address));
        client(&house, |send| async move {
            for _ in 0..5 {
                let all = (0..50).map(|_| async {
                    let mut response = get(&send).await;
                    assert_eq!(response.status(), 200);
                    assert_eq!(response.headers()["server"], "istio-envoy");
                    assert_eq!(response.headers()["content-length"], "5");
                    assert_eq!(whole(response.body_mut()).await.unwrap().0, b"hello");
                });
                let tasks: Vec<_> = all.map(Box::pin).collect();
                for task in tasks {
                    task.await;
                }
            }
        });
        let report = house.report();
        assert_eq!(report.series.values().map(|s| s.requests).sum::<u64>(), 250);
        let heads = origin.heads.lock().unwrap();
        let head = &heads[0][0];
        assert!(head.starts_with("GET /x HTTP/1.1\r\nhost: a.example\r\n"));
        assert_eq!(field(head, "x-forwarded-proto"), Some("http"));
        drop(heads);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn bodies_of_all_sizes_pass_both_ways() {
    on_each_driver(|driver| {
        for size in [0, 1_024, 3 * 1_024 * 1_024] {
            let body = Bytes::from(vec![b'b'; size]);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
            let answer = [head.as_bytes(), &body].concat();
            let origin = Origin::script(vec![Act::Read(size), Act::Send(answer)]);
            let house = House::open(driver, snapshot(origin.address));
            client(&house, |send| async move {
                let mut send = send.ready().await.unwrap();
                let mut ask = request(Method::POST);
                ask.headers_mut().insert("content-length", size.into());
                let (response, mut up) = send.send_request(ask, false).unwrap();
                upload(&mut up, body.clone()).await;
                up.send_data(Bytes::new(), true).unwrap();
                let mut response = response.await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(whole(response.body_mut()).await.unwrap().0, body);
            });
            assert_eq!(house.close(), 0);
        }
    });
}

#[test]
fn trailers_pass_both_ways() {
    on_each_driver(|driver| {
        let sent = b"2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n\
            transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 5\r\n\r\n";
        let origin = Origin::script(vec![Act::Read(sent.len()), Act::Send(answer.into())]);
        let house = House::open(driver, snapshot(origin.address));
        client(&house, |send| async move {
            let mut send = send.ready().await.unwrap();
            let mut ask = request(Method::POST);
            ask.headers_mut().insert("te", "trailers".parse().unwrap());
            let grpc = "application/grpc".parse().unwrap();
            ask.headers_mut().insert("content-type", grpc);
            let (response, mut up) = send.send_request(ask, false).unwrap();
            up.send_data(Bytes::from_static(b"ab"), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "1".parse().unwrap());
            up.send_trailers(trailers).unwrap();
            let mut response = response.await.unwrap();
            let (body, trailers) = whole(response.body_mut()).await.unwrap();
            assert_eq!(body, b"ok");
            assert_eq!(trailers.unwrap()["grpc-status"], "5");
        });
        let report = house.report();
        let (labels, _) = report.series.iter().next().unwrap();
        assert_eq!(
            (labels.grpc_status, labels.protocol.as_str()),
            (Some(5), "grpc")
        );
    });
}

#[test]
fn an_early_answer_ends_the_upload_without_blame() {
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Read(1_000), Act::Send(HELLO.into()), Act::Close]);
        let house = House::open(driver, snapshot(origin.address));
        client(&house, |send| async move {
            let mut send = send.ready().await.unwrap();
            let (response, mut up) = send.send_request(request(Method::POST), false).unwrap();
            upload(&mut up, Bytes::from(vec![b'u'; 2_000])).await;
            let mut response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(whole(response.body_mut()).await.unwrap().0, b"hello");
            let reset = std::future::poll_fn(|context| up.poll_reset(context)).await;
            assert_eq!(reset.unwrap(), Reason::NO_ERROR);
        });
        nothing_is_left(&house, driver);
    });
}

#[test]
fn an_origin_that_breaks_off_resets_the_stream() {
    on_each_driver(|driver| {
        let broken = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello";
        let origin = Origin::script(vec![Act::Send(broken.into()), Act::Close]);
        let house = House::open(driver, snapshot(origin.address));
        client(&house, |send| async move {
            // The connection is none the worse for it.
            for _ in 0..3 {
                let mut send = send.clone().ready().await.unwrap();
                let (response, _) = send.send_request(request(Method::GET), true).unwrap();
                let end = match response.await {
                    Ok(mut response) => whole(response.body_mut()).await.unwrap_err(),
                    Err(error) => error,
                };
                assert_eq!(end.reason(), Some(Reason::INTERNAL_ERROR));
            }
        });
        nothing_is_left(&house, driver);
    });
}

#[test]
fn cancels_at_any_point_leave_nothing() {
    on_each_driver(|driver| {
        let body = "x".repeat(200_000);
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n";
        let origin = Origin::script(vec![
            Act::Read(70_000),
            Act::Send([head, &body].concat().into()),
        ]);
        let house = House::open(driver, snapshot(origin.address));
        // Each connection stays below what would look like an attack.
        for round in 0..10_u32 {
            client(&house, |send| async move {
                for turn in 0..20_u32 {
                    let dice = round
                        .wrapping_mul(2_654_435_761)
                        .wrapping_add(turn * 40_503)
                        >> 7;
                    let mut send = send.clone().ready().await.unwrap();
                    let (response, mut up) =
                        send.send_request(request(Method::POST), false).unwrap();
                    if dice % 4 > 0 {
                        upload(
                            &mut up,
                            vec![b'u'; 35_000 + 35_000 * (dice as usize % 2)].into(),
                        )
                        .await;
                    }
                    if dice % 4 > 1 && dice % 2 == 1 {
                        let mut response = response.await.unwrap();
                        response.body_mut().data().await.unwrap().unwrap();
                    } else if dice % 4 == 2 {
                        tokio::task::yield_now().await;
                    }
                    up.send_reset(Reason::CANCEL);
                }
            });
        }
        nothing_is_left(&house, driver);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn a_websocket_passes_by_extended_connect() {
    on_each_driver(|driver| {
        let agree = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";
        let origin = Origin::script(vec![Act::Send(agree.into()), Act::Echo]);
        let house = House::open(driver, snapshot(origin.address));
        client(&house, |send| async move {
            let mut send = send.ready().await.unwrap();
            settled(&send).await;
            let mut ask = request(Method::CONNECT);
            ask.extensions_mut()
                .insert(Protocol::from_static("websocket"));
            let (response, mut up) = send.send_request(ask, false).unwrap();
            // Early bytes wait for the origin's agreement.
            up.send_data(Bytes::from_static(b"early "), false).unwrap();
            let mut response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(!response.headers().contains_key("sec-websocket-accept"));
            up.send_data(Bytes::from_static(b"birds"), false).unwrap();
            let mut seen = Vec::new();
            while seen.len() < 11 {
                seen.extend(response.body_mut().data().await.unwrap().unwrap());
            }
            assert_eq!(seen, b"early birds");
            up.send_reset(Reason::CANCEL);
        });
        let heads = origin.heads.lock().unwrap();
        let head = &heads[0][0];
        assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(head, "upgrade"), Some("websocket"));
        assert_eq!(field(head, "sec-websocket-key").map(str::len), Some(24));
        drop(heads);
        nothing_is_left(&house, driver);
    });
}

#[test]
fn expectations_are_met_by_the_origin() {
    on_each_driver(|driver| {
        let origin = Origin::script(vec![
            Act::Send(b"HTTP/1.1 100 Continue\r\n\r\n".into()),
            Act::Read(5),
            Act::Send(HELLO.into()),
        ]);
        let house = House::open(driver, snapshot(origin.address));
        client(&house, |send| async move {
            let mut send = send.ready().await.unwrap();
            let mut ask = request(Method::POST);
            ask.headers_mut()
                .insert("expect", "100-continue".parse().unwrap());
            ask.headers_mut().insert("content-length", 5.into());
            let (mut response, mut up) = send.send_request(ask, false).unwrap();
            let interim = std::future::poll_fn(|c| response.poll_informational(c)).await;
            assert_eq!(interim.unwrap().unwrap().status(), 100);
            up.send_data(Bytes::from_static(b"12345"), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
        });
    });
}

#[test]
fn a_slow_client_slows_the_origin() {
    on_each_driver(|driver| {
        let size = 8 * 1_024 * 1_024;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
        let answer = [head.as_bytes(), &vec![b'd'; size]].concat();
        let origin = Origin::script(vec![Act::Send(answer)]);
        let house = House::open(driver, snapshot(origin.address));
        client(&house, |send| async move {
            let mut slow = get(&send).await;
            // Its window is full; others go on.
            let mut quick = get(&send).await;
            let (body, _) = whole(quick.body_mut()).await.unwrap();
            assert_eq!(body.len(), size);
            let (body, _) = whole(slow.body_mut()).await.unwrap();
            assert_eq!(body.len(), size);
        });
        nothing_is_left(&house, driver);
    });
}

#[test]
fn a_drain_lets_streams_finish() {
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Read(5), Act::Send(HELLO.into())]);
        let house = House::open(driver, snapshot(origin.address));
        let house = &house;
        let drain = client(house, |send| async move {
            let mut send = send.ready().await.unwrap();
            settled(&send).await;
            let mut ask = request(Method::POST);
            ask.headers_mut().insert("content-length", 5.into());
            let (response, mut up) = send.send_request(ask, false).unwrap();
            up.send_data(Bytes::from_static(b"12"), false).unwrap();
            let drain = [house.start_drain()];
            // The first GOAWAY leaves room for streams under way, the second for no more.
            while send.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
            up.send_data(Bytes::from_static(b"345"), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
            drain
        });
        for cut in drain {
            assert_eq!(cut.blocking_recv().unwrap(), 0);
        }
    });
}

#[test]
fn a_request_is_tried_again_and_says_so() {
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Read(2), Act::Close]);
        let mut snapshot = snapshot(origin.address);
        retrying(&mut snapshot);
        let house = House::open(driver, snapshot);
        client(&house, |send| async move {
            let mut send = send.ready().await.unwrap();
            let mut ask = request(Method::PUT);
            ask.headers_mut().insert("content-length", 2.into());
            let (response, mut up) = send.send_request(ask, false).unwrap();
            up.send_data(Bytes::from_static(b"ab"), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 503);
        });
        let heads = origin.heads.lock().unwrap().concat();
        let attempt = |head: &String| field(head, "x-envoy-attempt-count").map(str::to_owned);
        let attempts: Vec<_> = heads.iter().filter_map(attempt).collect();
        assert_eq!(attempts, ["1", "2", "3"]);
        nothing_is_left(&house, driver);
    });
}

/// Every failure of the upstream is a reason for up to two further tries.
fn retrying(snapshot: &mut ir::Snapshot) {
    let route = &mut snapshot.route_tables[0].hosts[0].routes;
    let mut routes = route.to_vec();
    let ir::Action::Forward(forward) = &mut routes[0].action else {
        panic!("nothing is forwarded");
    };
    forward.retry = ir::Retry {
        attempts: 2,
        on: ir::RetryOn {
            five_xx: true,
            ..ir::RetryOn::default()
        },
        ..forward.retry.clone()
    };
    *route = routes.into();
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    on_each_driver(|driver| {
        let body = "x".repeat(1_000_000);
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        let origin = Origin::script(vec![Act::Send([head, &body].concat().into())]);
        let mut snapshot = snapshot(origin.address);
        snapshot.settings.connection.stream_idle_timeout = Some(ir::Millis(100));
        let house = House::open(driver, snapshot);
        client(&house, |send| async move {
            let mut response = get(&send).await;
            // Its window is full and stays so: nothing is released.
            let mut seen = 0;
            let end = loop {
                match response.body_mut().data().await.unwrap() {
                    Ok(data) => seen += data.len(),
                    Err(error) => break error,
                }
            };
            assert_eq!(end.reason(), Some(Reason::INTERNAL_ERROR));
            assert!(seen <= 65_535, "{seen}");
        });
        nothing_is_left(&house, driver);
    });
}

#[test]
fn an_old_connection_says_goodbye() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let mut snapshot = snapshot(origin.address);
        snapshot.settings.connection.max_connection_duration = Some(ir::Millis(50));
        let house = House::open(driver, snapshot);
        client(&house, |send| async move {
            assert_eq!(get(&send).await.status(), 200);
            while send.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        nothing_is_left(&house, driver);
    });
}
