//! Snapshots as Envoy's resources.
//!
//! A [`Snapshot`] is everything that one proxy must do; here it is said once more, in the words of
//! Envoy's API v3, for stock Envoy: no extension that only Istio's build has. What is decided is
//! decided in the compiler. The shape of listeners, filters, routes and clusters is that of Istio's
//! `pilot/pkg/networking/core`, so that people find what they know in a config dump.
//!
//! Where Envoy has no words for what our gateway does, it does what Istio's would: a request for
//! the host of another certificate is answered 404, not 421; `ARCHITECTURE.md` has the list.

mod actions;
mod clusters;
mod dynamic;
mod headers;
mod http;
mod jwt;
mod limits;
mod listeners;
mod log;
mod matches;
mod policies;
mod retries;
mod routes;
mod sidecar;
mod tls;
mod traffic;
mod upstream_tls;
mod values;

use crate::issuers::IssuerKeys;
use crate::proxy::{Interception, Proxy, ProxyKind};
use crate::resources::{Resource, Resources, TypeUrl};
use sallyport_config::ir::{
    CheckProtocol, Cluster as Upstream, ClusterId, Sidecar, Snapshot, UpstreamProtocol,
};
use sallyport_config::{
    OwnPorts, SidecarView, View, World, compile, compile_inbound, compile_outbound,
};
use sallyport_wire::envoy::envoy::config::cluster::v3::Cluster;
use sallyport_wire::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use sallyport_wire::envoy::envoy::config::listener::v3::Listener;
use sallyport_wire::envoy::envoy::config::route::v3::RouteConfiguration;
use sallyport_wire::envoy::envoy::extensions::transport_sockets::tls::v3::Secret;
use std::collections::BTreeSet;

/// Name of the cluster behind which the agent gives out the workload's own certificate and roots.
pub const SDS_CLUSTER: &str = "sds-grpc";

pub use tls::{OWN, ROOTS};

/// How resources refer to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// By name, each fetched by ADS: what the control process serves.
    Discovery,
    /// Routes inside listeners, endpoints inside clusters, keys inside chains: what fits into one
    /// bootstrap file, which then has the workload's own secrets by the names [`OWN`] and [`ROOTS`].
    Inline,
}

/// What a proxy is told, in the order in which it has to be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lowered {
    /// CDS.
    pub clusters: Vec<Cluster>,
    /// EDS; empty when inline.
    pub endpoints: Vec<ClusterLoadAssignment>,
    /// LDS.
    pub listeners: Vec<Listener>,
    /// RDS; empty when inline.
    pub routes: Vec<RouteConfiguration>,
    /// SDS: server certificates of Secrets; empty when inline.
    pub secrets: Vec<Secret>,
}

/// What `proxy` is given that others may share. A pure function of the world, of the keys of
/// issuers and of the [`vantage`]: equal arguments give equal resources, and the server shares them by that.
#[must_use]
pub fn shared(world: &World, keys: &IssuerKeys, vantage: &Proxy) -> Resources {
    match vantage.kind {
        ProxyKind::Gateway => {
            let mut compiled = compile(world, &view(vantage));
            keys.fill(&mut compiled.snapshot.policies.jwt);
            gateway(&compiled.snapshot, Form::Discovery).encoded()
        }
        ProxyKind::Sidecar => {
            let compiled = compile_outbound(world, &sidecar_view(vantage));
            called(&compiled.sidecar, Form::Discovery).encoded()
        }
    }
}

/// What only `proxy` is given: what a sidecar does for those who call its workload.
#[must_use]
pub fn own(world: &World, keys: &IssuerKeys, proxy: &Proxy) -> Resources {
    match proxy.kind {
        ProxyKind::Gateway => Resources::default(),
        ProxyKind::Sidecar => {
            let mut sidecar = compile_inbound(world, &sidecar_view(proxy)).sidecar;
            keys.fill(&mut sidecar.snapshot.policies.jwt);
            let lowered = Lowered {
                clusters: sidecar::inbound::clusters(&sidecar),
                listeners: sidecar::inbound::listeners(&sidecar, Form::Discovery),
                ..Lowered::default()
            };
            lowered.encoded()
        }
    }
}

/// A proxy without all that [`shared`] does not depend on; `labels` are
/// [`World::outbound_labels`].
#[must_use]
pub fn vantage(proxy: &Proxy, labels: &BTreeSet<String>) -> Proxy {
    let mut vantage = Proxy {
        id: String::new(),
        ..proxy.clone()
    };
    if proxy.kind == ProxyKind::Sidecar {
        vantage.name = String::new();
        vantage.service_account = String::new();
        vantage.labels.retain(|key, _| labels.contains(key));
        vantage.addresses = Vec::new();
        vantage.app_ports = Vec::new();
        vantage.extensions = BTreeSet::new();
        vantage.group = None;
    }
    vantage
}

/// A sidecar as the compiler sees it.
fn sidecar_view(proxy: &Proxy) -> SidecarView {
    let apps = proxy.app_ports.iter();
    let ports = (proxy.interception == Interception::None).then(|| OwnPorts {
        outbound: proxy.outbound_address,
        inbound: apps.map(|port| (port.inbound, port.app)).collect(),
    });
    SidecarView {
        workload: view(proxy),
        addresses: proxy.addresses.clone(),
        ports,
    }
}

