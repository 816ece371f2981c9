//! Documents on their way: who is given what, and what becomes of it.

use super::{Document, apart, files, visible};
use crate::pipeline::{accept, world};
use crate::resource::Kind;
use crate::retain::{LastGood, Merged};
use crate::view::View;

fn taken(text: &str) -> (Merged, LastGood) {
    let mut last_good = LastGood::default();
    let merged = accept(&[("a.yaml".to_owned(), text.to_owned())], &mut last_good);
    (merged, last_good)
}

/// Names of what a view is given.
fn given(text: &str, view: &View) -> Vec<String> {
    let (merged, _) = taken(text);
    let world = world(&merged, "cluster.local");
    let keys = visible(&merged.set, &world, view);
    keys.iter().map(ToString::to_string).collect()
}

const SECRETS: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ['*']
    tls: {mode: SIMPLE, credentialName: web}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: web, namespace: edge}, stringData: {tls.crt: \"1\", tls.key: a}}
- {apiVersion: v1, kind: Secret, metadata: {name: web, namespace: other}, stringData: {tls.key: b}}
- {apiVersion: v1, kind: Secret, metadata: {name: more, namespace: edge}, stringData: {tls.key: c}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, data: {mesh: \"ingressClass: a\"}}
";

#[test]
fn only_secrets_of_the_own_namespace_that_are_named_are_given() {
    let view = |namespace: &str| View {
        namespace: namespace.to_owned(),
        ..View::default()
    };
    let secrets = |namespace: &str| {
        let mut names = given(SECRETS, &view(namespace));
        names.retain(|name| name.starts_with("Secret"));
        names
    };
    assert_eq!(secrets("edge"), ["Secret edge/web"]);
    assert_eq!(secrets("other"), ["Secret other/web"]);
    assert_eq!(secrets("elsewhere"), Vec::<String>::new());
    let stranger = View {
        labels: [("istio".to_owned(), "egressgateway".to_owned())].into(),
        ..view("edge")
    };
    let names = given(SECRETS, &stranger);
    assert!(!names.iter().any(|n| n.starts_with("Secret")), "{names:?}");
}

#[test]
fn a_list_with_secrets_is_taken_apart_and_reads_the_same() {
    let (merged, last_good) = taken(SECRETS);
    let all = apart(last_good.documents(), &merged.set);
    assert!(all.iter().all(|one| one.objects.len() == 1), "{all:?}");
    assert_eq!(all.iter().filter(|one| one.is_secret()).count(), 3);
    assert!(!format!("{all:?}").contains("tls.key"));
    let files = files(all.iter().map(|one| &one.document));
    let again = accept(&files, &mut LastGood::default());
    let specs = |merged: &Merged| -> Vec<String> {
        let all = merged.set.iter();
        all.map(|r| format!("{} {:?}", r.key(), r.spec)).collect()
    };
    assert_eq!(specs(&again), specs(&merged));
    let secret = again.set.of_kind(Kind::Secret).next().unwrap();
    assert!(
        secret
            .node
            .get("stringData")
            .unwrap()
            .get("tls.crt")
            .is_some()
    );
}

#[test]
fn documents_keep_their_lines_without_their_neighbours() {
    let text = "# head\nkind: Gone\n---\n\na: 1\n---\nb: 2\n...\n%YAML 1.2\n---\nc: 3\n";
    let at = |line: u32, ordinal: u32, text: &str| Document {
        file: "f".into(),
        ordinal,
        line,
        text: text.into(),
    };
    let a = at(3, 0, "---\n\na: 1\n");
    let b = at(6, 1, "---\nb: 2\n...\n");
    let c = at(9, 2, "%YAML 1.2\n---\nc: 3\n");
    let joined = |list: &[&Document]| {
        let mut files = files(list.iter().copied());
        assert_eq!(files.len(), 1);
        files.remove(0).1
    };
    assert_eq!(
        joined(&[&c, &a, &b]),
        text.replace("# head\nkind: Gone\n", "\n\n")
    );
    assert_eq!(joined(&[&c]), "\n\n\n\n\n\n\n\n%YAML 1.2\n---\nc: 3\n");
    let without = joined(&[&a, &c]);
    assert_eq!(
        without.lines().position(|l| l == "c: 3"),
        Some(10),
        "{without:?}"
    );
    // two of one line: the second cannot be there
    let bare = at(1, 0, "d: 4");
    assert_eq!(joined(&[&bare, &at(1, 1, "e: 5")]), "d: 4\n---\ne: 5\n");
}
