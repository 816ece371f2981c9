//! What is broken keeps its last good version, and says so.

use super::{LastGood, Merged, Reason, StoreError};
use crate::parse;
use crate::resource::{Key, Kind};

fn vs(name: &str, host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {{hosts: ['{host}']}}\n---\n"
    )
}

fn key(name: &str) -> Key {
    Key {
        kind: Kind::VirtualService,
        namespace: "default".into(),
        name: name.into(),
    }
}

/// Feeds one generation of files.
fn feed(state: &mut LastGood, files: &[(&str, &str)], also_rejected: &[Key]) -> Merged {
    let files: Vec<_> = files
        .iter()
        .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
        .collect();
    state.merge(parse(&files), also_rejected)
}

/// `name=host` of every VirtualService, and the names of the retained ones.
fn served(merged: &Merged) -> String {
    let list: Vec<_> = merged
        .set
        .virtual_services()
        .map(|(r, v)| format!("{}={}", r.meta.name, v.hosts[0]))
        .collect();
    let old: Vec<_> = merged
        .retained
        .iter()
        .map(|r| r.key.name.to_string())
        .collect();
    format!("{} | {}", list.join(" "), old.join(" "))
}

/// A second generation: what it is about, its files, and what is served after it.
type Story = (&'static str, Vec<(&'static str, String)>, &'static str);

/// Every story begins with `a` and `b` in file `f` and `c` in file `g`, all at host 1.
fn stories() -> Vec<Story> {
    let bad = |name: &str| vs(name, "x").replace("hosts", "hots");
    let nameless = vs("a", "x").replace("VirtualService", "VirtualServce");
    let (a, b) = (vs("a", "2"), vs("b", "2"));
    let f = |text: String| vec![("f", text), ("g", vs("c", "2"))];
    let mut same = f(vs("a", "1") + &vs("b", "1"));
    same[1].1 = vs("c", "1");
    let moved = vec![("f", b.clone()), ("g", vs("c", "2") + &bad("a"))];
    vec![
        ("same", same, "a=1 b=1 c=1 | "),
        ("syntax error", f(a.clone() + "x: [\n"), "a=1 b=1 c=2 | a b"),
        ("bad object", f(bad("a") + &b), "a=1 b=2 c=2 | a"),
        ("object gone", f(b.clone()), "b=2 c=2 | "),
        ("file gone", vec![("g", vs("c", "2"))], "c=2 | "),
        ("bad and moved", moved, "a=1 b=2 c=2 | a"),
        ("unnamable", f(nameless + &b), "a=1 b=2 c=2 | a"),
        ("new and bad", f(a + &b + &bad("d")), "a=2 b=2 c=2 | "),
        ("empty file", f(String::new()), "c=2 | "),
    ]
}

#[test]
fn broken_edits_change_nothing_and_removals_remove() {
    for (story, files, want) in stories() {
        let mut state = LastGood::default();
        let first = vs("a", "1") + &vs("b", "1");
        let first = feed(&mut state, &[("f", &first), ("g", &vs("c", "1"))], &[]);
        assert_eq!(served(&first), "a=1 b=1 c=1 | ");
        let files: Vec<_> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
        assert_eq!(served(&feed(&mut state, &files, &[])), want, "{story}");
        let mut restarted = LastGood::from_text(&state.to_text()).unwrap();
        assert_eq!(
            served(&feed(&mut restarted, &files, &[])),
            want,
            "{story}, restarted"
        );
        assert_eq!(
            served(&feed(&mut state, &files, &[])),
            want,
            "{story}, twice"
        );
    }
}

#[test]
fn later_checks_can_reject_too() {
    let mut state = LastGood::default();
    feed(&mut state, &[("f", &vs("a", "1"))], &[]);
    let second = vs("a", "2") + &vs("b", "2");
    let merged = feed(&mut state, &[("f", &second)], &[key("a"), key("b")]);
    assert_eq!(served(&merged), "a=1 | a");
    assert_eq!(merged.retained[0].reason, Reason::Object);
}

#[test]
fn a_first_generation_with_a_broken_file_serves_what_can_be_read() {
    let text = vs("a", "1") + "x: [\n---\n" + &vs("b", "1");
    assert_eq!(
        served(&feed(&mut LastGood::default(), &[("f", &text)], &[])),
        "a=1 b=1 | "
    );
}

#[test]
fn retained_objects_keep_their_lines_and_their_turn() {
    let mut state = LastGood::default();
    let first = "# comment\n\n".to_owned() + &vs("a", "1") + &vs("b", "1");
    feed(&mut state, &[("f", &first)], &[]);
    let mut state = LastGood::from_text(&state.to_text()).unwrap();
    let merged = feed(&mut state, &[("e", &vs("z", "1")), ("f", "a: [")], &[]);
    assert_eq!(served(&merged), "z=1 a=1 b=1 | a b");
    let (resource, _) = merged.set.virtual_services().nth(2).unwrap();
    let span = resource.span_at("spec.hosts[0]");
    let place = merged.sources.location(span).to_string();
    assert_eq!(
        (place.as_str(), merged.sources.text(span)),
        ("f (last good):11:16", "'1'")
    );
}

#[test]
fn lists_and_embedded_mesh_configuration_are_retained() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s}}\n\
                - {apiVersion: v1, kind: Service, metadata: {name: t}}\n---\n\
                apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |\n    rootNamespace: r\n";
    let mut state = LastGood::default();
    feed(&mut state, &[("f", list)], &[]);
    let mut state = LastGood::from_text(&state.to_text()).unwrap();
    let merged = feed(&mut state, &[("f", "a: [")], &[]);
    assert_eq!(
        (merged.set.services().count(), merged.retained.len()),
        (2, 4)
    );
    assert_eq!(
        merged.set.mesh_configs().next().unwrap().1.root_namespace,
        "r"
    );
}

#[test]
fn a_damaged_store_is_refused() {
    let mut state = LastGood::default();
    feed(&mut state, &[("f", &vs("a", "1"))], &[]);
    let text = state.to_text();
    let cases = [
        (text.replace("hosts", "hots"), StoreError::Corrupt),
        (text[..text.len() - 9].to_owned(), StoreError::Corrupt),
        (text.replace("good-1", "good-2"), StoreError::NotOurs),
        (String::new(), StoreError::NotOurs),
    ];
    for (text, want) in cases {
        assert_eq!(LastGood::from_text(&text), Err(want), "{text}");
    }
}
