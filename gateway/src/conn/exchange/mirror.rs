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
use sallyport_core::proxy_protocol::Ends;

use super::client::Client;
use super::flight::{Flight, wire};
use super::origin::WayUp;
use crate::codec::{Chunk, fields};
use crate::rt;
use crate::upstream::{Errand, Lease, h2 as shared};
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
        let Some((cluster, _)) = request.active.upstream(worker, *id) else {
            continue;
        };
        let mut bytes = worker.buffers.take();
        let (index, edits) = (&flight.scratch.request, &flight.scratch.request_edits);
        let head = match wire(cluster, request.head.version) {
            Wire::Http2 => fields::request(&line, request.buf, index, edits)
                .map(|head| Head::Http2(Box::new(head))),
            Wire::Http1 | Wire::Tcp => {
                encode_request(&mut bytes, &line, request.buf, index, edits);
                Some(Head::Http1(Asked {
                    method: request.head.method,
                    upgrade: false,
                }))
            }
        };
        let Some(head) = head else {
            continue;
        };
        bytes.extend_from_slice(body);
        worker.mirrors.set(worker.mirrors.get() + 1);
        let (worker, active) = (Rc::clone(worker), Rc::clone(request.active));
        let id = *id;
        let letter = Letter {
            head,
            bytes,
            authority: authority.into(),
            ends: request.ends,
        };
        rt::spawn(async move {
            copy(&worker, &active, id, letter).await;
            worker.mirrors.set(worker.mirrors.get().saturating_sub(1));
        });
    }
}

/// A copy on its way.
struct Letter {
    head: Head,
    /// The whole request, or its body behind a head of HTTP/2.
    bytes: Vec<u8>,
    authority: Box<str>,
    /// Whose it is.
    ends: Ends,
}

/// How a copy begins.
enum Head {
    /// It is part of the bytes; its answer is read as one to this.
    Http1(Asked),
    /// A head of HTTP/2.
    Http2(Box<http::Request<()>>),
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
    letter: Letter,
) -> Option<()> {
    let (cluster, upstream) = active.upstream(worker, id)?;
    let endpoint = {
        let wanted = Wanted {
            now: worker.timers.now(),
            ..Wanted::default()
        };
        upstream.pick(wanted, &mut worker.rng.borrow_mut())?
    };
    let way = WayUp {
        worker: Rc::clone(worker),
        upstream,
        cluster,
        endpoint,
        errand: Errand {
            wire: match letter.head {
                Head::Http1(_) => Wire::Http1,
                Head::Http2(_) => Wire::Http2,
            },
            authority: &letter.authority,
            ends: Some(&letter.ends),
        },
        fresh: false,
        tunnel: false,
    };
    match letter.head {
        Head::Http1(asked) => over_http1(&way, letter.bytes, asked).await,
        Head::Http2(head) => over_http2(&way, *head, letter.bytes).await,
    }
}

async fn over_http1(way: &WayUp<'_>, bytes: Vec<u8>, asked: Asked) -> Option<()> {
    let (worker, upstream, endpoint) = (&way.worker, way.upstream, way.endpoint);
    let pooled = poll_fn(|context| {
        let found = Lease::pooled(worker, upstream, endpoint, way.errand, context);
        Poll::Ready(found)
    })
    .await;
    let mut lease = match pooled {
        Some(lease) => lease,
        None => Lease::connect(worker, upstream, endpoint, way.errand)
            .await
            .ok()?,
    };
    lease.stream()?.start_write(bytes);
    poll_fn(|context| match lease.stream() {
        Some(stream) => stream.poll_write(context).map(Result::ok),
        None => Poll::Ready(None),
    })
    .await?;
    drop_answer(worker, lease, way.cluster, asked).await
}

async fn over_http2(way: &WayUp<'_>, head: http::Request<()>, body: Vec<u8>) -> Option<()> {
    let (worker, upstream, to) = (&way.worker, way.upstream, way.endpoint);
    let lease = shared::Lease::obtain(worker, upstream, way.cluster, to, way.errand, false);
    let mut lease = lease.await.ok()?;
    let head = fields::with_scheme(head, lease.is_tls())?;
    let ended = body.is_empty();
    let (response, mut send) = lease.sender().send_request(head, ended).ok()?;
    let buffers = Rc::clone(&worker.buffers);
    let body = Chunk::new(body, buffers);
    if !ended {
        // As much as is kept for another try at most: the codec may hold all of it.
        send.send_data(body, true).ok()?;
    }
    let mut answer = response.await.ok()?.into_body();
    while let Some(bytes) = answer.data().await {
        let count = bytes.ok()?.len();
        answer.flow_control().release_capacity(count).ok()?;
    }
    Some(())
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
