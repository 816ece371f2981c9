//! Streams of xDS as gRPC: requests are read by tonic, responses are written by [`Frames`].

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;

use http::header::{CONTENT_TYPE, HeaderValue};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codec::{DecodeBuf, Decoder};
use tonic::{Status, Streaming};

use super::frames::Frames;
use super::stream::Method;
use crate::session::Response;

/// Bytes of a request of a stream: Istio's bound.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Responses between the session and the connection: with the session's own rule of one per type,
/// one that waits is all that a slow client costs.
const RESPONSES_MAX: usize = 1;

/// What a service answers, sooner or later.
pub(crate) type Answer =
    Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;
/// Where a stream's responses go; an error ends it.
pub(crate) type Responses = mpsc::Sender<Result<Response, Status>>;

/// Requests of a stream.
pub(crate) fn requests<M: Method>(body: Body) -> Streaming<M::Request> {
    let reader = Reader(PhantomData::<M>);
    Streaming::new_request(reader, body, None, Some(REQUEST_BYTES_MAX))
}

/// The answer that carries a stream's responses, and where they go in.
pub(crate) fn answer<M: Method>() -> (Responses, http::Response<Body>) {
    let (sender, responses) = mpsc::channel(RESPONSES_MAX);
    let mut response = http::Response::new(Body::new(Frames::new(M::PROTOCOL, responses)));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    (sender, response)
}

struct Reader<M>(PhantomData<M>);

impl<M: Method> Decoder for Reader<M> {
    type Item = M::Request;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<M::Request>, Status> {
        let message = M::Request::decode(bytes);
        let wrong = |error: prost::DecodeError| Status::internal(error.to_string());
        message.map(Some).map_err(wrong)
    }
}
