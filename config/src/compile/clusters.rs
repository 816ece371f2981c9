//! Destinations become clusters: the service, its subset, and what DestinationRules say.
//!
//! Istio `pilot/pkg/networking/core/route/route.go` (`GetDestinationCluster`) and
//! `cluster_traffic_policy.go`. Only what routes refer to becomes a cluster.

use super::discovery;
use super::draft::Draft;
use super::locality::{self, Nearness, Preference};
use super::millis;
use super::traffic::{self, Policy};
use super::upstream_tls::{self, Target};
use crate::api::destination_rule::H2UpgradePolicy;
use crate::api::virtual_service::Destination;
use crate::diag::codes;
use crate::ir::{Cluster, ClusterId, ClusterRef, Millis, UpstreamProtocol};
use crate::resource::{Resource, Spec};
use crate::world::{Service, ServicePort, covers, full_name};
use std::collections::{HashMap, HashSet};

/// Istio's limit for connecting where nothing says otherwise.
const CONNECT_TIMEOUT: Millis = Millis(10_000);
/// Envoy's limit for idle connections where nothing says otherwise.
const IDLE_TIMEOUT: Millis = Millis(3_600_000);
/// Istio's default root namespace.
const ROOT_NAMESPACE: &str = "istio-system";

/// Clusters by name, in the order met.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    by_name: HashMap<String, ClusterId>,
    all: Vec<Cluster>,
    /// Names of those that TCP connections must reach through a tunnel.
    tunnelled: HashSet<String>,
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

    /// The name of a cluster that TCP connections must reach through a tunnel, which nobody digs
    /// yet: they are refused rather than sent in the open.
    pub(super) fn tunnelled(&self, id: ClusterId) -> Option<&str> {
        let cluster = self.all.get(usize::try_from(id.0).ok()?)?;
        self.tunnelled.get(&cluster.name).map(String::as_str)
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
    match cluster(draft, service, port, subset, name.clone()) {
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

/// Builds a cluster; none when the subset is not defined.
fn cluster(
    draft: &mut Draft<'_>,
    service: &Service,
    port: &ServicePort,
    subset: &str,
    name: String,
) -> Option<Cluster> {
    let world = draft.world;
    let root = match world.mesh.root_namespace.as_str() {
        "" => ROOT_NAMESPACE,
        root => root,
    };
    let export = &world.mesh.default_destination_rule_export_to;
    let rules = world
        .rules()
        .lookup(draft.view, export, root, &service.host, &service.namespace);
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
    let preference = Preference {
        rule: policy.balancer.and_then(|b| b.locality_lb_setting.as_ref()),
        distribution: nearness(service),
        mesh: world.mesh.locality_lb_setting.as_ref(),
        ejects: traffic.outlier.is_some(),
    };
    let selected = port
        .instances
        .iter()
        .filter(|i| chosen.is_none_or(|s| covers(&i.labels, &s.labels)));
    let (ranked, weights) = locality::arrange(draft.view, preference, selected.collect());
    traffic.locality_weights = weights;
    let rule = rules.rules.first().map(|r| r.resource);
    let target = Target::new(service, port, chosen);
    let (endpoints, discovery, tls) =
        upstream_tls::secured(draft, target, &ranked, policy.tls.zip(rule));
    discovery::report(draft, service);
    let idle = policy.idle_bytes();
    draft.clusters.idle_bytes.insert(name.clone(), idle);
    if let (Some(_), Some(rule)) = (policy.tunnel, rule) {
        tunnel(draft, rule, &name);
    }
    Some(Cluster {
        host: service.host.to_string(),
        port: port.number,
        subset: subset.to_owned(),
        service_name: service.name.to_string(),
        service_namespace: service.namespace.to_string(),
        protocol: protocol(draft, port, http),
        endpoints,
        discovery,
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
        tls,
        traffic,
        name,
    })
}

fn tunnel(draft: &mut Draft<'_>, rule: &Resource, name: &str) {
    let message = format!("tunnels are not served yet: TCP connections to {name} are closed");
    draft.report(codes::SP0401, rule, "spec.trafficPolicy.tunnel", message);
    draft.clusters.tunnelled.insert(name.to_owned());
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
