//! One request stream: its head, then the exchange, then an orderly end of the stream.

use std::future::poll_fn;
use std::task::Poll;

use quinn_proto::StreamId;
use sallyport_core::h1::{H1Error, RequestHead};
use sallyport_core::h3::{Beside, Code, Event, Fault, HeadError, parse_head};

use super::Visitor;
use super::body::{Came, Inlet};
use super::client::Caller;
use super::early;
use crate::conn::exchange::{self, Fate, Visit};
use crate::worker::Scratch;

/// Serves one stream to its end.
pub(super) async fn serve(visitor: Visitor, id: StreamId) {
    let conn = &visitor.0;
    let worker = &conn.worker;
    let visit = Visit {
        worker: std::rc::Rc::clone(worker),
        link: std::rc::Rc::clone(&conn.link),
        alarm: worker.timers.alarm(),
        begun: worker.timers.now(),
    };
    let mut caller = Caller::new(conn, id, visit);
    let mut scratch = worker.scratch.take();
    let mut buf = worker.buffers.take();
    // Boxed: most of a request's life is in here.
    let fate = Box::pin(answer(&mut caller, &mut scratch, &mut buf)).await;
    worker.buffers.give(buf);
    worker.scratch.give(scratch);
    caller.end(fate);
    conn.quic.leave(id);
}

async fn answer(caller: &mut Caller<'_>, scratch: &mut Scratch, buf: &mut Vec<u8>) -> Fate {
    match receive(caller, scratch, buf).await {
        Ok(head) => {
            if !early::may_be_served(caller, &head).await {
                caller.leave();
                return Fate::Cut;
            }
            caller.begin(&head);
            exchange::serve(caller, scratch, head, buf).await
        }
        // What was given up before it came was no bad request.
        Err(_) if caller.is_gone() => Fate::Cut,
        Err(HeadError::Refused(error)) => exchange::refuse(caller, scratch, error).await,
        Err(HeadError::Fault(fault)) => {
            caller.fail(fault);
            Fate::Cut
        }
    }
}

/// Receives the head, within the time for it.
async fn receive(
    caller: &mut Caller<'_>,
    scratch: &mut Scratch,
    buf: &mut Vec<u8>,
) -> Result<RequestHead, HeadError> {
    let active = caller.visit.worker.active();
    let serving = &active.generation.serving;
    let begun = caller.visit.begun;
    let due = serving.head_timeout.map(|limit| begun + limit);
    caller.visit.alarm.set(due);
    let came = poll_fn(|context| {
        let came = caller.inlet.poll(&caller.conn.quic, caller.id, context);
        match came {
            Poll::Ready(came) => Poll::Ready(Some(came)),
            Poll::Pending => caller.visit.alarm.poll(context).map(|()| None),
        }
    })
    .await;
    let section = match came {
        Some(Came::Event(Event::Head(section))) => section,
        Some(Came::Event(Event::HeadTooLarge)) => {
            return Err(HeadError::Refused(H1Error::HeadTooLarge));
        }
        Some(Came::Gone) => {
            caller.leave();
            return Err(HeadError::Fault(Fault::Stream(Code::RequestCancelled)));
        }
        Some(Came::Fault(fault)) => return Err(HeadError::Fault(fault)),
        Some(_) => return Err(HeadError::Fault(Fault::Stream(Code::RequestCancelled))),
        None => return Err(HeadError::Refused(H1Error::HeadTimeout)),
    };
    let ended = poll_fn(|context| Poll::Ready(caller.look_for_end(context))).await;
    let mut nonce = [0; 16];
    caller.visit.worker.rng.borrow_mut().fill(&mut nonce);
    let beside = Beside {
        profile: serving.profile(caller.visit.link.scheme()),
        ended,
        nonce,
    };
    let Scratch { request, text, .. } = scratch;
    parse_head(&section, text, buf, request, beside)
}

impl Inlet {
    /// Whether the stream ends right behind what was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended
    }
}
