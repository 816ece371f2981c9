//! Rate limits on real sockets: who is refused, what it is told, and what is counted and logged.

use sallyport_config::ir;

use super::support::{Client, House, Lines, Origin, field, on_each_driver, origin, snapshot};
use super::{h3, http2, tls};
use crate::rt::DriverChoice;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Two requests an hour, so that no time that a test takes adds one.
fn limit(change: impl Fn(&mut ir::Limit)) -> ir::Limit {
    let mut limit = ir::Limit {
        name: "test/two/hourly".to_owned(),
        stage: ir::LimitStage::First,
        hosts: Vec::new(),
        routes: Vec::new(),
        when: Vec::new(),
        key: Vec::new(),
        keys_max: 1,
        rate: ir::Rate {
            burst: 2,
            tokens: 2,
            interval: ir::Millis(3_600_000),
        },
        enabled: ir::Ppm::ALL,
        enforced: ir::Ppm::ALL,
        status: 429,
        exhausted: true,
        told: Some("hourly".to_owned()),
        headers: vec![("x-limited".to_owned(), "yes".to_owned())],
        origin: origin(),
    };
    change(&mut limit);
    limit
}

fn limited(upstream: &Origin, limits: Vec<ir::Limit>) -> ir::Snapshot {
    ir::Snapshot {
        limits,
        ..snapshot(upstream.address)
    }
}

fn keyed(key: Vec<ir::LimitKey>) -> ir::Limit {
    limit(|limit| {
        limit.key.clone_from(&key);
        limit.keys_max = 1_024;
    })
}

/// The status of a request with these fields.
fn ask(client: &mut Client<std::net::TcpStream>, fields: &str) -> u16 {
    let head = format!("GET /x HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n");
    client.ask(head.as_bytes()).status
}

#[test]
fn a_client_is_told_the_limit_that_refuses_it() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let lines = Lines::new("rates");
        let mut snapshot = limited(&upstream, vec![limit(|_| ())]);
        lines.write_to(
            &mut snapshot,
            "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_CLUSTER%\n",
        );
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        assert_eq!([ask(&mut client, ""), ask(&mut client, "")], [200, 200]);
        let refused = client.ask(b"GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n");
        assert_eq!(
            (refused.status, &*refused.body),
            (429, "local_rate_limited")
        );
        let told = |name| field(&refused.head, name).unwrap_or_default().to_owned();
        assert_eq!(told("ratelimit-policy"), r#""hourly";q=2;w=3600"#);
        assert_eq!(told("x-limited"), "yes");
        // half an hour, less what the test took
        let wait: u64 = told("retry-after").parse().unwrap();
        assert!((1_700..=1_800).contains(&wait), "{wait}");
        assert_eq!(told("ratelimit"), format!(r#""hourly";r=0;t={wait}"#));
        let text = r#"content-length: 18"#;
        assert!(refused.head.contains(text), "{}", refused.head);
        assert_eq!(ask(&mut client, ""), 429, "the connection stays");
        assert_eq!(upstream.heads.lock().unwrap()[0].len(), 2);
        assert_eq!(house.report().limits["test/two/hourly"], [2, 2, 2]);
        let lines = lines.take(4);
        assert_eq!(lines[1], "200 - via_upstream outbound|80||up");
        assert_eq!(lines[2], "429 RL local_rate_limited -");
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn all_workers_count_together() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let ten = limit(|limit| limit.rate.burst = 10);
        let house = House::open_with(driver, limited(&upstream, vec![ten]), 2);
        let mut clients: Vec<_> = (0..20).map(|_| house.client()).collect();
        let passed = clients
            .iter_mut()
            .filter_map(|c| (ask(c, "") == 200).then_some(()));
        assert_eq!(passed.count(), 10);
        assert!(house.seats().iter().all(|seats| *seats > 0));
        assert_eq!(house.report().limits["test/two/hourly"], [10, 10, 10]);
    });
}

#[test]
fn each_value_of_a_key_has_its_own_count() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let key = ir::LimitKey::Header("x-key".to_owned());
        let house = House::open(driver, limited(&upstream, vec![keyed(vec![key])]));
        let mut client = house.client();
        let mut three = |fields| [(); 3].map(|()| ask(&mut client, fields));
        assert_eq!(three("x-key: a\r\n"), [200, 200, 429]);
        assert_eq!(three("x-key: b\r\n"), [200, 200, 429]);
        // those without it count as one, and lines are not joined
        assert_eq!(three(""), [200, 200, 429]);
        assert_eq!(three("x-key: a\r\nx-key: b\r\n"), [200, 200, 429]);
        assert_eq!(three("x-key: a,b\r\n"), [200, 200, 429]);
    });
}

#[test]
fn a_client_is_who_trusted_proxies_say_it_is() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let limits = vec![keyed(vec![ir::LimitKey::Client])];
        let mut snapshot = limited(&upstream, limits);
        snapshot.settings.trusted_hops = 1;
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        let mut from = |address: &str| ask(&mut client, &format!("x-forwarded-for: {address}\r\n"));
        assert_eq!([(); 3].map(|()| from("192.0.2.1")), [200, 200, 429]);
        // what stands before the address that the proxy saw is the client's own invention
        assert_eq!(from("8.8.8.8, 192.0.2.1"), 429);
        assert_eq!(from("192.0.2.2"), 200);
        // one client has all addresses of a /64
        let many = [
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8::3:1",
            "2001:db8:0:1::1",
        ];
        assert_eq!(many.map(&mut from), [200, 200, 429, 200]);
    });
}

