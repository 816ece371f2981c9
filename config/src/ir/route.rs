//! Hosts, matchers and actions: what Istio's VirtualService becomes.

use super::{ClusterId, Millis, Origin, Ppm};
use std::fmt;
use std::sync::Arc;

/// Hosts and their routes; what Envoy calls a route configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteTable {
    /// RDS name as Istio: `http.8080`, `https.443.https.public-gateway.istio-system`.
    pub name: String,
    /// Hosts; no two contain the same pattern.
    pub hosts: Vec<VirtualHost>,
}

/// A host pattern, lower-case, without port. Precedence: exact, longest suffix, any.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `a.example.com`
    Exact(String),
    /// `*.example.com`, kept as `.example.com`; any depth, not the bare domain.
    Suffix(String),
    /// `*`
    Any,
}

impl HostPattern {
    /// Reads `*`, `*.x` or a name; lower-cases it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) => Self::Suffix(suffix.to_owned()),
            None => Self::Exact(text),
        }
    }

    /// Whether a lower-case host without port falls under this pattern.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Self::Any => true,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// Routes of a set of hosts, first match wins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualHost {
    /// Patterns under which a request gets here.
    pub domains: Vec<HostPattern>,
    /// `tls.httpsRedirect`: every request that is not https is redirected, routes are not asked.
    pub https_redirect: Option<u16>,
    /// Routes in order. Shared: many hosts of one VirtualService point to one list.
    pub routes: Arc<[Route]>,
}

/// One rule with one match block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// `<http.name>[.<match.name>]`, empty when unnamed.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// When it applies.
    pub matcher: Matcher,
    /// What it does.
    pub action: Action,
    /// Header operations of the rule (for several destinations: applied after the destination's).
    pub headers: HeaderOps,
    /// Fault injected before anything else.
    pub fault: Option<Fault>,
    /// CORS policy.
    pub cors: Option<Cors>,
}

/// All conditions must hold. `Default` is the catch-all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Matcher {
    /// On the path without query, after normalisation.
    pub path: PathMatch,
    /// On the method.
    pub method: Option<ValueMatch>,
    /// On the authority as sent, port included.
    pub authority: Option<ValueMatch>,
    /// On `http` or `https`.
    pub scheme: Option<ValueMatch>,
    /// On request headers.
    pub headers: Vec<HeaderMatch>,
    /// On query parameters, undecoded.
    pub query: Vec<QueryMatch>,
    /// On claims of a verified token; a missing claim never matches.
    pub claims: Vec<ClaimMatch>,
}

/// On the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum PathMatch {
    /// Any path.
    #[default]
    Any,
    /// The whole path.
    Exact {
        /// Path.
        path: String,
        /// ASCII case is ignored.
        ignore_case: bool,
    },
    /// A byte prefix, not segment-aware.
    Prefix {
        /// Prefix.
        prefix: String,
        /// ASCII case is ignored.
        ignore_case: bool,
    },
    /// RE2 syntax, whole path.
    Regex(String),
}

/// On a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueMatch {
    /// Present, even if empty.
    Present,
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// RE2 syntax, whole value.
    Regex(String),
}

/// On a header. Several lines: true if any line matches; inverted: false if any line matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderMatch {
    /// Lower-case name, or a pseudo name (`:method`, `:path`, `:authority`, `:scheme`).
    pub name: String,
    /// Condition.
    pub value: ValueMatch,
    /// `withoutHeaders`: inverted, and an absent header counts as an empty value
    /// (except for [`ValueMatch::Present`], which then demands absence).
    pub invert: bool,
}

/// On a query parameter: the first with this name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueryMatch {
    /// Case-sensitive, undecoded name.
    pub name: String,
    /// Condition; a parameter without `=` has an empty value.
    pub value: ValueMatch,
}

/// On a claim of the verified token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimMatch {
    /// Path of the claim, outermost first.
    pub path: Vec<String>,
    /// Condition on the string, or on any member of a list.
    pub value: ValueMatch,
    /// `withoutHeaders`.
    pub invert: bool,
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// To an upstream.
    Forward(Box<Forward>),
    /// 3xx.
    Redirect(Box<Redirect>),
    /// A fixed answer.
    Direct(DirectResponse),
    /// The rule is broken: this status, and the reason for logs.
    Fail {
        /// Status, normally 500.
        status: u16,
        /// What is wrong, with the diagnostic's code.
        why: String,
    },
}

