//! VirtualServices that concern what a workload may call, found by the host that is called.
//!
//! A mesh has as many of them as services, and each service asks which are its own: they are indexed
//! by host, so that a service costs what its own rules cost.

use super::super::draft::Draft;
use super::super::hosts::of_service;
use super::scope::Scope;
use crate::api::VirtualService;
use crate::ir::HostPattern;
use crate::world::Typed;
use std::collections::{BTreeSet, HashMap};

/// Rules in the order in which they count.
#[derive(Debug)]
pub(super) struct Rules<'w> {
    all: Vec<Typed<'w, VirtualService>>,
    /// Places in `all` by host as it is written, `*.x` and `*` among them.
    by_host: HashMap<String, Vec<usize>>,
    /// Lengths of what follows the `*` of wildcards.
    lengths: BTreeSet<usize>,
}

impl<'w> Rules<'w> {
    /// Those that are exported to the workload and that its Sidecar imports: private ones first,
    /// then those exported by name, then public ones; each group by age.
    pub(super) fn seen(draft: &Draft<'w>, scope: &Scope<'_>) -> Self {
        let default = &draft.world.mesh.default_virtual_service_export_to;
        let suffix = &draft.world.domain_suffix;
        let all = draft.world.virtual_services_of_mesh();
        let mut seen: Vec<_> = all
            .filter_map(|s| {
                let namespace = &s.resource.meta.namespace;
                let how = draft.view.exported(&s.spec.export_to, default, namespace)?;
                let mut hosts = of_service(s, suffix);
                let any = hosts.any(|host| scope.imports(namespace, &host));
                any.then_some((how, s))
            })
            .collect();
        seen.sort_by_key(|(how, _)| *how);
        Self::new(seen.into_iter().map(|(_, rule)| rule).collect(), suffix)
    }

    fn new(all: Vec<Typed<'w, VirtualService>>, domain_suffix: &'w str) -> Self {
        let mut by_host: HashMap<String, Vec<usize>> = HashMap::new();
        let mut lengths = BTreeSet::new();
        for (at, rule) in all.iter().enumerate() {
            for host in of_service(*rule, domain_suffix) {
                let pattern = HostPattern::parse(&host);
                if let HostPattern::Suffix(suffix) = &pattern {
                    lengths.insert(suffix.len());
                }
                let list = by_host.entry(pattern.to_string()).or_default();
                if list.last() != Some(&at) {
                    list.push(at);
                }
            }
        }
        Self {
            all,
            by_host,
            lengths,
        }
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = Typed<'w, VirtualService>> {
        self.all.iter().copied()
    }

    /// The rule for HTTP of a lower-case host: that with the most specific pattern for it, then the
    /// first.
    pub(super) fn http(&self, host: &str) -> Option<Typed<'w, VirtualService>> {
        self.over(host).find_map(|list| {
            let mut rules = list.iter().filter_map(|at| self.all.get(*at));
            rules.find(|rule| !rule.spec.http.is_empty()).copied()
        })
    }

    /// Rules that share a host with one that may itself be a wildcard, in order.
    pub(super) fn sharing(&self, host: &str) -> Vec<Typed<'w, VirtualService>> {
        if host.starts_with('*') {
            // what is below it may be meant as well: who asks looks closer
            return self.all.clone();
        }
        let places: BTreeSet<usize> = self.over(host).flatten().copied().collect();
        let found = places.into_iter().filter_map(|at| self.all.get(at));
        found.copied().collect()
    }

    /// Lists of the patterns that include a host, the most specific first.
    fn over<'r>(&'r self, host: &'r str) -> impl Iterator<Item = &'r Vec<usize>> {
        let longest_first = self.lengths.iter().rev();
        let wildcards = longest_first.filter_map(move |length| {
            let at = host.len().checked_sub(*length).filter(|at| *at > 0)?;
            let pattern = format!("*{}", host.get(at..)?);
            // the host as it is written has been asked for
            (pattern != host).then(|| self.by_host.get(&pattern))?
        });
        let any = (host != "*").then(|| self.by_host.get("*")).flatten();
        self.by_host
            .get(host)
            .into_iter()
            .chain(wildcards)
            .chain(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::accept;
    use crate::retain::LastGood;
    use crate::world::World;

    /// Rules as `name: hosts`, and the world that has them.
    fn world(rules: &[(&str, &str)]) -> World {
        let text = |(name, hosts): &(&str, &str)| {
            format!(
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\n\
                 spec:\n  hosts: {hosts}\n  http: [{{directResponse: {{status: 200}}}}]\n"
            )
        };
        let texts: Vec<String> = rules.iter().map(text).collect();
        let file = ("rules.yaml".to_owned(), texts.join("---\n"));
        let merged = accept(&[file], &mut LastGood::default());
        World::build(&merged.set, &merged.sources, "cluster.local")
    }

    /// The definition: every rule is compared, the most specific pattern counts, then the first.
    fn compared(rules: &Rules<'_>, world: &World, host: &str) -> Option<String> {
        let mut best: Option<(usize, String)> = None;
        for rule in rules.all() {
            let hosts = of_service(rule, &world.domain_suffix);
            let ranks = hosts.filter_map(|pattern| {
                let pattern = HostPattern::parse(&pattern);
                let same = pattern.to_string() == host;
                (same || pattern.matches(host)).then_some(match &pattern {
                    _ if same => usize::MAX,
                    HostPattern::Exact(_) => usize::MAX,
                    HostPattern::Suffix(suffix) => suffix.len(),
                    HostPattern::Any => 0,
                })
            });
            if let Some(rank) = ranks.max()
                && best.as_ref().is_none_or(|(known, _)| rank > *known)
            {
                best = Some((rank, rule.resource.meta.name.to_string()));
            }
        }
        best.map(|(_, name)| name)
    }

    #[test]
    fn the_index_finds_what_comparing_every_rule_finds() {
        let world = world(&[
            ("com", "['*.com']"),
            ("two", "['*.foo.com', b.org]"),
            ("late", "['*.foo.com', short]"),
            ("exact", "[a.foo.com]"),
            ("again", "[a.foo.com, '*.org']"),
            ("upper", "[X.Foo.Com]"),
        ]);
        let rules = Rules::new(world.virtual_services_of_mesh().collect(), "cluster.local");
        assert_eq!(rules.all().count(), 6);
        for host in [
            "a.foo.com",
            "x.foo.com",
            "y.foo.com",
            "foo.com",
            "com",
            "b.org",
            "c.org",
            "*.foo.com",
            "*.y.foo.com",
            "*.net",
            "*",
            "short.default.svc.cluster.local",
            "é.com",
        ] {
            let found = rules.http(host).map(|r| r.resource.meta.name.to_string());
            assert_eq!(found, compared(&rules, &world, host), "{host}");
        }
        let names = |host| -> Vec<String> {
            let shared = rules.sharing(host).into_iter();
            shared.map(|r| r.resource.meta.name.to_string()).collect()
        };
        assert_eq!(names("a.foo.com"), ["com", "two", "late", "exact", "again"]);
        assert_eq!(names("*.foo.com").len(), 6);
    }
}
