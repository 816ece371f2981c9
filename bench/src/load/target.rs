//! Where the load goes, and how it gets there.

use crate::args::{Load, Wire};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// Sessions kept for `--resume`.
const SESSIONS_MAX: usize = 1_024;

/// What asks for a WebSocket, with the key of RFC 6455's example.
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Where the load goes.
#[derive(Debug)]
pub(crate) struct Target {
    /// Address; on this host.
    pub(crate) address: SocketAddr,
    /// Whole URI, with the authority that is asked for.
    pub(crate) uri: http::Uri,
    /// The server name, for TLS.
    pub(crate) name: ServerName<'static>,
    /// TLS, with the protocol that is to be spoken.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The HTTP/1.1 request.
    pub(crate) request: Vec<u8>,
    /// A new connection for every request.
    pub(crate) fresh: bool,
}

impl Target {
    /// Reads the URL.
    pub(crate) fn new(load: &Load) -> Result<Self, Box<dyn Error>> {
        let uri: http::Uri = load.url.parse()?;
        let secure = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or("the URL has no host")?;
        let port = authority
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 });
        let address = (authority.host(), port).to_socket_addrs()?.next();
        let address = address.ok_or("the URL's host has no address")?;
        if !address.ip().is_loopback() {
            return Err("load goes to addresses of this host only".into());
        }
        if load.wire == Wire::H3 && !secure {
            return Err("HTTP/3 needs https".into());
        }
        let host = load.host.as_deref().unwrap_or_else(|| authority.host());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let scheme = if secure { "https" } else { "http" };
        let upgrade = match load.wire {
            Wire::Websocket => UPGRADE,
            _ => "",
        };
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: sallyport-bench\r\n{upgrade}\r\n"
        );
        Ok(Self {
            address,
            uri: format!("{scheme}://{host}{path}").parse()?,
            name: ServerName::try_from(host.to_owned())?,
            tls: secure.then(|| Arc::new(tls(load))),
            request: head.into_bytes(),
            fresh: load.fresh,
        })
    }
}

fn tls(load: &Load) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let Ok(builder) = builder.with_protocol_versions(&[&rustls::version::TLS13]) else {
        unreachable!("the provider has cipher suites of TLS 1.3");
    };
    let anyone = Arc::new(Anyone(provider));
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(anyone)
        .with_no_client_auth();
    config.alpn_protocols = vec![match load.wire {
        Wire::H1 | Wire::Websocket | Wire::Tcp => b"http/1.1".to_vec(),
        Wire::H2 => b"h2".to_vec(),
        Wire::H3 => b"h3".to_vec(),
    }];
    config.resumption = match load.resume {
        true => Resumption::in_memory_sessions(SESSIONS_MAX),
        false => Resumption::disabled(),
    };
    config
}

/// Takes any certificate: a run makes its own.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
