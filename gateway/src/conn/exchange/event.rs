//! The one place where an exchange waits: for its client, its upstream, or its clock.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::client::{self, Client};
use super::origin::{self, Origin};

/// What happened first.
#[derive(Debug)]
pub(super) enum Happening {
    /// The alarm.
    Deadline,
    /// Something on the client's side.
    Client(client::News),
    /// Something on the upstream's side.
    Origin(origin::News),
}

/// Waits for whatever happens first. What comes from the upstream counts before what the client
/// does: an answer that is there is worth more than the news that its client is leaving.
pub(super) async fn next<C: Client>(client: &mut C, origin: Option<&mut Origin>) -> Happening {
    let mut origin = origin;
    poll_fn(|context| {
        if let Some(origin) = &mut origin
            && let Poll::Ready(news) = origin.poll(context)
        {
            return Poll::Ready(Happening::Origin(news));
        }
        poll_client(client, context)
    })
    .await
}

/// The client's side, and the clock.
pub(super) fn poll_client<C: Client>(client: &mut C, context: &mut Context<'_>) -> Poll<Happening> {
    if let Poll::Ready(news) = client.poll(context) {
        return Poll::Ready(Happening::Client(news));
    }
    let alarm = &client.visit().alarm;
    alarm.poll(context).map(|()| Happening::Deadline)
}
