//! Priorities, localities, health and age.

use super::*;
use sallyport_config::ir::{HashTable, LocalityWeight, Millis, Ppm, Traffic};

/// So many endpoints in each priority.
fn priorities(sizes: &[usize]) -> Cluster {
    let mut endpoints = endpoints(&vec![1; sizes.iter().sum()]);
    let numbers = sizes
        .iter()
        .zip(0_u32..)
        .flat_map(|(size, number)| std::iter::repeat_n(number, *size));
    for (endpoint, number) in endpoints.iter_mut().zip(numbers) {
        endpoint.priority = number;
    }
    Cluster {
        balance: Balance::RoundRobin,
        endpoints,
        ..Cluster::default()
    }
}

fn percent(hits: &[u32], range: std::ops::Range<usize>) -> u32 {
    let all: u32 = hits.iter().sum();
    (hits[range].iter().sum::<u32>() * 100 + all / 2) / all
}

#[test]
fn traffic_stays_in_the_first_priority_while_that_is_well() {
    let (mut it, mut rng) = of(&priorities(&[10, 10]));
    assert_eq!(percent(&shares(&mut it, &mut rng, 10_000), 0..10), 100);
    it.set_health(|e| e >= 5, Now(0), &mut rng);
    let hits = shares(&mut it, &mut rng, 20_000);
    assert_eq!(hits[..5], [0; 5], "the sick get nothing");
    assert!(percent(&hits, 0..10).abs_diff(70) <= 1, "{hits:?}");
    it.set_health(|e| e >= 10, Now(0), &mut rng);
    assert_eq!(percent(&shares(&mut it, &mut rng, 1_000), 10..20), 100);
}

#[test]
fn gaps_between_priorities_do_not_matter() {
    let mut cluster = priorities(&[2, 2]);
    cluster.endpoints.iter_mut().for_each(|e| e.priority *= 7);
    let (mut it, mut rng) = of(&cluster);
    it.set_health(|e| e > 1, Now(0), &mut rng);
    assert_eq!(percent(&shares(&mut it, &mut rng, 1_000), 2..4), 100);
}

#[test]
fn nobody_healthy_is_nobody_unless_in_panic() {
    let mut cluster = priorities(&[4]);
    let (mut it, mut rng) = of(&cluster);
    it.set_health(|_| false, Now(0), &mut rng);
    assert!(shares(&mut it, &mut rng, 4_000).iter().all(|h| *h > 900));
    cluster.traffic.panic_threshold = 0;
    let (mut it, mut rng) = of(&cluster);
    it.set_health(|_| false, Now(0), &mut rng);
    assert_eq!(it.pick(Wanted::default(), &mut rng), None);
    it.set_health(|e| e == 3, Now(0), &mut rng);
    assert_eq!(it.pick(Wanted::default(), &mut rng), Some(3));
}

#[test]
fn retries_go_elsewhere_only_if_asked_to() {
    let (mut it, mut rng) = of(&priorities(&[2, 1]));
    let again = |elsewhere| Wanted {
        avoid: &[0, 1],
        elsewhere,
        ..Wanted::default()
    };
    assert_ne!(it.pick(again(false), &mut rng), Some(2));
    assert_eq!(it.pick(again(true), &mut rng), Some(2));
    let all = Wanted {
        avoid: &[0, 2],
        elsewhere: true,
        ..Wanted::default()
    };
    assert_eq!(it.pick(all, &mut rng), Some(1), "everywhere was tried");
}

/// Two localities with shares 1 and 2, of a hundred endpoints each.
fn localities() -> Cluster {
    let mut endpoints = endpoints(&[1; 200]);
    for (index, endpoint) in endpoints.iter_mut().enumerate() {
        let zone = if index < 100 { "r/x" } else { "r/y" };
        endpoint.locality = zone.to_owned();
    }
    let share = |locality: &str, weight| LocalityWeight {
        locality: locality.to_owned(),
        weight,
    };
    Cluster {
        endpoints,
        traffic: Traffic {
            panic_threshold: 0,
            locality_weights: vec![share("r/x", 1), share("r/y", 2)],
            ..Traffic::default()
        },
        ..Cluster::default()
    }
}

/// The table of Envoy's page "Locality weighted load balancing".
#[test]
fn shares_of_localities_shrink_as_documented() {
    let (mut it, mut rng) = of(&localities());
    let rows = [(100, 33), (70, 33), (69, 32), (50, 26), (25, 15), (0, 0)];
    for (healthy, x) in rows {
        it.set_health(|e| e >= 100 || e < healthy, Now(0), &mut rng);
        let hits = shares(&mut it, &mut rng, 30_000);
        assert!(
            percent(&hits, 0..100).abs_diff(x) <= 1,
            "{healthy}: {hits:?}"
        );
    }
}

#[test]
fn hashes_keep_to_the_shares_of_localities() {
    let mut cluster = localities();
    let policy = sallyport_config::ir::HashPolicy {
        key: sallyport_config::ir::HashKey::SourceIp,
        table: HashTable::Maglev(65_537),
    };
    cluster.balance = Balance::Hash(Box::new(policy));
    let (mut it, mut rng) = of(&cluster);
    let mut hits = vec![0; 200];
    for key in 0..30_000_u64 {
        let wanted = Wanted {
            hash: Some(crate::hash::xxh64(&key.to_le_bytes(), 0)),
            ..Wanted::default()
        };
        hits[usize::try_from(it.pick(wanted, &mut rng).unwrap()).unwrap()] += 1;
    }
    assert!(percent(&hits, 0..100).abs_diff(33) <= 1, "{hits:?}");
}

#[test]
fn a_new_endpoint_gets_its_share_gradually() {
    let mut cluster = priorities(&[2]);
    cluster.traffic.warmup = Some(Warmup {
        duration: Millis(100_000),
        minimum: Ppm(100_000),
        aggression_milli: 1_000,
    });
    let begun = Now(500_000_000);
    let born = |endpoint: usize| if endpoint == 1 { begun } else { Now(0) };
    for balance in [Balance::RoundRobin, Balance::LeastRequest] {
        cluster.balance = balance;
        let mut rng = Rng::new(3);
        let mut it = Balancer::new(&cluster, None, born, &mut rng);
        for (age, weight) in [
            (0, 10),
            (25, 25),
            (50, 50),
            (99, 99),
            (100, 100),
            (500, 100),
        ] {
            let wanted = Wanted {
                now: begun + Millis(age * 1_000),
                ..Wanted::default()
            };
            let new = (0..20_000).filter(|_| it.pick(wanted, &mut rng) == Some(1));
            let expected = 20_000 * weight / (100 + weight);
            let new = new.count();
            assert!(
                new.abs_diff(expected) < 500,
                "{age}s: {new}, not {expected}"
            );
        }
    }
}
