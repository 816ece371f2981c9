//! A mesh of one gateway and the sample workloads: who they are, and the keys that prove it. It lives
//! as long as the quickstart.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::ca::Authority;
use crate::identity::Identity;
use crate::private;

/// Trust domain of the mesh.
const TRUST_DOMAIN: &str = "cluster.local";

/// The mesh, with what certifies its members.
pub(super) struct Mesh(Authority);

/// A key with its certificate, as PEM.
struct Proof {
    key: String,
    chain: Vec<String>,
}

impl Mesh {
    /// Makes an authority in a directory.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        fs::create_dir(directory)?;
        let authority = Authority::open(directory, TRUST_DOMAIN);
        authority.map(Self).map_err(io::Error::other)
    }

    /// Writes the identity of the gateway as `--identity` reads it.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn write_gateway(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)?;
        let proof = self.prove("istio-system", "istio-ingressgateway")?;
        private::write(&directory.join("key.pem"), proof.key.as_bytes())?;
        fs::write(directory.join("cert-chain.pem"), proof.chain.concat())?;
        fs::write(directory.join("root-cert.pem"), self.0.roots())
    }

    /// How a workload of the namespace `default` is called: in mutual TLS, and in no other way.
    ///
    /// # Errors
    /// A defect of this program.
    pub(super) fn server(&self, account: &str) -> io::Result<Arc<ServerConfig>> {
        let proof = self.prove("default", account)?;
        let chain: Result<Vec<_>, _> = proof.chain.iter().map(|pem| certificate(pem)).collect();
        let key = PrivateKeyDer::from_pem_slice(proof.key.as_bytes()).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate(self.0.roots())?)
            .map_err(io::Error::other)?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier.map_err(io::Error::other)?)
            .with_single_cert(chain?, key);
        config.map(Arc::new).map_err(io::Error::other)
    }

    fn prove(&self, namespace: &str, account: &str) -> io::Result<Proof> {
        let identity = Identity::new(TRUST_DOMAIN, namespace, account).map_err(io::Error::other)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let csr = CertificateParams::default().serialize_request(&key);
        let csr = csr.and_then(|csr| csr.pem()).map_err(io::Error::other)?;
        let issued = self.0.sign(&csr, &identity, None);
        let mut chain = issued.map_err(io::Error::other)?.chain;
        // the roots are for those who verify
        chain.pop();
        Ok(Proof {
            key: key.serialize_pem(),
            chain,
        })
    }
}

fn certificate(pem: &str) -> io::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other)
}
