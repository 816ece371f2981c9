//! One xDS stream: a [`Session`] with a client on one side and the configuration on the other.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sallyport_wire::envoy::envoy::config::core::v3::Node;
use sallyport_wire::envoy::google::rpc;
use sallyport_wire::health::HEALTH_INFORMATION;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};

use super::Shared;
use super::caller::Caller;
use super::clients::Entry;
use super::grpc::Responses;
use super::metrics;
use crate::log;
use crate::proxy::Proxy;
use crate::push::Generation;
use crate::registry::Registration;
use crate::resources::Resources;
use crate::session::{Protocol, Request, Session};

/// A client must say who it is within this.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
/// A client must take a response within this; one that does not loses its stream.
const SEND_WITHIN: Duration = Duration::from_secs(60);
/// A client has subscribed to all that it uses after this.
const GROWN_AFTER: Duration = Duration::from_secs(2);
/// Messages of types that we do not have, before the first one that names a node.
const PROBES_MAX: usize = 8;

/// One of the two methods of the service.
pub(crate) trait Method: Send + 'static {
    /// Message of the client.
    type Request: prost::Message + Default + 'static;
    /// Which method it is.
    const PROTOCOL: Protocol;

    /// Takes a message apart.
    fn open(message: Self::Request) -> Message;
}

/// A message of a client.
pub(crate) struct Message {
    /// Who it is; clients need to say that in the first message only.
    pub(crate) node: Option<Node>,
    /// What it asks for, if it is of a type that we have.
    pub(crate) request: Option<Request>,
    /// How its workload is, if it says that.
    pub(crate) health: Option<Result<(), String>>,
}

impl Message {
    /// What a message of Istio's type for health says.
    pub(crate) fn health(ty: &str, error: Option<&rpc::Status>) -> Option<Result<(), String>> {
        let sick = error.map(|error| Err(error.message.clone()));
        (ty == HEALTH_INFORMATION).then(|| sick.unwrap_or(Ok(())))
    }
}

/// Serves a stream until it ends; the error is what the client is told.
pub(super) async fn serve<M: Method>(
    shared: Arc<Shared>,
    (caller, peer): (Caller, Option<SocketAddr>),
    mut requests: Streaming<M::Request>,
    responses: Responses,
    _permit: OwnedSemaphorePermit,
) {
    let ended = async {
        let first = timeout(FIRST_WITHIN, first::<M>(&mut requests)).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no first message came"))??;
        let Some((node, first)) = first else {
            return Ok(());
        };
        let proxy = Proxy::from_node(&node);
        let proxy = proxy.map_err(|error| Status::invalid_argument(error.to_string()))?;
        caller.may_be(&proxy)?;
        caller.may_register(&proxy)?;
        let stream = Stream::open(shared.clone(), proxy, caller, peer, M::PROTOCOL).await?;
        stream.run::<M>(first, &mut requests, &responses).await
    };
    if let Err(status) = ended.await {
        shared.metrics.refused.add(1);
        log::info("ads", format_args!("a stream ends: {}", status.message()));
        // a client that takes nothing is not told why either
        let _ = timeout(SEND_WITHIN, responses.send(Err(status))).await;
    }
}

/// The first message that says who the client is.
async fn first<M: Method>(
    requests: &mut Streaming<M::Request>,
) -> Result<Option<(Node, Message)>, Status> {
    for _ in 0..PROBES_MAX {
        let Some(message) = requests.message().await? else {
            return Ok(None);
        };
        let mut message = M::open(message);
        match message.node.take() {
            Some(node) => return Ok(Some((node, message))),
            // agents may report health before their proxy speaks
            None if message.request.is_none() => {}
            None => break,
        }
    }
    Err(Status::invalid_argument("the first message names no node"))
}

/// An open stream.
struct Stream {
    shared: Arc<Shared>,
    entry: Entry,
    session: Session,
    generation: Arc<Generation>,
    /// Before secrets were taken out.
    whole: Arc<Resources>,
    /// The workload is registered for as long as this is here.
    registration: Option<Registration>,
}

