//! AuthorizationPolicies that apply to the proxy, as conditions.
//!
//! Istio `pilot/pkg/security/authz/{builder,model}`. Two things are stricter here: a negated
//! identity (`notPrincipals`, …) in an ALLOW rule asks for an identity to begin with
//! (ISTIO-SECURITY-2021-004), and every line of a header is a value of its own.

use super::authorizers;
use super::draft::Draft;
use crate::api::authorization_policy::{Action, Condition, Operation, Rule, Source};
use crate::api::shared::{PolicyTargetReference, WorkloadSelector};
use crate::api::{AuthorizationPolicy as Written, Map};
use crate::diag::codes;
use crate::ir::{
    AddressOf, AuthorizationPolicy, AuthorizerId, Conditions, IpBlock, PathPattern, PathSegment,
    PolicyAction, PolicyCondition, PolicyRule, PolicyTest, RequestPrincipal, TextMatch, TextOf,
};
use crate::resource::Resource;
use crate::view::View;
use crate::world::{Typed, World};

/// Labels of a workload that belongs to a Gateway of the Gateway API.
const GATEWAY_LABELS: [&str; 2] = [
    "gateway.networking.k8s.io/gateway-name",
    "istio.io/gateway-name",
];
/// Annotation of a policy that shall decide nothing yet.
const DRY_RUN: &str = "istio.io/dry-run";

/// The policies that apply, in the order in which they are asked.
pub(super) fn policies(draft: &mut Draft<'_>) -> Vec<AuthorizationPolicy> {
    let world = draft.world;
    let here = Here {
        world,
        view: draft.view,
    };
    let mut chosen: Vec<Typed<'_, Written>> = world
        .authorization_policies()
        .filter(|p| {
            let spec = p.spec;
            let one = spec.target_ref.as_ref();
            here.selects(p.resource, spec.selector.as_ref(), one, &spec.target_refs)
        })
        .collect();
    let root = world.root_namespace();
    chosen.sort_by_key(|p| (action(p.spec.action), *p.resource.meta.namespace != *root));
    let custom = |p: &&Typed<'_, Written>| p.spec.action == Action::Custom;
    let custom: Vec<_> = chosen.iter().filter(custom).copied().collect();
    let asked = authorizers::of(draft, &custom);
    let chosen = chosen.into_iter();
    chosen.map(|policy| compile(draft, policy, asked)).collect()
}

/// Which policies concern the proxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here<'w> {
    pub(super) world: &'w World,
    pub(super) view: &'w View,
}

impl Here<'_> {
    /// Whether a policy of the root namespace or of the proxy's own selects it.
    pub(super) fn selects(
        self,
        policy: &Resource,
        selector: Option<&WorkloadSelector>,
        one: Option<&PolicyTargetReference>,
        many: &[PolicyTargetReference],
    ) -> bool {
        let namespace = &*policy.meta.namespace;
        if namespace != self.world.root_namespace() && namespace != self.view.namespace {
            return false;
        }
        if one.is_some() || !many.is_empty() {
            // a target is in the namespace of its policy
            return namespace == self.view.namespace
                && one.into_iter().chain(many).any(|to| self.targets(to));
        }
        selector.is_none_or(|s| self.view.selected_by(&s.match_labels))
    }

    /// Whether the proxy carries out the Gateway that is meant.
    fn targets(self, to: &PolicyTargetReference) -> bool {
        if to.kind != "Gateway" {
            return false;
        }
        if to.group == "networking.istio.io" {
            let mut gateways = self.world.gateways();
            return gateways.any(|g| {
                *g.resource.meta.name == *to.name
                    && *g.resource.meta.namespace == *self.view.namespace
                    && self.view.selected_by(&g.spec.selector)
            });
        }
        let labels = &self.view.labels;
        GATEWAY_LABELS
            .iter()
            .any(|key| labels.get(*key) == Some(&to.name))
    }
}

fn action(action: Action) -> PolicyAction {
    match action {
        Action::Allow => PolicyAction::Allow,
        Action::Deny => PolicyAction::Deny,
        Action::Audit => PolicyAction::Audit,
        Action::Custom => PolicyAction::Custom,
    }
}

fn compile(
    draft: &mut Draft<'_>,
    policy: Typed<'_, Written>,
    asked: Option<AuthorizerId>,
) -> AuthorizationPolicy {
    let Typed { resource, spec } = policy;
    let action = action(spec.action);
    let wanted = annotated(&resource.meta.annotations);
    let dry_run = wanted && matches!(action, PolicyAction::Allow | PolicyAction::Deny);
    if wanted && action == PolicyAction::Custom {
        let message = "`istio.io/dry-run` is for ALLOW and DENY: the policy decides".to_owned();
        draft.report(codes::SP0401, resource, "metadata.annotations", message);
    }
    let aliases = &draft.world.mesh.trust_domain_aliases;
    let mut domains = vec![draft.settings.trust_domain.clone()];
    domains.extend(aliases.iter().cloned());
    let mut rules = Vec::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let translator = Translator {
            action,
            namespace: &resource.meta.namespace,
            domains: &domains,
        };
        let translated = translator.rule(rule);
        if let Some(key) = &translated.unserved {
            let path = format!("spec.rules[{index}].when");
            let effect = match action {
                PolicyAction::Allow => "the rule allows nothing",
                _ => "the rule applies without it",
            };
            let message = format!("conditions on `{key}` are not served yet: {effect}");
            draft.report(codes::SP0401, resource, &path, message);
        }
        if translated.unserved.is_none() || action != PolicyAction::Allow {
            rules.push(translated.rule);
        } else {
            // keeps its number, and matches nothing
            rules.push(PolicyRule {
                from: vec![vec![never()]],
                ..PolicyRule::default()
            });
        }
    }
    AuthorizationPolicy {
        action,
        dry_run,
        authorizer: asked.filter(|_| action == PolicyAction::Custom),
        rules,
        origin: draft.world.origin(resource, "spec".to_owned()),
    }
}

