//! The `local_ratelimit` filter in patches of an `EnvoyFilter`: the one of Envoy's filters that Istio's
//! tasks document as a patch, and so the one that is recognised.
//!
//! Understood are the filter put before others, for a listener or all of them, and what a virtual host
//! or a route says to it (`typed_per_filter_config`). Whatever else a patch says is a finding, and the
//! patch is then not applied: a limit that counts something else is worse than none.

use crate::api::envoy_filter::{ApplyTo, EnvoyConfigObjectPatch, PatchContext, PatchOperation};
use crate::api::local_ratelimit::{Denominator, HeaderOption, LocalRateLimit, RuntimeShare, Share};
use crate::check::words;
use crate::diag::{Diagnostic, Level, codes};
use crate::ir::{HostPattern, LimitStage, Millis, Ppm, Rate};
use crate::message::{Cx, FromNode, IntOrString, Unknown};
use crate::yaml::{Node, Value};

/// Name of the filter.
const FILTER: &str = "envoy.filters.http.local_ratelimit";
/// Type of its configuration.
const TYPE: &str = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
/// A configuration that is written as a tree, with its type beside.
const TYPED_STRUCT: &str = "TypedStruct";
/// Least interval that Envoy takes.
const LEAST_INTERVAL: Millis = Millis(50);

/// A patch that is about the filter.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// What it says; `None`: it is not applied.
    pub(crate) local: Option<Local>,
    /// What is wrong with it.
    pub(crate) found: Vec<Diagnostic>,
}

/// What a patch says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Local {
    /// Which proxies.
    pub(crate) context: PatchContext,
    /// Where the filter stands; `None`: what a host or a route says to it.
    pub(crate) stage: Option<LimitStage>,
    /// Hosts whose requests count; empty: all.
    pub(crate) hosts: Vec<HostPattern>,
    /// Port that connections come in by.
    pub(crate) port: Option<u16>,
    /// Route whose requests count.
    pub(crate) route: Option<String>,
    /// The limit; `None` for a filter that only routes give one.
    pub(crate) limit: Option<Given>,
}

/// A limit as it is given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    pub(crate) rate: Rate,
    pub(crate) enabled: Ppm,
    pub(crate) enforced: Ppm,
    pub(crate) status: u16,
    pub(crate) exhausted: bool,
    pub(crate) headers: Vec<(String, String)>,
}

/// Reads a patch by its place in the list; `None`: it is about something else.
pub(crate) fn read(patch: &EnvoyConfigObjectPatch, index: usize) -> Option<Read> {
    let value = patch.patch.as_ref()?.value.as_ref()?;
    let root = format!("spec.configPatches[{index}]");
    let mut reader = Reader {
        root,
        found: Vec::new(),
    };
    let local = match patch.apply_to {
        ApplyTo::HttpFilter => {
            let name = text(value, "name").unwrap_or_default();
            let config = value
                .get("typed_config")
                .or_else(|| value.get("typedConfig"));
            let typed = config
                .and_then(type_of)
                .is_some_and(|ty| ty.ends_with(TYPE));
            if !typed && !name.starts_with(FILTER) {
                return None;
            }
            reader.filter(patch, config)
        }
        ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
            let all = value.get("typed_per_filter_config");
            let all = all.or_else(|| value.get("typedPerFilterConfig"))?;
            let mut own = all.entries().iter();
            let own = own.find(|entry| entry.key.starts_with(FILTER))?;
            reader.of_host(patch, &own.value)
        }
        _ => return None,
    };
    let local = local.filter(|_| !reader.found.iter().any(|d| d.level == Level::Error));
    Some(Read {
        local,
        found: reader.found,
    })
}

struct Reader {
    root: String,
    found: Vec<Diagnostic>,
}

impl Reader {
    /// Something that keeps the patch from being applied.
    fn refuse(&mut self, node: Option<&Node>, path: &str, message: &str, help: &str) {
        let mut finding = Diagnostic::new(
            codes::SP0102,
            format!("the rate limit is not applied: {message}"),
        )
        .path(format!("{}.{path}", self.root));
        if let Some(node) = node {
            finding = finding.at(node.span);
        }
        if !help.is_empty() {
            finding = finding.help(help);
        }
        self.found.push(finding);
    }

    /// The filter itself.
    fn filter(&mut self, patch: &EnvoyConfigObjectPatch, config: Option<&Node>) -> Option<Local> {
        let operation = patch.patch.as_ref()?.operation;
        let inserts = matches!(
            operation,
            PatchOperation::InsertBefore
                | PatchOperation::InsertFirst
                | PatchOperation::InsertAfter
        );
        if !inserts {
            let message = format!("{} is not understood", operation.as_str());
            let help = "insert the filter: operation: INSERT_BEFORE";
            self.refuse(None, "patch.operation", &message, help);
        }
        let mut local = self.place(patch);
        local.stage = Some(stage(patch, operation));
        local.limit = self.config(config, "patch.value.typed_config", true);
        Some(local)
    }

