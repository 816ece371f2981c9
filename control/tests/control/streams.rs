//! xDS streams over the wire: who may open one, and what a broken one costs.

use prost::Message as _;
use sallyport_wire::document::{DOCUMENT, Document, GENERATOR, SECRET_DOCUMENT};
use sallyport_wire::envoy::envoy::config::core::v3::Node;
use sallyport_wire::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use sallyport_wire::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use sallyport_wire::envoy::google::protobuf::value::Kind;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::process::{Control, WITHIN, node};
use crate::support::sallyctl;

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

const MESH: &[(&str, &str)] = &[(
    "mesh/a.yaml",
    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: [{port: 80}]\n",
)];

/// A delta stream.
pub(crate) struct Client {
    pub(crate) requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Client {
    pub(crate) async fn open(
        channel: Channel,
        node: Option<Node>,
        token: Option<&str>,
    ) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(16);
        requests.send(ask(node, CLUSTERS)).await.unwrap();
        let stream = Receiver(receiver);
        let mut request = Request::new(stream);
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client
            .delta_aggregated_resources(request)
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
        })
    }

    /// The next response or the end.
    pub(crate) async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        tokio::time::timeout(WITHIN, self.responses.message())
            .await
            .unwrap()
    }
}

/// A request for everything of a type.
pub(crate) fn ask(node: Option<Node>, ty: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node,
        type_url: ty.to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

struct Receiver(mpsc::Receiver<DeltaDiscoveryRequest>);

impl tonic::codegen::tokio_stream::Stream for Receiver {
    type Item = DeltaDiscoveryRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// How a stream with this first message ends.
async fn refused(channel: Channel, node: Option<Node>, token: Option<&str>) -> Code {
    let mut client = match Client::open(channel, node, token).await {
        Ok(client) => client,
        Err(status) => return status.code(),
    };
    match client.next().await {
        Ok(Some(_)) => Code::Ok,
        // the end without a reason
        Ok(None) => Code::Unknown,
        Err(status) => status.code(),
    }
}

#[tokio::test]
async fn a_proxy_is_served_and_seen() {
    let control = Control::start(MESH);
    let web = control.join("shop", "web").await;
    let channel = control.encrypted(Some(&web)).await;
    let mut client = Client::open(channel, Some(node("sidecar", "shop", "web")), None)
        .await
        .unwrap();
    let response = client.next().await.unwrap().unwrap();
    assert_eq!(response.type_url, CLUSTERS);
    let seen = |body: &str| body.contains("web-1.shop") && body.contains("STALE");
    let page = control.until("/debug/syncz", seen).await;
    assert!(
        page.contains("spiffe://cluster.local/ns/shop/sa/web"),
        "{page}"
    );
    let mut answer = ask(None, CLUSTERS);
    answer.response_nonce = response.nonce;
    client.requests.send(answer).await.unwrap();
    control
        .until("/debug/syncz", |body| body.contains("SYNCED"))
        .await;
    drop(client);
    control
        .until("/debug/connections", |body| {
            body.contains("\"totalClients\": 0")
        })
        .await;
}

/// A service at an address, with a rule that has a timeout.
fn shop(address: &str, timeout: u8) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: a}}\nspec:\n  \
         hosts: [a.test]\n  resolution: STATIC\n  ports: [{{number: 80, name: http}}]\n  \
         endpoints: [{{address: {address}}}]\n---\napiVersion: networking.istio.io/v1\n\
         kind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [a.test]\n  http: \
         [{{timeout: {timeout}s, route: [{{destination: {{host: a.test}}}}]}}]\n"
    )
}

