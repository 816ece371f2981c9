//! Who asks: the proxy that a snapshot is compiled for.
//!
//! Selection (a Gateway's selector, the gateway's own Service) and visibility (`exportTo`) are
//! questions about a view, so they are answered here and nowhere else.

use crate::api::Map;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A gateway: where it is and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Namespace of the workload. Secrets are looked up here.
    pub namespace: String,
    /// Labels of the workload; a Gateway's selector is compared with them.
    pub labels: BTreeMap<String, String>,
    /// Name of the workload.
    pub name: String,
    /// Name of its cluster, empty when unknown.
    pub cluster: String,
    /// Name of its network, empty when unknown.
    pub network: String,
    /// `region/zone/subzone`, empty when unknown.
    pub locality: String,
    /// Suffix of Kubernetes' service names.
    pub domain_suffix: String,
    /// Declared port to bound port: what a Service's `targetPort` does, for hosts without one.
    pub port_map: Vec<(u16, u16)>,
    /// HTTP/1.0 requests are accepted.
    pub http10: bool,
}

impl Default for View {
    /// Istio's stock ingress gateway.
    fn default() -> Self {
        Self {
            namespace: "istio-system".to_owned(),
            labels: BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]),
            name: "istio-ingressgateway".to_owned(),
            cluster: String::new(),
            network: String::new(),
            locality: String::new(),
            domain_suffix: "cluster.local".to_owned(),
            port_map: Vec::new(),
            http10: false,
        }
    }
}

/// A sidecar: the workload that it is beside, and how connections reach it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SidecarView {
    /// The workload.
    pub workload: View,
    /// Addresses of the workload, as its endpoints have them.
    pub addresses: Vec<IpAddr>,
    /// The sidecar's own ports, where nothing redirects connections to it.
    pub ports: Option<OwnPorts>,
}

/// The ports of a sidecar on a host that redirects nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPorts {
    /// Address of outbound listeners.
    pub outbound: IpAddr,
    /// Port that peers connect to, and port of the application on 127.0.0.1.
    pub inbound: Vec<(u16, u16)>,
}

/// How an object is exported to a view; in the order in which Istio asks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exported {
    /// `.`: inside its own namespace.
    Privately,
    /// By the name of the view's namespace.
    ByName,
    /// `*`
    ToAll,
}

impl View {
    /// Whether a selector applies to this workload; an empty one applies to every gateway.
    #[must_use]
    pub fn selected_by(&self, selector: &Map<String>) -> bool {
        selector
            .iter()
            .all(|(key, value)| self.labels.get(key) == Some(value))
    }

    /// Whether and how an object of a namespace is visible here. Istio
    /// `pilot/pkg/model/push_context.go`.
    #[must_use]
    pub fn exported(
        &self,
        export_to: &[String],
        default: &[String],
        namespace: &str,
    ) -> Option<Exported> {
        let list = if export_to.is_empty() {
            default
        } else {
            export_to
        };
        if list.is_empty() {
            return Some(Exported::ToAll);
        }
        let how = |entry: &String| match entry.as_str() {
            "*" => Some(Exported::ToAll),
            "." if namespace == self.namespace => Some(Exported::Privately),
            name if name == self.namespace => Some(Exported::ByName),
            _ => None,
        };
        list.iter().filter_map(how).min()
    }

    /// Where the user asked a declared port to be bound.
    #[must_use]
    pub fn mapped_port(&self, declared: u16) -> Option<u16> {
        self.port_map
            .iter()
            .find(|(from, _)| *from == declared)
            .map(|(_, to)| *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_to_says_who_sees() {
        let view = View::default();
        let see = |list: &[&str], namespace| {
            let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
            view.exported(&list, &["*".to_owned()], namespace)
        };
        assert_eq!(see(&[], "any"), Some(Exported::ToAll));
        assert_eq!(see(&["."], "any"), None);
        assert_eq!(see(&["."], "istio-system"), Some(Exported::Privately));
        assert_eq!(
            see(&["other", "istio-system"], "any"),
            Some(Exported::ByName)
        );
        assert_eq!(see(&["~"], "istio-system"), None);
    }

    #[test]
    fn a_selector_is_a_subset_of_the_labels() {
        let view = View::default();
        let select = |pairs: &[(&str, &str)]| {
            view.selected_by(&pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect())
        };
        assert!(select(&[]));
        assert!(select(&[("istio", "ingressgateway")]));
        assert!(!select(&[("istio", "egressgateway")]));
        assert!(!select(&[("istio", "ingressgateway"), ("app", "x")]));
    }
}
