//! Which DestinationRule counts, and which of its blocks: random rules against Istio's order of
//! precedence, written down once more in the plainest way.

use proptest::prelude::*;
use sallyport_config::View;
use sallyport_config::ir::{Balance, Snapshot};
use sallyport_config::pipeline;
use sallyport_config::retain::LastGood;

/// The gateway's namespace, the service's, the root namespace, and one that has no say.
const NAMESPACES: [&str; 4] = ["edge", "app", "istio-system", "other"];
const HOST: &str = "shop.app.svc.cluster.local";
/// Patterns that fit the host, the most specific first, and one that does not.
const PATTERNS: [&str; 4] = [HOST, "*.app.svc.cluster.local", "*.local", "*.org"];
const EXPORTS: [&str; 4] = ["", "exportTo: ['*']", "exportTo: ['.']", "exportTo: [edge]"];

const WORLD: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: app}
spec: {ports: [{name: http, port: 80}, {name: http-more, port: 81}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: app}
spec:
  hosts: [shop.test]
  gateways: [edge/gw]
  http:
  - {match: [{uri: {exact: /1}}], route: [{destination: {host: shop, port: {number: 80}}}]}
  - {match: [{uri: {exact: /2}}], route: [{destination: {host: shop, port: {number: 81}}}]}
  - {match: [{uri: {exact: /3}}], route: [{destination: {host: shop, port: {number: 80}, subset: v1}}]}
  - {match: [{uri: {exact: /4}}], route: [{destination: {host: shop, port: {number: 81}, subset: v1}}]}
";

/// Two blocks that can be told from any other rule's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Blocks {
    /// Milliseconds of `connectTimeout`.
    pool: Option<u64>,
    /// Points of a ring.
    ring: Option<u32>,
}

/// A policy: its blocks, and those of port 81.
#[derive(Debug, Clone, Copy)]
struct Policy {
    own: Blocks,
    port: Option<Blocks>,
}

#[derive(Debug, Clone)]
struct Rule {
    namespace: usize,
    pattern: usize,
    export: usize,
    top: Option<Policy>,
    /// Subset `v1`, if it defines that.
    subset: Option<Option<Policy>>,
}

fn blocks() -> impl Strategy<Value = Blocks> {
    let pool = prop::option::of(1_u64..1_000_000);
    let ring = prop::option::of(1_u32..1_000_000);
    (pool, ring).prop_map(|(pool, ring)| Blocks { pool, ring })
}

fn policy() -> impl Strategy<Value = Policy> {
    (blocks(), prop::option::of(blocks())).prop_map(|(own, port)| Policy { own, port })
}

fn rule() -> impl Strategy<Value = Rule> {
    let top = prop::option::of(policy());
    let subset = prop::option::of(prop::option::of(policy()));
    (0..4_usize, 0..4_usize, 0..4_usize, top, subset).prop_map(
        |(namespace, pattern, export, top, subset)| Rule {
            namespace,
            pattern,
            export,
            top,
            subset,
        },
    )
}

impl Blocks {
    fn fields(self) -> String {
        let mut out = String::new();
        if let Some(ms) = self.pool {
            out.push_str(&format!(
                "connectionPool: {{tcp: {{connectTimeout: {ms}ms}}}}, "
            ));
        }
        if let Some(size) = self.ring {
            let hash = format!("useSourceIp: true, ringHash: {{minimumRingSize: {size}}}");
            out.push_str(&format!("loadBalancer: {{consistentHash: {{{hash}}}}}, "));
        }
        out
    }
}

impl Policy {
    fn text(self) -> String {
        let port = self.port.map_or(String::new(), |port| {
            format!(
                "portLevelSettings: [{{{}port: {{number: 81}}}}]",
                port.fields()
            )
        });
        format!("trafficPolicy: {{{}{port}}}", self.own.fields())
    }
}

