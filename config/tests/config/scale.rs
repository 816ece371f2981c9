//! Size costs in proportion: no timing here, but a quadratic loop would make this test hang.

use sallyport_config::ir::HostPattern;
use sallyport_config::pipeline;
use sallyport_config::retain::LastGood;
use sallyport_config::{View, model};
use std::fmt::Write as _;

/// `count` VirtualServices, each with its own host, on one Gateway.
fn many(count: usize) -> String {
    let mut text = String::from(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: public, namespace: istio-system}\n\
         spec:\n  selector: {istio: ingressgateway}\n  servers:\n    \
         - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}\n",
    );
    for n in 0..count {
        let _ = write!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: vs-{n}, namespace: ns}}\n\
             spec:\n  hosts: [h{n}.example.com]\n  gateways: [istio-system/public]\n  http:\n    \
             - match: [{{uri: {{prefix: /a}}}}]\n      route: [{{destination: {{host: s{n}.ns.svc.cluster.local, port: {{number: 80}}}}}}]\n    \
             - route: [{{destination: {{host: s{n}.ns.svc.cluster.local, port: {{number: 80}}}}}}]\n\
             ---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}, namespace: ns}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n"
        );
    }
    text
}

#[test]
fn two_thousand_hosts_on_one_gateway() {
    let files = [("all.yaml".to_owned(), many(2000))];
    let built = pipeline::build(&files, &View::default(), &mut LastGood::default());
    let table = &built.snapshot.route_tables[0];
    assert_eq!(table.hosts.len(), 2000);
    assert_eq!(built.snapshot.clusters.len(), 2000);
    assert!(
        table
            .hosts
            .iter()
            .any(|h| h.domains == [HostPattern::parse("h1999.example.com")])
    );
    let call = model::Call {
        port: 80,
        authority: "h1234.example.com".to_owned(),
        path: "/a".to_owned(),
        ..model::Call::default()
    };
    let model::Verdict::Forward(to) = model::decide(&built.snapshot, &call) else {
        panic!("not forwarded")
    };
    assert_eq!(to.cluster, "outbound|80||s1234.ns.svc.cluster.local");
}
