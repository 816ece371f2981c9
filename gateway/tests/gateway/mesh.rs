//! The mesh, with a real Envoy as the sidecar on the other side: whom the gateway speaks to, who
//! may speak to it, and what a rotation costs.

#[path = "mesh/authority.rs"]
mod authority;
#[path = "mesh/sidecar.rs"]
mod sidecar;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::child::{Client, Gateway, Scratch, eventually, receive};
use authority::{Authority, Pair};
use sidecar::{Sidecar, inbound, inbound_watched, outbound};

const GATEWAY: &str = "spiffe://cluster.local/ns/istio-system/sa/gateway";
const SHOP: &str = "spiffe://cluster.local/ns/shop/sa/shop";
const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const GUEST: &str = "spiffe://cluster.local/ns/shop/sa/guest";

/// A mesh setting that logs what these tests look at, to a file.
fn logged(scratch: &Scratch) -> String {
    let path = scratch.path("access.log");
    let format = "%REQ(:path)% %RESPONSE_CODE% %RESPONSE_FLAGS% \
                  %UPSTREAM_TRANSPORT_FAILURE_REASON% %DOWNSTREAM_PEER_URI_SAN%";
    format!(
        "apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {{name: mesh, namespace: istio-system}}
spec:
  meshConfig: {{accessLogFile: {path}, accessLogFormat: \"{format}\\n\"}}
"
    )
}

/// The line of the access log about a path.
fn line(scratch: &Scratch, path: &str) -> String {
    eventually("a line of the access log", || {
        let text = std::fs::read_to_string(scratch.path("access.log")).ok()?;
        let found = text.lines().find(|line| line.starts_with(path));
        found.map(str::to_owned)
    })
}

/// A Gateway on port 80, and a host for each endpoint: workloads of the mesh with an account.
fn workloads(endpoints: &[(&str, SocketAddr)]) -> String {
    let mut text = String::from(
        "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
",
    );
    for (name, address) in endpoints {
        let port = address.port();
        text.push_str(&format!(
            "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop}}
spec:
  hosts: [{name}.mesh]
  location: MESH_INTERNAL
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}, serviceAccount: shop}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec:
  hosts: [{name}.test]
  gateways: [istio-system/gw]
  http: [{{route: [{{destination: {{host: {name}.mesh}}}}]}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: shop}}
spec:
  host: {name}.mesh
  trafficPolicy: {{connectionPool: {{http: {{maxRequestsPerConnection: 1}}}}}}
"
        ));
    }
    text
}

/// Starts a gateway with an identity.
fn start(scratch: &Scratch, arguments: &[&str]) -> Gateway {
    let identity = scratch.path("identity");
    let mut all = vec!["--identity", &identity];
    all.extend(arguments);
    Gateway::start(&scratch.0.join("config"), &all)
}

#[test]
fn sidecars_are_spoken_to_if_they_are_who_they_should_be() {
    let scratch = Scratch::new("mesh");
    let (ca, stranger) = (Authority::new(), Authority::new());
    ca.identity(GATEWAY).write(&scratch, "identity", &ca.root);
    let cases: [(&str, Pair); 4] = [
        ("good", ca.identity(SHOP)),
        ("other", ca.identity(OTHER)),
        ("stranger", stranger.identity(SHOP)),
        ("expired", ca.expired(SHOP)),
    ];
    let mut listeners = String::new();
    for (name, pair) in &cases {
        pair.write(&scratch, name, &ca.root);
        listeners.push_str(&inbound(name, Some(&scratch.path(name)), GATEWAY));
    }
    ca.identity(SHOP).write(&scratch, "closed", &ca.root);
    listeners.push_str(&inbound("closed", Some(&scratch.path("closed")), OTHER));
    listeners.push_str(&inbound("plain", None, GATEWAY));
    let sidecar = Sidecar::start(&scratch, &listeners, "");
    let names = ["good", "other", "stranger", "expired", "closed", "plain"];
    let endpoints = names.map(|name| (name, sidecar.port(name)));
    scratch.write(
        "config/a.yaml",
        &(logged(&scratch) + &workloads(&endpoints)),
    );
    for driver in ["auto", "epoll"] {
        let gateway = start(&scratch, &["--port-map", "80=0", "--driver", driver]);
        let door = gateway.listener(80);
        let ask = |name: &str| {
            let path = format!("/{name}-{driver}");
            let answer = Client::connect(door).get(&format!("{name}.test"), &path);
            (answer.0, answer.1, line(&scratch, &path))
        };
        let (status, body, _) = ask("good");
        assert_eq!(
            (status, body.as_str()),
            (200, "inside"),
            "{}",
            gateway.log()
        );
        assert_eq!(ask("closed").0, 403, "the sidecar knows who asks");
        for (name, why) in [
            ("other", "SAN_matcher"),
            ("stranger", "issuer_certificate"),
            ("expired", "certificate_has_expired"),
            ("plain", "WRONG_VERSION_NUMBER"),
        ] {
            let (status, _, line) = ask(name);
            assert_eq!(status, 503, "{name}: {line}");
            assert!(line.contains("UF ") && line.contains(why), "{name}: {line}");
        }
    }
    assert_eq!(
        sidecar.counter("http.plain.downstream_rq_2xx"),
        0,
        "nothing in clear"
    );
}

