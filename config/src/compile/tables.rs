//! Route tables in the making: hosts with lists of routes, in the order in which they came.
//!
//! Istio appends the routes of every VirtualService of a host, then moves catch-alls to the end
//! (`SortVHostRoutes`). Hosts with the same routes become one entry with several patterns.

use super::matches::catches_all;
use crate::ir::{HostPattern, Route, RouteTable, RouteTableId, VirtualHost};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Index of a list of routes in [`Tables`].
pub(super) type ListId = usize;

/// Tables and the lists that their hosts share.
#[derive(Debug, Default)]
pub(super) struct Tables {
    lists: Vec<Vec<Route>>,
    tables: Vec<Table>,
}

/// One table.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    hosts: BTreeMap<HostPattern, Host>,
}

/// One host pattern.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(super) struct Host {
    /// Status of `httpsRedirect`.
    pub https_redirect: Option<u16>,
    /// Its lists, in order.
    pub lists: Vec<ListId>,
}

impl Table {
    /// A table without hosts, by its RDS name.
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            hosts: BTreeMap::new(),
        }
    }

    /// The entry of a pattern.
    pub(super) fn host(&mut self, pattern: HostPattern) -> &mut Host {
        self.hosts.entry(pattern).or_default()
    }
}

impl Tables {
    /// Adds a list of routes.
    pub(super) fn list(&mut self, routes: Vec<Route>) -> ListId {
        self.lists.push(routes);
        self.lists.len() - 1
    }

    /// Adds a table.
    pub(super) fn add(&mut self, table: Table) -> RouteTableId {
        self.tables.push(table);
        RouteTableId(u32::try_from(self.tables.len() - 1).unwrap_or(u32::MAX))
    }

    /// Freezes all.
    pub(super) fn finish(self, mut renumber: impl FnMut(&mut Route)) -> Vec<RouteTable> {
        let freeze = |mut list: Vec<Route>| -> Arc<[Route]> {
            list.iter_mut().for_each(&mut renumber);
            Arc::from(list)
        };
        let lists: Vec<Arc<[Route]>> = self.lists.into_iter().map(freeze).collect();
        let table = |table: Table| RouteTable {
            name: table.name,
            hosts: hosts(table.hosts, &lists),
        };
        self.tables.into_iter().map(table).collect()
    }
}

fn hosts(hosts: BTreeMap<HostPattern, Host>, lists: &[Arc<[Route]>]) -> Vec<VirtualHost> {
    let mut out: Vec<VirtualHost> = Vec::with_capacity(hosts.len());
    let mut same: HashMap<Host, usize> = HashMap::new();
    for (pattern, host) in hosts {
        if let Some(known) = same.get(&host).and_then(|at| out.get_mut(*at)) {
            known.domains.push(pattern);
            continue;
        }
        same.insert(host.clone(), out.len());
        out.push(VirtualHost {
            domains: vec![pattern],
            https_redirect: host.https_redirect,
            routes: routes(&host.lists, lists),
        });
    }
    out
}

fn routes(ids: &[ListId], lists: &[Arc<[Route]>]) -> Arc<[Route]> {
    let of = |id: &ListId| lists.get(*id).cloned().unwrap_or_else(|| Arc::from([]));
    match ids {
        // a catch-all is the last of its own list already
        [only] => of(only),
        several => {
            let mut all: Vec<Route> = several.iter().flat_map(|id| of(id).to_vec()).collect();
            all.sort_by_key(|route| catches_all(&route.matcher));
            Arc::from(all)
        }
    }
}
