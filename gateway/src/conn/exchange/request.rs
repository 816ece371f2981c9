//! One request from its head to the decision about it.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::rc::Rc;

use sallyport_config::ir::Service;
use sallyport_config::model::{Dice, Observed};
use sallyport_core::admit::{
    Admitted, Changes, Cleared, Context, Denial, Inquiry, admit, inquire, without_tokens,
};
use sallyport_core::call::{Call, Scheme};
use sallyport_core::decide::{Answer, Decision, Where, act, find, refuse};
use sallyport_core::failure::FailureKind;
use sallyport_core::flags::Flags;
use sallyport_core::grpc_web::Web;
use sallyport_core::h1::{BodyKind, HeaderEdits, HeaderIndex, HeaderView, RequestHead, TargetForm};
use sallyport_core::hygiene::{Peer, clean_request, client_scheme};
use sallyport_core::path::{PathAction, normalize};
use sallyport_core::plan::Plan;
use sallyport_core::proxy_protocol::Ends;
use sallyport_core::rate;
use sallyport_core::reply::{self, Reply};

use super::answer::{Rules, Sink};
use super::client::{Client, Fate, Visit};
use super::gauge::Gauge;
use super::held::Held;
use super::record::Ledger;
use super::{answer, ask, flight};
use crate::conn::Link;
use crate::load::Pressure;
use crate::worker::{Active, Scratch, Worker};

/// A request whose head is whole.
pub(super) struct Request<'a> {
    pub(super) head: RequestHead,
    /// The bytes of the head.
    pub(super) buf: &'a [u8],
    pub(super) method: &'a str,
    /// Path and query in their normal form.
    pub(super) target: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) authority: &'a str,
    /// Address of the client, as far as it can be trusted.
    pub(super) client: IpAddr,
    /// Ends of the connection, as the upstream is told them in front of its own.
    pub(super) ends: Ends,
    /// The scheme that the client used, as far as it can be trusted.
    pub(super) scheme: Scheme,
    /// It is gRPC-Web, where that is translated.
    pub(super) web: Option<Web>,
    /// What it is served by.
    pub(super) active: &'a Rc<Active>,
    /// What who let it pass changes of the answer.
    pub(super) response: Option<&'a Changes>,
    /// What policies say of it that decide nothing.
    pub(super) observed: &'a Observed,
}

/// No policy has said anything yet.
pub(super) static NOTHING: Observed = Observed {
    audited: None,
    deny: None,
    allow: None,
};

impl<'a> Request<'a> {
    /// Makes the changes of the answer that who let the request pass wants: the last of all.
    pub(super) fn change_response(&self, edits: &mut HeaderEdits, buf: &[u8], index: &HeaderIndex) {
        let Some(changes) = self.response.filter(|changes| !changes.is_empty()) else {
            return;
        };
        let view = HeaderView { buf, index, edits };
        let settled = changes.settle(&view);
        changes.apply(&settled, &mut Sink { edits, buf, index });
    }

