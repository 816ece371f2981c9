//! What a certificate of the mesh says.

use std::time::{Duration, SystemTime};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::Identity;

/// How long before now a certificate begins: clocks differ. Istio's value.
pub const BACKDATE: Duration = Duration::from_secs(120);

/// Whose certificate this is: its one URI name, if that is a workload's identity. One with two such
/// names is nobody's.
#[must_use]
pub fn identity_of(certificate: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    let first = uris.next()?;
    match uris.next() {
        None => first.parse().ok(),
        Some(_) => None,
    }
}

/// When a certificate begins and ends.
#[must_use]
pub fn life_of(certificate: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    let time = |seconds: i64| {
        let since = Duration::from_secs(u64::try_from(seconds).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    Some((
        time(validity.not_before.timestamp())?,
        time(validity.not_after.timestamp())?,
    ))
}