impl Rule {
    fn text(&self, index: usize) -> String {
        let (namespace, host) = (NAMESPACES[self.namespace], PATTERNS[self.pattern]);
        let mut spec = vec![format!("host: '{host}'"), EXPORTS[self.export].to_owned()];
        spec.extend(self.top.map(Policy::text));
        if let Some(policy) = self.subset {
            let policy = policy.map_or(String::new(), |policy| format!(", {}", policy.text()));
            spec.push(format!("subsets: [{{name: v1, labels: {{v: a}}{policy}}}]"));
        }
        spec.retain(|field| !field.is_empty());
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: rule-{index:02}, namespace: {namespace}}}
spec: {{{}}}
",
            spec.join(", ")
        )
    }

    /// Whether the gateway's namespace sees it.
    fn is_exported(&self) -> bool {
        NAMESPACES[self.namespace] == "edge" || EXPORTS[self.export] != "exportTo: ['.']"
    }
}

/// The rules that count: of the first namespace that has any for the host, those of the most specific
/// pattern, and of these those that are exported as the first is.
fn chosen(rules: &[Rule]) -> Vec<&Rule> {
    for namespace in 0..3 {
        for pattern in 0..3 {
            let found = rules.iter().filter(|rule| {
                rule.namespace == namespace && rule.pattern == pattern && rule.is_exported()
            });
            let found: Vec<&Rule> = found.collect();
            if let Some(first) = found.first() {
                let alike = found.iter().filter(|rule| rule.export == first.export);
                return alike.copied().collect();
            }
        }
    }
    Vec::new()
}

/// What holds for a port when one policy stands over what is there.
fn over(below: Blocks, policy: Option<Policy>, port: u16) -> Blocks {
    match policy {
        None => below,
        Some(Policy {
            port: Some(own), ..
        }) if port == 81 => own,
        Some(Policy { own, .. }) => Blocks {
            pool: own.pool.or(below.pool),
            ring: own.ring.or(below.ring),
        },
    }
}

/// What a cluster should have; `None` for a subset that nothing defines.
fn expected(rules: &[Rule], port: u16, subset: bool) -> Option<Blocks> {
    let rules = chosen(rules);
    let top = rules.iter().find_map(|rule| rule.top);
    let host = over(Blocks::default(), top, port);
    if !subset {
        return Some(host);
    }
    let subset = rules.iter().find_map(|rule| rule.subset)?;
    Some(over(host, subset, port))
}

/// What it has.
fn compiled(snapshot: &Snapshot, port: u16, subset: &str) -> Option<Blocks> {
    let name = format!("outbound|{port}|{subset}|{HOST}");
    let cluster = snapshot.clusters.iter().find(|c| c.name == name)?;
    Some(Blocks {
        pool: Some(cluster.connect_timeout.0).filter(|ms| *ms != 10_000),
        ring: match &cluster.balance {
            Balance::Hash(policy) => match policy.table {
                sallyport_config::ir::HashTable::Ring(size) => Some(size),
                sallyport_config::ir::HashTable::Maglev(_) => None,
            },
            _ => None,
        },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules_and_their_blocks_count_in_istios_order(rules in prop::collection::vec(rule(), 0..8)) {
        let mut text = WORLD.to_owned();
        for (index, rule) in rules.iter().enumerate() {
            text.push_str(&rule.text(index));
        }
        let view = View { namespace: "edge".to_owned(), ..View::default() };
        let files = [("a.yaml".to_owned(), text.clone())];
        let built = pipeline::build(&files, &view, &mut LastGood::default());
        for port in [80, 81] {
            for subset in ["", "v1"] {
                let want = expected(&rules, port, !subset.is_empty());
                // ten seconds are what holds without a word
                let want = want.map(|b| Blocks { pool: b.pool.filter(|ms| *ms != 10_000), ..b });
                let got = compiled(&built.snapshot, port, subset);
                prop_assert_eq!(got, want, "{} {}: {}", port, subset, text);
            }
        }
    }
}
