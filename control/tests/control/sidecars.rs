//! Sidecars as the compiler wants them, carried out by real Envoys that speak to each other.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use sallyport_config::pipeline::accept;
use sallyport_config::retain::LastGood;
use sallyport_config::{OwnPorts, SidecarView, View, World, compile_sidecar};
use sallyport_control::lower::{self, Form, Lowered};

use crate::child::{DEADLINE, Scratch};
use crate::envoy::{Envoy, bootstrap, identity, validate};
use crate::golden::{files, place::cases};

/// Port that the client calls, and port of the shop's sidecars.
const CALLED: u16 = 9080;
const INBOUND: u16 = 8080;

/// Two versions of a shop, one client that may buy, and rules of every kind between them.
const MESH: &str = r"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints:
  - {address: PART.1, ports: {http: 8080}, labels: {version: v1}, serviceAccount: shop}
  - {address: PART.2, ports: {http: 8080}, labels: {version: v2}, serviceAccount: shop}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: default}
spec:
  host: shop.default.svc.cluster.local
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default}
spec:
  hosts: [shop.default.svc.cluster.local]
  http:
  - match: [{uri: {exact: /broken}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: shop.default.svc.cluster.local}}]
  - match: [{headers: {x-version: {exact: v2}}}]
    route: [{destination: {host: shop.default.svc.cluster.local, subset: v2}}]
  - route:
    - {destination: {host: shop.default.svc.cluster.local, subset: v1}, weight: 70}
    - {destination: {host: shop.default.svc.cluster.local, subset: v2}, weight: 30}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: buyers, namespace: default}
spec:
  selector: {matchLabels: {app: shop}}
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/buyer]}}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: judge
      envoyExtAuthzHttp: {service: judge.test, port: JUDGE, timeout: 5s, includeRequestHeadersInCheck: [x-refuse]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: judge, namespace: default}
spec:
  hosts: [judge.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: JUDGE, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow, namespace: default}
spec:
  workloadSelector: {labels: {app: shop}}
  egress: [{hosts: [default/shop.default.svc.cluster.local]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asked, namespace: default}
spec:
  selector: {matchLabels: {app: shop}}
  action: CUSTOM
  provider: {name: judge}
  rules: [{to: [{operation: {paths: [/asked]}}]}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: default}
spec: {mtls: {mode: MODE}}
";

/// `127.a.b.`, where nobody else listens.
pub(crate) fn part() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}", 40 + serial % 8, low ^ high)
}

pub(crate) fn world(text: &str) -> World {
    let merged = accept(
        &[("mesh.yaml".to_owned(), text.to_owned())],
        &mut LastGood::default(),
    );
    let wrong: Vec<_> = merged.diagnostics.iter().collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    World::build(&merged.set, &merged.sources, "cluster.local")
}

pub(crate) fn view(app: &str, version: &str, address: &str, ports: &[(u16, u16)]) -> SidecarView {
    let labels = [("app", app), ("version", version)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let address: IpAddr = address.parse().unwrap();
    SidecarView {
        workload: View {
            namespace: "default".to_owned(),
            labels: labels.into_iter().collect(),
            name: app.to_owned(),
            ..View::default()
        },
        addresses: vec![address],
        ports: Some(OwnPorts {
            outbound: address,
            inbound: ports.to_vec(),
        }),
    }
}

/// The authority of the mesh.
pub(crate) struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) root: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::default();
        // who signs must not have the name of whom it signs for
        root.distinguished_name.push(DnType::CommonName, "mesh");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = root.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(root, key),
            root: pem,
        }
    }

    /// A sidecar of a service account.
    fn sidecar(&self, world: &World, view: &SidecarView, account: &str) -> Lowered {
        let name = format!("spiffe://cluster.local/ns/default/sa/{account}");
        let (chain, key) = self.pair(&name);
        let compiled = compile_sidecar(world, view);
        let mut lowered = lower::sidecar(&compiled.sidecar, Form::Inline);
        lowered.secrets = identity(&chain, &key, &self.root);
        lowered
    }

    /// A certificate with its key, as PEM.
    pub(crate) fn pair(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::default();
        own.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        let chain = own.signed_by(&key, &self.issuer).unwrap().pem();
        (chain, key.serialize_pem())
    }
}

/// An application that answers with its name and what it was asked.
pub(crate) fn app(name: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream, name));
        }
    });
    port
}

