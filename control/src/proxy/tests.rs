//! Nodes as Envoys and agents send them, and as an attacker might.

use sallyport_wire::envoy::envoy::config::core::v3::{Locality, Node};
use sallyport_wire::envoy::google::protobuf::{Struct, Value, value::Kind};

use super::*;

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn object(fields: &[(&str, Value)]) -> Struct {
    Struct {
        fields: fields
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect(),
    }
}

fn node(id: &str, fields: &[(&str, Value)]) -> Node {
    Node {
        id: id.to_owned(),
        metadata: Some(object(fields)),
        ..Node::default()
    }
}

#[test]
fn an_agents_node_says_who_it_is() {
    let labels = Kind::StructValue(object(&[("app", text("web"))]));
    let mut node = node(
        "sidecar~10.0.0.7~web-1.shop~shop.svc.example.org",
        &[
            ("NAMESPACE", text("shop")),
            ("SERVICE_ACCOUNT", text("web")),
            ("INSTANCE_IPS", text("10.0.0.7,fd00::7")),
            ("LABELS", Value { kind: Some(labels) }),
            ("INTERCEPTION_MODE", text("NONE")),
            (metadata::APP_PORTS, text("80=8080,9090")),
            (metadata::OUTBOUND_ADDRESS, text("127.0.0.2")),
        ],
    );
    node.locality = Some(Locality {
        region: "eu".to_owned(),
        zone: "eu-1".to_owned(),
        sub_zone: String::new(),
    });
    let proxy = Proxy::from_node(&node).unwrap();
    assert_eq!(proxy.kind, ProxyKind::Sidecar);
    assert_eq!((&*proxy.name, &*proxy.namespace), ("web-1", "shop"));
    assert_eq!(proxy.service_account, "web");
    assert_eq!(proxy.domain_suffix, "example.org");
    assert_eq!(proxy.locality, "eu/eu-1");
    assert_eq!(proxy.labels["app"], "web");
    assert_eq!(proxy.addresses.len(), 2);
    assert_eq!(
        proxy.app_ports,
        ["80=8080", "9090"].map(|p| p.parse().unwrap())
    );
    assert_eq!(proxy.outbound_address.to_string(), "127.0.0.2");
    assert!(proxy.has_extension("envoy.filters.http.rbac"));
    assert!(!proxy.has_extension("istio.alpn"));
}

#[test]
fn the_id_alone_is_enough() {
    let proxy = Proxy::from_node(&node("router~10.0.0.1~edge.infra~x", &[])).unwrap();
    assert_eq!(proxy.kind, ProxyKind::Gateway);
    assert_eq!((&*proxy.name, &*proxy.namespace), ("edge", "infra"));
    assert_eq!(proxy.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(proxy.domain_suffix, "cluster.local");
}

#[test]
fn nonsense_is_refused() {
    let id = "sidecar~1.1.1.1~a.b~c";
    let long = "x".repeat(2_000);
    let bad = [
        node("", &[]),
        node("sidecar~1.1.1.1~a.b", &[]),
        node("ztunnel~1.1.1.1~a.b~c", &[]),
        node("sidecar~1.1.1.1~no-namespace~c", &[]),
        node(&format!("sidecar~1.1.1.1~{long}.b~c"), &[]),
        node(id, &[("INSTANCE_IPS", text("not-an-address"))]),
        node(id, &[("INTERCEPTION_MODE", text("MAGIC"))]),
        node(id, &[(metadata::APP_PORTS, text("0"))]),
        node(id, &[(metadata::OUTBOUND_ADDRESS, text("here"))]),
    ];
    for node in bad {
        let id = node.id.clone();
        assert!(Proxy::from_node(&node).is_err(), "{id}");
    }
}
