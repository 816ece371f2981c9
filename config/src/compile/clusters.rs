//! Destinations become clusters: the service, its subset, and what DestinationRules say.
//!
//! Istio `pilot/pkg/networking/core/route/route.go` (`GetDestinationCluster`) and
//! `cluster_traffic_policy.go`. Only what routes refer to becomes a cluster.

use super::discovery;
use super::draft::Draft;
use super::locality::{self, Nearness, Preference};
use super::millis;
use super::networks;
use super::traffic::{self, Policy};
use super::upstream_tls::{self, Target};
use crate::api::destination_rule::{H2UpgradePolicy, TunnelSettings};
use crate::api::virtual_service::Destination;
use crate::check::health as health_check;
use crate::diag::codes;
use crate::ir::{
    Cluster, ClusterId, ClusterRef, Discovery, Endpoint, HealthCheck, LocalityWeight, Millis,
    Tunnel, TunnelMethod, UpstreamProtocol, UpstreamTls,
};
use crate::resource::{Resource, Spec};
use crate::world::{Instance, Merged, Service, ServicePort, covers, full_name};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::Ipv6Addr;

/// Istio's limit for connecting where nothing says otherwise.
const CONNECT_TIMEOUT: Millis = Millis(10_000);
/// Envoy's limit for idle connections where nothing says otherwise.
const IDLE_TIMEOUT: Millis = Millis(3_600_000);

/// Clusters by name, in the order met.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    by_name: HashMap<String, ClusterId>,
    all: Vec<Cluster>,
    /// Tunnels that bytes go through, by cluster.
    tunnels: HashMap<String, Tunnel>,
    /// How long connections that carry bytes may be idle, by cluster.
    idle_bytes: HashMap<String, Option<Millis>>,
}

impl Clusters {
    /// Clusters by name, and the new number of each.
    pub(super) fn finish(self) -> (Vec<Cluster>, Vec<ClusterId>) {
        let mut order: Vec<(usize, Cluster)> = self.all.into_iter().enumerate().collect();
        order.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        let mut renumber = vec![ClusterId(0); order.len()];
        for (new, (old, _)) in order.iter().enumerate() {
            if let Some(slot) = renumber.get_mut(*old) {
                *slot = ClusterId(u32::try_from(new).unwrap_or(u32::MAX));
            }
        }
        (
            order.into_iter().map(|(_, cluster)| cluster).collect(),
            renumber,
        )
    }

    /// The name of a cluster, and the tunnel for bytes to it; `None`: its endpoints are meant themselves.
    pub(super) fn way(&self, id: ClusterId) -> (&str, Option<Tunnel>) {
        let at = usize::try_from(id.0).ok();
        let cluster = at.and_then(|at| self.all.get(at));
        let name = cluster.map_or("", |cluster| cluster.name.as_str());
        (name, self.tunnels.get(name).cloned())
    }

    /// How long a connection that carries bytes to a cluster may be idle, and how old it may be.
    pub(super) fn limits_of_bytes(&self, id: ClusterId) -> (Option<Millis>, Option<Millis>) {
        let at = usize::try_from(id.0).ok();
        let Some(cluster) = at.and_then(|at| self.all.get(at)) else {
            return (Some(traffic::IDLE_BYTES), None);
        };
        let idle = self.idle_bytes.get(&cluster.name).copied();
        let idle = idle.unwrap_or(Some(traffic::IDLE_BYTES));
        (idle, cluster.traffic.max_connection_duration)
    }

    fn add(&mut self, cluster: Cluster) -> ClusterId {
        let id = ClusterId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.by_name.insert(cluster.name.clone(), id);
        self.all.push(cluster);
        id
    }
}

/// Who names a destination, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'w> {
    /// The VirtualService.
    pub resource: &'w Resource,
    /// Namespace that short names belong to.
    pub namespace: &'w str,
    /// Declared port of the Gateway's server.
    pub server_port: u16,
}

