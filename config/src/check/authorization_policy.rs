//! `AuthorizationPolicy`: a rule that says nothing, or something else than it seems to, is a hole.

use super::{Path, Scope, policy, words};
use crate::api::AuthorizationPolicy;
use crate::api::authorization_policy::{Action, Condition, Operation, Rule, Source};
use crate::diag::codes;
use crate::message::nearest;

/// Most rules of a policy.
const MAX_RULES: usize = 512;
/// Most service accounts of a source.
const MAX_ACCOUNTS: usize = 16;

/// Keys of `when` without brackets.
const KEYS: [&str; 14] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "request.headers[...]",
    "request.auth.claims[...]",
];

pub(super) fn check(spec: &AuthorizationPolicy, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    policy::selector(spec.selector.as_ref(), &root, scope);
    policy::targets(
        spec.selector.is_some(),
        spec.target_ref.as_ref(),
        &spec.target_refs,
        &root,
        scope,
    );
    action(spec, &root, scope);
    if spec.rules.len() > MAX_RULES {
        scope.error(
            &root.field("rules"),
            format!("{} rules, {MAX_RULES} are allowed", spec.rules.len()),
            "write a second policy",
        );
    }
    let custom = spec.action == Action::Custom;
    for (i, rule) in spec.rules.iter().enumerate() {
        let at = root.item("rules", i);
        for (j, from) in rule.from.iter().enumerate() {
            let at = at.item("from", j);
            match &from.source {
                Some(source) => check_source(source, custom, &at.field("source"), scope),
                None => scope.error(
                    &at,
                    "`source` is missing",
                    "write source: {...}, or remove the entry",
                ),
            }
        }
        for (j, to) in rule.to.iter().enumerate() {
            let at = at.item("to", j);
            match &to.operation {
                Some(operation) => check_operation(operation, &at.field("operation"), scope),
                None => scope.error(
                    &at,
                    "`operation` is missing",
                    "write operation: {...}, or remove the entry",
                ),
            }
        }
        for (j, condition) in rule.when.iter().enumerate() {
            check_condition(condition, custom, &at.item("when", j), scope);
        }
    }
    if spec.action == Action::Deny && spec.rules.iter().any(denies_tcp) {
        let message =
            "a DENY rule with attributes of HTTP only denies all traffic of TCP ports in its scope";
        scope.warn(
            &root.field("rules"),
            message,
            "add `ports` to the operation",
        );
    }
}

fn action(spec: &AuthorizationPolicy, root: &Path<'_>, scope: &mut Scope<'_>) {
    let name = spec.action.as_str();
    if matches!(spec.action, Action::Deny | Action::Custom | Action::Audit) && spec.rules.is_empty()
    {
        let help = "add rules; `rules: [{}]` matches every request";
        scope.error(
            root,
            format!("action {name} without rules matches nothing and so does nothing"),
            help,
        );
    }
    let provider = spec.provider.as_ref();
    if spec.action == Action::Custom {
        let named = provider.is_some_and(|p| !p.name.is_empty());
        scope.require(
            named,
            root,
            "action CUSTOM needs `provider.name`",
            "name an extensionProvider of the mesh configuration",
        );
    } else if provider.is_some() {
        scope.error(
            &root.field("provider"),
            format!("`provider` has no meaning with action {name}"),
            "set action: CUSTOM",
        );
    }
}

/// A rule whose conditions all vanish on TCP ports, where only HTTP's are asked for.
fn denies_tcp(rule: &Rule) -> bool {
    let http_source = |s: &Source| {
        let http = !s.request_principals.is_empty() || !s.not_request_principals.is_empty();
        let tcp = [
            &s.principals,
            &s.not_principals,
            &s.namespaces,
            &s.not_namespaces,
            &s.ip_blocks,
            &s.not_ip_blocks,
        ]
        .iter()
        .any(|l| !l.is_empty())
            || [
                &s.remote_ip_blocks,
                &s.not_remote_ip_blocks,
                &s.service_accounts,
                &s.not_service_accounts,
                &s.trust_domains,
            ]
            .iter()
            .any(|l| !l.is_empty());
        http && !tcp
    };
    let tcp_ports = |o: &Operation| !o.ports.is_empty() || !o.not_ports.is_empty();
    let http_when = |c: &Condition| c.key.starts_with("request.");
    let sources = rule.from.iter().filter_map(|f| f.source.as_ref());
    let operations = rule.to.iter().filter_map(|t| t.operation.as_ref());
    let from_http = rule.from.is_empty() || sources.clone().any(http_source);
    let to_http = rule.to.is_empty() || operations.clone().any(|o| !tcp_ports(o));
    let any = !rule.from.is_empty() || !rule.to.is_empty() || !rule.when.is_empty();
    any && from_http && to_http && rule.when.iter().all(http_when)
}

