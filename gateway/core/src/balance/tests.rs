//! Shares, spread and avoidance of every policy.

mod hashes;
mod levels;

use super::*;

fn endpoints(weights: &[u32]) -> Vec<Endpoint> {
    let weights = weights.iter().zip(1_u32..);
    weights
        .map(|(weight, index)| Endpoint {
            address: (index.to_be_bytes(), 80).into(),
            weight: *weight,
            ..Endpoint::default()
        })
        .collect()
}

fn of(cluster: &Cluster) -> (Balancer, Rng) {
    let mut rng = Rng::new(0x5a11);
    (Balancer::new(cluster, None, |_| Now(0), &mut rng), rng)
}

const ALL: [Balance; 3] = [Balance::RoundRobin, Balance::LeastRequest, Balance::Random];

fn balancer(balance: &Balance, weights: &[u32]) -> (Balancer, Rng) {
    of(&Cluster {
        balance: balance.clone(),
        endpoints: endpoints(weights),
        ..Cluster::default()
    })
}

fn avoiding(avoid: &[u32]) -> Wanted<'_> {
    Wanted {
        avoid,
        ..Wanted::default()
    }
}

fn shares(balancer: &mut Balancer, rng: &mut Rng, draws: u32) -> Vec<u32> {
    let mut hits = vec![0; balancer.active.len()];
    for _ in 0..draws {
        let chosen = balancer.pick(Wanted::default(), rng).unwrap();
        hits[usize::try_from(chosen).unwrap()] += 1;
    }
    hits
}

#[test]
fn nothing_to_choose_from() {
    for balance in &ALL {
        let (mut none, mut rng) = balancer(balance, &[]);
        assert_eq!(none.pick(Wanted::default(), &mut rng), None, "{balance:?}");
    }
}

#[test]
fn idle_endpoints_are_chosen_in_proportion_to_their_weights() {
    for balance in &ALL {
        for weights in [&[1, 1, 1][..], &[1, 2, 7], &[1, 100], &[5]] {
            let (mut it, mut rng) = balancer(balance, weights);
            let total: u32 = weights.iter().sum();
            let hits = shares(&mut it, &mut rng, 20_000);
            for (hit, weight) in hits.iter().zip(weights) {
                let wanted = 20_000 * weight / total;
                assert!(
                    hit.abs_diff(wanted) <= wanted / 10 + 40,
                    "{balance:?} {weights:?} {hits:?}"
                );
            }
        }
    }
}

#[test]
fn round_robin_of_equal_weights_is_a_rotation() {
    let (mut it, mut rng) = balancer(&Balance::RoundRobin, &[3, 3, 3, 3]);
    let first: Vec<_> = (0..4)
        .map(|_| it.pick(Wanted::default(), &mut rng))
        .collect();
    let second: Vec<_> = (0..4)
        .map(|_| it.pick(Wanted::default(), &mut rng))
        .collect();
    assert_eq!(first, second);
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, [Some(0), Some(1), Some(2), Some(3)]);
}

#[test]
fn weighted_round_robin_is_smooth() {
    // never more than ceil(5/1) + 1 turns in a row for the heavy one
    let (mut it, mut rng) = balancer(&Balance::RoundRobin, &[5, 1]);
    let mut run = 0;
    for _ in 0..600 {
        run = if it.pick(Wanted::default(), &mut rng) == Some(0) {
            run + 1
        } else {
            0
        };
        assert!(run <= 6);
    }
}

#[test]
fn workers_do_not_march_in_step() {
    let mut rng = Rng::new(1);
    let cluster = Cluster {
        balance: Balance::RoundRobin,
        endpoints: endpoints(&[1; 8]),
        ..Cluster::default()
    };
    let mut first: Vec<_> = (0..32)
        .filter_map(|_| {
            Balancer::new(&cluster, None, |_| Now(0), &mut rng)
                .pick(Wanted::default(), &mut Rng::new(0))
        })
        .collect();
    first.sort_unstable();
    first.dedup();
    assert!(first.len() > 4, "{first:?}");
}

#[test]
fn a_busy_endpoint_gets_less() {
    let (mut it, mut rng) = balancer(&Balance::LeastRequest, &[1, 1, 1]);
    for _ in 0..10 {
        it.begin(1);
    }
    let hits = shares(&mut it, &mut rng, 9_000);
    // only when drawn twice: one in nine
    assert!(hits[1].abs_diff(1_000) < 150, "{hits:?}");
    for _ in 0..10 {
        it.end(1);
    }
    assert_eq!(it.active(1), 0);
    it.end(1);
    assert_eq!(it.active(1), 0, "an end too many is harmless");
    it.begin(99);
    assert_eq!(it.active(99), 0, "so is an unknown endpoint");
}

#[test]
fn load_settles_in_proportion_to_weights() {
    let (mut it, mut rng) = balancer(&Balance::LeastRequest, &[1, 3]);
    for _ in 0..4_000 {
        let chosen = it.pick(Wanted::default(), &mut rng).unwrap();
        it.begin(chosen);
    }
    assert!(it.active(1).abs_diff(3_000) < 60, "{}", it.active(1));
}

#[test]
fn tried_endpoints_are_avoided_while_there_are_others() {
    for balance in &ALL {
        let (mut it, mut rng) = balancer(balance, &[1, 1, 1]);
        let avoided = (0..1_000)
            .filter(|_| it.pick(avoiding(&[0, 1]), &mut rng) == Some(2))
            .count();
        // (2/3)^6 of the draws end at a tried one, none in round robin
        let floor = match balance {
            Balance::RoundRobin => 1_000,
            _ => 870,
        };
        assert!(avoided >= floor, "{balance:?} {avoided}");
        let (mut only, mut rng) = balancer(balance, &[1]);
        assert_eq!(
            only.pick(avoiding(&[0]), &mut rng),
            Some(0),
            "better than nothing"
        );
    }
}
