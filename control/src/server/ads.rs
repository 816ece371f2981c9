//! `AggregatedDiscoveryService`: the two methods as gRPC, and who may open a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sallyport_wire::envoy::envoy::config::core::v3::ControlPlane;
use sallyport_wire::envoy::envoy::service::discovery::v3::{
    self as discovery, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse,
};
use sallyport_wire::envoy::google::protobuf::Any;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request as Call, Response as Answer, Status, Streaming};

use super::Shared;
use super::caller::Connection;
use super::stream::{Message, Method, serve};
use crate::resources::{Resource, TypeUrl};
use crate::session::{Ask, Protocol, Request, Response};

/// Responses between the session and the connection.
const RESPONSES_MAX: usize = 1;

/// The service.
pub(super) struct Discovery(pub(super) Arc<Shared>);

/// Responses of a stream.
pub(crate) struct Responses<T>(mpsc::Receiver<Result<T, Status>>);

impl<T> Responses<T> {
    /// Responses, and where they come from: with the session's own rule of one per type, one that
    /// waits is all that a slow client costs.
    pub(crate) fn channel() -> (mpsc::Sender<Result<T, Status>>, Self) {
        let (sender, receiver) = mpsc::channel(RESPONSES_MAX);
        (sender, Self(receiver))
    }
}

impl<T> Stream for Responses<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

impl Discovery {
    async fn open<M: Method>(
        &self,
        call: Call<Streaming<M::Request>>,
    ) -> Result<Answer<Responses<M::Response>>, Status> {
        let caller = self.0.caller(call.metadata(), call.extensions())?;
        let peer = call.extensions().get::<Connection>().and_then(|c| c.peer);
        let permit = self.0.admission.enter().await.inspect_err(|_| {
            self.0.metrics.refused.add(1);
        })?;
        let (sender, responses) = Responses::channel();
        let shared = Arc::clone(&self.0);
        tokio::spawn(serve::<M>(
            shared,
            (caller, peer),
            call.into_inner(),
            sender,
            permit,
        ));
        Ok(Answer::new(responses))
    }
}

#[tonic::async_trait]
impl discovery::aggregated_discovery_service_server::AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        call: Call<Streaming<DiscoveryRequest>>,
    ) -> Result<Answer<Self::StreamAggregatedResourcesStream>, Status> {
        self.open::<StateOfTheWorld>(call).await
    }

    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn delta_aggregated_resources(
        &self,
        call: Call<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Answer<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open::<Delta>(call).await
    }
}

/// `StreamAggregatedResources`
pub(crate) struct StateOfTheWorld;

impl Method for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const PROTOCOL: Protocol = Protocol::StateOfTheWorld;

    fn open(message: DiscoveryRequest) -> Message {
        let ty = TypeUrl::parse(&message.type_url);
        Message {
            health: Message::health(&message.type_url, message.error_detail.as_ref()),
            node: message.node,
            request: ty.map(|ty| Request {
                ty,
                nonce: message.response_nonce,
                refused: message.error_detail.map(|error| error.message),
                ask: Ask::Names(message.resource_names),
            }),
        }
    }

    fn close(response: Response) -> DiscoveryResponse {
        let resources = response.resources.iter();
        DiscoveryResponse {
            version_info: response.version,
            resources: resources
                .map(|sent| any(response.ty, &sent.resource))
                .collect(),
            type_url: response.ty.as_str().to_owned(),
            nonce: response.nonce,
            control_plane: Some(us()),
            ..DiscoveryResponse::default()
        }
    }
}

/// `DeltaAggregatedResources`
pub(crate) struct Delta;

impl Method for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const PROTOCOL: Protocol = Protocol::Delta;

    fn open(message: DeltaDiscoveryRequest) -> Message {
        let ty = TypeUrl::parse(&message.type_url);
        Message {
            health: Message::health(&message.type_url, message.error_detail.as_ref()),
            node: message.node,
            request: ty.map(|ty| Request {
                ty,
                nonce: message.response_nonce,
                refused: message.error_detail.map(|error| error.message),
                ask: Ask::Change {
                    subscribe: message.resource_names_subscribe,
                    unsubscribe: message.resource_names_unsubscribe,
                    initial: message.initial_resource_versions.into_iter().collect(),
                },
            }),
        }
    }

    fn close(response: Response) -> DeltaDiscoveryResponse {
        let resource = |sent: &crate::session::Sent| discovery::Resource {
            name: sent.resource.name.to_string(),
            version: sent.version.clone(),
            resource: Some(any(response.ty, &sent.resource)),
            ..discovery::Resource::default()
        };
        let removed = response.removed.iter();
        DeltaDiscoveryResponse {
            system_version_info: response.version,
            resources: response.resources.iter().map(resource).collect(),
            type_url: response.ty.as_str().to_owned(),
            removed_resources: removed.map(|name| name.to_string()).collect(),
            nonce: response.nonce,
            control_plane: Some(us()),
            ..DeltaDiscoveryResponse::default()
        }
    }
}

fn any(ty: TypeUrl, resource: &Resource) -> Any {
    Any {
        type_url: ty.as_str().to_owned(),
        value: resource.body.to_vec(),
    }
}

fn us() -> ControlPlane {
    ControlPlane {
        identifier: concat!("sallyport-control/", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}
