//! Who is asked first from where, rule by rule.

use super::*;
use crate::api::Map;
use crate::world::Place;
use std::sync::Arc;

fn instance(locality: &str, labels: &[(&str, &str)]) -> Instance {
    let mut map = Map::default();
    for (key, value) in labels {
        map.insert((*key).to_owned(), (*value).to_owned());
    }
    Instance {
        place: Place::Address(([127, 0, 0, 1], 80).into()),
        labels: Arc::new(map),
        weight: 1,
        locality: Arc::from(locality),
        network: Arc::default(),
        workload: Arc::from("w"),
        mtls: false,
        service_account: Arc::default(),
    }
}

fn here() -> View {
    let mut view = View {
        locality: "r1/z1/s1".to_owned(),
        network: "n1".to_owned(),
        ..View::default()
    };
    view.labels.insert("v".to_owned(), "a".to_owned());
    view
}

const EVERYWHERE: [&str; 6] = [
    "r1/z1/s1", "r1/z1/s2", "r1/z2/s1", "r2/z1/s1", "r3/z1/s1", "",
];

fn priorities(preference: Preference<'_>, instances: &[Instance]) -> Vec<u32> {
    let (ranked, weights) = arrange(&here(), preference, instances.iter().collect());
    assert_eq!(weights, []);
    ranked.into_iter().map(|(_, priority)| priority).collect()
}

fn by(rule: &LocalityLoadBalancerSetting) -> Preference<'_> {
    Preference {
        rule: Some(rule),
        distribution: Nearness::Any,
        mesh: None,
        ejects: true,
    }
}

fn everywhere() -> Vec<Instance> {
    EVERYWHERE.iter().map(|l| instance(l, &[])).collect()
}

#[test]
fn near_endpoints_come_first_if_failing_ones_are_known() {
    let unset = Preference {
        rule: None,
        ..by(Box::leak(Box::default()))
    };
    assert_eq!(priorities(unset, &everywhere()), [0, 1, 2, 3, 3, 3]);
    let blind = Preference {
        ejects: false,
        ..unset
    };
    assert_eq!(priorities(blind, &everywhere()), [0; 6]);
    let off = LocalityLoadBalancerSetting {
        enabled: Some(false),
        ..LocalityLoadBalancerSetting::default()
    };
    assert_eq!(priorities(by(&off), &everywhere()), [0; 6]);
    let by_mesh = Preference {
        rule: None,
        mesh: Some(&off),
        ..unset
    };
    assert_eq!(priorities(by_mesh, &everywhere()), [0; 6]);
    let far = [instance("r9/z/s", &[]), instance("r1/z9/s", &[])];
    assert_eq!(priorities(unset, &far), [1, 0], "no gaps");
}

#[test]
fn a_region_can_be_preferred_for_failover() {
    let to_r3 = LocalityLoadBalancerSetting {
        failover: vec![LocalityFailover {
            from: "r1".to_owned(),
            to: "r3".to_owned(),
        }],
        ..LocalityLoadBalancerSetting::default()
    };
    assert_eq!(priorities(by(&to_r3), &everywhere()), [0, 1, 2, 4, 3, 4]);
}

#[test]
fn labels_rank_by_the_first_that_differs() {
    let keys = |keys: &[&str]| LocalityLoadBalancerSetting {
        failover_priority: keys.iter().map(|k| (*k).to_owned()).collect(),
        ..LocalityLoadBalancerSetting::default()
    };
    let instances = [
        instance("r1/z1/s1", &[("v", "a")]),
        instance("r1/z1/s1", &[("v", "b")]),
        instance("r2/z1/s1", &[("v", "a")]),
        instance("r2/z1/s1", &[("v", "b")]),
    ];
    let two = keys(&[REGION, "v"]);
    assert_eq!(priorities(by(&two), &instances), [0, 1, 2, 2]);
    let other = keys(&["v=b"]);
    assert_eq!(priorities(by(&other), &instances), [1, 0, 1, 0]);
}

#[test]
fn another_network_is_worse_than_any_label() {
    let on = |network, locality| instance(locality, &[(NETWORK, network)]);
    let instances = [
        on("n1", "r1/z1/s1"),
        on("n1", "r2/z1/s1"),
        on("n2", "r1/z1/s1"),
        on("n2", "r2/z1/s1"),
    ];
    let rule = LocalityLoadBalancerSetting {
        failover_priority: vec![NETWORK.to_owned(), REGION.to_owned()],
        ..LocalityLoadBalancerSetting::default()
    };
    assert_eq!(priorities(by(&rule), &instances), [0, 1, 2, 3]);
}

#[test]
fn labels_then_regions() {
    let rule = LocalityLoadBalancerSetting {
        failover_priority: vec!["v".to_owned()],
        failover: vec![LocalityFailover {
            from: "r1".to_owned(),
            to: "r3".to_owned(),
        }],
        ..LocalityLoadBalancerSetting::default()
    };
    let instances = [
        instance("r2/z/s", &[("v", "a")]),
        instance("r1/z1/s1", &[("v", "b")]),
        instance("r1/z1/s1", &[("v", "a")]),
        instance("r3/z/s", &[("v", "a")]),
    ];
    assert_eq!(priorities(by(&rule), &instances), [2, 3, 0, 1]);
}

#[test]
fn a_service_may_ask_for_near_endpoints_without_a_rule() {
    let near = Preference {
        rule: None,
        distribution: Nearness::Close,
        mesh: None,
        ejects: false,
    };
    let on = |locality| instance(locality, &[(NETWORK, "n1")]);
    let instances = EVERYWHERE.map(on);
    assert_eq!(priorities(near, &instances), [0, 1, 2, 3, 3, 3]);
    let own = LocalityLoadBalancerSetting::default();
    let ruled = Preference {
        rule: Some(&own),
        ..near
    };
    assert_eq!(priorities(ruled, &instances), [0; 6], "the rule counts");
}

fn distributed(from: &str, to: &[(&str, u32)]) -> (usize, Vec<(String, u32)>) {
    let mut shares = Map::default();
    for (locality, share) in to {
        shares.insert((*locality).to_owned(), *share);
    }
    let rule = LocalityLoadBalancerSetting {
        distribute: vec![LocalityDistribute {
            from: from.to_owned(),
            to: shares,
        }],
        ..LocalityLoadBalancerSetting::default()
    };
    let instances = everywhere();
    let (kept, weights) = arrange(&here(), by(&rule), instances.iter().collect());
    let weights = weights.into_iter().map(|w| (w.locality, w.weight));
    (kept.len(), weights.collect())
}

#[test]
fn traffic_is_distributed_from_the_first_locality_that_fits() {
    let all = |list: &[(&str, u32)]| -> Vec<(String, u32)> {
        list.iter().map(|(l, w)| ((*l).to_owned(), *w)).collect()
    };
    assert_eq!(
        distributed(
            "r1/z1/*",
            &[("r1/z1/*", 70), ("r1/*", 20), ("r2/z1/s1", 10)]
        ),
        (
            4,
            all(&[
                ("r1/z1/s1", 35),
                ("r1/z1/s2", 35),
                ("r1/z2/s1", 20),
                ("r2/z1/s1", 10)
            ])
        )
    );
    assert_eq!(distributed("r2/*", &[("r2", 100)]), (6, vec![]));
    assert_eq!(distributed("r1", &[("r9", 100)]), (0, vec![]));
    assert_eq!(distributed("*", &[("r1", 100)]).0, 3);
}
