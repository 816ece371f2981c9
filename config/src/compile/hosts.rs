//! Hosts of a server and hosts of a VirtualService: which requests are meant by both.
//!
//! Istio compares every pair (`pkg/config/host`, `Names.Intersection`): of two that overlap, the
//! more specific one is the result. Here the server's hosts are indexed, so that a VirtualService
//! costs what its own hosts cost: exact names by hash, wildcards by their parents, and the names
//! below a wildcard as a range in an order by reversed name.

use crate::api::VirtualService;
use crate::ir::HostPattern;
use crate::world::{Typed, full_name};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Hosts of one server, by the namespace whose VirtualServices may use them.
#[derive(Debug, Default)]
pub(super) struct ServerHosts {
    to_all: Index,
    to_one: HashMap<String, Index>,
}

/// Patterns, findable from above and from below.
#[derive(Debug, Default)]
struct Index {
    all: HashSet<HostPattern>,
    reversed: BTreeMap<String, HostPattern>,
}

/// A server's host list as Istio reads it: `./h` is the Gateway's namespace, `*/h` is any, and
/// `*` swallows all others.
pub(super) fn sanitised(hosts: &[String], gateway_namespace: &str) -> Vec<String> {
    let mut out = Vec::with_capacity(hosts.len());
    for host in hosts {
        match host.split_once('/') {
            _ if host == "*" || host == "*/*" => return vec!["*".to_owned()],
            Some((".", name)) => out.push(format!("{gateway_namespace}/{name}")),
            Some(("*", name)) => out.push(name.to_owned()),
            _ => out.push(host.clone()),
        }
    }
    out
}

/// A host of a server without its namespace.
pub(super) fn bare(host: &str) -> &str {
    host.split_once('/').map_or(host, |(_, name)| name)
}

/// Hosts of a VirtualService; a name without dot is a service of its namespace.
pub(super) fn of_service<'w>(
    service: Typed<'w, VirtualService>,
    domain_suffix: &'w str,
) -> impl Iterator<Item = Cow<'w, str>> {
    service.spec.hosts.iter().map(move |host| {
        if host.contains(['.', '*']) {
            Cow::Borrowed(host.as_str())
        } else {
            Cow::Owned(full_name(
                host,
                &service.resource.meta.namespace,
                domain_suffix,
            ))
        }
    })
}

impl ServerHosts {
    /// Indexes sanitised hosts.
    pub(super) fn new(hosts: &[String]) -> Self {
        let mut index = Self::default();
        for host in hosts {
            let (to, name) = match host.split_once('/') {
                Some((namespace, name)) => {
                    (index.to_one.entry(namespace.to_owned()).or_default(), name)
                }
                None => (&mut index.to_all, host.as_str()),
            };
            let pattern = HostPattern::parse(name);
            to.reversed.insert(reversed(&pattern), pattern.clone());
            to.all.insert(pattern);
        }
        index
    }

