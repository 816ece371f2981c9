//! The response of one try: what of it waits to be written for the client.

use sallyport_core::failure::Failure;
use sallyport_core::h1::{BodyKind, ResponseHead};

use super::client::Framed;
use super::transit::Framing;

/// The response of the current try.
#[derive(Debug)]
pub(super) struct Download {
    /// Written for the client, and not being sent yet.
    pub(super) out: Vec<u8>,
    /// The final head has been received.
    pub(super) head: Option<ResponseHead>,
    /// The head has been written for the client, and the payload is framed like this.
    pub(super) relayed: Option<Framing>,
    /// All of the body has been received.
    pub(super) done: bool,
    /// The client's side has been told so.
    pub(super) ended: bool,
    /// The upstream failed before the end; to be told when what came has been sent.
    pub(super) broken: Option<Failure>,
}

impl Download {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            out: Vec::new(),
            head: None,
            relayed: None,
            done: false,
            ended: false,
            broken: None,
        }
    }

    /// Whether the head is on its way to the client.
    pub(super) fn is_relaying(&self) -> bool {
        self.relayed.is_some()
    }

    /// Starts to pass the body on.
    pub(super) fn relay(&mut self, head: &ResponseHead, framed: Framed) {
        self.done = !head.tunnel && matches!(head.body, BodyKind::None | BodyKind::Length(0));
        self.relayed = Some(framed.framing);
    }
}
