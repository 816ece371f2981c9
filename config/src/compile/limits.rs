//! RateLimits that concern the proxy, and the `local_ratelimit` filters that EnvoyFilters put there.
//!
//! A limit that needs nothing but the request is asked first of all, so that it also spares whom
//! policies would ask; one that is about claims or routes when those are known.

use super::authz::Here;
use super::draft::Draft;
use super::millis;
use crate::api::envoy_filter::PatchContext;
use crate::api::rate_limit::{Per, RequestLimit};
use crate::api::shared::{PolicyTargetReference, WorkloadSelector};
use crate::api::{EnvoyFilter, RateLimit};
use crate::ir::{
    HostPattern, Limit, LimitKey, LimitStage, LimitedRoute, Origin, PolicyCondition, PolicyTest,
    Ppm, Rate, RouteTable,
};
use crate::local_ratelimit::{self, Given, Local};
use crate::world::Typed;

/// Values of a key that are told apart unless `maxKeys` says otherwise: 256 KiB of counts.
const KEYS_DEFAULT: u32 = 16_384;

/// The limits that apply to the proxies of a context, in the order in which they are asked.
pub(super) fn limits(draft: &Draft<'_>, context: PatchContext) -> Vec<Limit> {
    let here = Here {
        world: draft.world,
        view: draft.view,
    };
    let mut out = Vec::new();
    for policy in draft.world.rate_limits() {
        let Some(routes) = concerns(here, policy) else {
            continue;
        };
        for (index, limit) in policy.spec.limits.iter().enumerate() {
            out.push(compile(draft, policy, (index, limit), &routes));
        }
    }
    for filter in draft.world.envoy_filters() {
        out.extend(patches(draft, here, filter, context));
    }
    out
}

/// The limits of an EnvoyFilter.
fn patches(
    draft: &Draft<'_>,
    here: Here<'_>,
    filter: Typed<'_, EnvoyFilter>,
    context: PatchContext,
) -> Vec<Limit> {
    let Typed { resource, spec } = filter;
    let selector = spec.workload_selector.as_ref();
    let selector = selector.map(|selector| WorkloadSelector {
        match_labels: selector.labels.clone(),
    });
    if !here.selects(resource, selector.as_ref(), None, &spec.target_refs) {
        return Vec::new();
    }
    let patches = spec.config_patches.iter().enumerate();
    let read = patches.filter_map(|(index, patch)| {
        let local = local_ratelimit::read(patch, index)?.local?;
        let meant = local.context == PatchContext::Any || local.context == context;
        meant.then_some((index, local))
    });
    let all: Vec<(usize, Local)> = read.collect();
    let stage = all.iter().find_map(|(_, local)| local.stage);
    let one = |(index, local): (usize, Local)| {
        let given = local.limit.clone()?;
        let origin = draft
            .world
            .origin(resource, format!("spec.configPatches[{index}]"));
        let stage = match local.route {
            Some(_) => LimitStage::Routed,
            None => local.stage.or(stage).unwrap_or(LimitStage::First),
        };
        Some(patched(local, given, stage, index, origin))
    };
    all.into_iter().filter_map(one).collect()
}

fn patched(local: Local, given: Given, stage: LimitStage, index: usize, origin: Origin) -> Limit {
    let anybodys = |route: String| LimitedRoute {
        namespace: "".into(),
        name: "".into(),
        route: Some(route),
    };
    let port = local.port.map(|port| PolicyCondition {
        test: PolicyTest::Port(vec![port]),
        negated: false,
    });
    Limit {
        name: format!("{}/{}/{index}", origin.namespace, origin.name),
        stage,
        hosts: local.hosts,
        routes: local.route.map(anybodys).into_iter().collect(),
        when: port.into_iter().collect(),
        key: Vec::new(),
        keys_max: 1,
        rate: given.rate,
        enabled: given.enabled,
        enforced: given.enforced,
        status: given.status,
        exhausted: given.exhausted,
        told: None,
        headers: given.headers,
        origin,
    }
}