fn answer(stream: TcpStream, name: &str) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let body = format!("{name}\n{head}");
        let length = body.len();
        let status = match name == "judge" && head.contains("x-refuse") {
            true => "401 Unauthorized",
            false => "200 OK",
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Everything that comes back for a request, empty when the connection ends without an answer.
fn call(address: &str, port: u16, host: &str, path: &str, more: &str) -> String {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer in time"),
        _ => text,
    }
}

/// A mesh that runs: both versions of the shop, a buyer and a stranger.
struct Mesh {
    part: String,
    _envoys: Vec<(Envoy, Scratch)>,
}

impl Mesh {
    fn start(name: &str, mode: &str) -> Self {
        Self::start_with(name, mode, "")
    }

    /// With more objects.
    fn start_with(name: &str, mode: &str, more: &str) -> Self {
        let part = part();
        let judge = app("judge").to_string();
        let text = MESH.replace("PART", &part).replace("MODE", mode) + more;
        let text = text.replace("JUDGE", &judge);
        let world = world(&text);
        let authority = Authority::new();
        let (v1, v2) = (app("v1"), app("v2"));
        let at = |host: u8| format!("{part}.{host}");
        let proxies = [
            (view("shop", "v1", &at(1), &[(INBOUND, v1)]), "shop"),
            (view("shop", "v2", &at(2), &[(INBOUND, v2)]), "shop"),
            (view("buyer", "v1", &at(3), &[]), "buyer"),
            (view("stranger", "v1", &at(4), &[]), "stranger"),
        ];
        let start = |(index, (view, account)): (usize, &(SidecarView, &str))| {
            let scratch = Scratch::new(&format!("{name}-{index}"));
            let lowered = authority.sidecar(&world, view, account);
            (Envoy::start(&bootstrap(lowered), &scratch), scratch)
        };
        Self {
            _envoys: proxies.iter().enumerate().map(start).collect(),
            part,
        }
    }

    fn at(&self, host: u8) -> String {
        format!("{}.{host}", self.part)
    }

    /// A call of the shop by the buyer.
    fn buy(&self, path: &str, more: &str) -> String {
        call(&self.at(3), CALLED, "shop", path, more)
    }
}

#[test]
fn sidecars_call_each_other_by_the_rules_of_the_mesh() {
    let mesh = Mesh::start("strict", "STRICT");
    let two = mesh.buy("/", "x-version: v2\r\n");
    assert!(
        two.starts_with("HTTP/1.1 200") && two.contains("\nv2\n"),
        "{two}"
    );
    // the shop knows who buys
    let buyer = "URI=spiffe://cluster.local/ns/default/sa/buyer";
    assert!(two.contains(buyer), "{two}");
    let hundred: Vec<String> = (0..100).map(|_| mesh.buy("/", "")).collect();
    let of = |version: &str| hundred.iter().filter(|a| a.contains(version)).count();
    let (v1, v2) = (of("\nv1\n"), of("\nv2\n"));
    // 70 to 30: further from it than that is a chance of one in 10^6
    assert!(v1 + v2 == 100 && (47..93).contains(&v1), "{v1} to {v2}");
    let broken = mesh.buy("/broken", "");
    assert!(broken.starts_with("HTTP/1.1 418"), "{broken}");
    let stranger = call(&mesh.at(4), CALLED, "shop", "/", "");
    assert!(
        stranger.starts_with("HTTP/1.1 403") && stranger.ends_with("RBAC: access denied"),
        "{stranger}"
    );
    // somebody else is asked, although the shop's Sidecar does not name them
    let asked = mesh.buy("/asked", "");
    assert!(asked.starts_with("HTTP/1.1 200"), "{asked}");
    let refused = mesh.buy("/asked", "x-refuse: 1\r\n");
    assert!(
        refused.starts_with("HTTP/1.1 401") && refused.contains("judge\n"),
        "{refused}"
    );
    let free = mesh.buy("/", "x-refuse: 1\r\n");
    assert!(free.starts_with("HTTP/1.1 200"), "{free}");
    let unknown = call(&mesh.at(3), CALLED, "elsewhere.test", "/", "");
    assert!(unknown.starts_with("HTTP/1.1 502"), "{unknown}");
    let clear = call(&mesh.at(1), INBOUND, "shop", "/", "");
    assert_eq!(clear, "", "STRICT lets cleartext in");
}

