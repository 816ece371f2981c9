//! A control process that says what it likes: what the gateway makes of it, and what it answers.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};
use std::thread;

use prost::Message as _;
use sallyport_wire::document::{DOCUMENT, Document, GENERATOR, SECRET_DOCUMENT};
use sallyport_wire::envoy::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use sallyport_wire::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use sallyport_wire::envoy::google::protobuf::{Any, value::Kind};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status, Streaming};

use crate::child::{Client, DEADLINE, Gateway, Scratch, eventually};

/// A stream that a gateway opened; it ends with the value.
struct Call {
    asked: Receiver<DeltaDiscoveryRequest>,
    answers: mpsc::UnboundedSender<DeltaDiscoveryResponse>,
}

impl Call {
    fn next(&self) -> DeltaDiscoveryRequest {
        self.asked.recv_timeout(DEADLINE).unwrap()
    }

    /// The first requests: of Secrets, then of all else.
    fn first(&self) -> (DeltaDiscoveryRequest, DeltaDiscoveryRequest) {
        let both = (self.next(), self.next());
        assert_eq!(both.0.type_url, SECRET_DOCUMENT);
        assert_eq!(both.1.type_url, DOCUMENT);
        both
    }

    /// Sends documents and names of removed ones; why it was refused.
    fn tell(&self, nonce: &str, given: &[(&str, Vec<u8>)], removed: &[&str]) -> Option<String> {
        let resource = |(name, value): &(&str, Vec<u8>)| Resource {
            name: (*name).to_owned(),
            version: nonce.to_owned(),
            resource: Some(Any {
                type_url: DOCUMENT.to_owned(),
                value: value.clone(),
            }),
            ..Resource::default()
        };
        let response = DeltaDiscoveryResponse {
            type_url: DOCUMENT.to_owned(),
            nonce: nonce.to_owned(),
            resources: given.iter().map(resource).collect(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            ..DeltaDiscoveryResponse::default()
        };
        self.answers.send(response).unwrap();
        let answer = self.next();
        assert_eq!(
            (answer.response_nonce.as_str(), &*answer.type_url),
            (nonce, DOCUMENT)
        );
        answer.error_detail.map(|error| error.message)
    }
}

struct Service(Mutex<Sender<Call>>);

struct Answers(mpsc::UnboundedReceiver<DeltaDiscoveryResponse>);

impl Stream for Answers {
    type Item = Result<DeltaDiscoveryResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|answer| answer.map(Ok))
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Streaming<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        call: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (sender, asked) = channel();
        let (answers, receiver) = mpsc::unbounded_channel();
        let mut requests = call.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        let _ = self.0.lock().unwrap().send(Call { asked, answers });
        Ok(Response::new(Answers(receiver)))
    }
}

/// Starts one: where it is, and the streams that come.
fn control() -> (SocketAddr, Receiver<Call>) {
    let (calls, receiver) = channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let service = AggregatedDiscoveryServiceServer::new(Service(Mutex::new(calls)));
            let server = Server::builder().add_service(service);
            server
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .unwrap();
        });
    });
    (address, receiver)
}

fn document(line: u32, text: &str) -> Vec<u8> {
    let document = Document {
        file: "/mesh/a.yaml".to_owned(),
        line,
        ordinal: line,
        text: text.to_owned(),
    };
    document.encode_to_vec()
}

const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
";

/// A host that is answered with its version.
fn host(name: &str, line: u32, answer: &str) -> Vec<u8> {
    let text = format!(
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: default}}
spec:
  hosts: [{name}.test]
  gateways: [istio-system/gw]
  http: [{{{answer}}}]
"
    );
    document(line, &text)
}

fn body(text: &str) -> String {
    format!("directResponse: {{status: 200, body: {{string: {text}}}}}")
}

#[test]
fn what_does_not_compile_is_refused_with_a_reason_and_changes_nothing_else() {
    let scratch = Scratch::new("control");
    let (address, calls) = control();
    let url = format!("http://{address}");
    let state = scratch.path("state");
    let asking = thread::spawn(move || {
        let call = calls.recv_timeout(DEADLINE).unwrap();
        let (first, _) = call.first();
        let node = first.node.unwrap();
        let generator = node.metadata.unwrap().fields["GENERATOR"].kind.clone();
        assert_eq!(generator, Some(Kind::StringValue(GENERATOR.to_owned())));
        let all = [
            ("Gateway", document(1, GATEWAY)),
            ("a", host("a", 7, &body("one"))),
        ];
        assert_eq!(call.tell("1", &all, &[]), None);
        (calls, call)
    });
    let arguments = [
        "--control",
        &url,
        "--state-dir",
        &state,
        "--port-map",
        "80=0",
    ];
    let gateway = Gateway::with(&arguments);
    let (calls, call) = asking.join().unwrap();
    let door = gateway.listener(80);
    let says = |name: &str| Client::connect(door).get(&format!("{name}.test"), "/");
    assert_eq!(says("a"), (200, "one".to_owned()));
    // one of two is broken: the other is served, and the broken one as it was
    let broken = host("a", 7, "nonsense: true");
    let two = [("a", broken), ("b", host("b", 20, &body("two")))];
    let why = call.tell("2", &two, &[]).unwrap();
    assert!(
        why.contains("VirtualService default/a") && why.contains("nonsense"),
        "{why}"
    );
    assert_eq!(
        (says("a").1, says("b").1),
        ("one".to_owned(), "two".to_owned())
    );
    let page = gateway.admin("/diagnostics");
    assert!(page.contains("/mesh/a.yaml:14"), "the user's line: {page}");
    let noise = call.tell("3", &[("c", vec![0xff, 0xff])], &[]).unwrap();
    assert!(noise.starts_with("c: "), "{noise}");
    // a new stream says what it has
    drop(call);
    let call = calls.recv_timeout(DEADLINE).unwrap();
    let (_, second) = call.first();
    let mut known: Vec<_> = second.initial_resource_versions.into_iter().collect();
    known.sort();
    let version = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    assert_eq!(
        known,
        [
            version("Gateway", "1"),
            version("a", "2"),
            version("b", "2")
        ]
    );
    // nothing at all is a mistake, not a wish
    let empty = call.tell("4", &[], &["Gateway", "a", "b"]).unwrap();
    assert!(empty.contains("nothing is left to serve"), "{empty}");
    assert_eq!(
        (says("a").1, says("b").1),
        ("one".to_owned(), "two".to_owned())
    );
    let refused = ["sallyport_control_updates_total", "refused"];
    eventually("it is counted", || {
        gateway.sample(&refused).filter(|count| *count == 3.0)
    });
    assert_eq!(gateway.sample(&["sallyport_control_connected"]), Some(1.0));
}
