//! Chains of certificates as PEM, and the time by which they are judged.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
pub(crate) use sallyport_core::certificate::Facts;

/// Certificates of a chain that are read.
const CHAIN_MAX: usize = 16;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// Reads a PEM chain, leaf first. What cannot be read is left out.
pub(crate) fn read_chain(pem: &[u8]) -> Vec<Facts> {
    CertificateDer::pem_slice_iter(pem)
        .take(CHAIN_MAX)
        .filter_map(|certificate| sallyport_core::certificate::read(certificate.ok()?.as_ref()))
        .collect()
}
