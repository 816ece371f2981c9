//! A snapshot arranged for speed: built once beside the traffic, shared by every worker.

use crate::admit::{Authorization, Claims, Tokens};
use crate::call::Call;
use crate::client_hello::ClientHello;
use crate::decide::Where;
use crate::rate::Limits;
use sallyport_config::ir::{
    Cluster, ClusterId, FilterChain, HttpService, Listener, ListenerKind, Route, RouteTable,
    Service, Snapshot,
};
use std::collections::HashMap;
use std::sync::Arc;

mod affix;
mod chains;
mod hosts;
mod matching;
mod paths;
mod pattern;
mod rule;

pub use hosts::host_of;

pub(crate) use hosts::split_port;
pub(crate) use matching::{Conditions, Test, any_line, query_value};
pub(crate) use pattern::Patterns;
pub(crate) use rule::{Rule, TargetRule};

use chains::{Chains, Owner};
use hosts::HostIndex;
use paths::PathIndex;

/// Index of a listener in [`Snapshot::listeners`]. Good for one generation only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerIdx(pub u32);

/// Index of a filter chain in its listener. Good for one generation only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainIdx(pub u32);

/// A snapshot arranged for speed.
#[derive(Debug)]
pub struct Tables {
    snapshot: Arc<Snapshot>,
    names: HashMap<String, ListenerIdx>,
    /// By listener; `None` for cleartext.
    chains: Vec<Option<Chains>>,
    /// By route table.
    hosts: Vec<Hosts>,
    /// Route lists, each once however many hosts share it.
    lists: Vec<RouteList>,
    authorization: Authorization,
    tokens: Tokens,
    limits: Limits,
}

/// A list that is not longer is not indexed by path.
const UNINDEXED_RULES_MAX: usize = 4;

/// Hosts of one route table.
#[derive(Debug)]
struct Hosts {
    index: HostIndex,
    hosts: Vec<Host>,
}

/// A host that a request reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    /// Status of `tls.httpsRedirect`.
    pub(crate) https_redirect: Option<u16>,
    list: usize,
}

/// Routes in order, with what was compiled from them.
#[derive(Debug)]
struct RouteList {
    routes: Arc<[Route]>,
    rules: Box<[Rule]>,
    /// `None` for a short list, where looking at each rule touches less memory.
    paths: Option<PathIndex>,
}

/// Where an authority leads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reached {
    /// To a host.
    Host(Host),
    /// To another connection: 421.
    Misdirected,
    /// Nowhere.
    Nothing,
}

/// Whose routes answer a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answering<'t> {
    /// Those of this service.
    Here(&'t HttpService),
    /// Those of a chain that would have shaken hands differently: 421.
    Elsewhere,
    /// What came in there is not HTTP.
    Nobody,
}

/// A rule that applies.
#[derive(Debug, Clone, Copy)]
pub struct Found<'t> {
    pub(crate) route: &'t Route,
    pub(crate) rule: &'t Rule,
}

impl Tables {
    /// Arranges a snapshot: compiles patterns and templates, builds the indexes. Takes time
    /// linear in the snapshot; meant for a side thread.
    #[must_use]
    pub fn build(snapshot: Arc<Snapshot>) -> Self {
        let limits = Limits::new(&snapshot);
        let mut lists = Lists::new(&snapshot, &limits);
        let hosts = snapshot.route_tables.iter();
        let hosts = hosts.map(|table| lists.hosts(table)).collect();
        let chains = snapshot
            .listeners
            .iter()
            .map(|listener| match &listener.kind {
                ListenerKind::Plain(_) => None,
                ListenerKind::Tls(chains) => Some(Chains::new(chains)),
            });
        let names = (0..).zip(&snapshot.listeners);
        Self {
            hosts,
            chains: chains.collect(),
            names: names
                .map(|(index, listener)| (listener.name.clone(), ListenerIdx(index)))
                .collect(),
            lists: lists.lists,
            authorization: Authorization::new(&snapshot.policies),
            tokens: Tokens::new(&snapshot.policies),
            limits,
            snapshot,
        }
    }

    /// What these tables were built from.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Who may pass.
    pub(crate) fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// Which tokens are good.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// How many may pass.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A listener.
    #[must_use]
    pub fn listener(&self, listener: ListenerIdx) -> Option<&Listener> {
        let index = usize::try_from(listener.0).ok()?;
        self.snapshot.listeners.get(index)
    }

    /// The listener of this name ([`Listener::name`]): for connections that outlive a generation.
    #[must_use]
    pub fn listener_named(&self, name: &str) -> Option<ListenerIdx> {
        self.names.get(name).copied()
    }

    /// The filter chain of a TLS handshake: most specific server name wins. `None`: no chain
    /// serves the name, or the listener is cleartext.
    #[must_use]
    pub fn chain(&self, listener: ListenerIdx, sni: Option<&str>) -> Option<ChainIdx> {
        let owner = self.chains_of(listener)?.by_name(sni.unwrap_or_default());
        owner.map(ChainIdx)
    }

    /// As [`Self::chain`], of a client that has said this; `None` also where it is not let in.
    #[must_use]
    pub fn chain_for(&self, listener: ListenerIdx, hello: &ClientHello) -> Option<ChainIdx> {
        let chain = self.chain(listener, hello.sni.as_deref())?;
        let found = self.filter_chain(listener, chain)?;
        (hello.of_mesh || !found.mesh_only).then_some(chain)
    }

