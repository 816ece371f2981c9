//! One forwarded request: asks the exchange machine what to do, does it, tells it what happened.
//!
//! All waiting is in [`event::next`] and [`Flight::connect`]; everything else starts what can be
//! started. At any time at most one read and one write is under way on each side, and one buffer
//! waits in each direction: that is all the memory a body can take.

mod down;
mod up;

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use sallyport_config::ir::{Cluster, ClusterRef, Millis, UpstreamProtocol, Wire};
use sallyport_core::balance::{Key, Wanted};
use sallyport_core::call::HeaderLines;
use sallyport_core::exchange::{
    BodyKind as PolicyBody, Event, Exchange, Policy, Step, effective_timeout,
};
use sallyport_core::failure::{Failure, FailureKind};
use sallyport_core::flags::Flags;
use sallyport_core::grpc_web::GRPC;
use sallyport_core::h1::{BodyKind, HeaderView, KnownHeader, Version};
use sallyport_core::outlier::Verdict;
use sallyport_core::plan::{EditSink, Plan};
use sallyport_core::reply;
use sallyport_core::time::{Now, earliest};

use super::aim;
use super::answer::{self, Rules, Sink};
use super::client::{Client, Fate, News, Visit};
use super::download::Download;
use super::event::{self, Happening, poll_client};
use super::on_demand;
use super::origin::{Origin, WayUp};
use super::record::{Ledger, is_grpc};
use super::request::Request;
use super::upload::Upload;
use crate::upstream::{ConnectError, Errand, Upstream, connect_failure};
use crate::worker::{Scratch, Worker};

/// A request on its way.
pub(super) struct Flight<'a, 't, C> {
    pub(super) client: &'a mut C,
    pub(super) scratch: &'a mut Scratch,
    pub(super) request: &'a Request<'t>,
    pub(super) plan: &'a Plan<'t>,
    cluster: &'a Cluster,
    upstream: &'a Rc<Upstream>,
    /// Which endpoint the client shall meet.
    key: Key,
    exchange: Exchange<'a>,
    pub(super) upload: Upload,
    download: Download,
    origin: Option<Origin>,
    /// The current try's head has been handed to the socket; and has been sent.
    try_begun: bool,
    head_told: bool,
    /// The client was told to send its body.
    continued: bool,
    /// Hints passed on.
    hints: u8,
    /// Trailers on their way.
    trailers: Vec<u8>,
    /// The client's connection may carry another request.
    keep: bool,
    /// The time of the last wake-up.
    clock: Now,
    ledger: Ledger<'a>,
}

/// Forwards a request as planned.
pub(super) async fn forward<'a, 't, C: Client>(
    client: &'a mut C,
    scratch: &'a mut Scratch,
    request: &'a Request<'t>,
    plan: &'a Plan<'t>,
) -> Fate {
    let mut ledger = Ledger {
        route: Some(plan.route),
        ..Ledger::default()
    };
    if let Some(wait) = plan.delay {
        ledger.flags = ledger.flags.with(Flags::DI);
        if !delay(client, wait).await {
            return left(client.visit(), scratch, request, ledger);
        }
    }
    if request.web.is_some() {
        let (edits, index) = (&mut scratch.request_edits, &scratch.request);
        edits.set(request.buf, index, b"content-type", GRPC.as_bytes());
    }
    edit_request(client.visit(), scratch, request, plan, &ledger);
    let worker = &client.visit().worker;
    let found = match plan.cluster {
        ClusterRef::Known(id) => request
            .active
            .upstream(worker, *id)
            .map(|found| (*id, found)),
        ClusterRef::Missing(_) => None,
    };
    let Some((id, (cluster, upstream))) = found else {
        let reply = reply::reply(&FailureKind::MissingCluster.into(), &Default::default());
        let rules = Rules::of(plan);
        return Box::pin(answer::send(client, scratch, request, reply, rules, ledger)).await;
    };
    ledger.cluster = Some(cluster);
    if cluster.discovery.is_static() {
        let mut flight = Flight::new(client, scratch, request, plan, (cluster, upstream), ledger);
        return flight.run().await;
    }
    let authority = plan.authority.unwrap_or(request.authority);
    // Rare enough to be worth a box, large enough to be worth one.
    let asked = Box::pin(on_demand::target(client, request, id, cluster, authority));
    match asked.await {
        Ok(target) => {
            let found = match &target {
                Some(target) => (&target.cluster, &target.upstream),
                None => (cluster, upstream),
            };
            let mut flight = Flight::new(client, scratch, request, plan, found, ledger);
            flight.run().await
        }
        Err(None) => left(client.visit(), scratch, request, ledger),
        Err(Some(why)) => {
            let reply = reply::reply(&why.into(), &Default::default());
            let rules = Rules::of(plan);
            Box::pin(answer::send(client, scratch, request, reply, rules, ledger)).await
        }
    }
}

