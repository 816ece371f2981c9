//! AuthorizationPolicies, indexed: however many there are, a request asks few of them.
//!
//! Rules are filed by the hosts or by the first path segments that they name, so that a request
//! meets those of its own host and path, and those that name neither. Which rule matched first
//! does not depend on how it was filed.

mod check;
mod file;
mod observe;

use super::{Admitted, Claims, Context, Denial};
use crate::call::Call;
use crate::flags::Flags;
use crate::reply::Reply;
use crate::tables::Tables;
use file::File;
use observe::Watch;
use sallyport_config::ir::{
    AuthorizationPolicy, AuthorizerId, CheckProtocol, Conditions, Policies, PolicyAction,
    PolicyRule,
};
use sallyport_config::model::Observed;

pub(crate) use check::{Check, Facts};

/// What the client is told; Envoy's words.
const DENIED: &str = "RBAC: access denied";

/// All policies of a snapshot, compiled.
#[derive(Debug)]
pub(crate) struct Authorization {
    custom: Custom,
    deny: Rules,
    /// `None`: everything may pass that is not denied.
    allow: Option<Rules>,
    /// What decides nothing.
    watch: Watch,
    /// The same for connections that carry bytes.
    connections: Connections,
}

/// What is asked of a connection that carries bytes.
#[derive(Debug)]
struct Connections {
    custom: Custom,
    deny: Rules,
    allow: Option<Rules>,
    watch: Watch,
}

/// CUSTOM.
#[derive(Debug, Default)]
struct Custom {
    /// Where nobody can be asked: these deny.
    refuse: Rules,
    /// Whom to ask about what these match. Istio has one for a proxy at most.
    ask: Vec<(AuthorizerId, Rules)>,
}

/// Rules of one action.
#[derive(Debug, Default)]
struct Rules {
    rules: Vec<Rule>,
    file: File,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    /// Envoy's name of it.
    id: Box<str>,
    from: Box<[Checks]>,
    to: Box<[Checks]>,
    when: Checks,
}

/// Checks that must all hold.
type Checks = Box<[Check]>;

impl Authorization {
    pub(crate) fn new(policies: &Policies) -> Self {
        let of = |action: PolicyAction| {
            let all = policies.authorization.iter();
            let mut rules = None;
            all.filter(|p| p.action == action && !p.dry_run)
                .for_each(|policy| rules.get_or_insert_with(Rules::default).add_rules(policy));
            rules
        };
        Self {
            custom: Custom::new(policies, Rules::add_rules),
            deny: of(PolicyAction::Deny).unwrap_or_default(),
            allow: of(PolicyAction::Allow),
            watch: Watch::new(policies, Rules::add_rules),
            connections: Connections::new(policies),
        }
    }

    /// Whom to ask about a request, if anybody. Nobody has looked at its token yet.
    ///
    /// # Errors
    /// Somebody should be asked, and nobody can be.
    pub(super) fn custom<'t>(&self, call: &Call<'_>) -> Result<Option<AuthorizerId>, Denial<'t>> {
        self.custom.asked(call).map_err(|rule| denied(&rule.id))
    }

    /// As [`Self::custom`], about a connection that carries bytes.
    ///
    /// # Errors
    /// As for requests; what the log says.
    pub(super) fn custom_of_bytes(&self, call: &Call<'_>) -> Result<Option<AuthorizerId>, String> {
        let asked = self.connections.custom.asked(call);
        asked.map_err(|rule| details(&rule.id))
    }
}

impl Custom {
    /// `add` files the rules of a policy.
    fn new(policies: &Policies, add: fn(&mut Rules, &AuthorizationPolicy)) -> Self {
        let mut custom = Self::default();
        let all = policies.authorization.iter();
        for policy in all.filter(|p| p.action == PolicyAction::Custom && !p.dry_run) {
            let rules = match policy.authorizer {
                None => &mut custom.refuse,
                Some(id) => custom.of(id),
            };
            add(rules, policy);
        }
        custom
    }

    /// The rules about which somebody is asked.
    fn of(&mut self, id: AuthorizerId) -> &mut Rules {
        let known = self.ask.iter().position(|(known, _)| *known == id);
        let at = known.unwrap_or(self.ask.len());
        if known.is_none() {
            self.ask.push((id, Rules::default()));
        }
        match self.ask.get_mut(at) {
            Some((_, rules)) => rules,
            // it has just been put there
            None => &mut self.refuse,
        }
    }

    fn asked(&self, call: &Call<'_>) -> Result<Option<AuthorizerId>, &Rule> {
        if self.refuse.rules.is_empty() && self.ask.is_empty() {
            return Ok(None);
        }
        let claims = Claims::default();
        let facts = Facts::new(call, &claims);
        if let Some(rule) = self.refuse.first(&facts) {
            return Err(rule);
        }
        let mut ask = self.ask.iter();
        let asked = ask.find(|(_, rules)| rules.first(&facts).is_some());
        Ok(asked.map(|(id, _)| *id))
    }
}

impl Connections {
    fn new(policies: &Policies) -> Self {
        let of = |action: PolicyAction| {
            let all = policies.authorization.iter();
            all.filter(move |p| p.action == action && !p.dry_run)
        };
        let mut deny = Rules::default();
        of(PolicyAction::Deny).for_each(|policy| deny.add_connection_rules(policy));
        // HTTP cannot be asked about bytes: Istio ignores such a policy there.
        let grpc = |policy: &&AuthorizationPolicy| {
            let asked = policy.authorizer.and_then(|id| policies.authorizer(id));
            asked.is_none_or(|asked| asked.protocol == CheckProtocol::Grpc)
        };
        let asking = Policies {
            authorization: of(PolicyAction::Custom).filter(grpc).cloned().collect(),
            ..Policies::default()
        };
        let mut allow = None;
        for policy in of(PolicyAction::Allow) {
            let rules = allow.get_or_insert_with(Rules::default);
            rules.add_connection_rules(policy);
        }
        Self {
            custom: Custom::new(&asking, Rules::add_connection_rules),
            deny,
            allow,
            watch: Watch::new(policies, Rules::add_connection_rules),
        }
    }
}

