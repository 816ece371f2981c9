//! Health over the wire: Istio's report to the control process, and the question that gRPC servers
//! answer (`grpc.health.v1.Health/Check`). Written by hand, as it is two messages.

use tonic::body::Body;
use tonic::codegen::{StdError, http};

/// Type of requests by which an agent says how its workload is: without `error_detail` it is
/// healthy (Istio `pkg/istio-agent/health`).
pub const HEALTH_INFORMATION: &str = "type.googleapis.com/istio.v1.HealthInformation";
/// Path of the question.
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// The status that means health.
const SERVING: i32 = 1;

/// Asks how a service is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HealthCheckRequest {
    /// The service; empty for the server as a whole.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// How it is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HealthCheckResponse {
    /// 1 is healthy.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Whether a service says that it serves.
///
/// # Errors
/// The server cannot be reached, or does not know the service.
pub async fn serves<C>(channel: C, service: &str) -> Result<bool, tonic::Status>
where
    C: tonic::client::GrpcService<Body>,
    C::Error: Into<StdError>,
    C::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <C::ResponseBody as tonic::codegen::Body>::Error: Into<StdError> + Send,
{
    let mut grpc = tonic::client::Grpc::new(channel);
    let ready = grpc.ready().await;
    ready.map_err(|error| tonic::Status::unavailable(error.into().to_string()))?;
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let path = http::uri::PathAndQuery::from_static(CHECK);
    let request = tonic::Request::new(HealthCheckRequest {
        service: service.to_owned(),
    });
    let answer = grpc.unary(request, path, codec).await?;
    Ok(answer.into_inner().status == SERVING)
}
