//! Endpoints of services: EndpointSlices, Endpoints, pods, WorkloadEntries.

use super::covers;
use super::networks::NETWORK;
use super::services::{Instance, Place};
use crate::api;
use crate::api::kube::{EndpointPort, ServicePort, ServiceSpec};
use crate::api::service_entry::Resolution;
use crate::api::{IntOrString, Map, WorkloadEntry};
use crate::resource::{Kind, Meta, Resource, ResourceSet, Spec};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Label by which an endpoint says what its proxy takes: `istio` is mutual TLS, `disabled` is not.
const TLS_MODE: &str = "security.istio.io/tlsMode";

/// EndpointSlices and Endpoints by namespace and name of their Service.
pub(super) type Slices<'s> = HashMap<(&'s str, &'s str), Vec<&'s Resource>>;

/// Finds the slices of every service.
pub(super) fn slices(set: &ResourceSet) -> Slices<'_> {
    let mut slices: Slices<'_> = HashMap::new();
    for resource in set.of_kind(Kind::EndpointSlice) {
        if let Some(name) = resource.meta.labels.get(SERVICE_NAME) {
            slices
                .entry((&resource.meta.namespace, name))
                .or_default()
                .push(resource);
        }
    }
    for resource in set.of_kind(Kind::Endpoints) {
        let list = slices
            .entry((&resource.meta.namespace, &resource.meta.name))
            .or_default();
        // Kubernetes mirrors Endpoints into slices: both say the same
        if list.is_empty() {
            list.push(resource);
        }
    }
    slices
}

/// Pods by name and by address.
#[derive(Default)]
pub(super) struct Pods<'s> {
    by_name: HashMap<(&'s str, &'s str), &'s Resource>,
    by_ip: HashMap<&'s str, &'s Resource>,
    all: Vec<&'s Resource>,
}

impl<'s> Pods<'s> {
    pub(super) fn of(set: &'s ResourceSet) -> Self {
        let mut pods = Self::default();
        for resource in set.of_kind(Kind::Pod) {
            pods.by_name
                .insert((&resource.meta.namespace, &resource.meta.name), resource);
            if let Some(ip) = ip_of(resource) {
                pods.by_ip.insert(ip, resource);
            }
            pods.all.push(resource);
        }
        pods
    }

    fn behind(
        &self,
        namespace: &str,
        target: Option<&api::kube::ObjectReference>,
        ip: &str,
    ) -> Option<&'s Resource> {
        let named = target.filter(|t| t.kind == "Pod").and_then(|t| {
            let namespace = if t.namespace.is_empty() {
                namespace
            } else {
                &t.namespace
            };
            self.by_name.get(&(namespace, t.name.as_str()))
        });
        named.or_else(|| self.by_ip.get(ip)).copied()
    }
}

fn ip_of(pod: &Resource) -> Option<&str> {
    match &pod.spec {
        Spec::Pod(spec) => spec
            .status
            .as_ref()
            .map(|s| s.pod_ip.as_str())
            .filter(|ip| !ip.is_empty()),
        _ => None,
    }
}

/// Port of a pod's container by name.
pub(super) fn container_port(pod: &Resource, name: &str) -> Option<u16> {
    let Spec::Pod(pod) = &pod.spec else {
        return None;
    };
    let mut ports = pod
        .spec
        .iter()
        .flat_map(|s| &s.containers)
        .flat_map(|c| &c.ports);
    ports
        .find(|p| p.name == name)
        .and_then(|p| u16::try_from(p.container_port).ok())
}

/// Name of the workload that made a pod: without the hash of its ReplicaSet and its own suffix.
fn workload_of(pod: &Resource) -> Arc<str> {
    let name = &pod.meta.name;
    let hash = pod.meta.labels.get("pod-template-hash");
    let cut = hash.and_then(|hash| name.find(&format!("-{hash}-")));
    cut.and_then(|at| name.get(..at))
        .map_or_else(|| Arc::clone(name), Arc::from)
}

