//! TLS towards upstreams: what a DestinationRule says, else automatic mutual TLS.
//!
//! Istio `pilot/pkg/networking/core/cluster_tls.go` (`buildUpstreamTLSSettings`,
//! `buildAutoMtlsSettings`) and `pilot/pkg/xds/endpoints/mtls_checker.go`.

use super::certificates;
use super::discovery;
use super::draft::Draft;
use crate::api::destination_rule::{ClientTlsMode as Declared, ClientTlsSettings, Subset};
use crate::api::peer_authentication::MutualTlsMode;
use crate::api::service_entry::Location;
use crate::ir::{
    Bundle, ClientTls, ClientTlsMode, Discovery, Endpoint, PeerNames, Roots, ServerName,
    UpstreamTls,
};
use crate::resource::{Resource, Spec};
use crate::world::{Instance, Service, ServicePort};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `caCertificates` by which the operating system's authorities are asked for.
const SYSTEM: &str = "system";

/// A cluster whose TLS is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'w> {
    pub service: &'w Service,
    pub port: &'w ServicePort,
    pub subset: Option<&'w Subset>,
}

impl<'w> Target<'w> {
    pub(super) fn new(
        service: &'w Service,
        port: &'w ServicePort,
        subset: Option<&'w Subset>,
    ) -> Self {
        Self {
            service,
            port,
            subset,
        }
    }

    /// The server name by which proxies of the mesh know a cluster (`BuildDNSSrvSubsetKey`).
    fn mesh_name(&self) -> String {
        let subset = self.subset.map_or("", |s| s.name.as_str());
        mesh_name(self.service, self.port, subset)
    }
}

