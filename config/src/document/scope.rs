//! Which objects a gateway needs. A little more than it uses is fine, except of secrets: a gateway
//! with less must compile to the same snapshot, and one must not see another's keys.

use std::collections::BTreeSet;

use crate::api;
use crate::api::destination_rule::{ClientTlsSettings, TrafficPolicy};
use crate::resource::{Key, Kind, Resource, ResourceSet, Spec};
use crate::view::View;
use crate::world::{Named, World, gateway_name, name_of};

/// Name of ConfigMaps that hold the mesh's settings.
const MESH: &str = "istio";

/// Keys of the objects that a gateway is given.
///
/// - Gateways that select it, VirtualServices that are bound to those, and delegates.
/// - What is exported to its namespace of everything that has `exportTo`.
/// - Policies of its namespace and of the root namespace.
/// - Secrets of its own namespace that those Gateways and DestinationRules name.
#[must_use]
pub fn visible(set: &ResourceSet, world: &World, view: &View) -> BTreeSet<Key> {
    let mut scope = Scope {
        world,
        view,
        gateways: BTreeSet::new(),
        credentials: BTreeSet::new(),
    };
    // what names others comes before what is named: see the order of kinds
    let mut keys = BTreeSet::new();
    for resource in set.iter() {
        if scope.has(resource) {
            keys.insert(resource.key());
        }
    }
    keys
}

struct Scope<'s> {
    world: &'s World,
    view: &'s View,
    /// Gateways that are given.
    gateways: BTreeSet<Named>,
    /// What they and DestinationRules call their credentials.
    credentials: BTreeSet<String>,
}

impl Scope<'_> {
    fn has(&mut self, resource: &Resource) -> bool {
        let mesh = &self.world.mesh;
        let exported = |export_to: &[String], default: &[String]| {
            let namespace = &resource.meta.namespace;
            self.view.exported(export_to, default, namespace).is_some()
        };
        match &resource.spec {
            Spec::Gateway(spec) => {
                let selected = self.view.selected_by(&spec.selector);
                if selected {
                    self.gateways.insert(name_of(resource));
                    self.servers(spec);
                }
                selected
            }
            Spec::VirtualService(spec) => {
                let namespace = &resource.meta.namespace;
                let mut gateways = spec.gateways.iter();
                spec.hosts.is_empty()
                    || gateways.any(|g| self.gateways.contains(&gateway_name(g, namespace)))
            }
            Spec::DestinationRule(spec) => {
                let given = exported(&spec.export_to, &mesh.default_destination_rule_export_to);
                if given {
                    self.rule(spec);
                }
                given
            }
            Spec::ServiceEntry(spec) => exported(&spec.export_to, &mesh.default_service_export_to),
            Spec::Secret(_) => self.is_own(resource) && self.is_named(&resource.meta.name),
            Spec::ConfigMap(_) => {
                self.is_near(resource)
                    || *resource.meta.name == *MESH
                    || self.is_named(&resource.meta.name)
            }
            // limits of a VirtualService are where it is, and it is given wherever it is
            Spec::RateLimit(spec) => {
                let mut targets = spec.target_refs.iter();
                self.is_near(resource) || targets.any(|to| to.kind == "VirtualService")
            }
            Spec::Sidecar(_) | Spec::WorkloadGroup(_) | Spec::Deployment(_) => false,
            spec if is_everybodys(spec.kind()) => true,
            _ => self.is_near(resource),
        }
    }

    fn is_own(&self, resource: &Resource) -> bool {
        *resource.meta.namespace == *self.view.namespace
    }

    /// In the gateway's namespace, or in the one whose objects are everybody's.
    fn is_near(&self, resource: &Resource) -> bool {
        self.is_own(resource) || *resource.meta.namespace == *self.world.root_namespace()
    }

    /// Whether some credential is called like this; `<name>-cacert` goes with `<name>`.
    fn is_named(&self, name: &str) -> bool {
        let base = name.strip_suffix("-cacert").unwrap_or(name);
        [name, base]
            .iter()
            .any(|name| self.credentials.contains(*name))
    }

    fn name(&mut self, credential: &str) {
        let name = credential.rsplit('/').next().unwrap_or_default();
        if !name.is_empty() {
            self.credentials.insert(name.to_owned());
        }
    }

    fn servers(&mut self, gateway: &api::Gateway) {
        for tls in gateway.servers.iter().filter_map(|s| s.tls.as_ref()) {
            self.name(&tls.credential_name);
            self.name(&tls.ca_cert_credential_name);
            tls.credential_names.iter().for_each(|name| self.name(name));
        }
    }

    fn rule(&mut self, rule: &api::DestinationRule) {
        let subsets = rule.subsets.iter().map(|s| &s.traffic_policy);
        for policy in subsets.chain([&rule.traffic_policy]).flatten() {
            self.policy(policy);
        }
    }

    fn policy(&mut self, policy: &TrafficPolicy) {
        let ports = policy.port_level_settings.iter().map(|p| &p.tls);
        let all: Vec<&ClientTlsSettings> = ports.chain([&policy.tls]).flatten().collect();
        all.into_iter()
            .for_each(|tls| self.name(&tls.credential_name));
    }
}

/// Kinds whose objects count wherever they are: services and their workloads, and settings.
fn is_everybodys(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::WorkloadEntry
            | Kind::PeerAuthentication
            | Kind::IstioOperator
            | Kind::MeshConfig
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Endpoints
            | Kind::Namespace
            | Kind::Pod
    )
}