impl Stream {
    async fn open(
        shared: Arc<Shared>,
        proxy: Proxy,
        caller: Caller,
        peer: Option<SocketAddr>,
        protocol: Protocol,
    ) -> Result<Self, Status> {
        let generation = shared.generation.borrow().clone();
        let generation =
            generation.ok_or_else(|| Status::unavailable("there is no configuration yet"))?;
        let whole = shared.resources(&generation, &proxy, None).await;
        let whole = whole.ok_or_else(|| Status::internal("the configuration cannot be made"))?;
        let set = &generation.configuration.set;
        let registration = shared.registry.register(&proxy, set)?;
        let entry = shared.clients.enter(proxy, caller, peer, protocol);
        let target = allowed(&entry, &whole);
        Ok(Self {
            session: Session::new(protocol, target),
            shared,
            entry,
            generation,
            whole,
            registration,
        })
    }

    async fn run<M: Method>(
        mut self,
        first: Message,
        requests: &mut Streaming<M::Request>,
        responses: &Responses,
    ) -> Result<(), Status> {
        let mut changes = self.shared.generation.clone();
        let mut grown = Some(Instant::now() + GROWN_AFTER);
        let mut next = Some(first);
        // it may have changed while this stream was opened
        changes.mark_changed();
        loop {
            if let Some(message) = next.take() {
                if let (Some(health), Some(own)) = (&message.health, &self.registration) {
                    own.report(health);
                }
                if let Some(request) = message.request {
                    self.receive(request)?;
                }
            }
            self.push(responses).await?;
            let grow = async {
                match grown {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                message = requests.message() => match message? {
                    None => return Ok(()),
                    Some(message) => next = Some(M::open(message)),
                },
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Err(Status::unavailable("the control process stops"));
                    }
                    let generation = changes.borrow_and_update().clone();
                    self.update(generation).await;
                }
                () = grow => {
                    grown = None;
                    self.session.grown();
                }
            }
        }
    }

    fn receive(&mut self, request: Request) -> Result<(), Status> {
        if let Some(why) = &request.refused {
            let proxy = &self.entry.client.proxy.id;
            log::warn("ads", format_args!("{proxy} refuses {}: {why}", request.ty));
            if let Some(counter) = metrics::of(&self.shared.metrics.rejects, request.ty) {
                counter.add(1);
            }
        }
        let received = self.session.receive(request);
        received.map_err(|violation| Status::resource_exhausted(violation.to_string()))
    }

    async fn update(&mut self, generation: Option<Arc<Generation>>) {
        let Some(generation) = generation.filter(|new| !Arc::ptr_eq(new, &self.generation)) else {
            return;
        };
        let proxy = &self.entry.client.proxy;
        let before = Some(Arc::clone(&self.whole));
        if let Some(whole) = self.shared.resources(&generation, proxy, before).await
            && !Arc::ptr_eq(&whole, &self.whole)
        {
            self.session.update(allowed(&self.entry, &whole));
            self.whole = whole;
        }
        self.generation = generation;
    }

    /// Sends what there is to send.
    async fn push(&mut self, responses: &Responses) -> Result<(), Status> {
        let mut sent = false;
        while let Some(response) = self.session.poll() {
            sent = true;
            let bytes: usize = response
                .resources
                .iter()
                .map(|s| s.resource.body.len())
                .sum();
            let metrics = &self.shared.metrics;
            metrics.bytes.add(u64::try_from(bytes).unwrap_or(u64::MAX));
            if let Some(counter) = metrics::of(&metrics.pushes, response.ty) {
                counter.add(1);
            }
            let sending = responses.send(Ok(response));
            match timeout(SEND_WITHIN, sending).await {
                Ok(Ok(())) => {}
                // the client is gone: the next read says so
                Ok(Err(_)) => break,
                Err(_) => {
                    metrics.write_timeouts.add(1);
                    return Err(Status::deadline_exceeded("a response was not taken"));
                }
            }
        }
        if sent {
            let metrics = &self.shared.metrics;
            metrics.convergence.add(self.generation.since.elapsed());
        }
        self.entry.client.note(&self.session);
        Ok(())
    }
}

fn allowed(entry: &Entry, whole: &Arc<Resources>) -> Arc<Resources> {
    if entry.client.caller.may_have_secrets() || !whole.has_secrets() {
        return Arc::clone(whole);
    }
    Arc::new(whole.without_secrets())
}
