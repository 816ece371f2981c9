//! A client that says a golden call on a connection of its own and reads the answer strictly.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use sallyport_config::model::Call;

use super::token::token;
use crate::child::DEADLINE;

/// What a client sees of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// The handshake failed.
    NoHandshake,
    /// The connection ended without an answer.
    Closed,
    /// An HTTP answer.
    Answer(Answer),
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Field lines in order, names in lower case.
    pub(super) lines: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Values of a field, one for each line.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter(|(n, _)| n == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }
}

/// Makes a call; `mark` goes along as its `user-agent`.
pub(super) fn say(address: SocketAddr, call: &Call, mark: &str) -> Seen {
    let stream = match TcpStream::connect_timeout(&address, DEADLINE) {
        // where nothing routes, a connection can be over before this side knows that it began
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Seen::Closed,
        stream => stream.unwrap(),
    };
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = request(call, mark);
    let Some(sni) = &call.sni else {
        return exchange(stream, &request, call);
    };
    let name = if sni.is_empty() { "none.test" } else { sni };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(client_config(call)), name).unwrap();
    let mut stream = stream;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no answer in time");
            return Seen::NoHandshake;
        }
    }
    exchange(StreamOwned::new(connection, stream), &request, call)
}

fn request(call: &Call, mark: &str) -> String {
    let (method, path, host) = (&call.method, &call.path, &call.authority);
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {mark}\r\n");
    for (name, value) in &call.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(token) = token(call) {
        text.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    if method == "POST" || method == "PUT" {
        text.push_str("Content-Length: 0\r\n");
    }
    text.push_str("Connection: close\r\n\r\n");
    text
}

/// Everything until the end of the connection is one answer.
fn exchange(mut stream: impl Read + Write, request: &str, call: &Call) -> Seen {
    let sent = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    if let Err(error) = &end {
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no answer in time");
    }
    // what is no HTTP, a TLS alert, is no answer
    if !bytes.starts_with(b"HTTP/") {
        return Seen::Closed;
    }
    sent.expect("a whole request");
    end.expect("a whole answer");
    Seen::Answer(parse(&bytes, call).unwrap_or_else(|why| {
        panic!("{why}: {:?}", String::from_utf8_lossy(&bytes));
    }))
}

/// RFC 9112, as narrow as it can be read: one space, CRLF, no folding, a length that is true.
fn parse(bytes: &[u8], call: &Call) -> Result<Answer, String> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or("no end of the head")?;
    let head = str::from_utf8(&bytes[..end]).map_err(|_| "a head that is not text")?;
    let body = bytes[end + 4..].to_vec();
    let mut rows = head.split("\r\n");
    let first = rows.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").ok_or("no status line")?;
    let (status, _reason) = status.split_once(' ').ok_or("no space after the status")?;
    if status.len() != 3 {
        return Err(format!("status {status}"));
    }
    let status: u16 = status.parse().map_err(|_| format!("status {status}"))?;
    let mut lines = Vec::new();
    for row in rows {
        let (name, value) = row
            .split_once(':')
            .ok_or_else(|| format!("no field: {row:?}"))?;
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) || value.contains(['\r', '\n', '\0']) {
            return Err(format!("field {row:?}"));
        }
        lines.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let answer = Answer {
        status,
        lines,
        body,
    };
    if !answer.values("transfer-encoding").is_empty() {
        return Err("chunked, though the length is known".to_owned());
    }
    let lengths = answer.values("content-length");
    let length = match lengths.as_slice() {
        [length] => length.parse().map_err(|_| format!("length {length}"))?,
        // RFC 9110 §8.6: such an answer has none
        [] if matches!(status, 204 | 304) => 0,
        _ => return Err(format!("lengths {lengths:?}")),
    };
    let length = if call.method == "HEAD" { 0 } else { length };
    if answer.body.len() != length {
        return Err(format!("{} bytes instead of {length}", answer.body.len()));
    }
    Ok(answer)
}

/// For clients that believe everybody.
pub(crate) fn trust_all() -> (Arc<dyn ServerCertVerifier>, Arc<CryptoProvider>) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    (Arc::new(TrustAll(Arc::clone(&provider))), provider)
}

fn client_config(call: &Call) -> ClientConfig {
    let (trust, provider) = trust_all();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth();
    config.alpn_protocols = match call.alpn.as_slice() {
        [] => vec![b"http/1.1".to_vec()],
        offered => offered.iter().map(|name| name.clone().into()).collect(),
    };
    config.enable_sni = call.sni.as_deref() != Some("");
    config
}

/// Whose certificate it is, is not asked here; that the server has its key, is.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
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
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