fn check_source(source: &Source, custom: bool, at: &Path<'_>, scope: &mut Scope<'_>) {
    let lists: [(&str, &Vec<String>); 14] = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
    ];
    if lists.iter().all(|(_, list)| list.is_empty()) {
        return scope.error(
            at,
            "the source is empty",
            "an empty source is not every source: remove the entry for that",
        );
    }
    for (name, list) in lists {
        not_empty(name, list, at, scope);
        let of_ip = name.to_ascii_lowercase().contains("ipblocks");
        for (i, block) in list
            .iter()
            .enumerate()
            .filter(|(_, b)| of_ip && !b.is_empty())
        {
            scope.judge(&at.item(name, i), words::ip_or_cidr(block), "");
        }
        if custom && !list.is_empty() && !of_ip {
            let help = "CUSTOM is decided before tokens and identities are known: use ipBlocks, operations or headers";
            scope.error(
                &at.field(name),
                format!("`{name}` cannot be used with action CUSTOM"),
                help,
            );
        }
    }
    accounts(source, at, scope);
    for (name, list) in [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
    ] {
        if !list.is_empty() {
            let message = format!(
                "`{name}` is the address of the direct peer: behind a proxy or load balancer that is the proxy"
            );
            let help =
                "use `remoteIpBlocks` with gatewayTopology.numTrustedProxies or the PROXY protocol";
            scope.note(codes::SP0306, &at.field(name), message, help);
        }
    }
}

fn accounts(source: &Source, at: &Path<'_>, scope: &mut Scope<'_>) {
    let lists = [
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ];
    let others = [
        &source.principals,
        &source.not_principals,
        &source.namespaces,
        &source.not_namespaces,
    ];
    for (name, list) in lists {
        if list.is_empty() {
            continue;
        }
        if others.iter().any(|o| !o.is_empty()) {
            scope.error(
                &at.field(name),
                format!("`{name}` cannot stand beside principals or namespaces"),
                "use one of them",
            );
        }
        if list.len() > MAX_ACCOUNTS {
            scope.error(
                &at.field(name),
                format!("{} accounts, {MAX_ACCOUNTS} are allowed", list.len()),
                "write a second source",
            );
        }
        for (i, account) in list.iter().enumerate() {
            let plain = !account.contains('*') && account.matches('/').count() <= 1;
            scope.require(
                plain,
                &at.item(name, i),
                &format!("`{account}` is not a service account"),
                "write `name` or `namespace/name`, without wildcards",
            );
        }
    }
}

fn not_empty(name: &str, list: &[String], at: &Path<'_>, scope: &mut Scope<'_>) {
    for (i, value) in list.iter().enumerate() {
        scope.require(
            !value.is_empty(),
            &at.item(name, i),
            &format!("an entry of `{name}` is empty"),
            "remove it",
        );
        let inner = value
            .get(1..value.len().saturating_sub(1))
            .unwrap_or_default();
        if inner.contains('*') && !name.to_ascii_lowercase().ends_with("paths") {
            let message = format!("`*` in the middle of `{value}` is taken literally");
            scope.warn(
                &at.item(name, i),
                message,
                "a wildcard stands at the beginning or the end",
            );
        }
    }
}

fn check_operation(operation: &Operation, at: &Path<'_>, scope: &mut Scope<'_>) {
    let lists: [(&str, &Vec<String>); 8] = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("ports", &operation.ports),
        ("notPorts", &operation.not_ports),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ];
    if lists.iter().all(|(_, list)| list.is_empty()) {
        return scope.error(
            at,
            "the operation is empty",
            "an empty operation is not every operation: remove the entry for that",
        );
    }
    for (name, list) in lists {
        not_empty(name, list, at, scope);
        for (i, value) in list.iter().enumerate() {
            let at = at.item(name, i);
            if name.ends_with("orts") {
                let known = value.parse::<u32>().is_ok_and(|p| words::port(p).is_ok());
                scope.require(
                    known,
                    &at,
                    &format!("`{value}` is not a port"),
                    "write the number of the port of the workload",
                );
            } else if name.ends_with("aths") {
                path_template(value, &at, scope);
            } else if name.ends_with("ethods") && value.bytes().any(|b| b.is_ascii_lowercase()) {
                let help = format!("write {}", value.to_ascii_uppercase());
                scope.warn(
                    &at,
                    format!("method `{value}` never matches: methods are written in capitals"),
                    &help,
                );
            }
        }
    }
}

