//! The same objects, seen by different gateways; and the same gateway after an edit.

use sallyport_config::View;
use sallyport_config::delta::Delta;
use sallyport_config::ir::{Bind, HealthProbe, Snapshot};
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

const NETWORKS: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.mesh]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
    - {address: 10.1.0.1, network: n1, serviceAccount: shop}
    - {address: 10.2.0.1, network: n2, serviceAccount: shop, weight: 3}
    - {address: 10.2.0.2, labels: {topology.istio.io/network: n2}, serviceAccount: shop}
    - {address: 10.2.0.3, network: n2}
    - {address: 10.3.0.1, network: n3, serviceAccount: shop}
    - {address: 10.4.0.1, network: n4, serviceAccount: shop}
---
apiVersion: v1
kind: Service
metadata: {name: eastwest, namespace: istio-system, labels: {topology.istio.io/network: n2}}
spec: {externalIPs: [192.0.2.1], ports: [{name: tls, port: 15443}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.2}]}}
---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  values:
    global:
      meshNetworks:
        n3: {gateways: [{address: 192.0.2.3, port: 443}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.test]
  gateways: [istio-system/public]
  http: [{route: [{destination: {host: shop.mesh}}]}]
";

fn endpoints_from(network: &str, more: &str) -> Vec<(String, u32, bool)> {
    let view = View {
        network: network.to_owned(),
        ..View::default()
    };
    let files = files(&format!("{NETWORKS}{more}"));
    let snapshot = pipeline::build(&files, &view, &mut LastGood::default()).snapshot;
    let endpoints = snapshot.clusters[0].endpoints.iter();
    let mut seen: Vec<_> = endpoints
        .map(|e| (e.address.to_string(), e.weight, e.mtls))
        .collect();
    seen.sort();
    seen
}

#[test]
fn endpoints_of_another_network_are_behind_its_gateways() {
    let seen = |list: &[(&str, u32, bool)]| -> Vec<(String, u32, bool)> {
        let owned = list.iter().map(|(a, w, m)| ((*a).to_owned(), *w, *m));
        owned.collect()
    };
    // two gateways share what three plus one weigh; of n4 nothing is known but the address
    let want = seen(&[
        ("10.1.0.1:80", 2, true),
        ("10.4.0.1:80", 2, true),
        ("192.0.2.1:15443", 4, true),
        ("192.0.2.2:15443", 4, true),
        ("192.0.2.3:443", 2, true),
    ]);
    assert_eq!(endpoints_from("n1", ""), want);
    // who does not know its own network meets everybody
    assert_eq!(endpoints_from("", "").len(), 6);
    // without mutual TLS a gateway would not know whom is meant
    let clear = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: default}
spec: {host: shop.mesh, trafficPolicy: {tls: {mode: DISABLE}}}
";
    let want = seen(&[("10.1.0.1:80", 2, false), ("10.4.0.1:80", 2, false)]);
    assert_eq!(endpoints_from("n1", clear), want);
}

#[test]
fn mesh_networks_name_gateways_by_their_service() {
    let service = "---
apiVersion: v1
kind: Service
metadata: {name: west, namespace: istio-system}
spec: {type: LoadBalancer, ports: [{name: tls, port: 15443}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.4}]}}
";
    let networks = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  meshNetworks: |
    networks:
      n4:
        endpoints: [{fromRegistry: Kubernetes}]
        gateways: [{registryServiceName: west.istio-system.svc.cluster.local, port: 8443}]
";
    let of_n4 = |more: &str| {
        let mut seen = endpoints_from("n1", more).into_iter();
        seen.find(|(at, ..)| at.starts_with("10.4.") || at.starts_with("192.0.2.4"))
    };
    let hidden = Some(("192.0.2.4:8443".to_owned(), 2, true));
    assert_eq!(of_n4(&format!("{service}{networks}")), hidden);
    // a name that nothing has is no gateway: the endpoint is met at its own address
    let met = Some(("10.4.0.1:80".to_owned(), 2, true));
    assert_eq!(of_n4(networks), met);
}

#[test]
fn a_unix_socket_is_an_endpoint_where_addresses_are_written_down() {
    let text = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: inline, namespace: default}
spec:
  hosts: [inline.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 'unix:///run/inline.sock', weight: 2}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: selected, namespace: default}
spec:
  hosts: [selected.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  workloadSelector: {labels: {app: selected}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: beside, namespace: default}
spec: {address: 'unix://@beside', labels: {app: selected}}
---
apiVersion: v1
kind: Service
metadata: {name: service, namespace: default}
spec: {selector: {app: selected}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: routes, namespace: default}
spec:
  hosts: [a.test]
  gateways: [istio-system/public]
  http:
  - {match: [{uri: {exact: /1}}], route: [{destination: {host: inline.test}}]}
  - {match: [{uri: {exact: /2}}], route: [{destination: {host: selected.test}}]}
  - {match: [{uri: {exact: /3}}], route: [{destination: {host: service}}]}
";
    let built = pipeline::build(&files(text), &View::default(), &mut LastGood::default());
    let places = built.snapshot.clusters.iter().map(|cluster| {
        let places = cluster.endpoints.iter().map(|e| (e.place(), e.weight));
        (cluster.host.as_str(), places.collect::<Vec<_>>())
    });
    let places: Vec<_> = places.collect();
    let want = [
        ("inline.test", vec![("/run/inline.sock".to_owned(), 2)]),
        ("selected.test", vec![("@beside".to_owned(), 1)]),
        // a Service has no resolution under which a path would mean something
        ("service.default.svc.cluster.local", vec![]),
    ];
    assert_eq!(places, want);
}

#[test]
fn a_rule_may_ask_for_health_checks() {
    let rule = |check: &str| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop, namespace: default, annotations: {{sallyport.io/health-check: '{check}'}}}}
spec: {{host: shop.mesh}}
"
        )
    };
    let build = |check: &str| {
        let files = files(&format!("{NETWORKS}{}", rule(check)));
        pipeline::build(&files, &View::default(), &mut LastGood::default())
    };
    let built = build("grpc: {service: shop.Shop}");
    let traffic = &built.snapshot.clusters[0].traffic;
    let service = "shop.Shop".to_owned();
    let check = traffic.health.as_ref().unwrap();
    assert_eq!(check.probe, HealthProbe::Grpc { service });
    assert_eq!((check.interval.0, check.timeout.0), (10_000, 1_000));
    // without anybody who is well there is no answer
    assert_eq!(traffic.panic_threshold, 0);
    let broken = build("ping: {}");
    assert_eq!(broken.snapshot.clusters[0].traffic.health, None);
    let found = broken.diagnostics.iter();
    assert!(found.into_iter().any(|d| d.message.contains("no `ping`")));
}
