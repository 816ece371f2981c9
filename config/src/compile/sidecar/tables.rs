//! HTTP hosts of a port: services with the rules of the VirtualService for them, or without.
//!
//! Istio `pilot/pkg/networking/core/route/route.go` (`BuildSidecarVirtualHostWrapper`) and
//! `httproute.go` (`generateVirtualHostDomains`): of several VirtualServices for a host the one of
//! the most specific host counts, then the first; they are not merged as at a gateway.

use super::super::draft::Draft;
use super::super::hosts::of_service;
use super::super::retries;
use super::super::routes::{At, routes};
use super::super::tables::Table;
use super::outbound::{addresses, itself, mesh};
use super::rules::Rules;
use crate::api::VirtualService;
use crate::ir::{
    Action, Forward, HeaderOps, HostPattern, Matcher, Rewrite, Route, RouteTableId, Target,
};
use crate::view::SidecarView;
use crate::world::{Service, ServicePort, Typed};
use std::collections::HashSet;

/// Port on which rules for hosts that no service has are asked, too.
const UNKNOWN_HOSTS: u16 = 80;

/// A port of a service that is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called<'w> {
    pub(super) service: &'w Service,
    pub(super) port: &'w ServicePort,
}

/// The table of a port that these services share.
pub(super) fn shared<'w>(
    draft: &mut Draft<'w>,
    view: &SidecarView,
    rules: &Rules<'w>,
    port: u16,
    called: &[Called<'w>],
) -> RouteTableId {
    let mut table = Table::new(port.to_string());
    let ruled = fill(draft, view, rules, port, called, &mut table);
    if port == UNKNOWN_HOSTS {
        for rule in rules.all() {
            let asked = ruled.contains(&std::ptr::from_ref(rule.spec).addr());
            if !asked && !rule.spec.http.is_empty() {
                unknown(draft, &mut table, rule, port);
            }
        }
    }
    draft.tables.add(table)
}

/// The table of a service that has a socket of its own.
pub(super) fn own<'w>(
    draft: &mut Draft<'w>,
    view: &SidecarView,
    rules: &Rules<'w>,
    called: Called<'w>,
) -> RouteTableId {
    let port = called.port.number;
    let mut table = Table::new(format!("{}:{port}", called.service.host));
    fill(draft, view, rules, port, &[called], &mut table);
    draft.tables.add(table)
}

/// Adds the hosts of services; the rules that were theirs, by address.
fn fill<'w>(
    draft: &mut Draft<'w>,
    view: &SidecarView,
    rules: &Rules<'w>,
    port: u16,
    called: &[Called<'w>],
    table: &mut Table,
) -> HashSet<usize> {
    let mut ruled = HashSet::new();
    for one in called {
        let rule = rules.http(&one.service.host);
        let found = rule.map(|rule| {
            ruled.insert(std::ptr::from_ref(rule.spec).addr());
            of_rule(draft, rule, port)
        });
        let list = match found {
            Some(list) if !list.is_empty() => list,
            _ => vec![default(draft, *one)],
        };
        let list = draft.tables.list(list);
        for domain in domains(one.service, view) {
            let host = table.host(domain);
            // a short name belongs to the first that has it
            if host.lists.is_empty() {
                host.lists.push(list);
            }
        }
    }
    ruled
}

/// Hosts of a rule that no service has.
fn unknown<'w>(
    draft: &mut Draft<'w>,
    table: &mut Table,
    rule: Typed<'w, VirtualService>,
    port: u16,
) {
    let list = of_rule(draft, rule, port);
    if list.is_empty() {
        return;
    }
    let list = draft.tables.list(list);
    for host in of_service(rule, &draft.world.domain_suffix) {
        let host = table.host(HostPattern::parse(&host));
        if host.lists.is_empty() {
            host.lists.push(list);
        }
    }
}

fn of_rule<'w>(draft: &mut Draft<'w>, rule: Typed<'w, VirtualService>, port: u16) -> Vec<Route> {
    let gateway = mesh(rule);
    let at = At {
        gateway: &gateway,
        port,
        tls: false,
    };
    routes(draft, rule, at)
}

/// Everything to the service itself.
fn default(draft: &mut Draft<'_>, called: Called<'_>) -> Route {
    let cluster = itself(draft, called);
    let target = Target {
        cluster,
        weight: 1,
        headers: HeaderOps::default(),
        authority: None,
    };
    let mesh = draft.world.mesh.default_http_retry_policy.as_ref();
    Route {
        name: "default".to_owned(),
        origin: draft
            .world
            .origin(&called.service.resource, "spec".to_owned()),
        matcher: Matcher::default(),
        action: Action::Forward(Box::new(Forward {
            targets: vec![target],
            rewrite: Rewrite::default(),
            timeout: None,
            retry: retries::policy(None, mesh),
            mirrors: Vec::new(),
        })),
        headers: HeaderOps::default(),
        fault: None,
        cors: None,
    }
}

/// Names under which a workload calls a service: in full, with a last dot, as short as its own
/// namespace allows, and by address.
fn domains(service: &Service, view: &SidecarView) -> Vec<HostPattern> {
    let workload = &view.workload;
    let mut names = vec![service.host.to_string()];
    if !service.host.starts_with('*') {
        names.push(format!("{}.", service.host));
    }
    let tail = format!(".{}.svc.{}", service.namespace, workload.domain_suffix);
    if let Some(name) = service.host.strip_suffix(tail.as_str()) {
        let namespace = &*service.namespace;
        if namespace == workload.namespace {
            names.push(name.to_owned());
        }
        names.push(format!("{name}.{namespace}"));
        names.push(format!("{name}.{namespace}.svc"));
    }
    let addresses = addresses(service).into_iter();
    // where nothing is redirected they are never called
    let shown = addresses.filter(|a| view.ports.is_none() && a.is_ipv4());
    names.extend(shown.map(|address| address.to_string()));
    names.iter().map(|name| HostPattern::parse(name)).collect()
}