/// Leaves out limits of routes that the proxy does not have.
pub(super) fn retain_of(tables: &[RouteTable], limits: &mut Vec<Limit>) {
    limits.retain(|limit| {
        let mut routes = tables.iter().flat_map(|table| &table.hosts);
        limit.routes.is_empty() || routes.any(|h| h.routes.iter().any(|r| limit.is_of(r)))
    });
}

/// The VirtualServices whose requests a policy is about, all when there are none; `None`: it does
/// not concern the proxy.
fn concerns<'w>(here: Here<'_>, policy: Typed<'w, RateLimit>) -> Option<Vec<&'w str>> {
    let Typed { resource, spec } = policy;
    let is_service = |to: &&PolicyTargetReference| to.kind == "VirtualService";
    let (services, others): (Vec<_>, Vec<_>) = spec.target_refs.iter().partition(is_service);
    if !services.is_empty() && others.is_empty() {
        // whoever serves the VirtualService
        return Some(services.iter().map(|to| to.name.as_str()).collect());
    }
    let others: Vec<_> = others.into_iter().cloned().collect();
    let selector = spec.selector.as_ref();
    let selected = here.selects(resource, selector, None, &others);
    selected.then(|| services.iter().map(|to| to.name.as_str()).collect())
}

fn compile(
    draft: &Draft<'_>,
    policy: Typed<'_, RateLimit>,
    (index, limit): (usize, &RequestLimit),
    services: &[&str],
) -> Limit {
    let meta = &policy.resource.meta;
    let (own, told) = match limit.name.as_str() {
        "" => (index.to_string(), meta.name.to_string()),
        name => (name.to_owned(), name.to_owned()),
    };
    let key: Vec<LimitKey> = limit.per.iter().filter_map(key).collect();
    let routes = services
        .iter()
        .flat_map(|service| routes(meta, service, limit));
    let routes: Vec<LimitedRoute> = routes.collect();
    let late = |key: &LimitKey| matches!(key, LimitKey::Claim(_) | LimitKey::Route);
    let routed = !routes.is_empty() || key.iter().any(late);
    let keys_max = match (key.is_empty(), limit.max_keys) {
        (true, _) => 1,
        (false, 0) => KEYS_DEFAULT,
        (false, most) => most,
    };
    Limit {
        name: format!("{}/{}/{own}", meta.namespace, meta.name),
        stage: if routed {
            LimitStage::Routed
        } else {
            LimitStage::First
        },
        hosts: limit.hosts.iter().map(|h| HostPattern::parse(h)).collect(),
        routes,
        when: Vec::new(),
        key,
        keys_max,
        rate: Rate {
            burst: if limit.burst == 0 {
                limit.tokens
            } else {
                limit.burst
            },
            tokens: limit.tokens,
            interval: millis(limit.interval.unwrap_or_default()),
        },
        enabled: Ppm::ALL,
        enforced: if limit.enforce == Some(false) {
            Ppm(0)
        } else {
            Ppm::ALL
        },
        status: 429,
        exhausted: true,
        told: Some(told),
        headers: Vec::new(),
        origin: draft
            .world
            .origin(policy.resource, format!("spec.limits[{index}]")),
    }
}

fn routes<'l>(
    meta: &'l crate::resource::Meta,
    service: &'l str,
    limit: &'l RequestLimit,
) -> impl Iterator<Item = LimitedRoute> + 'l {
    let one = |route: Option<String>| LimitedRoute {
        namespace: meta.namespace.clone(),
        name: service.into(),
        route,
    };
    let all = limit.routes.is_empty().then_some(None);
    let named = limit.routes.iter().map(|name| Some(name.clone()));
    all.into_iter().chain(named).map(one)
}

fn key(per: &Per) -> Option<LimitKey> {
    let claim = |text: &String| LimitKey::Claim(text.split('.').map(str::to_owned).collect());
    let header = |name: &String| LimitKey::Header(name.to_ascii_lowercase());
    let whole = [
        (per.client.is_some(), LimitKey::Client),
        (per.host.is_some(), LimitKey::Host),
        (per.route.is_some(), LimitKey::Route),
    ];
    let whole = whole
        .into_iter()
        .find(|(said, _)| *said)
        .map(|(_, key)| key);
    whole
        .or_else(|| per.header.as_ref().map(header))
        .or_else(|| per.claim.as_ref().map(claim))
}
