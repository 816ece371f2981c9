//! One condition of a policy, compiled.

use crate::admit::Claims;
use crate::call::Call;
use crate::tables::{any_line, host_of};
use sallyport_config::ir::{
    AddressOf, IpBlock, PathPattern, PathSegment, PolicyCondition, PolicyTest, RequestPrincipal,
    TextMatch, TextOf,
};
use smallvec::SmallVec;
use std::net::IpAddr;

/// What is asked of a call, prepared once.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    call: &'a Call<'a>,
    claims: &'a Claims,
    /// Authority in lower case.
    pub(super) authority: SmallVec<[u8; 64]>,
    identity: Option<Identity<'a>>,
}

/// A SPIFFE identity, taken apart.
#[derive(Debug, Clone, Copy)]
struct Identity<'a> {
    /// Without `spiffe://`.
    principal: &'a str,
    domain: &'a str,
    /// Namespace and service account.
    account: Option<(&'a str, &'a str)>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(call: &'a Call<'a>, claims: &'a Claims) -> Self {
        let identity = call.identity.and_then(|uri| uri.strip_prefix("spiffe://"));
        Self {
            call,
            claims,
            authority: call
                .authority
                .bytes()
                .map(|b| b.to_ascii_lowercase())
                .collect(),
            identity: identity.map(Identity::new),
        }
    }

    /// The authority without port, in lower case.
    pub(crate) fn host(&self) -> &str {
        host_of(str::from_utf8(&self.authority).unwrap_or_default())
    }

    /// Address of the client behind trusted hops.
    pub(crate) fn client(&self) -> IpAddr {
        self.call.client.ip()
    }

    /// What a verified token claims.
    pub(crate) fn claims(&self) -> &'a Claims {
        self.claims
    }

    /// As [`crate::call::HeaderLines::any`], of a header or of what stands for one (`:path`).
    pub(crate) fn lines(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        any_line(self.call, name, visit)
    }

    pub(super) fn path(&self) -> &'a [u8] {
        self.call.path.as_bytes()
    }
}

impl<'a> Identity<'a> {
    fn new(principal: &'a str) -> Self {
        let (domain, rest) = principal.split_once('/').unwrap_or((principal, ""));
        let mut parts = rest.split('/');
        let account = match (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) {
            (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => {
                Some((namespace, account))
            }
            _ => None,
        };
        Self {
            principal,
            domain,
            account,
        }
    }
}

/// One condition.
#[derive(Debug)]
pub(crate) struct Check {
    test: Test,
    negated: bool,
}

#[derive(Debug)]
enum Test {
    Text(TextOf, Texts),
    Path(Texts, Box<[Template]>),
    RequestPrincipal(Box<[RequestPrincipal]>),
    Address(AddressOf, Box<[IpBlock]>),
    Port(Box<[u16]>),
}

/// Any of several texts.
#[derive(Debug)]
struct Texts {
    /// Sorted.
    exact: Box<[Box<[u8]>]>,
    others: Box<[TextMatch]>,
}

/// A path template, taken apart at `{**}`.
#[derive(Debug)]
struct Template {
    /// Segments in front.
    head: Box<[PathSegment]>,
    /// What stands behind `{**}`, from its slash; `None` without one.
    tail: Option<Box<[u8]>>,
}

impl Check {
    /// Prepares a condition.
    pub(crate) fn new(condition: &PolicyCondition) -> Self {
        let test = match &condition.test {
            PolicyTest::Text(of, values) => Test::Text(of.clone(), Texts::new(values.iter())),
            PolicyTest::Path(patterns) => {
                let texts = patterns.iter().filter_map(|pattern| match pattern {
                    PathPattern::Text(text) => Some(text),
                    PathPattern::Template(_) => None,
                });
                let templates = patterns.iter().filter_map(|pattern| match pattern {
                    PathPattern::Text(_) => None,
                    PathPattern::Template(segments) => Some(Template::new(segments)),
                });
                Test::Path(Texts::new(texts), templates.collect())
            }
            PolicyTest::RequestPrincipal(all) => Test::RequestPrincipal(all.clone().into()),
            PolicyTest::Address(of, blocks) => Test::Address(*of, blocks.clone().into()),
            PolicyTest::Port(ports) => Test::Port(ports.clone().into()),
        };
        Self {
            test,
            negated: condition.negated,
        }
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        self.test.holds(facts) != self.negated
    }
}

impl Test {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Text(of, texts) => any_text(of, facts, &mut |text| texts.hold(text)),
            Self::Path(texts, templates) => {
                let path = facts.path();
                texts.hold(path) || templates.iter().any(|template| template.holds(path))
            }
            Self::RequestPrincipal(all) => all.iter().any(|principal| {
                let claim = |name: &str, m: &TextMatch| {
                    facts
                        .claims
                        .any_at(&[name], |text| matches(m, text.as_bytes()))
                };
                claim("iss", &principal.issuer) && claim("sub", &principal.subject)
            }),
            Self::Address(of, blocks) => {
                let address = match of {
                    AddressOf::Peer => facts.call.peer.ip(),
                    AddressOf::Client => facts.call.client.ip(),
                    AddressOf::Local => facts.call.local.ip(),
                };
                blocks.iter().any(|block| block.contains(address))
            }
            Self::Port(ports) => ports.contains(&facts.call.local.port()),
        }
    }
}

