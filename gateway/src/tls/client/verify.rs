//! Whether the peer is the upstream that was meant: a chain that leads to a root, not revoked, and
//! a name that is expected (RFC 5280, RFC 9525; Envoy's `match_typed_subject_alt_names`).
//!
//! The names are the cluster's, not the one that was sent as server name: proxies of the mesh are
//! asked for by `outbound_.…` and known by their SPIFFE identities.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sallyport_config::ir::PeerNames;

use crate::tls::trust::{Purpose, Trust, is_unambiguous, names_match};

/// How one cluster's peers are checked.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    /// Who may have signed; `None` for anybody.
    pub(super) trust: Option<Arc<Trust>>,
    pub(super) names: PeerNames,
    /// They are identities of the mesh.
    pub(super) mesh: bool,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        trust.verify(leaf, intermediates, now, Purpose::Server)?;
        let matches = match &self.names {
            PeerNames::Any => true,
            PeerNames::ServerName => names_match(leaf, &[server_name.to_str()]),
            PeerNames::OneOf(names) => names_match(leaf, names),
        };
        if self.mesh && !is_unambiguous(leaf) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        if matches {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
