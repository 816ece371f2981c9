//! `CreateCertificate` on the encrypted port: who may have which certificate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sallyport_wire::istio_ca::{
    IstioCertificateRequest, IstioCertificateResponse, IstioCertificateService,
};
use tonic::{Request, Response, Status};

use super::Shared;
use super::caller::Caller;
use crate::identity::Identity;
use crate::{ca, log};

/// The service.
pub(super) struct Certificates(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl IstioCertificateService for Certificates {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let metrics = &self.0.metrics;
        metrics.csr.add(1);
        let created = self.create(&request).await;
        match &created {
            Ok(_) => metrics.issued.add(1),
            Err(status) => log::warn("ca", format_args!("refused: {}", status.message())),
        }
        created.map(Response::new)
    }
}

impl Certificates {
    async fn create(
        &self,
        request: &Request<IstioCertificateRequest>,
    ) -> Result<IstioCertificateResponse, Status> {
        let identity = self.identity(request)?;
        let message = request.get_ref();
        // nobody is trusted to ask in another's name (Istio: CA_TRUSTED_NODE_ACCOUNTS)
        let fields = message.metadata.iter().flat_map(|m| m.fields.keys());
        if fields
            .into_iter()
            .any(|name| name == "ImpersonatedIdentity")
        {
            return Err(Status::permission_denied(
                "nobody may ask in another's name",
            ));
        }
        let ttl = u64::try_from(message.validity_duration)
            .ok()
            .filter(|ttl| *ttl > 0);
        let ttl = ttl.map(Duration::from_secs);
        let authority = Arc::clone(&self.0.authority()?);
        let (csr, holder) = (message.csr.clone(), identity.clone());
        let signing = move || authority.sign(&csr, &holder, ttl);
        let signed = tokio::task::spawn_blocking(signing).await;
        let signed = signed.map_err(|_| Status::internal("signing failed"))?;
        let issued = signed.map_err(|error| self.unreadable(&error))?;
        let seconds = issued.ttl.as_secs();
        log::info("ca", format_args!("{identity} certified for {seconds} s"));
        Ok(IstioCertificateResponse {
            cert_chain: issued.chain,
        })
    }

    fn identity(&self, request: &Request<IstioCertificateRequest>) -> Result<Identity, Status> {
        match self.0.caller(request.metadata(), request.extensions())? {
            Caller::Certificate(identity) => Ok(identity),
            Caller::Token(claims) => {
                let key = ca::public_key(&request.get_ref().csr);
                let key = key.map_err(|error| self.unreadable(&error))?;
                let bound = self.0.used.bind(&claims, &key, seconds_now());
                bound.map_err(|error| {
                    self.0.metrics.authentication_failures.add(1);
                    Status::unauthenticated(error.to_string())
                })?;
                Ok(claims.identity)
            }
            Caller::Unproven => Err(Status::unauthenticated("show a token or a certificate")),
        }
    }

    fn unreadable(&self, error: &ca::CaError) -> Status {
        self.0.metrics.csr_errors.add(1);
        Status::invalid_argument(error.to_string())
    }
}

/// Seconds since 1970.
pub(super) fn seconds_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
