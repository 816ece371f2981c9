//! Gateways of networks: how endpoints that another network hides are reached.
//!
//! Istio `pilot/pkg/model/network.go`: a Service with the label `topology.istio.io/network` is a
//! gateway of that network, by its external addresses; `meshNetworks` of an installation names others.

use super::services::Place;
use crate::api::kube;
use crate::api::mesh_config::NetworkGateway;
use crate::message::{Cx, FromNode, Unknown};
use crate::resource::{Kind, Resource, ResourceSet, Spec};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Label of an endpoint or of a gateway's Service.
pub(crate) const NETWORK: &str = "topology.istio.io/network";
/// Label of a gateway's Service by which it names its port.
const GATEWAY_PORT: &str = "networking.istio.io/gatewayPort";
/// Istio's port for handshakes of other networks.
const PORT: u16 = 15_443;
/// Gateways of one network that are used; more would only make small weights large.
const GATEWAYS_MAX: usize = 8;

/// Gateways by network, in a stable order.
pub(super) fn gateways(set: &ResourceSet) -> BTreeMap<Arc<str>, Vec<Place>> {
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
    for resource in set.of_kind(Kind::IstioOperator) {
        for (network, gateway) in written(resource) {
            let port = u16::try_from(gateway.port).unwrap_or(0);
            let list = found.entry(network).or_default();
            list.extend(gateway.address.as_deref().and_then(|a| place(a, port)));
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

/// The gateways that an installation names by address.
fn written(operator: &Resource) -> Vec<(Arc<str>, NetworkGateway)> {
    let spec = operator.node.get("spec");
    let values = spec.and_then(|spec| spec.get("values")?.get("global")?.get("meshNetworks"));
    let Some(node) = values else {
        return Vec::new();
    };
    // the map of networks stands there without the message around it
    let mut cx = Cx::new("", Unknown::Ignore);
    let mut out = Vec::new();
    for entry in node.entries() {
        let network = Arc::<str>::from(&*entry.key);
        let gateways = entry
            .value
            .get("gateways")
            .into_iter()
            .flat_map(|g| g.items());
        let gateways = gateways.filter_map(|node| NetworkGateway::from_node(node, &mut cx));
        out.extend(gateways.map(|gateway| (Arc::clone(&network), gateway)));
    }
    out
}
