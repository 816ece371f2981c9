//! Which clients are let in by their certificates.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use sallyport_config::ir::Pin;
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

use super::trust::{Purpose, Trust, is_unambiguous, names_match};

/// How one server checks its clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    trust: Arc<Trust>,
    subjects: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
    pub(super) rules: Rules,
}

/// What a verified certificate must be beside.
#[derive(Debug)]
pub(super) struct Rules {
    /// One must be shown.
    pub(super) mandatory: bool,
    /// It is an identity of the mesh.
    pub(super) mesh: bool,
    /// It has one of these names; empty for any.
    pub(super) names: Vec<String>,
    /// It has one of these digests; empty for any.
    pub(super) pins: Vec<Pin>,
}

impl ClientVerifier {
    pub(super) fn new(trust: Arc<Trust>, provider: Arc<CryptoProvider>, rules: Rules) -> Self {
        Self {
            subjects: trust.subjects(),
            trust,
            provider,
            rules,
        }
    }
}

/// What becomes of a client that is connected when the rules change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It would be let in now.
    Stays,
    /// Its certificate is of a root that the mesh has replaced. By now it has another one, which it
    /// shows when it connects again, and is given the time for that.
    Parts,
    /// It has no business here any more.
    Goes,
}

impl ClientVerifier {
    /// Whether a client with this chain would be let in now.
    pub(super) fn accepts(&self, chain: &[CertificateDer<'_>]) -> bool {
        self.verdict(chain) == Verdict::Stays
    }

    /// What becomes of a client with this chain.
    pub(super) fn verdict(&self, chain: &[CertificateDer<'_>]) -> Verdict {
        let Some((leaf, rest)) = chain.split_first() else {
            return Verdict::Goes;
        };
        let Err(error) = self.verify_client_cert(leaf, rest, UnixTime::now()) else {
            return Verdict::Stays;
        };
        // the next root may have the name of the one before, whose signature it did not make
        let replaced = matches!(
            error,
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            )
        );
        match replaced && self.rules.mesh {
            true => Verdict::Parts,
            false => Verdict::Goes,
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.rules.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let rules = &self.rules;
        self.trust
            .verify(leaf, intermediates, now, Purpose::Client)?;
        if !rules.names.is_empty() && !names_match(leaf, &rules.names) {
            return Err(CertificateError::NotValidForName.into());
        }
        let pinned = rules.pins.is_empty() || rules.pins.iter().any(|pin| is_pinned(leaf, pin));
        if !pinned || rules.mesh && !is_unambiguous(leaf) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
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

fn is_pinned(leaf: &CertificateDer<'_>, pin: &Pin) -> bool {
    match pin {
        Pin::Certificate(wanted) => Sha256::digest(leaf).as_slice() == wanted,
        Pin::Key(wanted) => EndEntityCert::try_from(leaf).is_ok_and(|leaf| {
            let key = leaf.subject_public_key_info();
            Sha256::digest(&key).as_slice() == wanted
        }),
    }
}

#[cfg(test)]
mod tests;
