//! What the questions look things up in: services by host, workloads by namespace, Gateways by
//! name, DestinationRules by host.

use std::collections::{HashMap, HashSet};

use crate::api::{
    DestinationRule, Gateway, IntOrString, Map, MeshConfig, ServiceEntry, VirtualService, kube,
};
use crate::resource::{Resource, ResourceSet};

/// Domain of a cluster's services.
const DOMAIN: &str = "svc.cluster.local";

/// A Service or one host of a ServiceEntry.
#[derive(Debug, Clone)]
pub(crate) struct Service<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) ports: Vec<u32>,
    /// Endpoints that are written into a ServiceEntry.
    pub(crate) entry: Option<&'a ServiceEntry>,
    /// Labels of the workloads behind it; none when it selects none.
    pub(crate) selector: Option<&'a Map<String>>,
    /// Ports of the workloads, by number; none when one of them is only known by name.
    pub(crate) targets: Option<Vec<u32>>,
}

/// A Pod, a WorkloadEntry, or what a Deployment makes Pods from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload<'a> {
    pub(crate) labels: [Option<&'a Map<String>>; 2],
}

impl Workload<'_> {
    /// Whether all labels of a selector are there.
    pub(crate) fn matches(&self, selector: &Map<String>) -> bool {
        selector.iter().all(|(key, value)| {
            self.labels
                .iter()
                .flatten()
                .any(|l| l.get(key) == Some(value))
        })
    }
}

/// Everything that is looked up.
pub(crate) struct Index<'a> {
    pub(crate) set: &'a ResourceSet,
    pub(crate) root: &'a str,
    pub(crate) meshes: Vec<&'a MeshConfig>,
    pub(crate) virtual_services: Vec<(&'a Resource, &'a VirtualService)>,
    pub(crate) gateways: HashMap<(&'a str, &'a str), (&'a Resource, &'a Gateway)>,
    services: HashMap<String, Vec<Service<'a>>>,
    service_namespaces: HashSet<&'a str>,
    workloads: HashMap<&'a str, Vec<Workload<'a>>>,
    rules: HashMap<String, Vec<(&'a Resource, &'a DestinationRule)>>,
}

impl<'a> Index<'a> {
    /// Reads the whole set once.
    pub(crate) fn new(set: &'a ResourceSet) -> Self {
        let mut meshes: Vec<&MeshConfig> = set.mesh_configs().map(|(_, m)| m).collect();
        meshes.extend(
            set.istio_operators()
                .filter_map(|(_, o)| o.mesh_config.as_ref()),
        );
        let root = meshes
            .iter()
            .map(|m| m.root_namespace.as_str())
            .find(|r| !r.is_empty())
            .unwrap_or("istio-system");
        let mut index = Self {
            set,
            root,
            meshes,
            virtual_services: set.virtual_services().collect(),
            gateways: set
                .gateways()
                .map(|(r, g)| ((&*r.meta.namespace, &*r.meta.name), (r, g)))
                .collect(),
            services: HashMap::new(),
            service_namespaces: HashSet::new(),
            workloads: HashMap::new(),
            rules: HashMap::new(),
        };
        index.add_services();
        index.add_workloads();
        for (resource, rule) in set.destination_rules() {
            let host = full_host(&rule.host, &resource.meta.namespace);
            index.rules.entry(host).or_default().push((resource, rule));
        }
        index
    }

    fn add_services(&mut self) {
        for (resource, service) in self.set.services() {
            let host = full_host(&resource.meta.name, &resource.meta.namespace);
            self.service_namespaces.insert(&resource.meta.namespace);
            let spec = service.spec.as_ref();
            let found = Service {
                resource,
                ports: spec
                    .map(|s| s.ports.iter().map(|p| p.port).collect())
                    .unwrap_or_default(),
                entry: None,
                selector: spec.map(|s| &s.selector).filter(|s| !s.is_empty()),
                targets: spec.and_then(|s| s.ports.iter().map(target_number).collect()),
            };
            self.services.entry(host).or_default().push(found);
        }
        for (resource, entry) in self.set.service_entries() {
            for host in &entry.hosts {
                let host = full_host(host, &resource.meta.namespace);
                let found = Service {
                    resource,
                    ports: entry.ports.iter().map(|p| p.number).collect(),
                    entry: Some(entry),
                    selector: entry.workload_selector.as_ref().map(|s| &s.labels),
                    targets: None,
                };
                self.services.entry(host).or_default().push(found);
            }
        }
    }

