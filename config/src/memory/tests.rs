//! What is remembered never shows: every run gives what a run without memory gives.

use super::Memory;
use crate::diag::Diagnostics;
use crate::pipeline::{accept, accept_new};
use crate::retain::{LastGood, Merged};
use crate::source::Span;

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec:
  ports: [{name: http, port: 80}]
";
const ROUTES: &str = "# how to the shop
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: default, labels: {team: a}}
spec:
  hosts: [shop.example.com]
  http: [{route: [{destination: {host: shop}}]}]
";
const LIST: &str = "kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: one}}
- {apiVersion: v1, kind: Namespace, metadata: {name: two}}
";
const MESH: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
";
const DOUBTFUL: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: doubtful, namespace: default}
spec:
  hosts: [doubtful.example.com]
  http: [{rote: 1}]
";
const HINTED: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: hinted, namespace: default}
spec:
  hosts: [hinted.example.com]
  http: [{match: [{uri: {prefix: /a/}}], route: [{destination: {host: shop}}]}]
";
const BROKEN: &str = "a: [1\n";
const OPERATOR: &str = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {}\n";

/// Everything that a run says about its objects.
fn told(merged: &Merged) -> (Vec<String>, Diagnostics) {
    let paths = ["metadata.name", "spec.hosts[0]", "items", ""];
    let place = |span: Span| {
        (
            merged.sources.location(span),
            merged.sources.text(span).to_owned(),
        )
    };
    let one = |r: &crate::resource::Resource| {
        let places: Vec<_> = paths.iter().map(|path| place(r.span_at(path))).collect();
        format!("{r:?} {:?} {places:?}", r.file)
    };
    (
        merged.set.iter().map(|r| one(r)).collect(),
        merged.diagnostics.clone().sorted(),
    )
}

fn file(name: &str, documents: &[&str]) -> (String, String) {
    (name.to_owned(), documents.join("---\n"))
}

#[test]
fn a_run_with_memory_gives_what_one_without_gives() {
    let all = [
        SERVICE, ROUTES, HINTED, LIST, MESH, DOUBTFUL, BROKEN, OPERATOR,
    ];
    let mut runs = vec![vec![file("a.yaml", &all)], vec![file("a.yaml", &all)]];
    // every document moves, is there twice, is alone in another file, and is gone
    for (index, document) in all.iter().enumerate() {
        let mut turned = all;
        turned.rotate_left(index);
        runs.push(vec![file("a.yaml", &turned)]);
        runs.push(vec![file("a.yaml", &all), file("b.yaml", &[document])]);
        runs.push(vec![
            file("0.yaml", &["# first\n\n", document]),
            file("a.yaml", &turned[1..]),
        ]);
        runs.push(vec![file("a.yaml", &turned[1..])]);
    }
    let (mut memory, mut with, mut without) =
        (Memory::default(), LastGood::default(), LastGood::default());
    for files in runs {
        let known = accept_new(&files, &mut with, &mut memory);
        let read = accept(&files, &mut without);
        let (known, read) = (told(&known), told(&read));
        assert_eq!(known.1, read.1, "{files:#?}");
        for (known, read) in known.0.iter().zip(&read.0) {
            assert_eq!(known, read, "{files:#?}");
        }
        assert_eq!(known.0.len(), read.0.len());
        assert_eq!(with, without);
    }
}

#[test]
fn only_what_changed_is_read_again() {
    let (mut memory, mut last_good) = (Memory::default(), LastGood::default());
    let mut again = |documents: &[&str]| {
        let merged = accept_new(&[file("a.yaml", documents)], &mut last_good, &mut memory);
        let old = merged.set.iter().filter(|r| r.moved.is_some());
        old.map(|r| r.meta.name.to_string()).collect::<Vec<_>>()
    };
    assert!(again(&[SERVICE, ROUTES, LIST, MESH]).is_empty());
    assert_eq!(
        again(&[SERVICE, ROUTES, LIST, MESH]),
        ["shop", "shop", "one", "two"]
    );
    let changed = ROUTES.replace("shop.example.com", "other.example.com");
    assert_eq!(again(&[SERVICE, &changed, LIST]), ["shop", "one", "two"]);
    assert_eq!(again(&[MESH, &changed, DOUBTFUL, HINTED]), ["shop"]);
    assert_eq!(
        again(&[MESH, HINTED, &changed, DOUBTFUL]),
        ["hinted", "shop"]
    );
    // what has an error is read again for as long as it is there
    assert_eq!(again(&[MESH, &changed, DOUBTFUL]), ["shop"]);
    assert_eq!(again(&[MESH, &changed, DOUBTFUL]), ["shop"]);
}