fn annotated(annotations: &Map<String>) -> bool {
    let mut all = annotations.iter();
    // what Go takes for true
    let yes = |value: &str| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
    all.any(|(key, value)| key == DRY_RUN && yes(value))
}

fn never() -> PolicyCondition {
    PolicyCondition {
        test: PolicyTest::Port(Vec::new()),
        negated: false,
    }
}

/// Makes a test of a list of values.
type Make<'m> = Box<dyn Fn(&[String]) -> PolicyTest + 'm>;

/// What rules of one policy need to know.
#[derive(Debug, Clone, Copy)]
struct Translator<'p> {
    action: PolicyAction,
    namespace: &'p str,
    /// Our trust domain and its aliases.
    domains: &'p [String],
}

/// A rule, and the key of a condition that cannot be asked.
struct Translated {
    rule: PolicyRule,
    unserved: Option<String>,
}

impl Translator<'_> {
    fn rule(self, rule: &Rule) -> Translated {
        let sources = rule.from.iter().filter_map(|from| from.source.as_ref());
        let operations = rule.to.iter().filter_map(|to| to.operation.as_ref());
        let mut unserved = None;
        let mut when = Vec::new();
        for condition in &rule.when {
            match self.condition(condition) {
                Some(conditions) => when.extend(conditions),
                None => unserved = Some(condition.key.clone()),
            }
        }
        Translated {
            rule: PolicyRule {
                from: sources.map(|s| self.source(s)).collect(),
                to: operations.map(operation).collect(),
                when,
            },
            unserved,
        }
    }

    fn source(self, s: &Source) -> Conditions {
        let mut out = Conditions::new();
        let mut both = |list: &[String], not: &[String], test: &dyn Fn(&[String]) -> PolicyTest| {
            self.pair(&mut out, list, not, test);
        };
        both(&s.principals, &s.not_principals, &|v| self.principals(v));
        both(
            &s.request_principals,
            &s.not_request_principals,
            &request_principals,
        );
        both(&s.namespaces, &s.not_namespaces, &|v| {
            text(TextOf::Namespace, v)
        });
        both(&s.service_accounts, &s.not_service_accounts, &|v| {
            self.accounts(v)
        });
        both(&s.trust_domains, &s.not_trust_domains, &|v| {
            text(TextOf::TrustDomain, v)
        });
        both(&s.ip_blocks, &s.not_ip_blocks, &|v| {
            address(AddressOf::Peer, v)
        });
        both(&s.remote_ip_blocks, &s.not_remote_ip_blocks, &|v| {
            address(AddressOf::Client, v)
        });
        out
    }

    /// Conditions on a list of values and on one of values that must not be.
    fn pair(
        self,
        out: &mut Conditions,
        list: &[String],
        not: &[String],
        test: &dyn Fn(&[String]) -> PolicyTest,
    ) {
        push(out, list, false, test);
        if not.is_empty() {
            return;
        }
        let negated = test(not);
        if of_identity(&negated) && self.action == PolicyAction::Allow {
            let anybody = ["*".to_owned()];
            push(out, &anybody, false, &|v| text(TextOf::Principal, v));
        }
        push(out, not, true, test);
    }

    /// The conditions of one key; none when the key cannot be asked.
    fn condition(self, condition: &Condition) -> Option<Conditions> {
        let key = condition.key.as_str();
        let of = |of: TextOf| -> Make<'_> { Box::new(move |values| text(of.clone(), values)) };
        let test: Make<'_> = match key {
            "source.ip" => Box::new(|v| address(AddressOf::Peer, v)),
            "remote.ip" => Box::new(|v| address(AddressOf::Client, v)),
            "destination.ip" => Box::new(|v| address(AddressOf::Local, v)),
            "destination.port" => Box::new(ports),
            "source.namespace" => of(TextOf::Namespace),
            "source.trustDomain" => of(TextOf::TrustDomain),
            "source.serviceAccount" => Box::new(move |v| self.accounts(v)),
            "source.principal" => Box::new(move |v| self.principals(v)),
            "request.auth.principal" => Box::new(request_principals),
            "request.auth.audiences" => of(TextOf::Claim(vec!["aud".to_owned()])),
            "request.auth.presenter" => of(TextOf::Claim(vec!["azp".to_owned()])),
            "connection.sni" => of(TextOf::Sni),
            _ => {
                if let Some(header) = brackets(key, "request.headers") {
                    of(TextOf::Header(header.to_ascii_lowercase()))
                } else {
                    let path = brackets(key, "request.auth.claims")?.split("][");
                    of(TextOf::Claim(path.map(str::to_owned).collect()))
                }
            }
        };
        let mut out = Conditions::new();
        self.pair(&mut out, &condition.values, &condition.not_values, &*test);
        Some(out)
    }

    fn accounts(self, values: &[String]) -> PolicyTest {
        let full = values.iter().map(|account| {
            TextMatch::Exact(if account.contains('/') {
                account.clone()
            } else {
                format!("{}/{account}", self.namespace)
            })
        });
        PolicyTest::Text(TextOf::ServiceAccount, full.collect())
    }

    /// Principals, under every name of the trust domain (Istio's `trustdomain.Bundle`).
    fn principals(self, values: &[String]) -> PolicyTest {
        let mut out = Vec::new();
        for value in values {
            out.push(TextMatch::parse(value));
            let Some((domain, rest)) = value.split_once('/') else {
                continue;
            };
            let domain = TextMatch::parse(domain);
            let ours = self.domains.iter().any(|ours| matches(&domain, ours));
            if ours && rest.split('/').count() == 4 {
                let others = self.domains.iter().filter(|other| !matches(&domain, other));
                out.extend(others.map(|other| TextMatch::parse(&format!("{other}/{rest}"))));
            }
        }
        PolicyTest::Text(TextOf::Principal, out)
    }
}

