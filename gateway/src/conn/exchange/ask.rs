//! External authorization: asks somebody else about a request, while its client waits.
//!
//! The call goes over the pools of the authorizer's cluster, like any other. It has one deadline;
//! it ends with its client; a connection that was dying is no answer, and is replaced once.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use sallyport_config::ir::{Authorizer, Cluster, Wire};
use sallyport_core::admit::{ANSWER_BYTES_MAX, Asked, Cleared, Denial, Outcome, Question, Shown};
use sallyport_core::balance::Wanted;
use sallyport_core::call::HeaderLines;
use sallyport_core::failure::FailureKind;
use sallyport_core::h1::{
    Asked as AskedAs, BodyKind, HeaderEdits, HeaderIndex, HeaderView, RequestLine, ResponseHead,
    TrailerLines,
};
use sallyport_core::method::Method;
use sallyport_core::outlier::Verdict;
use sallyport_core::reply;

use super::client::{Client, News, Visit};
use super::event::{self, Happening, poll_client};
use super::flight::wire;
use super::held::Held;
use super::origin::{self, Origin, WayUp};
use super::request::Request;
use super::transit::Framing;
use crate::upstream::{Errand, Upstream};
use crate::worker::Scratch;

/// What came of a call, if an answer did.
struct Answer {
    status: u16,
    index: HeaderIndex,
    /// The bytes of its head.
    head: Vec<u8>,
    body: Vec<u8>,
    trailers: Vec<u8>,
}

/// A call that came to nothing.
enum Lost {
    /// The client is gone.
    Client,
    /// There is no answer; whether a fresh connection may have one.
    Answer { again: bool },
}

/// The call, ready for any wire.
struct Letter<'a> {
    line: RequestLine<'a>,
    fields: &'a HeaderEdits,
    body: &'a [u8],
    wire: Wire,
    asked: AskedAs,
}

/// Asks, and says what the answer means.
///
/// # Errors
/// What the client is told; `None` when it is gone.
pub(super) async fn ask<'t, C: Client>(
    client: &mut C,
    scratch: &mut Scratch,
    request: &Request<'t>,
    question: Question<'t>,
) -> Result<Cleared, Option<Denial<'t>>> {
    show_body(client, scratch, request, question).await?;
    let authorizer = question.authorizer();
    let found = {
        let worker = &client.visit().worker;
        let due = worker.timers.now() + authorizer.timeout;
        client.visit().alarm.set(Some(due));
        request.active.upstream(worker, authorizer.cluster)
    };
    let answer = match found {
        Some((cluster, upstream)) => {
            call(client, scratch, request, question, (cluster, upstream)).await
        }
        None => Err(Lost::Answer { again: false }),
    };
    let (outcome, verdict) = match answer {
        Ok(answer) => judge(question, answer),
        Err(Lost::Answer { .. }) => question.failed(),
        Err(Lost::Client) => return Err(None),
    };
    count(client, authorizer, outcome);
    verdict.map_err(Some)
}

fn count<C: Client>(client: &C, authorizer: &Authorizer, outcome: Outcome) {
    let mut stats = client.visit().worker.stats.borrow_mut();
    stats.authorizer_asked(&authorizer.name, outcome);
}

/// Waits for as much of the body as is shown.
async fn show_body<'t, C: Client>(
    client: &mut C,
    scratch: &mut Scratch,
    request: &Request<'t>,
    question: Question<'t>,
) -> Result<(), Option<Denial<'t>>> {
    let Some(wanted) = question.body().filter(|_| request.head.upgrade.is_none()) else {
        return Ok(());
    };
    let answer = |failure| Some(Box::new(reply::reply(&failure, &Default::default())));
    let limit = usize::try_from(wanted.bytes).unwrap_or(usize::MAX);
    // One byte more tells whether it is too long.
    let enough = if wanted.partial { limit } else { limit + 1 };
    let long = matches!(request.head.body, BodyKind::Length(n) if n > u64::from(wanted.bytes));
    let mut too_long = !wanted.partial && long;
    if !too_long {
        let held = &mut scratch.held;
        let filled = held.fill(client, request, enough).await;
        filled.map_err(|failure| failure.and_then(answer))?;
        too_long = !wanted.partial && held.bytes.len() > limit;
    }
    if too_long {
        return Err(answer(FailureKind::BodyTooLarge.into()));
    }
    Ok(())
}

fn judge<'t>(question: Question<'t>, answer: Answer) -> (Outcome, Result<Cleared, Denial<'t>>) {
    let nothing = HeaderEdits::new();
    let view = HeaderView {
        buf: &answer.head,
        index: &answer.index,
        edits: &nothing,
    };
    if question.is_grpc() {
        let trailers = TrailerLines(&answer.trailers);
        let status = trailers.first("grpc-status");
        let status = status.or_else(|| view.first("grpc-status"));
        question.grpc_answered(answer.status, status, &answer.body)
    } else {
        question.answered(answer.status, view.iter(), answer.body)
    }
}

