//! Route tables: virtual hosts and their routes.

use super::matches::{not_https, route_match};
use super::values::{flag, number};
use super::{actions, limits};
use sallyport_config::ir::{Route as Rule, RouteTable, Snapshot, VirtualHost as Host};
use sallyport_wire::envoy::envoy::config::route::v3::{
    RedirectAction, Route, RouteConfiguration, RouteMatch, VirtualHost, redirect_action,
    redirect_action::RedirectResponseCode, route, route_match::PathSpecifier,
    virtual_host::TlsRequirementType,
};

/// Longest body of a direct response (`max_direct_response_body_size_bytes` as Istio sets it).
const LONGEST_BODY: u32 = 1024 * 1024;
/// What Envoy's own redirect to https answers.
const MOVED_PERMANENTLY: u16 = 301;

/// A route table.
pub(super) fn table(snapshot: &Snapshot, table: &RouteTable) -> RouteConfiguration {
    RouteConfiguration {
        name: table.name.clone(),
        virtual_hosts: table.hosts.iter().map(|h| host(snapshot, h)).collect(),
        // an unknown cluster is an answer of its rule, not of the table
        validate_clusters: flag(false),
        max_direct_response_body_size_bytes: number(LONGEST_BODY),
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
}

fn host(snapshot: &Snapshot, host: &Host) -> VirtualHost {
    let mut routes = Vec::with_capacity(host.routes.len() + 1);
    let mut require_tls = TlsRequirementType::None;
    match host.https_redirect {
        Some(MOVED_PERMANENTLY) => require_tls = TlsRequirementType::All,
        Some(status) => routes.push(to_https(status)),
        None => {}
    }
    routes.extend(host.routes.iter().map(|rule| rule_of(snapshot, rule)));
    let domains: Vec<String> = host.domains.iter().map(ToString::to_string).collect();
    VirtualHost {
        // unique in its table, since no two hosts have a pattern in common
        name: domains.first().cloned().unwrap_or_default(),
        domains,
        routes,
        require_tls: require_tls.into(),
        include_request_attempt_count: snapshot.settings.attempt_count,
        ..VirtualHost::default()
    }
}

/// Redirects what did not come by https, with a status that Envoy's own redirect does not have.
fn to_https(status: u16) -> Route {
    Route {
        r#match: Some(RouteMatch {
            headers: vec![not_https()],
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Redirect(RedirectAction {
            response_code: redirect_code(status).into(),
            scheme_rewrite_specifier: Some(redirect_action::SchemeRewriteSpecifier::HttpsRedirect(
                true,
            )),
            ..RedirectAction::default()
        })),
        ..Route::default()
    }
}

/// A redirect's status in Envoy's words.
pub(super) fn redirect_code(status: u16) -> RedirectResponseCode {
    match status {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    }
}

fn rule_of(snapshot: &Snapshot, rule: &Rule) -> Route {
    let mut route = Route {
        name: rule.name.clone(),
        r#match: Some(route_match(&rule.matcher)),
        ..Route::default()
    };
    actions::fill(snapshot, rule, &mut route);
    route
        .typed_per_filter_config
        .extend(limits::of_route(snapshot, rule));
    route
}
