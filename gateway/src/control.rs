//! Configuration and identity from a control process, in place of files.
//!
//! One task of the side thread keeps a stream of delta xDS ([`stream`]) and tells the main loop what
//! came; the main loop compiles it as it compiles files, and its verdict goes back as ACK or NACK.
//! What is served never depends on the stream: without it the last good state stays, also over a
//! restart (`--state-dir`). Another task gets the workload's certificate and renews it.

mod holdings;
mod node;
mod status;
mod stream;

use std::rc::Rc;
use std::time::Duration;

use sallyport_config::document::{Document, Published};
use sallyport_identity::{Held, Member};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::args::{ControlOptions, Options};
use crate::log;
use crate::process::{Gateway, seed};
use holdings::Holdings;
use stream::Stream;

pub(crate) use status::{Facts, Status};

/// Updates that wait; the stream waits for the verdict on each anyway.
const UPDATES_MAX: usize = 4;
/// Where certificate and key are kept, in the state directory.
const IDENTITY: &str = "identity";
/// First pause after a stream ended; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What a control process says.
#[derive(Debug)]
pub(crate) enum Update {
    /// All objects as they are now. The answer says what of them was refused, and why.
    Documents(Vec<Document>, oneshot::Sender<Option<String>>),
    /// The certificate of the workload.
    Identity(Held),
}

/// Who joins the mesh, if configuration comes over an encrypted connection.
fn member(options: &Options, control: &ControlOptions) -> Option<Member> {
    Some(Member {
        control: control.url.clone(),
        root_cert: control.root_cert.clone()?,
        token: control.token.clone(),
        namespace: options.node.namespace.clone(),
        service_account: options.node.service_account.clone(),
        ttl: None,
        state_dir: options.state_dir.as_ref().map(|state| state.join(IDENTITY)),
    })
}

/// The certificate that the last run kept, if it is good for a while.
pub(crate) fn kept(options: &Options) -> Option<Held> {
    member(options, options.control.as_ref()?)?.kept()
}

/// Starts the tasks, if configuration comes from a control process. `known` is what the last run
/// kept.
pub(crate) fn start(gateway: &Rc<Gateway>, known: Vec<Published>) -> mpsc::Receiver<Update> {
    let (updates, receiver) = mpsc::channel(UPDATES_MAX);
    let (Some(control), Some(status)) = (&gateway.options.control, &gateway.control) else {
        return receiver;
    };
    let client = Client {
        member: member(&gateway.options, control).map(Rc::new),
        control: control.clone(),
        stream: Stream {
            node: node::of(&gateway.options),
            holdings: Holdings::new(known),
            updates: updates.clone(),
            status: Rc::clone(status),
        },
        updates,
        status: Rc::clone(status),
    };
    tokio::task::spawn_local(client.run());
    receiver
}

struct Client {
    member: Option<Rc<Member>>,
    control: ControlOptions,
    stream: Stream,
    updates: mpsc::Sender<Update>,
    status: Rc<Status>,
}

impl Client {
    /// Connects, and connects again, for as long as the main loop listens.
    async fn run(mut self) {
        let identity = match self.identity().await {
            Ok(identity) => identity,
            Err(error) => {
                log::error("control", &error);
                return self.status.lost(error);
            }
        };
        let mut pause = PAUSE_FIRST;
        while !self.updates.is_closed() {
            let held = identity.as_ref().map(|held| held.borrow().clone());
            let connected = match &self.member {
                Some(member) => sallyport_identity::channel(member, held.as_ref()).await,
                None => sallyport_identity::plaintext(&self.control.url).await,
            };
            let responses = self.status.facts().responses();
            let ended = match connected {
                Ok(channel) => self.stream.run(channel).await,
                Err(error) => error,
            };
            log::warn("control", format_args!("{ended}; what is served stays"));
            self.status.lost(ended);
            if self.status.facts().responses() != responses {
                pause = PAUSE_FIRST;
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Gets the workload's certificate, then keeps it new. None where nobody is asked for one.
    async fn identity(&self) -> Result<Option<watch::Receiver<Held>>, String> {
        let Some(member) = &self.member else {
            return Ok(None);
        };
        let status = Rc::clone(&self.status);
        let warn = move |text: String| {
            log::warn("control", &text);
            status.lost(text);
        };
        let first = sallyport_identity::first(member, warn.clone()).await?;
        // the main loop is gone only at the end
        let _ = self.updates.send(Update::Identity(first.clone())).await;
        let (sender, receiver) = watch::channel(first.clone());
        let (member, updates) = (Rc::clone(member), self.updates.clone());
        let status = Rc::clone(&self.status);
        tokio::task::spawn_local(async move {
            let asked = &status.asked;
            let take = |new: &Held| {
                log::info("control", "the certificate is renewed");
                sender.send_replace(new.clone());
            };
            let mut renewed = sender.subscribe();
            renewed.mark_unchanged();
            let renewing = sallyport_identity::renew(&member, first, asked, take, warn);
            let telling = async {
                while renewed.changed().await.is_ok() {
                    let held = renewed.borrow_and_update().clone();
                    if updates.send(Update::Identity(held)).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = renewing => {}
                () = telling => {}
            }
        });
        Ok(Some(receiver))
    }
}

/// Between half of a pause and all of it, so that gateways do not come back together.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let steps = u32::from(u8::MAX);
    let step = u32::try_from(seed() % u64::from(steps)).unwrap_or_default();
    half + half * step / steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_moved_and_bounded() {
        for pause in [PAUSE_FIRST, PAUSE_MAX] {
            for _ in 0..100 {
                let moved = jittered(pause);
                assert!(moved >= pause / 2 && moved <= pause, "{moved:?}");
            }
        }
    }
}
