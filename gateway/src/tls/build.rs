//! Building one chain's handshake configuration.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sallyport_config::ir::{
    Bundle, CertificateId, CertificateSource, ServerTls, ServerTlsMode, Snapshot, TlsVersion,
};

use super::suites;

/// Protocols that we speak: what a chain wants beyond them is not advertised.
const SERVED: [&str; 2] = ["h2", "http/1.1"];

/// The keys that seal session tickets: of the whole process, so that a session can be resumed on
/// any worker and after a reload. They change by themselves every few hours.
static TICKETER: OnceLock<Option<Arc<dyn ProducesTickets>>> = OnceLock::new();

/// Builds the chains of one snapshot; a certificate that several chains share is read once.
pub(super) struct Builder<'s> {
    snapshot: &'s Snapshot,
    keys: HashMap<CertificateId, Result<Arc<CertifiedKey>, String>>,
}

impl<'s> Builder<'s> {
    pub(super) fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            keys: HashMap::new(),
        }
    }

    /// One chain's configuration. Certificates that cannot be used are reported and left out.
    ///
    /// # Errors
    /// Why it must refuse handshakes.
    pub(super) fn chain(
        &mut self,
        tls: &ServerTls,
        report: &mut dyn FnMut(&str, String),
    ) -> Result<Arc<ServerConfig>, String> {
        let keys = self.usable_keys(tls, report);
        if keys.is_empty() {
            return Err("no usable certificate: handshakes are refused until one arrives".into());
        }
        let provider = Arc::new(provider(&tls.cipher_suites)?);
        let versions = versions(tls)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| error.to_string())?;
        let verifier = client_verifier(tls, provider)?;
        let authenticates = verifier.is_some();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByAlgorithm(keys)));
        config.alpn_protocols = alpn(tls);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match ticketer() {
            // A ticket says that a client was verified by rules that may have changed since.
            Some(ticketer) if !authenticates => config.ticketer = ticketer,
            _ => config.send_tls13_tickets = 0,
        }
        Ok(Arc::new(config))
    }

    fn usable_keys(
        &mut self,
        tls: &ServerTls,
        report: &mut dyn FnMut(&str, String),
    ) -> Vec<Arc<CertifiedKey>> {
        let mut usable = Vec::new();
        for id in &tls.certificates {
            let index = usize::try_from(id.0).unwrap_or(usize::MAX);
            let Some(certificate) = self.snapshot.certificates.get(index) else {
                continue;
            };
            let key = self
                .keys
                .entry(*id)
                .or_insert_with(|| load(&certificate.source));
            match key {
                Ok(key) => usable.push(Arc::clone(key)),
                Err(reason) => report(&certificate.name, reason.clone()),
            }
        }
        usable
    }
}

/// What is offered of what the server's configuration names; HTTP/1.1 when it names nothing.
fn alpn(tls: &ServerTls) -> Vec<Vec<u8>> {
    let named = tls
        .alpn
        .iter()
        .filter(|name| SERVED.contains(&name.as_str()));
    let mut offered: Vec<Vec<u8>> = named.map(|name| name.clone().into_bytes()).collect();
    if offered.is_empty() {
        offered.push(b"http/1.1".to_vec());
    }
    offered
}

pub(super) fn ticketer() -> Option<Arc<dyn ProducesTickets>> {
    TICKETER
        .get_or_init(|| aws_lc_rs::Ticketer::new().ok())
        .clone()
}

/// Reads a certificate and its key, and checks that they belong together.
fn load(source: &CertificateSource) -> Result<Arc<CertifiedKey>, String> {
    let (chain, key) = match source {
        CertificateSource::Inline { chain, key } => (chain.to_vec(), key.0.to_vec()),
        CertificateSource::Files { chain, key } => (read(chain)?, read(key)?),
        CertificateSource::Workload | CertificateSource::Missing => {
            return Err("not there yet".to_owned());
        }
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("certificate: {error}"))?;
    if chain.is_empty() {
        return Err("certificate: no CERTIFICATE block".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("key: {error}"))?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| format!("key: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(error) => Err(format!("certificate and key do not match: {error}")),
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

/// What may be negotiated. The post-quantum group comes first: who offers it gets it.
pub(super) fn provider(suites: &[String]) -> Result<CryptoProvider, String> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
        aws_lc_rs::kx_group::SECP384R1,
    ];
    let wanted: Vec<_> = suites
        .iter()
        .filter_map(|name| suites::named(name))
        .collect();
    if suites.is_empty() {
        return Ok(provider);
    }
    if wanted.is_empty() {
        return Err("none of its cipher suites can be spoken".to_owned());
    }
    // The list is about TLS 1.2; those of 1.3 are not configurable, as in Envoy.
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_some() || wanted.contains(&suite.suite()));
    Ok(provider)
}

fn versions(tls: &ServerTls) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let all = [(TlsVersion::V1_2, &TLS12), (TlsVersion::V1_3, &TLS13)];
    let wanted: Vec<_> = all
        .into_iter()
        .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version))
        .map(|(_, version)| version)
        .collect();
    if wanted.is_empty() {
        return Err("its lowest version is above its highest".to_owned());
    }
    Ok(wanted)
}

/// Who is let in; `None` for everybody.
fn client_verifier(
    tls: &ServerTls,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let optional = match tls.mode {
        ServerTlsMode::Simple => return Ok(None),
        ServerTlsMode::Mutual => false,
        ServerTlsMode::OptionalMutual => true,
        ServerTlsMode::IstioMutual => return Err("mode ISTIO_MUTUAL is not served yet".into()),
    };
    if !tls.subject_alt_names.is_empty() {
        return Err("subjectAltNames of client certificates are not served yet".to_owned());
    }
    if tls.client_crl.is_some() || !tls.pins.is_empty() {
        return Err("revocation lists and pins are not served yet".to_owned());
    }
    let Some(Bundle::Inline(pem)) = &tls.client_ca else {
        return Err("no CA for client certificates".to_owned());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("client CA: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("client CA: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    builder
        .build()
        .map(Some)
        .map_err(|error| format!("client CA: {error}"))
}

/// The certificates of a chain; the first whose key the client can verify is shown.
#[derive(Debug)]
struct ByAlgorithm(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByAlgorithm {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let mut keys = self.0.iter();
        let fits = keys.find(|key| key.key.choose_scheme(schemes).is_some());
        fits.or_else(|| self.0.first()).cloned()
    }
}
