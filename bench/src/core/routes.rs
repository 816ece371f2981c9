//! The decision, among few rules and among many.

use super::Work;
use sallyport_config::ir::{HostPattern, PathMatch, Snapshot};
use sallyport_config::model::Dice;
use sallyport_config::pipeline::build;
use sallyport_config::retain::LastGood;
use sallyport_config::view::View;
use sallyport_core::admit::{Admitted, Context, Inquiry, admit, inquire};
use sallyport_core::call::{Call, NoHeaders, Scheme};
use sallyport_core::decide::{Decision, Where, decide};
use sallyport_core::tables::{ListenerIdx, Tables};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// One listener, one host, one rule.
const ONE: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bench, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: origin, namespace: default}
spec:
  hosts: [origin.internal]
  resolution: STATIC
  ports: [{number: 8080, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bench, namespace: default}
spec:
  hosts: [h0.example.com]
  gateways: [bench]
  http:
  - match: [{uri: {MATCH}}]
    route: [{destination: {host: origin.internal, port: {number: 8080}}}]
";

/// A configuration compiled; with `policies` beside it.
pub(super) fn snapshot(matcher: &str, policies: &str) -> Snapshot {
    let text = ONE.replace("{MATCH}", matcher) + policies;
    let files = [("bench.yaml".to_owned(), text)];
    let built = build(&files, &View::default(), &mut LastGood::default());
    assert!(
        !built.diagnostics.has_errors(),
        "the configuration of a case is valid: {:?}",
        built.diagnostics
    );
    built.snapshot
}

/// The request that every case asks about: by default the last rule of the host in the middle.
pub(super) fn call<'a>(host: &'a str, path: &'a str) -> Call<'a> {
    let client = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 40_000);
    Call {
        scheme: Scheme::Http,
        method: "GET",
        authority: host,
        path,
        query: None,
        headers: &NoHeaders,
        client,
        peer: client,
        local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 80),
        sni: None,
        identity: None,
    }
}

/// Where all calls come in.
const PLACE: Where = Where {
    listener: ListenerIdx(0),
    chain: None,
};

const DICE: Dice = Dice {
    target: 7,
    delay: 7,
    abort: 7,
    mirror: 7,
};

/// Decides about one call again and again.
fn decide_about(tables: Tables, host: String, path: String) -> Work {
    let Ok(Inquiry::Nobody(cleared)) = inquire(&tables, &call(&host, &path)) else {
        unreachable!("nobody is there to ask");
    };
    let admitted = admit(&tables, &call(&host, &path), &Context::default(), &cleared);
    let admitted = admitted.unwrap_or_else(|_| unreachable!("no policy is there to deny"));
    Box::new(move || forward(&tables, &call(&host, &path), &admitted))
}

fn forward(tables: &Tables, call: &Call<'_>, admitted: &Admitted) {
    let decision = decide(tables, PLACE, black_box(call), admitted, &DICE);
    assert!(
        matches!(black_box(decision), Decision::Forward(_)),
        "the call of a case is forwarded"
    );
}

/// Hosts of as many rules each, by prefix; the call meets the last rule of the host in the middle.
pub(super) fn decide_among(hosts: usize, rules: usize) -> Work {
    let mut snapshot = snapshot("{prefix: /r/}", "");
    let Some(table) = snapshot.route_tables.first_mut() else {
        return Box::new(|| ());
    };
    let Some(host) = table.hosts.first().cloned() else {
        return Box::new(|| ());
    };
    table.hosts = (0..hosts)
        .map(|number| {
            let mut host = host.clone();
            host.domains = vec![HostPattern::Exact(format!("h{number}.example.com"))];
            let first = host.routes.first().cloned();
            let routes = (0..rules).filter_map(|rule| {
                let mut route = first.clone()?;
                route.matcher.path = PathMatch::Prefix {
                    prefix: format!("/r{rule}/"),
                    ignore_case: false,
                };
                Some(route)
            });
            host.routes = routes.collect();
            host
        })
        .collect();
    let (host, path) = (
        format!("h{}.example.com", hosts / 2),
        format!("/r{}/x", rules - 1),
    );
    decide_about(Tables::build(Arc::new(snapshot)), host, path)
}

/// One rule with an expression.
pub(super) fn decide_by_regex() -> Work {
    let snapshot = snapshot("{regex: '/products/[0-9]+/reviews/[a-z-]+'}", "");
    let path = "/products/42/reviews/very-good".to_owned();
    decide_about(
        Tables::build(Arc::new(snapshot)),
        "h0.example.com".to_owned(),
        path,
    )
}