    /// The request as rules see it; `view` shows its fields.
    pub(super) fn call(&self, link: &'a Link, view: &'a HeaderView<'a>) -> Call<'a> {
        Call {
            scheme: self.scheme,
            method: self.method,
            authority: self.authority,
            path: self.path,
            query: self.query,
            headers: view,
            client: SocketAddr::new(self.client, link.ends.source.port()),
            peer: link.peer,
            local: link.local,
            sni: link.sni(),
            identity: link.identity(),
        }
    }
}

/// Answers one request, whose head is whole: `buf` are its bytes, described by `scratch.request`.
pub(in crate::conn) async fn serve<C: Client>(
    client: &mut C,
    scratch: &mut Scratch,
    head: RequestHead,
    buf: &[u8],
) -> Fate {
    let Visit { worker, link, .. } = client.visit();
    worker.stats.borrow_mut().request_started();
    scratch.held = Held::default();
    let mut normal = std::mem::take(&mut scratch.path);
    let active = worker.active();
    let policy = active.generation.serving.path;
    let action = match head.form {
        TargetForm::Origin | TargetForm::Absolute => {
            normalize(head.target.of(buf), policy, &mut normal)
        }
        TargetForm::Authority | TargetForm::Asterisk => PathAction::Unchanged,
    };
    let target = match action {
        PathAction::Rewritten | PathAction::Redirect => str::from_utf8(&normal).unwrap_or_default(),
        PathAction::Unchanged | PathAction::Reject { .. } => head.target.text(buf),
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let hygiene = &active.generation.serving.hygiene;
    let mut request = Request {
        head,
        buf,
        method: head.method_text.text(buf),
        target,
        path,
        query,
        authority: head.authority.text(buf),
        client: link.ends.source.ip(),
        ends: link.ends,
        scheme: client_scheme(buf, &scratch.request, hygiene, link.scheme()),
        web: None,
        active: &active,
        response: None,
        observed: &NOTHING,
    };
    request.client = clean(client.visit(), scratch, &request);
    if client.is_early() {
        let (edits, index) = (&mut scratch.request_edits, &scratch.request);
        edits.set(buf, index, b"early-data", b"1");
    }
    let fate = match early_answer(&client.visit().worker, &request, action) {
        Some(reply) => {
            let ledger = Ledger::default();
            Box::pin(answer::send(
                client,
                scratch,
                &request,
                reply,
                Rules::default(),
                ledger,
            ))
            .await
        }
        None => follow(client, scratch, &request).await,
    };
    scratch.path = normal;
    fate
}

/// Removes and adds the fields that an edge does; the client's address.
fn clean(visit: &Visit, scratch: &mut Scratch, request: &Request<'_>) -> IpAddr {
    let peer = Peer {
        address: visit.link.ends.source.ip(),
        text: &visit.link.source_text,
        scheme: visit.link.scheme(),
        client_cert: visit.link.verified().map(|peer| &*peer.forwarded),
    };
    clean_request(
        &mut scratch.request_edits,
        request.head.drop,
        request.buf,
        &scratch.request,
        &request.active.generation.serving.hygiene,
        peer,
        &mut visit.worker.rng.borrow_mut(),
    )
}

/// Answers that no rule has a say in.
fn early_answer(
    worker: &Worker,
    request: &Request<'_>,
    action: PathAction,
) -> Option<Reply<'static>> {
    if worker.load.pressure() == Pressure::Full {
        let failure = FailureKind::Overload.into();
        return Some(reply::reply(&failure, &Default::default()));
    }
    match action {
        PathAction::Redirect => {
            let mut reply = Reply::empty(307, Flags::NONE, "path_normalization_redirect");
            let location = request.target.to_owned();
            reply.headers.push(("location".into(), location.into()));
            return Some(reply);
        }
        PathAction::Reject { status } => {
            let reply = Reply::empty(status, Flags::NONE, "path_normalization_failed");
            return Some(reply);
        }
        PathAction::Unchanged | PathAction::Rewritten => {}
    }
    if request.head.form == TargetForm::Authority {
        let failure = FailureKind::NoRoute.into();
        return Some(reply::reply(&failure, &Default::default()));
    }
    None
}

/// Sends an answer that no rule has a say in.
async fn deny<C: Client>(
    client: &mut C,
    scratch: &mut Scratch,
    request: &Request<'_>,
    reply: Reply<'_>,
) -> Fate {
    let (rules, ledger) = (Rules::default(), Ledger::default());
    Box::pin(answer::send(client, scratch, request, reply, rules, ledger)).await
}

/// Asks policies and rules, and does what they say.
async fn follow<C: Client>(client: &mut C, scratch: &mut Scratch, request: &Request<'_>) -> Fate {
    let place = client.visit().link.place(&request.active.generation);
    let Some(place) = place else {
        let mut reply = reply::reply(&FailureKind::NoRoute.into(), &Default::default());
        reply.close = true;
        return deny(client, scratch, request, reply).await;
    };
    let request = &of_web(scratch, request, place);
    // What is logged has no token where one is looked for.
    let redacted = redacted(request);
    let target = redacted.as_deref().unwrap_or(request.target);
    let cleared = match clear(client, scratch, request).await {
        Ok(cleared) => cleared,
        Err(Some(reply)) => {
            let request = &Request { target, ..*request };
            return deny(client, scratch, request, *reply).await;
        }
        Err(None) => return left(client.visit(), scratch, &Request { target, ..*request }),
    };
    let observed = RefCell::default();
    let allowed = allow(client.visit(), scratch, request, &cleared, &observed);
    let observed = &observed.into_inner();
    let response = cleared.into_response();
    let response = Some(&response);
    let admitted = match allowed {
        Ok(admitted) => admitted,
        Err(reply) => {
            let request = &Request {
                target,
                response,
                observed,
                ..*request
            };
            return deny(client, scratch, request, *reply).await;
        }
    };
    let query = admitted.edits().query(request.query);
    let request = &Request {
        target,
        query,
        response,
        observed,
        ..*request
    };
    match judge(client.visit(), scratch, request, place, &admitted) {
        Judgement::Answer(answer) => {
            let Answer {
                reply,
                delay,
                route,
                response,
                cors,
            } = answer;
            if let Some(delay) = delay
                && !flight::delay(client, delay).await
            {
                return Fate::Cut;
            }
            let ledger = Ledger {
                route,
                ..Ledger::default()
            };
            let rules = Rules {
                edits: response,
                cors: cors.as_ref(),
            };
            Box::pin(answer::send(client, scratch, request, reply, rules, ledger)).await
        }
        Judgement::Forward(plan) => flight::forward(client, scratch, request, &plan).await,
    }
}

/// The request as upstreams will see it, if it is gRPC-Web and its server speaks that.
fn of_web<'a>(scratch: &Scratch, request: &Request<'a>, place: Where) -> Request<'a> {
    let service = request.active.generation.tables.service(place);
    let served = matches!(service, Some(Service::Http(http)) if http.grpc_web);
    let fields = HeaderView {
        buf: request.buf,
        index: &scratch.request,
        edits: &scratch.request_edits,
    };
    let web = served.then(|| Web::of(&fields)).flatten();
    let mut head = request.head;
    if let Some(web) = web {
        head.te_trailers = true;
        // What a text says is shorter than the text.
        if web.text_up && matches!(head.body, BodyKind::Length(1..)) {
            head.body = BodyKind::Chunked;
        }
    }
    Request {
        head,
        web,
        ..*request
    }
}

