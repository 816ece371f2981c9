//! Whether a rate limit refuses a call. Who came before is an input, like chance: a call whose limits
//! are spent meets empty buckets.

use super::{Call, Verdict, host_of, policy};
use crate::ir::*;

/// The refusal by the first limit that the call counts for, if they are spent.
pub(super) fn refused(
    limits: &[Limit],
    call: &Call,
    stage: LimitStage,
    route: Option<&Route>,
) -> Option<Verdict> {
    // nobody has looked at tokens when the first limits are asked
    let early = Call {
        claims: Vec::new(),
        ..call.clone()
    };
    let call = match stage {
        LimitStage::First => &early,
        LimitStage::Routed => call,
    };
    let counts = |limit: &&Limit| {
        let rule = PolicyRule {
            when: limit.when.clone(),
            ..PolicyRule::default()
        };
        let host = host_of(&call.authority);
        limit.stage == stage
            && (limit.hosts.is_empty() || limit.hosts.iter().any(|h| h.matches(&host)))
            && route.is_none_or(|route| limit.is_of(route))
            && policy::holds(&rule, call)
            && limit.enabled == Ppm::ALL
            && limit.enforced == Ppm::ALL
    };
    let limit = limits.iter().find(counts).filter(|_| call.spent)?;
    Some(Verdict::Denied {
        status: limit.status,
        details: "local_rate_limited".to_owned(),
    })
}