/// Makes the call, twice if the first connection had died in the pool.
async fn call<'t, C: Client>(
    client: &mut C,
    scratch: &Scratch,
    request: &Request<'t>,
    question: Question<'t>,
    (cluster, upstream): (&Cluster, &Rc<Upstream>),
) -> Result<Answer, Lost> {
    let lost = Lost::Answer { again: false };
    let view = HeaderView {
        buf: request.buf,
        index: &scratch.request,
        edits: &scratch.request_edits,
    };
    let all: Vec<_> = view.iter().collect();
    let Visit {
        worker,
        link,
        begun,
        ..
    } = client.visit();
    let link = Rc::clone(link);
    let asked = Asked {
        call: request.call(&link, &view),
        fields: &all,
        body: shown(&scratch.held, question),
        version: request.head.version,
        id: worker.rng.borrow_mut().next_u64(),
        unix_micros: worker.clock.unix_micros(*begun),
    };
    let body = asked.body.map_or(&[][..], |shown| shown.bytes);
    let length = |body: &[u8]| BodyKind::Length(u64::try_from(body.len()).unwrap_or(u64::MAX));
    let mut line = RequestLine {
        method: request.method.as_bytes(),
        target: b"/",
        authority: request.authority.as_bytes(),
        body: length(body),
        upgrade: None,
        te_trailers: false,
        close: false,
    };
    if let Some((method, message)) = question.grpc(&asked) {
        let mut fields = HeaderEdits::new();
        fields.add(b"content-type", b"application/grpc");
        let limit = question.authorizer().timeout.0.min(99_999_999);
        fields.add(b"grpc-timeout", format!("{limit}m").as_bytes());
        line = RequestLine {
            method: b"POST",
            target: method.as_bytes(),
            authority: question.authorizer().host.as_bytes(),
            body: length(&message),
            te_trailers: true,
            ..line
        };
        let letter = Letter {
            line,
            fields: &fields,
            body: &message,
            wire: Wire::Http2,
            asked: asked_as(Method::Post),
        };
        return send(client, &letter, cluster, upstream).await;
    }
    let call = question.http(&asked).ok_or(lost)?;
    let letter = Letter {
        line: RequestLine {
            target: call.target.as_bytes(),
            ..line
        },
        fields: &call.fields,
        body,
        wire: wire(cluster, request.head.version),
        asked: asked_as(request.head.method),
    };
    send(client, &letter, cluster, upstream).await
}

fn asked_as(method: Method) -> AskedAs {
    AskedAs {
        method,
        upgrade: false,
    }
}

/// What is shown of the body.
fn shown<'c>(held: &'c Held, question: Question<'_>) -> Option<Shown<'c>> {
    let wanted = question.body().filter(|_| !held.bytes.is_empty())?;
    let limit = usize::try_from(wanted.bytes).unwrap_or(usize::MAX);
    let end = held.bytes.len().min(limit);
    Some(Shown {
        bytes: held.bytes.get(..end).unwrap_or_default(),
        partial: !held.whole || end < held.bytes.len(),
    })
}

async fn send<C: Client>(
    client: &mut C,
    letter: &Letter<'_>,
    cluster: &Cluster,
    upstream: &Rc<Upstream>,
) -> Result<Answer, Lost> {
    match try_once(client, letter, cluster, upstream, false).await {
        Err(Lost::Answer { again: true }) => {
            try_once(client, letter, cluster, upstream, true).await
        }
        other => other,
    }
}

async fn try_once<C: Client>(
    client: &mut C,
    letter: &Letter<'_>,
    cluster: &Cluster,
    upstream: &Rc<Upstream>,
    fresh: bool,
) -> Result<Answer, Lost> {
    let worker = Rc::clone(&client.visit().worker);
    let endpoint = {
        let wanted = Wanted {
            now: worker.timers.now(),
            ..Wanted::default()
        };
        upstream.pick(wanted, &mut worker.rng.borrow_mut())
    };
    let endpoint = endpoint.ok_or(Lost::Answer { again: false })?;
    let authority = str::from_utf8(letter.line.authority).unwrap_or_default();
    let way = WayUp {
        worker,
        upstream,
        cluster,
        endpoint,
        errand: Errand {
            wire: letter.wire,
            authority,
            ends: None,
        },
        fresh,
        tunnel: false,
    };
    let tried = match connect(client, &way).await {
        Ok(origin) => converse(client, letter, &way, origin).await,
        Err(lost) => Err(lost),
    };
    let verdict = match &tried {
        Ok(answer) => Some(Verdict::Status(answer.status)),
        Err(Lost::Answer { again: false }) => Some(Verdict::Broken),
        Err(_) => None,
    };
    if let Some(verdict) = verdict {
        upstream.note(endpoint, verdict, &way.worker.commons);
    }
    tried
}

