//! A call to an authorizer: over the pools of its cluster, like any other, with one deadline. It ends
//! with whoever it is made for; a connection that was dying is no answer, and is replaced once.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use sallyport_config::ir::{Cluster, Wire};
use sallyport_core::admit::{ANSWER_BYTES_MAX, Cleared, Denial, Outcome, Question};
use sallyport_core::balance::Wanted;
use sallyport_core::call::HeaderLines;
use sallyport_core::h1::{
    Asked as AskedAs, BodyKind, HeaderEdits, HeaderIndex, HeaderView, RequestLine, ResponseHead,
    TrailerLines,
};
use sallyport_core::method::Method;
use sallyport_core::outlier::Verdict;

use super::asker::Asker;
use super::origin::{self, Origin, WayUp};
use super::transit::Framing;
use crate::upstream::{Errand, Upstream};
use crate::worker::Worker;

/// Longest time that a message may ask for, in milliseconds (gRPC over HTTP2, "Timeout").
const TIMEOUT_MAX: u64 = 99_999_999;

/// What came of a call, if an answer did.
pub(super) struct Answer {
    status: u16,
    index: HeaderIndex,
    /// The bytes of its head.
    head: Vec<u8>,
    body: Vec<u8>,
    trailers: Vec<u8>,
}

/// A call that came to nothing.
pub(super) enum Lost {
    /// Whoever it is for is gone.
    Asker,
    /// There is no answer; whether a fresh connection may have one.
    Answer { again: bool },
}

/// The call, ready for any wire.
pub(super) struct Letter<'a> {
    pub(super) line: RequestLine<'a>,
    pub(super) fields: &'a HeaderEdits,
    pub(super) body: &'a [u8],
    pub(super) wire: Wire,
    pub(super) asked: AskedAs,
}

enum News {
    Origin(origin::News),
    Gone,
    Deadline,
}

/// Sends a message of gRPC to `method` of the authorizer.
pub(super) async fn send_grpc<A: Asker>(
    asker: &mut A,
    question: Question<'_>,
    (method, message): (&str, &[u8]),
    cluster: &Cluster,
    upstream: &Rc<Upstream>,
) -> Result<Answer, Lost> {
    let mut fields = HeaderEdits::new();
    fields.add(b"content-type", b"application/grpc");
    let limit = question.authorizer().timeout.0.min(TIMEOUT_MAX);
    fields.add(b"grpc-timeout", format!("{limit}m").as_bytes());
    let letter = Letter {
        line: RequestLine {
            method: b"POST",
            target: method.as_bytes(),
            authority: question.authorizer().host.as_bytes(),
            body: length(message),
            upgrade: None,
            te_trailers: true,
            close: false,
        },
        fields: &fields,
        body: message,
        wire: Wire::Http2,
        asked: asked_as(Method::Post),
    };
    send(asker, &letter, cluster, upstream).await
}

/// Asks about a connection that carries bytes.
///
/// # Errors
/// What would be told about a request; `None` when whoever asks is gone.
pub(in crate::conn) async fn ask_about_bytes<'t, A: Asker>(
    asker: &mut A,
    question: Question<'t>,
    message: Option<(&str, Vec<u8>)>,
    found: Option<(&Cluster, &Rc<Upstream>)>,
) -> Result<Cleared, Option<Denial<'t>>> {
    let worker = Rc::clone(asker.worker());
    let due = worker.timers.now() + question.authorizer().timeout;
    asker.alarm().set(Some(due));
    let answer = match (message, found) {
        (Some((method, message)), Some((cluster, upstream))) => {
            send_grpc(asker, question, (method, &message), cluster, upstream).await
        }
        _ => Err(Lost::Answer { again: false }),
    };
    judge(&worker, question, answer)
}

/// What is known of a body of these bytes.
pub(super) fn length(body: &[u8]) -> BodyKind {
    BodyKind::Length(u64::try_from(body.len()).unwrap_or(u64::MAX))
}

pub(super) fn asked_as(method: Method) -> AskedAs {
    AskedAs {
        method,
        upgrade: false,
    }
}