/// A pod's service account; Kubernetes gives `default` to those that name none.
fn account_of(pod: &Resource) -> Arc<str> {
    let spec = match &pod.spec {
        Spec::Pod(pod) => pod.spec.as_ref(),
        _ => None,
    };
    let named = spec.map(|s| s.service_account_name.as_str());
    Arc::from(named.filter(|n| !n.is_empty()).unwrap_or("default"))
}

fn instance(
    pods: &Pods<'_>,
    namespace: &str,
    target: Option<&api::kube::ObjectReference>,
    ip: &str,
    port: u16,
    zone: &str,
) -> Option<Instance> {
    let address = SocketAddr::new(ip.parse::<IpAddr>().ok()?, port);
    let pod = pods.behind(namespace, target, ip);
    let labels = pod
        .map(|p| Arc::new(p.meta.labels.clone()))
        .unwrap_or_default();
    let locality = match labelled_locality(&labels) {
        Some(locality) => locality,
        None if zone.is_empty() => Arc::from(""),
        None => Arc::from(format!("/{zone}")),
    };
    let workload = pod.map_or_else(|| Arc::from("unknown"), workload_of);
    Some(Instance {
        mtls: labels.get(TLS_MODE).is_some_and(|mode| mode == "istio"),
        place: Place::Address(address),
        network: labelled_network(&labels),
        labels,
        weight: 1,
        locality,
        workload,
        service_account: pod.map_or_else(|| Arc::from(""), account_of),
    })
}

/// The locality that a label gives; its parts are separated by dots there, because labels have no
/// slashes.
fn labelled_locality(labels: &Map<String>) -> Option<Arc<str>> {
    let label = labels.get("istio-locality")?;
    Some(Arc::from(label.replace('.', "/")))
}

/// The network that a label gives.
fn labelled_network(labels: &Map<String>) -> Arc<str> {
    Arc::from(labels.get(NETWORK).map(String::as_str).unwrap_or_default())
}

/// Number of the endpoints' port that stands for a service port: by name, or the only one.
fn matching_port(ports: &[EndpointPort], port: &ServicePort, only: bool) -> Option<u16> {
    let named = ports.iter().find(|p| p.name == port.name);
    let found = named.or_else(|| ports.first().filter(|_| only && ports.len() == 1));
    u16::try_from(found?.port).ok()
}

/// The only endpoint of a service that is another name for a host.
pub(super) fn named(name: &str, port: u16) -> Instance {
    Instance {
        place: Place::Name(Arc::from(name), port),
        labels: Arc::default(),
        weight: 1,
        locality: Arc::from(""),
        network: Arc::from(""),
        workload: Arc::from("unknown"),
        service_account: Arc::from(""),
        mtls: false,
    }
}

/// Everything that can be an endpoint of a Service.
pub(super) struct Found<'s> {
    pub(super) slices: &'s Slices<'s>,
    pub(super) pods: &'s Pods<'s>,
    pub(super) workloads: &'s [Workload<'s>],
}

/// Endpoints of a port of a Kubernetes Service: those of its slices, and the WorkloadEntries that
/// its selector covers.
pub(super) fn of_port(
    meta: &Meta,
    spec: &ServiceSpec,
    port: &ServicePort,
    found: &Found<'_>,
) -> Vec<Instance> {
    let mut instances = match found.slices.get(&(&*meta.namespace, &*meta.name)) {
        Some(slices) => of_slices(meta, spec, port, slices, found.pods),
        None => of_pods(meta, spec, port, found.pods),
    };
    instances.extend(of_selected_workloads(meta, spec, port, found.workloads));
    instances
}

/// WorkloadEntries of the namespace that a Service selects, as it does pods. Only those with an
/// address: a Service has no resolution that names could be looked up by.
fn of_selected_workloads<'s>(
    meta: &'s Meta,
    spec: &'s ServiceSpec,
    port: &'s ServicePort,
    workloads: &'s [Workload<'_>],
) -> impl Iterator<Item = Instance> + use<'s> {
    let selected = workloads.iter().filter(|w| {
        !spec.selector.is_empty()
            && w.resource.meta.namespace == meta.namespace
            && covers(&w.labels, &spec.selector)
    });
    selected.filter_map(|w| {
        let named = |name: &str| w.spec.ports.get(name).copied();
        let number = named(&port.name).or_else(|| match &port.target_port {
            None => Some(port.port),
            Some(IntOrString::Int(number)) => Some(*number),
            Some(IntOrString::Name(name)) => named(name),
        });
        let name = &w.resource.meta.name;
        at(
            w.spec,
            Arc::clone(&w.labels),
            number?,
            name,
            Beside::Nothing,
        )
    })
}

