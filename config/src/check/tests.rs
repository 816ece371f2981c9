//! One object of each kind against its rules: a table of specs, and the code and path of every
//! finding about them.

mod destination_rule;
mod gateway;
mod mesh;
mod rate_limit;
mod route;
mod security;
mod virtual_service;
mod workload;

use crate::{check, parse};

/// A spec, and `CODE path` of every finding. The path's `spec.` is left out.
type Row = (&'static str, &'static [&'static str]);

/// Checks every row as an object of this kind, in namespace `default`.
fn table(api: &str, kind: &str, rows: &[Row]) {
    let mut wrong = Vec::new();
    for (spec, expected) in rows {
        let text = format!(
            "apiVersion: {api}\nkind: {kind}\nmetadata: {{name: a, namespace: default}}\nspec: {spec}\n"
        );
        let found = findings(&text);
        if found != *expected {
            wrong.push(format!(
                "{spec}\n  expected {expected:?}\n  found    {found:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{kind}:\n{}", wrong.join("\n"));
}

/// `CODE path` of every finding about one document, in the order of their places.
fn findings(text: &str) -> Vec<String> {
    let parsed = parse(&[("in.yaml".to_owned(), text.to_owned())]);
    let of = |d: &crate::Diagnostic| {
        assert!(d.span.is_some(), "{d:?} has no place");
        format!(
            "{} {}",
            d.code,
            d.path.strip_prefix("spec.").unwrap_or(&d.path)
        )
    };
    let mut all: Vec<String> = parsed.diagnostics.iter().map(of).collect();
    all.extend(check::check(&parsed.set).iter().map(of));
    all
}

const NETWORKING: &str = "networking.istio.io/v1";
const SECURITY: &str = "security.istio.io/v1";

#[test]
fn an_object_with_an_error_does_not_touch_the_others() {
    let good = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: good}\nspec: {hosts: [a.b], http: [{route: [{destination: {host: a.b}}]}]}\n";
    let bad = good
        .replace("name: good", "name: bad")
        .replace("hosts: [a.b]", "hosts: ['a b']");
    let found = findings(&format!("{good}---\n{bad}"));
    assert_eq!(found, ["IST0106 hosts[0]"]);
}

#[test]
fn findings_point_at_the_field_and_say_what_to_write() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a.b]\n  http:\n    - route: [{destination: {host: a.b}}]\n      retries:\n        attempts: 2\n        retryOn: 5xx, reset\n";
    let parsed = parse(&[("in.yaml".to_owned(), text.to_owned())]);
    let found = check::check(&parsed.set);
    let error = found.iter().find(|d| d.code.0 == "IST0106").unwrap();
    let place = parsed.sources.location(error.span.unwrap()).to_string();
    assert_eq!(place, "in.yaml:10:18");
    assert_eq!(error.message, "` reset` is not a word of `retryOn`");
    assert_eq!(
        error.help.as_deref(),
        Some("write the words without spaces between them")
    );
}
