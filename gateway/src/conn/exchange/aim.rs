//! Where a request should go among a cluster's endpoints: what of it is hashed, and the cookie by
//! which its client comes back.

use sallyport_config::ir::{Balance, Cluster};
use sallyport_core::balance::Key;
use sallyport_core::h1::HeaderView;
use sallyport_core::plan::EditSink;

use super::answer::Sink;
use super::client::Visit;
use super::request::Request;
use crate::worker::Scratch;

/// The request's key; nothing unless the cluster hashes. Fields are seen as the upstream will.
pub(super) fn key(
    visit: &Visit,
    scratch: &Scratch,
    request: &Request<'_>,
    cluster: &Cluster,
) -> Key {
    let Balance::Hash(policy) = &cluster.balance else {
        return Key::None;
    };
    let view = HeaderView {
        buf: request.buf,
        index: &scratch.request,
        edits: &scratch.request_edits,
    };
    let call = request.call(&visit.link, &view);
    Key::of(&policy.key, &call, &mut visit.worker.rng.borrow_mut())
}

/// Gives the client the cookie that was made for it.
pub(super) fn set_cookie(key: &Key, sink: &mut Sink<'_>) {
    if let Key::Made(_, line) = key {
        sink.add("set-cookie", line.as_bytes());
    }
}
