//! Origins of both wires that do what the path says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::ext::Protocol;
use http::{HeaderMap, HeaderValue};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::super::upstream_tls::Pair;
use super::cell::Wire;
use super::halves::{Broken, Inlet, Outlet, fields, pattern};
use super::plain::{Io, split};

/// What an origin saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Requests, as `method path` and the number of the try.
    pub(super) requests: Vec<String>,
    /// Protocols that TLS agreed upon.
    pub(super) alpn: Vec<String>,
    /// Requests that ended before they were over.
    pub(super) broken: usize,
}

/// An origin; its connections end with it.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _stop: oneshot::Sender<()>,
    /// Changes when all connections shall end.
    hang_up: watch::Sender<()>,
}

/// A request that an origin answers.
struct Served {
    method: String,
    path: String,
    fields: HeaderMap,
    websocket: bool,
    inlet: Inlet,
    outlet: Outlet,
}

impl Origin {
    /// That speaks this, encrypted with this certificate.
    pub(super) fn start(wire: Wire, secret: Option<&Pair>) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = secret.map(|pair| acceptor(pair, wire));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let kept = Arc::clone(&seen);
        let (stop, stopped) = oneshot::channel::<()>();
        let (hang_up, hung_up) = watch::channel(());
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async move {
                let accept = accept(listener, wire, acceptor, kept, hung_up);
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            seen,
            _stop: stop,
            hang_up,
        }
    }

    /// Ends all its connections.
    pub(super) fn hang_up(&self) {
        // Nobody hears it when there are none.
        self.hang_up.send_replace(());
    }

    /// What it has seen.
    pub(super) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

fn acceptor(pair: &Pair, wire: Wire) -> tokio_rustls::TlsAcceptor {
    let chain: Result<_, _> = CertificateDer::pem_slice_iter(&pair.chain).collect();
    let key = PrivateKeyDer::from_pem_slice(&pair.key).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(chain.unwrap(), key).unwrap();
    config.alpn_protocols = match wire {
        Wire::H2 => vec![b"h2".to_vec()],
        Wire::H1 | Wire::H3 => vec![b"http/1.1".to_vec()],
    };
    Arc::new(config).into()
}

async fn accept(
    listener: std::net::TcpListener,
    wire: Wire,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    seen: Arc<Mutex<Seen>>,
    hung_up: watch::Receiver<()>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        let mut hung_up = hung_up.clone();
        hung_up.mark_unchanged();
        tokio::spawn(async move {
            let serve = async {
                let Some(io) = open(stream, acceptor, &seen).await else {
                    return;
                };
                match wire {
                    Wire::H2 => serve_h2(io, seen).await,
                    Wire::H1 | Wire::H3 => serve_h1(io, &seen).await,
                }
            };
            tokio::select! {
                () = serve => {}
                _ = hung_up.changed() => {}
            }
        });
    }
}

async fn open(
    stream: TcpStream,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    seen: &Mutex<Seen>,
) -> Option<Box<dyn Io>> {
    stream.set_nodelay(true).unwrap();
    let Some(acceptor) = acceptor else {
        return Some(Box::new(stream));
    };
    let stream = acceptor.accept(stream).await.ok()?;
    let alpn = stream.get_ref().1.alpn_protocol().unwrap_or_default();
    let alpn = String::from_utf8_lossy(alpn).into_owned();
    seen.lock().unwrap().alpn.push(alpn);
    Some(Box::new(stream))
}

/// One request after the other.
async fn serve_h1(io: Box<dyn Io>, seen: &Mutex<Seen>) {
    let (mut source, mut sink) = split(io);
    while let Ok(lines) = source.head().await {
        let mut words = lines.first.split(' ');
        let mut served = Served {
            method: words.next().unwrap().to_owned(),
            path: words.next().unwrap().to_owned(),
            websocket: lines.fields.contains_key("upgrade"),
            fields: lines.fields,
            inlet: Inlet::H1(source),
            outlet: Outlet::H1(sink),
        };
        let done = served.act(seen).await;
        let (Inlet::H1(back), Outlet::H1(out)) = (served.inlet, served.outlet) else {
            return;
        };
        (source, sink) = (back, out);
        if done != Ok(true) {
            sink.close().await;
            return;
        }
    }
}

async fn serve_h2(io: Box<dyn Io>, seen: Arc<Mutex<Seen>>) {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(200)
        .enable_connect_protocol();
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let (parts, body) = request.into_parts();
            let mut served = Served {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                websocket: parts.extensions.get::<Protocol>().is_some(),
                fields: parts.headers,
                inlet: Inlet::H2 {
                    response: None,
                    body: Some(body),
                },
                outlet: Outlet::H2 {
                    respond: Some(respond),
                    stream: None,
                },
            };
            // What broke has been noted.
            drop(served.act(&seen).await);
        });
    }
}

