//! Building the client's side of one cluster.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use sallyport_config::ir::{ClientTls, ClientTlsMode, Cluster, Roots, UpstreamTls};
use sallyport_core::peer::own_uris;

use super::verify::PeerVerifier;
use super::{ClientSide, Security};
use crate::tls::build::preferred;
use crate::tls::material::Material;

/// Fingerprints below are not of settings.
const FINGERPRINT_MIN: u64 = 16;

/// Builds the clusters of one snapshot.
pub(in crate::tls) struct Builder {
    provider: Arc<CryptoProvider>,
}

impl Builder {
    pub(in crate::tls) fn new() -> Self {
        Self {
            provider: Arc::new(preferred()),
        }
    }

    /// TLS towards a cluster.
    ///
    /// # Errors
    /// Why it must be refused.
    pub(in crate::tls) fn cluster(
        &self,
        material: &mut Material<'_>,
        cluster: &Cluster,
    ) -> Result<Security, String> {
        match &cluster.tls {
            UpstreamTls::Plain => Ok(Security::Plain),
            UpstreamTls::Always(tls) => Ok(Security::Always(self.side(material, tls)?)),
            UpstreamTls::ByEndpoint(tls) => Ok(Security::ByEndpoint(self.side(material, tls)?)),
            UpstreamTls::Refused(why) => Err(why.clone()),
        }
    }

    fn side(
        &self,
        material: &mut Material<'_>,
        tls: &Arc<ClientTls>,
    ) -> Result<Arc<ClientSide>, String> {
        let trust = match &tls.roots {
            Roots::Unchecked => None,
            roots => Some(material.trust(roots, tls.crl.as_ref())?),
        };
        let verifier = Arc::new(PeerVerifier {
            trust,
            names: tls.names.clone(),
            mesh: tls.mode == ClientTlsMode::IstioMutual,
            provider: Arc::clone(&self.provider),
        });
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS12, &TLS13])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut hasher = DefaultHasher::new();
        tls.hash(&mut hasher);
        let mut own_name = None;
        let mut config = match tls.certificate {
            None => builder.with_no_client_auth(),
            Some(id) => {
                let key = material.key(id)?;
                material
                    .certificate(id)
                    .map(|c| &c.source)
                    .hash(&mut hasher);
                let leaf = key.cert.first();
                own_name = leaf.and_then(|leaf| own_uris(leaf).into_iter().next());
                let own = SingleCertAndKey::from(rustls::sign::CertifiedKey::clone(&key));
                builder.with_client_cert_resolver(Arc::new(own))
            }
        };
        // Each worker remembers sessions of its own.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(ClientSide {
            // Smaller ones mean that there is no TLS.
            fingerprint: hasher.finish().max(FINGERPRINT_MIN),
            settings: Arc::clone(tls),
            config: Arc::new(config),
            own: own_name.unwrap_or_default().into(),
        }))
    }
}