/// Istio's task for local rate limits, for one version of the shop.
const LIMIT: &str = r"
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: filter-local-ratelimit-svc, namespace: default}
spec:
  workloadSelector: {labels: {version: v2}}
  configPatches:
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            '@type': type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
            value:
              stat_prefix: http_local_rate_limiter
              token_bucket: {max_tokens: 4, tokens_per_fill: 4, fill_interval: 3600s}
              filter_enabled: {default_value: {numerator: 100, denominator: HUNDRED}}
              filter_enforced: {default_value: {numerator: 100, denominator: HUNDRED}}
              response_headers_to_add:
                - {append_action: APPEND_IF_EXISTS_OR_ADD, header: {key: x-local-rate-limit, value: 'true'}}
";

#[test]
fn the_documented_rate_limit_holds_at_a_sidecar() {
    let mesh = Mesh::start_with("limited", "STRICT", LIMIT);
    let two = |_| mesh.buy("/", "x-version: v2\r\n");
    let answers: Vec<String> = (0..6).map(two).collect();
    let statuses: Vec<&str> = answers.iter().filter_map(|a| a.get(9..12)).collect();
    assert_eq!(statuses, ["200", "200", "200", "200", "429", "429"]);
    assert!(
        answers[5].contains("x-local-rate-limit: true"),
        "{}",
        answers[5]
    );
    assert!(answers[5].ends_with("local_rate_limited"), "{}", answers[5]);
    let one = mesh.buy("/broken", "");
    assert!(one.starts_with("HTTP/1.1 418"), "{one}");
}

#[test]
fn permissive_sidecars_are_also_called_in_the_clear() {
    let mesh = Mesh::start("permissive", "PERMISSIVE");
    let meshed = mesh.buy("/", "");
    assert!(meshed.starts_with("HTTP/1.1 200"), "{meshed}");
    assert!(meshed.contains("sa/buyer"), "not by mutual TLS: {meshed}");
    // it comes in, as nobody whom the policy knows
    let clear = call(&mesh.at(1), INBOUND, "shop", "/", "");
    assert!(clear.starts_with("HTTP/1.1 403"), "{clear}");
}

#[test]
fn disabled_mutual_tls_is_not_spoken() {
    let mesh = Mesh::start("disabled", "DISABLE");
    let refused = mesh.buy("/", "");
    assert!(
        refused.starts_with("HTTP/1.1 403"),
        "an identity came along: {refused}"
    );
}

/// A wildcard whose hosts say themselves where they are.
const WILDCARD: &str = r"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: any, namespace: default}
spec:
  hosts: ['*.localhost']
  location: MESH_EXTERNAL
  resolution: DYNAMIC_DNS
  ports: [{number: PORT, name: http, protocol: HTTP}, {number: 9443, name: tls, protocol: TLS}]
";

#[test]
fn hosts_under_a_wildcard_are_where_their_names_say() {
    let (part, port) = (part(), app("origin"));
    let world = world(&WILDCARD.replace("PORT", &port.to_string()));
    let at = format!("{part}.1");
    let lowered = Authority::new().sidecar(&world, &view("client", "v1", &at, &[]), "client");
    let scratch = Scratch::new("wildcard");
    let _envoy = Envoy::start(&bootstrap(lowered), &scratch);
    for host in ["a.localhost", "b.c.localhost"] {
        let found = call(&at, port, &format!("{host}:{port}"), "/", "");
        assert!(
            found.starts_with("HTTP/1.1 200") && found.contains("\norigin\n"),
            "{host}: {found}"
        );
    }
    // the wildcard is a bound, not a way to everywhere
    let elsewhere = call(&at, port, &format!("127.0.0.1:{port}"), "/", "");
    assert!(elsewhere.starts_with("HTTP/1.1 502"), "{elsewhere}");
}

#[test]
fn envoy_takes_a_sidecar_in_every_golden_world() {
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let scratch = Scratch::new(&format!("sidecar-{name}"));
        let merged = accept(&files(&case, &scratch), &mut LastGood::default());
        let world = World::build(&merged.set, &merged.sources, "cluster.local");
        let own = view("client", "v1", "127.0.0.1", &[(18080, 8080)]);
        let redirected = SidecarView {
            ports: None,
            ..own.clone()
        };
        let authority = Authority::new();
        for (form, view) in [("own ports", own), ("redirected", redirected)] {
            let lowered = authority.sidecar(&world, &view, "client");
            if let Err(why) = validate(&bootstrap(lowered), &scratch) {
                wrong.push(format!("{name}, {form}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