    fn chains_of(&self, listener: ListenerIdx) -> Option<&Chains> {
        let index = usize::try_from(listener.0).ok()?;
        self.chains.get(index)?.as_ref()
    }

    /// A filter chain.
    #[must_use]
    pub fn filter_chain(&self, listener: ListenerIdx, chain: ChainIdx) -> Option<&FilterChain> {
        match &self.listener(listener)?.kind {
            ListenerKind::Tls(chains) => chains.get(usize::try_from(chain.0).ok()?),
            ListenerKind::Plain(_) => None,
        }
    }

    /// What is spoken there.
    #[must_use]
    pub fn service(&self, at: Where) -> Option<&Service> {
        match (at.chain, &self.listener(at.listener)?.kind) {
            (None, ListenerKind::Plain(service)) => Some(service),
            (Some(chain), _) => Some(&self.filter_chain(at.listener, chain)?.service),
            (None, ListenerKind::Tls(_)) => None,
        }
    }

    /// A cluster.
    #[must_use]
    pub fn cluster(&self, id: ClusterId) -> Option<&Cluster> {
        self.snapshot.clusters.get(usize::try_from(id.0).ok()?)
    }

    /// Where an authority leads on a connection that came in there.
    pub(crate) fn host(&self, at: Where, authority: &str) -> Reached {
        let found = match self.http(at, authority) {
            Answering::Here(service) => self.host_of(service, authority),
            Answering::Elsewhere => return Reached::Misdirected,
            Answering::Nobody => None,
        };
        found.map_or(Reached::Nothing, Reached::Host)
    }

    /// Whose routes answer for an authority on a connection that came in there.
    pub(crate) fn http(&self, at: Where, authority: &str) -> Answering<'_> {
        let chain = match (at.chain, self.chains_of(at.listener)) {
            (Some(chain), Some(chains)) => match chains.owner(chain.0, authority) {
                Owner::Chain(chain) => Some(ChainIdx(chain)),
                Owner::Misdirected => return Answering::Elsewhere,
            },
            (chain, _) => chain,
        };
        match self.service(Where { chain, ..at }) {
            Some(Service::Http(service)) => Answering::Here(service),
            _ => Answering::Nobody,
        }
    }

    fn host_of(&self, service: &HttpService, authority: &str) -> Option<Host> {
        let hosts = self.hosts.get(usize::try_from(service.routes.0).ok()?)?;
        let owner = hosts.index.owner(host_of(authority))?;
        hosts.hosts.get(usize::try_from(owner).ok()?).copied()
    }

    /// The first rule of a host that applies.
    pub(crate) fn rule(&self, host: Host, call: &Call<'_>, claims: &Claims) -> Option<Found<'_>> {
        let list = self.lists.get(host.list)?;
        let (position, rule) = match &list.paths {
            None => {
                let mut rules = list.rules.iter().enumerate();
                rules.find(|(_, rule)| rule.conditions.hold(call, claims))
            }
            Some(paths) => paths.candidates(call.path).find_map(|position| {
                let position = usize::try_from(position).ok()?;
                let rule = list.rules.get(position)?;
                let holds = rule.conditions.hold_for_candidate(call, claims);
                holds.then_some((position, rule))
            }),
        }?;
        let route = list.routes.get(position)?;
        Some(Found { route, rule })
    }

    /// Every rule of a host, in order.
    pub(crate) fn rules(&self, host: Host) -> impl Iterator<Item = Found<'_>> {
        let lists = self.lists.get(host.list).into_iter();
        lists.flat_map(|list| {
            let both = list.routes.iter().zip(&list.rules);
            both.map(|(route, rule)| Found { route, rule })
        })
    }
}

/// Route lists while tables are built.
struct Lists<'s> {
    snapshot: &'s Snapshot,
    limits: &'s Limits,
    lists: Vec<RouteList>,
    known: HashMap<*const Route, usize>,
    patterns: Patterns,
}

impl<'s> Lists<'s> {
    fn new(snapshot: &'s Snapshot, limits: &'s Limits) -> Self {
        Self {
            snapshot,
            limits,
            lists: Vec::new(),
            known: HashMap::new(),
            patterns: Patterns::default(),
        }
    }

    fn hosts(&mut self, table: &RouteTable) -> Hosts {
        let mut index = HostIndex::new();
        let mut hosts = Vec::with_capacity(table.hosts.len());
        for (owner, host) in (0..).zip(&table.hosts) {
            for pattern in &host.domains {
                index.claim(pattern, owner);
            }
            hosts.push(Host {
                https_redirect: host.https_redirect,
                list: self.list(&host.routes),
            });
        }
        Hosts { index, hosts }
    }

    fn list(&mut self, routes: &Arc<[Route]>) -> usize {
        let key = routes.as_ptr();
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let Self {
            snapshot,
            limits,
            patterns,
            ..
        } = self;
        let rules = routes.iter().map(|route| Rule {
            limits: limits.of_route(&snapshot.limits, route),
            ..Rule::new(route, &snapshot.clusters, patterns)
        });
        self.lists.push(RouteList {
            rules: rules.collect(),
            paths: (routes.len() > UNINDEXED_RULES_MAX).then(|| PathIndex::new(routes)),
            routes: Arc::clone(routes),
        });
        self.known.insert(key, self.lists.len() - 1);
        self.lists.len() - 1
    }
}

#[cfg(test)]
pub(crate) mod tests;
