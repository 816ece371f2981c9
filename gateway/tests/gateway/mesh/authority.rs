//! An authority of a test mesh, and certificates of it.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::child::Scratch;

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    pub(crate) root: String,
}

/// A certificate with its key, as PEM.
pub(crate) struct Pair {
    pub(crate) chain: String,
    key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // names of authorities differ, as their keys do
        let digest = Sha256::digest(key.public_key_raw());
        let name = format!("root {digest:x}");
        parameters.distinguished_name.push(DnType::CommonName, name);
        let root = parameters.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(parameters, key),
            root,
        }
    }

    fn sign(&self, mut parameters: CertificateParams, until: i32) -> Pair {
        parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Pair {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A workload's.
    pub(crate) fn identity(&self, uri: &str) -> Pair {
        self.sign(workload(uri), 2090)
    }

    /// A workload's that is no longer valid.
    pub(crate) fn expired(&self, uri: &str) -> Pair {
        self.sign(workload(uri), 2001)
    }

    /// A server's, by DNS name.
    pub(crate) fn named(&self, name: &str) -> Pair {
        self.sign(CertificateParams::new([name.to_owned()]).unwrap(), 2090)
    }
}

fn workload(uri: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let uri = SanType::URI(uri.try_into().unwrap());
    parameters.subject_alt_names.push(uri);
    parameters
}

impl Pair {
    /// Writes the three files of an identity, each as a whole.
    pub(crate) fn write(&self, scratch: &Scratch, directory: &str, roots: &str) {
        for (name, text) in [
            ("root-cert.pem", roots),
            ("cert-chain.pem", &self.chain),
            ("key.pem", &self.key),
        ] {
            scratch.write(&format!("{directory}/{name}"), text);
        }
    }

    /// Writes the same as a proxy is told its secrets, which it notices at once.
    pub(crate) fn tell(&self, scratch: &Scratch, directory: &str, roots: &str) {
        let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
        let secret = |name: &str, value: String| {
            let text = format!("resources: [{{\"@type\": {kind}, name: {name}, {value}}}]\n");
            scratch.write(&format!("{directory}/{name}.yaml"), &text);
        };
        let inline = |text: &str| format!("{{inline_string: {text:?}}}");
        let (chain, key) = (inline(&self.chain), inline(&self.key));
        let pair = format!("{{certificate_chain: {chain}, private_key: {key}}}");
        secret(
            "roots",
            format!("validation_context: {{trusted_ca: {}}}", inline(roots)),
        );
        secret("own", format!("tls_certificate: {pair}"));
    }

    /// SHA-256 of the certificate in hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        let (chain, _) = self.der();
        format!("{:x}", Sha256::digest(&chain[0]))
    }

    pub(crate) fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain: Result<_, _> = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (chain.unwrap(), key)
    }
}
