//! The WorkloadEntry of a proxy: its group's template, and what is the proxy's own.

use std::collections::BTreeMap;

use sallyport_config::api::WorkloadGroup;
use sallyport_config::resource::{Key, Kind, ResourceSet, Spec};
use serde_json::{Value, json};

use super::Name;
use crate::proxy::Proxy;

/// Longest name of an object (Kubernetes).
const NAME_MAX: usize = 253;
/// Says to callers that a sidecar is there and takes mutual TLS.
const TLS_MODE: (&str, &str) = ("security.istio.io/tlsMode", "istio");

/// Name, object, and whether it is to say that it is healthy.
pub(super) fn make(
    proxy: &Proxy,
    group: &str,
    set: &ResourceSet,
) -> Result<(Name, Value, bool), String> {
    let namespace = proxy.namespace.as_str();
    let key = Key {
        kind: Kind::WorkloadGroup,
        namespace: namespace.into(),
        name: group.into(),
    };
    let Some(Spec::WorkloadGroup(spec)) = set.get(&key).map(|resource| &resource.spec) else {
        return Err(format!("there is no WorkloadGroup {namespace}/{group}"));
    };
    let template = spec.template.clone().unwrap_or_default();
    let account = template.service_account.as_str();
    if !account.is_empty() && account != proxy.service_account {
        return Err(format!(
            "WorkloadGroup {namespace}/{group} is for service account {account}"
        ));
    }
    let address = proxy.addresses.first().ok_or("the node has no address")?;
    let name = named(group, &address.to_string(), &proxy.network);
    let or = |own: &str, template: &str| match own {
        "" => template.to_owned(),
        own => own.to_owned(),
    };
    let object = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": annotations(group, spec),
        },
        "spec": {
            "address": address.to_string(),
            "labels": labels(proxy, spec),
            "ports": template.ports.iter().collect::<BTreeMap<_, _>>(),
            "network": or(&proxy.network, &template.network),
            "locality": or(&proxy.locality, &template.locality),
            "weight": template.weight,
            "serviceAccount": proxy.service_account,
        },
    });
    let name = (namespace.to_owned(), name);
    Ok((name, object, spec.probe.is_some()))
}

/// Namespace and name of an object.
pub(super) fn name(object: &Value) -> Option<Name> {
    let metadata = object.get("metadata")?;
    let text = |name: &str| Some(metadata.get(name)?.as_str()?.to_owned());
    Some((text("namespace")?, text("name")?))
}

/// `group-address[-network]`, with the characters that names may have.
fn named(group: &str, address: &str, network: &str) -> String {
    let mut name = format!("{group}-{}", address.replace(':', "-"));
    if !network.is_empty() {
        name.push('-');
        name.push_str(network);
    }
    // the end tells workloads of a group apart
    let from = name.len().saturating_sub(NAME_MAX);
    let from = name.ceil_char_boundary(from);
    name.split_off(from)
}

/// Annotations of the group, and its name, as Istio's entries have it.
fn annotations(name: &str, group: &WorkloadGroup) -> BTreeMap<String, String> {
    let given = group.metadata.iter().flat_map(|m| m.annotations.iter());
    let given = given.map(|(key, value)| (key.to_string(), value.to_string()));
    let own = ("istio.io/autoRegistrationGroup".to_owned(), name.to_owned());
    given.chain([own]).collect()
}

/// Labels of the template, of the group, and of the proxy, which come last.
fn labels(proxy: &Proxy, group: &WorkloadGroup) -> BTreeMap<String, String> {
    let template = group.template.iter().flat_map(|t| t.labels.iter());
    let metadata = group.metadata.iter().flat_map(|m| m.labels.iter());
    let own = proxy.labels.iter();
    let mode = std::iter::once((TLS_MODE.0.to_owned(), TLS_MODE.1.to_owned()));
    let pair = |(key, value): (&String, &String)| (key.clone(), value.clone());
    let all = template.map(|(k, v)| (k.to_string(), v.to_string()));
    let all = all.chain(metadata.map(|(k, v)| (k.to_string(), v.to_string())));
    mode.chain(all).chain(own.map(pair)).collect()
}
