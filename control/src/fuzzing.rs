//! Entry points for fuzzers: each takes any bytes and checks what must hold for all of them.
//!
//! They are ordinary code so that stable tests replay the corpora; a broken promise is a panic,
//! which is what a fuzzer looks for. Nothing else calls them.
#![allow(clippy::panic, reason = "a panic is how a fuzz target reports")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use sallyport_wire::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DiscoveryRequest,
};

use crate::ca;
use crate::proxy::Proxy;
use crate::resources::{Resource, Resources, TypeUrl, Version};
use crate::server::ads::{Delta, StateOfTheWorld};
use crate::server::stream::Method;
use crate::session::{Ask, Protocol, Request, Session};

/// Responses that one event may cause: each type has one under way at most.
const RESPONSES_MAX: usize = TypeUrl::ALL.len();

/// A client that does what it likes, in an order that the bytes say, gets an end of every poll, one
/// response of a type at a time, and never the same bytes twice without asking for them. The bytes
/// as messages of the protocol are read or refused.
pub fn fuzz_xds_session(data: &[u8]) {
    if let Ok(message) = DeltaDiscoveryRequest::decode(data) {
        let message = Delta::open(message);
        let _ = message.node.as_ref().map(Proxy::from_node);
    }
    if let Ok(message) = DiscoveryRequest::decode(data) {
        let message = StateOfTheWorld::open(message);
        let _ = message.node.as_ref().map(Proxy::from_node);
    }
    let mut bytes = data.iter().copied();
    let protocol = match bytes.next() {
        Some(byte) if byte % 2 == 0 => Protocol::Delta,
        _ => Protocol::StateOfTheWorld,
    };
    let mut session = Session::new(protocol, world(0));
    let mut nonces: BTreeMap<TypeUrl, String> = BTreeMap::new();
    while let (Some(what), Some(with)) = (bytes.next(), bytes.next()) {
        match what % 4 {
            0 => session.update(world(with)),
            1 => session.grown(),
            _ => {
                let received = session.receive(request(protocol, what, with, &nonces));
                check(received.is_ok(), "a small request is too large");
            }
        }
        let mut seen = 0;
        while let Some(response) = session.poll() {
            seen += 1;
            check(seen <= 2 * RESPONSES_MAX, "a poll does not end");
            let gone = response.removed.iter();
            let gone = gone.filter(|n| response.resources.iter().any(|s| s.resource.name == **n));
            check(gone.count() == 0, "a resource is sent and taken away");
            nonces.insert(response.ty, response.nonce);
        }
    }
    let _ = session.status().count();
}

fn request(protocol: Protocol, what: u8, with: u8, nonces: &BTreeMap<TypeUrl, String>) -> Request {
    let types = TypeUrl::ALL;
    let ty = types.get(usize::from(what / 4) % types.len());
    let ty = ty.copied().unwrap_or(TypeUrl::Cluster);
    let names = |mask: u8| {
        let all = ["*", "a", "b", "c"].iter().enumerate();
        let some = all.filter(|(bit, _)| mask >> bit & 1 == 1);
        some.map(|(_, name)| (*name).to_owned()).collect::<Vec<_>>()
    };
    let nonce = match with % 3 {
        0 => String::new(),
        1 => "7".to_owned(),
        _ => nonces.get(&ty).cloned().unwrap_or_default(),
    };
    Request {
        ty,
        nonce,
        refused: (with > 200).then(|| "no".to_owned()),
        ask: match protocol {
            Protocol::StateOfTheWorld => Ask::Names(names(with)),
            Protocol::Delta => Ask::Change {
                subscribe: names(with),
                unsubscribe: names(with >> 4),
                initial: names(with >> 2)
                    .into_iter()
                    .map(|n| (n, "0".to_owned()))
                    .collect(),
            },
        },
    }
}

/// Resources that a byte says: which of three exist, and in which version.
fn world(byte: u8) -> Arc<Resources> {
    let mut all = Resources::default();
    for ty in TypeUrl::ALL {
        for (bit, name) in ["a", "b", "c"].into_iter().enumerate() {
            if byte >> bit & 1 == 1 {
                let body = Bytes::from(vec![byte >> 3]);
                let version = Version::of(&body);
                let name = name.into();
                all.insert(
                    ty,
                    Resource {
                        name,
                        version,
                        body,
                    },
                );
            }
        }
    }
    Arc::new(all)
}

/// Any text as a signing request, and any bytes as a caller's certificate, is read or refused; what
/// is said of it is bounded.
pub fn fuzz_csr(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(key) = ca::public_key(&text) {
        check(!key.is_empty(), "a request without a key");
    }
    if let Err(error) = ca::check(&text) {
        check(
            error.to_string().len() < 1_000,
            "a refusal as long as its cause",
        );
    }
    let _ = ca::identity_of(data);
    let _ = ca::life_of(data);
}

fn check(holds: bool, broken: &str) {
    if !holds {
        panic!("{broken}");
    }
}
