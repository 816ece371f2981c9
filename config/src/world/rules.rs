//! DestinationRules by namespace and host.
//!
//! Lookup by Istio's rule (`pilot/pkg/model/push_context.go`): the proxy's namespace, then the
//! service's, then the root namespace; the first that has any rule for the host wins outright. In
//! a namespace an exact host beats wildcards, and a longer wildcard a shorter one. Rules of the
//! same host and `exportTo` are merged, those with a workload selector first: the first definition
//! of a subset and the first policy count.

use super::{Named, Typed, name_of};
use crate::api::DestinationRule;
use crate::api::destination_rule::{Subset, TrafficPolicy};
use crate::resource::{Kind, Resource, ResourceSet, Spec};
use crate::view::{Exported, View};
use std::collections::HashMap;
use std::sync::Arc;

/// DestinationRules by namespace and host.
#[derive(Debug, Clone, Default)]
pub struct RuleIndex {
    // namespace, lower-case host as written with short names expanded
    by_host: HashMap<Named, Vec<Arc<Resource>>>,
}

/// The rules that apply to a host, merged.
#[derive(Debug, Clone, Default)]
pub struct Merged<'w> {
    /// Rules in order of precedence.
    pub rules: Vec<Typed<'w, DestinationRule>>,
}

impl<'w> Merged<'w> {
    /// The policy of the host.
    #[must_use]
    pub fn policy(&self) -> Option<&'w TrafficPolicy> {
        self.rules
            .iter()
            .find_map(|rule| rule.spec.traffic_policy.as_ref())
    }

    /// The first definition of a subset.
    #[must_use]
    pub fn subset(&self, name: &str) -> Option<&'w Subset> {
        self.rules
            .iter()
            .find_map(|rule| rule.spec.subsets.iter().find(|s| s.name == name))
    }
}

impl RuleIndex {
    /// Indexes every DestinationRule of a set.
    #[must_use]
    pub fn build(set: &ResourceSet, domain_suffix: &str) -> Self {
        let mut index = Self::default();
        for resource in set.of_kind(Kind::DestinationRule) {
            let Spec::DestinationRule(spec) = &resource.spec else {
                continue;
            };
            let (namespace, _) = name_of(resource);
            let host = super::services::full_name(&spec.host, &namespace, domain_suffix);
            index
                .by_host
                .entry((namespace, Arc::from(host)))
                .or_default()
                .push(Arc::clone(resource));
        }
        index
    }

    /// Every rule.
    pub(super) fn all(&self) -> impl Iterator<Item = &DestinationRule> {
        let all = self.by_host.values().flatten();
        all.filter_map(|resource| match &resource.spec {
            Spec::DestinationRule(spec) => Some(&**spec),
            _ => None,
        })
    }

    /// Rules for a host of a service in `service_namespace`, as the view sees them.
    #[must_use]
    pub fn lookup<'w>(
        &'w self,
        view: &View,
        default_export: &[String],
        root_namespace: &str,
        host: &str,
        service_namespace: &str,
    ) -> Merged<'w> {
        let exported = |r: &Typed<'_, DestinationRule>| {
            view.exported(
                &r.spec.export_to,
                default_export,
                &r.resource.meta.namespace,
            )
        };
        // in the root namespace a proxy's own rules come first only if they are private
        let own = |r: &Typed<'_, DestinationRule>| match &r.spec.workload_selector {
            Some(selector) => view.selected_by(&selector.match_labels),
            None => view.namespace != root_namespace || exported(r) == Some(Exported::Privately),
        };
        let others = |r: &Typed<'_, DestinationRule>| {
            r.spec.workload_selector.is_none() && exported(r).is_some()
        };
        let mut rules = self.best(&view.namespace, host, own);
        for namespace in [service_namespace, root_namespace] {
            if rules.is_empty() {
                rules = self.best(namespace, host, others);
            }
        }
        rules.sort_by_key(|r| r.spec.workload_selector.is_none());
        // rules are merged only if the same namespaces see them
        let seen_by = |r: &Typed<'_, DestinationRule>| {
            let mut list = r.spec.export_to.clone();
            list.sort_unstable();
            list
        };
        if let Some(first) = rules.first().map(seen_by) {
            rules.retain(|r| seen_by(r) == first);
        }
        Merged { rules }
    }

    /// Visible rules of a namespace for a host: those of the exact host, else those of the longest
    /// wildcard that has any.
    fn best<'w>(
        &'w self,
        namespace: &str,
        host: &str,
        visible: impl Fn(&Typed<'w, DestinationRule>) -> bool,
    ) -> Vec<Typed<'w, DestinationRule>> {
        let namespace: Arc<str> = Arc::from(namespace);
        let suffixes = host.match_indices('.').filter_map(|(at, _)| host.get(at..));
        let wildcards = suffixes
            .chain([""])
            .map(|suffix| Arc::from(format!("*{suffix}")));
        std::iter::once(Arc::from(host))
            .chain(wildcards)
            .filter_map(|pattern| self.by_host.get(&(Arc::clone(&namespace), pattern)))
            .map(|rules| {
                rules
                    .iter()
                    .filter_map(|r| typed(r))
                    .filter(&visible)
                    .collect::<Vec<_>>()
            })
            .find(|rules| !rules.is_empty())
            .unwrap_or_default()
    }
}

fn typed(resource: &Resource) -> Option<Typed<'_, DestinationRule>> {
    match &resource.spec {
        Spec::DestinationRule(spec) => Some(Typed {
            resource,
            spec: &**spec,
        }),
        _ => None,
    }
}
