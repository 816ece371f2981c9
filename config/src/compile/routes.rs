//! Rules become routes: one per match block that concerns this server, up to the first that
//! catches all. Istio `pilot/pkg/networking/core/route/route.go`
//! (`BuildHTTPRoutesForVirtualService`).

use super::actions;
use super::clusters::Asker;
use super::delegates::{self, Rule};
use super::draft::Draft;
use super::matches::catches_all;
use crate::api::VirtualService;
use crate::api::virtual_service::{Destination, HttpMatchRequest};
use crate::diag::codes;
use crate::ir::{Action, HeaderOps, Matcher, PathMatch, Route};
use crate::resource::Resource;
use crate::view::View;
use crate::world::{Named, Typed, gateway_name};

/// The server that asks for routes.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'w> {
    /// Its Gateway.
    pub gateway: &'w Named,
    /// Declared port.
    pub port: u16,
    /// Clients come by TLS.
    pub tls: bool,
}

/// Routes of a VirtualService on a server.
pub(super) fn routes<'w>(
    draft: &mut Draft<'w>,
    service: Typed<'w, VirtualService>,
    at: At<'_>,
) -> Vec<Route> {
    let rules = delegates::rules(draft, service);
    let mut out = Vec::new();
    for rule in rules.iter() {
        let blocks: Vec<Option<(usize, &HttpMatchRequest)>> = match rule.http.match_.as_slice() {
            [] => vec![None],
            blocks => blocks.iter().enumerate().map(Some).collect(),
        };
        for block in blocks {
            if block.is_some_and(|(_, block)| !concerns(draft.view, service.resource, block, at)) {
                continue;
            }
            let route = route(draft, rule, block, at);
            let last = catches_all(&route.matcher);
            out.push(route);
            if last {
                return out;
            }
        }
    }
    out
}

/// Whether a VirtualService has different routes on different servers: by a match on port or
/// gateway, by a redirect (its port), or by a destination that takes the server's port.
pub(super) fn depend_on_server<'w>(
    draft: &mut Draft<'w>,
    service: Typed<'w, VirtualService>,
) -> bool {
    let takes_port = |to: Option<&Destination>| to.is_some_and(|to| to.port.is_none());
    delegates::rules(draft, service).iter().any(|rule| {
        let http = &*rule.http;
        let routes = http.route.iter().map(|to| to.destination.as_ref());
        let copies = http.mirrors.iter().map(|to| to.destination.as_ref());
        http.redirect.is_some()
            || http
                .match_
                .iter()
                .any(|m| m.port != 0 || !m.gateways.is_empty())
            || routes
                .chain(copies)
                .chain([http.mirror.as_ref()])
                .any(takes_port)
    })
}

/// Whether the static conditions of a block hold: port, gateways, and who the proxy is.
fn concerns(view: &View, root: &Resource, block: &HttpMatchRequest, at: At<'_>) -> bool {
    if block.port != 0 && block.port != u32::from(at.port) {
        return false;
    }
    if !block.gateways.is_empty() {
        let named = |g: &String| gateway_name(g, &root.meta.namespace) == *at.gateway;
        return block.gateways.iter().any(named);
    }
    view.selected_by(&block.source_labels)
        && (block.source_namespace.is_empty() || block.source_namespace == view.namespace)
}

fn route<'w>(
    draft: &mut Draft<'w>,
    rule: &Rule<'w>,
    block: Option<(usize, &HttpMatchRequest)>,
    at: At<'_>,
) -> Route {
    let http = &*rule.http;
    // a merged match is in neither text: its rule is
    let path = match block {
        Some((index, _)) if matches!(rule.http, std::borrow::Cow::Borrowed(_)) => {
            format!("{}.match[{index}]", rule.path)
        }
        _ => rule.path.clone(),
    };
    let name = match block.map(|(_, block)| block.name.as_str()) {
        None | Some("") => http.name.clone(),
        Some(block) => format!("{}.{block}", http.name),
    };
    let mut route = Route {
        name,
        origin: draft.world.origin(rule.resource, path),
        matcher: Matcher::default(),
        action: Action::Fail {
            status: BROKEN,
            why: String::new(),
        },
        headers: HeaderOps::default(),
        fault: None,
        cors: None,
    };
    let matcher = block.map_or_else(
        || Ok(Matcher::default()),
        |(_, block)| draft.regexes.matcher(block),
    );
    match matcher {
        Ok(matcher) => route.matcher = matcher,
        Err(why) => {
            // which requests were meant is not known: the rule takes none
            route.matcher.path = PathMatch::Regex(NOTHING.to_owned());
            return broken(draft, rule, route, &format!("{}.match", rule.path), why);
        }
    }
    let asker = Asker {
        resource: rule.resource,
        namespace: &rule.resource.meta.namespace,
        server_port: at.port,
    };
    match actions::fill(draft, &mut route, http, asker, &rule.path, at.tls) {
        Ok(()) => route,
        Err(why) => broken(draft, rule, route, &rule.path, why),
    }
}

/// Status of a rule that cannot be carried out.
const BROKEN: u16 = 500;
/// A regex without a match.
const NOTHING: &str = r"[^\s\S]";

fn broken(draft: &mut Draft<'_>, rule: &Rule<'_>, route: Route, path: &str, why: String) -> Route {
    let message = format!("the rule is broken and answers {BROKEN}: {why}");
    draft.report(codes::SP0402, rule.resource, path, message);
    Route {
        action: Action::Fail {
            status: BROKEN,
            why,
        },
        headers: HeaderOps::default(),
        fault: None,
        cors: None,
        ..route
    }
}
