//! A rule as permissions and principals.
//!
//! Envoy asks two questions of a rule, what and who, and both must be answered yes; Istio asks
//! three (`to`, `from`, `when`). What `when` says goes to the one that it belongs to.

use super::super::matches::{header_text, of_claim, string_or_member};
use super::super::values::{block, exact, extension, full, quoted, wildcard};
use sallyport_config::ir::{
    AddressOf, Conditions, IpBlock, PathPattern, PathSegment, PolicyCondition, PolicyRule,
    PolicyTest, RequestPrincipal, TextMatch, TextOf,
};
use sallyport_wire::envoy::envoy::config::rbac::v3::{
    MetadataSource, Permission, Policy, Principal, SourcedMetadata, permission, principal,
    rbac::Action,
};
use sallyport_wire::envoy::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use sallyport_wire::envoy::envoy::r#type::matcher::v3::{
    MetadataMatcher, PathMatcher, StringMatcher, path_matcher,
};

/// What a filter sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Requests.
    Http,
    /// Connections.
    Bytes,
}

/// A rule; none when it can never hold where the filter stands. A connection has no request: an
/// ALLOW rule that asks about one allows nothing, any other applies without the question, so that
/// it refuses more, not less. Istio `pilot/pkg/security/authz/model`.
pub(super) fn policy(rule: &PolicyRule, action: Action, reach: Reach) -> Option<Policy> {
    let bytes = reach == Reach::Bytes;
    let all = || {
        let lists = rule.from.iter().chain(&rule.to);
        lists.flatten().chain(&rule.when)
    };
    if bytes && action == Action::Allow && all().any(|c| of_request(&c.test)) {
        return None;
    }
    let seen = |c: &&PolicyCondition| !(bytes && of_request(&c.test));
    let (who, what): (Vec<_>, Vec<_>) = rule
        .when
        .iter()
        .filter(seen)
        .partition(|c| of_peer(&c.test));
    let sources = alternatives(&rule.from, &who, seen);
    let operations = alternatives(&rule.to, &what, seen);
    Some(Policy {
        permissions: operations.iter().map(|all| permission(all)).collect(),
        principals: sources.iter().map(|all| principal(all)).collect(),
        ..Policy::default()
    })
}

/// Lists of which one must hold, each together with what must hold anyway.
fn alternatives<'r>(
    lists: &'r [Conditions],
    always: &[&'r PolicyCondition],
    seen: impl Fn(&&PolicyCondition) -> bool,
) -> Vec<Vec<&'r PolicyCondition>> {
    if lists.is_empty() {
        return vec![always.to_vec()];
    }
    let one = |list: &'r Conditions| {
        let own = list.iter().filter(|c| seen(c));
        own.chain(always.iter().copied()).collect()
    };
    lists.iter().map(one).collect()
}

/// Whether a connection cannot answer it.
fn of_request(test: &PolicyTest) -> bool {
    match test {
        PolicyTest::Text(of, _) => matches!(
            of,
            TextOf::Host | TextOf::Method | TextOf::Header(_) | TextOf::Claim(_)
        ),
        PolicyTest::Path(_) | PolicyTest::RequestPrincipal(_) => true,
        PolicyTest::Address(..) | PolicyTest::Port(_) => false,
    }
}

/// Whether it is about who asks.
fn of_peer(test: &PolicyTest) -> bool {
    match test {
        PolicyTest::Text(of, _) => match of {
            TextOf::Principal
            | TextOf::Namespace
            | TextOf::ServiceAccount
            | TextOf::TrustDomain
            | TextOf::Claim(_)
            | TextOf::Header(_) => true,
            TextOf::Host | TextOf::Method | TextOf::Sni => false,
        },
        PolicyTest::RequestPrincipal(_) => true,
        PolicyTest::Address(of, _) => matches!(of, AddressOf::Peer | AddressOf::Client),
        PolicyTest::Path(_) | PolicyTest::Port(_) => false,
    }
}

/// What permissions and principals have in common.
trait Node: Sized {
    fn all(nodes: Vec<Self>) -> Self;
    fn one_of(nodes: Vec<Self>) -> Self;
    fn not(self) -> Self;
    fn always() -> Self;
    fn leaf(test: Leaf) -> Self;
}

