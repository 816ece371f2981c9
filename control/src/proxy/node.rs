//! A node message of xDS as a [`Proxy`]. The fields of its metadata are those of Istio's agents
//! (`pkg/model/proxy.go`); our own begin with `SALLYPORT_`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use sallyport_wire::document::GENERATOR;
use sallyport_wire::envoy::envoy::config::core::v3::{Locality, Node};
use sallyport_wire::envoy::google::protobuf::{Struct, Value, value};

use super::{AppPort, Interception, Proxy, ProxyKind};

/// Names of metadata that are ours.
pub mod metadata {
    /// Ports of the workload where nothing intercepts: `inbound=app`, separated by commas. One
    /// number stands for both.
    pub const APP_PORTS: &str = "SALLYPORT_APP_PORTS";
    /// Address of outbound listeners where nothing intercepts.
    pub const OUTBOUND_ADDRESS: &str = "SALLYPORT_OUTBOUND_ADDRESS";
}

/// Labels of a node that are read; more are refused.
const LABELS_MAX: usize = 1_000;
/// Addresses of a node that are read; more are refused.
const ADDRESSES_MAX: usize = 100;
/// Bytes of a node id, a namespace or a name.
const NAME_MAX: usize = 1_024;

/// Why a node cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError(String);

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NodeError {}

fn refused<T>(why: impl Into<String>) -> Result<T, NodeError> {
    Err(NodeError(why.into()))
}

impl Proxy {
    /// Reads a node. Nothing in it is trusted yet: the server compares namespace and service
    /// account with the caller's identity.
    ///
    /// # Errors
    /// The id has not the four parts of `type~address~name.namespace~domain`, a number or an
    /// address cannot be read, or something is longer than any honest node has it.
    pub fn from_node(node: &Node) -> Result<Self, NodeError> {
        if node.id.len() > NAME_MAX {
            return refused(format!("the node id is longer than {NAME_MAX} bytes"));
        }
        let parts: Vec<&str> = node.id.split('~').collect();
        let [kind, address, name, domain] = parts[..] else {
            return refused("the node id is not type~address~name.namespace~domain");
        };
        let kind = match kind {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Gateway,
            other => return refused(format!("no proxy is of type {other:?}")),
        };
        let empty = Struct::default();
        let meta = Metadata(node.metadata.as_ref().unwrap_or(&empty));
        let (short, from_id) = name.rsplit_once('.').unwrap_or((name, ""));
        let namespace = meta.text("NAMESPACE").unwrap_or(from_id);
        if namespace.is_empty() || namespace.len() > NAME_MAX {
            return refused("the node says no namespace");
        }
        let labels = meta.labels()?;
        let mut addresses = meta.addresses()?;
        if addresses.is_empty() {
            addresses.extend(address.parse::<IpAddr>());
        }
        Ok(Self {
            kind,
            id: node.id.clone(),
            name: meta.text("NAME").unwrap_or(short).to_owned(),
            namespace: namespace.to_owned(),
            service_account: meta.text("SERVICE_ACCOUNT").unwrap_or("default").to_owned(),
            locality: locality(node.locality.as_ref(), &labels),
            labels,
            addresses,
            cluster: meta.text("CLUSTER_ID").unwrap_or_default().to_owned(),
            network: meta.text("NETWORK").unwrap_or_default().to_owned(),
            domain_suffix: suffix(domain, namespace),
            interception: meta.interception()?,
            app_ports: meta.app_ports()?,
            outbound_address: meta.outbound_address()?,
            extensions: node.extensions.iter().map(|e| e.name.clone()).collect(),
            http10: meta.text("HTTP10").is_some_and(|v| v == "1" || v == "true"),
            group: meta.text("AUTO_REGISTER_GROUP").map(str::to_owned),
            documents: meta.text("GENERATOR") == Some(GENERATOR),
        })
    }
}