/// Notes that the client left before anything was sent.
fn left(
    visit: &Visit,
    scratch: &mut Scratch,
    request: &Request<'_>,
    mut ledger: Ledger<'_>,
) -> Fate {
    ledger.flags = ledger.flags.with(Flags::DC);
    ledger.close(visit, scratch, request, visit.worker.timers.now());
    Fate::Cut
}

fn policy<'a>(
    scratch: &Scratch,
    request: &Request<'_>,
    plan: &'a Plan<'_>,
    early: bool,
) -> Policy<'a> {
    let grpc = is_grpc(request, scratch);
    let grpc_timeout = scratch.request.value(request.buf, KnownHeader::GrpcTimeout);
    Policy {
        retry: plan.retry,
        timeout: effective_timeout(plan.timeout, grpc_timeout.filter(|_| grpc)),
        limits: request.active.generation.serving.limits,
        body: match request.head.body {
            BodyKind::None => PolicyBody::Empty,
            BodyKind::Length(length) => PolicyBody::Sized(length),
            BodyKind::Chunked | BodyKind::UntilClose => PolicyBody::Stream,
        },
        idempotent: request.head.method.is_idempotent(),
        early,
        grpc,
    }
}

/// Rules' edits of the request, once for all tries.
fn edit_request(
    visit: &Visit,
    scratch: &mut Scratch,
    request: &Request<'_>,
    plan: &Plan<'_>,
    ledger: &Ledger<'_>,
) {
    scratch.target.clear();
    plan.path
        .write(request.path, request.query, &mut scratch.target);
    let settings = &request.active.generation.snapshot.settings;
    let kept = plan.path.is_kept() && plan.authority.is_none() && plan.request.is_empty();
    if kept && !settings.x_forwarded_port {
        return;
    }
    scratch.clean_edits.clone_from(&scratch.request_edits);
    let view = HeaderView {
        buf: request.buf,
        index: &scratch.request,
        edits: &scratch.clean_edits,
    };
    let (worker, link, begun) = (&visit.worker, &visit.link, visit.begun);
    let facts = ledger.record(worker, link, begun, request, &view, begun);
    let mut sink = Sink {
        edits: &mut scratch.request_edits,
        buf: request.buf,
        index: &scratch.request,
    };
    let call = request.call(link, &view);
    if settings.x_forwarded_host && plan.authority.is_some() {
        sink.add("x-forwarded-host", request.authority.as_bytes());
    }
    if settings.x_forwarded_port {
        let port = link.local.port().to_string();
        sink.set("x-forwarded-port", port.as_bytes());
    }
    plan.edit_request(&call, &facts, &mut scratch.text, &mut sink);
}

/// Waits an injected delay; `false` when the client is gone.
pub(super) async fn delay<C: Client>(client: &mut C, wait: Millis) -> bool {
    let until = client.visit().worker.timers.now() + wait;
    answer::idle_until(client, until).await
}

