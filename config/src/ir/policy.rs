//! Who may pass: authorization policies and rules for tokens.

use super::{Authorizer, AuthorizerId, Millis, Origin};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Everything that is asked before a route is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Policies {
    /// Which tokens are checked, ordered by issuer as Istio does.
    pub jwt: Vec<JwtRule>,
    /// Policies in the order in which they are asked: CUSTOM, DENY, AUDIT, ALLOW; those of the
    /// root namespace first, older ones first.
    pub authorization: Vec<AuthorizationPolicy>,
    /// Whom CUSTOM policies ask.
    pub authorizers: Vec<Authorizer>,
}

impl Policies {
    /// An authorizer.
    #[must_use]
    pub fn authorizer(&self, id: AuthorizerId) -> Option<&Authorizer> {
        self.authorizers.get(usize::try_from(id.0).ok()?)
    }
}

/// What a policy does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyAction {
    /// Asks somebody else. Where nobody can be asked, whatever it matches is refused.
    Custom,
    /// Refuses it.
    Deny,
    /// Takes note of it; decides nothing.
    Audit,
    /// Lets it pass; with any such policy, whatever none of them matches is refused.
    Allow,
}

/// One AuthorizationPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuthorizationPolicy {
    /// What it does.
    pub action: PolicyAction,
    /// `istio.io/dry-run`: it decides nothing.
    pub dry_run: bool,
    /// Whom a CUSTOM policy asks; `None`: nobody, so what it matches is refused.
    pub authorizer: Option<AuthorizerId>,
    /// Rules; it matches when any of them does. None: it matches nothing.
    pub rules: Vec<PolicyRule>,
    /// Where it was written.
    pub origin: Origin,
}

impl AuthorizationPolicy {
    /// Envoy's name of one of its rules, for `%RESPONSE_CODE_DETAILS%`:
    /// `ns[foo]-policy[bar]-rule[0]`. An action that nobody carries out says so, as Istio's does.
    #[must_use]
    pub fn id(&self, rule: usize) -> String {
        let Origin {
            namespace, name, ..
        } = &self.origin;
        let id = format!("ns[{namespace}]-policy[{name}]-rule[{rule}]");
        match self.action {
            PolicyAction::Custom if self.authorizer.is_some() => format!("istio-ext-authz-{id}"),
            PolicyAction::Custom => format!("istio-ext-authz-{id}-deny-due-to-bad-CUSTOM-action"),
            PolicyAction::Deny | PolicyAction::Audit | PolicyAction::Allow => id,
        }
    }
}

/// One rule: all parts must hold. `Default` matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PolicyRule {
    /// Any of these sources; none given is every source.
    pub from: Vec<Conditions>,
    /// Any of these operations; none given is every operation.
    pub to: Vec<Conditions>,
    /// All of these.
    pub when: Conditions,
}

impl PolicyRule {
    /// The rule for a connection that carries bytes, where nothing is known that HTTP tells
    /// (Istio `pilot/pkg/security/authz/model/model.go`). A rule that lets pass and asks for such a
    /// thing lets nothing pass: `None`. One that refuses applies without it, so it refuses more.
    #[must_use]
    pub fn on_connection(&self, action: PolicyAction) -> Option<Self> {
        let all = self.from.iter().chain(&self.to).chain([&self.when]);
        let known = |condition: &PolicyCondition| !condition.test.is_http();
        if action == PolicyAction::Allow && !all.flatten().all(known) {
            return None;
        }
        let kept = |all: &Conditions| all.iter().filter(|c| known(c)).cloned().collect();
        Some(Self {
            from: self.from.iter().map(kept).collect(),
            to: self.to.iter().map(kept).collect(),
            when: kept(&self.when),
        })
    }
}

/// Conditions that must all hold.
pub type Conditions = Vec<PolicyCondition>;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyCondition {
    /// What must hold.
    pub test: PolicyTest,
    /// `not…`: what must not.
    pub negated: bool,
}

/// Something about a request: holds when any of the values does. Without values it never holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PolicyTest {
    /// On a text.
    Text(TextOf, Vec<TextMatch>),
    /// On the path without query, after normalisation.
    Path(Vec<PathPattern>),
    /// On issuer and subject of the verified token.
    RequestPrincipal(Vec<RequestPrincipal>),
    /// On an address.
    Address(AddressOf, Vec<IpBlock>),
    /// On the port that the connection came in by.
    Port(Vec<u16>),
}

impl PolicyTest {
    /// Whether it is about something that only HTTP tells.
    #[must_use]
    pub fn is_http(&self) -> bool {
        match self {
            Self::Path(_) | Self::RequestPrincipal(_) => true,
            Self::Text(of, _) => matches!(
                of,
                TextOf::Host | TextOf::Method | TextOf::Header(_) | TextOf::Claim(_)
            ),
            Self::Address(..) | Self::Port(_) => false,
        }
    }
}

/// A text that a request has none, one or several of: a test holds when it holds for any of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TextOf {
    /// The peer's identity without `spiffe://`: `cluster.local/ns/x/sa/y`.
    Principal,
    /// Namespace of the peer's identity.
    Namespace,
    /// `namespace/account` of the peer's identity.
    ServiceAccount,
    /// Trust domain of the peer's identity.
    TrustDomain,
    /// The authority as sent, port included, compared in lower case.
    Host,
    /// The method.
    Method,
    /// Server name of the handshake.
    Sni,
    /// Lines of a header, by its lower-case name; each is a value of its own.
    Header(String),
    /// Strings of a claim of the verified token, outermost name first.
    Claim(Vec<String>),
}

