//! What passes, and how connections live on.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};

use sallyport_config::ir;

use super::support::{Act, GET, House, Lines, Origin, field, on_each_driver, snapshot};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[test]
fn requests_pass_and_connections_are_kept_on_both_sides() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let house = House::open(driver, snapshot(origin.address));
        let mut client = house.client();
        for _ in 0..100 {
            let seen = client.ask(GET);
            assert_eq!((seen.status, seen.body.as_str()), (200, "hello"));
            assert_eq!(field(&seen.head, "server"), Some("istio-envoy"));
            assert!(field(&seen.head, "date").is_some());
        }
        let report = house.report();
        assert_eq!(report.upstreams["outbound|80||up"].connects, 1);
        assert_eq!(report.in_flight, 0);
        assert_eq!(origin.connections(), 1);
        drop(client);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn what_an_edge_says_reaches_the_origin() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let house = House::open(driver, snapshot(origin.address));
        let request = b"GET /a/../b?q=1 HTTP/1.1\r\nHost: a.example\r\nX-Envoy-Retry-On: 5xx\r\n\
            Connection: x-secret\r\nX-Secret: 1\r\nX-Keep: 1\r\n\r\n";
        house.client().ask(request);
        let heads = origin.heads.lock().unwrap();
        let head = &heads[0][0];
        assert!(
            head.starts_with("GET /b?q=1 HTTP/1.1\r\nhost: a.example\r\n"),
            "{head}"
        );
        assert_eq!(field(head, "x-keep"), Some("1"));
        assert_eq!(field(head, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(field(head, "x-forwarded-proto"), Some("http"));
        assert_eq!(field(head, "x-envoy-attempt-count"), Some("1"));
        assert_eq!(field(head, "x-request-id").map(str::len), Some(36));
        for gone in ["x-envoy-retry-on", "x-secret", "connection"] {
            assert_eq!(field(head, gone), None, "{gone}");
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let house = House::open(driver, snapshot(origin.address));
        let mut client = house.client();
        client.stream.write_all(&GET.repeat(50)).unwrap();
        for _ in 0..50 {
            assert_eq!(client.answer(true).body, "hello");
        }
    });
}

#[test]
fn bodies_pass_both_ways_in_either_framing() {
    let body = "0123456789abcdef".repeat(20_000);
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let answers = [
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"),
    ];
    on_each_driver(|driver| {
        for answer in &answers {
            let sized = Origin::script(vec![
                Act::Read(body.len()),
                Act::Send(answer.clone().into()),
            ]);
            let house = House::open(driver, snapshot(sized.address));
            let mut client = house.client();
            let request = format!(
                "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            for _ in 0..3 {
                let seen = client.ask(request.as_bytes());
                assert!(seen.whole && seen.body == body, "{}", seen.head);
            }
            let head = &sized.heads.lock().unwrap()[0][0];
            assert_eq!(field(head, "content-length"), Some("320000"));
        }
    });
}