impl<'a, 't, C: Client> Flight<'a, 't, C> {
    /// A request that goes to this upstream.
    fn new(
        client: &'a mut C,
        scratch: &'a mut Scratch,
        request: &'a Request<'t>,
        plan: &'a Plan<'t>,
        (cluster, upstream): (&'a Cluster, &'a Rc<Upstream>),
        ledger: Ledger<'a>,
    ) -> Self {
        let worker = &client.visit().worker;
        let held = std::mem::take(&mut scratch.held);
        let policy = policy(scratch, request, plan, client.is_early());
        let key = aim::key(client.visit(), scratch, request, cluster);
        let seed = worker.rng.borrow_mut().next_u64();
        let now = worker.timers.now();
        Self {
            key,
            exchange: Exchange::new(policy, seed, now).gated(upstream.gate(worker, &cluster.name)),
            upload: Upload::new(request.head.body, request.web, held),
            download: Download::new(),
            keep: request.head.keep_alive,
            client,
            scratch,
            request,
            plan,
            cluster,
            upstream,
            origin: None,
            try_begun: false,
            head_told: false,
            continued: false,
            hints: 0,
            trailers: Vec::new(),
            clock: now,
            ledger: Ledger {
                cluster: Some(cluster),
                ..ledger
            },
        }
    }

    /// Flies to the end. Borrowed, not consumed: what is moved into a future is there twice.
    async fn run(&mut self) -> Fate {
        loop {
            match self.exchange.next() {
                Step::Connect { attempt, fresh } => self.connect(attempt, fresh).await,
                Step::Send { replay, mirror } => {
                    if !self.try_begun {
                        self.begin_try(replay, mirror);
                    }
                    self.turn().await;
                }
                Step::AwaitHead => self.turn().await,
                Step::Relay { early } => {
                    if !self.download.is_relaying() {
                        self.begin_relay(early);
                    }
                    self.turn().await;
                }
                Step::Backoff { until } => {
                    self.origin = None;
                    let until = earliest(Some(until), self.exchange.deadline());
                    self.rest(until.unwrap_or_default()).await;
                }
                Step::Reply(failure) => return self.reply(failure).await,
                Step::Abort(failure) => return self.abort(failure),
                Step::Done => return self.finish(),
            }
        }
    }

    fn worker(&self) -> &Rc<Worker> {
        &self.client.visit().worker
    }

    /// The time of the last wake-up: what is done in one go happens at one time.
    fn now(&self) -> Now {
        self.clock
    }

    /// Reads the clock after a wait.
    fn tick(&mut self) -> Now {
        self.clock = self.worker().timers.now();
        self.clock
    }

    /// Chooses an endpoint, and takes a pooled connection or makes one.
    async fn connect(&mut self, attempt: u32, fresh: bool) {
        self.origin = None;
        self.try_begun = false;
        self.head_told = false;
        self.ledger.attempts = attempt;
        self.upload.again();
        self.download = Download::new();
        let now = self.now();
        let endpoint = {
            let mut rng = self.worker().rng.borrow_mut();
            let wanted = Wanted {
                hash: self.key.hash(),
                avoid: self.exchange.avoid(),
                elsewhere: self.plan.retry.remote_localities,
                now,
            };
            self.upstream.pick(wanted, &mut rng)
        };
        let Some(endpoint) = endpoint else {
            let failure = FailureKind::NoHealthyUpstream.into();
            return self.exchange.on(Event::ConnectFailed(failure), now);
        };
        self.exchange.on(Event::Picked(endpoint), now);
        self.ledger.endpoint = Some(endpoint);
        let route = self.route(endpoint, fresh);
        if !fresh && !self.upstream.is_queued() {
            let pooled = poll_fn(|context| Poll::Ready(Origin::pooled(&route, now, context))).await;
            match pooled {
                Some(Ok(origin)) => return self.connected(origin, now),
                Some(Err(error)) => return self.connect_failed(&error, now),
                None => {}
            }
        }
        self.open(&route).await;
    }