/// To an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forward {
    /// One or more; with more than one every weight is positive.
    pub targets: Vec<Target>,
    /// Path and authority rewrites.
    pub rewrite: Rewrite,
    /// Whole request with retries; `None` is no limit.
    pub timeout: Option<Millis>,
    /// Retry policy; `attempts` 0 is never.
    pub retry: Retry,
    /// Copies of the request, answers dropped.
    pub mirrors: Vec<Mirror>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where.
    pub cluster: ClusterRef,
    /// Share of the sum of weights; meaningless for a single target.
    pub weight: u32,
    /// Operations of the destination; empty for a single target (merged into the route's).
    pub headers: HeaderOps,
    /// Authority set by this destination's header operations.
    pub authority: Option<String>,
}

/// A cluster that exists, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClusterRef {
    /// In the snapshot.
    Known(ClusterId),
    /// Unknown host or subset: 503 NC. The name is Envoy's `outbound|port|subset|host`.
    Missing(String),
}

/// Rewrites of a request on its way to the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rewrite {
    /// Of the path.
    pub path: Option<PathRewrite>,
    /// Of the authority; beats a destination's.
    pub authority: Option<String>,
}

/// Of the path, query kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathRewrite {
    /// The matched prefix is replaced (byte-wise; a leading `//` that results is one `/`).
    Prefix {
        /// What was matched.
        from: String,
        /// What replaces it.
        to: String,
    },
    /// The whole path is replaced.
    Full(String),
    /// Every match is replaced; `\1` is a group.
    Regex {
        /// RE2 pattern.
        pattern: String,
        /// Replacement.
        to: String,
    },
}

/// Istio's retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Retry {
    /// Tries after the first.
    pub attempts: u32,
    /// Limit of one try; `None` is the route's timeout.
    pub per_try_timeout: Option<Millis>,
    /// When.
    pub on: RetryOn,
    /// Statuses of `retriable-status-codes`.
    pub status_codes: Vec<u16>,
    /// Base of the exponential back-off (full jitter, at most ten times this). Default 25 ms.
    pub backoff_base: Millis,
    /// Avoid endpoints already tried.
    pub ignore_previous_hosts: bool,
    /// Go to other localities.
    pub remote_localities: bool,
}

/// Conditions of a retry, one flag each (Envoy's words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RetryOn {
    /// `5xx`: any 5xx, and everything that gives no response.
    pub five_xx: bool,
    /// `gateway-error`: 502, 503, 504.
    pub gateway_error: bool,
    /// `reset`
    pub reset: bool,
    /// `reset-before-request`
    pub reset_before_request: bool,
    /// `connect-failure`
    pub connect_failure: bool,
    /// `envoy-ratelimited`
    pub envoy_ratelimited: bool,
    /// `retriable-4xx`: 409 only.
    pub retriable_4xx: bool,
    /// `refused-stream`
    pub refused_stream: bool,
    /// `retriable-status-codes`
    pub retriable_status_codes: bool,
    /// `retriable-headers`
    pub retriable_headers: bool,
    /// `http3-post-connect-failure`
    pub http3_post_connect_failure: bool,
    /// gRPC `cancelled`
    pub cancelled: bool,
    /// gRPC `deadline-exceeded`
    pub deadline_exceeded: bool,
    /// gRPC `internal`
    pub internal: bool,
    /// gRPC `resource-exhausted`
    pub resource_exhausted: bool,
    /// gRPC `unavailable`
    pub unavailable: bool,
}

impl Default for Retry {
    /// Istio's default policy: 2 × connect-failure, refused-stream, unavailable, cancelled,
    /// retriable-status-codes (without codes). `pilot/pkg/networking/core/route/retry/retry.go`.
    fn default() -> Self {
        Self {
            attempts: 2,
            per_try_timeout: None,
            on: RetryOn {
                connect_failure: true,
                refused_stream: true,
                unavailable: true,
                cancelled: true,
                retriable_status_codes: true,
                ..RetryOn::default()
            },
            status_codes: Vec::new(),
            backoff_base: Millis(25),
            ignore_previous_hosts: true,
            remote_localities: false,
        }
    }
}

