//! External authorization on real sockets: who is asked, what is shown, and what the answer does.

mod authorizers;
mod bytes;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use ::bytes::Bytes;
use http::Method;
use sallyport_config::ir;

use self::authorizers::{judge, referee};
use super::support::{Act, House, Lines, Origin, field, on_each_driver, origin, snapshot};
use super::{h3, http2, tls};
use crate::rt::DriverChoice;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nset-cookie: up=1\r\n\r\nhello";

/// Everything but `/open` is asked about.
fn asked(protocol: ir::CheckProtocol) -> ir::Policies {
    let open = ir::PolicyCondition {
        test: ir::PolicyTest::Path(vec![ir::PathPattern::Text(ir::TextMatch::Exact(
            "/open".to_owned(),
        ))]),
        negated: true,
    };
    ir::Policies {
        authorization: vec![ir::AuthorizationPolicy {
            action: ir::PolicyAction::Custom,
            dry_run: false,
            authorizer: Some(ir::AuthorizerId(0)),
            rules: vec![ir::PolicyRule {
                to: vec![vec![open]],
                ..ir::PolicyRule::default()
            }],
            origin: origin(),
        }],
        authorizers: vec![ir::Authorizer {
            name: "judge".to_owned(),
            cluster: ir::ClusterId(1),
            host: "judge.test".to_owned(),
            timeout: ir::Millis(5_000),
            fail_open: false,
            status_on_error: 503,
            body: None,
            protocol,
        }],
        ..ir::Policies::default()
    }
}

fn over_http() -> ir::CheckProtocol {
    let exact = |name: &str| ir::TextMatch::Exact(name.to_owned());
    ir::CheckProtocol::Http(Box::new(ir::HttpCheck {
        path_prefix: "/check".to_owned(),
        include: vec![exact("cookie")],
        add: vec![("x-gate".to_owned(), "1".to_owned())],
        to_upstream: vec![exact("x-user")],
        on_deny: vec![exact("x-why")],
        on_allow: vec![exact("set-cookie")],
    }))
}

/// A snapshot behind an authorizer.
fn guard(mut snapshot: ir::Snapshot, at: SocketAddr, policies: ir::Policies) -> ir::Snapshot {
    let mut cluster = snapshot.clusters[0].clone();
    cluster.name = "outbound|80||judge".to_owned();
    cluster.endpoints[0].address = at;
    snapshot.clusters.push(cluster);
    snapshot.policies = policies;
    snapshot
}

fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n").into_bytes()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn an_authorizer_over_http_decides() {
    on_each_driver(|driver| {
        let (upstream, judge) = (Origin::answers(HELLO), judge());
        let lines = Lines::new("authz");
        let mut snapshot = guard(
            snapshot(upstream.address),
            judge.address,
            asked(over_http()),
        );
        lines.write_to(
            &mut snapshot,
            "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%",
        );
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        assert_eq!(client.ask(&get("/open", "")).status, 200);
        assert_eq!(judge.heads().len(), 0);
        let allowed = client.ask(&get(
            "/allow?q",
            "cookie: c=1\r\nx-user: root\r\nx-b: 2\r\n",
        ));
        assert_eq!((allowed.status, &*allowed.body), (200, "hello"));
        assert!(
            allowed.head.contains("set-cookie: judge=1\r\n"),
            "{}",
            allowed.head
        );
        assert!(
            !allowed.head.contains("set-cookie: up=1"),
            "{}",
            allowed.head
        );
        let shown = judge.heads().remove(0);
        assert!(
            shown.starts_with("GET /check/allow?q HTTP/1.1\r\nhost: a.example\r\n"),
            "{shown}"
        );
        assert_eq!(field(&shown, "cookie"), Some("c=1"));
        assert_eq!(field(&shown, "x-gate"), Some("1"));
        assert_eq!(
            (field(&shown, "x-user"), field(&shown, "x-b")),
            (None, None)
        );
        let seen = upstream.heads.lock().unwrap()[0][1].clone();
        assert!(
            seen.contains("x-user: alice\r\n") && !seen.contains("root"),
            "{seen}"
        );
        let denied = client.ask(&get("/deny", ""));
        assert_eq!((denied.status, &*denied.body), (401, "who are you"));
        assert_eq!(field(&denied.head, "x-why"), Some("nobody"));
        assert_eq!(field(&denied.head, "x-inner"), None);
        assert_eq!(client.ask(&get("/error", "")).status, 503);
        assert_eq!(client.ask(&get("/huge", "")).status, 503);
        let grpc = client.ask(&get("/deny", "content-type: application/grpc\r\n"));
        assert_eq!(
            (grpc.status, field(&grpc.head, "grpc-status")),
            (200, Some("16"))
        );
        let report = house.report();
        assert_eq!(report.authorizers["judge"], [1, 2, 2, 0]);
        let lines = lines.take(6);
        assert_eq!(lines[2], "401 UAEX ext_authz_denied");
        assert_eq!(lines[3], "503 UAEX ext_authz_error");
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn who_does_not_answer_refuses_or_fails_open() {
    on_each_driver(|driver| {
        for (fail_open, path, status) in [
            (false, "/hang", 503),
            (true, "/hang", 200),
            (false, "/down", 503),
            (true, "/down", 200),
            (true, "/deny", 401),
        ] {
            let (upstream, judge) = (Origin::answers(HELLO), judge());
            let mut policies = asked(over_http());
            policies.authorizers[0].fail_open = fail_open;
            policies.authorizers[0].timeout = ir::Millis(200);
            let at = match path {
                // nobody listens on a port that was given back
                "/down" => std::net::TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap(),
                _ => judge.address,
            };
            let house = House::open(driver, guard(snapshot(upstream.address), at, policies));
            let seen = house.client().ask(&get(path, ""));
            assert_eq!(seen.status, status, "{path} {fail_open}");
            let [_, _, errors, opened] = house.report().authorizers["judge"];
            let failed = u64::from(path != "/deny");
            assert_eq!((errors, opened), (failed, failed * u64::from(fail_open)));
            house.close();
        }
    });
}

fn with_body(bytes: u32, partial: bool) -> ir::Policies {
    let mut policies = asked(over_http());
    policies.authorizers[0].body = Some(ir::CheckBody {
        bytes,
        partial,
        raw: false,
    });
    policies
}

#[test]
fn bodies_are_shown_and_go_on_whole() {
    on_each_driver(|driver| {
        let judge = judge();
        let upstream = Origin::script(vec![Act::Whole, Act::Send(HELLO.into())]);
        let policies = with_body(8, true);
        let house = House::open(
            driver,
            guard(snapshot(upstream.address), judge.address, policies),
        );
        let mut client = house.client();
        for (body, shown, partial) in [
            ("12345678", "12345678", "false"),
            ("123456789", "12345678", "true"),
        ] {
            let seen = client.ask(&post("/allow", body));
            assert_eq!((seen.status, &*seen.body), (200, "hello"));
            let (head, got) = judge.last();
            assert_eq!(
                (&*got, field(&head, "x-envoy-auth-partial-body")),
                (shown, Some(partial))
            );
        }
        let chunks = "POST /allow HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(client.ask(chunks.as_bytes()).status, 200);
        assert_eq!(judge.last().1, "abcde");
        // a refused body does not become the next request
        let refused = client.ask(&post("/deny", "GET / X"));
        assert_eq!(refused.status, 401);
        let both = [post("/deny", "12345678"), get("/open", "")].concat();
        assert_eq!(client.ask(&both).status, 401);
        assert_eq!(client.answer(true).status, 200);
        let long = client.ask(&post("/deny", &"x".repeat(100_000)));
        assert_eq!((long.status, client.is_closed()), (401, true));
        house.close();
    });
}

#[test]
fn a_body_that_is_too_long_is_refused_unasked() {
    on_each_driver(|driver| {
        let (upstream, judge) = (Origin::answers(HELLO), judge());
        let policies = with_body(4, false);
        let house = House::open(
            driver,
            guard(snapshot(upstream.address), judge.address, policies),
        );
        assert_eq!(house.client().ask(&post("/allow", "12345")).status, 413);
        let chunks = "POST /allow HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(house.client().ask(chunks.as_bytes()).status, 413);
        assert_eq!(judge.heads().len(), 0);
        house.close();
    });
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    on_each_driver(|driver| {
        let judge = judge();
        let upstream = Origin::script(vec![Act::Whole, Act::Send(HELLO.into())]);
        let policies = with_body(8, true);
        let house = House::open(
            driver,
            guard(snapshot(upstream.address), judge.address, policies),
        );
        let mut client = house.client();
        let head = "POST /allow HTTP/1.1\r\nhost: a.example\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n";
        client.stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(client.head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(client.ask(b"abc").status, 200);
        house.close();
    });
}

#[test]
fn a_client_that_leaves_ends_the_question() {
    on_each_driver(|driver| {
        let (upstream, judge) = (Origin::answers(HELLO), judge());
        let house = House::open(
            driver,
            guard(
                snapshot(upstream.address),
                judge.address,
                asked(over_http()),
            ),
        );
        let mut client = house.client();
        client.stream.write_all(&get("/hang", "")).unwrap();
        judge.wait_for_heads(1);
        drop(client);
        let report = house.report_when(|report| report.in_flight == 0);
        assert!(report.authorizers.is_empty(), "{report:?}");
        house.report_when(|report| report.upstreams["outbound|80||judge"].active() == 0);
        assert_eq!(upstream.connections(), 0);
        assert_eq!(house.close(), 0);
    });
}

/// `/allow`, `/deny` with a body, over a wire.
async fn h2_calls(send: &h2::client::SendRequest<Bytes>) -> Vec<(u16, Vec<u8>)> {
    let mut seen = Vec::new();
    for path in ["/allow", "/deny", "/error"] {
        let mut send = send.clone().ready().await.unwrap();
        let mut request = http2::request(Method::POST);
        *request.uri_mut() = format!("http://a.example{path}").parse().unwrap();
        let (response, mut body) = send.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"abc"), true).unwrap();
        let response = response.await.unwrap();
        let status = response.status().as_u16();
        let bytes = http2::whole(&mut response.into_body()).await.unwrap().0;
        seen.push((status, bytes));
    }
    seen
}

#[test]
fn an_authorizer_over_grpc_decides_for_clients_of_http2() {
    on_each_driver(|driver| {
        let referee = referee();
        let upstream = Origin::script(vec![Act::Whole, Act::Send(HELLO.into())]);
        let mut policies = with_body(8, true);
        policies.authorizers[0].protocol = ir::CheckProtocol::Grpc;
        let snapshot = guard(snapshot(upstream.address), referee.address, policies);
        let house = House::open(driver, snapshot);
        let seen = http2::client(&house, |send| async move { h2_calls(&send).await });
        let want = [
            (200, b"hello".to_vec()),
            (418, b"no".to_vec()),
            (503, Vec::new()),
        ];
        assert_eq!(seen, want);
        let request = referee.last("/allow");
        assert_eq!((&*request.body, &*request.method), ("abc", "POST"));
        assert_eq!(
            (&*request.host, &*request.protocol),
            ("a.example", "HTTP/2")
        );
        assert_eq!(request.headers[":path"], "/allow");
        let head = upstream.heads.lock().unwrap()[0][0].clone();
        assert!(head.contains("x-user: alice\r\n"), "{head}");
        assert_eq!(house.report().authorizers["judge"], [1, 1, 1, 0]);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn an_authorizer_over_grpc_decides_for_clients_of_http3() {
    let a = tls::pair("a.example");
    on_each_driver(|driver: DriverChoice| {
        let referee = referee();
        let upstream = Origin::script(vec![Act::Whole, Act::Send(HELLO.into())]);
        let mut policies = with_body(8, true);
        policies.authorizers[0].protocol = ir::CheckProtocol::Grpc;
        let secured = tls::secured(upstream.address, &[("a.example", &a)]);
        let house = House::open(driver, guard(secured, referee.address, policies));
        let statuses = h3::run(async {
            let endpoint = h3::endpoint(&a);
            let (_connection, mut sender) = h3::connect(&endpoint, house.door, "a.example").await;
            let mut statuses = Vec::new();
            for path in ["/allow", "/deny"] {
                let uri = format!("https://a.example{path}");
                let request = http::Request::post(uri).body(()).unwrap();
                let mut stream = sender.send_request(request).await.unwrap();
                stream.send_data(Bytes::from_static(b"abc")).await.unwrap();
                stream.finish().await.unwrap();
                statuses.push(stream.recv_response().await.unwrap().status().as_u16());
            }
            statuses
        });
        assert_eq!(statuses, [200, 418]);
        assert_eq!(referee.last("/allow").protocol, "HTTP/3");
        assert_eq!(referee.asked.load(Ordering::Relaxed), 2);
        house.close();
    });
}