async fn connect<C: Client>(client: &mut C, way: &WayUp<'_>) -> Result<Origin, Lost> {
    let lost = Lost::Answer { again: false };
    if !way.fresh && !way.upstream.is_queued() {
        let now = way.worker.timers.now();
        let pooled = poll_fn(|context| Poll::Ready(Origin::pooled(way, now, context))).await;
        if let Some(pooled) = pooled {
            return pooled.map_err(|_| lost);
        }
    }
    let mut connecting = Box::pin(Origin::connect(way));
    client.listen();
    poll_fn(|context| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(context) {
            return Poll::Ready(connected.map_err(|_| Lost::Answer { again: false }));
        }
        while let Poll::Ready(happening) = poll_client(client, context) {
            match happening {
                Happening::Client(News::Came | News::Written(Ok(()))) => client.listen(),
                Happening::Deadline => return Poll::Ready(Err(Lost::Answer { again: false })),
                _ => return Poll::Ready(Err(Lost::Client)),
            }
        }
        Poll::Pending
    })
    .await
}

/// Sends the call and reads its answer.
async fn converse<C: Client>(
    client: &mut C,
    letter: &Letter<'_>,
    way: &WayUp<'_>,
    mut origin: Origin,
) -> Result<Answer, Lost> {
    let mut out = way.worker.buffers.take();
    let line = RequestLine {
        close: origin.is_last(way.cluster),
        ..letter.line
    };
    let nothing = HeaderIndex::new();
    origin.head(&mut out, &line, &[], &nothing, letter.fields);
    out.extend_from_slice(letter.body);
    origin.start_write(out, Some(&[]));
    let mut answer = Answer {
        status: 0,
        index: HeaderIndex::new(),
        head: Vec::new(),
        body: Vec::new(),
        trailers: Vec::new(),
    };
    let mut head: Option<ResponseHead> = None;
    loop {
        origin.listen();
        client.listen();
        match event::next(client, Some(&mut origin)).await {
            Happening::Origin(origin::News::Came | origin::News::Written(Ok(()))) => {}
            // The read that is pending tells how it ended.
            Happening::Origin(origin::News::Written(Err(_))) if origin.is_listening() => {}
            Happening::Origin(origin::News::Failed(_) | origin::News::Written(Err(_))) => {
                let again = origin.is_reused() && !origin.has_begun();
                return Err(Lost::Answer { again });
            }
            Happening::Client(News::Came | News::Written(Ok(()))) => {}
            Happening::Client(_) => return Err(Lost::Client),
            Happening::Deadline => return Err(Lost::Answer { again: false }),
        }
        if head.is_none() {
            head = answer.read_head(&mut origin, letter.asked)?;
        }
        let Some(head) = head else { continue };
        let bodiless = matches!(head.body, BodyKind::None | BodyKind::Length(0));
        if bodiless || answer.read_body(&mut origin)? {
            if head.keep_alive && origin.is_clean() {
                origin.give_back(way.cluster, way.worker.timers.now());
            }
            return Ok(answer);
        }
    }
}

impl Answer {
    /// The final head, if it is there.
    fn read_head(
        &mut self,
        origin: &mut Origin,
        asked: AskedAs,
    ) -> Result<Option<ResponseHead>, Lost> {
        loop {
            let head = origin.take_head(&mut self.index, asked);
            match head.map_err(|_| Lost::Answer { again: false })? {
                Some(head) if head.interim => {}
                Some(head) => {
                    self.status = head.status;
                    self.head.extend_from_slice(origin.bytes());
                    origin.begin_body();
                    return Ok(Some(head));
                }
                None => return Ok(None),
            }
        }
    }

    /// Takes what has come of the body; whether that is all.
    fn read_body(&mut self, origin: &mut Origin) -> Result<bool, Lost> {
        while origin.has_body() {
            let moved = origin.take(&mut self.body, Framing::Bare);
            let moved = moved.map_err(|_| Lost::Answer { again: false })?;
            if self.body.len() > ANSWER_BYTES_MAX {
                return Err(Lost::Answer { again: false });
            }
            if moved.done {
                origin.trailers(&mut self.trailers);
                return Ok(true);
            }
            if moved.payload == 0 {
                break;
            }
        }
        Ok(false)
    }
}