/// The cluster that a destination means.
pub(super) fn resolve(
    draft: &mut Draft<'_>,
    asker: Asker<'_>,
    destination: &Destination,
    path: &str,
) -> ClusterRef {
    let host = full_name(
        &destination.host,
        asker.namespace,
        &draft.world.domain_suffix,
    );
    let service = find_service(draft, &host, asker.namespace);
    let number = match (&destination.port, service.map(|s| s.ports.as_slice())) {
        (Some(port), _) => u16::try_from(port.number).unwrap_or(0),
        (None, Some([only])) => only.number,
        (None, _) => asker.server_port,
    };
    let subset = destination.subset.as_str();
    let name = format!("outbound|{number}|{subset}|{host}");
    if let Some(id) = draft.clusters.by_name.get(&name) {
        return ClusterRef::Known(*id);
    }
    // An alias means the service behind it, by that one's name.
    let concrete = service.and_then(|s| discovery::behind_alias(draft, s));
    let (service, name) = match concrete {
        Some(concrete) => {
            let name = format!("outbound|{number}|{subset}|{}", concrete.host);
            if let Some(id) = draft.clusters.by_name.get(&name) {
                return ClusterRef::Known(*id);
            }
            (Some(concrete), name)
        }
        None => (service, name),
    };
    let missing = |draft: &mut Draft<'_>, field: &str, what: String| {
        let path = format!("{path}.{field}");
        draft.report(
            codes::IST0101,
            asker.resource,
            &path,
            format!("Referenced {what}"),
        );
        ClusterRef::Missing(name.clone())
    };
    let Some(service) = service else {
        return missing(
            draft,
            "host",
            format!("host not found: {:?}", destination.host),
        );
    };
    let Some(port) = service.ports.iter().find(|p| p.number == number) else {
        return missing(
            draft,
            "port",
            format!("port of host not found: \"{host}:{number}\""),
        );
    };
    match cluster(draft, service, port, subset, name.clone(), Speaker::Ours) {
        Some(cluster) => ClusterRef::Known(draft.clusters.add(cluster)),
        None => {
            let what = format!(
                "host+subset in destinationrule not found: \"{}+{subset}\"",
                destination.host
            );
            missing(draft, "subset", what)
        }
    }
}

/// The cluster of a service that the mesh's settings name: of this namespace, else of the first that
/// has it (Istio `pilot/pkg/extensionproviders`).
pub(super) fn of_service(
    draft: &mut Draft<'_>,
    namespace: Option<&str>,
    host: &str,
    port: u16,
) -> Option<ClusterId> {
    let service = find_service(draft, host, namespace.unwrap_or_default())?;
    if namespace.is_some_and(|wanted| *service.namespace != *wanted) {
        return None;
    }
    let name = format!("outbound|{port}||{host}");
    if let Some(id) = draft.clusters.by_name.get(&name) {
        return Some(*id);
    }
    let port = service.ports.iter().find(|p| p.number == port)?;
    let cluster = cluster(draft, service, port, "", name, Speaker::Ours)?;
    Some(draft.clusters.add(cluster))
}

/// The visible service of a host: that of the namespace, else the first.
pub(super) fn find_service<'w>(
    draft: &Draft<'w>,
    host: &str,
    namespace: &str,
) -> Option<&'w Service> {
    let world = draft.world;
    let default = &world.mesh.default_service_export_to;
    let visible = |s: &&Service| {
        draft
            .view
            .exported(&s.export_to, default, &s.namespace)
            .is_some()
    };
    let mut visible = world.services_of(host).iter().filter(visible);
    let first = visible.next()?;
    if &*first.namespace == namespace {
        return Some(first);
    }
    Some(
        visible
            .find(|s| &*s.namespace == namespace)
            .unwrap_or(first),
    )
}

/// Who speaks with the endpoints of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// We do, as the rules say.
    Ours,
    /// A client in mutual TLS of the mesh, through us.
    Theirs,
}

