//! The response of one request: what came from the upstream, and what of it waits to be written.

use sallyport_core::h1::{BodyKind, ResponseHead, Version};

use super::transit::{Framing, Transit};

/// The response of the current try.
#[derive(Debug)]
pub(super) struct Download {
    /// Received, and not looked at.
    pub(super) input: Vec<u8>,
    /// Written for the client, and not being sent yet.
    pub(super) out: Vec<u8>,
    /// The final head has been received.
    pub(super) head: Option<(ResponseHead, usize)>,
    /// The head has been written for the client; the body follows.
    pub(super) body: Option<Transit>,
    /// All of the body has been received.
    pub(super) done: bool,
    /// The upstream is gone before the end; to be told when what came has been sent.
    pub(super) broken: bool,
    /// Interim responses so far.
    pub(super) interims: u8,
    /// At least one byte came.
    pub(super) begun: bool,
}

impl Download {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            input: Vec::new(),
            out: Vec::new(),
            head: None,
            body: None,
            done: false,
            broken: false,
            interims: 0,
            begun: false,
        }
    }

    /// Whether the head is on its way to the client.
    pub(super) fn is_relaying(&self) -> bool {
        self.body.is_some()
    }

    /// Starts to pass the body on; how it will be framed for the client.
    pub(super) fn relay(&mut self, head: &ResponseHead, client: Version) -> BodyKind {
        let kind = if head.tunnel {
            BodyKind::UntilClose
        } else {
            head.body
        };
        let framed = match (kind, client) {
            // The client can be told where the body ends, and keep its connection.
            (BodyKind::UntilClose, Version::Http11) if !head.tunnel => BodyKind::Chunked,
            (BodyKind::Chunked, Version::Http10) => BodyKind::UntilClose,
            (kind, _) => kind,
        };
        let framing = match framed {
            BodyKind::Chunked => Framing::Chunked,
            _ => Framing::Bare,
        };
        let transit = Transit::new(kind, framing);
        self.done = transit.is_done();
        self.body = Some(transit);
        if head.tunnel { BodyKind::None } else { framed }
    }
}
