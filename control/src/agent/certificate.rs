//! The workload's key and certificate: asked for, checked, kept for the next start.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sallyport_wire::istio_ca::{IstioCertificateRequest, create_certificate};
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};

use super::args::Options;
use crate::identity::Identity;
use crate::{ca, log, private};

/// A call must be answered within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Renewals are moved by up to this part of a life, so that hosts that were started together do not
/// come together: Istio's value.
const JITTER: f64 = 0.01;
/// Shortest time between two renewals.
const RENEW_MIN: Duration = Duration::from_secs(5);
/// Key and chain, in the state directory.
const KEPT: &str = "identity.pem";
/// Roots, in the state directory.
const KEPT_ROOTS: &str = "root-cert.pem";

/// A certificate with its key.
#[derive(Clone)]
pub(super) struct Held {
    /// Key, as PEM.
    pub(super) key: String,
    /// Leaf and intermediates, as PEM.
    pub(super) chain: String,
    /// Roots of the mesh, as PEM.
    pub(super) roots: String,
    /// Who it is of.
    pub(super) identity: Identity,
    begins: SystemTime,
    ends: SystemTime,
}

impl Held {
    fn read(key: String, chain: String, roots: String) -> Result<Self, String> {
        let leaf = CertificateDer::from_pem_slice(chain.as_bytes());
        let leaf = leaf.map_err(|_| "the certificate is not PEM")?;
        let identity = ca::identity_of(&leaf).ok_or("the certificate names no workload")?;
        let (begins, ends) = ca::life_of(&leaf).ok_or("the certificate has no life")?;
        // it began when it was issued; before, it is good for clocks that are behind
        let begins = (begins + ca::BACKDATE).min(SystemTime::now());
        Ok(Self {
            key,
            chain,
            roots,
            identity,
            begins,
            ends,
        })
    }

    /// Whether it is of the workload that is to be started.
    pub(super) fn is_of(&self, options: &Options) -> bool {
        self.identity.namespace == options.namespace
            && self.identity.service_account == options.service_account
    }

    fn left(&self) -> Duration {
        self.ends
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    }

    fn life(&self) -> Duration {
        self.ends.duration_since(self.begins).unwrap_or_default()
    }

    /// It has ended.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// It ends so soon that a new one should be had first.
    pub(super) fn is_old(&self) -> bool {
        self.left() < self.life() / 10
    }

    /// When to renew it: at half of its life, moved a little.
    pub(super) fn renew_in(&self) -> Duration {
        let half = self.left().saturating_sub(self.life() / 2);
        let mut byte = [0u8];
        // without random numbers hosts come together, which the server survives
        let _ = aws_lc_rs::rand::fill(&mut byte);
        let part = f64::from(byte[0]) / f64::from(u8::MAX) * JITTER;
        half.saturating_sub(self.life().mul_f64(part))
            .max(RENEW_MIN)
    }
}

/// A key that is to be certified. All calls with a token must be for the same key.
pub(super) struct Join<'o> {
    options: &'o Options,
    key: String,
    csr: String,
}

impl<'o> Join<'o> {
    /// Makes a key.
    pub(super) fn new(options: &'o Options) -> Result<Self, String> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| e.to_string())?;
        let csr = CertificateParams::default().serialize_request(&key);
        let csr = csr.and_then(|csr| csr.pem()).map_err(|e| e.to_string())?;
        Ok(Self {
            options,
            key: key.serialize_pem(),
            csr,
        })
    }

    /// Gets it certified by the join token.
    pub(super) async fn joined(&self) -> Result<Held, String> {
        let path = self.options.token.as_ref().ok_or("there is no --token")?;
        let token = private::read(path);
        let token = token.map_err(|error| format!("{}: {error}", path.display()))?;
        let bearer = format!("Bearer {}", token.trim()).parse();
        let bearer = bearer.map_err(|_| format!("{} holds no token", path.display()))?;
        let mut request = self.request();
        request.metadata_mut().insert("authorization", bearer);
        self.call(request, None).await
    }

    /// Gets it certified by the certificate that there is.
    pub(super) async fn renewed(&self, held: &Held) -> Result<Held, String> {
        self.call(self.request(), Some(held)).await
    }

    fn request(&self) -> Request<IstioCertificateRequest> {
        let ttl = self.options.ttl.unwrap_or_default().as_secs();
        let mut request = Request::new(IstioCertificateRequest {
            csr: self.csr.clone(),
            validity_duration: i64::try_from(ttl).unwrap_or_default(),
            metadata: None,
        });
        request.set_timeout(ANSWER_WITHIN);
        request
    }

    async fn call(
        &self,
        request: Request<IstioCertificateRequest>,
        held: Option<&Held>,
    ) -> Result<Held, String> {
        let calling = async {
            let channel = channel(self.options, held).await?;
            let answered = create_certificate(channel, request).await;
            answered.map_err(|status| format!("{}: {}", status.code(), status.message()))
        };
        let answered = tokio::time::timeout(ANSWER_WITHIN, calling).await;
        let mut chain = answered.map_err(|_| "no answer came")??.cert_chain;
        let roots = chain.pop().ok_or("the answer holds no certificate")?;
        let held = Held::read(self.key.clone(), chain.concat(), roots)?;
        match held.is_of(self.options) {
            true => Ok(held),
            false => Err(format!("the certificate is of {}", held.identity)),
        }
    }
}

async fn channel(options: &Options, held: Option<&Held>) -> Result<Channel, String> {
    let given = private::read(&options.root_cert);
    let mut roots = given.map_err(|error| format!("{}: {error}", options.root_cert.display()))?;
    if let Some(held) = held {
        // roots may have been replaced since the file was given
        roots.push('\n');
        roots.push_str(&held.roots);
    }
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots));
    if let Some(held) = held {
        tls = tls.identity(TlsIdentity::from_pem(&held.chain, &held.key));
    }
    let endpoint = Endpoint::from_shared(options.control.clone());
    let endpoint = endpoint.and_then(|endpoint| endpoint.tls_config(tls));
    let endpoint = endpoint.map_err(|error| format!("--control: {error}"))?;
    let connected = endpoint.connect_timeout(ANSWER_WITHIN).connect().await;
    connected.map_err(|error| {
        let cause = std::error::Error::source(&error);
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        format!("cannot reach {}: {error}{cause}", options.control)
    })
}

/// Keeps a certificate for the next start. Without it that start needs a token, and no more.
pub(super) fn save(options: &Options, held: &Held) {
    let Some(directory) = &options.state_dir else {
        return;
    };
    let kept = format!("{}{}", held.key, held.chain);
    let saved = std::fs::create_dir_all(directory)
        .and_then(|()| private::write(&directory.join(KEPT), kept.as_bytes()))
        .and_then(|()| private::write(&directory.join(KEPT_ROOTS), held.roots.as_bytes()));
    if let Err(error) = saved {
        log::warn("agent", format_args!("--state-dir cannot be used: {error}"));
    }
}

/// What the last run kept.
pub(super) fn load(directory: &Path) -> Option<Held> {
    let kept = private::read(&directory.join(KEPT)).ok()?;
    let roots = private::read(&directory.join(KEPT_ROOTS)).ok()?;
    let at = kept.find("-----BEGIN CERTIFICATE-----")?;
    let (key, chain) = kept.split_at(at);
    Held::read(key.to_owned(), chain.to_owned(), roots).ok()
}
