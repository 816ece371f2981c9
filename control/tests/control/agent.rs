//! Agents with real Envoys: a host joins the mesh with one command, and keeps what it has.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::child::{Scratch, eventually};
use crate::envoy;
use crate::process::Control;

/// A running agent; it ends with the value, and its Envoy with it.
pub(crate) struct Agent {
    child: Child,
    scratch: Rc<Scratch>,
    status: SocketAddr,
}

impl Drop for Agent {
    fn drop(&mut self) {
        // asked, not killed: it ends its Envoy
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

impl Agent {
    pub(crate) fn start(
        control: &Control,
        name: &str,
        namespace: &str,
        account: &str,
        more: &[&str],
    ) -> Self {
        let scratch = Rc::new(Scratch::new(name));
        scratch.write("token", control.token(namespace, account));
        Self::again(control, &scratch, namespace, account, more)
    }

    /// Starts it with what is there.
    pub(crate) fn again(
        control: &Control,
        scratch: &Rc<Scratch>,
        namespace: &str,
        account: &str,
        more: &[&str],
    ) -> Self {
        let token = scratch.path("token");
        let status = free();
        let child = Command::new(env!("CARGO_BIN_EXE_sallyport-control"))
            .args([
                "agent",
                "--control",
                &format!("https://127.0.0.1:{}", control.tls.port()),
            ])
            .args([
                "--root-cert",
                &format!("{}/root-cert.pem", control.ca_dir()),
            ])
            .args(["--token", &token, "--namespace", namespace])
            .args(["--service-account", account, "--drain-time", "100ms"])
            .args([
                "--state-dir",
                &scratch.path("state"),
                "--run-dir",
                &scratch.path("run"),
            ])
            .args(["--admin", "127.0.0.1:0", "--status", &status.to_string()])
            .args(more)
            .arg("--")
            .arg(envoy::binary())
            .args(["--concurrency", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut agent = Self {
            child,
            scratch: Rc::clone(scratch),
            status,
        };
        agent.listen();
        agent
    }

    /// Says on a failure what the agent said.
    fn listen(&mut self) {
        let stderr = BufReader::new(self.child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
    }

    pub(crate) fn ready(&self) {
        eventually("the agent is ready", || {
            get(self.status, "/healthz/ready", "x").filter(|(status, _)| *status == 200)
        });
    }
}

/// An address that nobody has.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Status and body, when there is an answer.
pub(crate) fn get(address: SocketAddr, path: &str, host: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, body.to_owned()))
}

/// An origin that answers with its name.
pub(crate) fn origin(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let length = name.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{name}"
            );
        }
    });
    address
}

pub(crate) fn mesh(listen: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {}, name: http, protocol: HTTP}}
    bind: 127.0.0.1
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: istio-system}}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http:
  - route: [{{destination: {{host: shop.internal, port: {{number: 80}}}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: istio-system}}
spec:
  hosts: [shop.internal]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: {}, ports: {{http: {}}}}}]
",
        listen.port(),
        origin.ip(),
        origin.port()
    )
}

