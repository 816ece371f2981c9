//! Whom we believe: authorities, what they revoked, and the names in certificates. The same for
//! clients and for upstreams.

use std::fmt;

use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::{CertificateError, DistinguishedName, Error};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, ServerName, TrustAnchor, UnixTime,
};
use sallyport_issuers::system_bundle;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// By a server, to us.
    Server,
    /// By a client, to us.
    Client,
}

/// Authorities, and what they revoked.
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    revoked: Vec<CertRevocationList<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("anchors", &self.anchors.len())
            .field("revoked", &self.revoked.len())
            .finish_non_exhaustive()
    }
}

impl Trust {
    /// From PEM texts of authorities and of revocation lists.
    ///
    /// # Errors
    /// One of them cannot be read, or there is none.
    pub(super) fn parse(roots: &[u8], crl: Option<&[u8]>) -> Result<Self, String> {
        let anchor = |certificate: Result<CertificateDer<'_>, _>| {
            let certificate = certificate.map_err(|error| format!("CA: {error}"))?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate);
            let anchor = anchor.map_err(|error| format!("CA: {error}"))?;
            Ok(anchor.to_owned())
        };
        let anchors = CertificateDer::pem_slice_iter(roots).map(anchor);
        let trust = Self {
            anchors: anchors.collect::<Result<_, String>>()?,
            revoked: crl.map(lists).transpose()?.unwrap_or_default(),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
        };
        if trust.anchors.is_empty() {
            return Err("CA: no CERTIFICATE block".to_owned());
        }
        Ok(trust)
    }

    /// The authorities that the operating system trusts; those that cannot be read are left out,
    /// because nobody here chose them.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn system(crl: Option<&[u8]>) -> Result<Self, String> {
        let text = system_bundle().ok_or("the system has no bundle of authorities")?;
        let anchors = CertificateDer::pem_slice_iter(&text).filter_map(|certificate| {
            let certificate = certificate.ok()?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate).ok()?;
            Some(anchor.to_owned())
        });
        Ok(Self {
            anchors: anchors.collect(),
            revoked: crl.map(lists).transpose()?.unwrap_or_default(),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
        })
    }

    /// Whether a chain leads to an authority, is valid now, and was not revoked. As Istio tells
    /// Envoy, only the leaf is looked up in revocation lists; one whose authority has no list, or
    /// an outdated one, is refused.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        purpose: Purpose,
    ) -> Result<(), Error> {
        let leaf = EndEntityCert::try_from(leaf).map_err(refused)?;
        let usage = match purpose {
            Purpose::Server => KeyUsage::server_auth(),
            Purpose::Client => KeyUsage::client_auth(),
        };
        let lists: Vec<&CertRevocationList<'_>> = self.revoked.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        leaf.verify_for_usage(
            self.algorithms.all,
            &self.anchors,
            intermediates,
            now,
            usage,
            revocation,
            None,
        )
        .map(drop)
        .map_err(refused)
    }

    /// Names of the authorities, for clients to choose a certificate by.
    pub(super) fn subjects(&self) -> Vec<DistinguishedName> {
        let anchors = self.anchors.iter();
        anchors
            .map(|anchor| DistinguishedName::in_sequence(anchor.subject.as_ref()))
            .collect()
    }
}

fn lists(pem: &[u8]) -> Result<Vec<CertRevocationList<'static>>, String> {
    let list = |list: Result<CertificateRevocationListDer<'_>, _>| {
        let list = list.map_err(|error| format!("CRL: {error}"))?;
        let list = OwnedCertRevocationList::from_der(&list);
        list.map(Into::into)
            .map_err(|error| format!("CRL: {error}"))
    };
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .map(list)
        .collect::<Result<_, String>>()?;
    if lists.is_empty() {
        return Err("CRL: no X509 CRL block".to_owned());
    }
    Ok(lists)
}

/// As rustls says it, so that the right alert is sent.
fn refused(error: webpki::Error) -> Error {
    use webpki::Error as E;
    let error = match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }
        }
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(rustls::OtherError(std::sync::Arc::new(other))),
    };
    Error::InvalidCertificate(error)
}

/// Whether a certificate has one of these names: a URI by its text, an address, or a DNS name,
/// where the certificate's may be a wildcard. The certificate must have been verified.
pub(super) fn names_match<N: AsRef<str>>(leaf: &CertificateDer<'_>, wanted: &[N]) -> bool {
    let Ok(leaf) = EndEntityCert::try_from(leaf) else {
        return false;
    };
    wanted.iter().map(AsRef::as_ref).any(|wanted| {
        leaf.valid_uri_names().any(|uri| uri == wanted)
            || ServerName::try_from(wanted)
                .is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    })
}

/// Whether a certificate can be an identity of the mesh: an X.509-SVID has one URI, never more
/// (SPIFFE X.509-SVID §2).
pub(super) fn is_unambiguous(leaf: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.valid_uri_names().count() <= 1)
}