/// Calls `visit` with each text that the call has, until it says `true`.
fn any_text(of: &TextOf, facts: &Facts<'_>, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    let call = facts.call;
    match (of, facts.identity) {
        (TextOf::Host, _) => visit(&facts.authority),
        (TextOf::Method, _) => visit(call.method.as_bytes()),
        (TextOf::Sni, _) => call.sni.is_some_and(|sni| visit(sni.as_bytes())),
        (TextOf::Header(name), _) if name == ":scheme" => false,
        (TextOf::Header(name), _) => any_line(call, name, visit),
        (TextOf::Claim(path), _) => facts.claims.any(path, |text| visit(text.as_bytes())),
        (TextOf::Principal, Some(identity)) => visit(identity.principal.as_bytes()),
        (TextOf::TrustDomain, Some(identity)) => visit(identity.domain.as_bytes()),
        (TextOf::Namespace, Some(identity)) => {
            let account = identity.account;
            account.is_some_and(|(namespace, _)| visit(namespace.as_bytes()))
        }
        (TextOf::ServiceAccount, Some(identity)) => {
            let account = identity.account;
            account.is_some_and(|(namespace, name)| visit(format!("{namespace}/{name}").as_bytes()))
        }
        (
            TextOf::Principal | TextOf::TrustDomain | TextOf::Namespace | TextOf::ServiceAccount,
            None,
        ) => false,
    }
}

impl Texts {
    fn new<'m>(values: impl Iterator<Item = &'m TextMatch>) -> Self {
        let mut exact: Vec<Box<[u8]>> = Vec::new();
        let mut others = Vec::new();
        for value in values {
            match value {
                TextMatch::Exact(text) => exact.push(text.as_bytes().into()),
                other => others.push(other.clone()),
            }
        }
        exact.sort();
        Self {
            exact: exact.into(),
            others: others.into(),
        }
    }

    fn hold(&self, text: &[u8]) -> bool {
        self.exact
            .binary_search_by(|exact| (**exact).cmp(text))
            .is_ok()
            || self.others.iter().any(|other| matches(other, text))
    }
}

fn matches(pattern: &TextMatch, text: &[u8]) -> bool {
    match pattern {
        TextMatch::Exact(want) => want.as_bytes() == text,
        TextMatch::Prefix(want) => text.starts_with(want.as_bytes()),
        TextMatch::Suffix(want) => text.ends_with(want.as_bytes()),
        TextMatch::Present => !text.is_empty(),
    }
}

impl Template {
    fn new(segments: &[PathSegment]) -> Self {
        let any = segments
            .iter()
            .position(|segment| *segment == PathSegment::Any);
        let (head, rest) = segments.split_at(any.unwrap_or(segments.len()));
        let tail = rest.split_first().map(|(_, literals)| {
            let literals = literals.iter().map(|segment| match segment {
                PathSegment::Literal(text) => format!("/{text}"),
                // refused by the checks: nothing but literals follows
                PathSegment::One | PathSegment::Any => "/\0".to_owned(),
            });
            literals.collect::<String>().into_bytes().into()
        });
        Self {
            head: head.into(),
            tail,
        }
    }

    fn holds(&self, path: &[u8]) -> bool {
        let mut rest = path;
        for segment in &self.head {
            let Some((b'/', behind)) = rest.split_first() else {
                return false;
            };
            let end = behind.iter().position(|byte| *byte == b'/');
            let (text, next) = behind.split_at(end.unwrap_or(behind.len()));
            let same = match segment {
                PathSegment::Literal(literal) => literal.as_bytes() == text,
                PathSegment::One | PathSegment::Any => !text.is_empty(),
            };
            if !same {
                return false;
            }
            rest = next;
        }
        match (&self.tail, rest.split_first()) {
            (None, None) => true,
            (Some(tail), Some((b'/', behind))) => behind.ends_with(tail),
            _ => false,
        }
    }
}
