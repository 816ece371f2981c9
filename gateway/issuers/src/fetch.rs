//! Fetches a small document over HTTP/1.1, as little as that takes, and trusting nobody: every name
//! on the way is looked up here and its addresses are judged before one of them is connected to, so
//! that neither a configuration nor a redirect nor a name server can make us knock at doors of our
//! own network. Size, time and redirects are bounded; nothing is decompressed.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use sallyport_config::ir::IpBlock;
use sallyport_core::admit::JWKS_BYTES_MAX;
use sallyport_core::discovery::Answer;
use sallyport_core::network::may_reach;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{Resolver, system_bundle};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// A connection that takes longer is given up for the next address.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of an answer's head.
const HEAD_MAX: usize = 32 * 1024;

/// Fetches documents.
pub struct Fetcher {
    resolver: Rc<Resolver>,
    tls: Result<TlsConnector, String>,
    allowed: Vec<IpBlock>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    secure: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    authority: String,
    /// Path and query.
    target: String,
}

/// What an answer is good for.
enum Got {
    Text(String),
    Moved(String),
}

impl Fetcher {
    /// Trusts the system's authorities and those of the file, and reaches internal addresses only
    /// in the blocks that are allowed. A file that cannot be read fails every fetch by https.
    pub fn new(resolver: Rc<Resolver>, ca: Option<&PathBuf>, allowed: &[IpBlock]) -> Self {
        Self {
            resolver,
            tls: tls(ca.map(PathBuf::as_path)),
            allowed: allowed.to_vec(),
        }
    }

    /// The text at a URL, at most [`JWKS_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub async fn get(&self, url: &str, within: Duration) -> Result<String, String> {
        let text = timeout(within, self.follow(url)).await;
        text.unwrap_or_else(|_| Err(format!("no answer within {} ms", within.as_millis())))
    }

    async fn follow(&self, url: &str) -> Result<String, String> {
        let mut place = Place::parse(url)?;
        for _ in 0..=REDIRECTS_MAX {
            match self.ask(&place).await? {
                Got::Text(text) => return Ok(text),
                Got::Moved(to) => place = place.moved(&to)?,
            }
        }
        Err(format!("more than {REDIRECTS_MAX} redirects"))
    }

    async fn ask(&self, place: &Place) -> Result<Got, String> {
        let stream = self.connect(place).await?;
        if !place.secure {
            return converse(stream, place).await;
        }
        let tls = self.tls.as_ref().map_err(Clone::clone)?;
        let name = ServerName::try_from(place.host.clone());
        let name = name.map_err(|_| format!("{} cannot be in a certificate", place.host))?;
        let stream = tls.connect(name, stream).await;
        converse(stream.map_err(|error| format!("TLS: {error}"))?, place).await
    }

    /// Connects to the first address that may be reached and answers.
    async fn connect(&self, place: &Place) -> Result<TcpStream, String> {
        let found = match place.host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => match self.resolver.ask(&place.host, &[]).await {
                (Answer::Addresses { addresses, .. }, _) => addresses,
                (_, why) => {
                    let why = why.unwrap_or_else(|| "it has no address".to_owned());
                    return Err(format!("{}: {why}", place.host));
                }
            },
        };
        let open = |ip: &&IpAddr| may_reach(**ip, &self.allowed);
        let mut failed = match found.first() {
            Some(ip) if !found.iter().any(|ip| open(&ip)) => format!(
                "{} is at {ip}, an internal address, which --allow-private must name",
                place.host
            ),
            _ => format!("{} has no address", place.host),
        };
        for ip in found.iter().filter(open).take(ADDRESSES_MAX) {
            let address = SocketAddr::new(*ip, place.port);
            match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = format!("{address}: {error}"),
                Err(_) => failed = format!("{address}: no connection in time"),
            }
        }
        Err(failed)
    }
}

/// Ends the task that moves the bytes, whatever becomes of the answer.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    place: &Place,
) -> Result<Got, String> {
    let text = |error: hyper::Error| error.to_string();
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let connecting = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = connecting.await.map_err(text)?;
    let moving = tokio::task::spawn_local(async move { drop(connection.await) });
    let _moving = AbortOnDrop(moving.abort_handle());
    let request = Request::get(place.target.as_str())
        .header(header::HOST, place.authority.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(
            header::USER_AGENT,
            concat!("sallyport/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(text)?;
    let (head, body) = response.into_parts();
    match head.status.as_u16() {
        200 => read(&head.headers, body).await.map(Got::Text),
        301 | 302 | 303 | 307 | 308 => {
            let location = head.headers.get(header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            let location = location.ok_or("a redirect to nowhere")?;
            Ok(Got::Moved(location.to_owned()))
        }
        status => Err(format!("the answer has status {status}")),
    }
}

async fn read(headers: &HeaderMap, body: Incoming) -> Result<String, String> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(format!(
            "the answer is encoded, which was not asked for: {encoding:?}"
        ));
    }
    let whole = Limited::new(body, JWKS_BYTES_MAX).collect().await;
    let whole = whole.map_err(|error| format!("the answer cannot be read: {error}"))?;
    String::from_utf8(whole.to_bytes().into()).map_err(|_| "the answer is not UTF-8".to_owned())
}

impl Place {
    fn parse(url: &str) -> Result<Self, String> {
        let wrong = || format!("{url:?} is not a URL of http or https");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err(format!("{url:?} has a user in it"));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            secure,
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_string(),
            target: target.to_owned(),
        })
    }

    /// Where a redirect from here leads: never from https to http.
    fn moved(&self, to: &str) -> Result<Self, String> {
        if to.starts_with('/') && !to.starts_with("//") {
            let target: Uri = to.parse().map_err(|_| "a redirect to nowhere")?;
            return Ok(Self {
                target: target.to_string(),
                ..self.clone()
            });
        }
        let place = Self::parse(to)?;
        if self.secure && !place.secure {
            return Err("a redirect from https to http".to_owned());
        }
        Ok(place)
    }
}

fn tls(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    if let Some(text) = system_bundle() {
        // Nobody here chose these: what cannot be read is left out.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
    }
    if let Some(path) = ca {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read(path).map_err(|error| wrong(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_odd_ones_refused() {
        let place = Place::parse("https://A.test/keys?v=1").unwrap();
        assert_eq!((place.host.as_str(), place.port), ("a.test", 443));
        assert_eq!(place.target, "/keys?v=1");
        let place = Place::parse("http://[::1]:8080").unwrap();
        assert_eq!((place.host.as_str(), place.port), ("::1", 8080));
        for url in [
            "",
            "a.test/keys",
            "ftp://a.test/",
            "file:///etc/passwd",
            "https://",
            "https://u:p@a.test/",
        ] {
            assert!(Place::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn redirects_stay_on_https() {
        let place = Place::parse("https://a.test/keys").unwrap();
        assert_eq!(place.moved("/other").unwrap().target, "/other");
        assert_eq!(place.moved("https://b.test:8443/k").unwrap().port, 8443);
        for to in ["http://a.test/keys", "//b.test/keys", "keys", ""] {
            assert!(place.moved(to).is_err(), "{to}");
        }
        let plain = Place::parse("http://a.test/keys").unwrap();
        assert!(plain.moved("https://a.test/keys").unwrap().secure);
    }
}
