//! Services by host, from Kubernetes Services and from ServiceEntries.
//!
//! Istio `pilot/pkg/serviceregistry`: a host may exist in several namespaces; in one namespace
//! the descriptions of a host are merged, their endpoints too.

use super::endpoints::{self, Found, Pods};
use crate::api;
use crate::api::service_entry::Resolution as Declared;
use crate::api::{IntOrString, Map};
use crate::ir::UpstreamProtocol;
use crate::resource::{Kind, Resource, ResourceSet, Spec};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// A host that can be routed to.
#[derive(Debug, Clone)]
pub struct Service {
    /// Lower-case host.
    pub host: Arc<str>,
    /// Namespace of the object.
    pub namespace: Arc<str>,
    /// Name for metrics: the Service's, or the host of a ServiceEntry.
    pub name: Arc<str>,
    /// Ports in the order written.
    pub ports: Vec<ServicePort>,
    /// Who may see it; empty for the mesh's default.
    pub export_to: Vec<String>,
    /// How its endpoints are found.
    pub resolution: Resolution,
    /// The object.
    pub resource: Arc<Resource>,
}

/// How endpoints are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// They are written down; also what a gateway makes of `NONE`, whose addresses only a sidecar
    /// learns from connections that it captures.
    Static,
    /// Names among the instances stand for all addresses that DNS knows.
    Dns,
    /// The one name among the instances stands for one address at a time.
    DnsRoundRobin,
    /// Each request names a host of its own under this wildcard.
    Dynamic,
    /// The service is another name (`ExternalName`) for a host, which may be a service.
    Alias(Arc<str>),
}

/// A port of a service, with its endpoints.
#[derive(Debug, Clone)]
pub struct ServicePort {
    /// Number that destinations name.
    pub number: u16,
    /// Name.
    pub name: String,
    /// Number at endpoints that say nothing else.
    pub target: u16,
    /// What is spoken to it.
    pub protocol: UpstreamProtocol,
    /// Its endpoints, in the order written.
    pub instances: Vec<Instance>,
}

/// An endpoint of a service port.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Where.
    pub place: Place,
    /// Labels that subsets select by.
    pub labels: Arc<Map<String>>,
    /// Weight, positive.
    pub weight: u32,
    /// `region/zone/subzone`, empty when unknown.
    pub locality: Arc<str>,
    /// Network that it is in, empty when unknown.
    pub network: Arc<str>,
    /// Workload's name, `unknown` if it has none.
    pub workload: Arc<str>,
    /// Its service account, in the service's namespace; empty when unknown.
    pub service_account: Arc<str>,
    /// Its proxy takes mutual TLS of the mesh, unless a PeerAuthentication turns it off.
    pub mtls: bool,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// At an address.
    Address(SocketAddr),
    /// At a port of whatever addresses DNS knows for this lower-case name.
    Name(Arc<str>, u16),
    /// At a unix socket; `@name` is abstract.
    Socket(Arc<str>),
}

impl Place {
    /// The port, 0 of a socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name(_, port) => *port,
            Self::Socket(_) => 0,
        }
    }
}

/// A host as Istio completes it: a name without dot is a service of the namespace.
pub(crate) fn full_name(host: &str, namespace: &str, domain_suffix: &str) -> String {
    if host.contains('.') || host.contains('*') || host.is_empty() {
        host.to_ascii_lowercase()
    } else {
        format!("{host}.{namespace}.svc.{domain_suffix}").to_ascii_lowercase()
    }
}

/// Every service of a set by host.
pub(super) fn index(set: &ResourceSet, domain_suffix: &str) -> HashMap<Arc<str>, Vec<Service>> {
    let pods = Pods::of(set);
    let slices = endpoints::slices(set);
    let workloads = endpoints::workloads(set);
    let mut services = HashMap::new();
    for resource in set.of_kind(Kind::Service) {
        if let Spec::Service(spec) = &resource.spec {
            add(
                &mut services,
                kubernetes(
                    resource,
                    spec,
                    &Found {
                        slices: &slices,
                        pods: &pods,
                        workloads: &workloads,
                    },
                    domain_suffix,
                ),
            );
        }
    }
    for resource in set.of_kind(Kind::ServiceEntry) {
        let Spec::ServiceEntry(spec) = &resource.spec else {
            continue;
        };
        for host in &spec.hosts {
            add(
                &mut services,
                entry(resource, spec, host, &workloads, &pods),
            );
        }
    }
    services
}

