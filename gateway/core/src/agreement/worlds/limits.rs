//! Rate limits of hosts, routes and headers, some of which only count.

use super::{HOSTS, VALUES, origin};
use crate::agreement::dice::Bytes;
use sallyport_config::ir::*;

pub(super) fn limits(bytes: &mut Bytes<'_>) -> Vec<Limit> {
    if bytes.chance(60) {
        return Vec::new();
    }
    (0..=bytes.below(3))
        .map(|number| limit(number, bytes))
        .collect()
}

fn limit(number: u8, bytes: &mut Bytes<'_>) -> Limit {
    let routed = bytes.chance(50);
    let header = |bytes: &mut Bytes<'_>| PolicyCondition {
        test: PolicyTest::Text(
            TextOf::Header(bytes.text(&["x-a", "x-b"])),
            vec![TextMatch::parse(&bytes.text(VALUES))],
        ),
        negated: bytes.chance(30),
    };
    Limit {
        name: format!("ns/limit/{number}"),
        stage: if routed {
            LimitStage::Routed
        } else {
            LimitStage::First
        },
        hosts: bytes.some(2, |bytes| HostPattern::parse(&bytes.text(HOSTS))),
        routes: Vec::new(),
        when: bytes.some(1, header),
        key: bytes.some(2, |bytes| match bytes.below(4) {
            0 => LimitKey::Client,
            1 => LimitKey::Host,
            2 => LimitKey::Claim(vec!["sub".to_owned()]),
            _ => LimitKey::Header("x-c".to_owned()),
        }),
        keys_max: 8,
        rate: Rate {
            burst: 1,
            tokens: 1,
            interval: Millis(1_000),
        },
        enabled: bytes.pick(&[Ppm::ALL, Ppm::ALL, Ppm(0)]),
        enforced: bytes.pick(&[Ppm::ALL, Ppm::ALL, Ppm(0)]),
        status: 429,
        exhausted: false,
        told: None,
        headers: Vec::new(),
        origin: origin("spec".to_owned()),
    }
}
