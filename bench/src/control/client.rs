//! One sidecar: subscribes to what a sidecar does, accepts everything, looks into nothing.

use super::mesh::FIRST_PORT;
use super::wire::{CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, Response, TYPES, frame, unframe};
use crate::args::Control;
use bytes::{Bytes, BytesMut};
use h2::SendStream;
use http::Request;
use prost::Message as _;
use sallyport_wire::envoy::envoy::config::core::v3::Node;
use sallyport_wire::envoy::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use sallyport_wire::envoy::google::protobuf::{Struct, Value, value::Kind};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Window of each stream and of the connection, in bytes.
const WINDOW: u32 = 1024 * 1024;

/// A client that lost its stream waits this long.
const PAUSE: Duration = Duration::from_millis(200);

/// Versions by name.
type Versions = HashMap<String, String>;

/// What all clients saw.
#[derive(Default)]
pub(super) struct Tally {
    /// Clients that have a route table.
    pub(super) served: Cell<usize>,
    /// Clients that got any answer.
    pub(super) answered: Cell<usize>,
    /// Bytes of resources.
    pub(super) bytes: Cell<usize>,
    /// Responses.
    pub(super) messages: Cell<usize>,
    /// When the resource that is waited for was accepted.
    pub(super) arrived: RefCell<Vec<Instant>>,
    /// What clients have, by type; for those that come back.
    pub(super) known: RefCell<HashMap<usize, BTreeMap<&'static str, Versions>>>,
    expected: RefCell<(String, String)>,
}

impl Tally {
    /// Waits for a resource from now on.
    pub(super) fn expect(&self, ty: &str, name: &str) {
        self.arrived.take();
        *self.expected.borrow_mut() = (ty.to_owned(), name.to_owned());
    }
}

/// A sidecar.
pub(super) struct Client {
    address: SocketAddr,
    index: usize,
    node: Node,
    tables: Vec<String>,
    tally: Rc<Tally>,
    has: BTreeMap<&'static str, Versions>,
    served: bool,
    answered: bool,
}

impl Client {
    pub(super) fn new(args: &Control, address: SocketAddr, index: usize, tally: Rc<Tally>) -> Self {
        let service = index % args.services;
        let namespace = format!("ns{}", service % args.namespaces);
        let (high, low) = (service / 250, service % 250);
        let block = 1 + (index / args.services) % 2;
        let ip = format!("10.{block}{high}.{low}.1");
        let text = |text: String| Value {
            kind: Some(Kind::StringValue(text)),
        };
        let labels = [("app".to_owned(), text(format!("s{service}")))];
        let labels = Value {
            kind: Some(Kind::StructValue(Struct {
                fields: labels.into(),
            })),
        };
        let fields = [
            ("NAMESPACE".to_owned(), text(namespace.clone())),
            ("SERVICE_ACCOUNT".to_owned(), text(format!("s{service}"))),
            ("LABELS".to_owned(), labels),
        ];
        let known = tally.known.borrow_mut().remove(&index);
        Self {
            address,
            index,
            node: Node {
                id: format!(
                    "sidecar~{ip}~s{service}-{index}.{namespace}~{namespace}.svc.cluster.local"
                ),
                metadata: Some(Struct {
                    fields: fields.into(),
                }),
                ..Node::default()
            },
            tables: (0..args.ports)
                .map(|port| (FIRST_PORT + port).to_string())
                .collect(),
            tally,
            has: known.unwrap_or_default(),
            served: false,
            answered: false,
        }
    }

    /// Serves until it is ended; what breaks is said, and tried again as a proxy does.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(error) = self.stream().await {
                eprintln!("client {}: {error}", self.index);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn stream(&mut self) -> Result<(), Box<dyn Error>> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let (sender, connection) = builder.handshake::<_, Bytes>(socket).await?;
        tokio::task::spawn_local(async move {
            // the stream says what is wrong
            let _ = connection.await;
        });
        let request = Request::post(format!(
            "http://{}/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
            self.address
        ));
        let request = request
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut up) = sender.ready().await?.send_request(request, false)?;
        let mut first = self.ask(CLUSTERS);
        first.node = Some(self.node.clone());
        send(&mut up, &first)?;
        send(&mut up, &self.ask(LISTENERS))?;
        if self.has.contains_key(ENDPOINTS) {
            let mut ask = self.ask(ENDPOINTS);
            ask.resource_names_subscribe = ask.initial_resource_versions.keys().cloned().collect();
            send(&mut up, &ask)?;
        }
        let mut ask = self.ask(ROUTES);
        ask.resource_names_subscribe.clone_from(&self.tables);
        send(&mut up, &ask)?;
        let mut down = response.await?.into_body();
        let mut buffer = BytesMut::new();
        while let Some(chunk) = down.data().await {
            let chunk = chunk?;
            down.flow_control().release_capacity(chunk.len())?;
            buffer.extend_from_slice(&chunk);
            while let Some(message) = unframe(&mut buffer) {
                self.take(Response::decode(message)?, &mut up)?;
            }
        }
        Err("the stream ended".into())
    }

    fn ask(&self, ty: &str) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: ty.to_owned(),
            initial_resource_versions: self.has.get(ty).cloned().unwrap_or_default(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    /// Accepts a response, and asks for the endpoints of its clusters.
    fn take(
        &mut self,
        response: Response,
        up: &mut SendStream<Bytes>,
    ) -> Result<(), Box<dyn Error>> {
        let ty = TYPES.iter().find(|ty| **ty == response.type_url);
        let ty = *ty.ok_or("a type that nobody asked for")?;
        let mut new = Vec::new();
        let tally = Rc::clone(&self.tally);
        let mut bytes = 0;
        let mut arrived = false;
        for resource in response.resources {
            bytes += resource.resource.len();
            let expected = tally.expected.borrow();
            arrived |= expected.1 == resource.name && expected.0 == ty;
            let has = self.has.entry(ty).or_default();
            let known = has
                .insert(resource.name.clone(), resource.version)
                .is_some();
            if ty == CLUSTERS && !known && resource.name.starts_with("outbound|") {
                new.push(resource.name);
            }
        }
        let answer = DeltaDiscoveryRequest {
            type_url: ty.to_owned(),
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        send(up, &answer)?;
        if arrived {
            tally.arrived.borrow_mut().push(Instant::now());
        }
        if !new.is_empty() {
            let ask = DeltaDiscoveryRequest {
                type_url: ENDPOINTS.to_owned(),
                resource_names_subscribe: new,
                ..DeltaDiscoveryRequest::default()
            };
            send(up, &ask)?;
        }
        tally.bytes.set(tally.bytes.get() + bytes);
        tally.messages.set(tally.messages.get() + 1);
        if ty == ROUTES && !std::mem::replace(&mut self.served, true) {
            tally.served.set(tally.served.get() + 1);
        }
        if !std::mem::replace(&mut self.answered, true) {
            tally.answered.set(tally.answered.get() + 1);
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let has = std::mem::take(&mut self.has);
        self.tally.known.borrow_mut().insert(self.index, has);
    }
}

fn send(up: &mut SendStream<Bytes>, message: &DeltaDiscoveryRequest) -> Result<(), Box<dyn Error>> {
    up.send_data(frame(message), false)?;
    Ok(())
}
