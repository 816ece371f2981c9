//! What policies say that decide nothing: AUDIT, and those that run dry (`istio.io/dry-run`).
//!
//! Envoy's RBAC filter with action LOG, and its shadow rules, as Istio sets them up
//! (`pilot/pkg/security/authz/builder`): what they say goes to counters and to the access log.

use super::{Facts, Rules};
use sallyport_config::ir::{AuthorizationPolicy, Policies, PolicyAction};
use sallyport_config::model::{Observed, Shadow};

/// Rules that only watch; each `None` without a policy of its kind.
#[derive(Debug, Default)]
pub(super) struct Watch {
    audit: Option<Rules>,
    deny: Option<Rules>,
    allow: Option<Rules>,
}

impl Watch {
    /// The policies of a snapshot that decide nothing; `add` files the rules of one.
    pub(super) fn new(policies: &Policies, add: fn(&mut Rules, &AuthorizationPolicy)) -> Self {
        let of = |action: PolicyAction, dry_run: bool| {
            let all = policies.authorization.iter();
            let all = all.filter(|p| p.action == action && p.dry_run == dry_run);
            let mut rules = None;
            all.for_each(|policy| add(rules.get_or_insert_with(Rules::default), policy));
            rules
        };
        Self {
            audit: of(PolicyAction::Audit, false),
            deny: of(PolicyAction::Deny, true),
            allow: of(PolicyAction::Allow, true),
        }
    }

    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.audit.is_none() && self.deny.is_none() && self.allow.is_none()
    }

    /// What is asked before anybody can refuse.
    pub(super) fn before(&self, facts: &Facts<'_>, observed: &mut Observed) {
        let audit = self.audit.as_ref();
        observed.audited = audit.map(|rules| rules.first(facts).is_some());
        observed.deny = shadow(self.deny.as_ref(), facts, false);
    }

    /// What is asked once no DENY has refused.
    pub(super) fn last(&self, facts: &Facts<'_>, observed: &mut Observed) {
        observed.allow = shadow(self.allow.as_ref(), facts, true);
    }
}

/// What rules would do that let pass, or refuse, what they match.
fn shadow(rules: Option<&Rules>, facts: &Facts<'_>, lets_pass: bool) -> Option<Shadow> {
    let policy = rules?.first(facts).map(|rule| rule.id.clone());
    Some(Shadow {
        allowed: policy.is_some() == lets_pass,
        policy,
    })
}
