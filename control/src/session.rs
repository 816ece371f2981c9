//! One xDS stream as a machine without I/O: what a client asked for, what it has, what it needs.
//!
//! Call [`Session::receive`] with each request, [`Session::update`] when the proxy's resources
//! change and once [`Session::grown`], and after each of them send what [`Session::poll`] gives until
//! it gives nothing. Both protocols
//! of an aggregated stream are here, state of the world and delta; they share everything but how a
//! subscription is read and how a difference is said.
//!
//! The rules, from the xDS protocol specification and from what Envoy needs:
//! - Nothing that a client has is sent to it again: versions are hashes of content. It has what was
//!   sent, also when it refused it: the same bytes would be refused again.
//! - One response of a type is under way at a time; its ACK or NACK lets the next one go. A client
//!   that does not answer gets no more, so a slow one costs no memory.
//! - Types go in the order of [`TypeUrl::ALL`], and a type waits while one before it still has
//!   something to send: a route never arrives before its cluster.
//! - What is gone is taken away last, when listeners and routes were accepted: a route that was
//!   refused keeps its cluster (make before break). With state of the world, where absence takes
//!   away, a cluster that is gone is sent as it was until then.
//! - A cluster that changed is warmed anew and waits for its endpoints, so they are sent again after
//!   it, changed or not (envoy#13009). An assignment has the name of its cluster.

mod known;
mod subscription;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::resources::{Resource, Resources, TypeUrl};
use subscription::Subscription;

/// Which of the two methods of the service a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `StreamAggregatedResources`
    StateOfTheWorld,
    /// `DeltaAggregatedResources`
    Delta,
}

/// A request, of either protocol, whose type is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Type of the resources.
    pub ty: TypeUrl,
    /// Nonce of the response that it answers; empty when it answers none.
    pub nonce: String,
    /// Why that response was refused.
    pub refused: Option<String>,
    /// What it asks for.
    pub ask: Ask,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// State of the world: all names. None stands for everything of a root type.
    Names(Vec<String>),
    /// Delta: what changes about the names.
    Change {
        /// Names to add; `*` is everything.
        subscribe: Vec<String>,
        /// Names to take away.
        unsubscribe: Vec<String>,
        /// What the client has from a stream before this one: names and versions.
        initial: Vec<(String, String)>,
    },
}

/// A response to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Type of the resources.
    pub ty: TypeUrl,
    /// What the client answers with.
    pub nonce: String,
    /// Version of all that the client then has of this type.
    pub version: String,
    /// What is new or changed; everything, for a root type and state of the world.
    pub resources: Vec<Sent>,
    /// Names of what is gone; always empty for state of the world.
    pub removed: Vec<Arc<str>>,
}

/// A resource in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Version that a client names when it comes back.
    pub version: String,
    /// The resource.
    pub resource: Arc<Resource>,
}

/// A request beyond all bounds; the stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(&'static str);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Violation {}

/// How a client stands with a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The type.
    pub ty: TypeUrl,
    /// Nonce of the last response; 0 when none was sent.
    pub sent: u64,
    /// Nonce of the last response that was accepted; 0 when none was.
    pub accepted: u64,
    /// How many names are subscribed to; `None` is everything.
    pub names: Option<usize>,
    /// Why the last response was refused, until one is accepted.
    pub error: Option<Arc<str>>,
    /// Responses that were refused on this stream.
    pub refusals: u64,
}

/// The machine. See the module for the contract.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    target: Arc<Resources>,
    subscriptions: BTreeMap<TypeUrl, Subscription>,
    nonce: u64,
    /// The client may not have said yet all that it uses.
    young: bool,
}

impl Session {
    /// A new stream of a client that is to have `target`.
    #[must_use]
    pub fn new(protocol: Protocol, target: Arc<Resources>) -> Self {
        Self {
            protocol,
            target,
            subscriptions: BTreeMap::new(),
            nonce: 0,
            young: true,
        }
    }

    /// The client had the time to subscribe to all that it uses. Until then nothing is taken away
    /// from it: one that comes back asks for clusters first, and its routes may still use them.
    pub fn grown(&mut self) {
        self.young = false;
    }

    /// Takes a request in. A message of the other protocol counts as a subscription to nothing.
    ///
    /// # Errors
    /// More names than any honest client has: the stream is to be ended.
    pub fn receive(&mut self, request: Request) -> Result<(), Violation> {
        let subscription = self.subscriptions.entry(request.ty).or_default();
        let current = subscription.answer(&request.nonce, request.refused);
        match request.ask {
            Ask::Names(names) if current => subscription.names(request.ty, names),
            // an answer to a response that another one has overtaken
            Ask::Names(_) => Ok(()),
            Ask::Change {
                subscribe,
                unsubscribe,
                initial,
            } => {
                let target = &self.target;
                subscription.change(request.ty, target, subscribe, unsubscribe, initial)
            }
        }
    }

    /// The client is to have these resources from now on.
    pub fn update(&mut self, target: Arc<Resources>) {
        if !Arc::ptr_eq(&self.target, &target) {
            self.target = target;
            for subscription in self.subscriptions.values_mut() {
                subscription.look();
            }
        }
    }

    /// The next response, if there is something to send now.
    pub fn poll(&mut self) -> Option<Response> {
        for ty in TypeUrl::ALL {
            match self.next(ty, false) {
                Next::Nothing => {}
                Next::Blocked => return None,
                Next::Send(response) => return Some(response),
            }
        }
        let settled = |ty| self.subscriptions.get(ty).is_none_or(Subscription::settled);
        if self.young || ![TypeUrl::Listener, TypeUrl::Route].iter().all(settled) {
            return None;
        }
        TypeUrl::ALL
            .into_iter()
            .find_map(|ty| match self.next(ty, true) {
                Next::Send(response) => Some(response),
                Next::Nothing | Next::Blocked => None,
            })
    }

    /// How the client stands with each type that it asked for.
    pub fn status(&self) -> impl Iterator<Item = Status> {
        self.subscriptions.iter().map(|(ty, s)| s.status(*ty))
    }

    /// What the client is to have.
    #[must_use]
    pub fn target(&self) -> &Arc<Resources> {
        &self.target
    }

    /// The difference of a type, said once. Removals that could break something come `late`.
    fn next(&mut self, ty: TypeUrl, late: bool) -> Next {
        let Some(subscription) = self.subscriptions.get_mut(&ty) else {
            return Next::Nothing;
        };
        let difference = match self.protocol {
            Protocol::StateOfTheWorld => subscription.whole(ty, &self.target, late),
            Protocol::Delta => subscription.difference(ty, &self.target, late),
        };
        let Some(difference) = difference else {
            return Next::Nothing;
        };
        if subscription.is_waiting() {
            return Next::Blocked;
        }
        self.nonce += 1;
        let clusters = match ty {
            TypeUrl::Cluster => subscription.unknown(ty, &difference),
            _ => Vec::new(),
        };
        let target = (self.protocol == Protocol::Delta).then_some(&self.target);
        let response = subscription.send(ty, self.nonce, difference, target);
        if let Some(endpoints) = self.subscriptions.get_mut(&TypeUrl::Endpoints) {
            endpoints.forget(TypeUrl::Endpoints, &clusters);
        }
        Next::Send(response)
    }
}

enum Next {
    Nothing,
    /// There is something to send, once the response before it is answered.
    Blocked,
    Send(Response),
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
