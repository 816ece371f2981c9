//! How the workload is, told to the control process. The group's probe comes over the same stream,
//! so that a changed probe needs no restart.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use prost::Message as _;
use sallyport_config::api::workload_group::ReadinessProbe;
use sallyport_identity::{Held, Member};
use sallyport_wire::document::{DOCUMENT, Document, GENERATOR};
use sallyport_wire::envoy::envoy::config::core::v3::{Locality, Node};
use sallyport_wire::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use sallyport_wire::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use sallyport_wire::envoy::google::protobuf::{Struct, Value, value::Kind};
use sallyport_wire::envoy::google::rpc;
use sallyport_wire::health::HEALTH_INFORMATION;
use serde_json::Value as Json;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tonic::transport::Channel;

use super::probe::{self, Health};
use crate::log;

/// Requests that wait.
const REQUESTS_MAX: usize = 4;
/// First pause after a stream ended; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Probes and reports for ever. `node` is Envoy's, as JSON.
pub(super) async fn run(member: &Member, held: watch::Receiver<Held>, node: &Json, may_run: bool) {
    let (probes, probing) = watch::channel(None);
    let (reports, health) = watch::channel(None);
    let mut stream = Stream {
        node: node_of(node),
        probes,
        health,
        texts: BTreeMap::new(),
    };
    let streaming = async {
        let mut pause = PAUSE_FIRST;
        loop {
            let now = held.borrow().clone();
            let ended = match sallyport_identity::channel(member, Some(&now)).await {
                Ok(channel) => {
                    pause = PAUSE_FIRST;
                    stream.run(channel).await
                }
                Err(error) => error,
            };
            log::warn("agent", format_args!("health is not told: {ended}"));
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    };
    tokio::join!(streaming, probe::run(probing, reports, may_run));
}

struct Stream {
    node: Node,
    probes: watch::Sender<Option<ReadinessProbe>>,
    health: watch::Receiver<Health>,
    /// Documents that were given: the group, and nothing else.
    texts: BTreeMap<String, String>,
}

impl Stream {
    /// Serves one stream until it ends, and says why it did.
    async fn run(&mut self, channel: Channel) -> String {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let first = DeltaDiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: DOCUMENT.to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        self.texts.clear();
        // the receiver is here: there is room for one
        let _ = requests.send(first).await;
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let opened = client.delta_aggregated_resources(Requests(receiver)).await;
        let mut responses = match opened {
            Ok(opened) => opened.into_inner(),
            Err(status) => return status.message().to_owned(),
        };
        // what is known is news to a new stream
        self.health.mark_changed();
        loop {
            let request = tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => self.take(response),
                    Ok(None) => return "the control process ended the stream".to_owned(),
                    Err(status) => return status.message().to_owned(),
                },
                changed = self.health.changed() => {
                    if changed.is_err() {
                        return "there is no probe any more".to_owned();
                    }
                    match &*self.health.borrow_and_update() {
                        Some(health) => report(health),
                        None => continue,
                    }
                }
            };
            if requests.send(request).await.is_err() {
                return "the stream ended".to_owned();
            }
        }
    }

    /// Takes a response in; the answer to it.
    fn take(&mut self, response: DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
        for name in &response.removed_resources {
            self.texts.remove(name);
        }
        for resource in response.resources {
            let body = resource.resource.unwrap_or_default().value;
            // one that cannot be read is as good as none
            let text = Document::decode(&*body).unwrap_or_default().text;
            self.texts.insert(resource.name, text);
        }
        let files: Vec<(String, String)> = self.texts.clone().into_iter().collect();
        let parsed = sallyport_config::parse(&files);
        let mut groups = parsed.set.workload_groups();
        let probe = groups.next().and_then(|(_, group)| group.probe.clone());
        self.probes.send_if_modified(|known| {
            let changed = *known != probe;
            *known = probe;
            changed
        });
        DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        }
    }
}

/// The report of a state.
fn report(health: &Result<(), String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: HEALTH_INFORMATION.to_owned(),
        error_detail: health.as_ref().err().map(|why| rpc::Status {
            // HTTP's word for it, as Istio's agent has it
            code: 500,
            message: why.clone(),
            details: Vec::new(),
        }),
        ..DeltaDiscoveryRequest::default()
    }
}

/// A node of Envoy's bootstrap as a message, which asks for documents.
fn node_of(node: &Json) -> Node {
    let text = |name: &str| node.get(name).and_then(Json::as_str).unwrap_or_default();
    let mut metadata = fields(node.get("metadata").unwrap_or(&Json::Null));
    let generator = Value {
        kind: Some(Kind::StringValue(GENERATOR.to_owned())),
    };
    metadata.fields.insert("GENERATOR".to_owned(), generator);
    let locality = node.get("locality").unwrap_or(&Json::Null);
    let part = |name: &str| {
        let part = locality.get(name).and_then(Json::as_str);
        part.unwrap_or_default().to_owned()
    };
    Node {
        id: text("id").to_owned(),
        locality: Some(Locality {
            region: part("region"),
            zone: part("zone"),
            sub_zone: part("sub_zone"),
        }),
        cluster: text("cluster").to_owned(),
        metadata: Some(metadata),
        ..Node::default()
    }
}

/// Strings and objects of them: there is nothing else in a node.
fn fields(object: &Json) -> Struct {
    let value = |json: &Json| Value {
        kind: Some(match json {
            Json::String(text) => Kind::StringValue(text.clone()),
            other => Kind::StructValue(fields(other)),
        }),
    };
    let entries = object.as_object().into_iter().flatten();
    Struct {
        fields: entries
            .map(|(name, json)| (name.clone(), value(json)))
            .collect(),
    }
}

struct Requests(mpsc::Receiver<DeltaDiscoveryRequest>);

impl tonic::codegen::tokio_stream::Stream for Requests {
    type Item = DeltaDiscoveryRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