enum Judgement<'t> {
    Answer(Answer<'t>),
    Forward(Plan<'t>),
}

/// The target without tokens, if it may have any.
fn redacted(request: &Request<'_>) -> Option<String> {
    let query = without_tokens(&request.active.generation.tables, request.query)?;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(request.path.to_owned() + &query)
}

/// The client left before anything was forwarded.
fn left(visit: &Visit, scratch: &Scratch, request: &Request<'_>) -> Fate {
    let ledger = Ledger {
        flags: Flags::DC,
        ..Ledger::default()
    };
    ledger.close(visit, scratch, request, visit.worker.timers.now());
    Fate::Cut
}

/// Asks the rate limits that stand before everything else.
///
/// # Errors
/// What the client is told.
fn within<'t>(visit: &Visit, scratch: &Scratch, request: &Request<'t>) -> Result<(), Denial<'t>> {
    let active: &'t Active = request.active;
    let view = HeaderView {
        buf: request.buf,
        index: &scratch.request,
        edits: &scratch.request_edits,
    };
    let call = request.call(&visit.link, &view);
    let worker = &visit.worker;
    rate::first(
        &active.generation.tables,
        &call,
        &mut Gauge { worker, active },
    )
}

/// Asks the first rate limits; then has whoever must be asked before all policies look at the request,
/// and makes the changes that they want.
///
/// # Errors
/// What the client is told; `None` when it is gone.
async fn clear<'t, C: Client>(
    client: &mut C,
    scratch: &mut Scratch,
    request: &Request<'t>,
) -> Result<Cleared, Option<Denial<'t>>> {
    within(client.visit(), scratch, request).map_err(Some)?;
    let active: &'t Active = request.active;
    let inquiry = {
        let view = HeaderView {
            buf: request.buf,
            index: &scratch.request,
            edits: &scratch.request_edits,
        };
        let call = request.call(&client.visit().link, &view);
        inquire(&active.generation.tables, &call).map_err(Some)?
    };
    let cleared = match inquiry {
        Inquiry::Nobody(cleared) => return Ok(cleared),
        // Rare enough to be worth a box, large enough to be worth one.
        Inquiry::Ask(question) => Box::pin(ask::ask(client, scratch, request, question)).await?,
    };
    let view = HeaderView {
        buf: request.buf,
        index: &scratch.request,
        edits: &scratch.request_edits,
    };
    let settled = cleared.request().settle(&view);
    let mut sink = Sink {
        edits: &mut scratch.request_edits,
        buf: request.buf,
        index: &scratch.request,
    };
    cleared.request().apply(&settled, &mut sink);
    Ok(cleared)
}

