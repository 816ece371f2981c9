//! `DestinationRule`: the host, its subsets, and where traffic policies stand.

use std::collections::HashSet;

use super::{Path, Scope, health, outlier, policy, tls, traffic, words};
use crate::api::DestinationRule;
use crate::api::destination_rule::TrafficPolicy;
use crate::diag::codes;

/// Most `portLevelSettings` of a policy.
const MAX_PORTS: usize = 4096;

pub(super) fn check(spec: &DestinationRule, scope: &mut Scope<'_>) {
    health::check(scope);
    let root = Path::root("spec");
    if spec.host.is_empty() {
        scope.error(&root, "`host` is missing", "name the service");
    } else if !words::is_ip(&spec.host) {
        scope.judge(&root.field("host"), words::wildcard_host(&spec.host), "");
    }
    policy::export_to(&spec.export_to, &root, scope);
    if let Some(selector) = &spec.workload_selector {
        policy::labels(
            &selector.match_labels,
            &root.field("workloadSelector.matchLabels"),
            scope,
        );
    }
    if let Some(traffic_policy) = &spec.traffic_policy {
        check_policy(traffic_policy, &root.field("trafficPolicy"), scope);
    }
    let mut names = HashSet::new();
    for (i, subset) in spec.subsets.iter().enumerate() {
        let at = root.item("subsets", i);
        if subset.name.is_empty() {
            scope.error(&at, "`name` of the subset is missing", "name it like v1");
        } else {
            scope.judge(&at.field("name"), words::label(&subset.name), "");
            if !names.insert(&subset.name) {
                scope.error(
                    &at.field("name"),
                    format!("subset `{}` is defined twice", subset.name),
                    "remove one of them",
                );
            }
        }
        policy::labels(&subset.labels, &at.field("labels"), scope);
        if subset.labels.is_empty() && !words::is_external(&spec.host) {
            scope.warn(
                &at,
                format!(
                    "subset `{}` has no labels and so is the whole service",
                    subset.name
                ),
                "add labels: {version: ...}",
            );
        }
        if let Some(traffic_policy) = &subset.traffic_policy {
            check_policy(traffic_policy, &at.field("trafficPolicy"), scope);
            sticky(spec, traffic_policy, &at, scope);
        }
    }
}

/// A subset's load balancer replaces the consistent hash of the rule as a whole.
fn sticky(spec: &DestinationRule, own: &TrafficPolicy, at: &Path<'_>, scope: &mut Scope<'_>) {
    let outer = spec
        .traffic_policy
        .as_ref()
        .and_then(|p| p.load_balancer.as_ref());
    let hashed = outer.is_some_and(|lb| lb.consistent_hash.is_some());
    if hashed
        && own
            .load_balancer
            .as_ref()
            .is_some_and(|lb| lb.consistent_hash.is_none())
    {
        let message = "the subset's load balancer replaces the consistent hash of the rule, so its requests are not sticky";
        let help = "remove `loadBalancer` of the subset, or repeat `consistentHash` there";
        scope.note(
            codes::SP0303,
            &at.field("trafficPolicy.loadBalancer"),
            message,
            help,
        );
    }
}

fn check_policy(policy: &TrafficPolicy, at: &Path<'_>, scope: &mut Scope<'_>) {
    let ejects = policy.outlier_detection.is_some();
    if let Some(lb) = &policy.load_balancer {
        traffic::load_balancer(lb, ejects, &at.field("loadBalancer"), scope);
    }
    if let Some(pool) = &policy.connection_pool {
        traffic::connection_pool(pool, &at.field("connectionPool"), scope);
    }
    if let Some(detection) = &policy.outlier_detection {
        outlier::check(detection, &at.field("outlierDetection"), scope);
    }
    if let Some(settings) = &policy.tls {
        tls::client(settings, &at.field("tls"), scope);
    }
    if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
        scope.error(
            &at.field("proxyProtocol"),
            "only one of `tunnel` and `proxyProtocol` may be set",
            "keep one of them",
        );
    }
    tunnel(policy, at, scope);
    if let Some(budget) = &policy.retry_budget
        && let Some(percent) = budget.percent
    {
        scope.judge(
            &at.field("retryBudget.percent"),
            words::percentage(percent),
            "",
        );
    }
    if policy.port_level_settings.len() > MAX_PORTS {
        let message = format!(
            "{} ports, {MAX_PORTS} are allowed",
            policy.port_level_settings.len()
        );
        scope.error(&at.field("portLevelSettings"), message, "");
    }
    let mut ports = HashSet::new();
    for (i, settings) in policy.port_level_settings.iter().enumerate() {
        let at = at.item("portLevelSettings", i);
        match &settings.port {
            None => scope.error(&at, "`port` is missing", "add port: {number: ...}"),
            Some(port) => {
                scope.judge(&at.field("port.number"), words::port(port.number), "");
                if !ports.insert(port.number) {
                    scope.warn(
                        &at.field("port.number"),
                        format!(
                            "port {} has settings twice; the first ones count",
                            port.number
                        ),
                        "remove one of them",
                    );
                }
            }
        }
        let ejects = settings.outlier_detection.is_some();
        if let Some(lb) = &settings.load_balancer {
            traffic::load_balancer(lb, ejects, &at.field("loadBalancer"), scope);
        }
        if let Some(pool) = &settings.connection_pool {
            traffic::connection_pool(pool, &at.field("connectionPool"), scope);
        }
        if let Some(detection) = &settings.outlier_detection {
            outlier::check(detection, &at.field("outlierDetection"), scope);
        }
        if let Some(settings) = &settings.tls {
            tls::client(settings, &at.field("tls"), scope);
        }
    }
}

fn tunnel(policy: &TrafficPolicy, at: &Path<'_>, scope: &mut Scope<'_>) {
    let Some(tunnel) = &policy.tunnel else { return };
    let at = at.field("tunnel");
    let known = matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST");
    scope.require(
        known,
        &at.field("protocol"),
        &format!("`{}` is not a way to tunnel", tunnel.protocol),
        "write CONNECT or POST",
    );
    if words::is_ip(&tunnel.target_host) {
        return scope.judge(&at.field("targetPort"), words::port(tunnel.target_port), "");
    }
    scope.judge(
        &at.field("targetHost"),
        words::fqdn(&tunnel.target_host),
        "",
    );
    scope.judge(&at.field("targetPort"), words::port(tunnel.target_port), "");
}