    /// What a virtual host or a route says.
    fn of_host(&mut self, patch: &EnvoyConfigObjectPatch, config: &Node) -> Option<Local> {
        let operation = patch.patch.as_ref()?.operation;
        if operation != PatchOperation::Merge {
            let message = format!("{} is not understood", operation.as_str());
            self.refuse(None, "patch.operation", &message, "write operation: MERGE");
        }
        let mut local = self.place(patch);
        let path = "patch.value.typed_per_filter_config";
        local.limit = self.config(Some(config), path, false);
        Some(local)
    }

    /// Whose requests a patch is about.
    fn place(&mut self, patch: &EnvoyConfigObjectPatch) -> Local {
        let mut local = Local {
            context: PatchContext::Any,
            stage: None,
            hosts: Vec::new(),
            port: None,
            route: None,
            limit: None,
        };
        let Some(place) = &patch.match_ else {
            return local;
        };
        local.context = place.context;
        if let Some(listener) = &place.listener {
            self.known(listener, "match.listener", &["portNumber", "filterChain"]);
            local.port = number(listener, "portNumber");
            if let Some(chain) = listener.get("filterChain") {
                self.known(chain, "match.listener.filterChain", &["filter"]);
            }
        }
        if let Some(routes) = &place.route_configuration {
            let path = "match.routeConfiguration";
            self.known(routes, path, &["portNumber", "vhost"]);
            local.port = number(routes, "portNumber");
            if let Some(host) = routes.get("vhost") {
                let path = "match.routeConfiguration.vhost";
                self.known(host, path, &["name", "route", "domainName"]);
                let name = text(host, "name").or_else(|| text(host, "domainName"));
                let only = Self::host(name.unwrap_or_default(), &mut local);
                let route = host.get("route").and_then(|route| text(route, "name"));
                local.route = route.filter(|_| !only).map(str::to_owned);
            }
        }
        local
    }

