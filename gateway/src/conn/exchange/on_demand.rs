//! Upstreams that each request names itself (`DYNAMIC_DNS`): its host is looked up, if it is one that
//! the configuration allows, before the exchange begins.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use sallyport_config::ir::{Cluster, ClusterId, Discovery, Millis};
use sallyport_core::discovery::host_under;
use sallyport_core::failure::FailureKind;

use super::client::{Client, News};
use super::event::{Happening, poll_client};
use super::request::Request;
use crate::worker::Target;

/// A request waits this long for the addresses of its host.
const LOOKUP_WITHIN: Millis = Millis(5_000);

/// The upstream that a request names, if the cluster leaves that to it.
///
/// # Errors
/// Why there is none; the inner `None`: the client is gone.
pub(super) async fn target<C: Client>(
    client: &mut C,
    request: &Request<'_>,
    id: ClusterId,
    cluster: &Cluster,
    authority: &str,
) -> Result<Option<Rc<Target>>, Option<FailureKind>> {
    let Discovery::OnDemand { domain, .. } = &cluster.discovery else {
        return Ok(None);
    };
    let host = host_under(authority, domain).ok_or(Some(FailureKind::HostRefused))?;
    let worker = Rc::clone(&client.visit().worker);
    let until = worker.timers.now() + LOOKUP_WITHIN;
    client.visit().alarm.set(Some(until));
    client.listen();
    let found = poll_fn(|context| {
        if let Poll::Ready(found) = worker.look_up(&host, context) {
            return Poll::Ready(found.map_err(Some));
        }
        while let Poll::Ready(happening) = poll_client(client, context) {
            match happening {
                Happening::Client(News::Came | News::Written(Ok(()))) => client.listen(),
                Happening::Deadline => return Poll::Ready(Err(Some(FailureKind::HostUnknown))),
                _ => return Poll::Ready(Err(None)),
            }
        }
        Poll::Pending
    });
    let addresses = found.await?;
    Ok(request.active.target(&worker, id, &host, &addresses))
}