/// On a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TextMatch {
    /// Equal.
    Exact(String),
    /// `abc*`
    Prefix(String),
    /// `*abc`
    Suffix(String),
    /// `*`: not empty.
    Present,
}

impl TextMatch {
    /// Reads Istio's wildcards: one `*` at the beginning or at the end; elsewhere it is literal.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::Present;
        }
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(suffix), _) => Self::Suffix(suffix.to_owned()),
            (None, Some(prefix)) => Self::Prefix(prefix.to_owned()),
            (None, None) => Self::Exact(text.to_owned()),
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text:?}"),
            Self::Prefix(text) => write!(f, "prefix {text:?}"),
            Self::Suffix(text) => write!(f, "suffix {text:?}"),
            Self::Present => f.write_str("present"),
        }
    }
}

/// On the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// As a text.
    Text(TextMatch),
    /// Segment by segment; the path begins with the `/` before the first.
    Template(Vec<PathSegment>),
}

/// A segment of a path template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathSegment {
    /// Equal.
    Literal(String),
    /// `{*}`: any segment that is not empty.
    One,
    /// `{**}`: any number of segments, also none.
    Any,
}

/// On issuer and subject; both must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestPrincipal {
    /// On `iss`.
    pub issuer: TextMatch,
    /// On `sub`.
    pub subject: TextMatch,
}

/// Which address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressOf {
    /// Of the direct peer (`ipBlocks`, `source.ip`).
    Peer,
    /// Of the client behind trusted hops (`remoteIpBlocks`, `remote.ip`).
    Client,
    /// Ours (`destination.ip`).
    Local,
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpBlock {
    /// First address, or any of the block.
    pub address: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

impl IpBlock {
    /// Reads `10.0.0.0/8` or a single address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address is in the block. IPv4 in IPv6 (`::ffff:1.2.3.4`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                let differ = u32::from(block) ^ u32::from(address);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                let differ = u128::from(block) ^ u128::from(address);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Which tokens of one issuer are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JwtRule {
    /// `iss` of the tokens.
    pub issuer: String,
    /// Any of these must be among `aud`; empty: any audience.
    pub audiences: Vec<String>,
    /// Where the keys are.
    pub keys: JwtKeys,
    /// Where tokens are looked for.
    pub from: Vec<TokenPlace>,
    /// The token goes on to the upstream.
    pub forward: bool,
    /// Header that gets the payload, lower-case name.
    pub payload_header: Option<String>,
    /// Headers that get claims: lower-case name, and path of the claim.
    pub claim_headers: Vec<(String, Vec<String>)>,
    /// Claims whose strings are lists separated by spaces.
    pub space_delimited: Vec<String>,
    /// A request without a token of this rule is refused.
    pub required: bool,
    /// Where it was written.
    pub origin: Origin,
}

/// A set of keys that has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySource {
    /// Where it is, or the issuer, by which it is known from then on.
    pub url: String,
    /// The URL is an issuer, which says itself where its keys are.
    pub is_issuer: bool,
    /// Limit of one fetch.
    pub timeout: Millis,
}

impl JwtRule {
    /// Where its keys have to be fetched; `None` if they are here, or nobody can be asked.
    #[must_use]
    pub fn source(&self) -> Option<KeySource> {
        self.keys.source(&self.issuer)
    }
}

impl JwtKeys {
    /// Where the keys of an issuer have to be fetched.
    #[must_use]
    pub fn source(&self, issuer: &str) -> Option<KeySource> {
        let (url, is_issuer, timeout) = match self {
            Self::Inline(_) => return None,
            Self::Remote { uri, timeout } => (uri.as_str(), false, *timeout),
            // the compiler has said that such an issuer cannot be asked
            Self::Discovery { .. } if !issuer.contains("://") => return None,
            Self::Discovery { timeout } => (issuer, true, *timeout),
        };
        Some(KeySource {
            url: url.to_owned(),
            is_issuer,
            timeout,
        })
    }
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JwtKeys {
    /// Here: text of a JSON Web Key Set.
    Inline(Arc<str>),
    /// At a URL.
    Remote {
        /// `https://…`
        uri: String,
        /// Limit of one fetch.
        timeout: Millis,
    },
    /// Wherever the issuer's OpenID configuration says.
    Discovery {
        /// Limit of one fetch.
        timeout: Millis,
    },
}

/// Where a token is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenPlace {
    /// In a header, by its lower-case name, behind a prefix.
    Header {
        /// Name.
        name: String,
        /// What stands before the token, blank included.
        prefix: String,
    },
    /// In a query parameter.
    Param(String),
    /// In a cookie.
    Cookie(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_addresses_of_their_family() {
        for (block, address, want) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let block = IpBlock::parse(block).unwrap();
            assert_eq!(
                block.contains(address.parse().unwrap()),
                want,
                "{block} {address}"
            );
        }
        for wrong in ["10.0.0.0/33", "x", "10.0.0.0/-1", "", "::/129"] {
            assert_eq!(IpBlock::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn wildcards_stand_at_one_end() {
        let text = |text: &str| text.to_owned();
        for (pattern, want) in [
            ("*", TextMatch::Present),
            ("a", TextMatch::Exact(text("a"))),
            ("a*", TextMatch::Prefix(text("a"))),
            ("*a", TextMatch::Suffix(text("a"))),
            ("a*b", TextMatch::Exact(text("a*b"))),
            ("*a*", TextMatch::Suffix(text("a*"))),
            ("", TextMatch::Exact(text(""))),
        ] {
            assert_eq!(TextMatch::parse(pattern), want, "{pattern}");
        }
    }
}