    fn add_workloads(&mut self) {
        for (resource, _) in self.set.pods() {
            let found = Workload {
                labels: [Some(&resource.meta.labels), None],
            };
            self.workloads
                .entry(&resource.meta.namespace)
                .or_default()
                .push(found);
        }
        for (resource, entry) in self.set.workload_entries() {
            let found = Workload {
                labels: [Some(&resource.meta.labels), Some(&entry.labels)],
            };
            self.workloads
                .entry(&resource.meta.namespace)
                .or_default()
                .push(found);
        }
        for (resource, deployment) in self.set.deployments() {
            let template = deployment.spec.as_ref().and_then(|s| s.template.as_ref());
            let labels = template
                .and_then(|t| t.metadata.as_ref())
                .map(|m| &m.labels)
                .filter(|l| !l.is_empty());
            if labels.is_none() {
                continue;
            }
            self.workloads
                .entry(&resource.meta.namespace)
                .or_default()
                .push(Workload {
                    labels: [labels, None],
                });
        }
    }

    /// Services of a full host name: the host itself, else the nearest wildcard entry.
    pub(crate) fn services(&self, host: &str) -> &[Service<'a>] {
        if let Some(found) = self.services.get(host) {
            return found;
        }
        let suffixes = host.match_indices('.').filter_map(|(i, _)| host.get(i..));
        let wild = suffixes
            .map(|s| self.services.get(format!("*{s}").as_str()))
            .find(Option::is_some);
        wild.flatten().map_or(&[], Vec::as_slice)
    }

    /// Whether the absence of a host means that it does not exist.
    pub(crate) fn is_known(&self, host: &str) -> bool {
        match namespace_of(host) {
            Some(namespace) => self.service_namespaces.contains(namespace),
            None => true,
        }
    }

    /// Workloads of a namespace; none when none of that namespace are among the input.
    pub(crate) fn workloads(&self, namespace: &str) -> Option<&[Workload<'a>]> {
        self.workloads.get(namespace).map(Vec::as_slice)
    }

    /// Every workload that is known.
    pub(crate) fn all_workloads(&self) -> impl Iterator<Item = &Workload<'a>> {
        self.workloads.values().flatten()
    }

    /// DestinationRules of exactly this full host name.
    pub(crate) fn rules(&self, host: &str) -> &[(&'a Resource, &'a DestinationRule)] {
        self.rules.get(host).map_or(&[], Vec::as_slice)
    }

    /// DestinationRules that apply to a host: its own, else those of the nearest wildcard.
    pub(crate) fn rules_for(&self, host: &str) -> &[(&'a Resource, &'a DestinationRule)] {
        let exact = self.rules(host);
        if !exact.is_empty() {
            return exact;
        }
        let suffixes = host.match_indices('.').filter_map(|(i, _)| host.get(i..));
        let wild = suffixes
            .map(|s| self.rules(&format!("*{s}")))
            .find(|r| !r.is_empty());
        wild.unwrap_or_else(|| self.rules("*"))
    }

    /// The Gateways that a VirtualService names, beside `mesh`: place in its list, namespace, name.
    pub(crate) fn gateway_names<'v>(
        resource: &'v Resource,
        spec: &'v VirtualService,
    ) -> impl Iterator<Item = (usize, &'v str, &'v str)> {
        spec.gateways
            .iter()
            .enumerate()
            .filter(|(_, g)| *g != "mesh")
            .map(|(i, g)| {
                let (namespace, name) = g.split_once('/').unwrap_or((&resource.meta.namespace, g));
                (i, namespace, name)
            })
    }
}

/// The number of the port that a Service's port leads to; none when it is a name.
fn target_number(port: &kube::ServicePort) -> Option<u32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::Name(_)) => None,
    }
}

/// The full name of a host as written in a namespace: names with a dot stand as they are.
pub(crate) fn full_host(host: &str, namespace: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.contains('.') || host == "*" || host.is_empty() {
        host
    } else {
        format!("{host}.{namespace}.{DOMAIN}")
    }
}

/// The namespace of a host inside the cluster; none for other hosts.
pub(crate) fn namespace_of(host: &str) -> Option<&str> {
    let (_, rest) = host.split_once('.')?;
    let (namespace, domain) = rest.split_once('.')?;
    (domain == DOMAIN || domain == "svc").then_some(namespace)
}

/// Whether two host patterns have a name in common.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (None, None) => a == b,
        (Some(suffix), None) => b.ends_with(suffix),
        (None, Some(suffix)) => a.ends_with(suffix),
        (Some(x), Some(y)) => x.ends_with(y) || y.ends_with(x),
    }
}

/// Whether a VirtualService applies to sidecars.
pub(crate) fn applies_to_mesh(spec: &VirtualService) -> bool {
    spec.gateways.is_empty() || spec.gateways.iter().any(|g| g == "mesh")
}
