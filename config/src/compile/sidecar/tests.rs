//! Small worlds, and what a sidecar makes of them.

use super::*;
use crate::ir::{Action, ClusterRef, HostPattern, Outbound, PeerTls, VirtualHost, Wire};
use crate::pipeline::accept;
use crate::retain::LastGood;
use crate::view::{OwnPorts, View};
use std::net::{IpAddr, Ipv4Addr};

/// A shop with an address, a bank elsewhere, and a database; the workload is one of the shop's.
const WORLD: &str = r"
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec:
  clusterIP: 10.1.0.1
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 5432}]
---
apiVersion: v1
kind: Pod
metadata: {name: shop-1, namespace: default, labels: {app: shop}}
status: {phase: Running, podIP: 10.2.0.1}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, namespace: money}
spec:
  hosts: [bank.example.com]
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.3.0.1}]
";

fn compiled(more: &str, own_ports: bool) -> Sidecar {
    let text = format!("{WORLD}---\n{more}");
    let merged = accept(&[("mesh.yaml".to_owned(), text)], &mut LastGood::default());
    assert!(merged.diagnostics.is_empty(), "{:?}", merged.diagnostics);
    let world = World::build(&merged.set, &merged.sources, "cluster.local");
    let address = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 1));
    let view = SidecarView {
        workload: View {
            namespace: "default".to_owned(),
            labels: [("app".to_owned(), "shop".to_owned())].into(),
            ..View::default()
        },
        addresses: vec![address],
        ports: own_ports.then(|| OwnPorts {
            outbound: IpAddr::V4(Ipv4Addr::LOCALHOST),
            inbound: vec![(8080, 3000)],
        }),
    };
    compile_sidecar(&world, &view).sidecar
}

/// Sockets as `address:port what`.
fn sockets(sidecar: &Sidecar) -> Vec<String> {
    let text = |socket: &Outbound| {
        let address = socket.address;
        let address = address.map_or_else(|| "any".to_owned(), |a| a.to_string());
        let kinds = [
            (socket.http.is_some(), "http"),
            (!socket.tls.is_empty(), "tls"),
            (socket.tcp.is_some(), "tcp"),
        ];
        let kinds = kinds.iter().filter(|(is, _)| *is);
        let kinds: Vec<&str> = kinds.map(|(_, kind)| *kind).collect();
        format!("{address}:{} {}", socket.port, kinds.join("+"))
    };
    sidecar.outbound.iter().map(text).collect()
}

fn host<'s>(sidecar: &'s Sidecar, table: &str, name: &str) -> Option<&'s VirtualHost> {
    let name = HostPattern::parse(name);
    let table = sidecar
        .snapshot
        .route_tables
        .iter()
        .find(|t| t.name == table)?;
    table.hosts.iter().find(|h| h.domains.contains(&name))
}

/// Clusters that the routes of a host go to.
fn clusters(sidecar: &Sidecar, host: &VirtualHost) -> Vec<String> {
    let forwards = host.routes.iter().filter_map(|route| match &route.action {
        Action::Forward(forward) => Some(forward),
        _ => None,
    });
    let targets = forwards.flat_map(|forward| &forward.targets);
    let name = |cluster: &ClusterRef| match cluster {
        ClusterRef::Known(id) => sidecar.snapshot.clusters[id.0 as usize].name.clone(),
        ClusterRef::Missing(name) => format!("missing {name}"),
    };
    targets.map(|target| name(&target.cluster)).collect()
}

#[test]
fn services_are_called_by_port_address_and_name() {
    let sidecar = compiled("", false);
    assert_eq!(
        sockets(&sidecar),
        ["any:80 http", "any:443 tls", "10.1.0.1:5432 tcp"]
    );
    for name in ["shop", "shop.default", "shop.default.svc", "10.1.0.1"] {
        let host = host(&sidecar, "80", name).expect(name);
        let shop = "outbound|80||shop.default.svc.cluster.local";
        assert_eq!(clusters(&sidecar, host), [shop], "{name}");
    }
    assert!(sidecar.allow_any);
    assert_eq!(
        sidecar.capture,
        Capture::Redirect {
            outbound: 15_001,
            inbound: 15_006
        }
    );
}

#[test]
fn on_ports_of_its_own_nobody_knows_what_address_was_meant() {
    let sidecar = compiled("", true);
    assert_eq!(
        sockets(&sidecar),
        ["any:80 http", "any:443 tls", "any:5432 tcp"]
    );
    assert!(host(&sidecar, "80", "10.1.0.1").is_none());
}

#[test]
fn a_sidecar_object_says_what_may_be_called() {
    let scope = |spec: &str| {
        let object = "apiVersion: networking.istio.io/v1\nkind: Sidecar\n";
        compiled(
            &format!("{object}metadata: {{name: own, namespace: default}}\nspec: {spec}\n"),
            false,
        )
    };
    let own = scope("{egress: [{hosts: [./*]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}");
    assert_eq!(sockets(&own), ["any:80 http", "10.1.0.1:5432 tcp"]);
    assert!(!own.allow_any && host(&own, "80", "bank.example.com").is_none());
    let bank = scope("{egress: [{hosts: [money/bank.example.com]}]}");
    assert_eq!(sockets(&bank), ["any:80 http", "any:443 tls"]);
    assert!(bank.allow_any && host(&bank, "80", "shop").is_none());
    let none = scope("{egress: [{hosts: ['~/*']}]}");
    assert_eq!(sockets(&none), Vec::<String>::new());
    // a listener with a port is the only one that speaks for it
    let by_port = scope(
        "{egress: [{port: {number: 80, protocol: HTTP, name: h}, hosts: [./*]}, {hosts: [money/*]}]}",
    );
    assert_eq!(sockets(&by_port), ["any:80 http", "any:443 tls"]);
    assert!(host(&by_port, "80", "bank.example.com").is_none());
}

