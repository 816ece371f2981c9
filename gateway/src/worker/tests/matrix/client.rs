//! Clients of every wire, asked in one way.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::{HeaderMap, Method, Request};
use rustls_pki_types::ServerName;
use sallyport_core::h3::{RequestStream, qpack, varint};
use tokio::net::TcpStream;

use super::super::support::PATIENCE;
use super::super::{h3, tls};
use super::cell::{Cell, Wire};
use super::halves::{Inlet, Outlet};
use super::plain::{Io, split};

type H3Sender = ::h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// What is asked.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) fields: HeaderMap,
    /// A body follows.
    pub(super) body: bool,
    pub(super) websocket: bool,
}

impl Ask {
    /// A request without a body.
    pub(super) fn get(path: &'static str) -> Self {
        Self {
            method: Method::GET,
            path,
            fields: super::halves::fields(&[("te", "trailers")]),
            body: false,
            websocket: false,
        }
    }

    /// A request with a body whose length is not told.
    pub(super) fn post(path: &'static str) -> Self {
        Self {
            method: Method::POST,
            body: true,
            ..Self::get(path)
        }
    }

    /// A WebSocket's beginning.
    pub(super) fn websocket(path: &'static str) -> Self {
        Self {
            websocket: true,
            fields: HeaderMap::new(),
            ..Self::get(path)
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.insert(name, value.parse().unwrap());
        self
    }

    fn request(&self, scheme: &str) -> Request<()> {
        let uri = format!("{scheme}://a.example{}", self.path);
        let mut request = Request::builder().method(self.method.clone()).uri(uri);
        *request.headers_mut().unwrap() = self.fields.clone();
        request.body(()).unwrap()
    }
}

/// A request on its way, and its answer.
pub(super) struct Call {
    pub(super) up: Outlet,
    pub(super) down: Inlet,
}

/// How a client reaches the gateway.
pub(super) struct Client {
    cell: Cell,
    door: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    endpoint: Option<quinn::Endpoint>,
    line: Line,
    /// What drives connections of HTTP/2.
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// The connection that requests share, if they do.
enum Line {
    None,
    H2(SendRequest<Bytes>),
    H3(quinn::Connection, H3Sender),
}

impl Client {
    /// For the door of this cell's gateway, whose certificate is trusted.
    pub(super) fn new(
        cell: Cell,
        door: SocketAddr,
        trusted: &tls::Pair,
        runtime: &tokio::runtime::Runtime,
    ) -> Self {
        let mut config = (*tls::config(trusted, &rustls::version::TLS13)).clone();
        config.alpn_protocols = match cell.client {
            Wire::H2 => vec![b"h2".to_vec()],
            Wire::H1 | Wire::H3 => vec![b"http/1.1".to_vec()],
        };
        Self {
            cell,
            door,
            tls: Arc::new(config),
            endpoint: (cell.client == Wire::H3).then(|| {
                let _runtime = runtime.enter();
                h3::endpoint(trusted)
            }),
            line: Line::None,
            tasks: Vec::new(),
        }
    }

    async fn dial(&self) -> Box<dyn Io> {
        let stream = TcpStream::connect(self.door).await.unwrap();
        stream.set_nodelay(true).unwrap();
        if !self.cell.tls {
            return Box::new(stream);
        }
        let name = ServerName::try_from("a.example").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        Box::new(connector.connect(name, stream).await.unwrap())
    }

    /// Forgets the connection: the next request opens another one.
    pub(super) fn hang_up(&mut self) {
        if let Line::H3(connection, _) = &self.line {
            connection.close(0x100_u32.into(), b"");
        }
        self.line = Line::None;
    }

    /// Hangs up, and waits until that has been said.
    pub(super) async fn leave(&mut self) {
        self.hang_up();
        for mut task in self.tasks.drain(..) {
            if tokio::time::timeout(PATIENCE, &mut task).await.is_err() {
                panic!("a connection that nobody uses lives on");
            }
        }
        if let Some(endpoint) = &self.endpoint {
            endpoint.wait_idle().await;
        }
    }

