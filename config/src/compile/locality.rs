//! Localities: who is asked first, and what share each locality gets.
//!
//! Istio `pilot/pkg/networking/core/loadbalancer/loadbalancer.go`. `distribute` gives localities
//! shares and always applies. Else endpoints far away are asked only when near ones fail, which
//! takes outlier detection: without it nobody would ever be known to fail. All endpoints that rank
//! alike share a priority, and priorities have no gaps.

use crate::api::destination_rule::{
    LocalityDistribute, LocalityFailover, LocalityLoadBalancerSetting,
};
use crate::ir::LocalityWeight;
use crate::view::View;
use crate::world::Instance;

/// Ranks that failover by locality tells apart.
const RANKS: usize = 5;

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";
const NETWORK: &str = "topology.istio.io/network";
const CLUSTER: &str = "topology.istio.io/cluster";

/// What says where traffic goes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preference<'w> {
    /// The rule's setting.
    pub rule: Option<&'w LocalityLoadBalancerSetting>,
    /// `trafficDistribution` of the Service, which counts where no rule says anything.
    pub distribution: Nearness,
    /// The mesh's setting; without one failover by locality is on.
    pub mesh: Option<&'w LocalityLoadBalancerSetting>,
    /// Endpoints can be known to fail.
    pub ejects: bool,
}

/// `trafficDistribution` of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Nearness {
    /// Everybody alike.
    #[default]
    Any,
    /// `PreferClose`, `PreferSameZone`: network, then region, then zone, then sub-zone.
    Close,
}

/// `region/zone/subzone` in parts, empty where nothing is said.
fn parts(locality: &str) -> [&str; 3] {
    let mut parts = locality.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    [part(), part(), part()]
}

/// Whether a rule's locality (`region/zone/*`, `region`, `*`) means a locality.
fn matches(rule: &str, locality: &str) -> bool {
    let rule = parts(rule);
    let here = parts(locality);
    for (want, have) in rule.iter().zip(here) {
        match *want {
            "*" | "" => return true,
            want if want != have => return false,
            _ => {}
        }
    }
    true
}

