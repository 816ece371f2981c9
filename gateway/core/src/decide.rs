//! What we do with a request: pure, total, and the same on every worker.
//!
//! The order is Istio's: chain and host, httpsRedirect, rule, injected delay and abort, CORS
//! preflight, then the rule's own action.

use crate::admit::Admitted;
use crate::call::{Call, Scheme};
use crate::cors::CorsFields;
use crate::failure::FailureKind;
use crate::flags::Flags;
use crate::plan::{EditSink, Edits, Plan};
use crate::reply::{Reply, failed};
use crate::rewrite::Path;
use crate::tables::{ChainIdx, Found, ListenerIdx, Reached, Rule, Tables, TargetRule};
use crate::template::Facts;
use crate::{fault, redirect};
use sallyport_config::ir::{Action, Forward, Millis, Route};
use sallyport_config::model::Dice;
use std::borrow::Cow;
use std::ops::ControlFlow;

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Where {
    /// The listener.
    pub listener: ListenerIdx,
    /// The filter chain that [`Tables::chain`] chose; `None` for cleartext.
    pub chain: Option<ChainIdx>,
}

/// What we do with a request.
#[derive(Debug, Clone)]
pub enum Decision<'t> {
    /// Send it on.
    Forward(Plan<'t>),
    /// Answer it.
    Reply(Answer<'t>),
}

/// An answer made here, and what the log says about it.
#[derive(Debug, Clone)]
pub struct Answer<'t> {
    /// The answer.
    pub reply: Reply<'t>,
    /// Wait this long before answering (injected; its flag is in `reply`).
    pub delay: Option<Millis>,
    /// The rule that says so: name and origin for logs. `None`: no rule was reached.
    pub route: Option<&'t Route>,
    /// Edits of the answer's head.
    pub response: Edits<'t>,
    /// CORS fields of the answer, set after `response`.
    pub cors: Option<CorsFields<'t>>,
}

impl Answer<'_> {
    /// Calls the sink with everything that changes the answer's fields.
    pub fn edit_response(&self, facts: &dyn Facts, scratch: &mut Vec<u8>, sink: &mut dyn EditSink) {
        self.response.apply(facts, scratch, sink);
        if let Some(cors) = &self.cors {
            cors.apply(sink);
        }
    }
}

/// Says what we do with a request.
#[must_use]
pub fn decide<'t>(
    tables: &'t Tables,
    at: Where,
    call: &Call<'_>,
    admitted: &Admitted,
    dice: &Dice,
) -> Decision<'t> {
    match find(tables, at, call, admitted) {
        ControlFlow::Continue(found) => act(found, call, dice),
        ControlFlow::Break(decision) => decision,
    }
}

/// The rule that applies, or what we do without one: the first half of [`decide`].
pub fn find<'t>(
    tables: &'t Tables,
    at: Where,
    call: &Call<'_>,
    admitted: &Admitted,
) -> ControlFlow<Decision<'t>, Found<'t>> {
    let host = match tables.host(at, call.authority) {
        Reached::Host(host) => host,
        Reached::Misdirected => return ControlFlow::Break(bare(FailureKind::Misdirected)),
        Reached::Nothing => return ControlFlow::Break(bare(FailureKind::NoRoute)),
    };
    if let Some(status) = host.https_redirect
        && call.scheme != Scheme::Https
    {
        let redirect = Answer::bare(redirect::to_https(status, call));
        return ControlFlow::Break(Decision::Reply(redirect));
    }
    match tables.rule(host, call, admitted.claims()) {
        Some(found) => ControlFlow::Continue(found),
        None => ControlFlow::Break(bare(FailureKind::NoRoute)),
    }
}

/// Refuses a request that takes a rule.
#[must_use]
pub fn refuse<'t>(found: Found<'t>, reply: Reply<'t>) -> Decision<'t> {
    Decision::Reply(Answer {
        route: Some(found.route),
        ..Answer::bare(reply)
    })
}

