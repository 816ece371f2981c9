//! Whether nothing but endpoints changed: workloads come and go all the time, rules do not, so a
//! change of the former need not wait for more to come.

use crate::resource::{Kind, Resource, ResourceSet, Spec};
use std::sync::Arc;

/// Whether two states of the same text differ in endpoints alone: objects that are endpoints, and
/// `endpoints` of ServiceEntries. Equal ones do not differ.
#[must_use]
pub fn only_endpoints(old: &ResourceSet, new: &ResourceSet) -> bool {
    let rest = |set: &ResourceSet| -> Vec<Arc<Resource>> {
        let rest = set.iter().filter(|r| !is_endpoint(r.spec.kind()));
        rest.map(Arc::clone).collect()
    };
    let (old, new) = (rest(old), rest(new));
    old.len() == new.len()
        && old.iter().zip(&new).all(|(old, new)| {
            old.key() == new.key()
                && old.meta.labels == new.meta.labels
                && old.meta.annotations == new.meta.annotations
                && same(&old.spec, &new.spec)
        })
}

fn is_endpoint(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Endpoints | Kind::EndpointSlice | Kind::Pod | Kind::WorkloadEntry
    )
}

fn same(old: &Spec, new: &Spec) -> bool {
    match (old, new) {
        (Spec::ServiceEntry(old), Spec::ServiceEntry(new)) => {
            let mut old = (**old).clone();
            old.endpoints.clone_from(&new.endpoints);
            old == **new
        }
        _ => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::accept;
    use crate::retain::LastGood;

    fn set(text: &str) -> ResourceSet {
        let file = ("a.yaml".to_owned(), text.to_owned());
        accept(&[file], &mut LastGood::default()).set
    }

    #[test]
    fn endpoints_are_told_from_rules() {
        let entry = |host: &str, address: &str| {
            format!(
                "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: a}}\n\
                 spec:\n  hosts: [{host}]\n  resolution: STATIC\n  ports: [{{number: 80, name: http}}]\n  \
                 endpoints: [{{address: {address}}}]\n"
            )
        };
        let workload = "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
                        metadata: {name: w}\nspec: {address: 10.0.0.3}\n";
        let (one, two) = (entry("a.test", "10.0.0.1"), entry("a.test", "10.0.0.2"));
        assert!(only_endpoints(&set(&one), &set(&one)));
        assert!(only_endpoints(&set(&one), &set(&two)));
        assert!(only_endpoints(
            &set(&one),
            &set(&format!("{two}{workload}"))
        ));
        assert!(!only_endpoints(
            &set(&one),
            &set(&entry("b.test", "10.0.0.1"))
        ));
        assert!(!only_endpoints(&set(&one), &set("")));
    }
}
