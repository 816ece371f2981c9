//! `AggregatedDiscoveryService`: the two methods, and who may open a stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use sallyport_wire::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DiscoveryRequest,
};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;

use super::Shared;
use super::caller::Connection;
use super::grpc::{Answer, answer, requests};
use super::stream::{Message, Method, serve};
use crate::resources::TypeUrl;
use crate::session::{Ask, Protocol, Request};

/// Paths of the methods.
const STATE_OF_THE_WORLD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
const DELTA: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// The service, for a server to route to.
#[derive(Clone)]
pub(super) struct Discovery(pub(super) Arc<Shared>);

impl tonic::server::NamedService for Discovery {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for Discovery {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let opened = match request.uri().path() {
                STATE_OF_THE_WORLD => service.open::<StateOfTheWorld>(request).await,
                DELTA => service.open::<Delta>(request).await,
                _ => Err(Status::unimplemented("no such method")),
            };
            Ok(opened.unwrap_or_else(Status::into_http))
        })
    }
}

impl Discovery {
    async fn open<M: Method>(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, Status> {
        let (head, body) = request.into_parts();
        let metadata = MetadataMap::from_headers(head.headers);
        let caller = self.0.caller(&metadata, &head.extensions)?;
        let peer = head.extensions.get::<Connection>().and_then(|c| c.peer);
        let permit = self.0.admission.enter().await.inspect_err(|_| {
            self.0.metrics.refused.add(1);
        })?;
        let requests = requests::<M>(body);
        let (sender, response) = answer::<M>();
        let shared = Arc::clone(&self.0);
        tokio::spawn(serve::<M>(shared, (caller, peer), requests, sender, permit));
        Ok(response)
    }
}

/// `StreamAggregatedResources`
pub(crate) struct StateOfTheWorld;

impl Method for StateOfTheWorld {
    type Request = DiscoveryRequest;
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
}

/// `DeltaAggregatedResources`
pub(crate) struct Delta;

impl Method for Delta {
    type Request = DeltaDiscoveryRequest;
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
}
