//! Host patterns: exact beats suffix, a longer suffix beats a shorter one, `*` comes last.

use super::affix::{AffixMap, Side};
use sallyport_config::ir::HostPattern;

/// What a host falls under. The first to claim a pattern keeps it.
#[derive(Debug)]
pub(super) struct HostIndex {
    exact: AffixMap,
    suffix: AffixMap,
    any: Option<u32>,
}

impl HostIndex {
    pub(super) fn new() -> Self {
        Self {
            exact: AffixMap::new(Side::Front, true),
            suffix: AffixMap::new(Side::Back, true),
            any: None,
        }
    }

    pub(super) fn claim(&mut self, pattern: &HostPattern, owner: u32) {
        match pattern {
            HostPattern::Exact(name) => {
                self.exact.insert(name.as_bytes(), owner);
            }
            HostPattern::Suffix(suffix) => {
                self.suffix.insert(suffix.as_bytes(), owner);
            }
            HostPattern::Any => {
                self.any.get_or_insert(owner);
            }
        }
    }

    /// Who owns a host without port, in any case.
    pub(super) fn owner(&self, host: &str) -> Option<u32> {
        let host = host.as_bytes();
        self.exact
            .exact(host)
            .or_else(|| self.suffix.longest_proper(host))
            .or(self.any)
    }

    /// Whether nothing but `*` was claimed.
    pub(super) fn is_trivial(&self) -> bool {
        self.exact.is_empty() && self.suffix.is_empty()
    }
}

/// The host of an authority: without port, brackets of an IPv6 address kept.
#[must_use]
pub fn host_of(authority: &str) -> &str {
    split_port(authority).0
}

/// Host and port; the port keeps its colon.
pub(crate) fn split_port(authority: &str) -> (&str, &str) {
    let from = authority.rfind(']').unwrap_or_default();
    let tail = authority.get(from..).unwrap_or_default();
    let colon = tail.find(':').map_or(authority.len(), |at| from + at);
    authority.split_at_checked(colon).unwrap_or((authority, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_owns_a_host() {
        let mut index = HostIndex::new();
        for (owner, pattern) in (0..).zip([
            "*",
            "*.com",
            "*.foo.com",
            "a.foo.com",
            "*",
            "a.foo.com",
            "[::1]",
        ]) {
            index.claim(&HostPattern::parse(pattern), owner);
        }
        for (authority, want) in [
            ("A.Foo.com:8080", 3),
            ("b.foo.com", 2),
            ("x.b.foo.com", 2),
            ("foo.com", 1),
            (".foo.com", 1),
            ("foo.com.", 0),
            ("", 0),
            ("[::1]:443", 6),
            ("[::1]", 6),
        ] {
            assert_eq!(index.owner(host_of(authority)), Some(want), "{authority}");
        }
    }
}
