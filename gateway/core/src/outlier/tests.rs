//! Ejection and return, in simulated time.

use super::*;
use sallyport_config::ir::Millis;

fn rules() -> Outlier {
    Outlier {
        consecutive_5xx: 5,
        consecutive_gateway: 0,
        consecutive_local: None,
        error_codes: Vec::new(),
        interval: Millis(10_000),
        base_ejection: Millis(30_000),
        max_ejection: Millis(300_000),
        max_ejection_percent: 50,
    }
}

const SECOND: u64 = 1_000_000;

/// A cluster of so many endpoints.
struct Cluster {
    rules: Outlier,
    detector: Detector,
    hosts: Vec<Arc<Host>>,
}

impl Cluster {
    fn new(rules: Outlier, count: u8) -> Self {
        let mut detector = Detector::default();
        let hosts = detector.hosts((0..count).map(|n| ([127, 0, 0, n], 80).into()));
        detector.sweep(&rules, Now(0));
        Self {
            rules,
            detector,
            hosts,
        }
    }

    /// One try after the other; whether the last one ejects.
    fn tries(&mut self, host: usize, verdicts: &[Verdict], at: u64) -> bool {
        let host = &self.hosts[host];
        let notes = verdicts.iter().map(|v| host.note(&self.rules, *v));
        let asked = notes.fold(false, |_, asked| asked);
        asked && self.detector.eject(&self.rules, host, Now(at * SECOND))
    }

    /// Sweeps every second until then; the second in which this host is back.
    fn back(&mut self, host: usize, from: u64, until: u64) -> Option<u64> {
        (from..=until).find(|second| {
            self.detector.sweep(&self.rules, Now(second * SECOND));
            !self.hosts[host].is_ejected()
        })
    }
}

const OK: Verdict = Verdict::Status(200);
const BAD: Verdict = Verdict::Status(500);

#[test]
fn five_errors_in_a_row_eject_and_a_success_begins_anew() {
    let mut cluster = Cluster::new(rules(), 2);
    assert!(!cluster.tries(0, &[BAD; 4], 1));
    assert!(!cluster.tries(0, &[OK], 1));
    assert!(!cluster.tries(0, &[BAD; 4], 1));
    assert!(!cluster.hosts[0].is_ejected());
    assert!(cluster.tries(0, &[BAD], 1));
    assert!(cluster.hosts[0].is_ejected());
    assert!(!cluster.hosts[1].is_ejected());
    assert!(!cluster.tries(0, &[BAD; 5], 2), "it is out already");
    assert_eq!(cluster.detector.ejections(), 1);
}

#[test]
fn each_ejection_in_a_row_is_longer_and_health_shortens_the_next() {
    let mut cluster = Cluster::new(rules(), 2);
    assert!(cluster.tries(0, &[BAD; 5], 5));
    assert_eq!(
        cluster.back(0, 5, 1_000),
        Some(40),
        "30 s, at the next interval"
    );
    assert!(cluster.tries(0, &[BAD; 5], 41));
    assert_eq!(cluster.back(0, 41, 1_000), Some(110), "60 s");
    assert!(cluster.tries(0, &[BAD; 5], 111));
    assert_eq!(cluster.back(0, 111, 1_000), Some(210), "90 s");
    // two intervals in health take two off
    for second in 211..=230 {
        cluster.detector.sweep(&cluster.rules, Now(second * SECOND));
    }
    assert!(cluster.tries(0, &[BAD; 5], 231));
    assert_eq!(cluster.back(0, 231, 1_000), Some(300), "60 s again");
}

#[test]
fn no_ejection_is_longer_than_the_longest() {
    let mut cluster = Cluster::new(rules(), 2);
    let mut now = 1;
    let mut longest = 0;
    for _ in 0..20 {
        assert!(cluster.tries(0, &[BAD; 5], now));
        let back = cluster.back(0, now, now + 1_000).unwrap();
        longest = longest.max(back - now);
        now = back;
    }
    assert!((300..=310).contains(&longest), "{longest}");
}

#[test]
fn one_may_always_be_ejected_and_more_within_the_percentage() {
    for (count, percent, most) in [(1, 10, 1), (5, 10, 1), (5, 50, 2), (10, 50, 5), (4, 100, 4)] {
        let rules = Outlier {
            max_ejection_percent: percent,
            ..rules()
        };
        let mut cluster = Cluster::new(rules, count);
        let ejected = (0..usize::from(count)).filter(|host| cluster.tries(*host, &[BAD; 5], 1));
        assert_eq!(ejected.count(), most, "{percent}% of {count}");
        assert_eq!(cluster.detector.ejected(), most);
    }
}

#[test]
fn gateway_errors_have_a_limit_of_their_own() {
    let gateway = Outlier {
        consecutive_5xx: 0,
        consecutive_gateway: 2,
        ..rules()
    };
    let mut cluster = Cluster::new(gateway, 2);
    let bad = |status| Verdict::Status(status);
    assert!(!cluster.tries(0, &[BAD; 50], 1));
    assert!(
        !cluster.tries(0, &[bad(502), BAD, bad(503)], 1),
        "not in a row"
    );
    assert!(cluster.tries(0, &[bad(504)], 1));
}

#[test]
fn failures_without_an_answer_count_as_statuses_or_by_themselves() {
    let mut together = Cluster::new(rules(), 2);
    let mixed = [Verdict::Broken, Verdict::Late, BAD, BAD, BAD];
    assert!(together.tries(0, &mixed, 1));
    let split = Outlier {
        consecutive_local: Some(2),
        ..rules()
    };
    let mut cluster = Cluster::new(split, 4);
    assert!(!cluster.tries(0, &[Verdict::Broken, OK, Verdict::Broken], 1));
    assert!(!cluster.tries(0, &[BAD; 4], 1), "an answer, if a bad one");
    assert!(cluster.tries(1, &[Verdict::Broken, Verdict::Late], 1));
}

#[test]
fn other_statuses_can_be_the_errors() {
    let mut cluster = Cluster::new(
        Outlier {
            error_codes: vec![429],
            ..rules()
        },
        2,
    );
    assert!(!cluster.tries(0, &[BAD; 9], 1));
    assert!(cluster.tries(0, &[Verdict::Status(429); 5], 1));
}

#[test]
fn endpoints_that_stay_keep_their_state() {
    let mut cluster = Cluster::new(rules(), 3);
    assert!(cluster.tries(1, &[BAD; 5], 1));
    cluster.tries(2, &[BAD; 4], 1);
    let stay = [2_u8, 1, 9].map(|n| SocketAddr::from(([127, 0, 0, n], 80)));
    cluster.hosts = cluster.detector.hosts(stay.into_iter());
    let out: Vec<bool> = cluster.hosts.iter().map(|h| h.is_ejected()).collect();
    assert_eq!(out, [false, true, false]);
    assert!(cluster.detector.all_ejected().any(|a| a == stay[1]));
    assert!(
        cluster.hosts[0].note(&cluster.rules, BAD),
        "the fifth in a row"
    );
    assert_eq!(cluster.back(1, 1, 1_000), Some(40));
    cluster.hosts.clear();
    cluster.hosts = cluster.detector.hosts([stay[2]].into_iter());
    assert!(cluster.tries(0, &[BAD; 5], 50));
    assert!(
        !cluster.detector.all_ejected().any(|a| a == stay[1]),
        "forgotten"
    );
}

#[test]
fn a_grpc_status_stands_for_one_of_http() {
    assert_eq!(Verdict::grpc(0), OK);
    assert_eq!(Verdict::grpc(14), Verdict::Status(503));
    assert_eq!(Verdict::grpc(2), BAD);
}
