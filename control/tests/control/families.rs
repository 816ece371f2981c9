//! The families of policies that Istio's own suite asks about identities
//! (`tests/integration/security/authz_test.go`), on a real Envoy beside a workload: what it answers
//! to each caller is what the model says.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sallyport_config::compile_sidecar;
use sallyport_config::ir::{
    Bind, HttpService, Listener, ListenerKind, RouteTableId, Service, Snapshot,
};
use sallyport_config::model::{Call, Verdict, decide};
use sallyport_control::lower::{self, Form};

use crate::child::{DEADLINE, Scratch};
use crate::envoy::{Envoy, bootstrap, identity};
use crate::golden::trust_all;
use crate::sidecars::{Authority, app, part, view, world};

/// Port of the shop's sidecar.
const PORT: u16 = 8080;
const BUYER: &str = "spiffe://cluster.local/ns/default/sa/buyer";

/// Who calls: nobody that is known, two accounts of two namespaces, one under an alias of the trust
/// domain, and one whose name another's is a part of.
const CALLERS: [Option<&str>; 5] = [
    None,
    Some(BUYER),
    Some("spiffe://cluster.local/ns/other/sa/guest"),
    Some("spiffe://old.local/ns/default/sa/buyer"),
    Some("spiffe://cluster.local/ns/default/sa/buyer-b"),
];

/// A rule for each path.
const RULES: [(&str, &str, &str); 27] = [
    (
        "allow",
        "/principal",
        "from: [{source: {principals: [cluster.local/ns/default/sa/buyer]}}]",
    ),
    (
        "allow",
        "/principal-prefix",
        "from: [{source: {principals: ['cluster.local/ns/default/*']}}]",
    ),
    (
        "allow",
        "/principal-suffix",
        "from: [{source: {principals: ['*/sa/buyer']}}]",
    ),
    (
        "allow",
        "/principal-any",
        "from: [{source: {principals: ['*']}}]",
    ),
    (
        "allow",
        "/not-principal",
        "from: [{source: {notPrincipals: [cluster.local/ns/default/sa/buyer]}}]",
    ),
    (
        "allow",
        "/account",
        "from: [{source: {serviceAccounts: [buyer]}}]",
    ),
    (
        "allow",
        "/account-elsewhere",
        "from: [{source: {serviceAccounts: [other/guest]}}]",
    ),
    (
        "allow",
        "/account-dot",
        "from: [{source: {serviceAccounts: [other/g.est]}}]",
    ),
    (
        "allow",
        "/not-account",
        "from: [{source: {notServiceAccounts: [buyer]}}]",
    ),
    (
        "allow",
        "/trust-domain",
        "from: [{source: {trustDomains: [cluster.local]}}]",
    ),
    (
        "allow",
        "/trust-domain-alias",
        "from: [{source: {trustDomains: [old.local]}}]",
    ),
    (
        "allow",
        "/not-trust-domain",
        "from: [{source: {notTrustDomains: [cluster.local]}}]",
    ),
    (
        "allow",
        "/namespace",
        "from: [{source: {namespaces: [default]}}]",
    ),
    (
        "allow",
        "/namespace-prefix",
        "from: [{source: {namespaces: ['oth*']}}]",
    ),
    (
        "allow",
        "/not-namespace",
        "from: [{source: {notNamespaces: [default]}}]",
    ),
    (
        "allow",
        "/either",
        "from: [{source: {namespaces: [other]}}, {source: {principals: ['*/sa/buyer']}}]",
    ),
    (
        "allow",
        "/both",
        "from: [{source: {namespaces: [default], notPrincipals: ['*-b']}}]",
    ),
    (
        "allow",
        "/when-principal",
        "when: [{key: source.principal, values: [cluster.local/ns/default/sa/buyer]}]",
    ),
    (
        "allow",
        "/when-namespace",
        "when: [{key: source.namespace, notValues: [other]}]",
    ),
    (
        "allow",
        "/when-account",
        "when: [{key: source.serviceAccount, values: [default/buyer]}]",
    ),
    (
        "allow",
        "/when-address",
        "when: [{key: source.ip, values: [127.0.0.0/8]}, {key: destination.port, values: ['8080']}]",
    ),
    (
        "deny",
        "/deny-principal",
        "from: [{source: {principals: [cluster.local/ns/default/sa/buyer]}}]",
    ),
    (
        "deny",
        "/deny-namespace",
        "from: [{source: {namespaces: [other]}}]",
    ),
    (
        "deny",
        "/deny-plaintext",
        "from: [{source: {notPrincipals: ['*']}}]",
    ),
    (
        "deny",
        "/deny-not-namespace",
        "from: [{source: {notNamespaces: [default]}}]",
    ),
    (
        "deny",
        "/deny-not-port",
        "when: [{key: destination.port, notValues: ['8080']}]",
    ),
    (
        "deny",
        "/deny-elsewhere",
        "from: [{source: {notRemoteIpBlocks: [127.0.0.0/8]}}]",
    ),
];

