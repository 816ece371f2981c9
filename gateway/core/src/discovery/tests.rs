//! What answers do, one after the other.

use super::*;
use sallyport_config::ir::NamedEndpoint;

const MINUTE: Millis = Millis(60_000);

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn said(list: &[&str], seconds: u64) -> Answer {
    Answer::Addresses {
        addresses: ips(list),
        ttl: Millis(seconds * 1_000),
    }
}

#[test]
fn an_answer_is_good_for_as_long_as_it_says_within_bounds() {
    let mut name = Name::default();
    for (seconds, wait) in [(30, 30_000), (0, 60_000), (86_400, 3_600_000), (1, 1_000)] {
        let next = name.on(said(&["10.0.0.1"], seconds), MINUTE, 0);
        assert_eq!(next.wait, Millis(wait), "{seconds}");
    }
    let next = name.on(said(&["10.0.0.1"], 100), MINUTE, 500_000);
    assert_eq!(next.wait, Millis(105_000), "half of the jitter");
}

#[test]
fn only_other_addresses_are_a_change() {
    let mut name = Name::default();
    assert!(name.on(said(&["10.0.0.1"], 30), MINUTE, 0).changed);
    assert!(!name.on(said(&["10.0.0.1"], 60), MINUTE, 0).changed);
    assert!(name.on(said(&["10.0.0.2"], 60), MINUTE, 0).changed);
    assert_eq!(name.addresses(), ips(&["10.0.0.2"]));
}

#[test]
fn failures_keep_the_last_good_addresses_and_are_asked_again_less_and_less() {
    let mut name = Name::default();
    name.on(said(&["10.0.0.1"], 30), MINUTE, 0);
    for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        let next = name.on(Answer::Failed, MINUTE, 0);
        assert_eq!((next.changed, next.wait), (false, Millis(wait)));
    }
    assert_eq!(name.addresses(), ips(&["10.0.0.1"]));
    for _ in 0..100 {
        assert_eq!(name.on(Answer::Failed, MINUTE, 0).wait, MINUTE);
    }
    assert_eq!(
        name.on(said(&["10.0.0.1"], 5), MINUTE, 0).wait,
        Millis(5_000)
    );
    assert_eq!(name.on(Answer::Failed, MINUTE, 0).wait, RETRY_FIRST);
}

#[test]
fn a_name_is_given_up_only_when_it_is_denied_several_times_in_a_row() {
    let mut name = Name::default();
    name.on(said(&["10.0.0.1"], 30), MINUTE, 0);
    for answer in [Answer::Denied, Answer::Denied, Answer::Failed] {
        assert!(!name.on(answer, MINUTE, 0).changed);
    }
    assert!(!name.on(Answer::Denied, MINUTE, 0).changed);
    assert!(!name.on(said(&[], 30), MINUTE, 0).changed);
    assert!(name.on(Answer::Denied, MINUTE, 0).changed);
    assert!(name.addresses().is_empty() && name.is_answered());
}

#[test]
fn a_huge_answer_is_cut() {
    let addresses = (0..5_000).map(|n: u32| IpAddr::from(n.to_be_bytes()));
    let answer = Answer::Addresses {
        addresses: addresses.collect(),
        ttl: MINUTE,
    };
    let mut name = Name::default();
    name.on(answer, MINUTE, 0);
    assert_eq!(name.addresses().len(), ADDRESSES_MAX);
}

#[test]
fn the_families_are_one_answer() {
    let last = ips(&["10.0.0.9", "2001:db8::9"]);
    let both = |v4, v6| Answer::both(v4, v6, &last);
    let (v4, v6) = (said(&["10.0.0.1"], 30), said(&["2001:db8::1"], 20));
    assert_eq!(
        both(v4.clone(), v6.clone()),
        said(&["10.0.0.1", "2001:db8::1"], 20)
    );
    assert_eq!(both(v4.clone(), Answer::Denied), v4);
    assert_eq!(both(Answer::Denied, v6.clone()), v6);
    assert_eq!(
        both(v4, Answer::Failed),
        said(&["10.0.0.1", "2001:db8::9"], 30)
    );
    assert_eq!(
        both(Answer::Failed, v6),
        said(&["10.0.0.9", "2001:db8::1"], 20)
    );
    assert_eq!(both(Answer::Failed, Answer::Denied), Answer::Failed);
    assert_eq!(both(Answer::Denied, Answer::Denied), Answer::Denied);
}

fn cluster(discovery: Discovery) -> Cluster {
    Cluster {
        endpoints: vec![endpoint("10.0.0.2:80", 1)],
        discovery,
        ..Cluster::default()
    }
}

fn endpoint(address: &str, weight: u32) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        weight,
        ..Endpoint::default()
    }
}

#[test]
fn every_address_of_a_name_is_an_endpoint_or_only_the_first() {
    let named = |name: &str, port, weight| NamedEndpoint {
        name: name.to_owned(),
        like: endpoint(&format!("0.0.0.0:{port}"), weight),
    };
    let (a, b) = (ips(&["10.0.0.3", "10.0.0.1"]), ips(&["10.0.0.2"]));
    let known = |name: &str| match name {
        "a" => a.as_slice(),
        "b" => b.as_slice(),
        _ => &[],
    };
    let all = Discovery::StrictDns(vec![
        named("a", 81, 5),
        named("b", 80, 7),
        named("c", 80, 1),
    ]);
    assert_eq!(
        endpoints(&cluster(all), known),
        [
            endpoint("10.0.0.1:81", 5),
            endpoint("10.0.0.2:80", 1),
            endpoint("10.0.0.3:81", 5)
        ]
    );
    let one = Discovery::LogicalDns(named("a", 80, 1));
    assert_eq!(
        endpoints(&cluster(one), known),
        [endpoint("10.0.0.2:80", 1), endpoint("10.0.0.3:80", 1)]
    );
}

#[test]
fn only_names_under_the_domain_are_looked_up() {
    let under = |host: &str| host_under(host, "example.com");
    assert_eq!(under("A.Example.com:8443").unwrap(), "a.example.com");
    assert_eq!(under("a.b.example.com.").unwrap(), "a.b.example.com");
    for host in [
        "example.com",
        ".example.com",
        "aexample.com",
        "a..example.com",
        "evil.test",
        "",
        "a.example.com.evil.test",
        "a.example.com:x",
        "a b.example.com",
        "a%00.example.com",
        "[::1]:80",
        "127.0.0.1",
        "a@b.example.com",
        "a/b.example.com",
    ] {
        assert_eq!(under(host), None, "{host}");
    }
    let long = format!("{}.example.com", "a".repeat(64));
    assert_eq!(under(&long), None);
    let long = format!("{}example.com", "a.".repeat(130));
    assert_eq!(under(&long), None);
}