/// Gives instances their priorities, and their localities shares. Those that get nothing are left
/// out.
pub(super) fn arrange<'i>(
    view: &View,
    preference: Preference<'_>,
    instances: Vec<&'i Instance>,
) -> (Vec<(&'i Instance, u32)>, Vec<LocalityWeight>) {
    if preference.rule.is_none() && preference.distribution == Nearness::Close {
        let close = [NETWORK, REGION, ZONE, SUBZONE];
        return (rank(instances, |i| by_labels(view, &close, i)), Vec::new());
    }
    let default = LocalityLoadBalancerSetting::default();
    let setting = preference.rule.or(preference.mesh).unwrap_or(&default);
    let enabled = setting.enabled != Some(false);
    if enabled && !setting.distribute.is_empty() {
        let mut rules = setting.distribute.iter();
        let here = rules.find(|rule| matches(&rule.from, &view.locality));
        let weights = here.map(|rule| distribute(rule, &instances));
        let named = |i: &&Instance| match &weights {
            Some(weights) => weights.iter().any(|w| *w.locality == *i.locality),
            None => true,
        };
        let kept = instances.into_iter().filter(named).map(|i| (i, 0));
        return (kept.collect(), weights.unwrap_or_default());
    }
    if enabled && preference.ejects {
        return (
            rank(instances, |i| failover_rank(view, setting, i)),
            Vec::new(),
        );
    }
    (instances.into_iter().map(|i| (i, 0)).collect(), Vec::new())
}

/// Shares of the rule's localities; one that several localities fall under is split by the sum of
/// their endpoints' weights.
fn distribute(rule: &LocalityDistribute, instances: &[&Instance]) -> Vec<LocalityWeight> {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for instance in instances {
        let weight = u64::from(instance.weight);
        match sums
            .iter_mut()
            .find(|(name, _)| *name == &*instance.locality)
        {
            Some((_, sum)) => *sum += weight,
            None => sums.push((&instance.locality, weight)),
        }
    }
    // the most specific first: each locality gets the share that was meant for it
    let mut shares: Vec<(&str, u32)> = rule.to.iter().map(|(to, w)| (to, *w)).collect();
    shares.sort_by_key(|(to, _)| {
        let said = parts(to).into_iter().filter(|p| !matches!(*p, "" | "*"));
        std::cmp::Reverse(said.count())
    });
    let mut weights: Vec<LocalityWeight> = Vec::new();
    for (to, share) in shares {
        let taken = |name: &str| weights.iter().any(|w| w.locality == *name);
        let meant: Vec<&(&str, u64)> = sums
            .iter()
            .filter(|(name, _)| matches(to, name) && !taken(name))
            .collect();
        let total: u64 = meant.iter().map(|(_, sum)| sum).sum();
        let new: Vec<LocalityWeight> = meant
            .into_iter()
            .map(|(name, sum)| LocalityWeight {
                locality: (*name).to_owned(),
                weight: u32::try_from((sum * u64::from(share)).div_ceil(total.max(1)))
                    .unwrap_or(u32::MAX),
            })
            .collect();
        weights.extend(new);
    }
    weights.sort_by(|a, b| a.locality.cmp(&b.locality));
    weights
}

fn failover_rank(view: &View, setting: &LocalityLoadBalancerSetting, instance: &Instance) -> usize {
    if setting.failover_priority.is_empty() {
        return by_locality(view, &setting.failover, instance);
    }
    let keys: Vec<&str> = setting
        .failover_priority
        .iter()
        .map(String::as_str)
        .collect();
    let labels = by_labels(view, &keys, instance);
    if setting.failover.is_empty() {
        labels
    } else {
        labels * RANKS + by_locality(view, &setting.failover, instance)
    }
}

/// 0 for the same sub-zone, 1 zone, 2 region, 3 elsewhere, 4 elsewhere than where the rule sends.
fn by_locality(view: &View, failover: &[LocalityFailover], instance: &Instance) -> usize {
    let (here, there) = (parts(&view.locality), parts(&instance.locality));
    let same = here.iter().zip(there).take_while(|(a, b)| **a == *b);
    let rank = 3 - same.count();
    let [region, ..] = here;
    let rule = failover.iter().find(|rule| rule.from == region);
    match rule {
        Some(rule) if rank == 3 && parts(&instance.locality).first() != Some(&&*rule.to) => 4,
        _ => rank,
    }
}

/// The number of labels from the first that differs to the last: 0 if all are the same.
fn by_labels(view: &View, keys: &[&str], instance: &Instance) -> usize {
    let mut rank = 0;
    let count = keys.len();
    for (index, key) in keys.iter().enumerate() {
        let (key, own) = match key.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (*key, ours(view, key)),
        };
        if own == theirs(instance, key) {
            continue;
        }
        // another network is worse than anything, yet its endpoints still differ
        if index == 0 && key == NETWORK {
            rank = count;
            continue;
        }
        return rank + count - index;
    }
    rank
}

fn ours<'v>(view: &'v View, key: &str) -> Option<&'v str> {
    let said = view.labels.get(key).map(String::as_str);
    said.or_else(|| match key {
        NETWORK => some(&view.network),
        CLUSTER => some(&view.cluster),
        key => of_locality(&view.locality, key),
    })
}

fn theirs<'i>(instance: &'i Instance, key: &str) -> Option<&'i str> {
    let said = instance.labels.get(key).map(String::as_str);
    said.or_else(|| of_locality(&instance.locality, key))
}

fn of_locality<'l>(locality: &'l str, key: &str) -> Option<&'l str> {
    let [region, zone, subzone] = parts(locality);
    match key {
        REGION => some(region),
        ZONE => some(zone),
        SUBZONE => some(subzone),
        _ => None,
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Ranks become priorities without gaps.
fn rank(instances: Vec<&Instance>, rank: impl Fn(&Instance) -> usize) -> Vec<(&Instance, u32)> {
    let mut seen: Vec<usize> = instances.iter().map(|i| rank(i)).collect();
    seen.sort_unstable();
    seen.dedup();
    let priority = |i: &Instance| seen.binary_search(&rank(i)).unwrap_or(0);
    let ranked = instances
        .into_iter()
        .map(|i| (i, u32::try_from(priority(i)).unwrap_or(u32::MAX)));
    ranked.collect()
}

#[cfg(test)]
mod tests;