    async fn connect(&mut self) {
        self.line = match self.cell.client {
            Wire::H1 => Line::None,
            Wire::H2 => {
                let mut builder = h2::client::Builder::new();
                builder.initial_connection_window_size(1 << 20);
                let io = self.dial().await;
                let (send, connection) = builder.handshake(io).await.unwrap();
                // How it ends is seen by its streams.
                let task = tokio::spawn(async move { drop(connection.await) });
                self.tasks.push(task);
                Line::H2(send)
            }
            Wire::H3 => {
                let endpoint = self.endpoint.as_ref().unwrap();
                let (connection, sender) = h3::connect(endpoint, self.door, "a.example").await;
                Line::H3(connection, sender)
            }
        };
    }

    /// Sends a request's head.
    pub(super) async fn call(&mut self, ask: &Ask) -> Call {
        if matches!(self.line, Line::None) {
            self.connect().await;
        }
        let scheme = if self.cell.tls { "https" } else { "http" };
        match &mut self.line {
            Line::None => over_h1(self.dial().await, ask).await,
            Line::H2(send) => over_h2(send, ask, scheme).await,
            Line::H3(connection, _) if ask.websocket => by_frames(connection, ask).await,
            Line::H3(_, sender) => {
                let stream = sender.send_request(ask.request("https")).await.unwrap();
                let (mut up, down) = stream.split();
                if !ask.body {
                    up.finish().await.unwrap();
                }
                Call {
                    up: Outlet::H3(Box::new(up)),
                    down: Inlet::H3(Box::new(down)),
                }
            }
        }
    }
}

async fn over_h1(io: Box<dyn Io>, ask: &Ask) -> Call {
    let (source, mut sink) = split(io);
    let mut fields = ask.fields.clone();
    fields.insert("host", "a.example".parse().unwrap());
    if ask.websocket {
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            fields.insert(name, value.parse().unwrap());
        }
    }
    let first = format!("{} {} HTTP/1.1", ask.method, ask.path);
    sink.head(&first, &fields, !ask.body).await.unwrap();
    Call {
        up: Outlet::H1(sink),
        down: Inlet::H1(source),
    }
}

async fn over_h2(send: &mut SendRequest<Bytes>, ask: &Ask, scheme: &str) -> Call {
    // The gateway's SETTINGS say whether a CONNECT may be extended.
    while ask.websocket && !send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut send = send.clone().ready().await.unwrap();
    let mut request = ask.request(scheme);
    if ask.websocket {
        *request.method_mut() = Method::CONNECT;
        let fields = request.headers_mut();
        fields.insert("sec-websocket-version", "13".parse().unwrap());
        let protocol = Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
    }
    let open = ask.body || ask.websocket;
    let (response, stream) = send.send_request(request, !open).unwrap();
    Call {
        up: Outlet::H2 {
            respond: None,
            stream: Some(stream),
        },
        down: Inlet::H2 {
            response: Some(response),
            body: None,
        },
    }
}

/// The library does not know `websocket`.
async fn by_frames(connection: &quinn::Connection, ask: &Ask) -> Call {
    let (mut send, stream) = connection.open_bi().await.unwrap();
    let mut section = Vec::new();
    qpack::encode_prefix(&mut section);
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a.example"),
        (":path", ask.path),
        ("sec-websocket-version", "13"),
    ] {
        qpack::encode_line(&mut section, name.as_bytes(), value.as_bytes());
    }
    let mut frame = Vec::new();
    varint::write(&mut frame, 1);
    varint::write(&mut frame, section.len() as u64);
    frame.extend_from_slice(&section);
    send.write_all(&frame).await.unwrap();
    Call {
        up: Outlet::Frames(send),
        down: Inlet::Frames {
            stream,
            reader: RequestStream::new(),
            came: Bytes::new(),
        },
    }
}
