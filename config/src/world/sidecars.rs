//! What sidecars ask a world: everything that may be called, and who restricts it.

use super::{Place, Service, ServicePort, Typed, World};
use crate::api;
use crate::api::destination_rule::{LoadBalancerSettings, LocalityLoadBalancerSetting};
use crate::resource::Spec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Which services an address serves: a mesh has as many sidecars as endpoints, and each asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Workloads(HashMap<IpAddr, Vec<Served>>);

/// A port of a service, and the port at the address.
#[derive(Debug, Clone)]
struct Served {
    host: Arc<str>,
    /// Places in the lists of services of the host, and of its ports.
    service: usize,
    port: usize,
    at: u16,
}

impl Workloads {
    /// Indexes the endpoints of services.
    pub(super) fn of(services: &HashMap<Arc<str>, Vec<Service>>) -> Self {
        let mut index: HashMap<IpAddr, Vec<Served>> = HashMap::new();
        for (host, list) in services {
            for (service, one) in list.iter().enumerate() {
                for (port, of) in one.ports.iter().enumerate() {
                    for instance in &of.instances {
                        let Place::Address(address) = instance.place else {
                            continue;
                        };
                        index.entry(address.ip()).or_default().push(Served {
                            host: Arc::clone(host),
                            service,
                            port,
                            at: address.port(),
                        });
                    }
                }
            }
        }
        Self(index)
    }
}

impl World {
    /// Ports of services that have these addresses among their endpoints, with the port there;
    /// ordered by host, namespace and as they were written.
    pub(crate) fn served_at(&self, addresses: &[IpAddr]) -> Vec<(&Service, &ServicePort, u16)> {
        let here = addresses.iter().filter_map(|ip| self.workloads.0.get(ip));
        let mut found = BTreeMap::new();
        for served in here.flatten() {
            let services = self.services_of(&served.host);
            if let Some(service) = services.get(served.service)
                && let Some(port) = service.ports.get(served.port)
            {
                let place = (&service.host, &service.namespace, served.port, served.at);
                found.insert(place, (service, port, served.at));
            }
        }
        found.into_values().collect()
    }

    /// Every Sidecar, oldest first.
    pub fn sidecars(&self) -> impl Iterator<Item = Typed<'_, api::Sidecar>> {
        let all = self.sidecars.iter();
        all.filter_map(|resource| match &resource.spec {
            Spec::Sidecar(spec) => Some(Typed {
                resource,
                spec: &**spec,
            }),
            _ => None,
        })
    }

    /// Every service, ordered by host and namespace.
    #[must_use]
    pub fn services(&self) -> Vec<&Service> {
        let mut all: Vec<&Service> = self.services.values().flatten().collect();
        all.sort_by(|a, b| (&a.host, &a.namespace).cmp(&(&b.host, &b.namespace)));
        all
    }

    /// VirtualServices for sidecars, oldest first: those that name `mesh`, or no gateway at all.
    pub fn virtual_services_of_mesh(&self) -> impl Iterator<Item = Typed<'_, api::VirtualService>> {
        let all = (0..self.virtual_services.len()).filter_map(|at| self.virtual_service_at(at));
        all.filter(|service| {
            let gateways = &service.spec.gateways;
            // a delegate has no hosts, and is part of whoever names it
            !service.spec.hosts.is_empty()
                && (gateways.is_empty() || gateways.iter().any(|g| g == "mesh"))
        })
    }

    /// Keys of the labels that a workload's calls may depend on: those that selectors of Sidecars
    /// and DestinationRules, `sourceLabels` and `failoverPriority` name. Workloads of a namespace
    /// and a locality with equal values of these call alike.
    #[must_use]
    pub fn outbound_labels(&self) -> BTreeSet<&str> {
        let mut keys = BTreeSet::new();
        for sidecar in self.sidecars() {
            let selector = sidecar.spec.workload_selector.iter();
            keys.extend(selector.flat_map(|s| s.labels.keys()));
        }
        for resource in &self.virtual_services {
            if let Spec::VirtualService(spec) = &resource.spec {
                keys.extend(source_labels(spec));
            }
        }
        for rule in self.rules.all() {
            let selector = rule.workload_selector.iter();
            keys.extend(selector.flat_map(|s| s.match_labels.keys()));
            let subsets = rule
                .subsets
                .iter()
                .filter_map(|s| s.traffic_policy.as_ref());
            for policy in rule.traffic_policy.iter().chain(subsets) {
                let ports = policy.port_level_settings.iter();
                let balancers = ports.filter_map(|p| p.load_balancer.as_ref());
                for balancer in policy.load_balancer.iter().chain(balancers) {
                    keys.extend(priorities(balancer));
                }
            }
        }
        keys.extend(self.mesh.locality_lb_setting.iter().flat_map(named));
        keys.extend(LOCALITY);
        keys
    }
}

/// Keys that a workload's locality is compared by without being named.
const LOCALITY: [&str; 5] = [
    "topology.istio.io/network",
    "topology.istio.io/cluster",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

fn source_labels(spec: &api::VirtualService) -> impl Iterator<Item = &str> {
    let http = spec.http.iter().flat_map(|route| &route.match_);
    let tls = spec.tls.iter().flat_map(|route| &route.match_);
    let tcp = spec.tcp.iter().flat_map(|route| &route.match_);
    let labels = http.map(|m| &m.source_labels);
    let labels = labels.chain(tls.map(|m| &m.source_labels));
    let labels = labels.chain(tcp.map(|m| &m.source_labels));
    labels.flat_map(|labels| labels.keys())
}

fn priorities(balancer: &LoadBalancerSettings) -> impl Iterator<Item = &str> {
    balancer.locality_lb_setting.iter().flat_map(named)
}

/// `key`, or `key=value`.
fn named(setting: &LocalityLoadBalancerSetting) -> impl Iterator<Item = &str> {
    let keys = setting.failover_priority.iter();
    keys.map(|key| key.split_once('=').map_or(key.as_str(), |(key, _)| key))
}