/// A copy of the request to another cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// Where.
    pub cluster: ClusterRef,
    /// Share of requests.
    pub share: Ppm,
}

/// 3xx.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Path of the location; `None` keeps the request's. The query is kept.
    pub path: Option<PathRewrite>,
    /// Authority; `None` echoes the request's.
    pub authority: Option<String>,
    /// Scheme; `None` keeps the request's.
    pub scheme: Option<String>,
    /// Port of the location; replaces the request's. 80 with http and 443 with https are left out.
    pub port: RedirectPort,
}

/// Port of a redirect's location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RedirectPort {
    /// As in the authority.
    Keep,
    /// None (`FROM_PROTOCOL_DEFAULT`).
    Default,
    /// This one (`port`, or the declared server port for `FROM_REQUEST_PORT`).
    Number(u16),
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DirectResponse {
    /// 200..=599.
    pub status: u16,
    /// At most 1 MiB; `text/plain`.
    pub body: Arc<[u8]>,
}

/// Header operations, in the order Envoy applies them: remove, then set, then add.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HeaderOps {
    /// On the request.
    pub request: HeaderEdits,
    /// On the response.
    pub response: HeaderEdits,
}

/// Edits of one head. Names are lower-case; `host` and pseudo names never occur here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HeaderEdits {
    /// Removed first.
    pub remove: Vec<String>,
    /// Overwritten, or appended as a separate line; sets (sorted by name) come before adds.
    pub write: Vec<HeaderWrite>,
}

impl HeaderEdits {
    /// Whether nothing is edited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.write.is_empty()
    }
}

/// One header written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderWrite {
    /// Lower-case name.
    pub name: String,
    /// Value, an Envoy format string already taken apart.
    pub value: Template,
    /// Append a line instead of replacing all of that name.
    pub append: bool,
}

/// An Envoy format string (`%REQ(x)%`, `%DOWNSTREAM_REMOTE_ADDRESS%` …) taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Template(pub Vec<Piece>);

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Text as it is (`%%` is already `%`).
    Literal(String),
    /// `%NAME(argument):max_length%`
    Operator {
        /// `REQ`, `RESP`, `PROTOCOL` …
        name: String,
        /// Inside the parentheses, if any.
        argument: Option<String>,
        /// Behind the colon, if any.
        max_length: Option<u32>,
    },
}

/// Injected fault: delay first, then abort; the two dice are independent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Delay.
    pub delay: Option<FaultDelay>,
    /// Abort.
    pub abort: Option<FaultAbort>,
}

/// Injected delay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FaultDelay {
    /// How long.
    pub duration: Millis,
    /// Share of requests; 0 unless given.
    pub share: Ppm,
}

/// Injected abort.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FaultAbort {
    /// With what.
    pub status: AbortStatus,
    /// Share of requests; 0 unless given.
    pub share: Ppm,
}

/// Status of an injected abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AbortStatus {
    /// HTTP 200..=599.
    Http(u16),
    /// gRPC 0..=16: HTTP 200 with `grpc-status` for gRPC requests, its HTTP mapping else.
    Grpc(u8),
}

/// CORS policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cors {
    /// Origins; any match suffices.
    pub allow_origins: Vec<ValueMatch>,
    /// `access-control-allow-methods`, empty when none.
    pub allow_methods: String,
    /// `access-control-allow-headers`, empty when none.
    pub allow_headers: String,
    /// `access-control-expose-headers`, empty when none.
    pub expose_headers: String,
    /// `access-control-max-age` in seconds.
    pub max_age_seconds: Option<u64>,
    /// `access-control-allow-credentials: true`.
    pub allow_credentials: bool,
    /// A preflight whose origin does not match goes to the upstream (default) or gets 200
    /// without CORS headers (`IGNORE`).
    pub forward_unmatched_preflights: bool,
}
