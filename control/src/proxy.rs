//! Who asks: a proxy as its node says it is, once the server has compared that with its identity.
//!
//! What a proxy is given is a pure function of the world and of this value, so everything that the
//! result may depend on is a field here, and equal proxies share one result.

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

pub use node::{NodeError, metadata};

/// What a proxy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyKind {
    /// Beside one workload; the first part of its node id is `sidecar`.
    Sidecar,
    /// At an edge of the mesh; the first part of its node id is `router`.
    Gateway,
}

/// How connections reach a sidecar (`INTERCEPTION_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interception {
    /// iptables redirects them; the original destination says where to.
    Redirect,
    /// iptables hands them over with both addresses kept.
    Tproxy,
    /// Nothing does: the sidecar listens on explicit ports, as on a host without iptables rules.
    None,
}

/// A port of the workload behind a sidecar that nothing redirects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppPort {
    /// Where the sidecar listens, on each of [`Proxy::addresses`].
    pub inbound: u16,
    /// Where the application listens, on 127.0.0.1.
    pub app: u16,
}

/// A proxy: all that its configuration depends on, besides the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// What it is for.
    pub kind: ProxyKind,
    /// Node id, `type~address~name.namespace~domain`.
    pub id: String,
    /// Name of the workload or Pod.
    pub name: String,
    /// Namespace of the workload. Secrets and policies are looked up here.
    pub namespace: String,
    /// Service account of the workload; with the namespace it is the identity.
    pub service_account: String,
    /// Labels of the workload, which selectors are compared with.
    pub labels: BTreeMap<String, String>,
    /// Addresses of the workload, as its endpoints have them; the first is the main one.
    pub addresses: Vec<IpAddr>,
    /// Name of the Kubernetes cluster (`CLUSTER_ID`), empty when unknown.
    pub cluster: String,
    /// Name of the network, empty when unknown.
    pub network: String,
    /// `region/zone/subzone`, empty when unknown.
    pub locality: String,
    /// Suffix of Kubernetes' service names.
    pub domain_suffix: String,
    /// How connections reach it.
    pub interception: Interception,
    /// Ports of the workload when [`Interception::None`]; empty elsewhere.
    pub app_ports: Vec<AppPort>,
    /// Where outbound listeners are bound when [`Interception::None`].
    pub outbound_address: IpAddr,
    /// Names of the Envoy extensions that it has, such as `envoy.filters.http.rbac`. A stock Envoy
    /// has none whose name begins with `istio.`.
    pub extensions: BTreeSet<String>,
    /// HTTP/1.0 requests are accepted (`HTTP10`).
    pub http10: bool,
    /// WorkloadGroup that its workload registers with (`AUTO_REGISTER_GROUP`).
    pub group: Option<String>,
    /// It takes documents (`GENERATOR`): a gateway of ours, which compiles them itself, or an agent,
    /// which looks for its group.
    pub documents: bool,
}

impl Default for Proxy {
    /// A sidecar without workload.
    fn default() -> Self {
        Self {
            kind: ProxyKind::Sidecar,
            id: String::new(),
            name: String::new(),
            namespace: "default".to_owned(),
            service_account: "default".to_owned(),
            labels: BTreeMap::new(),
            addresses: Vec::new(),
            cluster: String::new(),
            network: String::new(),
            locality: String::new(),
            domain_suffix: "cluster.local".to_owned(),
            interception: Interception::Redirect,
            app_ports: Vec::new(),
            outbound_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            extensions: BTreeSet::new(),
            http10: false,
            group: None,
            documents: false,
        }
    }
}

impl Proxy {
    /// Whether it has an extension. A proxy that lists none is taken for a stock Envoy.
    #[must_use]
    pub fn has_extension(&self, name: &str) -> bool {
        self.extensions.contains(name)
            || (self.extensions.is_empty() && !name.starts_with("istio."))
    }
}

#[cfg(test)]
mod tests;