#[test]
fn a_chunked_upload_is_chunked_anew() {
    on_each_driver(|driver| {
        // One chunk of five bytes as we write it: 1+2+5+2 and the end, 5.
        let origin = Origin::script(vec![Act::Read(15), Act::Send(HELLO.into())]);
        let house = House::open(driver, snapshot(origin.address));
        let request = b"POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n\
            2;ext=1\r\nab\r\n003\r\ncde\r\n0\r\ntrailer: gone\r\n\r\n";
        let mut client = house.client();
        for _ in 0..3 {
            assert_eq!(client.ask(request).body, "hello");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn trailers_pass_both_ways_to_who_takes_them() {
    on_each_driver(|driver| {
        let upload = b"2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            2\r\nok\r\n0\r\nX-Rest: 7\r\nhost: no\r\n\r\n";
        let origin = Origin::script(vec![Act::Read(upload.len()), Act::Send(answer.into())]);
        let house = House::open(driver, snapshot(origin.address));
        let head = "POST / HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n\
            transfer-encoding: chunked\r\n\r\n";
        let mut client = house.client();
        for _ in 0..2 {
            client.stream.write_all(head.as_bytes()).unwrap();
            client.stream.write_all(upload).unwrap();
            assert!(client.head().unwrap().starts_with("HTTP/1.1 200"));
            assert_eq!(client.take(23), "2\r\nok\r\n0\r\nx-rest: 7\r\n\r\n");
        }
        assert_eq!(origin.connections(), 1);
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
        let mut client = house.client();
        let head = b"POST / HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\n\
            content-length: 5\r\n\r\n";
        assert_eq!(client.ask(head).status, 100);
        assert_eq!(client.ask(b"12345").body, "hello");
    });
}

#[test]
fn a_websocket_is_a_tunnel_after_the_origin_agrees() {
    on_each_driver(|driver| {
        let origin = Origin::script(vec![
            Act::Send(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                upgrade: websocket\r\n\r\n"
                    .into(),
            ),
            Act::Echo,
        ]);
        let house = House::open(driver, snapshot(origin.address));
        let mut client = house.client();
        let head = b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\n\r\n";
        assert_eq!(client.ask(head).status, 101);
        for _ in 0..10 {
            client.stream.write_all(b"ping ping").unwrap();
            assert_eq!(client.take(9), "ping ping");
        }
    });
}

/// As with Envoy: a WebSocket says goodbye in its own frames (RFC 6455 §7.1.1), and who ends its
/// sending without one has left.
#[test]
fn a_websocket_ends_with_its_clients_sending() {
    on_each_driver(|driver| {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\n\r\n";
        let origin = Origin::answers(switch);
        let lines = Lines::new("websocket-left");
        let mut snapshot = snapshot(origin.address);
        lines.write_to(&mut snapshot, "%RESPONSE_CODE% %RESPONSE_FLAGS%");
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        let head = b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\n\r\n";
        assert_eq!(client.ask(head).status, 101);
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert!(client.is_closed());
        assert_eq!(lines.take(1), ["101 DC"]);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn what_no_rule_wants_is_answered_here() {
    on_each_driver(|driver| {
        let house = House::open(driver, snapshot(SocketAddr::from(([127, 0, 0, 1], 1))));
        let cases: [(&[u8], u16, &str); 5] = [
            (b"GET / HTTP/1.1\r\nhost: b.example\r\n\r\n", 404, ""),
            (
                GET,
                503,
                "upstream connect error or disconnect/reset before headers. retried and the \
                 latest reset reason: remote connection failure",
            ),
            (
                b"GET / HTTP/1.1\nhost: a.example\r\n\r\n",
                400,
                "Bad Request",
            ),
            (b"GET / HTTP/1.0\r\n\r\n", 426, "Upgrade Required"),
            (
                b"CONNECT a.example:80 HTTP/1.1\r\nhost: a.example:80\r\n\r\n",
                404,
                "",
            ),
        ];
        for (request, status, body) in cases {
            let seen = house.client().ask(request);
            assert_eq!((seen.status, seen.body.as_str()), (status, body));
        }
    });
}

/// RFC 9110 §8.6: a `content-length` in a 204 is one that a client may wait for.
#[test]
fn an_answer_without_content_says_no_length_and_the_connection_stays() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let mut snapshot = snapshot(origin.address);
        let host = &mut snapshot.route_tables[0].hosts[0];
        let mut route = host.routes[0].clone();
        route.action = ir::Action::Direct(ir::DirectResponse {
            status: 204,
            body: b"lost".as_slice().into(),
        });
        host.routes = vec![route].into();
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        for _ in 0..2 {
            let seen = client.ask(GET);
            assert_eq!(seen.status, 204);
            assert_eq!(field(&seen.head, "content-length"), None);
        }
    });
}

#[test]
fn a_new_generation_serves_the_next_request_of_a_live_connection() {
    on_each_driver(|driver| {
        let (one, two) = (
            Origin::answers(HELLO),
            Origin::answers("HTTP/1.1 204 No\r\n\r\n"),
        );
        let house = House::open(driver, snapshot(one.address));
        let mut client = house.client();
        for id in 2..50 {
            assert_eq!(client.ask(GET).status, if id % 2 == 0 { 200 } else { 204 });
            let next = if id % 2 == 0 {
                two.address
            } else {
                one.address
            };
            house.activate(id, snapshot(next));
        }
        assert_eq!(one.connections(), 1, "pools outlive generations");
    });
}

#[test]
fn draining_lets_idle_connections_go() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let house = House::open(driver, snapshot(origin.address));
        let mut client = house.client();
        client.ask(GET);
        assert_eq!(house.close(), 0);
        assert!(client.is_closed());
    });
}

#[test]
fn a_client_that_leaves_takes_its_upstream_request_along() {
    on_each_driver(|driver| {
        // Never answers: reads a body that will not come.
        let origin = Origin::script(vec![Act::Read(1)]);
        let house = House::open(driver, snapshot(origin.address));
        let mut client = house.client();
        client.stream.write_all(GET).unwrap();
        while house.report().upstreams.is_empty() {
            std::thread::yield_now();
        }
        drop(client);
        while house.report().upstreams["outbound|80||up"].closes == 0 {
            std::thread::yield_now();
        }
        assert_eq!(house.report().in_flight, 0);
    });
}