/// Requests over and over until it is dropped, from several clients at a time.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<usize>>,
}

/// Clients at a time.
const CLIENTS: usize = 6;

impl Load {
    /// Half of the clients connect anew for each request.
    fn start(door: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number: usize| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut client = Client::connect(door);
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    if number.is_multiple_of(2) {
                        client = Client::connect(door);
                    }
                    let (status, body) = client.get("good.test", "/load");
                    assert_eq!((status, body.as_str()), (200, "inside"), "request {count}");
                    count += 1;
                }
                count
            })
        };
        Self {
            clients: (0..CLIENTS).map(client).collect(),
            stop,
        }
    }

    /// How many requests there were, none of which failed.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|c| c.join().unwrap()).sum()
    }
}

/// Whose certificate the sidecar sees: every request of a rule has a connection of its own.
fn peer(client: &mut Client) -> String {
    let request = "GET / HTTP/1.1\r\nhost: good.test\r\n\r\n";
    client.send(request).unwrap();
    let (head, _) = client.receive().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let found = fields.find(|(name, _)| *name == "x-peer");
    found.unwrap().1.to_owned()
}

/// A step of a rotation: who gets another key, and the roots beside it.
enum Turn<'r> {
    Ours(Pair, &'r str),
    Theirs(Pair, &'r str),
}

#[test]
fn identity_and_root_change_under_load_without_a_failure() {
    let scratch = Scratch::new("mesh-rotation");
    let (old, new) = (Authority::new(), Authority::new());
    let both = [old.root.as_str(), new.root.as_str()].concat();
    for driver in ["auto", "epoll"] {
        old.identity(SHOP).tell(&scratch, "good", &old.root);
        let listeners = inbound_watched("good", &scratch.path("good"), GATEWAY);
        let sidecar = Sidecar::start(&scratch, &listeners, "");
        let endpoints = [("good", sidecar.port("good"))];
        let first = old.identity(GATEWAY);
        first.write(&scratch, "identity", &old.root);
        scratch.write("config/a.yaml", &workloads(&endpoints));
        let gateway = start(&scratch, &["--port-map", "80=0", "--driver", driver]);
        let door = gateway.listener(80);
        let mut client = Client::connect(door);
        assert_eq!(peer(&mut client), first.fingerprint());
        let load = Load::start(door);
        let turns = [
            // a new key; both sides believe both roots; then the new root's keys; the old one goes
            Turn::Ours(old.identity(GATEWAY), &old.root),
            Turn::Ours(old.identity(GATEWAY), &both),
            Turn::Theirs(old.identity(SHOP), &both),
            Turn::Ours(new.identity(GATEWAY), &both),
            Turn::Theirs(new.identity(SHOP), &both),
            Turn::Ours(new.identity(GATEWAY), &new.root),
            Turn::Theirs(new.identity(SHOP), &new.root),
        ];
        for (round, turn) in turns.into_iter().enumerate() {
            match turn {
                Turn::Ours(pair, roots) => {
                    pair.write(&scratch, "identity", roots);
                    let wanted = pair.fingerprint();
                    eventually("the new certificate", || {
                        (peer(&mut client) == wanted).then_some(())
                    });
                }
                Turn::Theirs(pair, roots) => {
                    let before = sidecar.told();
                    pair.tell(&scratch, "good", roots);
                    eventually("the sidecar's new secrets", || {
                        let mut told = sidecar.told().into_iter().zip(before);
                        told.all(|(now, before)| now > before).then_some(())
                    });
                }
            }
            // and other rules, again and again
            for change in 0..3 {
                let generation = gateway.generation_id();
                let name = format!("other-{round}-{change}");
                let all = [endpoints[0], (name.as_str(), endpoints[0].1)];
                scratch.write("config/a.yaml", &workloads(&all));
                eventually("a new generation", || {
                    (gateway.generation_id() > generation).then_some(())
                });
            }
        }
        let requests = load.end();
        assert!(requests > 100, "{requests} requests are no load");
        // Half a rotation, a chain without its key, changes nothing.
        let last = peer(&mut client);
        let stray = new.identity(GATEWAY);
        scratch.write("identity/cert-chain.pem", &stray.chain);
        eventually("a finding", || {
            let found = gateway.admin("/diagnostics");
            found.contains("last good pair").then_some(())
        });
        assert_eq!(peer(&mut client), last);
    }
}

/// A server outside of the mesh that speaks TLS with a certificate of this name, and answers with
/// the host that it was asked for.
fn outside(pair: &Pair) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (chain, key) = pair.der();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(chain, key).unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            thread::spawn(move || answer_outside(stream, config));
        }
    });
    address
}