/// A test of one value, as far as both can ask it.
enum Leaf {
    Header(&'static str, StringMatcher),
    Named(String, StringMatcher),
    Path(StringMatcher),
    Template(String),
    Metadata(MetadataMatcher),
    Identity(StringMatcher),
    Sni(StringMatcher),
    Address(AddressOf, IpBlock),
    Port(u16),
}

fn permission(conditions: &[&PolicyCondition]) -> Permission {
    every(conditions)
}

fn principal(conditions: &[&PolicyCondition]) -> Principal {
    every(conditions)
}

fn every<N: Node>(conditions: &[&PolicyCondition]) -> N {
    let node = |c: &&PolicyCondition| {
        let node: N = test(&c.test);
        if c.negated { node.not() } else { node }
    };
    let mut nodes: Vec<N> = conditions.iter().map(node).collect();
    match nodes.len() {
        0 => N::always(),
        1 => nodes.pop().unwrap_or_else(N::always),
        _ => N::all(nodes),
    }
}

/// Any of the values; never, without values.
fn either<N: Node>(mut nodes: Vec<N>) -> N {
    match nodes.len() {
        0 => N::always().not(),
        1 => nodes.pop().unwrap_or_else(N::always),
        _ => N::one_of(nodes),
    }
}

fn test<N: Node>(test: &PolicyTest) -> N {
    let nodes: Vec<N> = match test {
        PolicyTest::Text(TextOf::Claim(path), values) if !values.is_empty() => {
            let values = values.iter().map(wildcard).collect();
            vec![N::leaf(Leaf::Metadata(of_claim(
                path,
                string_or_member(values),
            )))]
        }
        PolicyTest::Text(of, values) => {
            let leaves = values.iter().map(|value| N::leaf(text(of, value)));
            leaves.collect()
        }
        PolicyTest::Path(patterns) => patterns.iter().map(|p| N::leaf(path(p))).collect(),
        PolicyTest::RequestPrincipal(principals) => {
            principals.iter().map(request_principal).collect()
        }
        PolicyTest::Address(of, blocks) => {
            let leaves = blocks
                .iter()
                .map(|block| N::leaf(Leaf::Address(*of, *block)));
            leaves.collect()
        }
        PolicyTest::Port(ports) => ports
            .iter()
            .map(|port| N::leaf(Leaf::Port(*port)))
            .collect(),
    };
    either(nodes)
}

fn text(of: &TextOf, value: &TextMatch) -> Leaf {
    match of {
        TextOf::Principal => Leaf::Identity(identity(value)),
        TextOf::Namespace => {
            let pattern = segment(value);
            Leaf::Identity(full(&format!("spiffe://[^/]+/ns/{pattern}/.*")))
        }
        TextOf::ServiceAccount => Leaf::Identity(full(&account(value))),
        TextOf::TrustDomain => {
            let pattern = segment(value);
            Leaf::Identity(full(&format!("spiffe://{pattern}/.*")))
        }
        TextOf::Host => Leaf::Header(
            ":authority",
            StringMatcher {
                ignore_case: !matches!(value, TextMatch::Present),
                ..wildcard(value)
            },
        ),
        TextOf::Method => Leaf::Header(":method", wildcard(value)),
        TextOf::Sni => Leaf::Sni(wildcard(value)),
        TextOf::Header(name) => Leaf::Named(name.clone(), wildcard(value)),
        TextOf::Claim(path) => {
            Leaf::Metadata(of_claim(path, string_or_member(vec![wildcard(value)])))
        }
    }
}

/// A principal without its scheme, as the certificate says it.
fn identity(value: &TextMatch) -> StringMatcher {
    match value {
        TextMatch::Exact(name) => exact(&format!("spiffe://{name}")),
        TextMatch::Prefix(prefix) => wildcard(&TextMatch::Prefix(format!("spiffe://{prefix}"))),
        TextMatch::Suffix(suffix) => full(&format!("spiffe://.*{}", quoted(suffix))),
        TextMatch::Present => full(".+"),
    }
}

/// One segment of an identity.
fn segment(value: &TextMatch) -> String {
    match value {
        TextMatch::Exact(text) => quoted(text),
        TextMatch::Prefix(text) => format!("{}[^/]*", quoted(text)),
        TextMatch::Suffix(text) => format!("[^/]*{}", quoted(text)),
        TextMatch::Present => "[^/]+".to_owned(),
    }
}

/// `namespace/account`, which has no wildcards.
fn account(value: &TextMatch) -> String {
    let (TextMatch::Exact(text) | TextMatch::Prefix(text) | TextMatch::Suffix(text)) = value else {
        return "spiffe://.+".to_owned();
    };
    let (namespace, account) = text.split_once('/').unwrap_or(("", text));
    let (namespace, account) = (quoted(namespace), quoted(account));
    format!("spiffe://[^/]+/ns/{namespace}/sa/{account}")
}

fn path(pattern: &PathPattern) -> Leaf {
    match pattern {
        PathPattern::Text(value) => Leaf::Path(wildcard(value)),
        PathPattern::Template(segments) => {
            let mut text = String::new();
            for segment in segments {
                text.push('/');
                text.push_str(match segment {
                    PathSegment::Literal(literal) => literal,
                    PathSegment::One => "*",
                    PathSegment::Any => "**",
                });
            }
            Leaf::Template(text)
        }
    }
}

/// Issuer and subject of the verified token.
fn request_principal<N: Node>(principal: &RequestPrincipal) -> N {
    let claim = |name: &str, value: &TextMatch| {
        let path = [name.to_owned()];
        N::leaf(Leaf::Metadata(of_claim(
            &path,
            string_or_member(vec![wildcard(value)]),
        )))
    };
    N::all(vec![
        claim("iss", &principal.issuer),
        claim("sub", &principal.subject),
    ])
}

fn url(value: StringMatcher) -> PathMatcher {
    PathMatcher {
        rule: Some(path_matcher::Rule::Path(value)),
    }
}

fn sourced(metadata: MetadataMatcher) -> SourcedMetadata {
    SourcedMetadata {
        metadata_matcher: Some(metadata),
        metadata_source: MetadataSource::Dynamic.into(),
    }
}

impl Node for Permission {
    fn all(rules: Vec<Self>) -> Self {
        permission::Rule::AndRules(permission::Set { rules }).into_node()
    }
    fn one_of(rules: Vec<Self>) -> Self {
        permission::Rule::OrRules(permission::Set { rules }).into_node()
    }
    fn not(self) -> Self {
        permission::Rule::NotRule(Box::new(self)).into_node()
    }
    fn always() -> Self {
        permission::Rule::Any(true).into_node()
    }
    fn leaf(leaf: Leaf) -> Self {
        use permission::Rule;
        let rule = match leaf {
            Leaf::Header(name, value) => Rule::Header(header_text(name, value)),
            Leaf::Named(name, value) => Rule::Header(header_text(&name, value)),
            Leaf::Path(value) => Rule::UrlPath(url(value)),
            Leaf::Template(path_template) => Rule::UriTemplate(extension(
                "envoy.path.match.uri_template.uri_template_matcher",
                &UriTemplateMatchConfig { path_template },
            )),
            Leaf::Metadata(metadata) => Rule::SourcedMetadata(sourced(metadata)),
            Leaf::Sni(value) => Rule::RequestedServerName(value),
            Leaf::Address(_, ip) => Rule::DestinationIp(block(ip.address, ip.bits)),
            Leaf::Port(port) => Rule::DestinationPort(u32::from(port)),
            // no operation has one
            Leaf::Identity(_) => return Self::always().not(),
        };
        rule.into_node()
    }
}

impl Node for Principal {
    fn all(ids: Vec<Self>) -> Self {
        principal::Identifier::AndIds(principal::Set { ids }).into_node()
    }
    fn one_of(ids: Vec<Self>) -> Self {
        principal::Identifier::OrIds(principal::Set { ids }).into_node()
    }
    fn not(self) -> Self {
        principal::Identifier::NotId(Box::new(self)).into_node()
    }
    fn always() -> Self {
        principal::Identifier::Any(true).into_node()
    }
    fn leaf(leaf: Leaf) -> Self {
        use principal::Identifier;
        let identifier = match leaf {
            Leaf::Header(name, value) => Identifier::Header(header_text(name, value)),
            Leaf::Named(name, value) => Identifier::Header(header_text(&name, value)),
            Leaf::Path(value) => Identifier::UrlPath(url(value)),
            Leaf::Metadata(metadata) => Identifier::SourcedMetadata(sourced(metadata)),
            Leaf::Identity(name) => Identifier::Authenticated(principal::Authenticated {
                principal_name: Some(name),
            }),
            Leaf::Address(AddressOf::Client, ip) => {
                Identifier::RemoteIp(block(ip.address, ip.bits))
            }
            Leaf::Address(_, ip) => Identifier::DirectRemoteIp(block(ip.address, ip.bits)),
            // no source has one
            Leaf::Template(_) | Leaf::Sni(_) | Leaf::Port(_) => return Self::always().not(),
        };
        identifier.into_node()
    }
}

/// The one variant of a node.
trait IntoNode<N> {
    fn into_node(self) -> N;
}

impl IntoNode<Permission> for permission::Rule {
    fn into_node(self) -> Permission {
        Permission { rule: Some(self) }
    }
}

impl IntoNode<Principal> for principal::Identifier {
    fn into_node(self) -> Principal {
        Principal {
            identifier: Some(self),
        }
    }
}
