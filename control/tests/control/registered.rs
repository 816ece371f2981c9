//! Workloads that register themselves: who asks finds them while they are there and healthy.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::agent::{Agent, free, get};
use crate::child::{Scratch, eventually};
use crate::edge::Edge;
use crate::process::Control;

/// An application that answers with its name, and says whether it is well.
fn application(well: &Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let well = Arc::clone(well);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 2_048];
            let length = stream.read(&mut head).unwrap_or(0);
            let asked = head[..length].starts_with(b"GET /health ");
            let status = match asked && !well.load(Ordering::SeqCst) {
                true => "503 Unavailable",
                false => "200 OK",
            };
            let rest = "connection: close\r\ncontent-length: 3\r\n\r\nweb";
            let _ = write!(stream, "HTTP/1.1 {status}\r\n{rest}");
        }
    });
    port
}

/// A gateway to a service whose workloads nobody wrote down.
fn mesh(listen: SocketAddr, app: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {{name: vm, namespace: shop}}
spec:
  metadata: {{labels: {{app: web}}}}
  template: {{serviceAccount: web}}
  probe: {{periodSeconds: 1, failureThreshold: 1, httpGet: {{port: {app}, path: /health}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web, namespace: shop}}
spec:
  hosts: [web.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}]
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
  - port: {{number: {}, name: http, protocol: HTTP}}
    bind: 127.0.0.1
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
        listen.port()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_found_while_it_is_there_and_healthy() {
    let well = Arc::new(AtomicBool::new(true));
    let (listen, app) = (free(), application(&well));
    let mut control = Control::start(&[("mesh/a.yaml", &mesh(listen, app))]);
    let scratch = Scratch::new("registered-edge");
    let token = scratch.write("token", control.token("istio-system", "edge"));
    let url = format!("https://127.0.0.1:{}", control.tls.port());
    let root = format!("{}/root-cert.pem", control.ca_dir());
    let flags = [
        "--root-cert",
        &root,
        "--token",
        &token,
        "--service-account",
        "edge",
    ];
    let edge = Edge::start(&url, &scratch, &flags);
    let call = || get(listen, "/", "web.example.com").unwrap();
    assert_eq!(call().0, 503, "nobody is there yet: {}", edge.log());
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = format!("127.{}.{low}.1", 80 + high % 8);
    let ports = format!("8080={app}");
    let own = ["--address", &address, "--app-port", &ports];
    let own = [&own[..], &["--workload-group", "vm"]].concat();
    let agent = Agent::start(&control, "registered", "shop", "web", &own);
    let serves = || (call() == (200, "web".to_owned())).then_some(());
    eventually("the workload is found", serves);
    well.store(false, Ordering::SeqCst);
    let gone = || (call().0 == 503).then_some(());
    eventually("it is not well, and nobody is sent there", gone);
    well.store(true, Ordering::SeqCst);
    eventually("it is well again", serves);
    // it outlives a restart of the control process without a gap
    control.kill();
    control.restart();
    edge.until("/control", |page| page.contains("\"connected\": true"));
    for _ in 0..20 {
        assert_eq!(call().0, 200, "{}", edge.log());
    }
    let back = |page: &str| page.matches("sidecar~").count() >= 2;
    control.until("/debug/connections", back).await;
    drop(agent);
    eventually("it is gone", gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_of_the_group_is_not_registered() {
    let control = Control::start(&[("mesh/a.yaml", &mesh(free(), 80))]);
    let own = ["--workload-group", "vm", "--address", "127.0.0.1"];
    let _thief = Agent::start(&control, "registered-thief", "shop", "thief", &own);
    let refused = |page: &str| {
        let count = page.lines().find_map(|line| {
            let count = line.strip_prefix("sallyport_control_streams_refused_total ")?;
            count.parse::<u32>().ok()
        });
        count.is_some_and(|count| count > 0)
    };
    control.until("/metrics", refused).await;
    let (_, page) = control.get("/debug/configz").await;
    assert!(!page.contains("WorkloadEntry"), "{page}");
}