const EDGE: &[&str] = &["--gateway", "--labels", "istio=ingressgateway"];

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_serves_what_the_directory_says_and_goes_on_alone() {
    let (listen, one, two) = (free(), origin("one"), origin("two"));
    let control = Control::start(&[("mesh/a.yaml", &mesh(listen, one))]);
    let agent = Agent::start(&control, "edge", "istio-system", "edge", EDGE);
    agent.ready();
    let says = |what: &str| {
        eventually(what, || {
            get(listen, "/", "shop.example.com").filter(|(_, body)| body == what)
        })
    };
    says("one");
    let synced = |body: &str| body.contains("/sa/edge") && !body.contains("STALE");
    let page = control.until("/debug/syncz", synced).await;
    assert!(
        page.contains("SYNCED") && page.contains("\"delta\""),
        "{page}"
    );
    // an edit reaches it, a broken one changes nothing
    control.write("a.yaml", &mesh(listen, two));
    says("two");
    control.write("b.yaml", "kind: [broken\n");
    control
        .until("/debug/configz", |body| body.contains("b.yaml"))
        .await;
    says("two");
    // without the control process it serves on
    drop(control);
    for _ in 0..20 {
        assert_eq!(get(listen, "/", "shop.example.com").unwrap().1, "two");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_joins_once_and_comes_back_without_a_token() {
    let control = Control::start(&[("mesh/a.yaml", &mesh(free(), free()))]);
    let more = ["--address", "127.0.0.1", "--app-port", "8080=18080"];
    let mut agent = Agent::start(&control, "web", "shop", "web", &more);
    agent.ready();
    control
        .until("/debug/syncz", |body| {
            body.contains("spiffe://cluster.local/ns/shop/sa/web")
        })
        .await;
    // what is kept is its owner's only
    use std::os::unix::fs::PermissionsExt as _;
    let kept = agent.scratch.path("state/identity.pem");
    assert_eq!(
        std::fs::metadata(kept).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let run = std::fs::metadata(agent.scratch.path("run")).unwrap();
    assert_eq!(run.permissions().mode() & 0o777, 0o700);
    // asked to stop, it ends its Envoy and itself
    let asked = Command::new("kill")
        .arg(agent.child.id().to_string())
        .status();
    assert!(asked.unwrap().success());
    let ended = eventually("the agent ends", || agent.child.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
    control
        .until("/debug/connections", |body| {
            body.contains("\"totalClients\": 0")
        })
        .await;
    // the certificate that it kept gets it the next one; the token is gone
    agent.scratch.write("token", "gone");
    let again = Agent::again(&control, &agent.scratch, "shop", "web", &more);
    again.ready();
    let issued = "\ncitadel_server_success_cert_issuance_count 2\n";
    control
        .until("/metrics", |body| body.contains(issued))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_a_broken_file_takes_nothing_away() {
    let (listen, one, two) = (free(), origin("one"), origin("two"));
    let mut control = Control::start(&[("mesh/a.yaml", &mesh(listen, one))]);
    let agent = Agent::start(&control, "restart", "istio-system", "edge", EDGE);
    agent.ready();
    let body = || get(listen, "/", "shop.example.com").map(|(_, body)| body);
    eventually("it serves", || body().filter(|body| body == "one"));
    control.kill();
    control.write("a.yaml", "kind: [broken\n");
    assert_eq!(body().unwrap(), "one");
    control.restart();
    // the Envoy comes back and is given what was good, which it has
    control
        .until("/debug/syncz", |page| {
            page.contains("/sa/edge") && page.contains("lds")
        })
        .await;
    for _ in 0..20 {
        assert_eq!(body().unwrap(), "one");
    }
    control.write("a.yaml", &mesh(listen, two));
    eventually("the repaired file is served", || {
        body().filter(|body| body == "two")
    });
}

/// A shop that only the buyer may call, at `PART.1`.
const SHOP: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints:
  - address: PART.1
    ports: {http: 8080}
    labels: {app: shop, security.istio.io/tlsMode: istio}
    serviceAccount: shop
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: buyers, namespace: default}
spec:
  selector: {matchLabels: {app: shop}}
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/buyer]}}]}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: default}
spec: {mtls: {mode: MODE}}
";

#[tokio::test(flavor = "multi_thread")]
async fn workloads_know_each_other_and_strict_comes_without_a_failure() {
    let [.., high, low] = std::process::id().to_be_bytes();
    let part = format!("127.{}.{}", 60 + high % 8, low);
    let shop = |mode: &str| SHOP.replace("PART", &part).replace("MODE", mode);
    let mut control = Control::start(&[("mesh/shop.yaml", &shop("PERMISSIVE"))]);
    let join = |account: &str, number: u8, more: &[&str]| {
        let address = format!("{part}.{number}");
        let labels = format!("app={account}");
        let own = [
            "--address",
            &address,
            "--outbound-address",
            &address,
            "--labels",
            &labels,
        ];
        Agent::start(
            &control,
            account,
            "default",
            account,
            &[&own[..], more].concat(),
        )
    };
    let ports = format!("8080={}", origin("sold").port());
    let agents = [
        join("shop", 1, &["--app-port", &ports]),
        join("buyer", 2, &[]),
        join("thief", 3, &[]),
    ];
    agents.iter().for_each(Agent::ready);
    let address = |number: u8, port: u16| format!("{part}.{number}:{port}").parse().unwrap();
    let call = |from: u8| get(address(from, 9080), "/", "shop.default.svc.cluster.local");
    let plain = || get(address(1, 8080), "/", "shop.default.svc.cluster.local");
    let status = |answer: Option<(u16, String)>| answer.map(|(status, _)| status);
    eventually("the buyer buys", || {
        call(2).filter(|(_, body)| body == "sold")
    });
    eventually("the thief is known", || {
        status(call(3)).filter(|status| *status == 403)
    });
    eventually("a stranger is heard", || {
        status(plain()).filter(|status| *status == 403)
    });
    // under calls, strangers are no longer listened to
    control.write("shop.yaml", &shop("STRICT"));
    eventually("a stranger is not heard", || {
        assert_eq!(status(call(2)), Some(200));
        status(plain()).is_none().then_some(())
    });
    for _ in 0..20 {
        assert_eq!(status(call(2)), Some(200));
    }
    // the control process is gone, and comes back with nothing, then with everything
    control.kill();
    for _ in 0..20 {
        assert_eq!(status(call(2)), Some(200), "without the control process");
    }
    control.write("shop.yaml", "");
    control.restart();
    control.until("/metrics", |page| !page.is_empty()).await;
    for _ in 0..20 {
        assert_eq!(status(call(2)), Some(200), "with an empty one");
        assert_eq!(status(call(3)), Some(403));
    }
    control.write("shop.yaml", &shop("PERMISSIVE"));
    eventually("a stranger is heard again", || {
        assert_eq!(status(call(2)), Some(200));
        status(plain()).filter(|status| *status == 403)
    });
}
