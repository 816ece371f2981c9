//! The certificate authority: a public key and an identity in, a short-lived certificate out.
//!
//! Who is certified comes from the caller, never from the request: of a certificate signing request
//! nothing but the public key is used. What is issued is checked once with the roots that are given
//! out, so that an authority whose files do not fit together never starts.

mod files;
mod request;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::identity::Identity;

pub use request::{CSR_BYTES_MAX, public_key};
pub(crate) use sallyport_identity::{BACKDATE, identity_of, life_of};

/// How long a certificate is good when the caller does not say: Istio's default.
pub const TTL_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// How long a certificate is good at most: Istio's bound.
pub const TTL_MAX: Duration = Duration::from_secs(90 * 24 * 3_600);
/// How short a certificate may be: below, renewals would do nothing but renew.
pub const TTL_MIN: Duration = Duration::from_secs(60);
/// Bytes of a serial number; RFC 5280 §4.1.2.2 allows 20.
const SERIAL_BYTES: usize = 16;

/// Whether a signing request is worth a certificate: readable, signed with its key, strong.
///
/// # Errors
/// It is not, and this is why.
pub fn check(csr: &str) -> Result<(), CaError> {
    request::read(csr).map(drop)
}

/// Why something of the authority does not work.
#[derive(Debug)]
pub struct CaError(String);

impl CaError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<String> for CaError {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CaError {}

/// The authority, with what it signs with.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Certificates between a leaf and a root, in order, as PEM each.
    intermediates: Vec<String>,
    /// All roots that are trusted, as PEM; more than one while they are being replaced.
    roots: String,
    store: Arc<RootCertStore>,
    trust_domain: String,
    /// End of the signing certificate, in seconds since 1970.
    ends: i64,
}

// it holds the key
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.trust_domain)
    }
}

/// A certificate with what it needs to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Leaf, intermediates, and all roots as one last element; PEM each, as Istio answers.
    pub chain: Vec<String>,
    /// How long it is good from now.
    pub ttl: Duration,
}

impl Authority {
    /// Reads the authority from a directory, or makes one there if the directory has none.
    ///
    /// # Errors
    /// Files cannot be read or written, or do not fit together.
    pub fn open(directory: &Path, trust_domain: &str) -> Result<Self, CaError> {
        let files = files::read_or_make(directory, trust_domain)?;
        let authority = Self::of(&files, trust_domain)?;
        authority.prove()?;
        Ok(authority)
    }

    fn of(files: &files::Files, trust_domain: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(&files.key)
            .map_err(|error| CaError::new(format!("ca-key.pem: {error}")))?;
        let signing = first(&files.certificate, "ca-cert.pem")?;
        let ends = request::ends(&signing)
            .ok_or_else(|| CaError::new("ca-cert.pem is not the certificate of a CA"))?;
        let issuer = Issuer::from_ca_cert_der(&signing, key)
            .map_err(|error| CaError::new(format!("ca-cert.pem: {error}")))?;
        let roots = certificates(&files.roots, "root-cert.pem")?;
        let mut store = RootCertStore::empty();
        for root in &roots {
            store
                .add(root.clone())
                .map_err(|error| CaError::new(format!("root-cert.pem: {error}")))?;
        }
        let mut between = vec![signing];
        for certificate in certificates(&files.chain, "cert-chain.pem")? {
            if !between.contains(&certificate) {
                between.push(certificate);
            }
        }
        between.retain(|certificate| !roots.contains(certificate));
        Ok(Self {
            issuer,
            intermediates: between.iter().map(|c| pem(c)).collect(),
            roots: roots.iter().map(|c| pem(c)).collect(),
            store: Arc::new(store),
            trust_domain: trust_domain.to_owned(),
            ends,
        })
    }

    /// Issues a certificate and verifies it as a peer would.
    fn prove(&self) -> Result<(), CaError> {
        let identity = Identity::new(&self.trust_domain, "sallyport", "proof")
            .map_err(|_| CaError::new("the trust domain is not a name"))?;
        let key = new_key()?;
        let chain = self.certify(&key, &identity, &[], TTL_MIN)?.chain;
        let chain: Result<Vec<_>, _> = chain.iter().map(|pem| first(pem, "the proof")).collect();
        let chain = chain?;
        let (leaf, rest) = chain
            .split_first()
            .ok_or_else(|| CaError::new("nothing was issued"))?;
        let verifier = WebPkiClientVerifier::builder(Arc::clone(&self.store)).build();
        let verifier = verifier.map_err(|error| CaError::new(error.to_string()))?;
        let verified = verifier.verify_client_cert(leaf, rest, UnixTime::now());
        let why = "what ca-key.pem signs does not verify with root-cert.pem";
        verified.map_err(|error| CaError::new(format!("{why}: {error}")))?;
        Ok(())
    }

