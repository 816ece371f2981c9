//! Answers that are made here.

use std::rc::Rc;

use sallyport_core::cors::CorsFields;
use sallyport_core::exchange::REPLY_TIME;
use sallyport_core::flags::Flags;
use sallyport_core::h1::{
    BodyKind, FieldSet, H1Error, HeaderEdits, HeaderIndex, HeaderView, RequestHead, ResponseLine,
    Span, TargetForm, Version,
};
use sallyport_core::hygiene::advertise_http3;
use sallyport_core::method::Method;
use sallyport_core::plan::{EditSink, Edits, Plan};
use sallyport_core::reply::{Reply, for_grpc, reason};
use sallyport_core::time::Now;

use super::client::{Client, Fate, News, Visit};
use super::event::{self, Happening};
use super::record::{Ledger, is_grpc};
use super::request::{self, Request};
use crate::conn::Link;
use crate::worker::{Active, Scratch, Worker};

/// What rules say about the head of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules<'a> {
    pub(super) edits: Edits<'a>,
    pub(super) cors: Option<&'a CorsFields<'a>>,
}

impl<'a> Rules<'a> {
    /// Those of a plan: they hold for an answer that replaces the upstream's, too.
    pub(super) fn of(plan: &'a Plan<'a>) -> Self {
        Self {
            edits: plan.response,
            cors: plan.cors.as_ref(),
        }
    }
}

/// Refuses what is not HTTP, or HTTP that we do not take. The connection ends.
pub(in crate::conn) async fn refuse<C: Client>(
    client: &mut C,
    scratch: &mut Scratch,
    error: H1Error,
) -> Fate {
    client.visit().worker.stats.borrow_mut().request_started();
    let flags = match error.flag() {
        "DPE" => Flags::DPE,
        "DT" => Flags::DT,
        _ => Flags::NONE,
    };
    let reply = Reply {
        close: true,
        ..Reply::text(error.status(), flags, error.detail(), error.body())
    };
    scratch.request.clear();
    scratch
        .request_edits
        .begin(FieldSet::NONE, &scratch.request);
    let visit = client.visit();
    let active = visit.worker.active();
    let link = Rc::clone(&visit.link);
    let request = nothing(&active, &link, client.version());
    send(
        client,
        scratch,
        &request,
        reply,
        Rules::default(),
        Ledger::default(),
    )
    .await
}

/// Logs a connection that ends before a request could be read.
pub(in crate::conn) fn log_closed(
    worker: &Worker,
    link: &Link,
    begun: Now,
    flags: Flags,
    details: &'static str,
) {
    let active = worker.active();
    let ledger = Ledger {
        flags,
        details: details.into(),
        ..Ledger::default()
    };
    let scratch = worker.scratch.take();
    let request = nothing(&active, link, Version::Http11);
    ledger.log(worker, link, begun, &scratch, &request, worker.timers.now());
    worker.scratch.give(scratch);
}

/// Stands for a request that could not be read.
fn nothing<'a>(active: &'a Rc<Active>, link: &Link, version: Version) -> Request<'a> {
    Request {
        head: no_head(version),
        buf: &[],
        method: "",
        target: "",
        path: "",
        query: None,
        authority: "",
        client: link.ends.source.ip(),
        ends: link.ends,
        scheme: link.scheme(),
        web: None,
        active,
        response: None,
        observed: &request::NOTHING,
    }
}

/// Stands for a head that could not be read.
fn no_head(version: Version) -> RequestHead {
    RequestHead {
        method: Method::Other,
        method_text: Span::default(),
        target: Span::default(),
        form: TargetForm::Origin,
        authority: Span::default(),
        host: Span::default(),
        port: None,
        version,
        body: BodyKind::None,
        keep_alive: false,
        expect_continue: false,
        upgrade: None,
        te_trailers: false,
        drop: FieldSet::NONE,
    }
}

/// Sends an answer, counts and logs the request. To be boxed: every exchange has room for whatever
/// it may await, and few answer by themselves.
pub(super) async fn send<C: Client>(
    client: &mut C,
    scratch: &mut Scratch,
    request: &Request<'_>,
    reply: Reply<'_>,
    rules: Rules<'_>,
    mut ledger: Ledger<'_>,
) -> Fate {
    let mut reply = if is_grpc(request, scratch) {
        for_grpc(reply)
    } else {
        reply
    };
    let mut fields = reply.headers.iter();
    let status = fields.find(|(name, _)| name == "grpc-status");
    ledger.grpc_status = status.and_then(|(_, status)| status.parse().ok());
    if let Some(web) = request.web {
        let types = reply
            .headers
            .iter_mut()
            .filter(|(n, _)| n == "content-type");
        types.for_each(|(_, value)| *value = web.content_type().into());
    }
    let now = client.visit().worker.timers.now();
    ledger.status = reply.status;
    ledger.flags = ledger.flags.with(reply.flags);
    ledger.details = reply.details.clone();
    ledger.head_received = u64::try_from(request.buf.len()).unwrap_or(u64::MAX);
    // A body that is still to come would be taken for the next request.
    let held = std::mem::take(&mut scratch.held);
    if held.is_begun() && !held.whole {
        client.abandon_body();
    }
    let taken = ledger.body_taken || (held.is_begun() && held.whole);
    let read_on = taken || client.skip_body();
    let keep = request.head.keep_alive && read_on && !reply.close && !client.shall_end();
    let out = write(
        client,
        scratch,
        request,
        &reply,
        rules,
        &mut ledger,
        keep,
        now,
    );
    let arrived = flush(client, out).await;
    if !arrived {
        ledger.flags = ledger.flags.with(Flags::DC);
    }
    let visit = client.visit();
    ledger.close(visit, scratch, request, visit.worker.timers.now());
    match (arrived, keep) {
        (false, _) => Fate::Cut,
        (true, true) => Fate::Keep,
        (true, false) => Fate::Close,
    }
}

