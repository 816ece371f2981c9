//! Do the VirtualServices and routes exist whose requests are limited?

use super::{Finding, Findings, Index};
use crate::api::{RateLimit, VirtualService};
use crate::diag::codes;
use crate::message::nearest;
use crate::resource::Resource;

pub(super) fn find(index: &Index<'_>, to: &mut Findings) {
    for (resource, policy) in index.set.rate_limits() {
        let mut targets = Vec::new();
        for (i, target) in policy.target_refs.iter().enumerate() {
            if target.kind != "VirtualService" {
                continue;
            }
            let mut all = index.virtual_services.iter();
            let named = |r: &Resource| {
                *r.meta.name == *target.name && r.meta.namespace == resource.meta.namespace
            };
            match all.find(|(service, _)| named(service)) {
                Some((_, service)) => targets.push(*service),
                None => {
                    let name = &target.name;
                    let message =
                        format!("there is no VirtualService `{name}`: nothing is limited");
                    let path = format!("spec.targetRefs[{i}].name");
                    let help = "a target is in the namespace of its RateLimit";
                    to.push(Finding::new(codes::IST0101, resource, path, message).help(help));
                }
            }
        }
        if !targets.is_empty() {
            routes(resource, policy, &targets, to);
        }
    }
}

/// Routes that no target has.
fn routes(resource: &Resource, policy: &RateLimit, targets: &[&VirtualService], to: &mut Findings) {
    let rules = targets.iter().flat_map(|service| &service.http);
    let known: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
    for (i, limit) in policy.limits.iter().enumerate() {
        for (j, route) in limit.routes.iter().enumerate() {
            let (rule, _) = route.split_once('.').unwrap_or((route, ""));
            if known.contains(&route.as_str()) || known.contains(&rule) {
                continue;
            }
            let message = format!("no target has a route `{route}`: nothing is limited");
            let path = format!("spec.limits[{i}].routes[{j}]");
            let named = known.iter().copied().filter(|name| !name.is_empty());
            let help = match nearest(route, named) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a route is named by `http[].name`".to_owned(),
            };
            to.push(Finding::new(codes::IST0101, resource, path, message).help(help));
        }
    }
}
