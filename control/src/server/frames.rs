//! Responses as they go over the wire: gRPC's frames and protobuf, written by hand so that the bytes
//! of a resource are never copied. Thousands of streams are sent the same resources at the same
//! time, and a slow one holds references to them, not copies.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tokio::sync::mpsc;
use tonic::Status;

use crate::resources::TypeUrl;
use crate::session::{Protocol, Response, Sent};

/// Shorter bodies are copied: a frame of their own would cost more.
const SHARED_MIN: usize = 512;
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Who we are, as clients show it.
const IDENTIFIER: &str = concat!("sallyport-control/", env!("CARGO_PKG_VERSION"));

/// Who we are, in the messages of the two protocols, which are else alike: version 1, resources 2,
/// type 4, nonce 5 (`envoy/service/discovery/v3/discovery.proto`).
fn control_plane_field(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::StateOfTheWorld => 6,
        Protocol::Delta => 7,
    }
}
/// Names that are gone, in the delta protocol.
const REMOVED: u32 = 6;

/// Bytes in the order in which they are sent.
#[derive(Debug)]
struct Chunks {
    done: VecDeque<Bytes>,
    open: Vec<u8>,
    length: usize,
}

impl Chunks {
    fn new() -> Self {
        Self {
            done: VecDeque::new(),
            open: Vec::new(),
            length: 0,
        }
    }

    /// A length-delimited field's head.
    fn head(&mut self, tag: u32, length: usize) {
        encode_key(tag, WireType::LengthDelimited, &mut self.open);
        encode_varint(length as u64, &mut self.open);
        self.length += field_len(tag, length) - length;
    }

    /// A text; an empty one is not written.
    fn text(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            self.head(tag, text.len());
            self.open.extend_from_slice(text.as_bytes());
            self.length += text.len();
        }
    }

    /// Bytes that others send as well.
    fn shared(&mut self, body: &Bytes) {
        self.length += body.len();
        if body.len() < SHARED_MIN {
            self.open.extend_from_slice(body);
        } else {
            self.close();
            self.done.push_back(body.clone());
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let mut open = mem::take(&mut self.open);
            open.shrink_to_fit();
            self.done.push_back(open.into());
        }
    }

    /// All of them behind the prefix of a message.
    fn framed(mut self) -> VecDeque<Bytes> {
        self.close();
        let mut prefix = Vec::with_capacity(PREFIX);
        prefix.push(0);
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        prefix.extend_from_slice(&length.to_be_bytes());
        if let Some(first) = self.done.front_mut()
            && first.len() < SHARED_MIN
        {
            prefix.extend_from_slice(first);
            *first = prefix.into();
        } else {
            self.done.push_front(prefix.into());
        }
        self.done
    }
}

/// Bytes of a field with its head.
fn field_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

/// Bytes of a text's field, none if it is empty.
fn text_len(tag: u32, text: &str) -> usize {
    match text.len() {
        0 => 0,
        length => field_len(tag, length),
    }
}

/// `google.protobuf.Any`, with its head.
fn any(out: &mut Chunks, tag: u32, ty: TypeUrl, body: &Bytes) {
    out.head(tag, any_len(ty, body));
    out.text(1, ty.as_str());
    if !body.is_empty() {
        out.head(2, body.len());
        out.shared(body);
    }
}

fn any_len(ty: TypeUrl, body: &Bytes) -> usize {
    let value = match body.len() {
        0 => 0,
        length => field_len(2, length),
    };
    text_len(1, ty.as_str()) + value
}

/// `envoy.service.discovery.v3.Resource`, with its head.
fn resource(out: &mut Chunks, ty: TypeUrl, sent: &Sent) {
    let (name, body) = (&*sent.resource.name, &sent.resource.body);
    let length = text_len(3, name) + text_len(1, &sent.version) + field_len(2, any_len(ty, body));
    out.head(2, length);
    out.text(3, name);
    out.text(1, &sent.version);
    any(out, 2, ty, body);
}

/// A response as one message of its protocol.
pub(super) fn frames(protocol: Protocol, response: &Response) -> VecDeque<Bytes> {
    let mut out = Chunks::new();
    out.text(1, &response.version);
    out.text(4, response.ty.as_str());
    out.text(5, &response.nonce);
    let identifier = text_len(1, IDENTIFIER);
    out.head(control_plane_field(protocol), identifier);
    out.text(1, IDENTIFIER);
    for sent in &response.resources {
        match protocol {
            Protocol::StateOfTheWorld => any(&mut out, 2, response.ty, &sent.resource.body),
            Protocol::Delta => resource(&mut out, response.ty, sent),
        }
    }
    if protocol == Protocol::Delta {
        for name in &response.removed {
            out.text(REMOVED, name);
        }
    }
    out.framed()
}

