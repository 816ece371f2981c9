//! `SecretDiscoveryService` on a unix socket: Envoy's own certificate, the roots of the mesh, and
//! files of the host that rules name. The key is in memory only, unless it is to be kept for the
//! next start.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sallyport_identity::Held;
use sallyport_wire::envoy::envoy::config::core::v3::{DataSource, data_source::Specifier};
use sallyport_wire::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::files::Files;
use crate::lower::{OWN, ROOTS};
use crate::resources::{Resource, Resources, TypeUrl};
use crate::server::ads::{Delta, StateOfTheWorld};
use crate::server::grpc::{Answer, Responses, answer, requests};
use crate::server::stream::Method;
use crate::session::Session;

/// Paths of the methods.
const STATE_OF_THE_WORLD: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";
const DELTA: &str = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets";

/// The secrets of a certificate.
pub(super) fn resources(held: &Held) -> Resources {
    let mut all = Resources::default();
    all.insert(TypeUrl::Secret, pair(OWN, &held.chain, &held.key));
    all.insert(TypeUrl::Secret, roots(ROOTS, &held.roots));
    all
}

/// A certificate with its key.
pub(super) fn pair(name: &str, chain: &str, key: &str) -> Resource {
    let pair = TlsCertificate {
        certificate_chain: inline(chain),
        private_key: inline(key),
        ..TlsCertificate::default()
    };
    secret(name, secret::Type::TlsCertificate(pair))
}

/// Authorities.
pub(super) fn roots(name: &str, roots: &str) -> Resource {
    let context = CertificateValidationContext {
        trusted_ca: inline(roots),
        ..CertificateValidationContext::default()
    };
    secret(name, secret::Type::ValidationContext(context))
}

fn inline(text: &str) -> Option<DataSource> {
    Some(DataSource {
        specifier: Some(Specifier::InlineBytes(text.as_bytes().to_vec())),
        ..DataSource::default()
    })
}

fn secret(name: &str, ty: secret::Type) -> Resource {
    let secret = Secret {
        name: name.to_owned(),
        r#type: Some(ty),
    };
    Resource::new(name, &secret)
}

/// Serves the socket. Whoever may open it is given the key, so its directory is private.
pub(super) fn serve(socket: &Path, secrets: watch::Receiver<Arc<Resources>>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot listen at {}: {error}", socket.display());
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    let server = tonic::transport::Server::builder().add_service(Secrets(secrets));
    tokio::spawn(server.serve_with_incoming(Incoming(listener)));
    Ok(())
}

struct Incoming(UnixListener);

impl Stream for Incoming {
    type Item = std::io::Result<tokio::net::UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_accept(cx)
            .map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

#[derive(Clone)]
struct Secrets(watch::Receiver<Arc<Resources>>);

impl tonic::server::NamedService for Secrets {
    const NAME: &'static str = "envoy.service.secret.v3.SecretDiscoveryService";
}

impl Service<http::Request<Body>> for Secrets {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                STATE_OF_THE_WORLD => service.open::<StateOfTheWorld>(request),
                DELTA => service.open::<Delta>(request),
                _ => Status::unimplemented("use a stream").into_http(),
            })
        })
    }
}

impl Secrets {
    fn open<M: Method>(&self, request: http::Request<Body>) -> http::Response<Body> {
        let (sender, response) = answer::<M>();
        let secrets = self.0.clone();
        tokio::spawn(async move {
            let requests = requests::<M>(request.into_body());
            if let Err(status) = run::<M>(requests, secrets, &sender).await {
                let _ = sender.send(Err(status)).await;
            }
        });
        response
    }
}

/// Serves a stream until it ends.
async fn run<M: Method>(
    mut requests: Streaming<M::Request>,
    mut secrets: watch::Receiver<Arc<Resources>>,
    responses: &Responses,
) -> Result<(), Status> {
    let mut session = Session::new(M::PROTOCOL, secrets.borrow_and_update().clone());
    session.grown();
    let mut files = Files::default();
    loop {
        while let Some(response) = session.poll() {
            if responses.send(Ok(response)).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            message = requests.message() => {
                let Some(message) = message? else {
                    return Ok(());
                };
                let Some(request) = M::open(message).request else {
                    continue;
                };
                if files.want(&request.ask) {
                    session.update(files.beside(&secrets.borrow()));
                }
                let received = session.receive(request);
                received.map_err(|v| Status::resource_exhausted(v.to_string()))?;
            }
            changed = secrets.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                session.update(files.beside(&secrets.borrow_and_update()));
            }
            () = files.due() => {
                if files.look() {
                    session.update(files.beside(&secrets.borrow()));
                }
            }
        }
    }
}