fn answer_outside(stream: TcpStream, config: Arc<ServerConfig>) {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = std::io::BufReader::new(StreamOwned::new(connection, stream));
    while let Ok((head, _)) = receive(&mut stream) {
        let name = stream
            .get_ref()
            .conn
            .server_name()
            .unwrap_or("none")
            .to_owned();
        let told = head.contains("URI=spiffe://cluster.local/ns/shop/sa/web");
        let body = format!("{name} {told}");
        let length = body.len();
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.get_mut().write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
    let _ = stream.read(&mut [0]);
}

/// An egress gateway for one host: known callers only, and TLS to the outside.
fn egress(address: SocketAddr, ca: &str) -> String {
    let port = address.port();
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: egress, namespace: istio-system}}
spec:
  selector: {{istio: egressgateway}}
  servers:
  - {{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [api.ext.test], tls: {{mode: ISTIO_MUTUAL}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: ext, namespace: shop}}
spec:
  hosts: [api.ext.test]
  location: MESH_EXTERNAL
  ports: [{{number: 443, name: https, protocol: HTTPS}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{https: {port}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: ext, namespace: shop}}
spec:
  hosts: [api.ext.test]
  gateways: [istio-system/egress]
  http: [{{route: [{{destination: {{host: api.ext.test, port: {{number: 443}}}}}}]}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: ext, namespace: shop}}
spec:
  host: api.ext.test
  trafficPolicy:
    portLevelSettings: [{{port: {{number: 443}}, tls: {{mode: SIMPLE, caCertificates: {ca}}}}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: callers, namespace: istio-system}}
spec:
  rules: [{{from: [{{source: {{principals: [cluster.local/ns/shop/sa/web]}}}}]}}]
"
    )
}

#[test]
fn workloads_leave_the_mesh_by_the_egress_gateway_under_their_names() {
    let scratch = Scratch::new("mesh-egress");
    let (ca, public) = (Authority::new(), Authority::new());
    let outside = outside(&public.named("api.ext.test"));
    scratch.write("public.pem", &public.root);
    ca.identity(GATEWAY).write(&scratch, "identity", &ca.root);
    let config = logged(&scratch) + &egress(outside, &scratch.path("public.pem"));
    scratch.write("config/a.yaml", &config);
    for (name, uri) in [("web", WEB), ("guest", GUEST)] {
        ca.identity(uri).write(&scratch, name, &ca.root);
    }
    for driver in ["auto", "epoll"] {
        let labels = ["--labels", "istio=egressgateway", "--port-map", "443=0"];
        let gateway = start(&scratch, &[&labels[..], &["--driver", driver]].concat());
        let door = gateway.listener(443);
        let (mut listeners, mut clusters) = (String::new(), String::new());
        for name in ["web", "guest"] {
            let (listener, cluster) = outbound(name, &scratch.path(name), door, GATEWAY);
            listeners.push_str(&listener);
            clusters.push_str(&cluster);
        }
        let sidecars = Sidecar::start(&scratch, &listeners, &clusters);
        let ask = |name: &str, host: &str, path: &str| {
            Client::connect(sidecars.port(name)).get(host, &format!("{path}-{driver}"))
        };
        let answer = ask("web", "api.ext.test", "/web");
        assert_eq!(
            answer,
            (200, "api.ext.test true".to_owned()),
            "{}",
            gateway.log()
        );
        assert_eq!(ask("guest", "api.ext.test", "/guest").0, 403);
        assert_eq!(ask("web", "unknown.test", "/unknown").0, 404);
        let line = |path: &str| line(&scratch, &format!("{path}-{driver}"));
        assert!(line("/guest").contains(" 403 ") && line("/guest").ends_with(GUEST));
        assert!(line("/unknown").contains(" 404 NR ") && line("/unknown").ends_with(WEB));
        // Without a certificate there is no handshake.
        let mut stranger = TcpStream::connect(door).unwrap();
        stranger
            .write_all(b"GET / HTTP/1.1\r\nhost: api.ext.test\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        let _ = stranger.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "cleartext is not answered");
    }
}
