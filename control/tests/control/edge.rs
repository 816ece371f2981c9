//! Our gateway as a client of the control process: both are real programs.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use crate::agent::{Agent, free, get, mesh, origin};
use crate::child::{DEADLINE, Scratch, eventually};
use crate::process::Control;
use crate::support::sallyctl;

/// The gateway's program, beside ours. Tests of this crate alone do not build it.
fn binary() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own = PathBuf::from(env!("CARGO_BIN_EXE_sallyport-control"));
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "sallyport-gateway"]);
        build.args(["--bin", "sallyport-gateway"]);
        assert!(
            build.status().unwrap().success(),
            "the gateway is not built"
        );
        own.with_file_name("sallyport-gateway")
    })
}

/// A running gateway; it ends with the value.
pub(crate) struct Edge {
    child: Child,
    admin: SocketAddr,
    pub(crate) ready: String,
    log: Arc<Mutex<String>>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.log());
        }
    }
}

impl Edge {
    /// Starts one as a client of `url` with a state directory, and waits until it is ready.
    pub(crate) fn start(url: &str, scratch: &Scratch, more: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["--control", url, "--state-dir", &scratch.path("state")])
            .args(["--admin", "127.0.0.1:0", "--status", "none"])
            .args(["--metrics", "none", "--workers", "1"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let collected = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = collected.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let ready = lines.recv_timeout(DEADLINE);
        let ready = ready.unwrap_or_else(|_| panic!("not ready: {}", log.lock().unwrap()));
        let mut words = ready.split(' ').filter_map(|word| word.split_once('='));
        let admin = words.find(|(name, _)| *name == "admin").unwrap().1;
        Self {
            admin: admin.parse().unwrap(),
            child,
            ready,
            log,
        }
    }

    /// A page of its administration.
    pub(crate) fn page(&self, path: &str) -> String {
        get(self.admin, path, "admin").unwrap().1
    }

    /// Looks at a page until it is as it should be.
    pub(crate) fn until(&self, path: &str, good: impl Fn(&str) -> bool) -> String {
        eventually(path, || Some(self.page(path)).filter(|page| good(page)))
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

/// The body of an answer for the shop.
fn shop(listen: SocketAddr) -> Option<String> {
    let answer = get(listen, "/", "shop.example.com");
    answer
        .filter(|(status, _)| *status == 200)
        .map(|(_, body)| body)
}

fn says(listen: SocketAddr, what: &str) {
    eventually(what, || shop(listen).filter(|body| body == what));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_gateway_serves_what_the_directory_says_and_goes_on_alone() {
    let (listen, one, two) = (free(), origin("one"), origin("two"));
    let mut control = Control::start(&[("mesh/a.yaml", &mesh(listen, one))]);
    let scratch = Scratch::new("edge");
    let url = format!("http://{}", control.plain);
    let edge = Edge::start(&url, &scratch, &[]);
    assert!(edge.ready.contains(&listen.to_string()), "{}", edge.ready);
    says(listen, "one");
    // it serves before its verdict has come back
    let told = |body: &str| body.contains("router~") && body.contains("SYNCED");
    let settled = |body: &str| body.contains("\"config\"") && !body.contains("STALE");
    control
        .until("/debug/syncz", |body| told(body) && settled(body))
        .await;
    // an edit reaches it, a broken one changes nothing
    control.write("a.yaml", &mesh(listen, two));
    says(listen, "two");
    control.write("b.yaml", "kind: [broken\n");
    let broken = |body: &str| body.contains("b.yaml");
    control.until("/debug/configz", broken).await;
    assert_eq!(shop(listen).as_deref(), Some("two"));
    // without the control process it serves on, also after a restart
    control.kill();
    edge.until("/control", |page| page.contains("\"connected\": false"));
    for _ in 0..20 {
        assert_eq!(shop(listen).as_deref(), Some("two"));
    }
    drop(edge);
    let edge = Edge::start(&url, &scratch, &[]);
    assert_eq!(shop(listen).as_deref(), Some("two"), "{}", edge.log());
    // the control process comes back with something else, and without one file
    control.write("a.yaml", &mesh(listen, one));
    control.restart();
    says(listen, "one");
    assert_eq!(edge.page("/control").matches("\"refused\": 0").count(), 1);
}

/// An HTTPS gateway for a shop that a sidecar guards: only the gateway may call it.
fn meshed(listen: SocketAddr, part: &str, path: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["shop.example.com".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let quoted = |pem: &str| pem.replace('\n', "\\n");
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {}, name: https, protocol: HTTPS}}
    bind: 127.0.0.1
    hosts: [shop.example.com]
    tls: {{mode: SIMPLE, credentialName: shop}}
---
apiVersion: v1
kind: Secret
metadata: {{name: shop, namespace: istio-system}}
stringData: {{tls.crt: \"{}\", tls.key: \"{}\"}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: default}}
spec:
  hosts: [shop.example.com]
  gateways: [istio-system/edge]
  http:
  - match: [{{uri: {{prefix: {path}}}}}]
    route: [{{destination: {{host: shop.default.svc.cluster.local}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: default}}
spec:
  hosts: [shop.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  endpoints:
  - address: {part}.1
    ports: {{http: 8080}}
    labels: {{app: shop, security.istio.io/tlsMode: istio}}
    serviceAccount: shop
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: all, namespace: istio-system}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: shop, namespace: default}}
spec:
  selector: {{matchLabels: {{app: shop}}}}
  rules: [{{from: [{{source: {{principals: [cluster.local/ns/istio-system/sa/edge]}}}}]}}]
",
        listen.port(),
        quoted(&certificate),
        quoted(&key.serialize_pem())
    )
}

/// Status and body of a request over TLS.
fn https(listen: SocketAddr, path: &str) -> (u16, String) {
    let port = listen.port();
    let output = Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "10"])
        .args(["--resolve", &format!("shop.example.com:{port}:127.0.0.1")])
        .args(["--write-out", " %{http_code}"])
        .arg(format!("https://shop.example.com:{port}{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once(' ').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// Kills the control process, brings it back with a broken file, then with nothing, and kills it
/// again. All the time calls are answered.
async fn goes_through_trouble(control: &mut Control, edge: &Edge, good: impl Fn() -> bool) {
    let serves = || {
        for _ in 0..10 {
            assert!(good(), "{}", edge.log());
        }
    };
    control.kill();
    serves();
    control.write("a.yaml", "kind: [broken\n");
    control.restart();
    edge.until("/control", |page| page.contains("\"connected\": true"));
    serves();
    control.write("a.yaml", "");
    control.reload();
    let empty = |body: &str| !body.contains("broken");
    control.until("/debug/configz", empty).await;
    serves();
    control.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_https_to_a_sidecar_by_an_identity_of_the_mesh_whatever_the_control_process_does() {
    let [.., high, low] = std::process::id().to_be_bytes();
    let part = format!("127.{}.{low}", 70 + high % 8);
    let listen = free();
    let mut control = Control::start(&[("mesh/a.yaml", &meshed(listen, &part, "/"))]);
    let address = format!("{part}.1");
    let app = format!("8080={}", origin("sold").port());
    let own = [
        "--address",
        &address,
        "--labels",
        "app=shop",
        "--app-port",
        &app,
    ];
    let shop = Agent::start(&control, "edge-shop", "default", "shop", &own);
    shop.ready();
    let scratch = Scratch::new("edge-meshed");
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
    let sold = (200, "sold".to_owned());
    eventually("the shop sells", || {
        (https(listen, "/") == sold).then_some(())
    });
    let clear = get(
        (address.parse::<IpAddr>().unwrap(), 8080).into(),
        "/",
        "shop",
    );
    assert_eq!(clear, None, "nobody else is heard");
    let page = edge.page("/control");
    let name = "spiffe://cluster.local/ns/istio-system/sa/edge";
    assert!(page.contains(name), "{page}");
    use std::os::unix::fs::PermissionsExt as _;
    let kept = std::fs::metadata(scratch.path("state/identity/identity.pem")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    let monitoring = format!("http://{}", control.monitoring);
    let wanted = ["router", "-", "-", "-", "-", "-", "SYNCED", name];
    eventually("its row in proxy-status", || {
        let said = sallyctl(&["proxy-status", "ingressgateway", "--control", &monitoring]).stdout;
        let row: Vec<&str> = said.lines().nth(1)?.split_whitespace().collect();
        (row.get(1..)? == wanted).then_some(())
    });
    // a change of a VirtualService arrives, the certificate of the Secret with it
    control.write("a.yaml", &meshed(listen, &part, "/new"));
    eventually("the new rule", || {
        (https(listen, "/").0 == 404).then_some(())
    });
    assert_eq!(https(listen, "/new"), sold);
    goes_through_trouble(&mut control, &edge, || https(listen, "/new") == sold).await;
    // restarted without anybody to ask: configuration, Secret and identity are kept
    drop(edge);
    std::fs::remove_file(&token).unwrap();
    let edge = Edge::start(&url, &scratch, &flags);
    assert!(edge.ready.contains(&listen.to_string()), "{}", edge.ready);
    assert_eq!(https(listen, "/new"), sold, "{}", edge.log());
}
