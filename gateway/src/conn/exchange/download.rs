//! The response of one try: what of it waits to be written for the client.

use sallyport_core::failure::Failure;
use sallyport_core::grpc_web::Web;
use sallyport_core::h1::{BodyKind, ResponseHead};

use super::client::Framed;
use super::origin::Origin;
use super::transit::{Framing, Moved, write_piece};
use crate::buffer::Buffers;

/// The response of the current try.
#[derive(Debug)]
pub(super) struct Download {
    /// Written for the client, and not being sent yet.
    pub(super) out: Vec<u8>,
    /// The final head has been received.
    pub(super) head: Option<ResponseHead>,
    /// The head has been written for the client, and the payload is framed like this.
    pub(super) relayed: Option<Framing>,
    /// It goes as gRPC-Web.
    pub(super) web: Option<Web>,
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
            web: None,
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
    pub(super) fn relay(&mut self, head: &ResponseHead, framed: Framed, web: Option<Web>) {
        self.done = !head.tunnel && matches!(head.body, BodyKind::None | BodyKind::Length(0));
        self.web = web;
        self.relayed = Some(framed.framing);
    }

    /// Moves what came of the body to what goes, and behind its end the trailers.
    ///
    /// # Errors
    /// The upstream broke its framing.
    pub(super) fn pass(
        &mut self,
        origin: &mut Origin,
        framing: Framing,
        buffers: &Buffers,
    ) -> Result<Moved, Failure> {
        let Some(web) = self.web else {
            return origin.take(&mut self.out, framing);
        };
        let mut bytes = buffers.take();
        let moved = origin.take(&mut bytes, Framing::Bare)?;
        let mut frames = Vec::with_capacity(bytes.len());
        web.write(&bytes, &mut frames);
        if moved.done {
            bytes.clear();
            origin.trailers(&mut bytes);
            if !bytes.is_empty() {
                web.write_trailers(&bytes, &mut frames);
            }
        }
        buffers.give(bytes);
        write_piece(framing, &frames, &mut self.out);
        Ok(moved)
    }
}
