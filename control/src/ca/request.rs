//! What comes from outside: signing requests and certificates of callers.

use rcgen::CertificateSigningRequestParams;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::CaError;

/// Bytes of a request; one with an RSA key of 8,192 bits has three thousand.
pub const CSR_BYTES_MAX: usize = 64 * 1024;
/// Bits of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Bits of a point of an elliptic curve that is allowed, P-256 and P-384.
const POINT_BITS: [usize; 2] = [256, 384];

/// Reads a signing request, verifies that its sender holds the key, and that the key is strong.
/// Names and extensions in it are read and ignored.
pub(super) fn read(pem: &str) -> Result<CertificateSigningRequestParams, CaError> {
    let der = der(pem)?;
    strong(&der)?;
    CertificateSigningRequestParams::from_der(&der)
        .map_err(|error| CaError::new(format!("the request is not good: {error}")))
}

/// The public key of a request, as DER; what a join token is bound to.
///
/// # Errors
/// The request cannot be read.
pub fn public_key(pem: &str) -> Result<Vec<u8>, CaError> {
    let der = der(pem)?;
    let csr = parsed(&der)?;
    Ok(csr.certification_request_info.subject_pki.raw.to_vec())
}

fn der(pem: &str) -> Result<CertificateSigningRequestDer<'static>, CaError> {
    if pem.len() > CSR_BYTES_MAX {
        return Err(CaError::new(format!(
            "the request is longer than {CSR_BYTES_MAX} bytes"
        )));
    }
    CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| CaError::new("the request is not PEM of a certificate request"))
}

fn parsed(der: &[u8]) -> Result<X509CertificationRequest<'_>, CaError> {
    let (rest, csr) = X509CertificationRequest::from_der(der)
        .map_err(|_| CaError::new("the request is not a certificate request"))?;
    match rest.is_empty() {
        true => Ok(csr),
        false => Err(CaError::new("something follows the request")),
    }
}

fn strong(der: &[u8]) -> Result<(), CaError> {
    let csr = parsed(der)?;
    let key = csr.certification_request_info.subject_pki.parsed();
    let good = match key {
        Ok(PublicKey::RSA(rsa)) => RSA_BITS.contains(&rsa.key_size()),
        Ok(PublicKey::EC(point)) => POINT_BITS.contains(&point.key_size()),
        _ => false,
    };
    match good {
        true => Ok(()),
        false => Err(CaError::new(
            "the key is not P-256, P-384 or RSA of at least 2048 bits",
        )),
    }
}

/// End of a CA's certificate in seconds since 1970; `None` if it is not a CA's.
pub(super) fn ends(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let is_ca = certificate.extensions().iter().any(|extension| {
        matches!(extension.parsed_extension(), ParsedExtension::BasicConstraints(b) if b.ca)
    });
    is_ca.then(|| certificate.validity().not_after.timestamp())
}
