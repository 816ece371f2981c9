//! External authorization: asks somebody else about a request, while its client waits.

use std::rc::Rc;
use std::task::{Context, Poll};

use sallyport_config::ir::Cluster;
use sallyport_core::admit::{Asked, Cleared, Denial, Question, Shown};
use sallyport_core::failure::FailureKind;
use sallyport_core::h1::{BodyKind, HeaderView, RequestLine};
use sallyport_core::reply;

use super::asker::Asker;
use super::client::{Client, News, Visit};
use super::flight::wire;
use super::held::Held;
use super::letter::{Answer, Letter, Lost, asked_as, judge, length, send, send_grpc};
use super::request::Request;
use crate::rt::Alarm;
use crate::upstream::Upstream;
use crate::worker::{Scratch, Worker};

/// The client of a request, as who waits for an answer.
struct OfRequest<'c, C>(&'c mut C);

impl<C: Client> Asker for OfRequest<'_, C> {
    fn worker(&self) -> &Rc<Worker> {
        &self.0.visit().worker
    }

    fn alarm(&self) -> &Alarm {
        &self.0.visit().alarm
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.listen();
        while let Poll::Ready(news) = self.0.poll(context) {
            match news {
                News::Came | News::Written(Ok(())) => self.0.listen(),
                News::Left | News::Gone | News::Written(Err(_)) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
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
    let worker = Rc::clone(&client.visit().worker);
    let due = worker.timers.now() + authorizer.timeout;
    client.visit().alarm.set(Some(due));
    let answer = match request.active.upstream(&worker, authorizer.cluster) {
        Some((cluster, upstream)) => {
            call(client, scratch, request, question, (cluster, upstream)).await
        }
        None => Err(Lost::Answer { again: false }),
    };
    judge(&worker, question, answer)
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

/// Makes the call.
async fn call<'t, C: Client>(
    client: &mut C,
    scratch: &Scratch,
    request: &Request<'t>,
    question: Question<'t>,
    (cluster, upstream): (&Cluster, &Rc<Upstream>),
) -> Result<Answer, Lost> {
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
    let asker = &mut OfRequest(client);
    if let Some((method, message)) = question.grpc(&asked) {
        return send_grpc(asker, question, (method, &message), cluster, upstream).await;
    }
    let body = asked.body.map_or(&[][..], |shown| shown.bytes);
    let call = question.http(&asked);
    let call = call.ok_or(Lost::Answer { again: false })?;
    let letter = Letter {
        line: RequestLine {
            method: request.method.as_bytes(),
            target: call.target.as_bytes(),
            authority: request.authority.as_bytes(),
            body: length(body),
            upgrade: None,
            te_trailers: false,
            close: false,
        },
        fields: &call.fields,
        body,
        wire: wire(cluster, request.head.version),
        asked: asked_as(request.head.method),
    };
    send(asker, &letter, cluster, upstream).await
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