/// Responses of a stream as a body, with the status at its end.
pub(super) struct Frames {
    protocol: Protocol,
    responses: mpsc::Receiver<Result<Response, Status>>,
    pending: VecDeque<Bytes>,
    ended: bool,
}

impl Frames {
    pub(super) fn new(
        protocol: Protocol,
        responses: mpsc::Receiver<Result<Response, Status>>,
    ) -> Self {
        Self {
            protocol,
            responses,
            pending: VecDeque::new(),
            ended: false,
        }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(bytes) = self.pending.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let status = match ready!(self.responses.poll_recv(cx)) {
                Some(Ok(response)) => {
                    self.pending = frames(self.protocol, &response);
                    continue;
                }
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            self.ended = true;
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(match status.add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(status) => Err(status),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message as _;
    use sallyport_wire::envoy::envoy::service::discovery::v3::{
        DeltaDiscoveryResponse, DiscoveryResponse,
    };

    use super::*;
    use crate::resources::{Resource, Version};

    /// A response with bodies of these lengths.
    fn response(lengths: &[usize]) -> Response {
        let sent = |(at, length): (usize, &usize)| {
            let body = vec![b'x'; *length];
            let resource = Resource {
                name: format!("r{at}").into(),
                version: Version::of(&body),
                body: body.into(),
            };
            Sent {
                version: resource.version.to_string(),
                resource: Arc::new(resource),
            }
        };
        Response {
            ty: TypeUrl::Cluster,
            nonce: "7".to_owned(),
            version: "v".to_owned(),
            resources: lengths.iter().enumerate().map(sent).collect(),
            removed: vec!["gone".into(), "away".into()],
        }
    }

    /// The one message that frames carry.
    fn message(frames: VecDeque<Bytes>) -> Vec<u8> {
        let whole: Vec<u8> = frames.iter().flatten().copied().collect();
        assert_eq!(whole[0], 0, "it is not compressed");
        let length = u32::from_be_bytes(whole[1..5].try_into().unwrap());
        assert_eq!(length as usize, whole.len() - 5);
        whole[5..].to_vec()
    }

    #[test]
    fn what_is_written_is_what_protobuf_reads() {
        for lengths in [
            &[][..],
            &[0],
            &[1, 127, 128, 300],
            &[SHARED_MIN - 1, SHARED_MIN, 20_000, 3, 70_000],
        ] {
            let given = response(lengths);
            let text = message(frames(Protocol::Delta, &given));
            let delta = DeltaDiscoveryResponse::decode(&*text).unwrap();
            assert_eq!(delta.encoded_len(), text.len(), "nothing is unknown");
            assert_eq!(delta.system_version_info, "v");
            assert_eq!(
                (delta.nonce.as_str(), delta.removed_resources.len()),
                ("7", 2)
            );
            assert_eq!(delta.control_plane.unwrap().identifier, IDENTIFIER);
            assert_eq!(delta.resources.len(), lengths.len());
            for (read, sent) in delta.resources.iter().zip(&given.resources) {
                assert_eq!(
                    (&*read.name, &read.version),
                    (&*sent.resource.name, &sent.version)
                );
                let any = read.resource.as_ref().unwrap();
                assert_eq!(any.type_url, TypeUrl::Cluster.as_str());
                assert_eq!(any.value, sent.resource.body);
            }
            let text = message(frames(Protocol::StateOfTheWorld, &given));
            let whole = DiscoveryResponse::decode(&*text).unwrap();
            assert_eq!(whole.encoded_len(), text.len(), "nothing is unknown");
            assert_eq!(
                (whole.version_info.as_str(), whole.nonce.as_str()),
                ("v", "7")
            );
            assert_eq!(whole.control_plane.unwrap().identifier, IDENTIFIER);
            let read = whole.resources.iter().map(|any| any.value.len());
            assert!(read.eq(lengths.iter().copied()));
        }
    }

    #[test]
    fn bodies_are_sent_from_where_they_are() {
        let given = response(&[10, 4_000]);
        let body = &given.resources[1].resource.body;
        let frames = frames(Protocol::Delta, &given);
        assert!(frames.iter().any(|frame| frame.as_ptr() == body.as_ptr()));
        let copied: usize = frames.iter().map(Bytes::len).sum::<usize>() - body.len();
        assert!(copied < 1_000, "{copied}");
    }
}