#[tokio::test]
async fn endpoints_do_not_wait_for_quiet() {
    let control = Control::start_with(&[("mesh/a.yaml", &shop("10.0.0.1", 1))], "1h");
    let node = Some(node("sidecar", "default", "web"));
    let mut client = Client::open(control.plaintext().await, node, None)
        .await
        .unwrap();
    client.next().await.unwrap().unwrap();
    let mut endpoints = ask(None, ENDPOINTS);
    endpoints.resource_names_subscribe = vec!["outbound|80||a.test".to_owned()];
    client.requests.send(endpoints).await.unwrap();
    let first = client.next().await.unwrap().unwrap();
    assert_eq!(first.type_url, ENDPOINTS);
    let mut answer = ask(None, ENDPOINTS);
    answer.response_nonce = first.nonce;
    client.requests.send(answer).await.unwrap();
    // a rule waits for quiet, an endpoint does not
    control.write("a.yaml", &shop("10.0.0.2", 1));
    let second = client.next().await.unwrap().unwrap();
    assert_eq!(second.type_url, ENDPOINTS);
    assert_ne!(second.resources[0].version, first.resources[0].version);
    control.write("a.yaml", &shop("10.0.0.2", 2));
    let page = control.get("/metrics").await.1;
    assert!(page.contains("\npilot_inbound_updates 1\n"), "{page}");
}