/// The shop, and a policy of each action with the rules of that.
fn mesh(part: &str) -> String {
    let mut text = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: default}}
spec:
  hosts: [shop.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: {part}.1, ports: {{http: {PORT}}}, serviceAccount: shop}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: 'trustDomainAliases: [old.local]'
"
    );
    for action in ["allow", "deny"] {
        text.push_str(&format!(
            "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {action}, namespace: default}}
spec:
  action: {}
  rules:
",
            action.to_uppercase()
        ));
        for (of, path, rule) in RULES {
            if of == action {
                text.push_str(&format!(
                    "  - to: [{{operation: {{paths: [{path}]}}}}]\n    {rule}\n"
                ));
            } else if action == "allow" {
                text.push_str(&format!("  - to: [{{operation: {{paths: [{path}]}}}}]\n"));
            }
        }
    }
    text
}

/// A certificate of a caller, and what is needed to show it.
fn shown(authority: &Authority, name: &str) -> ClientConfig {
    let (chain, key) = authority.pair(name);
    let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let (verifier, provider) = trust_all();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = builder.with_client_auth_cert(vec![chain], key).unwrap();
    config.alpn_protocols = vec![b"istio".to_vec()];
    config
}

/// The status that a caller is told.
fn ask(at: SocketAddr, caller: Option<&Arc<ClientConfig>>, path: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&at, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    let mut text = String::new();
    // a connection that breaks behind its answer has answered
    let _ = match caller {
        None => {
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_to_string(&mut text)
        }
        Some(config) => {
            let name = ServerName::try_from("shop").unwrap();
            let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_to_string(&mut text)
        }
    };
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn envoy_tells_callers_apart_as_the_model_does() {
    let (scratch, part) = (Scratch::new("families"), part());
    let world = world(&mesh(&part));
    let authority = Authority::new();
    let view = view("shop", "v1", &format!("{part}.1"), &[(PORT, app("shop"))]);
    let sidecar = compile_sidecar(&world, &view).sidecar;
    let mut lowered = lower::sidecar(&sidecar, Form::Inline);
    let (chain, key) = authority.pair("spiffe://cluster.local/ns/default/sa/shop");
    lowered.secrets = identity(&chain, &key, &authority.root);
    let _envoy = Envoy::start(&bootstrap(lowered), &scratch);
    let http = Service::Http(HttpService {
        routes: RouteTableId(0),
        server_port: PORT,
        grpc_web: false,
        http3: false,
        early_data: false,
    });
    let snapshot = Snapshot {
        policies: sidecar.snapshot.policies,
        listeners: vec![Listener {
            name: String::new(),
            bind: Bind::Default,
            port: PORT,
            kind: ListenerKind::Plain(http),
        }],
        ..Snapshot::default()
    };
    let at: SocketAddr = format!("{part}.1:{PORT}").parse().unwrap();
    let (mut wrong, mut passed, mut denied) = (Vec::new(), 0, 0);
    for caller in CALLERS {
        let config = caller.map(|name| Arc::new(shown(&authority, name)));
        for (_, path, _) in RULES {
            let call = Call {
                port: PORT,
                method: "GET".to_owned(),
                authority: "shop".to_owned(),
                path: path.to_owned(),
                identity: caller.map(str::to_owned),
                local: Some(at.ip()),
                ..Call::default()
            };
            let want = match decide(&snapshot, &call) {
                Verdict::Denied { .. } => "403",
                _ => "200",
            };
            passed += usize::from(want == "200");
            denied += usize::from(want == "403");
            let got = ask(at, config.as_ref(), path);
            if got != want {
                wrong.push(format!("{path} by {caller:?}: {got}, not {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        passed >= 30 && denied >= 30,
        "{passed} passed, {denied} denied"
    );
}
