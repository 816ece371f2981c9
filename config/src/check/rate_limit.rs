//! `RateLimit`: a limit that counts something else than it seems to is none.

use std::collections::HashSet;
use std::time::Duration;

use super::{Path, Scope, policy, words};
use crate::api::RateLimit;
use crate::api::rate_limit::{Per, RequestLimit};
use crate::api::shared::PolicyTargetReference;

/// Most limits of an object: each is asked about every request.
const MAX_LIMITS: usize = 64;
/// Most parts of a key.
const MAX_PARTS: usize = 8;
/// Most values of a key that are told apart: 16 MiB of counts.
const MAX_KEYS: u32 = 1 << 20;
/// Longest interval: beyond, counts should outlive the process, and they do not.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);

pub(super) fn check(spec: &RateLimit, scope: &mut Scope<'_>) {
    let root = Path::root("spec");
    policy::selector(spec.selector.as_ref(), &root, scope);
    let selects = spec.selector.is_some();
    policy::targets(selects, None, &spec.target_refs, &root, scope);
    for (i, target) in spec.target_refs.iter().enumerate() {
        check_target(target, &root.item("targetRefs", i), scope);
    }
    if spec.limits.is_empty() {
        let help = "write limits: [{tokens: 100, interval: 60s}]";
        scope.warn(&root, "the RateLimit has no limits", help);
    }
    if spec.limits.len() > MAX_LIMITS {
        scope.error(
            &root.field("limits"),
            format!("{} limits, {MAX_LIMITS} are allowed", spec.limits.len()),
            "write a second RateLimit",
        );
    }
    let routed = spec
        .target_refs
        .iter()
        .any(|to| to.kind == "VirtualService");
    let mut names = HashSet::new();
    for (i, limit) in spec.limits.iter().enumerate() {
        let at = root.item("limits", i);
        check_limit(limit, &at, scope);
        if !limit.name.is_empty() && !names.insert(&limit.name) {
            let message = format!("`{}` is given twice", limit.name);
            scope.error(&at.field("name"), message, "counts go by name");
        }
        if !limit.routes.is_empty() && !routed {
            scope.error(
                &at.field("routes"),
                "`routes` are those of a VirtualService, and none is among `targetRefs`",
                "add targetRefs: [{group: networking.istio.io, kind: VirtualService, name: ...}]",
            );
        }
    }
}

fn check_target(target: &PolicyTargetReference, at: &Path<'_>, scope: &mut Scope<'_>) {
    let known = matches!(target.kind.as_str(), "" | "Gateway" | "VirtualService");
    if !known {
        let message = format!("`{}` has no requests that could be limited", target.kind);
        let help = "a target is a Gateway or a VirtualService";
        scope.error(&at.field("kind"), message, help);
    } else if target.kind == "VirtualService" && target.group != "networking.istio.io" {
        let message = format!("`{}` has no kind VirtualService", target.group);
        scope.error(&at.field("group"), message, "write networking.istio.io");
    }
}

fn check_limit(limit: &RequestLimit, at: &Path<'_>, scope: &mut Scope<'_>) {
    if !limit.name.is_empty() {
        scope.judge(&at.field("name"), words::label(&limit.name), "");
    }
    scope.require(
        limit.tokens > 0,
        at,
        "`tokens` is missing",
        "say how many requests an interval has, at least 1",
    );
    match limit.interval {
        None => scope.error(at, "`interval` is missing", "write it like 60s"),
        Some(long) if long > MAX_INTERVAL => {
            let help = "24h are the most: counts do not outlive the process";
            scope.error(&at.field("interval"), "the interval is too long", help);
        }
        Some(interval) => {
            let least = Duration::from_millis(1);
            scope.require(
                interval >= least,
                &at.field("interval"),
                "an interval is 1ms at least",
                "",
            );
        }
    }
    for (i, host) in limit.hosts.iter().enumerate() {
        let help = "hosts are names, *.name or *";
        scope.judge(&at.item("hosts", i), words::wildcard_host(host), help);
    }
    if limit.max_keys > MAX_KEYS {
        let message = format!("{} values, {MAX_KEYS} are allowed", limit.max_keys);
        scope.error(&at.field("maxKeys"), message, "");
    }
    if limit.per.len() > MAX_PARTS {
        let message = format!(
            "{} parts of a key, {MAX_PARTS} are allowed",
            limit.per.len()
        );
        scope.error(&at.field("per"), message, "");
    }
    for (i, per) in limit.per.iter().enumerate() {
        check_per(per, &at.item("per", i), scope);
    }
}

fn check_per(per: &Per, at: &Path<'_>, scope: &mut Scope<'_>) {
    if let Some(name) = &per.header {
        scope.judge(&at.field("header"), words::header_name(name), "");
    }
    if let Some(claim) = &per.claim {
        let whole = !claim.is_empty() && claim.split('.').all(|part| !part.is_empty());
        let help = "write it like sub or realm_access.roles";
        scope.require(whole, &at.field("claim"), "the claim has no name", help);
    }
    if *per == Per::default() {
        let help = "write client: {}, host: {}, route: {}, header: name or claim: name";
        scope.error(at, "the entry is empty", help);
    }
}