    /// What a VirtualService of `namespace` with these hosts serves on the server: sorted, each
    /// pattern once.
    pub(super) fn intersect(
        &self,
        namespace: &str,
        hosts: impl Iterator<Item = impl AsRef<str>>,
    ) -> Vec<HostPattern> {
        let mut found = Vec::new();
        for host in hosts {
            let pattern = HostPattern::parse(host.as_ref());
            for index in std::iter::once(&self.to_all).chain(self.to_one.get(namespace)) {
                index.intersect(&pattern, &mut found);
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

impl Index {
    fn intersect(&self, pattern: &HostPattern, found: &mut Vec<HostPattern>) {
        if self.contains_parent(pattern) {
            found.push(pattern.clone());
            return;
        }
        // everything of the server that is below the pattern
        let below = match pattern {
            HostPattern::Exact(_) => return,
            HostPattern::Any => String::new(),
            HostPattern::Suffix(suffix) => suffix.chars().rev().collect(),
        };
        let range = self.reversed.range(below.clone()..);
        found.extend(
            range
                .take_while(|(key, _)| key.starts_with(&below))
                .map(|(_, p)| p.clone()),
        );
    }

    /// Whether the server has the pattern itself or one that includes it.
    fn contains_parent(&self, pattern: &HostPattern) -> bool {
        let name = match pattern {
            _ if self.all.contains(pattern) || self.all.contains(&HostPattern::Any) => return true,
            HostPattern::Any => return false,
            HostPattern::Exact(name) | HostPattern::Suffix(name) => name,
        };
        // a suffix includes only longer names: the first dot of a wildcard is its own suffix
        let dots = name.match_indices('.').filter(|(at, _)| *at > 0);
        dots.filter_map(|(at, _)| name.get(at..))
            .any(|suffix| self.all.contains(&HostPattern::Suffix(suffix.to_owned())))
    }
}

/// The name read backwards, so that a wildcard is a prefix of all below it.
fn reversed(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Any => String::new(),
        HostPattern::Exact(name) | HostPattern::Suffix(name) => name.chars().rev().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn intersect(server: &[&str], namespace: &str, hosts: &[&str]) -> Vec<String> {
        let found = ServerHosts::new(&owned(server)).intersect(namespace, owned(hosts).iter());
        found.iter().map(HostPattern::to_string).collect()
    }

    #[test]
    fn the_more_specific_of_two_overlapping_hosts_remains() {
        for (server, hosts, want) in [
            (&["*.foo.com"][..], &["a.foo.com"][..], &["a.foo.com"][..]),
            (&["a.foo.com"], &["*"], &["a.foo.com"]),
            (&["*"], &["*.foo.com", "b.com"], &["b.com", "*.foo.com"]),
            (&["*"], &["*"], &["*"]),
            (&["*.foo.com"], &["foo.com"], &[]),
            (&["*.foo.com"], &["*.foo.com"], &["*.foo.com"]),
            (&["*.foo.com"], &["*.bar.foo.com"], &["*.bar.foo.com"]),
            (
                &["*.bar.foo.com", "a.foo.com", "a.fooo.com"],
                &["*.foo.com"],
                &["a.foo.com", "*.bar.foo.com"],
            ),
            (&["*.foo.com", "a.foo.com"], &["a.foo.com"], &["a.foo.com"]),
            (&["A.Foo.com"], &["a.foo.COM"], &["a.foo.com"]),
            (&["a.com"], &["b.com"], &[]),
        ] {
            assert_eq!(
                intersect(server, "ns", hosts),
                owned(want),
                "{server:?} with {hosts:?}"
            );
        }
    }

    #[test]
    fn a_host_with_a_namespace_is_for_that_namespace() {
        let server = ["one/a.com", "b.com"];
        assert_eq!(
            intersect(&server, "one", &["a.com", "b.com"]),
            ["a.com", "b.com"]
        );
        assert_eq!(intersect(&server, "two", &["a.com", "b.com"]), ["b.com"]);
    }

    #[test]
    fn hosts_are_sanitised_as_istio_does() {
        assert_eq!(
            sanitised(&owned(&["./a", "*/b", "ns/c", "d"]), "gw"),
            ["gw/a", "b", "ns/c", "d"]
        );
        assert_eq!(sanitised(&owned(&["a", "*/*"]), "gw"), ["*"]);
        assert_eq!(bare("ns/a.com"), "a.com");
    }

    #[test]
    fn intersection_agrees_with_comparing_every_pair() {
        let names = [
            "*",
            "*.com",
            "*.foo.com",
            "foo.com",
            "a.foo.com",
            "*.a.foo.com",
            "x.a.foo.com",
            "org",
        ];
        let subset = |a: &HostPattern, b: &HostPattern| match (a, b) {
            (_, HostPattern::Any) => true,
            (HostPattern::Exact(name), b) => b.matches(name),
            (HostPattern::Suffix(a), HostPattern::Suffix(b)) => a.ends_with(b.as_str()),
            _ => false,
        };
        for server in names {
            for host in names {
                let (s, h) = (HostPattern::parse(server), HostPattern::parse(host));
                let want = if subset(&h, &s) {
                    vec![h.to_string()]
                } else if subset(&s, &h) {
                    vec![s.to_string()]
                } else {
                    vec![]
                };
                assert_eq!(
                    intersect(&[server], "ns", &[host]),
                    want,
                    "{server} with {host}"
                );
            }
        }
    }
}