#[test]
fn a_limit_that_is_not_enforced_only_counts() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let tried = limit(|limit| limit.enforced = ir::Ppm(0));
        let other = limit(|limit| {
            limit.name = "test/other/0".to_owned();
            limit.hosts = vec![ir::HostPattern::Exact("b.example".to_owned())];
        });
        let house = House::open(driver, limited(&upstream, vec![tried, other]));
        let mut client = house.client();
        assert_eq!([(); 4].map(|()| ask(&mut client, "")), [200; 4]);
        let report = house.report();
        assert_eq!(report.limits["test/two/hourly"], [2, 2, 0]);
        assert!(!report.limits.contains_key("test/other/0"));
    });
}

#[test]
fn a_new_configuration_goes_on_counting() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let house = House::open(driver, limited(&upstream, vec![limit(|_| ())]));
        let mut client = house.client();
        assert_eq!([(); 3].map(|()| ask(&mut client, "")), [200, 200, 429]);
        let moved = limit(|limit| {
            limit.name = "test/new/0".to_owned();
            limit.rate.burst = 5;
        });
        house.activate(2, limited(&upstream, vec![moved, limit(|_| ())]));
        assert_eq!(ask(&mut client, ""), 429);
        // another rate is another limit
        let more = limit(|limit| limit.rate.burst = 3);
        house.activate(3, limited(&upstream, vec![more]));
        assert_eq!([(); 4].map(|()| ask(&mut client, "")), [200, 200, 200, 429]);
    });
}

#[test]
fn a_limit_of_a_route_is_asked_when_the_route_is_known() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let route = |name: &str| ir::LimitedRoute {
            namespace: "test".into(),
            name: "test".into(),
            route: Some(name.to_owned()),
        };
        let of = |name: &str| {
            limit(|limit| {
                limit.name = format!("test/routes/{name}");
                limit.stage = ir::LimitStage::Routed;
                limit.routes = vec![route(name)];
                limit.key = vec![ir::LimitKey::Route];
                limit.keys_max = 8;
            })
        };
        let lines = Lines::new("routed");
        let mut snapshot = limited(&upstream, vec![of("all"), of("nothing")]);
        lines.write_to(
            &mut snapshot,
            "%RESPONSE_CODE% %RESPONSE_FLAGS% %ROUTE_NAME%\n",
        );
        let house = House::open(driver, snapshot);
        let mut client = house.client();
        assert_eq!([(); 3].map(|()| ask(&mut client, "")), [200, 200, 429]);
        // no route, no limit
        let nowhere = client.ask(b"GET / HTTP/1.1\r\nhost: nowhere\r\n\r\n");
        assert_eq!(nowhere.status, 404);
        assert_eq!(lines.take(4)[2], "429 RL all");
        assert_eq!(house.report().limits.len(), 1);
    });
}

#[test]
fn grpc_over_http2_is_told_in_its_own_words() {
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let empty = limit(|limit| limit.rate.burst = 1);
        let house = House::open(driver, limited(&upstream, vec![empty]));
        assert_eq!(ask(&mut house.client(), ""), 200);
        let answer = http2::client(&house, |send| async move {
            let mut send = send.ready().await.unwrap();
            let mut request = http2::request(http::Method::POST);
            let grpc = "application/grpc".parse().unwrap();
            request.headers_mut().insert("content-type", grpc);
            let (response, _) = send.send_request(request, true).unwrap();
            response.await.unwrap()
        });
        let told = |name: &str| answer.headers()[name].to_str().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(told("grpc-status"), "8", "RESOURCE_EXHAUSTED");
        assert_eq!(told("grpc-message"), "local_rate_limited");
        assert_eq!(told("content-type"), "application/grpc");
        assert!(told("ratelimit").starts_with(r#""hourly";r=0;t="#));
    });
}

#[test]
fn http3_is_counted_with_the_rest() {
    let a = tls::pair("a.example");
    on_each_driver(|driver: DriverChoice| {
        let upstream = Origin::answers(HELLO);
        let secured = tls::secured(upstream.address, &[("a.example", &a)]);
        let limits = vec![limit(|_| ())];
        let house = House::open(driver, ir::Snapshot { limits, ..secured });
        let seen = h3::run(async {
            let endpoint = h3::endpoint(&a);
            let (_connection, mut sender) = h3::connect(&endpoint, house.door, "a.example").await;
            let mut seen = Vec::new();
            for _ in 0..3 {
                let request = http::Request::get("https://a.example/x").body(()).unwrap();
                let mut stream = sender.send_request(request).await.unwrap();
                stream.finish().await.unwrap();
                let response = stream.recv_response().await.unwrap();
                let limited = response.headers().contains_key("ratelimit-policy");
                seen.push((response.status().as_u16(), limited));
            }
            seen
        });
        assert_eq!(seen, [(200, false), (200, false), (429, true)]);
        assert_eq!(house.report().limits["test/two/hourly"], [2, 1, 1]);
        house.close();
    });
}