/// The port of HTTP/3 for a client that could use it and does not: the one that it addresses, which
/// is the same for TCP and UDP wherever it is mapped on the way.
pub(super) fn http3_port(visit: &Visit, request: &Request<'_>) -> Option<u16> {
    let known = request.head.version != Version::Http3 && !request.authority.is_empty();
    let offered = || {
        let generation = &request.active.generation;
        visit.link.could_be_quic(&visit.worker, generation)
    };
    (known && offered()).then(|| request.head.port.unwrap_or(443))
}

#[expect(
    clippy::too_many_arguments,
    reason = "one caller, which has them all at hand"
)]
fn write<C: Client>(
    client: &mut C,
    scratch: &mut Scratch,
    request: &Request<'_>,
    reply: &Reply<'_>,
    rules: Rules<'_>,
    ledger: &mut Ledger<'_>,
    keep: bool,
    now: Now,
) -> Vec<u8> {
    let index = HeaderIndex::new();
    let Visit {
        worker,
        link,
        begun,
        ..
    } = client.visit();
    let mut head = std::mem::take(&mut scratch.response_edits);
    head.begin(FieldSet::NONE, &index);
    for (name, value) in &reply.headers {
        head.add(name.as_bytes(), value.as_bytes());
    }
    let typed = reply.headers.iter().any(|(name, _)| name == "content-type");
    if !reply.body.is_empty() && !typed {
        head.add(b"content-type", b"text/plain");
    }
    head.add(b"date", &worker.clock.date(now));
    if let Some(server) = &request.active.generation.serving.hygiene.server_name {
        head.add(b"server", server.as_bytes());
    }
    if let Some(port) = http3_port(client.visit(), request) {
        advertise_http3(&mut head, &index, port);
    }
    if !rules.edits.is_empty() {
        let view = HeaderView {
            buf: request.buf,
            index: &scratch.request,
            edits: &scratch.request_edits,
        };
        let facts = ledger.record(worker, link, *begun, request, &view, now);
        let mut sink = Sink {
            edits: &mut head,
            buf: &[],
            index: &index,
        };
        rules.edits.apply(&facts, &mut scratch.text, &mut sink);
    }
    if let Some(cors) = rules.cors {
        cors.apply(&mut Sink {
            edits: &mut head,
            buf: &[],
            index: &index,
        });
    }
    request.change_response(&mut head, &[], &index);
    // RFC 9110 §8.6: these have neither a body nor a length.
    let bare = matches!(reply.status, 204 | 304);
    let length = u64::try_from(reply.body.len()).unwrap_or(u64::MAX);
    let line = ResponseLine {
        status: reply.status,
        reason: reason(reply.status).as_bytes(),
        body: if bare {
            BodyKind::None
        } else {
            BodyKind::Length(length)
        },
        declared_length: None,
        client: request.head.version,
        keep_alive: keep,
        upgrade: None,
    };
    let mut out = worker.buffers.take();
    client.frame(line.body, false);
    ledger.head_sent = client.head(&mut out, &line, &[], &index, &head);
    if request.head.method != Method::Head && !bare {
        out.extend_from_slice(&reply.body);
        ledger.sent = length;
    }
    scratch.response_edits = head;
    out
}

/// Writes all of it, as long as the client takes something in time; whether it did.
async fn flush<C: Client>(client: &mut C, out: Vec<u8>) -> bool {
    let visit = client.visit();
    let due = visit.worker.timers.now() + REPLY_TIME;
    visit.alarm.set(Some(due));
    // An interim response may still be on its way.
    let mut next = Some(out);
    loop {
        if !client.is_writing() {
            match next.take() {
                Some(out) => {
                    client.start_write(out, Some(&[]));
                    continue;
                }
                None => return true,
            }
        }
        match event::next(client, None).await {
            Happening::Client(News::Written(Ok(())) | News::Came) => {}
            // Its end is no reason not to answer: only a failing write is.
            Happening::Client(News::Left) => {}
            _ => return false,
        }
    }
}

/// Rules' edits of a head.
pub(super) struct Sink<'a> {
    pub(super) edits: &'a mut HeaderEdits,
    pub(super) buf: &'a [u8],
    pub(super) index: &'a HeaderIndex,
}

impl EditSink for Sink<'_> {
    fn remove(&mut self, name: &str) {
        self.edits.remove(self.buf, self.index, name.as_bytes());
    }

    fn remove_like(&mut self, name: &str) {
        self.edits
            .remove_like(self.buf, self.index, name.as_bytes());
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.edits.set(self.buf, self.index, name.as_bytes(), value);
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        self.edits.add(name.as_bytes(), value);
    }
}

/// Waits while only the client can do something; `false` when it is gone.
pub(super) async fn idle_until<C: Client>(client: &mut C, until: Now) -> bool {
    client.visit().alarm.set(Some(until));
    loop {
        client.listen();
        match event::next(client, None).await {
            Happening::Deadline => return true,
            Happening::Client(News::Came | News::Written(Ok(()))) => {}
            _ => return false,
        }
    }
}
