//! Building one chain's handshake configuration.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use sallyport_config::ir::{Roots, ServerTls, ServerTlsMode, TlsVersion};

use super::material::{Material, Stapled};
use super::suites;
use super::tickets::{self, Seal};
use super::visitor::{ClientVerifier, Rules};
use crate::certificate;

/// Protocols that we speak: what a chain wants beyond them is not advertised.
const SERVED: [&str; 2] = ["h2", "http/1.1"];

/// One chain, ready to shake hands.
pub(super) struct Chain {
    pub(super) config: Arc<ServerConfig>,
    /// How it checks its clients, if it does.
    pub(super) verifier: Option<Arc<ClientVerifier>>,
    /// What its tickets are bound to.
    pub(super) seal: Seal,
}

/// One chain's configuration; `server` is its name and `http` says what is inside. Certificates that
/// cannot be used are reported and left out.
///
/// # Errors
/// Why it must refuse handshakes.
pub(super) fn chain(
    material: &mut Material<'_>,
    server: &str,
    tls: &ServerTls,
    http: bool,
    report: &mut dyn FnMut(&str, String),
) -> Result<Chain, String> {
    let keys = usable_keys(material, tls, report);
    if keys.is_empty() {
        return Err("no usable certificate: handshakes are refused until one arrives".into());
    }
    let provider = Arc::new(provider(&tls.cipher_suites)?);
    let versions = versions(tls)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let verifier = client_verifier(material, tls, provider)?;
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::<ClientVerifier>::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByAlgorithm(keys)));
    // Of bytes that nobody looks at, nobody knows the protocol: none is chosen, none is refused.
    config.alpn_protocols = if http { alpn(tls) } else { Vec::new() };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let seal = tickets::seal(server, tls);
    match tickets::bound(seal) {
        Some(ticketer) => config.ticketer = ticketer,
        None => config.send_tls13_tickets = 0,
    }
    Ok(Chain {
        config: Arc::new(config),
        verifier,
        seal,
    })
}

fn usable_keys(
    material: &mut Material<'_>,
    tls: &ServerTls,
    report: &mut dyn FnMut(&str, String),
) -> Vec<Own> {
    let mut usable = Vec::new();
    for id in &tls.certificates {
        let name = material.certificate(*id).map_or("", |c| c.name.as_str());
        match material.key(*id) {
            Ok(plain) => {
                let stapled = material.stapled(*id).transpose();
                let stapled = stapled.unwrap_or_else(|reason| {
                    report(name, reason);
                    None
                });
                usable.push(Own { plain, stapled });
            }
            Err(reason) => report(name, reason),
        }
    }
    usable
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

/// What may be negotiated, by either side. The post-quantum group comes first: who offers it
/// gets it.
pub(super) fn preferred() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
        aws_lc_rs::kx_group::SECP384R1,
    ];
    provider
}

/// What a server with these cipher suites may negotiate.
pub(super) fn provider(suites: &[String]) -> Result<CryptoProvider, String> {
    let mut provider = preferred();
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
    material: &mut Material<'_>,
    tls: &ServerTls,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<ClientVerifier>>, String> {
    let mandatory = match tls.mode {
        ServerTlsMode::Simple => return Ok(None),
        ServerTlsMode::Mutual | ServerTlsMode::IstioMutual => true,
        ServerTlsMode::OptionalMutual => false,
    };
    let ca = tls.client_ca.clone();
    let roots = Roots::Given(ca.ok_or("no CA for client certificates")?);
    let trust = material.trust(&roots, tls.client_crl.as_ref());
    let trust = trust.map_err(|error| format!("client certificates: {error}"))?;
    let rules = Rules {
        mandatory,
        mesh: tls.mode == ServerTlsMode::IstioMutual,
        names: tls.subject_alt_names.clone(),
        pins: tls.pins.clone(),
    };
    Ok(Some(Arc::new(ClientVerifier::new(trust, provider, rules))))
}

/// A certificate that can be shown.
#[derive(Debug)]
struct Own {
    plain: Arc<CertifiedKey>,
    stapled: Option<Stapled>,
}

impl Own {
    /// With its staple while that holds: clients refuse one that has expired.
    fn now(&self) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some(stapled) if stapled.validity.holds(certificate::now()) => &stapled.key,
            _ => &self.plain,
        }
    }
}

/// The certificates of a chain; the first whose key the client can verify is shown.
#[derive(Debug)]
struct ByAlgorithm(Vec<Own>);

impl ResolvesServerCert for ByAlgorithm {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let mut keys = self.0.iter();
        let fits = keys.find(|own| own.plain.key.choose_scheme(schemes).is_some());
        let own = fits.or_else(|| self.0.first())?;
        Some(Arc::clone(own.now()))
    }
}