/// What an answer means, or that there is none: counted.
///
/// # Errors
/// What the client is told; `None` when it is gone.
pub(super) fn judge<'t>(
    worker: &Worker,
    question: Question<'t>,
    answer: Result<Answer, Lost>,
) -> Result<Cleared, Option<Denial<'t>>> {
    let (outcome, verdict) = match answer {
        Ok(answer) => answer.means(question),
        Err(Lost::Answer { .. }) => question.failed(),
        Err(Lost::Asker) => return Err(None),
    };
    let mut stats = worker.stats.borrow_mut();
    stats.authorizer_asked(&question.authorizer().name, outcome);
    verdict.map_err(Some)
}

/// Makes the call, twice if the first connection had died in the pool.
pub(super) async fn send<A: Asker>(
    asker: &mut A,
    letter: &Letter<'_>,
    cluster: &Cluster,
    upstream: &Rc<Upstream>,
) -> Result<Answer, Lost> {
    match try_once(asker, letter, cluster, upstream, false).await {
        Err(Lost::Answer { again: true }) => try_once(asker, letter, cluster, upstream, true).await,
        other => other,
    }
}

async fn try_once<A: Asker>(
    asker: &mut A,
    letter: &Letter<'_>,
    cluster: &Cluster,
    upstream: &Rc<Upstream>,
    fresh: bool,
) -> Result<Answer, Lost> {
    let worker = Rc::clone(asker.worker());
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
    let tried = match connect(asker, &way).await {
        Ok(origin) => converse(asker, letter, &way, origin).await,
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

/// Whether whoever asks is gone, or out of time.
fn poll_asker<A: Asker>(asker: &mut A, context: &mut Context<'_>) -> Poll<News> {
    if asker.poll_gone(context).is_ready() {
        return Poll::Ready(News::Gone);
    }
    asker.alarm().poll(context).map(|()| News::Deadline)
}

async fn connect<A: Asker>(asker: &mut A, way: &WayUp<'_>) -> Result<Origin, Lost> {
    let lost = Lost::Answer { again: false };
    if !way.fresh && !way.upstream.is_queued() {
        let now = way.worker.timers.now();
        let pooled = poll_fn(|context| Poll::Ready(Origin::pooled(way, now, context))).await;
        if let Some(pooled) = pooled {
            return pooled.map_err(|_| lost);
        }
    }
    let mut connecting = Box::pin(Origin::connect(way));
    poll_fn(|context| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(context) {
            return Poll::Ready(connected.map_err(|_| Lost::Answer { again: false }));
        }
        poll_asker(asker, context).map(|news| match news {
            News::Gone => Err(Lost::Asker),
            News::Deadline | News::Origin(_) => Err(Lost::Answer { again: false }),
        })
    })
    .await
}

/// Sends the call and reads its answer.
async fn converse<A: Asker>(
    asker: &mut A,
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
        let news = poll_fn(|context| match origin.poll(context) {
            Poll::Ready(news) => Poll::Ready(News::Origin(news)),
            Poll::Pending => poll_asker(asker, context),
        });
        match news.await {
            News::Origin(origin::News::Came | origin::News::Written(Ok(()))) => {}
            // The read that is pending tells how it ended.
            News::Origin(origin::News::Written(Err(_))) if origin.is_listening() => {}
            News::Origin(origin::News::Failed(_) | origin::News::Written(Err(_))) => {
                let again = origin.is_reused() && !origin.has_begun();
                return Err(Lost::Answer { again });
            }
            News::Gone => return Err(Lost::Asker),
            News::Deadline => return Err(Lost::Answer { again: false }),
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
    fn means<'t>(self, question: Question<'t>) -> (Outcome, Result<Cleared, Denial<'t>>) {
        let nothing = HeaderEdits::new();
        let view = HeaderView {
            buf: &self.head,
            index: &self.index,
            edits: &nothing,
        };
        if question.is_grpc() {
            let trailers = TrailerLines(&self.trailers);
            let status = trailers.first("grpc-status");
            let status = status.or_else(|| view.first("grpc-status"));
            question.grpc_answered(self.status, status, &self.body)
        } else {
            question.answered(self.status, view.iter(), self.body)
        }
    }

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