    /// Issues a certificate for the key of a signing request.
    ///
    /// # Errors
    /// The request cannot be read, is not signed with its key, or its key is weak.
    pub fn sign(
        &self,
        csr: &str,
        identity: &Identity,
        ttl: Option<Duration>,
    ) -> Result<Issued, CaError> {
        let mut csr = request::read(csr)?;
        let (params, ttl) = self.leaf(identity, &[], ttl.unwrap_or(TTL_DEFAULT))?;
        csr.params = params;
        let leaf = csr.signed_by(&self.issuer);
        let leaf = leaf.map_err(|error| CaError::new(error.to_string()))?;
        Ok(self.issued(leaf.pem(), ttl))
    }

    /// Issues a certificate for a key of ours, with names beside the identity.
    fn certify(
        &self,
        key: &KeyPair,
        identity: &Identity,
        names: &[SanType],
        ttl: Duration,
    ) -> Result<Issued, CaError> {
        let (params, ttl) = self.leaf(identity, names, ttl)?;
        let leaf = params.signed_by(key, &self.issuer);
        let leaf = leaf.map_err(|error| CaError::new(error.to_string()))?;
        Ok(self.issued(leaf.pem(), ttl))
    }

    /// A new key and its certificate for a TLS server of ours: chain and key.
    ///
    /// # Errors
    /// A name cannot be in a certificate.
    pub(crate) fn server(
        &self,
        identity: &Identity,
        names: &[String],
        ttl: Duration,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CaError> {
        let key = new_key()?;
        let name = |name: &String| match name.parse() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => name.as_str().try_into().map(SanType::DnsName),
        };
        let names: Result<Vec<_>, _> = names.iter().map(name).collect();
        let names = names.map_err(|error| CaError::new(error.to_string()))?;
        let issued = self.certify(&key, identity, &names, ttl)?;
        // roots are for those who verify
        let chain = issued
            .chain
            .split_last()
            .map_or(&[][..], |(_, chain)| chain);
        let chain: Result<Vec<_>, _> = chain.iter().map(|pem| first(pem, "a leaf")).collect();
        let key = PrivateKeyDer::try_from(key.serialize_der());
        let key = key.map_err(|error| CaError::new(error.to_owned()))?;
        Ok((chain?, key))
    }

    fn leaf(
        &self,
        identity: &Identity,
        names: &[SanType],
        ttl: Duration,
    ) -> Result<(CertificateParams, Duration), CaError> {
        let now = SystemTime::now();
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let left = u64::try_from(self.ends)
            .unwrap_or_default()
            .saturating_sub(since.as_secs());
        // a certificate that outlives its issuer would fail without a warning
        let ttl = ttl.clamp(TTL_MIN, TTL_MAX).min(Duration::from_secs(left));
        if ttl.is_zero() {
            return Err(CaError::new("the certificate of the CA has ended"));
        }
        let uri = identity.to_string();
        let uri = uri.try_into().map_err(|_| CaError::new("not a name"))?;
        let mut serial = [0u8; SERIAL_BYTES];
        rand::fill(&mut serial).map_err(|_| CaError::new("no random numbers"))?;
        // positive, and never zero
        serial[0] = (serial[0] & 0x7f) | 0x40;
        let mut params = CertificateParams::default();
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + ttl).into();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.subject_alt_names.extend_from_slice(names);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        Ok((params, ttl))
    }

    fn issued(&self, leaf: String, ttl: Duration) -> Issued {
        let mut chain = vec![leaf];
        chain.extend(self.intermediates.iter().cloned());
        chain.push(self.roots.clone());
        Issued { chain, ttl }
    }

    /// What verifies the certificates of this mesh.
    pub(crate) fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }

    /// End of the signing certificate, in seconds since 1970.
    pub(crate) fn ends(&self) -> i64 {
        self.ends
    }

    /// All roots, as PEM.
    #[must_use]
    pub fn roots(&self) -> &str {
        &self.roots
    }
}

fn new_key() -> Result<KeyPair, CaError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| CaError::new(e.to_string()))
}

fn certificates(text: &str, name: &str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes());
    let certificates: Result<Vec<_>, _> = certificates.collect();
    certificates.map_err(|error| CaError::new(format!("{name}: {error}")))
}

fn first(text: &str, name: &str) -> Result<CertificateDer<'static>, CaError> {
    let certificates = certificates(text, name)?;
    let first = certificates.into_iter().next();
    first.ok_or_else(|| CaError::new(format!("{name} has no certificate")))
}

/// A certificate as PEM, with a newline at its end.
fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests;