impl Rules {
    fn add(&mut self, id: &str, rule: &PolicyRule) {
        let checks = |all: &Conditions| all.iter().map(Check::new).collect();
        self.file.add(self.rules.len(), rule);
        self.rules.push(Rule {
            id: id.into(),
            from: rule.from.iter().map(checks).collect(),
            to: rule.to.iter().map(checks).collect(),
            when: checks(&rule.when),
        });
    }

    fn add_rules(&mut self, policy: &AuthorizationPolicy) {
        for (index, rule) in policy.rules.iter().enumerate() {
            self.add(&policy.id(index), rule);
        }
    }

    fn add_connection_rules(&mut self, policy: &AuthorizationPolicy) {
        for (index, rule) in policy.rules.iter().enumerate() {
            if let Some(rule) = rule.on_connection(policy.action) {
                self.add(&policy.id(index), &rule);
            }
        }
    }

    /// The first rule that matches.
    fn first(&self, facts: &Facts<'_>) -> Option<&Rule> {
        if self.rules.is_empty() {
            return None;
        }
        let matches = |entry: &file::Entry| {
            let rule = self.rules.get(entry.rule)?;
            rule.holds(entry.operation, facts).then_some(entry.rule)
        };
        let lists = self.file.lists(facts);
        let firsts = lists.filter_map(|list| list.iter().find_map(matches));
        self.rules.get(firsts.min()?)
    }
}

impl Rule {
    /// Whether it matches by this operation; `None` when it has none.
    fn holds(&self, operation: Option<usize>, facts: &Facts<'_>) -> bool {
        let all = |checks: &Checks| checks.iter().all(|check| check.holds(facts));
        operation.is_none_or(|at| self.to.get(at).is_some_and(all))
            && (self.from.is_empty() || self.from.iter().any(all))
            && all(&self.when)
    }
}

fn details(id: &str) -> String {
    format!("rbac_access_denied_matched_policy[{id}]")
}

/// AUDIT, DENY, ALLOW, on the request as tokens left it.
pub(super) fn authorization<'t>(
    tables: &'t Tables,
    call: &Call<'_>,
    context: &Context<'_>,
    admitted: &mut Admitted,
) -> Result<(), Denial<'t>> {
    let edits = admitted.edits();
    let mut nothing = Observed::default();
    let mut noted = context.observed.map(|cell| cell.borrow_mut());
    let observed = noted.as_deref_mut().unwrap_or(&mut nothing);
    if edits.is_empty() {
        return decide(tables, call, admitted.claims(), observed);
    }
    let call = Call {
        headers: &edits.view(call.headers),
        query: edits.query(call.query),
        ..*call
    };
    decide(tables, &call, admitted.claims(), observed)
}

fn decide<'t>(
    tables: &'t Tables,
    call: &Call<'_>,
    claims: &Claims,
    observed: &mut Observed,
) -> Result<(), Denial<'t>> {
    let Authorization {
        deny, allow, watch, ..
    } = tables.authorization();
    if deny.rules.is_empty() && allow.is_none() && watch.is_empty() {
        return Ok(());
    }
    let facts = Facts::new(call, claims);
    watch.before(&facts, observed);
    deny_first(deny, &facts)?;
    watch.last(&facts, observed);
    match allow {
        Some(allow) if allow.first(&facts).is_none() => Err(denied("none")),
        _ => Ok(()),
    }
}

fn deny_first<'t>(rules: &Rules, facts: &Facts<'_>) -> Result<(), Denial<'t>> {
    match rules.first(facts) {
        Some(rule) => Err(denied(&rule.id)),
        None => Ok(()),
    }
}

fn denied<'t>(id: &str) -> Denial<'t> {
    Box::new(Reply {
        details: details(id).into(),
        ..Reply::text(403, Flags::NONE, "", DENIED)
    })
}

/// Asks every policy about a connection that carries bytes.
///
/// # Errors
/// Which policy refused it, as `%CONNECTION_TERMINATION_DETAILS%` says it.
pub(super) fn connection(
    tables: &Tables,
    call: &Call<'_>,
    observed: &mut Observed,
) -> Result<(), String> {
    let Connections {
        deny, allow, watch, ..
    } = &tables.authorization().connections;
    let claims = Claims::default();
    let facts = Facts::new(call, &claims);
    watch.before(&facts, observed);
    if let Some(rule) = deny.first(&facts) {
        return Err(details(&rule.id));
    }
    watch.last(&facts, observed);
    match allow {
        Some(allow) if allow.first(&facts).is_none() => Err(details("none")),
        _ => Ok(()),
    }
}

/// Asks CUSTOM, DENY and ALLOW with given claims, for comparing with the model, which verifies no
/// tokens. Who is asked lets everything pass, or answers with this status.
pub(crate) fn authorize<'t>(
    tables: &'t Tables,
    call: &Call<'_>,
    admitted: &Admitted,
    answer: Option<u16>,
    observed: &mut Observed,
) -> Result<(), Denial<'t>> {
    let asked = tables.authorization().custom(call)?;
    if let (Some(_), Some(status)) = (asked, answer) {
        let reply = Reply::empty(status, Flags::UAEX, "ext_authz_denied");
        return Err(Box::new(reply));
    }
    decide(tables, call, admitted.claims(), observed)
}

#[cfg(test)]
mod tests;
