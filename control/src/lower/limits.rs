//! Rate limits as `local_ratelimit` filters, one for each.
//!
//! A limit of routes is a filter that is off, and on those routes on. What has a bucket of its own is
//! a descriptor with a blank value, of which Envoy keeps one for each value that comes.

use super::http::filter;
use super::matches::{JWT, PAYLOAD, header_text};
use super::values::{any, duration, flag, full, number, quoted, runtime_share, wildcard};
use sallyport_config::ir::{
    HostPattern, Limit, LimitKey, LimitStage, Millis, PolicyCondition, PolicyTest, Route, Snapshot,
    TextOf,
};
use sallyport_wire::envoy::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use sallyport_wire::envoy::envoy::config::route::v3::rate_limit::action::{
    ActionSpecifier, HeaderValueMatch, MaskedRemoteAddress, MetaData, RequestHeaders,
    meta_data::Source,
};
use sallyport_wire::envoy::envoy::config::route::v3::{
    HeaderMatcher, RateLimit, rate_limit::Action,
};
use sallyport_wire::envoy::envoy::extensions::common::ratelimit::v3::{
    LocalRateLimitDescriptor, rate_limit_descriptor::Entry,
};
use sallyport_wire::envoy::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use sallyport_wire::envoy::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use sallyport_wire::envoy::envoy::r#type::metadata::v3::{
    MetadataKey,
    metadata_key::{PathSegment, path_segment::Segment},
};
use sallyport_wire::envoy::envoy::r#type::v3::{HttpStatus, TokenBucket};
use sallyport_wire::envoy::google::protobuf::Any;

/// Name of the HTTP filter; each limit adds its own to it.
const HTTP: &str = "envoy.filters.http.local_ratelimit";
/// What says that a condition holds.
const HOLDS: &str = "1";

/// Filters of a stage, in order; `port` is where the connections come in.
pub(super) fn filters(snapshot: &Snapshot, stage: LimitStage, port: u16) -> Vec<HttpFilter> {
    let limits = snapshot.limits.iter();
    let limits = limits.filter(|l| l.stage == stage && is_at(l, port));
    let one = |limit: &Limit| {
        let config = if limit.routes.is_empty() {
            config(limit)?
        } else {
            LocalRateLimit {
                stat_prefix: stat(limit),
                ..LocalRateLimit::default()
            }
        };
        Some(filter(&name(limit), &config))
    };
    limits.filter_map(one).collect()
}

/// What a route says to the filters of its limits.
pub(super) fn of_route(snapshot: &Snapshot, route: &Route) -> Vec<(String, Any)> {
    let limits = snapshot.limits.iter();
    let own = limits.filter(|limit| !limit.routes.is_empty() && limit.is_of(route));
    own.filter_map(|limit| Some((name(limit), any(&config(limit)?))))
        .collect()
}

fn name(limit: &Limit) -> String {
    format!("{HTTP}/{}", limit.name)
}

fn stat(limit: &Limit) -> String {
    limit.name.replace(['/', '.'], "_")
}

/// Whether requests that come in at a port may count.
fn is_at(limit: &Limit, port: u16) -> bool {
    limit.when.iter().all(|condition| match &condition.test {
        PolicyTest::Port(ports) => ports.contains(&port) != condition.negated,
        _ => true,
    })
}

/// A limit as Envoy has it; none if Envoy cannot tell what counts.
fn config(limit: &Limit) -> Option<LocalRateLimit> {
    let status = (limit.status != 429).then(|| HttpStatus {
        code: i32::from(limit.status),
    });
    let plain = LocalRateLimit {
        stat_prefix: stat(limit),
        status,
        token_bucket: Some(bucket(limit)),
        filter_enabled: Some(runtime_share(limit.enabled)),
        filter_enforced: Some(runtime_share(limit.enforced)),
        response_headers_to_add: limit.headers.iter().map(added).collect(),
        rate_limited_as_resource_exhausted: limit.exhausted,
        enable_retry_after_header: limit.told.is_some(),
        ..LocalRateLimit::default()
    };
    let ways = ways(limit)?;
    if let [only] = ways.as_slice()
        && only.is_empty()
    {
        return Some(plain);
    }
    let descriptor = |way: &Vec<Part>| LocalRateLimitDescriptor {
        entries: way.iter().map(|part| part.entry.clone()).collect(),
        token_bucket: Some(bucket(limit)),
        ..LocalRateLimitDescriptor::default()
    };
    let actions = |way: Vec<Part>| RateLimit {
        actions: way.into_iter().map(Part::action).collect(),
        ..RateLimit::default()
    };
    Some(LocalRateLimit {
        descriptors: ways.iter().map(descriptor).collect(),
        rate_limits: ways.into_iter().map(actions).collect(),
        // whatever has no descriptor does not count
        token_bucket: Some(TokenBucket {
            max_tokens: u32::MAX,
            tokens_per_fill: number(u32::MAX),
            fill_interval: duration(Millis(1_000)),
        }),
        always_consume_default_token_bucket: flag(false),
        max_dynamic_descriptors: number(limit.keys_max),
        ..plain
    })
}