    /// A virtual host by Istio's name: `host:port` on a gateway, `inbound|http|port` before a workload.
    ///
    /// Says whether it is before a workload, where there is one route.
    fn host(name: &str, local: &mut Local) -> bool {
        if let Some(port) = name.strip_prefix("inbound|") {
            local.port = port.rsplit('|').next().and_then(|port| port.parse().ok());
            return true;
        }
        let host = match name.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => name,
        };
        if !matches!(host, "" | "*") {
            local.hosts = vec![HostPattern::parse(host)];
        }
        false
    }

    /// Everything that a part of the match asks must be understood.
    fn known(&mut self, node: &Node, path: &str, keys: &[&str]) {
        for entry in node.entries() {
            if !keys.contains(&&*entry.key) {
                let message = format!("`{}` is not understood", entry.key);
                let path = format!("{path}.{}", entry.key);
                self.refuse(Some(&entry.value), &path, &message, "remove it");
            }
        }
    }

    /// The configuration, which `may_be_empty` for a filter that only routes give a limit.
    fn config(&mut self, config: Option<&Node>, path: &str, may_be_empty: bool) -> Option<Given> {
        let Some(config) = config else {
            self.refuse(None, path, "it has no configuration", "write typed_config");
            return None;
        };
        let nested = type_of(config).is_some_and(|ty| ty.ends_with(TYPED_STRUCT));
        let inner = if nested || config.get("type_url").is_some() {
            config.get("value")
        } else {
            Some(config)
        };
        let stripped = inner.map(without_type)?;
        let mut cx = Cx::new("", Unknown::Refuse);
        let read = LocalRateLimit::from_node(&stripped, &mut cx);
        let findings = cx.finish();
        let broken = !findings.is_empty();
        for finding in findings {
            let below = finding.path.clone();
            let path = format!("{}.{path}.{below}", self.root);
            let message = format!("the rate limit is not applied: {}", finding.message);
            let mut refused = Diagnostic::new(codes::SP0102, message).path(path);
            refused.span = finding.span;
            refused.help = finding.help;
            self.found.push(refused);
        }
        let read = read.filter(|_| !broken)?;
        self.given(&read, &stripped, path, may_be_empty)
    }

    fn given(
        &mut self,
        config: &LocalRateLimit,
        node: &Node,
        path: &str,
        may_be_empty: bool,
    ) -> Option<Given> {
        if config.local_rate_limit_per_downstream_connection {
            let message = "a count for each connection is not kept";
            self.refuse(
                Some(node),
                path,
                message,
                "write a RateLimit with per: [{client: {}}]",
            );
        }
        if !matches!(config.enable_x_ratelimit_headers.as_str(), "" | "OFF") {
            let help = "write a RateLimit, which has RateLimit and RateLimit-Policy";
            self.refuse(Some(node), path, "x-ratelimit fields are not sent", help);
        }
        let Some(bucket) = &config.token_bucket else {
            if !may_be_empty {
                self.refuse(Some(node), path, "it has no token_bucket", "");
            }
            return None;
        };
        let interval = bucket.fill_interval.unwrap_or_default().as_millis();
        let rate = Rate {
            burst: bucket.max_tokens,
            tokens: bucket.tokens_per_fill.unwrap_or(1),
            interval: Millis(u64::try_from(interval).unwrap_or(u64::MAX)),
        };
        if rate.burst == 0 || rate.tokens == 0 || rate.interval < LEAST_INTERVAL {
            let help = "max_tokens and tokens_per_fill are 1 at least, fill_interval 50ms";
            self.refuse(Some(node), path, "the token_bucket has no tokens", help);
        }
        let enabled = share(config.filter_enabled.as_ref());
        if enabled == Ppm(0) {
            let message =
                "filter_enabled is 0 %, which it is unless it is said: nothing is counted";
            let help = "write filter_enabled: {default_value: {numerator: 100}}, and filter_enforced alike";
            let finding = Diagnostic::new(codes::IST0133, message);
            let path = format!("{}.{path}", self.root);
            self.found.push(finding.path(path).at(node.span).help(help));
        }
        Some(Given {
            rate,
            enabled,
            enforced: share(config.filter_enforced.as_ref()),
            status: status(config),
            exhausted: config.rate_limited_as_resource_exhausted,
            headers: self.headers(&config.response_headers_to_add, node, path),
        })
    }

    fn headers(&mut self, all: &[HeaderOption], node: &Node, path: &str) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for field in all.iter().filter_map(|option| option.header.as_ref()) {
            let name = field.key.to_ascii_lowercase();
            let plain = !field.value.contains('%');
            if words::header_name(&name).is_ok()
                && words::header_value(&field.value).is_ok()
                && plain
            {
                out.push((name, field.value.clone()));
            } else {
                let message = format!("field `{name}` cannot be added");
                let path = format!("{path}.response_headers_to_add");
                self.refuse(Some(node), &path, &message, "write a plain value");
            }
        }
        out
    }
}

/// Where the filter stands: behind policies if it is put before what follows them.
fn stage(patch: &EnvoyConfigObjectPatch, operation: PatchOperation) -> LimitStage {
    let listener = patch.match_.as_ref().and_then(|m| m.listener.as_ref());
    let chain = listener.and_then(|l| l.get("filterChain")?.get("filter"));
    let other = chain.and_then(|f| text(f.get("subFilter")?, "name"));
    let late = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or_default();
        matches!(last, "router" | "fault" | "cors" | "grpc_web")
            || (operation == PatchOperation::InsertAfter && matches!(last, "rbac" | "jwt_authn"))
    };
    match other {
        Some(name) if operation != PatchOperation::InsertFirst && late(name) => LimitStage::Routed,
        _ => LimitStage::First,
    }
}

/// Envoy takes no status below 400 (`local_ratelimit.cc`).
fn status(config: &LocalRateLimit) -> u16 {
    let code = config
        .status
        .as_ref()
        .and_then(|status| status.code.as_ref());
    let code = code.and_then(|code| match code {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::Name(name) if name == "TooManyRequests" => Some(429),
        IntOrString::Name(name) if name == "ServiceUnavailable" => Some(503),
        IntOrString::Name(_) => None,
    });
    code.filter(|code| (400..=599).contains(code))
        .unwrap_or(429)
}

fn share(share: Option<&RuntimeShare>) -> Ppm {
    let Some(Share {
        numerator,
        denominator,
    }) = share.and_then(|share| share.default_value.as_ref())
    else {
        return Ppm(0);
    };
    let parts = match denominator {
        Denominator::Hundred => 10_000,
        Denominator::TenThousand => 100,
        Denominator::Million => 1,
    };
    Ppm(numerator.saturating_mul(parts).min(Ppm::ALL.0))
}

fn type_of(node: &Node) -> Option<&str> {
    text(node, "@type")
}

fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::scalar)
}

fn number(node: &Node, key: &str) -> Option<u16> {
    text(node, key).and_then(|text| text.parse().ok())
}

fn without_type(node: &Node) -> Node {
    let mut node = node.clone();
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|entry| &*entry.key != "@type");
    }
    node
}