/// Adds a service, or its ports and endpoints to the one of the same host and namespace.
fn add(services: &mut HashMap<Arc<str>, Vec<Service>>, service: Service) {
    let same_host = services.entry(Arc::clone(&service.host)).or_default();
    let Some(old) = same_host
        .iter_mut()
        .find(|s| s.namespace == service.namespace)
    else {
        same_host.push(service);
        return;
    };
    for port in service.ports {
        match old.ports.iter_mut().find(|p| p.number == port.number) {
            Some(known) => known.instances.extend(port.instances),
            None => old.ports.push(port),
        }
    }
}

fn kubernetes(
    resource: &Arc<Resource>,
    service: &api::kube::Service,
    found: &Found<'_>,
    domain_suffix: &str,
) -> Service {
    let meta = &resource.meta;
    let host = format!("{}.{}.svc.{domain_suffix}", meta.name, meta.namespace).to_ascii_lowercase();
    let empty = api::kube::ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let alias = Some(
        spec.external_name
            .trim_end_matches('.')
            .to_ascii_lowercase(),
    );
    let alias = alias.filter(|name| spec.type_ == "ExternalName" && !name.is_empty());
    let ports = spec
        .ports
        .iter()
        .filter(|p| p.protocol.is_empty() || p.protocol == "TCP");
    let ports = ports.filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        let target = match &port.target_port {
            Some(IntOrString::Int(target)) => u16::try_from(*target).ok()?,
            Some(IntOrString::Name(_)) | None => number,
        };
        Some(ServicePort {
            number,
            name: port.name.clone(),
            target,
            protocol: protocol(&port.app_protocol, &port.name, ""),
            instances: match &alias {
                Some(name) => vec![endpoints::named(name, target)],
                None => endpoints::of_port(meta, spec, port, found),
            },
        })
    });
    let export = meta.annotations.get("networking.istio.io/exportTo");
    let export = export.map(|list| list.split(',').map(|e| e.trim().to_owned()).collect());
    Service {
        host: Arc::from(host),
        namespace: Arc::clone(&meta.namespace),
        name: Arc::clone(&meta.name),
        ports: ports.collect(),
        export_to: export.unwrap_or_default(),
        resolution: alias
            .as_deref()
            .map_or(Resolution::Static, |name| Resolution::Alias(name.into())),
        resource: Arc::clone(resource),
    }
}

fn entry(
    resource: &Arc<Resource>,
    spec: &api::ServiceEntry,
    host: &str,
    workloads: &[endpoints::Workload<'_>],
    pods: &Pods<'_>,
) -> Service {
    let host: Arc<str> = Arc::from(host.to_ascii_lowercase());
    let ports = spec
        .ports
        .iter()
        .filter(|p| !p.protocol.eq_ignore_ascii_case("udp"));
    let ports = ports.filter_map(|port| {
        let number = u16::try_from(port.number).ok()?;
        let target = match port.target_port {
            0 => number,
            target => u16::try_from(target).ok()?,
        };
        Some(ServicePort {
            number,
            name: port.name.clone(),
            target,
            protocol: protocol("", &port.name, &port.protocol),
            instances: match spec.resolution {
                // A name for all names under it.
                Declared::DynamicDns => vec![endpoints::named(&host, target)],
                _ => endpoints::of_entry_port(resource, spec, &host, port, workloads, pods),
            },
        })
    });
    let resolution = match spec.resolution {
        Declared::Static | Declared::None => Resolution::Static,
        Declared::Dns => Resolution::Dns,
        Declared::DnsRoundRobin => Resolution::DnsRoundRobin,
        Declared::DynamicDns => Resolution::Dynamic,
    };
    let ports = ports.collect();
    Service {
        name: Arc::clone(&host),
        host,
        namespace: Arc::clone(&resource.meta.namespace),
        ports,
        export_to: spec.export_to.clone(),
        resolution,
        resource: Arc::clone(resource),
    }
}

/// What is spoken to a port: `appProtocol`, else the name up to the first `-`, else the declared
/// protocol. A gateway speaks HTTP/1.1 to all but HTTP/2 ports.
fn protocol(app_protocol: &str, name: &str, declared: &str) -> UpstreamProtocol {
    let said = if !app_protocol.is_empty() {
        app_protocol
    } else if !declared.is_empty() {
        declared
    } else {
        name
    };
    let said = said.to_ascii_lowercase();
    let is = |word: &str| {
        said == word
            || said
                .strip_prefix(word)
                .is_some_and(|rest| rest.starts_with('-'))
    };
    if is("http2") || is("grpc") || said == "kubernetes.io/h2c" {
        UpstreamProtocol::Http2
    } else {
        UpstreamProtocol::Http1
    }
}