/// A path with `{*}` for one segment and `{**}` for any number of them.
fn path_template(path: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    if !path.contains(['{', '}']) {
        return;
    }
    let help = "`{*}` is one segment and `{**}` any number; each stands alone in its segment, and nothing follows after `{**}` but literals";
    let mut rest_taken = false;
    for segment in path.split('/') {
        match segment {
            "{**}" | "{*}" if rest_taken => {
                return scope.error(at, format!("`{path}` has a template after `{{**}}`"), help);
            }
            "{**}" => rest_taken = true,
            "{*}" => {}
            literal if literal.contains(['{', '}']) => {
                return scope.error(
                    at,
                    format!("`{literal}` in `{path}` is not a template"),
                    help,
                );
            }
            literal if literal.contains('*') => {
                return scope.error(
                    at,
                    format!("`{path}` mixes a wildcard with templates"),
                    help,
                );
            }
            _ => {}
        }
    }
}

fn check_condition(condition: &Condition, custom: bool, at: &Path<'_>, scope: &mut Scope<'_>) {
    let key = condition.key.as_str();
    if key.is_empty() {
        return scope.error(
            at,
            "`key` is missing",
            "write a key like request.headers[x-user]",
        );
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        scope.error(
            at,
            format!("the condition on `{key}` has no values"),
            "add `values` or `notValues`",
        );
    }
    check_key(key, &at.field("key"), scope);
    let identity = key.starts_with("request.auth.")
        || matches!(
            key,
            "source.namespace"
                | "source.principal"
                | "source.serviceAccount"
                | "source.trustDomain"
        );
    if custom && identity {
        let help = "CUSTOM is decided before tokens and identities are known";
        scope.error(
            &at.field("key"),
            format!("`{key}` cannot be used with action CUSTOM"),
            help,
        );
    }
    for (name, list) in [
        ("values", &condition.values),
        ("notValues", &condition.not_values),
    ] {
        for (i, value) in list.iter().enumerate() {
            let at = at.item(name, i);
            match key {
                "source.ip" | "remote.ip" | "destination.ip" => {
                    scope.judge(&at, words::ip_or_cidr(value), "")
                }
                "destination.port" => {
                    let known = value.parse::<u32>().is_ok_and(|p| words::port(p).is_ok());
                    scope.require(known, &at, &format!("`{value}` is not a port"), "");
                }
                _ => scope.require(!value.is_empty(), &at, "the value is empty", "remove it"),
            }
        }
    }
}

fn check_key(key: &str, at: &Path<'_>, scope: &mut Scope<'_>) {
    for prefix in [
        "request.headers",
        "request.auth.claims",
        "experimental.envoy.filters.",
    ] {
        if let Some(rest) = key.strip_prefix(prefix) {
            let inner = rest
                .find('[')
                .and_then(|i| rest.get(i..))
                .unwrap_or_default();
            if inner.len() < 3 || !inner.ends_with(']') {
                scope.error(
                    at,
                    format!("`{key}` needs a name in brackets"),
                    &format!("write {prefix}[name]"),
                );
            }
            return;
        }
    }
    let advice = match key {
        "destination.namespace" => "a policy applies to its own namespace: put it there",
        "destination.name" | "destination.user" => "use the selector of the policy",
        _ if key.starts_with("destination.labels[") => "use the selector of the policy",
        _ => "",
    };
    if !advice.is_empty() {
        scope.error(at, format!("`{key}` is not supported"), advice);
    } else if !KEYS.contains(&key) || key.ends_with("[...]") {
        let help = nearest(key, KEYS.iter().copied()).map_or_else(
            || format!("the keys are {}", KEYS.join(", ")),
            |n| format!("did you mean `{n}`?"),
        );
        scope.error(at, format!("`{key}` is not a key of a condition"), &help);
    }
}
