//! Copies of a request to other clusters. Nobody waits for their answers, which are dropped; the
//! request itself is neither delayed nor changed by them.
//!
//! A request whose body is not there when its head is sent is not copied: a copy would make it
//! wait, or hold all of it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use sallyport_config::ir::{Cluster, ClusterId, Millis, Wire};
use sallyport_core::balance::Wanted;
use sallyport_core::h1::{
    Asked, BodyKind, BodyReader, HeaderIndex, Parse, RequestLine, encode_request, parse_response,
};

use super::client::Client;
use super::flight::Flight;
use crate::rt;
use crate::upstream::{Errand, Lease};
use crate::worker::{Active, Worker};

/// A copy that takes longer is given up.
const TIME_MAX: Millis = Millis(15_000);
/// Copies under way on one worker; more are left out.
const COPIES_MAX: usize = 1_024;

/// Starts the copies that the plan wants.
pub(super) fn start<C: Client>(flight: &Flight<'_, '_, C>) {
    let request = flight.request;
    let body = match request.head.body {
        BodyKind::None => &[][..],
        BodyKind::Length(_) | BodyKind::Chunked | BodyKind::UntilClose => {
            match flight.upload.whole() {
                Some(body) => body,
                None => return,
            }
        }
    };
    // As it is: Istio turns off the suffix by which Envoy would mark a copy.
    let authority = flight.plan.authority.unwrap_or(request.authority);
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let line = RequestLine {
        method: request.method.as_bytes(),
        target: &flight.scratch.target,
        authority: authority.as_bytes(),
        body: match request.head.body {
            BodyKind::None => BodyKind::None,
            _ => BodyKind::Length(length),
        },
        upgrade: None,
        te_trailers: request.head.te_trailers,
        close: false,
    };
    let worker = &flight.client.visit().worker;
    for id in &flight.plan.mirrors {
        if worker.mirrors.get() >= COPIES_MAX {
            return;
        }
        let mut bytes = worker.buffers.take();
        encode_request(
            &mut bytes,
            &line,
            request.buf,
            &flight.scratch.request,
            &flight.scratch.request_edits,
        );
        bytes.extend_from_slice(body);
        let asked = Asked {
            method: request.head.method,
            upgrade: false,
        };
        worker.mirrors.set(worker.mirrors.get() + 1);
        let (worker, active) = (Rc::clone(worker), Rc::clone(request.active));
        let id = *id;
        let letter = Letter {
            bytes,
            authority: authority.into(),
            asked,
        };
        rt::spawn(async move {
            copy(&worker, &active, id, letter).await;
            worker.mirrors.set(worker.mirrors.get().saturating_sub(1));
        });
    }
}

/// A copy on its way.
struct Letter {
    /// The whole request.
    bytes: Vec<u8>,
    authority: Box<str>,
    asked: Asked,
}

async fn copy(worker: &Rc<Worker>, active: &Active, id: ClusterId, letter: Letter) {
    let alarm = worker.timers.alarm();
    alarm.set(Some(worker.timers.now() + TIME_MAX));
    let mut work = pin!(exchange(worker, active, id, letter));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => alarm.poll(context),
    })
    .await;
}

/// `None`: it failed, which concerns nobody.
async fn exchange(
    worker: &Rc<Worker>,
    active: &Active,
    id: ClusterId,
    Letter {
        bytes,
        authority,
        asked,
    }: Letter,
) -> Option<()> {
    let (cluster, upstream) = active.upstream(worker, id)?;
    let endpoint = {
        let wanted = Wanted {
            now: worker.timers.now(),
            ..Wanted::default()
        };
        upstream.pick(wanted, &mut worker.rng.borrow_mut())?
    };
    let errand = Errand {
        wire: Wire::Http1,
        authority: &authority,
    };
    let pooled = poll_fn(|context| {
        let found = Lease::pooled(worker, upstream, endpoint, errand, context);
        Poll::Ready(found)
    })
    .await;
    let mut lease = match pooled {
        Some(lease) => lease,
        None => Lease::connect(worker, upstream, endpoint, errand)
            .await
            .ok()?,
    };
    lease.stream()?.start_write(bytes);
    poll_fn(|context| match lease.stream() {
        Some(stream) => stream.poll_write(context).map(Result::ok),
        None => Poll::Ready(None),
    })
    .await?;
    drop_answer(worker, lease, cluster, asked).await
}

/// Reads an answer to its end, so that its connection can be used again.
async fn drop_answer(
    worker: &Worker,
    mut lease: Lease,
    cluster: &Cluster,
    asked: Asked,
) -> Option<()> {
    let mut index = HeaderIndex::new();
    let mut body: Option<(BodyReader, bool)> = None;
    let mut input = Vec::new();
    loop {
        let stream = lease.stream()?;
        if !stream.is_reading() {
            stream.start_read((!input.is_empty()).then(|| std::mem::take(&mut input)));
        }
        let (result, buffer) = poll_fn(|context| stream.poll_read(context)).await;
        if !matches!(result, Ok(count) if count > 0) {
            return None;
        }
        input = buffer;
        while body.is_none() {
            match parse_response(&mut input, &mut index, asked).ok()? {
                Parse::Complete { head, len } => {
                    input.drain(..len);
                    index.clear();
                    if !head.interim {
                        body = Some((BodyReader::new(head.body), head.keep_alive));
                    }
                }
                Parse::Partial => break,
            }
        }
        let Some((reader, keep_alive)) = &mut body else {
            input.reserve_exact(input.capacity().max(1_024) - input.len());
            continue;
        };
        while !input.is_empty() && !reader.is_done() {
            let consumed = reader.advance(&input).ok()?.consumed;
            input.drain(..consumed);
        }
        if reader.is_done() {
            let clean = *keep_alive && input.is_empty();
            worker.buffers.give(input);
            if clean {
                lease.give_back(cluster, worker.timers.now());
            }
            return Some(());
        }
    }
}