fn bucket(limit: &Limit) -> TokenBucket {
    TokenBucket {
        max_tokens: limit.rate.burst,
        tokens_per_fill: number(limit.rate.tokens),
        fill_interval: duration(limit.rate.interval),
    }
}

fn added((name, value): &(String, String)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.clone(),
            value: value.clone(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }
}

/// An entry of a descriptor, and how it comes about.
#[derive(Clone)]
struct Part {
    entry: Entry,
    specifier: ActionSpecifier,
}

impl Part {
    fn action(self) -> Action {
        Action {
            action_specifier: Some(self.specifier),
        }
    }

    /// There if headers match, or if they do not.
    fn when(key: &str, header: HeaderMatcher, holds: bool) -> Self {
        Self {
            entry: entry(key, HOLDS),
            specifier: ActionSpecifier::HeaderValueMatch(HeaderValueMatch {
                descriptor_key: key.to_owned(),
                descriptor_value: HOLDS.to_owned(),
                expect_match: flag(holds),
                headers: vec![header],
                ..HeaderValueMatch::default()
            }),
        }
    }

    /// The value of a header; without it there is no descriptor.
    fn header(name: &str) -> Self {
        Self {
            entry: entry(name, ""),
            specifier: ActionSpecifier::RequestHeaders(RequestHeaders {
                header_name: name.to_owned(),
                descriptor_key: name.to_owned(),
                skip_if_absent: false,
            }),
        }
    }
}

fn entry(key: &str, value: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// The descriptors by which a request counts, each as its parts. More than one where what is missing
/// is a value of its own.
fn ways(limit: &Limit) -> Option<Vec<Vec<Part>>> {
    let mut common = Vec::new();
    if !limit.hosts.is_empty() {
        common.push(Part::when("host", hosts(&limit.hosts), true));
    }
    for (index, condition) in limit.when.iter().enumerate() {
        common.extend(part(index, condition)?);
    }
    let mut ways = vec![common];
    for key in &limit.key {
        match key {
            LimitKey::Client => add(&mut ways, &client()),
            LimitKey::Host => add(&mut ways, &Part::header(":authority")),
            // each route has buckets of its own
            LimitKey::Route if !limit.routes.is_empty() => {}
            LimitKey::Route => return None,
            LimitKey::Header(name) => {
                let mut without = ways.clone();
                add(&mut ways, &Part::header(name));
                let absent =
                    Part::when(&format!("no {name}"), header_text(name, full(".*")), false);
                add(&mut without, &absent);
                ways.append(&mut without);
            }
            LimitKey::Claim(path) => add(&mut ways, &claim(path)),
        }
    }
    Some(ways)
}

fn add(ways: &mut [Vec<Part>], part: &Part) {
    ways.iter_mut().for_each(|way| way.push(part.clone()));
}

/// What says that a condition holds; nothing where the filter's place says it. `None`: Envoy cannot.
fn part(index: usize, condition: &PolicyCondition) -> Option<Option<Part>> {
    match &condition.test {
        PolicyTest::Port(_) => Some(None),
        PolicyTest::Text(TextOf::Header(name), texts) => {
            let [text] = texts.as_slice() else {
                return None;
            };
            let header = header_text(name, wildcard(text));
            let key = format!("when {index}");
            Some(Some(Part::when(&key, header, !condition.negated)))
        }
        _ => None,
    }
}

fn hosts(hosts: &[HostPattern]) -> HeaderMatcher {
    let one = |host: &HostPattern| match host {
        HostPattern::Exact(name) => quoted(name),
        HostPattern::Suffix(suffix) => format!(".+{}", quoted(suffix)),
        HostPattern::Any => ".*".to_owned(),
    };
    let hosts: Vec<String> = hosts.iter().map(one).collect();
    let pattern = format!("(?i)({})(:[0-9]+)?", hosts.join("|"));
    header_text(":authority", full(&pattern))
}

fn client() -> Part {
    Part {
        entry: entry("masked_remote_address", ""),
        specifier: ActionSpecifier::MaskedRemoteAddress(MaskedRemoteAddress {
            v4_prefix_mask_len: number(32),
            v6_prefix_mask_len: number(64),
        }),
    }
}

fn claim(path: &[String]) -> Part {
    let name = format!("claim {}", path.join("."));
    let segment = |key: &str| PathSegment {
        segment: Some(Segment::Key(key.to_owned())),
    };
    let path = std::iter::once(PAYLOAD).chain(path.iter().map(String::as_str));
    Part {
        entry: entry(&name, ""),
        specifier: ActionSpecifier::Metadata(MetaData {
            descriptor_key: name,
            metadata_key: Some(MetadataKey {
                key: JWT.to_owned(),
                path: path.map(segment).collect(),
            }),
            default_value: "-".to_owned(),
            source: Source::Dynamic.into(),
            ..MetaData::default()
        }),
    }
}