fn matches(pattern: &TextMatch, value: &str) -> bool {
    match pattern {
        TextMatch::Exact(text) => text == value,
        TextMatch::Prefix(text) => value.starts_with(text.as_str()),
        TextMatch::Suffix(text) => value.ends_with(text.as_str()),
        TextMatch::Present => !value.is_empty(),
    }
}

/// Whether only a peer with a certificate has what is asked for.
fn of_identity(test: &PolicyTest) -> bool {
    matches!(
        test,
        PolicyTest::Text(
            TextOf::Principal | TextOf::Namespace | TextOf::ServiceAccount | TextOf::TrustDomain,
            _
        )
    )
}

fn push(
    out: &mut Conditions,
    values: &[String],
    negated: bool,
    test: &dyn Fn(&[String]) -> PolicyTest,
) {
    if !values.is_empty() {
        let test = test(values);
        out.push(PolicyCondition { test, negated });
    }
}

fn text(of: TextOf, values: &[String]) -> PolicyTest {
    PolicyTest::Text(of, values.iter().map(|v| TextMatch::parse(v)).collect())
}

fn address(of: AddressOf, values: &[String]) -> PolicyTest {
    let blocks = values.iter().filter_map(|v| IpBlock::parse(v));
    PolicyTest::Address(of, blocks.collect())
}

fn ports(values: &[String]) -> PolicyTest {
    PolicyTest::Port(values.iter().filter_map(|v| v.parse().ok()).collect())
}

fn request_principals(values: &[String]) -> PolicyTest {
    let principal = |value: &String| {
        let (issuer, subject) = match (value.rsplit_once('/'), TextMatch::parse(value)) {
            (Some((issuer, subject)), _) => (TextMatch::parse(issuer), TextMatch::parse(subject)),
            (None, TextMatch::Exact(_)) => return None,
            (None, suffix @ TextMatch::Suffix(_)) => (TextMatch::Present, suffix),
            (None, pattern) => (pattern, TextMatch::Present),
        };
        Some(RequestPrincipal { issuer, subject })
    };
    PolicyTest::RequestPrincipal(values.iter().filter_map(principal).collect())
}

fn operation(o: &Operation) -> Conditions {
    let mut out = Conditions::new();
    let mut both = |list: &[String], not: &[String], test: &dyn Fn(&[String]) -> PolicyTest| {
        push(&mut out, list, false, test);
        push(&mut out, not, true, test);
    };
    both(&o.hosts, &o.not_hosts, &|v| {
        let lower: Vec<String> = v.iter().map(|host| host.to_ascii_lowercase()).collect();
        text(TextOf::Host, &lower)
    });
    both(&o.ports, &o.not_ports, &ports);
    both(&o.methods, &o.not_methods, &|v| text(TextOf::Method, v));
    both(&o.paths, &o.not_paths, &|v| {
        PolicyTest::Path(v.iter().map(|path| pattern(path)).collect())
    });
    out
}

fn pattern(path: &str) -> PathPattern {
    let Some(segments) = path.strip_prefix('/').filter(|p| p.contains('{')) else {
        return PathPattern::Text(TextMatch::parse(path));
    };
    let segment = |segment: &str| match segment {
        "{*}" => PathSegment::One,
        "{**}" => PathSegment::Any,
        literal => PathSegment::Literal(literal.to_owned()),
    };
    PathPattern::Template(segments.split('/').map(segment).collect())
}

/// `name[a][b]`: what stands between the first bracket and the last.
fn brackets<'k>(key: &'k str, name: &str) -> Option<&'k str> {
    key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')
}
