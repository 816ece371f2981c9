//! What a route does: forward, redirect, answer; with fault, CORS and header operations.

use super::headers::written;
use super::retries;
use super::routes::redirect_code;
use super::values::{any, duration, flag, limit, number, regex, runtime_share, share, value};
use sallyport_config::ir::{
    AbortStatus, Action, ClusterRef, Cors, DirectResponse, Fault, Forward, Mirror, PathMatch,
    PathRewrite, Redirect, RedirectPort, Route as Rule, Snapshot, Target,
};
use sallyport_wire::envoy::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction, Route, RouteAction, WeightedCluster, redirect_action,
    route, route_action, weighted_cluster,
};
use sallyport_wire::envoy::envoy::extensions::filters::common::fault::v3::{
    FaultDelay, fault_delay::FaultDelaySecifier,
};
use sallyport_wire::envoy::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use sallyport_wire::envoy::envoy::extensions::filters::http::fault::v3::{
    FaultAbort, HttpFault, fault_abort::ErrorType,
};
use sallyport_wire::envoy::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;

/// Name of the filter that injects faults.
pub(super) const FAULT: &str = "envoy.filters.http.fault";
/// Name of the filter that answers preflights.
pub(super) const CORS: &str = "envoy.filters.http.cors";

/// Fills in everything behind the matcher.
pub(super) fn fill(snapshot: &Snapshot, rule: &Rule, out: &mut Route) {
    out.request_headers_to_remove
        .clone_from(&rule.headers.request.remove);
    out.request_headers_to_add = written(&rule.headers.request);
    out.response_headers_to_remove
        .clone_from(&rule.headers.response.remove);
    out.response_headers_to_add = written(&rule.headers.response);
    let mut filter = |name: &str, config| {
        out.typed_per_filter_config.insert(name.to_owned(), config);
    };
    if let Some(injected) = &rule.fault {
        filter(FAULT, any(&fault(injected)));
    }
    if let Some(policy) = &rule.cors {
        filter(CORS, any(&cors(policy)));
    }
    out.action = Some(match &rule.action {
        Action::Forward(to) => route::Action::Route(forward(snapshot, &rule.matcher.path, to)),
        Action::Redirect(to) => route::Action::Redirect(redirect(to)),
        Action::Direct(answer) => route::Action::DirectResponse(direct(answer)),
        Action::Fail { status, .. } => route::Action::DirectResponse(DirectResponseAction {
            status: u32::from(*status),
            ..DirectResponseAction::default()
        }),
    });
}

/// Name of a destination, whether it exists or not.
fn name(snapshot: &Snapshot, cluster: &ClusterRef) -> String {
    match cluster {
        ClusterRef::Known(id) => super::cluster_name(snapshot, *id),
        ClusterRef::Missing(name) => name.clone(),
    }
}

fn forward(snapshot: &Snapshot, matched: &PathMatch, forward: &Forward) -> RouteAction {
    let authority = match (&forward.rewrite.authority, forward.targets.as_slice()) {
        (Some(authority), _) => Some(authority.clone()),
        // of several destinations each has its own
        (None, [only]) => only.authority.clone(),
        (None, _) => None,
    };
    #[expect(
        deprecated,
        reason = "the only field that caps a client's own grpc-timeout by the rule's"
    )]
    let mut action = RouteAction {
        timeout: limit(forward.timeout),
        max_grpc_timeout: limit(forward.timeout),
        retry_policy: retries::policy(&forward.retry),
        request_mirror_policies: forward
            .mirrors
            .iter()
            .map(|m| mirror(snapshot, m))
            .collect(),
        hash_policy: hashed(snapshot, &forward.targets),
        append_x_forwarded_host: snapshot.settings.x_forwarded_host,
        host_rewrite_specifier: authority
            .map(route_action::HostRewriteSpecifier::HostRewriteLiteral),
        cluster_specifier: Some(destinations(snapshot, &forward.targets)),
        ..RouteAction::default()
    };
    match &forward.rewrite.path {
        None => {}
        Some(PathRewrite::Prefix { to, .. }) => action.prefix_rewrite.clone_from(to),
        Some(PathRewrite::Regex { pattern, to }) => {
            action.regex_rewrite = Some(substitution(pattern, to));
        }
        Some(PathRewrite::Full(to)) => match matched {
            // what matched is the whole path already
            PathMatch::Exact { .. } | PathMatch::Regex(_) => action.prefix_rewrite.clone_from(to),
            PathMatch::Any | PathMatch::Prefix { .. } => {
                let literal = to.replace('\\', "\\\\");
                action.regex_rewrite = Some(substitution("^.*$", &literal));
            }
        },
    }
    action
}

/// What is hashed: as the first destination that is balanced by hashes wants it.
fn hashed(snapshot: &Snapshot, targets: &[Target]) -> Vec<route_action::HashPolicy> {
    let clusters = targets.iter().filter_map(|target| match target.cluster {
        ClusterRef::Known(id) => super::find_cluster(snapshot, id),
        ClusterRef::Missing(_) => None,
    });
    let mut policies = clusters.map(|c| super::traffic::of_request(&c.balance));
    policies.find(|p| !p.is_empty()).unwrap_or_default()
}