/// The server name by which proxies of the mesh know a service port, or a subset of it.
pub(super) fn mesh_name(service: &Service, port: &ServicePort, subset: &str) -> String {
    let (port, host) = (port.number, &service.host);
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// Whether a proxy of the mesh can speak its mutual TLS with an endpoint through a gateway of this
/// network; `written` is what a rule says about TLS towards it.
pub(super) fn is_reached(
    draft: &Draft<'_>,
    service: &Service,
    endpoint: &Instance,
    written: Option<&ClientTlsSettings>,
) -> bool {
    match written {
        Some(settings) => settings.mode == Declared::IstioMutual,
        None => automatic(draft, service) && takes_mtls(draft, service, endpoint),
    }
}

/// Where a rule says it, as far as diagnostics tell.
const PATH: &str = "spec.trafficPolicy.tls";

/// The endpoints of a cluster, and TLS towards them; `ranked` are the instances with their
/// priorities, `written` is what a rule says about it.
pub(super) fn secured(
    draft: &mut Draft<'_>,
    target: Target<'_>,
    ranked: &[(&Instance, u32)],
    written: Option<(&ClientTlsSettings, &Resource)>,
) -> (Vec<Endpoint>, Discovery, UpstreamTls) {
    let service = target.service;
    if let Some((settings, rule)) = written {
        let (endpoints, discovery) = discovery::discover(service, ranked, |_| false);
        return (
            endpoints,
            discovery,
            as_written(draft, target, settings, rule),
        );
    }
    let automatic = automatic(draft, service);
    let mtls = |i: &Instance| automatic && takes_mtls(draft, service, i);
    let (endpoints, discovery) = discovery::discover(service, ranked, mtls);
    let named = discovery.names().iter().map(|n| &n.like);
    let any = endpoints.iter().chain(named).any(|e| e.mtls);
    (endpoints, discovery, unwritten(draft, target, any))
}

/// Whether automatic mutual TLS may be used for a service: it is part of the mesh, and neither the
/// mesh nor the service's namespace turns it off.
fn automatic(draft: &Draft<'_>, service: &Service) -> bool {
    let world = draft.world;
    let mode = || {
        let root = world.root_namespace();
        world.peers().of_namespace(&service.namespace, root)
    };
    world.mesh.enable_auto_mtls != Some(false)
        && !is_external(service)
        && mode() != MutualTlsMode::Disable
}

/// Whether an endpoint takes mutual TLS, as far as it and PeerAuthentications say.
fn takes_mtls(draft: &Draft<'_>, service: &Service, endpoint: &Instance) -> bool {
    let world = draft.world;
    let mode = || {
        world.peers().of_workload(
            &service.namespace,
            world.root_namespace(),
            &endpoint.labels,
            endpoint.place.port(),
        )
    };
    endpoint.mtls && mode() != MutualTlsMode::Disable
}

/// TLS of a cluster for which nothing is written; `any` says that an endpoint takes mutual TLS.
fn unwritten(draft: &mut Draft<'_>, target: Target<'_>, any: bool) -> UpstreamTls {
    if !any {
        return UpstreamTls::Plain;
    }
    let names = mesh_names(draft, target.service);
    let resource = &target.service.resource;
    let sni = target.mesh_name();
    UpstreamTls::ByEndpoint(Arc::new(mesh(draft, resource, "", sni, names)))
}

/// TLS of a cluster as it is written.
fn as_written(
    draft: &mut Draft<'_>,
    target: Target<'_>,
    settings: &ClientTlsSettings,
    rule: &Resource,
) -> UpstreamTls {
    let sni = Some(settings.sni.clone()).filter(|sni| !sni.is_empty());
    let names = Some(settings.subject_alt_names.clone()).filter(|names| !names.is_empty());
    let mode = match settings.mode {
        Declared::Disable => return UpstreamTls::Plain,
        Declared::IstioMutual => {
            let sni = sni.unwrap_or_else(|| target.mesh_name());
            let names = names.unwrap_or_else(|| mesh_names(draft, target.service));
            return UpstreamTls::Always(Arc::new(mesh(draft, rule, PATH, sni, names)));
        }
        Declared::Simple => ClientTlsMode::Simple,
        Declared::Mutual => ClientTlsMode::Mutual,
    };
    let certificate = match mode {
        ClientTlsMode::Mutual => Some(certificates::of_client(draft, rule, settings, PATH)),
        _ => None,
    };
    let (roots, crl) = if settings.insecure_skip_verify == Some(true) {
        (Roots::Unchecked, None)
    } else {
        roots(draft, rule, settings)
    };
    let names = names.or_else(|| declared_names(target.service));
    UpstreamTls::Always(Arc::new(ClientTls {
        mode,
        certificate,
        names: match names {
            _ if roots == Roots::Unchecked => PeerNames::Any,
            Some(names) => PeerNames::OneOf(names),
            None => PeerNames::ServerName,
        },
        roots,
        crl,
        sni: sni.map_or(ServerName::Authority, ServerName::Fixed),
    }))
}

/// Mutual TLS of the mesh, with the workload's own identity.
fn mesh(
    draft: &mut Draft<'_>,
    asker: &Resource,
    path: &str,
    sni: String,
    names: Vec<String>,
) -> ClientTls {
    ClientTls {
        mode: ClientTlsMode::IstioMutual,
        certificate: Some(certificates::workload(draft, asker, path)),
        roots: Roots::Given(Bundle::Workload),
        crl: None,
        sni: ServerName::Fixed(sni),
        names: if names.is_empty() {
            PeerNames::Any
        } else {
            PeerNames::OneOf(names)
        },
    }
}

/// The authorities of modes SIMPLE and MUTUAL, and what they revoked.
fn roots(
    draft: &mut Draft<'_>,
    rule: &Resource,
    settings: &ClientTlsSettings,
) -> (Roots, Option<Bundle>) {
    let file = || Some(settings.ca_crl.clone()).filter(|crl| !crl.is_empty());
    if !settings.credential_name.is_empty() {
        let text = settings.credential_name.as_str();
        let field = format!("{PATH}.credentialName");
        let (ca, crl) = certificates::authorities(draft, rule, text, &field);
        return (Roots::Given(ca), crl.or_else(|| file().map(Bundle::File)));
    }
    let roots = match settings.ca_certificates.as_str() {
        "" | SYSTEM => Roots::System,
        given => Roots::Given(Bundle::File(given.to_owned())),
    };
    (roots, file().map(Bundle::File))
}

/// Whether a service is outside of the mesh.
pub(super) fn is_external(service: &Service) -> bool {
    match &service.resource.spec {
        Spec::ServiceEntry(entry) => entry.location == Location::MeshExternal,
        Spec::Service(service) => {
            let spec = service.spec.as_ref();
            spec.is_some_and(|s| s.type_ == "ExternalName")
        }
        _ => false,
    }
}

/// `subjectAltNames` of a ServiceEntry.
fn declared_names(service: &Service) -> Option<Vec<String>> {
    match &service.resource.spec {
        Spec::ServiceEntry(entry) if !entry.subject_alt_names.is_empty() => {
            Some(entry.subject_alt_names.clone())
        }
        _ => None,
    }
}

/// Identities that a service's endpoints may have, under every name of the trust domain; empty
/// when none is known.
fn mesh_names(draft: &Draft<'_>, service: &Service) -> Vec<String> {
    let instances = service.ports.iter().flat_map(|port| &port.instances);
    let accounts: BTreeSet<&str> = instances
        .map(|i| &*i.service_account)
        .filter(|account| !account.is_empty())
        .collect();
    let domains = std::iter::once(&draft.settings.trust_domain);
    let domains = domains.chain(&draft.world.mesh.trust_domain_aliases);
    let mut names: BTreeSet<String> = domains
        .flat_map(|domain| {
            let namespace = &service.namespace;
            let of = move |account| format!("spiffe://{domain}/ns/{namespace}/sa/{account}");
            accounts.iter().map(of)
        })
        .collect();
    names.extend(declared_names(service).into_iter().flatten());
    names.into_iter().collect()
}
