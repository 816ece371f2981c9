//! Who calls the workload: its ports, and whether callers must show an identity.
//!
//! Istio `pilot/pkg/networking/core/listener_inbound.go`: `ingress` of the Sidecar object, else the
//! ports of every service that has the workload among its endpoints.

use super::protocol::{Speaks, of_port, of_word};
use crate::api::peer_authentication::MutualTlsMode;
use crate::api::{Map, Sidecar};
use crate::ir::{Inbound, PeerTls, Wire};
use crate::view::SidecarView;
use crate::world::{Typed, World};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// Ports of the workload, in order.
pub(super) fn ports(
    world: &World,
    view: &SidecarView,
    sidecar: Option<Typed<'_, Sidecar>>,
) -> Vec<Inbound> {
    let mut wires = told(world, view);
    let declared = sidecar
        .map(|s| s.spec.ingress.as_slice())
        .unwrap_or_default();
    let mut apps: BTreeMap<u16, Option<SocketAddr>> = BTreeMap::new();
    if !declared.is_empty() {
        for listener in declared {
            let Some(port) = &listener.port else { continue };
            let Ok(number) = u16::try_from(port.number) else {
                continue;
            };
            wires.insert(number, wire(of_word(&port.protocol)));
            apps.insert(number, Some(endpoint(&listener.default_endpoint, number)));
        }
    } else if let Some(own) = &view.ports {
        let local = |app| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, app)));
        apps.extend(own.inbound.iter().map(|(port, app)| (*port, local(*app))));
    } else {
        apps.extend(wires.keys().map(|port| (*port, None)));
    }
    let inbound = |(port, app): (u16, Option<SocketAddr>)| Inbound {
        port,
        app,
        wire: wires.get(&port).copied().unwrap_or(Wire::Tcp),
        tls: mode(world, view, port),
    };
    apps.into_iter().map(inbound).collect()
}

/// Ports of the workload behind a port of its services; the port itself if they have none such.
pub(super) fn targets(world: &World, view: &SidecarView, number: u16) -> Vec<u16> {
    let served = world.served_at(&view.addresses).into_iter();
    let own = served.filter(|(_, port, _)| port.number == number);
    let mut own: Vec<u16> = own.map(|(_, _, at)| at).collect();
    own.sort_unstable();
    own.dedup();
    if own.is_empty() { vec![number] } else { own }
}

/// What services say about the ports of the workload.
fn told(world: &World, view: &SidecarView) -> BTreeMap<u16, Wire> {
    let mut wires = BTreeMap::new();
    for (service, port, at) in world.served_at(&view.addresses) {
        let said = wire(of_port(service, port));
        wires.entry(at).or_insert(said);
    }
    wires
}

fn wire(speaks: Speaks) -> Wire {
    match speaks {
        Speaks::Http => Wire::Http1,
        Speaks::Http2 => Wire::Http2,
        Speaks::Tcp | Speaks::Tls | Speaks::Unknown => Wire::Tcp,
    }
}

/// `127.0.0.1:port` and the like; any address of the host is reached by its own.
fn endpoint(text: &str, port: u16) -> SocketAddr {
    let said: Option<SocketAddr> = text.parse().ok();
    match said {
        Some(address) if address.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
        }
        Some(address) => address,
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
    }
}

/// Whether callers of a port must show an identity.
pub(super) fn mode(world: &World, view: &SidecarView, port: u16) -> PeerTls {
    let workload = &view.workload;
    let labels = workload.labels.iter();
    let labels: Map<String> = labels
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    let root = world.root_namespace();
    match world
        .peers()
        .of_workload(&workload.namespace, root, &labels, port)
    {
        MutualTlsMode::Strict => PeerTls::Strict,
        MutualTlsMode::Disable => PeerTls::Disable,
        MutualTlsMode::Permissive | MutualTlsMode::Unset => PeerTls::Permissive,
    }
}
