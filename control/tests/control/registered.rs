//! Workloads that register themselves: who asks finds them while they are there and healthy.

use crate::mesh::{App, Door, Edge, Join, Net};
use crate::process::Control;

/// A gateway to a service whose workloads nobody wrote down.
fn mesh(net: &Net, app: &App) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {{name: vm, namespace: shop}}
spec:
  metadata: {{labels: {{app: web}}}}
  template: {{serviceAccount: web}}
  probe: {{periodSeconds: 1, failureThreshold: 1, httpGet: {{port: {}, path: /health}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web, namespace: shop}}
spec:
  hosts: [web.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9080, targetPort: 8080, name: http, protocol: HTTP}}]
  workloadSelector: {{labels: {{app: web}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: all, namespace: istio-system}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 8080, name: http, protocol: HTTP}}
    bind: {}
    hosts: [web.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: istio-system}}
spec:
  hosts: [web.example.com]
  gateways: [edge]
  http: [{{route: [{{destination: {{host: web.shop.svc.cluster.local}}}}]}}]
",
        app.address.port(),
        net.ip(10)
    )
}

fn vm(net: &Net, account: &str) -> Join {
    Join::new("shop", account, net.ip(1)).with(&["--workload-group", "vm"])
}

#[test]
fn a_workload_is_found_while_it_is_there_and_healthy() {
    let (net, app) = (Net::new(), App::start("web"));
    let mut control = Control::start(&[("mesh/a.yaml", &mesh(&net, &app))]);
    let edge = Edge::member(&control, "ingress");
    let door = Door::new(net.at(10, 8080), "web.example.com");
    door.until("/", Some(503)); // nobody is there yet
    let agent = vm(&net, "web").serving(8080, app.address).start(&control);
    door.until_by("web");
    app.is_well(false);
    door.until("/", Some(503));
    app.is_well(true);
    door.until_by("web");
    // it outlives a restart of the control process without a gap
    control.kill();
    control.restart();
    edge.hears();
    for _ in 0..20 {
        assert_eq!(door.status("/"), Some(200), "{}", edge.log());
    }
    let back = |page: &str| page.matches("sidecar~").count() >= 2;
    control.wait("/debug/connections", back);
    drop(agent);
    door.until("/", Some(503));
}

#[test]
fn who_is_not_of_the_group_is_not_registered() {
    let (net, app) = (Net::new(), App::start("web"));
    let control = Control::start(&[("mesh/a.yaml", &mesh(&net, &app))]);
    let _thief = vm(&net, "thief").start(&control);
    let refused = |page: &str| {
        let count = page.lines().find_map(|line| {
            let count = line.strip_prefix("sallyport_control_streams_refused_total ")?;
            count.parse::<u32>().ok()
        });
        count.is_some_and(|count| count > 0)
    };
    control.wait("/metrics", refused);
    let page = control.wait("/debug/configz", |_| true);
    assert!(!page.contains("WorkloadEntry"), "{page}");
}
