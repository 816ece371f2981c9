//! The delta protocol's messages, read without looking into resources, and gRPC's frames.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

/// `type.googleapis.com/envoy.…`
pub(super) const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// Endpoints.
pub(super) const ENDPOINTS: &str =
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// Listeners.
pub(super) const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// Route tables.
pub(super) const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// All of them.
pub(super) const TYPES: [&str; 4] = [CLUSTERS, ENDPOINTS, LISTENERS, ROUTES];

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    /// What is new.
    #[prost(message, repeated, tag = "2")]
    pub(super) resources: Vec<Resource>,
    /// Its type.
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    /// What an answer names.
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
}

/// `envoy.service.discovery.v3.Resource`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    /// Its version.
    #[prost(string, tag = "1")]
    pub(super) version: String,
    /// The message, unread.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) resource: Bytes,
    /// Its name.
    #[prost(string, tag = "3")]
    pub(super) name: String,
}

/// A message as a frame of gRPC.
pub(super) fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(length + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// The next whole message of what came.
pub(super) fn unframe(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = buffer.get(1..5)?.iter();
    let length = length.fold(0, |length, byte| length << 8 | usize::from(*byte));
    if buffer.len() < length + 5 {
        return None;
    }
    buffer.advance(5);
    Some(buffer.split_to(length).freeze())
}
