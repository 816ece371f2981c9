//! Who counts for a limit, and what a request that meets several takes.

use super::*;
use crate::call::{HeaderLines, NoHeaders, Scheme};
use crate::decide::Where;
use crate::explain::explain;
use crate::tables::ListenerIdx;
use sallyport_config::ir::{
    HostPattern, Millis, Origin, PathPattern, PolicyCondition, PolicyTest, Rate, TextMatch,
};
use std::sync::Arc;

/// Counts, at a time that stands still.
struct Still {
    buckets: Vec<Buckets>,
    met: Vec<(String, Met)>,
    die: u32,
}

impl Still {
    fn new(tables: &Tables) -> Self {
        let limits = tables.snapshot().limits.iter();
        Self {
            buckets: limits.map(Buckets::new).collect(),
            met: Vec::new(),
            die: 500_000,
        }
    }
}

impl Meter for Still {
    fn now(&self) -> Now {
        Now(1_000_000)
    }
    fn die(&mut self) -> u32 {
        self.die
    }
    fn buckets(&self, limit: usize) -> Option<&Buckets> {
        self.buckets.get(limit)
    }
    fn count(&mut self, limit: &Limit, met: Met) {
        self.met.push((limit.name.clone(), met));
    }
}

fn limit(name: &str, burst: u32) -> Limit {
    Limit {
        name: name.to_owned(),
        stage: LimitStage::First,
        hosts: Vec::new(),
        routes: Vec::new(),
        when: Vec::new(),
        key: Vec::new(),
        keys_max: 64,
        rate: Rate {
            burst,
            tokens: 1,
            interval: Millis(60_000),
        },
        enabled: Ppm::ALL,
        enforced: Ppm::ALL,
        status: 429,
        exhausted: false,
        told: None,
        headers: Vec::new(),
        origin: Origin {
            kind: "RateLimit",
            namespace: "ns".into(),
            name: "name".into(),
            path: String::new(),
            location: String::new(),
        },
    }
}

fn tables(limits: Vec<Limit>) -> Tables {
    Tables::build(Arc::new(Snapshot {
        limits,
        ..Snapshot::default()
    }))
}

fn call<'a>(authority: &'a str, path: &'a str, headers: &'a dyn HeaderLines) -> Call<'a> {
    Call {
        scheme: Scheme::Http,
        method: "GET",
        authority,
        path,
        query: None,
        headers,
        client: ([192, 0, 2, 1], 1).into(),
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 80).into(),
        sni: None,
        identity: None,
    }
}

fn passes(tables: &Tables, call: &Call<'_>, meter: &mut Still) -> bool {
    first(tables, call, meter).is_ok()
}

#[test]
fn the_first_limit_without_a_token_answers() {
    let tables = tables(vec![limit("wide", 3), limit("narrow", 1), limit("last", 9)]);
    let mut meter = Still::new(&tables);
    let call = call("a.example", "/", &NoHeaders);
    assert!(passes(&tables, &call, &mut meter));
    let denial = first(&tables, &call, &mut meter).unwrap_err();
    assert_eq!((denial.status, denial.flags), (429, Flags::RL));
    assert_eq!(denial.details, "local_rate_limited");
    assert!(denial.headers.is_empty() && denial.grpc.is_none());
    let met: Vec<_> = meter
        .met
        .iter()
        .map(|(name, met)| (&**name, *met))
        .collect();
    let within = |name| (name, Met::Within);
    assert_eq!(
        met,
        [
            within("wide"),
            within("narrow"),
            within("last"),
            within("wide"),
            ("narrow", Met::Refused)
        ]
    );
}

#[test]
fn a_request_counts_where_host_and_conditions_say_so() {
    let mut of_host = limit("host", 1);
    of_host.hosts = vec![HostPattern::parse("*.example")];
    let mut of_path = limit("path", 1);
    let path = PathPattern::Text(TextMatch::Prefix("/login".to_owned()));
    of_path.when = vec![PolicyCondition {
        test: PolicyTest::Path(vec![path]),
        negated: false,
    }];
    let tables = tables(vec![of_host, of_path]);
    let mut meter = Still::new(&tables);
    for (authority, path, want) in [
        ("A.Example:8080", "/", true),
        ("b.example", "/", false),
        ("example", "/", true),
        ("example", "/login/x", true),
        ("example", "/login", false),
        ("example", "/", true),
    ] {
        let call = call(authority, path, &NoHeaders);
        let passed = passes(&tables, &call, &mut meter);
        assert_eq!(passed, want, "{authority}{path}");
    }
}

#[test]
fn shares_are_shares() {
    let mut some = limit("some", 1);
    (some.enabled, some.enforced) = (Ppm(600_000), Ppm(400_000));
    let tables = tables(vec![some]);
    let mut meter = Still::new(&tables);
    let call = call("a", "/", &NoHeaders);
    for (die, want) in [
        (700_000, None),
        (500_000, Some(Met::Within)),
        (500_000, Some(Met::Unenforced)),
        (300_000, Some(Met::Refused)),
    ] {
        meter.die = die;
        meter.met.clear();
        assert_eq!(
            passes(&tables, &call, &mut meter),
            want != Some(Met::Refused)
        );
        assert_eq!(meter.met.first().map(|(_, met)| *met), want, "{die}");
    }
}

#[test]
fn hosts_are_told_apart_without_port_and_case() {
    let mut by_host = limit("host", 1);
    by_host.key = vec![LimitKey::Host];
    let tables = tables(vec![by_host]);
    let mut meter = Still::new(&tables);
    for (authority, want) in [
        ("a", true),
        ("b", true),
        ("A:80", false),
        ("[::1]:80", true),
    ] {
        let call = call(authority, "/", &NoHeaders);
        assert_eq!(passes(&tables, &call, &mut meter), want, "{authority}");
    }
}

#[test]
fn ipv4_in_ipv6_is_the_same_client() {
    let of = |text: &str| client(text.parse().unwrap());
    assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
}

#[test]
fn explain_names_the_limits_that_a_request_counts_for() {
    let mut elsewhere = limit("ns/elsewhere/0", 1);
    elsewhere.hosts = vec![HostPattern::parse("b.example")];
    let tables = tables(vec![limit("ns/here/0", 5), elsewhere]);
    let at = Where {
        listener: ListenerIdx(0),
        chain: None,
    };
    let explained = explain(&tables, at, &call("a.example", "/", &NoHeaders));
    let limits: Vec<_> = explained
        .limits
        .iter()
        .map(|l| (&*l.name, &*l.rate))
        .collect();
    assert_eq!(limits, [("ns/here/0", "1 in 60000 ms, at once 5")]);
    let text = explained.to_string();
    assert!(
        text.contains("  limit RateLimit ns/name : 1 in 60000 ms"),
        "{text}"
    );
}
