//! A certificate authority that lives as long as the quickstart, and one server certificate.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// PEM texts of one issue.
pub(super) struct Issued {
    /// The root that clients trust.
    pub(super) root: String,
    /// The server's chain, leaf first.
    pub(super) chain: String,
    /// The server's key.
    pub(super) key: String,
}

/// Makes a root and a certificate for `hosts`.
///
/// # Errors
/// When a host is not a DNS name, or the crypto library fails.
pub(super) fn issue(hosts: &[&str]) -> Result<Issued, rcgen::Error> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name
        .push(DnType::CommonName, "Sallyport quickstart root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root_key = KeyPair::generate()?;
    let root_pem = root.self_signed(&root_key)?.pem();
    let issuer = Issuer::new(root, root_key);

    let names = hosts
        .iter()
        .map(|host| (*host).to_owned())
        .collect::<Vec<_>>();
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(
        DnType::CommonName,
        hosts.first().copied().unwrap_or("quickstart"),
    );
    let key = KeyPair::generate()?;
    let chain = leaf.signed_by(&key, &issuer)?.pem();
    Ok(Issued {
        root: root_pem,
        chain,
        key: key.serialize_pem(),
    })
}
