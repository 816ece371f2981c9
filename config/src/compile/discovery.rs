//! Where a cluster's endpoints are: written down, or to be asked of DNS.
//!
//! Istio `pilot/pkg/networking/core/cluster.go` (`convertResolution`): STATIC is EDS, DNS is
//! STRICT_DNS, DNS_ROUND_ROBIN is LOGICAL_DNS, NONE on a gateway is EDS without endpoints.

use super::draft::{Draft, finding};
use crate::api::service_entry::Resolution as Declared;
use crate::diag::{Level, codes};
use crate::ir::{Discovery, Endpoint, NamedEndpoint};
use crate::resource::Spec;
use crate::world::{Instance, Place, Resolution, Service};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Endpoints of a port, or of a subset of it, in a stable order: those with an address, and how
/// the others are found. `ranked` are their instances with their priorities; `mtls` says which of
/// them are spoken to in mutual TLS by themselves.
pub(super) fn discover(
    service: &Service,
    ranked: &[(&Instance, u32)],
    mtls: impl Fn(&Instance) -> bool,
) -> (Vec<Endpoint>, Discovery) {
    let (mut endpoints, mut names) = (Vec::new(), Vec::new());
    for (instance, priority) in ranked {
        let endpoint = |address| Endpoint {
            address,
            socket: None,
            weight: instance.weight,
            locality: instance.locality.to_string(),
            workload: instance.workload.to_string(),
            mtls: mtls(instance),
            priority: *priority,
        };
        match &instance.place {
            Place::Address(address) => endpoints.push(endpoint(*address)),
            Place::Name(name, port) => names.push(NamedEndpoint {
                name: name.to_string(),
                like: endpoint(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port))),
            }),
            Place::Socket(path) => endpoints.push(Endpoint {
                socket: Some(Arc::clone(path)),
                ..endpoint(Endpoint::stand_in(path))
            }),
        }
    }
    endpoints.sort_by_key(|e| e.address);
    endpoints.dedup_by_key(|e| e.address);
    let place = |n: &NamedEndpoint| (n.name.clone(), n.like.address.port());
    names.sort_by_key(place);
    names.dedup_by_key(|n| place(n));
    let discovery = match &service.resolution {
        Resolution::Dynamic => match names.into_iter().next() {
            Some(any) => Discovery::OnDemand {
                domain: service.host.trim_start_matches("*.").to_owned(),
                like: any.like,
            },
            None => Discovery::Static,
        },
        _ if names.is_empty() => Discovery::Static,
        Resolution::DnsRoundRobin => match names.into_iter().next() {
            Some(name) => Discovery::LogicalDns(name),
            None => Discovery::Static,
        },
        _ => Discovery::StrictDns(names),
    };
    (endpoints, discovery)
}

/// The service that a service of type `ExternalName` stands for, if that is one (Istio's
/// `ENABLE_EXTERNAL_NAME_ALIAS`, on by default). Only one step: an alias of an alias is looked up
/// in DNS, as is any other name.
pub(super) fn behind_alias<'w>(draft: &Draft<'w>, service: &'w Service) -> Option<&'w Service> {
    let Resolution::Alias(target) = &service.resolution else {
        return None;
    };
    let found = super::clusters::find_service(draft, target, &service.namespace)?;
    (!matches!(found.resolution, Resolution::Alias(_))).then_some(found)
}

/// Says that a gateway cannot find the endpoints of `NONE`.
pub(super) fn report(draft: &mut Draft<'_>, service: &Service) {
    if let Spec::ServiceEntry(entry) = &service.resource.spec
        && entry.resolution == Declared::None
    {
        let host = &service.host;
        let message = format!(
            "{host}: resolution NONE has no endpoints on a gateway, which captures no connections"
        );
        let info = finding(codes::SP0401, &service.resource, "spec.resolution", message);
        draft.found.push(info.level(Level::Info));
    }
}
