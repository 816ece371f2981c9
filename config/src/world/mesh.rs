//! MeshConfig from wherever it is written: IstioOperator, or on its own (the ConfigMap `istio` is
//! read as one).
//!
//! Istio overlays them on its defaults; several are overlaid on each other, the later document
//! on the earlier one, and a MeshConfig object on all others.

use crate::api::MeshConfig;
use crate::message::{Cx, FromNode, Unknown};
use crate::resource::{Kind, ResourceSet};
use crate::yaml::{Entry, Node, Value};

/// The mesh's settings; unset fields keep Istio's defaults, which the compiler knows.
pub(super) fn merged(set: &ResourceSet) -> MeshConfig {
    let mut nodes: Vec<Node> = Vec::new();
    for resource in set.of_kind(Kind::IstioOperator) {
        nodes.extend(
            resource
                .node
                .get("spec")
                .and_then(|s| s.get("meshConfig"))
                .cloned(),
        );
    }
    for resource in set.of_kind(Kind::MeshConfig) {
        nodes.push(resource.node.get("spec").unwrap_or(&resource.node).clone());
    }
    let Some(first) = nodes.first().cloned() else {
        return MeshConfig::default();
    };
    let all = nodes.iter().skip(1).fold(first, overlay);
    // what is wrong with the fields was said when the documents were read
    let mut cx = Cx::new("", Unknown::Ignore);
    MeshConfig::from_node(&all, &mut cx).unwrap_or_default()
}

/// Mappings are merged key by key; anything else replaces.
fn overlay(mut below: Node, above: &Node) -> Node {
    let (Value::Map(entries), Value::Map(new)) = (&mut below.value, &above.value) else {
        return above.clone();
    };
    for entry in new {
        match entries.iter_mut().find(|e| e.key == entry.key) {
            Some(old) => {
                let was = std::mem::replace(
                    &mut old.value,
                    Node {
                        value: Value::Null,
                        span: entry.key_span,
                    },
                );
                old.value = overlay(was, &entry.value);
            }
            None => entries.push(Entry {
                key: entry.key.clone(),
                key_span: entry.key_span,
                value: entry.value.clone(),
            }),
        }
    }
    below
}