/// `default.svc.cluster.local` → `cluster.local`; what is not like that says nothing.
fn suffix(domain: &str, namespace: &str) -> String {
    let rest = domain.strip_prefix(namespace);
    let rest = rest.and_then(|rest| rest.strip_prefix(".svc."));
    let known = rest.filter(|rest| !rest.is_empty() && rest.len() <= NAME_MAX);
    known.unwrap_or("cluster.local").to_owned()
}

/// The node's own locality, or that of its label `istio-locality` (dots stand for slashes there).
fn locality(locality: Option<&Locality>, labels: &BTreeMap<String, String>) -> String {
    let own = locality.map(|l| [l.region.as_str(), &l.zone, &l.sub_zone]);
    let own = own.unwrap_or_default();
    let parts = own.iter().take_while(|part| !part.is_empty());
    let own = parts.copied().collect::<Vec<_>>().join("/");
    match labels.get("istio-locality") {
        Some(label) if own.is_empty() && label.contains('/') => label.clone(),
        Some(label) if own.is_empty() => label.replace('.', "/"),
        _ => own,
    }
}

struct Metadata<'n>(&'n Struct);

impl<'n> Metadata<'n> {
    fn get(&self, name: &str) -> Option<&'n value::Kind> {
        self.0.fields.get(name)?.kind.as_ref()
    }

    fn text(&self, name: &str) -> Option<&'n str> {
        let text = self.get(name).and_then(text_of);
        text.filter(|text| !text.is_empty() && text.len() <= NAME_MAX)
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, NodeError> {
        let Some(value::Kind::StructValue(labels)) = self.get("LABELS") else {
            return Ok(BTreeMap::new());
        };
        if labels.fields.len() > LABELS_MAX {
            return refused(format!("the node has more than {LABELS_MAX} labels"));
        }
        let pair = |(name, value): (&String, &Value)| {
            Some((name.clone(), text_of(value.kind.as_ref()?)?.to_owned()))
        };
        Ok(labels.fields.iter().filter_map(pair).collect())
    }

    fn addresses(&self) -> Result<Vec<IpAddr>, NodeError> {
        let list = self.text("INSTANCE_IPS").unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut addresses = Vec::new();
        for text in list.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            let Ok(address) = text.parse::<IpAddr>() else {
                return refused("INSTANCE_IPS is not a list of addresses");
            };
            if seen.insert(address) {
                addresses.push(address);
            }
        }
        if addresses.len() > ADDRESSES_MAX {
            return refused(format!("the node has more than {ADDRESSES_MAX} addresses"));
        }
        Ok(addresses)
    }

    fn interception(&self) -> Result<Interception, NodeError> {
        match self.text("INTERCEPTION_MODE").unwrap_or("REDIRECT") {
            "REDIRECT" => Ok(Interception::Redirect),
            "TPROXY" => Ok(Interception::Tproxy),
            "NONE" => Ok(Interception::None),
            _ => refused("INTERCEPTION_MODE is none of REDIRECT, TPROXY, NONE"),
        }
    }

    fn app_ports(&self) -> Result<Vec<AppPort>, NodeError> {
        let list = self.text(metadata::APP_PORTS).unwrap_or_default();
        let items = list.split(',').map(str::trim).filter(|t| !t.is_empty());
        let ports = items.map(|item| item.parse());
        let ports: Result<BTreeSet<AppPort>, NodeError> = ports.collect();
        Ok(ports?.into_iter().collect())
    }

    fn outbound_address(&self) -> Result<IpAddr, NodeError> {
        let text = self.text(metadata::OUTBOUND_ADDRESS).unwrap_or("127.0.0.1");
        let address = text.parse();
        address.map_err(|_| NodeError(format!("{} is no address", metadata::OUTBOUND_ADDRESS)))
    }
}

fn text_of(kind: &value::Kind) -> Option<&str> {
    match kind {
        value::Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

impl std::str::FromStr for AppPort {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Self, NodeError> {
        let (inbound, app) = text.split_once('=').unwrap_or((text, text));
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if port != 0 => Ok(port),
            _ => refused(format!("{text:?} is not a port between 1 and 65535")),
        };
        Ok(Self {
            inbound: port(inbound)?,
            app: port(app)?,
        })
    }
}