/// The cluster for clients that speak mutual TLS of the mesh with its endpoints, through us: those
/// that do, in our own network. None when the subset is not defined.
pub(super) fn passed_through(
    draft: &mut Draft<'_>,
    service: &Service,
    port: &ServicePort,
    subset: &str,
) -> Option<(ClusterId, String)> {
    let name = upstream_tls::mesh_name(service, port, subset);
    let id = match draft.clusters.by_name.get(&name) {
        Some(id) => *id,
        None => {
            let made = cluster(draft, service, port, subset, name.clone(), Speaker::Theirs)?;
            draft.clusters.add(made)
        }
    };
    Some((id, name))
}

/// Names of the subsets of a service, as rules define them.
pub(super) fn subsets(draft: &Draft<'_>, service: &Service) -> Vec<String> {
    let rules = rules_of(draft, service);
    let subsets = rules.rules.iter().flat_map(|rule| &rule.spec.subsets);
    let mut names: Vec<String> = subsets.map(|subset| subset.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The rules that apply to a service.
fn rules_of<'w>(draft: &Draft<'w>, service: &Service) -> Merged<'w> {
    let world = draft.world;
    let (export, root) = (
        &world.mesh.default_destination_rule_export_to,
        world.root_namespace(),
    );
    let (host, namespace) = (&service.host, &service.namespace);
    world
        .rules()
        .lookup(draft.view, export, root, host, namespace)
}

/// Builds a cluster; none when the subset is not defined.
fn cluster(
    draft: &mut Draft<'_>,
    service: &Service,
    port: &ServicePort,
    subset: &str,
    name: String,
    speaker: Speaker,
) -> Option<Cluster> {
    let world = draft.world;
    let rules = rules_of(draft, service);
    let chosen = match subset {
        "" => None,
        name => Some(rules.subset(name)?),
    };
    let policy = Policy::of(
        &world.mesh,
        rules.policy(),
        chosen.and_then(|s| s.traffic_policy.as_ref()),
        port.number,
    );
    let http = policy.pool.and_then(|p| p.http.as_ref());
    let mesh_timeout = world.mesh.connect_timeout.map(millis).filter(|t| t.0 > 0);
    let mut traffic = policy.traffic(&world.mesh);
    let rule = rules.rules.first().map(|r| r.resource);
    let target = Target::new(service, port, chosen);
    traffic.health = health(&rules);
    if traffic.health.is_some() && policy.outlier.is_none() {
        // as with outlier detection: who asks is told, and whoever is left out stays out
        traffic.panic_threshold = 0;
    }
    let found = endpoints(draft, target, speaker, &policy, rule);
    traffic.locality_weights = found.weights;
    discovery::report(draft, service);
    let idle = policy.idle_bytes();
    draft.clusters.idle_bytes.insert(name.clone(), idle);
    let protocol = protocol(draft, port, http);
    // who speaks through us digs its own tunnels
    if let (Some(settings), Speaker::Ours) = (policy.tunnel, speaker) {
        let tunnel = tunnel(settings);
        draft.clusters.tunnels.insert(name.clone(), tunnel);
    }
    Some(Cluster {
        host: service.host.to_string(),
        port: port.number,
        subset: subset.to_owned(),
        service_name: service.name.to_string(),
        service_namespace: service.namespace.to_string(),
        protocol,
        endpoints: found.endpoints,
        discovery: found.discovery,
        balance: policy.balance(),
        connect_timeout: policy
            .connect_timeout()
            .or(mesh_timeout)
            .unwrap_or(CONNECT_TIMEOUT),
        idle_timeout: match http.and_then(|h| h.idle_timeout).map(millis) {
            Some(Millis(0)) => None,
            Some(given) => Some(given),
            None => Some(IDLE_TIMEOUT),
        },
        max_requests_per_connection: http
            .and_then(|h| u32::try_from(h.max_requests_per_connection).ok())
            .unwrap_or(0),
        tls: found.tls,
        traffic,
        name,
    })
}