/// What the rule says: faults, CORS, then its action. The second half of [`decide`].
#[must_use]
pub fn act<'t>(found: Found<'t>, call: &Call<'_>, dice: &Dice) -> Decision<'t> {
    let Found { route, rule } = found;
    let target = rule.target(dice.target);
    let delay = fault::delay(route.fault.as_ref(), dice);
    let answer = |mut reply: Reply<'t>, cors| {
        if delay.is_some() {
            reply.flags = reply.flags.with(Flags::DI);
        }
        let own = target.map_or::<&[_], _>(&[], |(_, target)| &target.response);
        Decision::Reply(Answer {
            reply,
            delay,
            route: Some(route),
            response: Edits::new(own, &rule.response),
            cors,
        })
    };
    if let Some(reply) = fault::abort(route.fault.as_ref(), call, dice) {
        return answer(reply, None);
    }
    let policy = route.cors.as_ref().zip(rule.cors.as_ref());
    if let Some(reply) = policy.and_then(|(cors, rule)| rule.preflight(cors, call)) {
        return Decision::Reply(Answer {
            delay,
            route: Some(route),
            ..Answer::bare(reply)
        });
    }
    let cors = policy.and_then(|(cors, rule)| rule.fields(cors, call));
    match (&route.action, target) {
        (Action::Forward(forward), Some((at, target))) => {
            forward_to(found, forward, (at, target), call, delay, cors, dice)
        }
        (Action::Forward(_), None) => answer(broken(500), cors),
        (Action::Fail { status, .. }, _) => answer(broken(*status), cors),
        (Action::Redirect(redirect), _) => {
            let reply = redirect::redirect(redirect, rule.path.as_ref(), call);
            answer(reply, cors)
        }
        (Action::Direct(direct), _) => {
            let mut reply = Reply::empty(direct.status, Flags::NONE, "direct_response");
            reply.body = Cow::Borrowed(&direct.body);
            answer(reply, cors)
        }
    }
}

fn forward_to<'t>(
    found: Found<'t>,
    forward: &'t Forward,
    (at, target): (usize, &'t TargetRule),
    call: &Call<'_>,
    delay: Option<Millis>,
    cors: Option<CorsFields<'t>>,
    dice: &Dice,
) -> Decision<'t> {
    let Found { route, rule } = found;
    let Some(destination) = forward.targets.get(at) else {
        return Decision::Reply(Answer {
            route: Some(route),
            ..Answer::bare(broken(500))
        });
    };
    let authority = forward.rewrite.authority.as_deref();
    let [own, common] = &target.request;
    Decision::Forward(Plan {
        route,
        cluster: &destination.cluster,
        delay,
        path: path(rule, call),
        authority: authority.or(destination.authority.as_deref()),
        request: Edits::new(own, common),
        response: Edits::new(&target.response, &rule.response),
        cors,
        timeout: forward.timeout,
        retry: &forward.retry,
        mirrors: rule
            .mirrors
            .iter()
            .filter(|(_, share)| share.hit(dice.mirror))
            .map(|(cluster, _)| *cluster)
            .collect(),
    })
}

fn path<'t>(rule: &'t Rule, call: &Call<'_>) -> Path<'t> {
    rule.path
        .as_ref()
        .map_or(Path::Kept, |rewrite| rewrite.apply(call.path))
}

/// A rule that the compiler could not make sense of: itself only, never its neighbours.
fn broken<'t>(status: u16) -> Reply<'t> {
    failed(FailureKind::BrokenRoute(status))
}

fn bare<'t>(kind: FailureKind) -> Decision<'t> {
    Decision::Reply(Answer::bare(failed(kind)))
}

impl<'t> Answer<'t> {
    /// An answer that no rule has a say in.
    fn bare(reply: Reply<'t>) -> Self {
        Self {
            reply,
            delay: None,
            route: None,
            response: Edits::default(),
            cors: None,
        }
    }
}
