//! `istio.v1.auth.IstioCertificateService`: how Istio's agents and ours get certificates.
//!
//! Written by hand: two messages and one method are not worth a compiler of protobuf in the build.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{Service, StdError, http};

/// Path of the only method.
const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// A request for a certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// The signing request, as PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// How long it is to be good, in seconds; 0 leaves that to the server.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// `CertSigner` and `ImpersonatedIdentity`.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<prost_types::Struct>,
}

/// The certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM: the leaf, the intermediates, and all roots in the last element.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// What serves the method.
#[tonic::async_trait]
pub trait IstioCertificateService: Send + Sync + 'static {
    /// Issues a certificate to the caller.
    async fn create_certificate(
        &self,
        request: tonic::Request<IstioCertificateRequest>,
    ) -> Result<tonic::Response<IstioCertificateResponse>, tonic::Status>;
}

/// The service, for a server to route to.
#[derive(Debug)]
pub struct IstioCertificateServer<T> {
    inner: Arc<T>,
    bytes_max: usize,
}

impl<T> IstioCertificateServer<T> {
    /// Serves requests of at most `bytes_max` bytes.
    pub fn new(inner: T, bytes_max: usize) -> Self {
        Self {
            inner: Arc::new(inner),
            bytes_max,
        }
    }
}

impl<T> Clone for IstioCertificateServer<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            bytes_max: self.bytes_max,
        }
    }
}

impl<T> tonic::server::NamedService for IstioCertificateServer<T> {
    const NAME: &'static str = "istio.v1.auth.IstioCertificateService";
}

struct Create<T>(Arc<T>);

impl<T: IstioCertificateService> tonic::server::UnaryService<IstioCertificateRequest>
    for Create<T>
{
    type Response = IstioCertificateResponse;
    type Future = tonic::codegen::BoxFuture<tonic::Response<Self::Response>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<IstioCertificateRequest>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.create_certificate(request).await })
    }
}

impl<T, B> Service<http::Request<B>> for IstioCertificateServer<T>
where
    T: IstioCertificateService,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = Create(Arc::clone(&self.inner));
        let bytes_max = self.bytes_max;
        Box::pin(async move {
            if request.uri().path() != CREATE {
                return Ok(tonic::Status::unimplemented("no such method").into_http());
            }
            let codec = tonic_prost::ProstCodec::default();
            let mut grpc = tonic::server::Grpc::new(codec)
                .apply_max_message_size_config(Some(bytes_max), None);
            Ok(grpc.unary(method, request).await)
        })
    }
}

/// Asks a server for a certificate over a channel.
///
/// # Errors
/// The server cannot be reached, or refuses.
pub async fn create_certificate<C>(
    channel: C,
    request: tonic::Request<IstioCertificateRequest>,
) -> Result<IstioCertificateResponse, tonic::Status>
where
    C: tonic::client::GrpcService<Body>,
    C::Error: Into<StdError>,
    C::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <C::ResponseBody as tonic::codegen::Body>::Error: Into<StdError> + Send,
{
    let mut grpc = tonic::client::Grpc::new(channel);
    let ready = grpc.ready().await;
    ready.map_err(|error| tonic::Status::unavailable(error.into().to_string()))?;
    let codec = tonic_prost::ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static(CREATE);
    Ok(grpc.unary(request, path, codec).await?.into_inner())
}