impl Served {
    /// Does what the path says; whether the connection can be used again.
    async fn act(&mut self, seen: &Mutex<Seen>) -> Result<bool, Broken> {
        let attempt = self.fields.get("x-envoy-attempt-count");
        let attempt = attempt
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        let noted = format!("{} {} {attempt}", self.method, self.path);
        seen.lock().unwrap().requests.push(noted);
        let done = match self.path.as_str() {
            "/early" => self.early().await,
            "/torn" => self.torn().await,
            "/reset" => self.cut().await,
            "/retry" if attempt == "1" => self.cut().await,
            "/expect" => {
                self.outlet.answer(100, &HeaderMap::new(), false).await?;
                self.echo().await
            }
            "/hints" => {
                let hint = fields(&[("link", "</style.css>; rel=preload")]);
                self.outlet.answer(103, &hint, false).await?;
                self.echo().await
            }
            "/socket" => self.tunnel().await,
            "/grpc-only" => self.trailers_only().await,
            "/download" => self.download(None).await,
            "/die" => self.download(self.number("x-after")).await,
            "/hang" => self.hang().await,
            _ => self.echo().await,
        };
        if done.is_err() {
            seen.lock().unwrap().broken += 1;
        }
        done
    }

    /// Sends back what comes as it comes, trailers included.
    async fn echo(&mut self) -> Result<bool, Broken> {
        let mut head = fields(&[("x-origin", "echo")]);
        if let Some(kind) = self.fields.get("content-type") {
            head.insert("content-type", kind.clone());
        }
        self.outlet.answer(200, &head, false).await?;
        while let Some(data) = self.inlet.data().await? {
            self.outlet.data(data).await?;
        }
        let mut trailers = self.inlet.trailers().await?;
        trailers.insert("x-end", HeaderValue::from_static("true"));
        self.outlet.end(&trailers).await?;
        Ok(true)
    }

    /// Answers without having read the request, and drops what still comes of it: a connection
    /// that is closed with unread bytes is reset, and a reset can overtake the answer.
    async fn early(&mut self) -> Result<bool, Broken> {
        let head = fields(&[("content-length", "5")]);
        self.outlet.answer(403, &head, false).await?;
        self.outlet.data(Bytes::from_static(b"early")).await?;
        self.outlet.end(&HeaderMap::new()).await?;
        while let Ok(Some(_)) = self.inlet.data().await {}
        Ok(false)
    }

    /// Breaks off after half of the answer.
    async fn torn(&mut self) -> Result<bool, Broken> {
        let head = fields(&[("content-length", "8")]);
        self.outlet.answer(200, &head, false).await?;
        self.outlet.data(Bytes::from_static(b"half")).await?;
        // The half is on its way when the client says so.
        let data = self.inlet.data().await;
        self.cut().await?;
        data.map(|_| false)
    }

    async fn cut(&mut self) -> Result<bool, Broken> {
        self.outlet.cut().await;
        Ok(false)
    }

    async fn tunnel(&mut self) -> Result<bool, Broken> {
        assert!(self.websocket, "{}", self.path);
        match (&mut self.inlet, &self.outlet) {
            (Inlet::H1(source), _) => {
                source.tunnel();
                let head = fields(&[("connection", "upgrade"), ("upgrade", "websocket")]);
                self.outlet.answer(101, &head, false).await?;
            }
            _ => self.outlet.answer(200, &HeaderMap::new(), false).await?,
        }
        while let Some(data) = self.inlet.data().await? {
            self.outlet.data(data).await?;
        }
        self.outlet.close().await;
        Ok(false)
    }

    /// A call of gRPC that failed at once: its status is in the head.
    async fn trailers_only(&mut self) -> Result<bool, Broken> {
        self.inlet.whole().await?;
        let mut head = fields(&[
            ("content-type", "application/grpc"),
            ("grpc-status", "5"),
            ("grpc-message", "no such thing"),
        ]);
        if matches!(self.outlet, Outlet::H1(_)) {
            head.insert("content-length", HeaderValue::from_static("0"));
        }
        self.outlet.answer(200, &head, true).await?;
        Ok(true)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.fields.get(name)?.to_str().ok()?.parse().ok()
    }

    /// Sends without end, or breaks off after so many bytes.
    async fn download(&mut self, limit: Option<usize>) -> Result<bool, Broken> {
        if limit == Some(0) {
            return self.cut().await;
        }
        self.outlet.answer(200, &HeaderMap::new(), false).await?;
        let limit = limit.unwrap_or(usize::MAX);
        let mut sent = 0;
        while sent < limit {
            let part = pattern(sent, limit - sent);
            sent += part.len();
            self.outlet.data(part).await?;
        }
        self.cut().await
    }

    /// Reads all that comes, and never answers.
    async fn hang(&mut self) -> Result<bool, Broken> {
        self.inlet.whole().await?;
        std::future::pending().await
    }
}
