//! The same objects, seen by different gateways; and the same gateway after an edit.

use sallyport_config::View;
use sallyport_config::delta::Delta;
use sallyport_config::ir::{Bind, Snapshot};
use sallyport_config::pipeline;
use sallyport_config::retain::LastGood;

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
    - {port: {number: 81, name: more, protocol: HTTP}, hosts: ['*']}
";

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: routes, namespace: default}
spec:
  hosts: [a.test]
  gateways: [istio-system/public]
  exportTo: [istio-system]
  http: [{directResponse: {status: 200}}]
";

fn files(routes: &str) -> Vec<(String, String)> {
    vec![
        ("gateway.yaml".to_owned(), GATEWAY.to_owned()),
        ("routes.yaml".to_owned(), routes.to_owned()),
    ]
}

fn snapshot(view: &View) -> Snapshot {
    pipeline::build(&files(ROUTES), view, &mut LastGood::default()).snapshot
}

fn ports(snapshot: &Snapshot) -> Vec<u16> {
    snapshot.listeners.iter().map(|l| l.port).collect()
}

#[test]
fn a_port_map_says_where_declared_ports_are_bound() {
    let view = View {
        port_map: vec![(80, 8080)],
        ..View::default()
    };
    assert_eq!(ports(&snapshot(&view)), [81, 8080]);
}

#[test]
fn a_gateway_with_other_labels_has_nothing_to_do() {
    let view = View {
        labels: [("istio".to_owned(), "egressgateway".to_owned())].into(),
        ..View::default()
    };
    assert_eq!(snapshot(&view), Snapshot::default());
}

#[test]
fn what_is_exported_to_another_namespace_is_not_seen() {
    let hosts = |view: &View| snapshot(view).route_tables[0].hosts.len();
    let elsewhere = View {
        namespace: "elsewhere".to_owned(),
        ..View::default()
    };
    assert_eq!(hosts(&View::default()), 1);
    assert_eq!(hosts(&elsewhere), 0);
}

#[test]
fn a_broken_edit_changes_nothing_and_a_good_one_keeps_the_sockets() {
    let (view, mut last_good) = (View::default(), LastGood::default());
    let before = pipeline::build(&files(ROUTES), &view, &mut last_good);
    let broken = ROUTES.replace("status: 200", "status: 99");
    let held = pipeline::build(&files(&broken), &view, &mut last_good);
    assert!(held.diagnostics.has_errors());
    assert_eq!(held.retained.len(), 1);
    let routes = |s: &Snapshot| s.route_tables[0].hosts[0].routes[0].action.clone();
    assert_eq!(routes(&held.snapshot), routes(&before.snapshot));
    let edited = ROUTES.replace("status: 200", "status: 204");
    let after = pipeline::build(&files(&edited), &view, &mut last_good);
    assert!(!after.diagnostics.has_errors());
    let delta = Delta::between(&before.snapshot, &after.snapshot);
    assert_eq!(delta.keep, [(Bind::Default, 80), (Bind::Default, 81)]);
    assert!(delta.open.is_empty() && delta.close.is_empty() && !delta.only_endpoints);
}
