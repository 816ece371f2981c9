//! The authorities that the operating system trusts.

use std::path::PathBuf;

/// Where operating systems keep the authorities that they trust, most common first.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// By which the user names another one, as for OpenSSL.
const SYSTEM_BUNDLE_VARIABLE: &str = "SSL_CERT_FILE";

/// The authorities that the operating system trusts, as PEM; `None` if it has none.
#[must_use]
pub fn system_bundle() -> Option<Vec<u8>> {
    let named = std::env::var_os(SYSTEM_BUNDLE_VARIABLE).map(PathBuf::from);
    let known = SYSTEM_BUNDLES.iter().map(PathBuf::from);
    let mut bundles = named.into_iter().chain(known);
    bundles.find_map(|path| std::fs::read(path).ok())
}
