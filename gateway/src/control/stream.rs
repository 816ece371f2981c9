//! One stream: requests out, responses in, each judged before it is answered.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use sallyport_wire::envoy::envoy::config::core::v3::Node;
use sallyport_wire::envoy::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use sallyport_wire::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;

use super::holdings::{Holdings, TYPES, answer};
use super::{Status, Update};
use crate::log;

/// Bytes of a response: all objects of a mesh may come at once.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Requests that wait: one of a type, and one answer.
const REQUESTS_MAX: usize = 4;

/// What streams need, and what they leave behind for the next one.
pub(super) struct Stream {
    pub(super) node: Node,
    pub(super) holdings: Holdings,
    pub(super) updates: mpsc::Sender<Update>,
    pub(super) status: Rc<Status>,
}

impl Stream {
    /// Serves one stream until it ends, and says why it did.
    pub(super) async fn run(&mut self, channel: Channel) -> String {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        for (index, ty) in TYPES.into_iter().enumerate() {
            let node = (index == 0).then(|| self.node.clone());
            if requests.send(self.holdings.ask(ty, node)).await.is_err() {
                return "the stream ended at once".to_owned();
            }
        }
        let client = AggregatedDiscoveryServiceClient::new(channel);
        let mut client = client.max_decoding_message_size(RESPONSE_BYTES_MAX);
        let opened = client.delta_aggregated_resources(Requests(receiver)).await;
        let mut responses = match opened {
            Ok(opened) => opened.into_inner(),
            Err(status) => return refusal(&status),
        };
        self.status.connected();
        log::info("control", "connected");
        loop {
            let response = match responses.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return "the control process ended the stream".to_owned(),
                Err(status) => return refusal(&status),
            };
            let (ty, nonce) = (response.type_url.clone(), response.nonce.clone());
            let refused = self.judge(response).await;
            if let Some(why) = &refused {
                log::warn("control", format_args!("refused: {why}"));
            }
            let count = self.holdings.documents().count();
            self.status.judged(count, refused.as_deref());
            if requests.send(answer(ty, nonce, refused)).await.is_err() {
                return "the stream ended".to_owned();
            }
        }
    }

    /// Takes a response in and has it compiled; why it is refused.
    async fn judge(&mut self, response: DeltaDiscoveryResponse) -> Option<String> {
        let taken = self.holdings.take(response);
        if taken == Ok(false) {
            return None;
        }
        let (reply, verdict) = oneshot::channel();
        let documents = self.holdings.documents().cloned().collect();
        let update = Update::Documents(documents, reply);
        // without an answer the process is at its end
        let _ = self.updates.send(update).await;
        let refused = verdict.await.unwrap_or_default();
        taken.err().or(refused)
    }
}

fn refusal(status: &tonic::Status) -> String {
    format!("{}: {}", status.code(), status.message())
}

struct Requests(mpsc::Receiver<DeltaDiscoveryRequest>);

impl tonic::codegen::tokio_stream::Stream for Requests {
    type Item = DeltaDiscoveryRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