fn of_slices(
    meta: &Meta,
    spec: &ServiceSpec,
    port: &ServicePort,
    slices: &[&Resource],
    pods: &Pods<'_>,
) -> Vec<Instance> {
    let only = spec.ports.len() == 1;
    let unready = spec.publish_not_ready_addresses;
    let mut found = Vec::new();
    for slice in slices {
        match &slice.spec {
            Spec::EndpointSlice(slice) => {
                let Some(number) = matching_port(&slice.ports, port, only) else {
                    continue;
                };
                // one address stands for the endpoint; the others are other families of it
                for endpoint in &slice.endpoints {
                    let ready = endpoint
                        .conditions
                        .as_ref()
                        .and_then(|c| c.ready)
                        .unwrap_or(true);
                    let Some(ip) = endpoint.addresses.first().filter(|_| ready || unready) else {
                        continue;
                    };
                    found.extend(instance(
                        pods,
                        &meta.namespace,
                        endpoint.target_ref.as_ref(),
                        ip,
                        number,
                        &endpoint.zone,
                    ));
                }
            }
            Spec::Endpoints(endpoints) => {
                for subset in &endpoints.subsets {
                    let Some(number) = matching_port(&subset.ports, port, only) else {
                        continue;
                    };
                    let not_ready = subset.not_ready_addresses.iter().filter(|_| unready);
                    for address in subset.addresses.iter().chain(not_ready) {
                        found.extend(instance(
                            pods,
                            &meta.namespace,
                            address.target_ref.as_ref(),
                            &address.ip,
                            number,
                            "",
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// Without any slice, what Kubernetes' own controller would find: the ready pods of the selector.
fn of_pods(meta: &Meta, spec: &ServiceSpec, port: &ServicePort, pods: &Pods<'_>) -> Vec<Instance> {
    if spec.selector.is_empty() {
        return Vec::new();
    }
    let selected = pods.all.iter().filter(|pod| {
        pod.meta.namespace == meta.namespace && covers(&pod.meta.labels, &spec.selector)
    });
    selected
        .filter(|pod| spec.publish_not_ready_addresses || is_ready(pod))
        .filter_map(|pod| {
            let number = match &port.target_port {
                None => u16::try_from(port.port).ok(),
                Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
                Some(IntOrString::Name(name)) => container_port(pod, name),
            };
            instance(pods, &meta.namespace, None, ip_of(pod)?, number?, "")
        })
        .collect()
}

fn is_ready(pod: &Resource) -> bool {
    match &pod.spec {
        Spec::Pod(pod) => pod.status.as_ref().is_some_and(|status| {
            let not = status
                .conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status != "True");
            !not && !matches!(status.phase.as_str(), "Failed" | "Succeeded")
        }),
        _ => false,
    }
}

/// A WorkloadEntry with its labels, of which the object's win.
pub(super) struct Workload<'s> {
    resource: &'s Resource,
    spec: &'s WorkloadEntry,
    labels: Arc<Map<String>>,
}

/// Every WorkloadEntry.
pub(super) fn workloads(set: &ResourceSet) -> Vec<Workload<'_>> {
    let all = set
        .of_kind(Kind::WorkloadEntry)
        .filter_map(|resource| match &resource.spec {
            Spec::WorkloadEntry(spec) => {
                let mut labels = spec.labels.clone();
                for (key, value) in resource.meta.labels.iter() {
                    labels.insert(key, value.clone());
                }
                Some(Workload {
                    resource,
                    spec,
                    labels: Arc::new(labels),
                })
            }
            _ => None,
        });
    all.collect()
}

/// What the address of a WorkloadEntry may be where it is used, beside an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Nothing: a Service knows neither names nor sockets.
    Nothing,
    /// A unix socket (resolution STATIC).
    Socket,
    /// A name (resolutions with DNS).
    Name,
}

/// The endpoint that a WorkloadEntry is on a port; none if its address is of no use there.
fn at(
    entry: &WorkloadEntry,
    labels: Arc<Map<String>>,
    port: u32,
    workload: &str,
    beside: Beside,
) -> Option<Instance> {
    let port = u16::try_from(port).ok()?;
    let place = match entry.address.parse::<IpAddr>() {
        Ok(ip) => Place::Address(SocketAddr::new(ip, port)),
        Err(_) => match (beside, entry.address.strip_prefix("unix://")) {
            (Beside::Socket, Some(path)) if !path.is_empty() => Place::Socket(Arc::from(path)),
            (Beside::Name, None) => Place::Name(dns_name(&entry.address)?, port),
            _ => return None,
        },
    };
    let locality = match entry.locality.as_str() {
        "" => labelled_locality(&labels).unwrap_or_default(),
        locality => Arc::from(locality),
    };
    Some(Instance {
        place,
        network: match entry.network.as_str() {
            "" => labelled_network(&labels),
            network => Arc::from(network),
        },
        // as in Istio, an account says that there is a proxy, unless the label says otherwise
        mtls: match labels.get(TLS_MODE) {
            Some(mode) => mode == "istio",
            None => !entry.service_account.is_empty(),
        },
        labels,
        weight: entry.weight.max(1),
        locality,
        workload: Arc::from(workload),
        service_account: Arc::from(entry.service_account.as_str()),
    })
}

/// A host as DNS is asked for it; `None` for what is no name, like the path of a socket.
pub(super) fn dns_name(host: &str) -> Option<Arc<str>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name = !host.is_empty() && !host.contains(['*', '/', ':']);
    is_name.then(|| Arc::from(host.to_ascii_lowercase()))
}

/// Endpoints of a port of a ServiceEntry: its own, or the workloads that it selects, or with DNS
/// its host.
pub(super) fn of_entry_port(
    resource: &Resource,
    spec: &api::ServiceEntry,
    host: &str,
    port: &api::service_entry::ServicePort,
    workloads: &[Workload<'_>],
    pods: &Pods<'_>,
) -> Vec<Instance> {
    let beside = match spec.resolution {
        Resolution::Dns | Resolution::DnsRoundRobin => Beside::Name,
        Resolution::Static => Beside::Socket,
        Resolution::None | Resolution::DynamicDns => Beside::Nothing,
    };
    let default = match port.target_port {
        0 => port.number,
        target => target,
    };
    let of_workload = |entry: &WorkloadEntry, labels, name: &str| {
        let number = entry.ports.get(&port.name).copied().unwrap_or(default);
        at(entry, labels, number, name, beside)
    };
    let selector = spec.workload_selector.as_ref();
    let Some(selector) = selector.filter(|s| !s.labels.is_empty()) else {
        let inline = spec.endpoints.iter();
        let inline = inline.filter_map(|e| of_workload(e, Arc::new(e.labels.clone()), "unknown"));
        let itself = WorkloadEntry {
            address: host.to_owned(),
            ..WorkloadEntry::default()
        };
        let itself = (beside == Beside::Name && spec.endpoints.is_empty())
            .then(|| of_workload(&itself, Arc::default(), "unknown"));
        return inline.chain(itself.flatten()).collect();
    };
    let namespace = &resource.meta.namespace;
    let mut found: Vec<Instance> = workloads
        .iter()
        .filter(|w| w.resource.meta.namespace == *namespace && covers(&w.labels, &selector.labels))
        .filter_map(|w| of_workload(w.spec, Arc::clone(&w.labels), &w.resource.meta.name))
        .collect();
    let selected = pods.all.iter().filter(|p| {
        p.meta.namespace == *namespace && covers(&p.meta.labels, &selector.labels) && is_ready(p)
    });
    if let Ok(number) = u16::try_from(default) {
        found.extend(
            selected.filter_map(|p| instance(pods, namespace, None, ip_of(p)?, number, "")),
        );
    }
    found
}
