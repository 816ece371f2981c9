//! What we do with a request: pure, total, and the same on every worker.

use crate::admit::Admitted;
use crate::call::Call;
use crate::flags::Flags;
use crate::plan::{Edits, Plan};
use crate::reply::Reply;
use crate::tables::{ChainIdx, ListenerIdx, Tables};
use sallyport_config::ir::{Millis, Route};
use sallyport_config::model::Dice;

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
}

/// Says what we do with a request.
#[must_use]
pub fn decide<'t>(
    _tables: &'t Tables,
    _at: Where,
    _call: &Call<'_>,
    _admitted: &Admitted,
    _dice: &Dice,
) -> Decision<'t> {
    Decision::Reply(Answer {
        reply: Reply::empty(404, Flags::NR, "route_not_found"),
        delay: None,
        route: None,
        response: Edits::default(),
    })
}
