//! Filter chains of a TLS listener: whose handshake, and whose request.

use super::hosts::{HostIndex, host_of};
use sallyport_config::ir::{FilterChain, HostPattern, Service};
use std::collections::HashMap;

/// Chains of one listener by server name.
#[derive(Debug)]
pub(super) struct Chains {
    names: HostIndex,
    /// Chains with the same number shake hands alike: same certificates, same policy.
    handshakes: Box<[u32]>,
}

/// Whose routes answer a request on a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// This chain's.
    Chain(u32),
    /// Those of a chain that would have shaken hands differently: 421 (RFC 9110 §15.5.20).
    Misdirected,
}

impl Chains {
    pub(super) fn new(chains: &[FilterChain]) -> Self {
        let mut names = HostIndex::new();
        for (index, chain) in (0..).zip(chains) {
            if chain.sni.is_empty() {
                names.claim(&HostPattern::Any, index);
            }
            for pattern in &chain.sni {
                names.claim(pattern, index);
            }
        }
        let mut kinds = HashMap::new();
        let handshakes = (0..).zip(chains).map(|(index, chain)| {
            let http = matches!(chain.service, Service::Http(_));
            *kinds.entry((&chain.tls, http)).or_insert(index)
        });
        Self {
            handshakes: handshakes.collect(),
            names,
        }
    }

    /// The chain of a handshake.
    pub(super) fn by_name(&self, name: &str) -> Option<u32> {
        self.names.owner(name)
    }

    /// Whose routes answer for this authority on a connection of `chain`.
    pub(super) fn owner(&self, chain: u32, authority: &str) -> Owner {
        if self.names.is_trivial() {
            return Owner::Chain(chain);
        }
        match self.names.owner(host_of(authority)) {
            Some(other) if other == chain => Owner::Chain(chain),
            Some(other) if self.handshake(other) == self.handshake(chain) => Owner::Chain(other),
            Some(_) => Owner::Misdirected,
            None => Owner::Chain(chain),
        }
    }

    fn handshake(&self, chain: u32) -> Option<&u32> {
        self.handshakes.get(usize::try_from(chain).ok()?)
    }
}
