//! Gateways of networks: how endpoints that another network hides are reached.
//!
//! Istio `pilot/pkg/model/network.go`: a Service with the label `topology.istio.io/network` is a
//! gateway of that network, by its external addresses; `meshNetworks`, of an installation or of the
//! ConfigMap `istio`, names others, by address or by their Service.

use super::services::Place;
use crate::api::kube;
use crate::api::mesh_config::NetworkGateway;
use crate::message::{Cx, FromNode, Unknown};
use crate::resource::{Kind, ResourceSet, Spec};
use crate::yaml::Node;
use crate::yaml::read::read;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Label of an endpoint or of a gateway's Service.
pub(crate) const NETWORK: &str = "topology.istio.io/network";
/// Label of a gateway's Service by which it names its port.
const GATEWAY_PORT: &str = "networking.istio.io/gatewayPort";
/// Istio's port for handshakes of other networks.
const PORT: u16 = 15_443;
/// The ConfigMap of the mesh, and its key for networks.
const CONFIG_MAP: &str = "istio";
const MESH_NETWORKS: &str = "meshNetworks";
/// Gateways of one network that are used; more would only make small weights large.
const GATEWAYS_MAX: usize = 8;

/// Gateways by network, in a stable order.
pub(super) fn gateways(set: &ResourceSet, domain_suffix: &str) -> BTreeMap<Arc<str>, Vec<Place>> {
    let mut found: BTreeMap<Arc<str>, Vec<Place>> = BTreeMap::new();
    for resource in set.of_kind(Kind::Service) {
        let (Spec::Service(service), Some(network)) =
            (&resource.spec, resource.meta.labels.get(NETWORK))
        else {
            continue;
        };
        let labels = &resource.meta.labels;
        let port = labels.get(GATEWAY_PORT).and_then(|port| port.parse().ok());
        let places = addresses(service).filter_map(|a| place(a, port.unwrap_or(PORT)));
        let list = found.entry(Arc::from(network.as_str())).or_default();
        list.extend(places);
    }
    for (network, gateway) in written(set) {
        let port = u16::try_from(gateway.port).unwrap_or(0);
        let list = found.entry(network).or_default();
        list.extend(gateway.address.as_deref().and_then(|a| place(a, port)));
        if let Some(name) = &gateway.registry_service_name {
            let service = service(set, name, domain_suffix);
            let places = service.into_iter().flat_map(addresses);
            list.extend(places.filter_map(|a| place(a, port)));
        }
    }
    for list in found.values_mut() {
        list.sort();
        list.dedup();
        list.truncate(GATEWAYS_MAX);
    }
    found
}

/// Where a Service is seen from outside.
fn addresses(service: &kube::Service) -> impl Iterator<Item = &str> {
    let spec = service.spec.iter().flat_map(|spec| &spec.external_ips);
    let status = service
        .status
        .iter()
        .filter_map(|s| s.load_balancer.as_ref());
    let ingress = status.flat_map(|balancer| &balancer.ingress);
    let ingress = ingress.flat_map(|entry| [entry.ip.as_str(), entry.hostname.as_str()]);
    spec.map(String::as_str).chain(ingress)
}

fn place(address: &str, port: u16) -> Option<Place> {
    if port == 0 || address.is_empty() {
        return None;
    }
    match address.parse::<IpAddr>() {
        Ok(ip) => Some(Place::Address(SocketAddr::new(ip, port))),
        Err(_) => super::endpoints::dns_name(address).map(|name| Place::Name(name, port)),
    }
}

/// The Service of a fully qualified name.
fn service<'s>(set: &'s ResourceSet, name: &str, domain_suffix: &str) -> Option<&'s kube::Service> {
    let mut all = set.of_kind(Kind::Service);
    all.find_map(|resource| match &resource.spec {
        Spec::Service(service) => {
            let (own, namespace) = (&resource.meta.name, &resource.meta.namespace);
            let host = format!("{own}.{namespace}.svc.{domain_suffix}");
            host.eq_ignore_ascii_case(name).then_some(&**service)
        }
        _ => None,
    })
}

/// The gateways that `meshNetworks` names: of installations, and of the mesh's ConfigMap.
fn written(set: &ResourceSet) -> Vec<(Arc<str>, NetworkGateway)> {
    let mut out = Vec::new();
    for resource in set.of_kind(Kind::IstioOperator) {
        let values = resource.node.get("spec").and_then(|s| s.get("values"));
        let global = values.and_then(|values| values.get("global"));
        // the map of networks stands there without the message around it
        out.extend(global.and_then(|g| g.get("meshNetworks")).map(named));
    }
    for resource in set.of_kind(Kind::ConfigMap) {
        let Spec::ConfigMap(map) = &resource.spec else {
            continue;
        };
        if let (CONFIG_MAP, Some(text)) = (&*resource.meta.name, map.data.get(MESH_NETWORKS)) {
            // what cannot be read names nobody
            let documents = read(resource.file, text).list;
            let networks = documents.first().and_then(|d| d.node.get("networks"));
            out.extend(networks.map(named));
        }
    }
    out.into_iter().flatten().collect()
}

/// The gateways of a map of networks.
fn named(networks: &Node) -> Vec<(Arc<str>, NetworkGateway)> {
    let mut cx = Cx::new("", Unknown::Ignore);
    let mut out = Vec::new();
    for entry in networks.entries() {
        let network = Arc::<str>::from(&*entry.key);
        let gateways = entry.value.get("gateways");
        let gateways = gateways.into_iter().flat_map(|g| g.items());
        let gateways = gateways.filter_map(|node| NetworkGateway::from_node(node, &mut cx));
        out.extend(gateways.map(|gateway| (Arc::clone(&network), gateway)));
    }
    out
}
