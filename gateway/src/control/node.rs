//! This gateway as a node of xDS: the fields of Istio's agents, so that it is known as theirs are.

use std::net::{IpAddr, Ipv4Addr};

use sallyport_wire::document::GENERATOR;
use sallyport_wire::envoy::envoy::config::core::v3::{Locality, Node};
use sallyport_wire::envoy::google::protobuf::{Struct, Value, value::Kind};

use crate::args::Options;

/// The node.
pub(super) fn of(options: &Options) -> Node {
    let own = &options.node;
    let (name, namespace) = (&own.name, &own.namespace);
    let mut bound = options.bind.iter().filter(|ip| !ip.is_unspecified());
    let address = bound.next().copied();
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let labels = own.labels.iter();
    let labels = labels.map(|(key, value)| (key.clone(), text(value)));
    let labels = Struct {
        fields: labels.collect(),
    };
    let fields = [
        ("NAME", text(name)),
        ("NAMESPACE", text(namespace)),
        ("SERVICE_ACCOUNT", text(&own.service_account)),
        ("CLUSTER_ID", text(&own.cluster)),
        ("NETWORK", text(&own.network)),
        ("GENERATOR", text(GENERATOR)),
        ("LABELS", value(Kind::StructValue(labels))),
    ];
    let mut places = own.locality.splitn(3, '/').map(str::to_owned);
    let mut place = || places.next().unwrap_or_default();
    Node {
        id: format!("router~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"),
        cluster: format!("{}.{namespace}", own.service_account),
        locality: Some(Locality {
            region: place(),
            zone: place(),
            sub_zone: place(),
        }),
        metadata: Some(Struct {
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        }),
        ..Node::default()
    }
}

fn text(text: &str) -> Value {
    value(Kind::StringValue(text.to_owned()))
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}