#[test]
fn services_without_endpoints_are_where_they_were_called() {
    let any = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
        metadata: {name: any, namespace: default}\nspec:\n  hosts: ['*.wiki.test']\n  \
        resolution: NONE\n  ports: [{number: 443, name: tls, protocol: TLS}]\n";
    let redirected = compiled(any, false);
    let name = |id: &ClusterId| redirected.snapshot.clusters[id.0 as usize].name.clone();
    let names: Vec<String> = redirected.as_called.iter().map(name).collect();
    assert_eq!(names, ["outbound|443||*.wiki.test"]);
    assert_eq!(compiled(any, true).as_called, []);
}

#[test]
fn rules_of_the_mesh_are_those_of_the_most_specific_host() {
    let rule = |name: &str, host: &str, gateways: &str, to: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {{name: {name}, namespace: default}}\nspec:\n  hosts: ['{host}']\n{gateways}  \
             http: [{{route: [{{destination: {{host: {to}, port: {{number: 80}}}}}}]}}]\n"
        )
    };
    let bank = "bank.example.com";
    let text = [
        rule("all", "*.example.com", "", "shop"),
        rule("edge", bank, "  gateways: [edge]\n", "shop"),
        rule("own", bank, "  gateways: [mesh, edge]\n", bank),
        rule("unknown", "nobody.test", "", "shop"),
    ];
    let sidecar = compiled(&text.join("---\n"), false);
    let known = host(&sidecar, "80", bank).unwrap();
    assert_eq!(clusters(&sidecar, known), ["outbound|80||bank.example.com"]);
    let unknown = host(&sidecar, "80", "nobody.test").unwrap();
    let shop = "outbound|80||shop.default.svc.cluster.local";
    assert_eq!(clusters(&sidecar, unknown), [shop]);
}

#[test]
fn callers_are_asked_for_an_identity_port_by_port() {
    let peers = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
        metadata: {name: p, namespace: default}\nspec:\n  selector: {matchLabels: {app: shop}}\n  \
        mtls: {mode: STRICT}\n  portLevelMtls: {5432: {mode: DISABLE}}\n";
    let sidecar = compiled(peers, false);
    let ports: Vec<_> = sidecar
        .inbound
        .iter()
        .map(|p| (p.port, p.wire, p.tls))
        .collect();
    assert_eq!(
        ports,
        [
            (5432, Wire::Tcp, PeerTls::Disable),
            (8080, Wire::Http1, PeerTls::Strict)
        ]
    );
    assert!(sidecar.inbound.iter().all(|port| port.app.is_none()));
    assert_eq!(sidecar.rest, PeerTls::Strict);
    let own = compiled(peers, true).inbound;
    let app = Some("127.0.0.1:3000".parse().unwrap());
    assert_eq!((own.len(), own[0].port, own[0].app), (1, 8080, app));
}

/// Istio's task for local rate limits: for a workload, and for one of its ports.
const TASK: &str = r"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: filter-local-ratelimit-svc, namespace: istio-system}
spec:
  workloadSelector: {labels: {app: shop}}
  configPatches:
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            '@type': type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
            value: {stat_prefix: http_local_rate_limiter}
    - applyTo: HTTP_ROUTE
      match:
        context: SIDECAR_INBOUND
        routeConfiguration: {vhost: {name: 'inbound|http|80', route: {action: ANY}}}
      patch:
        operation: MERGE
        value:
          typed_per_filter_config:
            envoy.filters.http.local_ratelimit:
              '@type': type.googleapis.com/udpa.type.v1.TypedStruct
              type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              value:
                stat_prefix: http_local_rate_limiter
                token_bucket: {max_tokens: 4, tokens_per_fill: 4, fill_interval: 60s}
                filter_enabled: {default_value: {numerator: 100, denominator: HUNDRED}}
                filter_enforced: {default_value: {numerator: 100, denominator: HUNDRED}}
";

#[test]
fn the_documented_rate_limit_is_about_who_calls_the_port() {
    let text = crate::print::snapshot(&compiled(TASK, false).snapshot);
    let limit = text.lines().skip_while(|line| !line.starts_with("limit "));
    let limit: Vec<&str> = limit
        .take_while(|line| !line.starts_with("routes"))
        .collect();
    assert_eq!(
        limit[0],
        "limit istio-system/filter-local-ratelimit-svc/1 First"
    );
    assert_eq!(limit[2].trim(), "4 in 60000ms burst 4");
    assert_eq!(
        limit[3].trim(),
        "port 8080",
        "the workload's, not the service's"
    );
    let others = TASK.replace("app: shop", "app: bank");
    assert!(compiled(&others, false).snapshot.limits.is_empty());
    let outbound = TASK.replace("SIDECAR_INBOUND", "GATEWAY");
    assert!(compiled(&outbound, false).snapshot.limits.is_empty());
}