fn substitution(pattern: &str, to: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(regex(pattern)),
        substitution: to.to_owned(),
    }
}

fn destinations(snapshot: &Snapshot, targets: &[Target]) -> route_action::ClusterSpecifier {
    if let [only] = targets {
        return route_action::ClusterSpecifier::Cluster(name(snapshot, &only.cluster));
    }
    let weighted = |target: &Target| weighted_cluster::ClusterWeight {
        name: name(snapshot, &target.cluster),
        weight: number(target.weight),
        request_headers_to_add: written(&target.headers.request),
        request_headers_to_remove: target.headers.request.remove.clone(),
        response_headers_to_add: written(&target.headers.response),
        response_headers_to_remove: target.headers.response.remove.clone(),
        host_rewrite_specifier: target
            .authority
            .clone()
            .map(weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..weighted_cluster::ClusterWeight::default()
    };
    route_action::ClusterSpecifier::WeightedClusters(WeightedCluster {
        clusters: targets.iter().map(weighted).collect(),
        ..WeightedCluster::default()
    })
}

fn mirror(snapshot: &Snapshot, mirror: &Mirror) -> route_action::RequestMirrorPolicy {
    route_action::RequestMirrorPolicy {
        cluster: name(snapshot, &mirror.cluster),
        runtime_fraction: Some(runtime_share(mirror.share)),
        trace_sampled: flag(false),
        disable_shadow_host_suffix_append: true,
        ..route_action::RequestMirrorPolicy::default()
    }
}

fn redirect(redirect: &Redirect) -> RedirectAction {
    use redirect_action::{PathRewriteSpecifier, SchemeRewriteSpecifier};
    let path = redirect.path.as_ref().map(|path| match path {
        PathRewrite::Full(path) => PathRewriteSpecifier::PathRedirect(path.clone()),
        PathRewrite::Prefix { to, .. } => PathRewriteSpecifier::PrefixRewrite(to.clone()),
        PathRewrite::Regex { pattern, to } => {
            PathRewriteSpecifier::RegexRewrite(substitution(pattern, to))
        }
    });
    RedirectAction {
        host_redirect: redirect.authority.clone().unwrap_or_default(),
        port_redirect: match (redirect.port, redirect.scheme.as_deref()) {
            (RedirectPort::Number(port), _) => u32::from(port),
            // Envoy cannot take a port away: it says the one that is meant
            (RedirectPort::Default, Some("https")) => 443,
            (RedirectPort::Default, Some("http")) => 80,
            (RedirectPort::Keep | RedirectPort::Default, _) => 0,
        },
        response_code: redirect_code(redirect.status).into(),
        strip_query: false,
        scheme_rewrite_specifier: redirect
            .scheme
            .clone()
            .map(SchemeRewriteSpecifier::SchemeRedirect),
        path_rewrite_specifier: path,
    }
}

fn direct(answer: &DirectResponse) -> DirectResponseAction {
    let body = (!answer.body.is_empty()).then(|| super::values::bytes(&answer.body));
    DirectResponseAction {
        status: u32::from(answer.status),
        body,
        ..DirectResponseAction::default()
    }
}

fn fault(fault: &Fault) -> HttpFault {
    let delay = fault.delay.as_ref().map(|delay| FaultDelay {
        percentage: Some(share(delay.share)),
        fault_delay_secifier: duration(delay.duration).map(FaultDelaySecifier::FixedDelay),
    });
    let abort = fault.abort.as_ref().map(|abort| FaultAbort {
        percentage: Some(share(abort.share)),
        error_type: Some(match abort.status {
            AbortStatus::Http(status) => ErrorType::HttpStatus(u32::from(status)),
            AbortStatus::Grpc(status) => ErrorType::GrpcStatus(u32::from(status)),
        }),
        ..FaultAbort::default()
    });
    HttpFault {
        delay,
        abort,
        ..HttpFault::default()
    }
}

fn cors(policy: &Cors) -> CorsPolicy {
    let origins = policy.allow_origins.iter();
    let any_origin = || super::values::full(".*");
    CorsPolicy {
        allow_origin_string_match: origins
            .map(|origin| value(origin).unwrap_or_else(any_origin))
            .collect(),
        allow_methods: policy.allow_methods.clone(),
        allow_headers: policy.allow_headers.clone(),
        expose_headers: policy.expose_headers.clone(),
        max_age: policy
            .max_age_seconds
            .map(|seconds| seconds.to_string())
            .unwrap_or_default(),
        allow_credentials: flag(policy.allow_credentials),
        filter_enabled: Some(runtime_share(sallyport_config::ir::Ppm::ALL)),
        forward_not_matching_preflights: flag(policy.forward_unmatched_preflights),
        ..CorsPolicy::default()
    }
}