#[tokio::test]
async fn a_refusal_is_kept_and_counted() {
    let control = Control::start(MESH);
    let node = node("sidecar", "shop", "web");
    let mut client = Client::open(control.plaintext().await, Some(node), None)
        .await
        .unwrap();
    let response = client.next().await.unwrap().unwrap();
    let mut answer = ask(None, CLUSTERS);
    answer.response_nonce = response.nonce;
    answer.error_detail = Some(sallyport_wire::envoy::google::rpc::Status {
        message: "no such extension".to_owned(),
        ..Default::default()
    });
    client.requests.send(answer).await.unwrap();
    control
        .until("/debug/syncz", |body| body.contains("no such extension"))
        .await;
    let url = format!("http://{}", control.monitoring);
    let ended = sallyctl(&["proxy-status", "--control", &url]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let row = ended.stdout.lines().nth(1).unwrap();
    let row: Vec<&str> = row.split_whitespace().take(3).collect();
    assert_eq!(row, ["web-1.shop", "sidecar", "ERROR"]);
    assert!(
        ended
            .stdout
            .contains("web-1.shop refuses CDS: no such extension")
    );
    let other = sallyctl(&["proxy-status", "bank", "--control", &url]);
    assert_eq!(other.code, 0, "another proxy refuses nothing");
    let metrics = control.get("/metrics").await.1;
    assert!(
        metrics.contains("\npilot_total_xds_rejects 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\npilot_xds_cds_reject 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_stream_is_its_callers_own() {
    let control = Control::start(MESH);
    let web = control.join("shop", "web").await;
    let token = control.token("shop", "web");
    let with =
        async |workload, node, token| refused(control.encrypted(workload).await, node, token).await;
    let (mine, theirs) = (
        node("sidecar", "shop", "web"),
        node("sidecar", "bank", "web"),
    );
    assert_eq!(with(Some(&web), Some(mine.clone()), None).await, Code::Ok);
    assert_eq!(with(None, Some(mine.clone()), Some(&token)).await, Code::Ok);
    let other = node("sidecar", "shop", "admin");
    assert_eq!(
        with(Some(&web), Some(theirs.clone()), None).await,
        Code::PermissionDenied
    );
    assert_eq!(
        with(Some(&web), Some(other), None).await,
        Code::PermissionDenied
    );
    assert_eq!(
        with(None, Some(theirs), Some(&token)).await,
        Code::PermissionDenied
    );
    assert_eq!(
        with(None, Some(mine.clone()), None).await,
        Code::Unauthenticated
    );
    assert_eq!(
        with(None, Some(mine), Some("x.y.z")).await,
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn nonsense_ends_a_stream_and_no_other() {
    let control = Control::start(MESH);
    let good = node("sidecar", "shop", "web");
    let mut client = Client::open(control.plaintext().await, Some(good.clone()), None)
        .await
        .unwrap();
    client.next().await.unwrap().unwrap();
    let strange = node("ztunnel", "shop", "web");
    let plain = || control.plaintext();
    assert_eq!(
        refused(plain().await, None, None).await,
        Code::InvalidArgument
    );
    assert_eq!(
        refused(plain().await, Some(strange), None).await,
        Code::InvalidArgument
    );
    let mut greedy = Client::open(plain().await, Some(good), None).await.unwrap();
    greedy.next().await.unwrap().unwrap();
    let mut many = ask(None, CLUSTERS);
    many.resource_names_subscribe = (0..200_000).map(|n| n.to_string()).collect();
    greedy.requests.send(many).await.unwrap();
    assert_eq!(
        greedy.next().await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    let mut huge = Client::open(plain().await, Some(node("sidecar", "a", "b")), None)
        .await
        .unwrap();
    huge.next().await.unwrap().unwrap();
    let mut large = ask(None, CLUSTERS);
    large.resource_names_subscribe = vec!["x".repeat(100 * 1024 * 1024)];
    huge.requests.send(large).await.unwrap();
    assert_eq!(huge.next().await.unwrap_err().code(), Code::OutOfRange);
    // the first one is as it was
    let mut answer = ask(None, CLUSTERS);
    answer.response_nonce = "1".to_owned();
    client.requests.send(answer).await.unwrap();
    control
        .until("/debug/syncz", |body| body.contains("SYNCED"))
        .await;
}

/// More streams at a time than may begin, and clients that take nothing.
#[tokio::test]
async fn a_storm_and_clients_that_do_not_read_leave_others_served() {
    let flags = ["--streams-per-second", "20"];
    let control = Control::start_flagged(&[("mesh/a.yaml", &shop("10.0.0.1", 1))], &flags);
    let channel = control.plaintext().await;
    let good = node("sidecar", "default", "web");
    let mut client = Client::open(channel, Some(good), None).await.unwrap();
    let first = client.next().await.unwrap().unwrap();
    let mut storm = tokio::task::JoinSet::new();
    for number in 0..100 {
        let channel = control.plaintext().await;
        storm.spawn(async move {
            let node = node("sidecar", "hostile", &format!("n{number}"));
            // whoever is let in never reads
            Client::open(channel, Some(node), None).await
        });
    }
    let ended = storm.join_all().await;
    let refused = ended.iter().filter_map(|one| one.as_ref().err());
    assert!(
        refused
            .clone()
            .all(|why| why.code() == Code::ResourceExhausted)
    );
    let let_in = ended.len() - refused.count();
    // those whose turn comes within a second, and those who came while it passed
    assert!((10..=80).contains(&let_in), "{let_in}");
    let mut answer = ask(None, CLUSTERS);
    answer.response_nonce = first.nonce;
    client.requests.send(answer).await.unwrap();
    control.write("a.yaml", &shop("10.0.0.1", 1).replace("a.test", "b.test"));
    let second = client.next().await.unwrap().unwrap();
    assert!(second.resources.iter().any(|r| r.name.contains("b.test")));
}

/// What is no message of any protocol, at every port.
#[tokio::test]
async fn noise_ends_connections_and_nothing_else() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let control = Control::start(MESH);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut random = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random.to_be_bytes()[0]
    })
    .take(64 * 1024)
    .collect();
    for port in [control.plain, control.tls, control.monitoring] {
        for start in [
            &b""[..],
            b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03",
            b"GET / HTTP/1.1\r\n",
            preface,
        ] {
            let mut stream = tokio::net::TcpStream::connect(port).await.unwrap();
            // it may have been closed before all is written
            let _ = stream.write_all(start).await;
            let _ = stream.write_all(&noise).await;
            let _ = stream.shutdown().await;
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(WITHIN, stream.read_to_end(&mut rest));
            assert!(ended.await.is_ok(), "{port} after {start:?} stays open");
        }
    }
    // deeper than any node is
    let mut deep = node("sidecar", "shop", "web");
    let nest = |inner| sallyport_wire::envoy::google::protobuf::Value {
        kind: Some(Kind::ListValue(
            sallyport_wire::envoy::google::protobuf::ListValue {
                values: vec![inner],
            },
        )),
    };
    let deepest = (0..500).fold(nest(Default::default()), |inner, _| nest(inner));
    let metadata = deep.metadata.as_mut().unwrap();
    metadata.fields.insert("DEEP".to_owned(), deepest);
    let plain = control.plaintext().await;
    assert_eq!(
        refused(plain.clone(), Some(deep), None).await,
        Code::Internal
    );
    let web = Some(node("sidecar", "shop", "web"));
    assert_eq!(refused(plain, web, None).await, Code::Ok);
    assert_eq!(control.get("/ready").await.0, 200);
}

#[tokio::test]
async fn an_empty_directory_serves_nobody_until_it_is_filled() {
    let control = Control::start(&[("mesh/readme.txt", "nothing yet")]);
    assert_eq!(control.get("/ready").await.0, 503);
    let node = node("sidecar", "shop", "web");
    let channel = control.plaintext().await;
    assert_eq!(
        refused(channel.clone(), Some(node.clone()), None).await,
        Code::Unavailable
    );
    control.write("a.yaml", MESH[0].1);
    control.until("/ready", |body| body == "ready\n").await;
    assert_eq!(refused(channel, Some(node), None).await, Code::Ok);
    // and an empty one again takes nothing away
    control.write("a.yaml", "");
    control.write("b.yaml", "kind: [broken\n");
    let findings = |body: &str| body.contains("\"Service\": 1");
    control.until("/debug/configz", findings).await;
    assert_eq!(control.get("/ready").await.0, 200);
}

#[tokio::test]
async fn debug_pages_list_themselves() {
    let control = Control::start(MESH);
    let (status, list) = control.get("/debug/list").await;
    assert_eq!(status, 200);
    for line in list.lines().filter(|line| line.contains("\"path\"")) {
        let path = line.split('"').nth(3).unwrap();
        let query = if path.ends_with("config_dump") {
            "?proxyID=x"
        } else {
            ""
        };
        assert_eq!(
            control.get(&format!("{path}{query}")).await.0,
            200,
            "{path}"
        );
    }
    assert_eq!(control.get("/debug/nonsense").await.0, 404);
    let (_, configz) = control.get("/debug/configz").await;
    assert!(configz.contains("\"Service\": 1"), "{configz}");
}

const SECRETS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A Gateway with a certificate.
fn with_secret() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["shop.example.com".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let indented = |pem: &str| {
        pem.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    let pem = key.serialize_pem();
    let text = format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: istio-system}}
spec:
  selector: {{}}
  servers:
  - port: {{number: 443, name: https, protocol: HTTPS}}
    hosts: [shop.example.com]
    tls: {{mode: SIMPLE, credentialName: shop}}
---
apiVersion: v1
kind: Secret
metadata: {{name: shop, namespace: istio-system}}
stringData:
  tls.crt: |
{}  tls.key: |
{}",
        indented(&certificate),
        indented(&pem)
    );
    (text, pem)
}

/// Resources and absences of the first answer about a secret.
async fn secret(channel: Channel, node: Node, token: Option<&str>) -> (usize, usize) {
    let mut client = Client::open(channel, Some(node), token).await.unwrap();
    client.next().await.unwrap().unwrap();
    let mut request = ask(None, SECRETS);
    request.resource_names_subscribe = vec!["kubernetes://shop".to_owned()];
    client.requests.send(request).await.unwrap();
    let answer = client.next().await.unwrap().unwrap();
    assert_eq!(answer.type_url, SECRETS);
    (answer.resources.len(), answer.removed_resources.len())
}

/// A node of a gateway of ours.
fn own_gateway(namespace: &str) -> Node {
    let mut node = node("router", namespace, "edge");
    let generator = sallyport_wire::envoy::google::protobuf::Value {
        kind: Some(Kind::StringValue(GENERATOR.to_owned())),
    };
    let metadata = node.metadata.as_mut().unwrap();
    metadata.fields.insert("GENERATOR".to_owned(), generator);
    node
}

/// Texts of Secrets and of all else that a gateway of ours is given.
async fn documents(channel: Channel, node: Node) -> (Vec<String>, Vec<String>) {
    let mut client = Client::open(channel, Some(node), None).await.unwrap();
    client.next().await.unwrap().unwrap();
    let mut given = Vec::new();
    for ty in [SECRET_DOCUMENT, DOCUMENT] {
        let mut request = ask(None, ty);
        // asked for by name or not makes no difference
        request.resource_names_subscribe =
            vec!["*".to_owned(), "Secret istio-system/shop".to_owned()];
        client.requests.send(request).await.unwrap();
        let answer = client.next().await.unwrap().unwrap();
        assert_eq!(answer.type_url, ty);
        let bodies = answer.resources.into_iter();
        let text = |body: Vec<u8>| Document::decode(&*body).unwrap().text;
        given.push(bodies.map(|r| text(r.resource.unwrap().value)).collect());
    }
    let rest = given.pop().unwrap();
    (given.pop().unwrap(), rest)
}

#[tokio::test]
async fn texts_of_secrets_go_to_certificates_of_their_namespace_only() {
    let (mesh, key) = with_secret();
    // one list of a Secret and of something that everybody needs
    let list = "---\napiVersion: v1\nkind: List\nitems:\n\
                - {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}\n\
                - {apiVersion: v1, kind: Secret, metadata: {name: b, namespace: istio-system}, stringData: {tls.key: hidden}}\n";
    let control = Control::start(&[("mesh/a.yaml", &(mesh + list))]);
    let edge = control.join("istio-system", "edge").await;
    let thief = control.join("shop", "edge").await;
    let part = key.lines().nth(1).unwrap();
    let own = documents(
        control.encrypted(Some(&edge)).await,
        own_gateway("istio-system"),
    );
    let (secrets, rest) = own.await;
    assert_eq!(secrets.len(), 1, "only what is named");
    assert!(secrets[0].contains(part));
    assert_eq!(rest.len(), 2, "the Gateway and the Service: {rest:?}");
    let theirs = documents(control.encrypted(Some(&thief)).await, own_gateway("shop")).await;
    let plain = documents(control.plaintext().await, own_gateway("istio-system")).await;
    for (secrets, rest) in [theirs, plain] {
        assert!(secrets.is_empty() && rest.len() == 2, "{rest:?}");
        assert!(!rest.concat().contains(part) && !rest.concat().contains("hidden"));
    }
}

#[tokio::test]
async fn keys_go_to_certificates_of_their_namespace_only() {
    let (mesh, key) = with_secret();
    let control = Control::start(&[("mesh/a.yaml", &mesh)]);
    let edge = control.join("istio-system", "edge").await;
    let thief = control.join("shop", "edge").await;
    let token = control.token("istio-system", "edge");
    let (mine, theirs) = (
        node("router", "istio-system", "edge"),
        node("router", "shop", "edge"),
    );
    let (given, absent) = ((1, 0), (0, 1));
    let channel = control.encrypted(Some(&edge)).await;
    assert_eq!(secret(channel.clone(), mine.clone(), None).await, given);
    assert_eq!(
        secret(control.encrypted(Some(&thief)).await, theirs, None).await,
        absent
    );
    assert_eq!(
        secret(control.encrypted(None).await, mine.clone(), Some(&token)).await,
        absent
    );
    assert_eq!(
        secret(control.plaintext().await, mine.clone(), None).await,
        absent
    );
    // while it is known to the process, nothing that it says shows it
    let _open = Client::open(channel, Some(mine), None).await.unwrap();
    let part = key.lines().nth(1).unwrap();
    for page in [
        "adsz",
        "syncz",
        "configz",
        "connections",
        "endpointz",
        "push_status",
        "config_dump?proxyID=router~127.0.0.1~edge-1.istio-system~istio-system.svc.cluster.local",
    ] {
        let path = format!("/debug/{page}");
        if page.starts_with("config_dump") {
            let named = |body: &str| body.contains("kubernetes://shop");
            control.until(&path, named).await;
        }
        let (status, body) = control.get(&path).await;
        assert!(status == 200 && !body.contains(part), "{page} shows a key");
    }
}
