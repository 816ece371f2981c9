//! One stream: its request is written down as fields, served, and its end made known.

use std::rc::Rc;

use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, request};
use sallyport_core::flags::Flags;
use sallyport_core::h1::{HeaderIndex, Refusal, RequestHead, RequestParts, Version, write_request};

use super::Shared;
use super::client::Caller;
use crate::codec::Chunk;
use crate::conn::exchange::{self, Fate, Visit};
use crate::rt;
use crate::worker::Scratch;

/// Counts a stream as long as it lives.
struct Live(Rc<Shared>);

impl Live {
    fn begin(shared: &Rc<Shared>) -> Self {
        shared.live.set(shared.live.get() + 1);
        Self(Rc::clone(shared))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.set(self.0.live.get().saturating_sub(1));
        self.0.idle_since.set(self.0.worker.timers.now());
    }
}

/// Starts a stream's task.
pub(super) fn open(
    shared: &Rc<Shared>,
    request: Request<RecvStream>,
    respond: SendResponse<Chunk>,
) {
    let live = Live::begin(shared);
    rt::spawn(async move {
        let shared = &live.0;
        let mut scratch = shared.worker.scratch.take();
        let mut buf = shared.worker.buffers.take();
        serve(shared, &mut scratch, &mut buf, request, respond).await;
        shared.worker.buffers.give(buf);
        shared.worker.scratch.give(scratch);
    });
}

async fn serve(
    shared: &Rc<Shared>,
    scratch: &mut Scratch,
    buf: &mut Vec<u8>,
    request: Request<RecvStream>,
    respond: SendResponse<Chunk>,
) {
    let (parts, body) = request.into_parts();
    let worker = &shared.worker;
    let visit = Visit {
        worker: Rc::clone(worker),
        link: Rc::clone(&shared.link),
        alarm: worker.timers.alarm(),
        begun: worker.timers.now(),
    };
    let written = write(
        shared,
        &mut scratch.request,
        buf,
        &parts,
        body.is_end_stream(),
    );
    // The fields have been copied: what the codec made of them is not needed while serving.
    drop(parts);
    let mut client = Caller::new(Rc::clone(shared), visit, respond, body);
    let fate = match written {
        Ok(head) => {
            client.expect(&head);
            let fate = exchange::serve(&mut client, scratch, head, buf).await;
            if fate != Fate::Cut {
                shared.oddities.borrow_mut().worked();
            }
            fate
        }
        Err(Refusal::Answered(error)) => {
            buf.clear();
            exchange::refuse(&mut client, scratch, error).await
        }
        Err(Refusal::Malformed(error)) => {
            shared.oddities.borrow_mut().malformed();
            let begun = worker.timers.now();
            exchange::log_closed(worker, &shared.link, begun, Flags::DPE, error.detail());
            return client.reset(Reason::PROTOCOL_ERROR);
        }
    };
    if fate == Fate::Cut {
        client.reset(Reason::INTERNAL_ERROR);
    }
}

/// Writes the head down.
fn write(
    shared: &Shared,
    index: &mut HeaderIndex,
    buf: &mut Vec<u8>,
    parts: &request::Parts,
    ended: bool,
) -> Result<RequestHead, Refusal> {
    let mut nonce = [0; 16];
    let protocol = parts.extensions.get::<Protocol>();
    if protocol.is_some() {
        shared.worker.rng.borrow_mut().fill(&mut nonce);
    }
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    let written = RequestParts {
        method: parts.method.as_str().as_bytes(),
        scheme: parts.uri.scheme_str().map(str::as_bytes),
        authority: parts.uri.authority().map(|a| a.as_str().as_bytes()),
        path: path.map(str::as_bytes),
        protocol: protocol.map(|protocol| protocol.as_str().as_bytes()),
        ended,
        version: Version::Http2,
        nonce,
    };
    let fields = || {
        let fields = parts.headers.iter();
        fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
    };
    let active = shared.worker.active();
    let profile = active.generation.serving.profile(shared.link.scheme());
    write_request(buf, index, &written, fields, profile)
}