/// The proxy as the compiler sees it.
pub(crate) fn view(proxy: &Proxy) -> View {
    View {
        namespace: proxy.namespace.clone(),
        labels: proxy.labels.clone(),
        name: proxy.name.clone(),
        cluster: proxy.cluster.clone(),
        network: proxy.network.clone(),
        locality: proxy.locality.clone(),
        domain_suffix: proxy.domain_suffix.clone(),
        port_map: Vec::new(),
        http10: proxy.http10,
    }
}

impl Lowered {
    /// Each resource under its name.
    fn encoded(&self) -> Resources {
        let mut out = Resources::default();
        for cluster in &self.clusters {
            let name = cluster.name.as_str();
            out.insert(TypeUrl::Cluster, Resource::new(name, cluster));
        }
        for assignment in &self.endpoints {
            let name = assignment.cluster_name.as_str();
            out.insert(TypeUrl::Endpoints, Resource::new(name, assignment));
        }
        for listener in &self.listeners {
            let name = listener.name.as_str();
            out.insert(TypeUrl::Listener, Resource::new(name, listener));
        }
        for table in &self.routes {
            out.insert(TypeUrl::Route, Resource::new(table.name.as_str(), table));
        }
        for secret in &self.secrets {
            out.insert(TypeUrl::Secret, Resource::new(secret.name.as_str(), secret));
        }
        out
    }
}

/// What a gateway's snapshot tells an Envoy in its place.
#[must_use]
pub fn gateway(snapshot: &Snapshot, form: Form) -> Lowered {
    let mut clusters: Vec<Cluster> = snapshot
        .clusters
        .iter()
        .map(|c| clusters::cluster(snapshot, c, form))
        .collect();
    for asked in &snapshot.policies.authorizers {
        let name = cluster_name(snapshot, asked.cluster);
        let found = clusters.iter_mut().find(|c| c.name == name);
        let other = find_cluster(snapshot, asked.cluster)
            .is_some_and(|c| c.protocol != UpstreamProtocol::Http2);
        if asked.protocol == CheckProtocol::Grpc
            && other
            && let Some(cluster) = found
        {
            // gRPC speaks nothing else, whatever its port is called
            clusters::speak_http2(cluster);
        }
    }
    clusters.push(clusters::black_hole());
    let mut lowered = Lowered {
        clusters,
        listeners: listeners::listeners(snapshot, form),
        ..Lowered::default()
    };
    if form == Form::Discovery {
        let discovered = snapshot.clusters.iter().filter(|c| clusters::is_static(c));
        lowered.endpoints = discovered
            .map(|c| clusters::endpoints(snapshot, c))
            .collect();
        let tables = snapshot.route_tables.iter();
        lowered.routes = tables.map(|t| routes::table(snapshot, t)).collect();
        lowered.secrets = tls::secrets(snapshot);
    }
    lowered
}

/// What a sidecar is told.
#[must_use]
pub fn sidecar(sidecar: &Sidecar, form: Form) -> Lowered {
    let mut lowered = called(sidecar, form);
    let listeners = sidecar::inbound::listeners(sidecar, form);
    lowered.listeners.splice(0..0, listeners);
    lowered.clusters.extend(sidecar::inbound::clusters(sidecar));
    lowered
}

/// What a sidecar is told about what its workload calls.
fn called(sidecar: &Sidecar, form: Form) -> Lowered {
    let snapshot = &sidecar.snapshot;
    let mut lowered = gateway(snapshot, form);
    for id in &sidecar.as_called {
        let name = cluster_name(snapshot, *id);
        lowered.endpoints.retain(|e| e.cluster_name != name);
        let mut clusters = lowered.clusters.iter_mut();
        if let Some(cluster) = clusters.find(|c| c.name == name) {
            sidecar::go_on(cluster);
        }
    }
    for name in dynamic::names(snapshot) {
        lowered.endpoints.retain(|e| e.cluster_name != name);
        let mut clusters = lowered.clusters.iter_mut();
        if let Some(cluster) = clusters.find(|c| c.name == name) {
            dynamic::follow_requests(cluster);
        }
    }
    let rest = sidecar::outbound::clusters(sidecar);
    lowered.clusters.extend(rest);
    lowered.listeners = sidecar::outbound::listeners(sidecar, form);
    if form == Form::Discovery {
        let tables = snapshot.route_tables.iter();
        lowered.routes = tables
            .map(|t| sidecar::outbound::table(sidecar, t))
            .collect();
    }
    lowered
}

/// Name of a cluster, empty for one that does not exist.
fn cluster_name(snapshot: &Snapshot, id: ClusterId) -> String {
    let cluster = find_cluster(snapshot, id);
    cluster.map(|c| c.name.clone()).unwrap_or_default()
}

fn find_cluster(snapshot: &Snapshot, id: ClusterId) -> Option<&Upstream> {
    snapshot.clusters.get(usize::try_from(id.0).ok()?)
}