/// The health check of the first rule that has one.
fn health(rules: &Merged<'_>) -> Option<HealthCheck> {
    let mut all = rules.rules.iter();
    all.find_map(|rule| health_check::of(rule.resource)?.ok())
}

/// Where a cluster is.
struct Found {
    endpoints: Vec<Endpoint>,
    discovery: Discovery,
    tls: UpstreamTls,
    /// Shares of localities.
    weights: Vec<LocalityWeight>,
}

/// The endpoints of a cluster by preference, and TLS towards them.
fn endpoints(
    draft: &mut Draft<'_>,
    target: Target<'_>,
    speaker: Speaker,
    policy: &Policy<'_>,
    rule: Option<&Resource>,
) -> Found {
    let Target {
        service,
        port,
        subset,
    } = target;
    let checked = rule.and_then(health_check::of).is_some();
    let preference = Preference {
        rule: policy.balancer.and_then(|b| b.locality_lb_setting.as_ref()),
        distribution: nearness(service),
        mesh: draft.world.mesh.locality_lb_setting.as_ref(),
        ejects: policy.outlier.is_some() || checked,
    };
    let selected = port
        .instances
        .iter()
        .filter(|i| subset.is_none_or(|s| covers(&i.labels, &s.labels)));
    let asker = &*draft;
    let mutual = |i: &Instance| upstream_tls::is_reached(asker, service, i, policy.tls);
    let seen = match speaker {
        Speaker::Ours => networks::seen(asker, selected.collect(), mutual),
        Speaker::Theirs => selected
            .filter(|i| networks::is_here(asker.view, i) && mutual(i))
            .map(Cow::Borrowed)
            .collect(),
    };
    let seen = seen.iter().map(|i| &**i).collect();
    let (ranked, weights) = locality::arrange(draft.view, preference, seen);
    let (endpoints, discovery, tls) = match speaker {
        Speaker::Ours => upstream_tls::secured(draft, target, &ranked, policy.tls.zip(rule)),
        Speaker::Theirs => {
            let (endpoints, discovery) = discovery::discover(service, &ranked, |_| false);
            (endpoints, discovery, UpstreamTls::Plain)
        }
    };
    Found {
        endpoints,
        discovery,
        tls,
        weights,
    }
}

/// The tunnel that a rule asks for.
fn tunnel(settings: &TunnelSettings) -> Tunnel {
    let host = match settings.target_host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => settings.target_host.to_ascii_lowercase(),
    };
    Tunnel {
        target: format!("{host}:{}", settings.target_port),
        method: match settings.protocol.as_str() {
            "POST" => TunnelMethod::Post,
            _ => TunnelMethod::Connect,
        },
    }
}

fn nearness(service: &Service) -> Nearness {
    match &service.resource.spec {
        Spec::Service(spec) => match spec.spec.as_ref().map(|s| s.traffic_distribution.as_str()) {
            Some("PreferClose" | "PreferSameZone" | "PreferSameNode") => Nearness::Close,
            _ => Nearness::Any,
        },
        _ => Nearness::Any,
    }
}

fn protocol(
    draft: &Draft<'_>,
    port: &ServicePort,
    http: Option<&crate::api::destination_rule::HttpSettings>,
) -> UpstreamProtocol {
    let said = http.map(|h| h.h2_upgrade_policy).unwrap_or_default();
    let mesh = draft.world.mesh.h2_upgrade_policy == H2UpgradePolicy::Upgrade;
    if http.is_some_and(|h| h.use_client_protocol) {
        UpstreamProtocol::Client
    } else if said == H2UpgradePolicy::Upgrade || mesh && said != H2UpgradePolicy::DoNotUpgrade {
        UpstreamProtocol::Http2
    } else {
        port.protocol
    }
}