    /// The way to an endpoint. An upgrade is something of HTTP/1, unless the upstream is known to
    /// speak HTTP/2: then it is asked whether it knows it, too.
    fn route(&self, endpoint: u32, fresh: bool) -> WayUp<'a> {
        let head = &self.request.head;
        let wire = match head.upgrade {
            None => wire(self.cluster, head.version),
            Some(_) if self.cluster.protocol == UpstreamProtocol::Http2 => Wire::Http2,
            Some(_) => Wire::Http1,
        };
        WayUp {
            worker: Rc::clone(self.worker()),
            upstream: self.upstream,
            cluster: self.cluster,
            endpoint,
            errand: Errand {
                wire,
                authority: self.plan.authority.unwrap_or(self.request.authority),
                ends: Some(&self.request.ends),
            },
            fresh,
            tunnel: head.upgrade.is_some(),
        }
    }

    fn connected(&mut self, origin: Origin, now: Now) {
        let reused = origin.is_reused();
        self.ledger.upstream = Some(origin.address());
        self.ledger.upstream_socket = origin.socket();
        self.ledger.upstream_local = origin.local();
        self.ledger.principals = origin.principals();
        self.ledger.upstream_protocol = origin.protocol();
        self.origin = Some(origin);
        self.exchange.on(Event::Connected { reused }, now);
    }

    /// Makes a connection, within the cluster's limit and the exchange's.
    async fn open(&mut self, route: &WayUp<'_>) {
        // Rare enough to be worth a box, large enough to be worth one.
        let mut connecting = Box::pin(Origin::connect(route));
        loop {
            let due = self.exchange.deadline();
            self.client.visit().alarm.set(due);
            self.client.listen();
            let client = &mut *self.client;
            let what = poll_fn(|context| match connecting.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Ok(result)),
                Poll::Pending => poll_client(client, context).map(Err),
            })
            .await;
            let now = self.tick();
            match what {
                Ok(Ok(origin)) => return self.connected(origin, now),
                Ok(Err(error)) => return self.connect_failed(&error, now),
                Err(Happening::Deadline) => self.exchange.on(Event::Deadline, now),
                Err(other) => self.happened(other, now),
            }
            if !matches!(self.exchange.next(), Step::Connect { .. }) {
                return;
            }
        }
    }

    fn connect_failed(&mut self, error: &ConnectError, now: Now) {
        let mut stats = self.worker().stats.borrow_mut();
        if let ConnectError::Overflow(what) = error {
            // A breaker says nothing about the endpoint.
            stats.upstream_overflow(&self.cluster.name, *what);
            drop(stats);
        } else {
            stats.upstream_failed(&self.cluster.name);
            drop(stats);
            self.note(Verdict::Broken);
        }
        let failure = connect_failure(error);
        self.exchange.on(Event::ConnectFailed(failure), now);
    }

    /// Takes note of how the endpoint did.
    fn note(&self, verdict: Verdict) {
        if let Some(endpoint) = self.ledger.endpoint {
            self.upstream
                .note(endpoint, verdict, &self.worker().commons);
        }
    }

    /// The clock rang. An upstream that was to answer and did not is late.
    fn overdue(&mut self, now: Now) {
        let awaited = self.exchange.awaits_upstream();
        self.exchange.on(Event::Deadline, now);
        if awaited && self.exchange.has_given_up() {
            self.note(Verdict::Late);
        }
    }

    /// Waits while only client and clock count.
    async fn rest(&mut self, until: Now) {
        self.client.visit().alarm.set(Some(until));
        self.client.listen();
        let happening = event::next(self.client, None).await;
        let now = self.tick();
        match happening {
            Happening::Deadline => {
                let mut stats = self.worker().stats.borrow_mut();
                stats.upstream_retried(&self.cluster.name);
                drop(stats);
                self.exchange.on(Event::Deadline, now);
            }
            other => self.happened(other, now),
        }
    }

    /// Starts what can be started, then waits for one thing to happen.
    async fn turn(&mut self) {
        if self.pump_up() || self.pump_down() {
            return;
        }
        self.client.listen();
        let deadline = self.exchange.deadline();
        self.client.visit().alarm.set(deadline);
        let happening = event::next(self.client, self.origin.as_mut()).await;
        let now = self.tick();
        self.happened(happening, now);
    }

    fn happened(&mut self, happening: Happening, now: Now) {
        match happening {
            Happening::Deadline => self.overdue(now),
            Happening::Origin(news) => self.heard(news, now),
            // Who ends its sending leaves, in a tunnel too: Envoy has no half-closed ones either, and
            // WebSocket says goodbye in its own frames.
            Happening::Client(News::Left | News::Gone | News::Written(Err(_))) => {
                self.exchange.on(Event::ClientGone, now);
            }
            Happening::Client(News::Came | News::Written(Ok(()))) => {}
        }
    }

    async fn reply(&mut self, failure: Failure) -> Fate {
        self.origin = None;
        let outcome = self.exchange.outcome();
        self.settle();
        self.ledger.body_taken = self.upload.is_whole() && !outcome.close_downstream;
        let reply = reply::reply(&failure, &outcome.attempts);
        if !self.ledger.body_taken {
            self.client.abandon_body();
        }
        Box::pin(answer::send(
            self.client,
            self.scratch,
            self.request,
            reply,
            Rules::of(self.plan),
            std::mem::take(&mut self.ledger),
        ))
        .await
    }

    fn abort(&mut self, failure: Failure) -> Fate {
        self.origin = None;
        self.settle();
        let reply = reply::reply(&failure, &self.exchange.attempts());
        self.ledger.details = reply.details;
        self.close();
        Fate::Cut
    }

    fn finish(&mut self) -> Fate {
        let outcome = self.exchange.outcome();
        self.settle();
        self.ledger.details = "via_upstream".into();
        let now = self.now();
        if let Some(origin) = self.origin.take()
            && outcome.reuse_upstream
            && origin.is_clean()
            && self.download.broken.is_none()
        {
            origin.give_back(self.cluster, now);
        }
        self.close();
        match (outcome.close_downstream, self.keep) {
            (false, true) => Fate::Keep,
            _ => Fate::Close,
        }
    }

    /// What the machine knows goes into the record.
    fn settle(&mut self) {
        let outcome = self.exchange.outcome();
        self.ledger.status = outcome.status.unwrap_or(0);
        self.ledger.flags = self.ledger.flags.with(outcome.flags);
        self.ledger.transport = outcome.transport;
        self.ledger.received = outcome.request_bytes;
        self.ledger.sent = outcome.response_bytes;
        self.ledger.attempts = outcome.attempts.tried;
        let head = u64::try_from(self.request.buf.len()).unwrap_or(u64::MAX);
        self.ledger.head_received = head;
    }

    fn close(&mut self) {
        let now = self.now();
        let visit = self.client.visit();
        self.ledger.close(visit, self.scratch, self.request, now);
    }
}

/// What is spoken to an upstream when the client speaks this.
pub(super) fn wire(cluster: &Cluster, client: Version) -> Wire {
    match cluster.protocol {
        UpstreamProtocol::Http2 => Wire::Http2,
        UpstreamProtocol::Client if client.is_multiplexed() => Wire::Http2,
        UpstreamProtocol::Client | UpstreamProtocol::Http1 => Wire::Http1,
    }
}

/// `grpc-status` of a response that is headers only.
fn grpc_status(view: &dyn HeaderLines) -> Option<u8> {
    let line = view.first("grpc-status")?;
    str::from_utf8(line).ok()?.parse().ok()
}