/// Asks policies, and makes the changes that they want, so that rules see them.
fn allow<'t>(
    visit: &Visit,
    scratch: &mut Scratch,
    request: &Request<'t>,
    cleared: &Cleared,
    observed: &RefCell<Observed>,
) -> Result<Admitted, Denial<'t>> {
    let active: &'t Active = request.active;
    let view = HeaderView {
        buf: request.buf,
        index: &scratch.request,
        edits: &scratch.request_edits,
    };
    let call = request.call(&visit.link, &view);
    let context = Context {
        unix_seconds: visit.worker.clock.unix_micros(visit.begun) / 1_000_000,
        keys: Some(&active.generation.keys),
        misses: Some(&visit.worker.misses),
        cache: Some(&visit.worker.tokens),
        observed: Some(observed),
    };
    let admitted = admit(&active.generation.tables, &call, &context, cleared);
    visit.worker.stats.borrow_mut().observed(&observed.borrow());
    let admitted = admitted?;
    admitted.edits().apply(&mut Sink {
        edits: &mut scratch.request_edits,
        buf: request.buf,
        index: &scratch.request,
    });
    Ok(admitted)
}

fn judge<'t>(
    visit: &Visit,
    scratch: &Scratch,
    request: &Request<'t>,
    place: Where,
    admitted: &Admitted,
) -> Judgement<'t> {
    let active: &'t Active = request.active;
    let tables = &active.generation.tables;
    let view = HeaderView {
        buf: request.buf,
        index: &scratch.request,
        edits: &scratch.request_edits,
    };
    let call = request.call(&visit.link, &view);
    let dice = {
        let mut rng = visit.worker.rng.borrow_mut();
        Dice {
            target: rng.next_u64(),
            delay: rng.die(),
            abort: rng.die(),
            mirror: rng.die(),
        }
    };
    let decision = match find(tables, place, &call, admitted) {
        ControlFlow::Break(decision) => decision,
        ControlFlow::Continue(found) => {
            let worker = &visit.worker;
            let mut gauge = Gauge { worker, active };
            match rate::routed(tables, found, &call, admitted, &mut gauge) {
                Ok(()) => act(found, &call, &dice),
                Err(denial) => refuse(found, *denial),
            }
        }
    };
    match decision {
        Decision::Reply(answer) => Judgement::Answer(answer),
        Decision::Forward(plan) => Judgement::Forward(plan),
    }
}
