//! Requests in early data (RFC 8470): sent before the handshake is complete, so that somebody who
//! has seen the packets could send them again.
//!
//! What cannot do harm twice is served at once, and upstreams are told (`Early-Data: 1`); the rest
//! waits for the end of the handshake, which proves that it is new. A client that is told 425
//! would have to wait as long, and to send it again.

use sallyport_config::ir::Service;
use sallyport_core::h1::{BodyKind, RequestHead};
use sallyport_core::method::Method;

use super::Conn;
use super::client::Caller;
use crate::load::Pressure;

/// Waits until a request may be acted on; `false` when the client is gone before.
pub(super) async fn may_be_served(caller: &mut Caller<'_>, head: &RequestHead) -> bool {
    let quic = &caller.conn.quic;
    if quic.is_connected() {
        return true;
    }
    let served = is_harmless(head) && caller.conn.serves_early();
    caller.visit.worker.stats.borrow_mut().early_request(served);
    if served {
        caller.early = true;
        return true;
    }
    quic.connected(caller.id).await
}

/// Whether a request asks for nothing but an answer (RFC 9110 §9.2.1): no tunnel, and no body,
/// which might say otherwise.
fn is_harmless(head: &RequestHead) -> bool {
    let safe = matches!(head.method, Method::Get | Method::Head | Method::Options);
    safe && head.body == BodyKind::None && head.upgrade.is_none()
}

impl Conn {
    /// Whether early requests are served at present: the server wants them, the client is known to
    /// be at the address that policies and logs will see, and there is no shortage that replays
    /// could be meant to make worse (RFC 8470 §6.3).
    fn serves_early(&self) -> bool {
        let active = self.worker.active();
        let generation = &active.generation;
        let place = self.link.place(generation);
        let service = place.and_then(|place| generation.tables.service(place));
        matches!(service, Some(Service::Http(http)) if http.early_data)
            && self.quic.is_located()
            && self.worker.load.pressure() == Pressure::None
    }
}
