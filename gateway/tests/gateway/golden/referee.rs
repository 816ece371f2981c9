//! An authorizer over gRPC: refuses requests that ask for it, and connections that carry bytes.

use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message as _;
use prost::bytes::Bytes;
use sallyport_wire::envoy::envoy::service::auth::v3::check_response::HttpResponse;
use sallyport_wire::envoy::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use sallyport_wire::envoy::envoy::r#type::v3::HttpStatus;
use sallyport_wire::envoy::google::rpc::Status;

use super::{REFUSAL, REFUSE};

/// Path of the one method.
pub(super) const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";
/// `PERMISSION_DENIED`
const DENIED: i32 = 7;
/// What stands before a message.
const FRAME_BYTES: usize = 5;

/// Answers one call.
pub(super) async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    let check = CheckRequest::decode(&bytes[FRAME_BYTES..]).unwrap();
    let message = verdict(check).encode_to_vec();
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let head = Response::builder().header("content-type", "application/grpc");
    let mut send = respond.send_response(head.body(()).unwrap(), false)?;
    send.send_data(framed.into(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    send.send_trailers(trailers)
}

fn verdict(check: CheckRequest) -> CheckResponse {
    let request = check.attributes.and_then(|all| all.request);
    let refuse = match request.and_then(|request| request.http) {
        Some(http) => http
            .headers
            .get(REFUSE)
            .map(|status| status.parse().unwrap()),
        // of bytes nothing more is known
        None => Some(403),
    };
    let (code, said) = match refuse {
        None => (0, HttpResponse::OkResponse(OkHttpResponse::default())),
        Some(code) => {
            let denied = DeniedHttpResponse {
                status: Some(HttpStatus { code }),
                body: REFUSAL.to_owned(),
                ..DeniedHttpResponse::default()
            };
            (DENIED, HttpResponse::DeniedResponse(denied))
        }
    };
    CheckResponse {
        status: Some(Status {
            code,
            ..Status::default()
        }),
        http_response: Some(said),
        ..CheckResponse::default()
    }
}
