//! Sidecars of one vantage share what they call: nothing else of a workload may make a difference.

use crate::golden::{cases, texts};
use sallyport_config::retain::LastGood;
use sallyport_config::{SidecarView, View, World, compile_outbound, pipeline};
use std::collections::BTreeMap;

/// Everything in a text that could be a label: `key: value`, the first or the last of each key.
fn labels(text: &str, last: bool) -> BTreeMap<String, String> {
    let words = text.split([',', '{', '}', '\n', '[', ']']);
    let pairs = words.filter_map(|word| word.trim().trim_start_matches("- ").split_once(": "));
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        let value = value.trim().trim_matches(['"', '\'']).to_owned();
        let key = key.trim_matches(['"', '\'']).to_owned();
        match last {
            true => labels.insert(key, value),
            false => Some(labels.entry(key).or_insert(value).clone()),
        };
    }
    labels
}

#[test]
fn only_labels_that_rules_name_change_what_a_workload_calls() {
    let (mut seen, mut mattered) = (0, 0);
    for case in cases() {
        let texts = texts(&case);
        let all: String = texts.iter().map(|(_, text)| text.as_str()).collect();
        let accepted = pipeline::accept(&texts, &mut LastGood::default());
        let world = World::build(&accepted.set, &accepted.sources, "cluster.local");
        let named = world.outbound_labels();
        for last in [false, true] {
            let full = SidecarView {
                workload: View {
                    namespace: "default".to_owned(),
                    labels: labels(&all, last),
                    ..View::default()
                },
                addresses: vec!["10.9.8.7".parse().unwrap()],
                ports: None,
            };
            let mut reduced = full.clone();
            reduced.workload.name = String::new();
            reduced
                .workload
                .labels
                .retain(|key, _| named.contains(key.as_str()));
            reduced.addresses.clear();
            let mut bare = reduced.clone();
            bare.workload.labels.clear();
            let made = |view| compile_outbound(&world, view).sidecar;
            let whole = made(&full);
            assert_eq!(whole, made(&reduced), "{}", case.display());
            seen += usize::from(full.workload.labels.len() > reduced.workload.labels.len());
            mattered += usize::from(whole != made(&bare));
        }
    }
    assert!(
        seen > 50 && mattered > 0,
        "{seen} worlds, {mattered} with such rules"
    );
}
