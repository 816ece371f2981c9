//! `sallyctl explain`, offline and of a running gateway.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::support::{files, sallyctl};

pub(crate) const SHOP: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.example.com]
  gateways: [shop]
  http:
    - match: [{uri: {prefix: /v2}, headers: {x-beta: {exact: 'yes'}}}]
      route: [{destination: {host: shop-v2.default.svc.cluster.local, port: {number: 80}}}]
    - match: [{uri: {prefix: /v1}}]
      route: [{destination: {host: shop-v1.default.svc.cluster.local, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop-v1.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop-v2, namespace: default}
spec:
  hosts: [shop-v2.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.2}]
";

#[test]
fn each_rule_says_why_it_is_not_the_one() {
    let dir = files(&[("shop.yaml", SHOP)]);
    let ask = |url: &str, more: &[&str]| {
        sallyctl(&[&["explain", "GET", url, "--config", dir.path()], more].concat())
    };
    let v1 = ask("http://shop.example.com/v1/x", &[]);
    assert_eq!(v1.code, 0, "{}{}", v1.stdout, v1.stderr);
    assert!(
        v1.stdout
            .contains("VirtualService default/shop spec.http[0]"),
        "{}",
        v1.stdout
    );
    assert!(v1.stdout.contains("shop.yaml:"), "{}", v1.stdout);
    let last = v1.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("=> ") && last.contains("shop-v1"),
        "{last}"
    );

    let beta = ask("http://shop.example.com/v2", &["-H", "X-Beta: yes"]);
    assert!(
        beta.stdout.lines().last().unwrap().contains("shop-v2"),
        "{}",
        beta.stdout
    );

    let none = ask("http://shop.example.com/v2", &[]);
    assert_eq!(none.code, 1, "{}", none.stdout);
    assert!(none.stdout.contains("404"), "{}", none.stdout);

    let host = ask("http://other.example.com/", &[]);
    assert_eq!(host.code, 1, "{}", host.stdout);
    assert_eq!(ask("shop.example.com/", &[]).code, 2);
    assert_eq!(ask("http://shop.example.com/", &["-H", "x"]).code, 2);
}

#[test]
fn the_answer_is_also_json() {
    let dir = files(&[("shop.yaml", SHOP)]);
    let ended = sallyctl(&[
        "explain",
        "GET",
        "http://shop.example.com/v1",
        "-o",
        "json",
        "--config",
        dir.path(),
    ]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let rules = json["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0]["matched"], false);
    assert_eq!(rules[1]["matched"], true);
}

#[test]
fn a_running_gateway_is_asked_over_its_admin_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.extend_from_slice(&byte);
        }
        let body = r#"{"rules":[{"matched":true}],"verdict":"forwarded"}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        String::from_utf8(head).unwrap()
    });
    let ended = sallyctl(&[
        "explain",
        "POST",
        "https://a.b/c?d",
        "-H",
        "x-a: 1",
        "--admin",
        &base,
        "-o",
        "json",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("forwarded"));
    let head = server.join().unwrap();
    let line = head.lines().next().unwrap();
    assert_eq!(
        line,
        "GET /explain?url=https%3A%2F%2Fa.b%2Fc%3Fd&method=POST&header=x-a%3A1 HTTP/1.1"
    );
}

#[test]
fn a_gateway_that_is_not_there_is_trouble_not_an_answer() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ended = sallyctl(&["listeners", "--admin", &format!("http://{unused}")]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("cannot ask"), "{}", ended.stderr);
}
