//! The session against simulated Envoys: a network that delays and breaks, resources that come, go,
//! change and are refused, clients of both protocols. Whatever happened, when it is over the client
//! has what it is to have, nothing was sent that it had, and on the way no route lost its cluster.
//!
//! `SALLYPORT_SEED=7` replays one seed and prints what happened.

mod client;
mod mesh;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Protocol, Request, Response, Session};
use client::Client;
use mesh::Mesh;

/// Seeds of one run of the tests, for each protocol.
const SEEDS: u64 = 512;
/// Events of a run before it settles.
const EVENTS: u32 = 250;
/// Deliveries after which a run must have settled.
const SETTLE_MAX: u32 = 20_000;

/// Numbers that a seed determines (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `n`.
    pub(super) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A stream and what is under way on it.
struct Network {
    random: Random,
    mesh: Mesh,
    client: Client,
    session: Session,
    up: VecDeque<Request>,
    down: VecDeque<Response>,
    grown: bool,
    trace: String,
    tally: BTreeMap<&'static str, u32>,
}

impl Network {
    fn new(seed: u64, protocol: Protocol) -> Self {
        let mut random = Random(seed);
        let mut mesh = Mesh::new(&mut random);
        let mut client = Client::new(protocol);
        Self {
            session: Session::new(protocol, mesh.target(&mut random)),
            up: client.connect().into(),
            down: VecDeque::new(),
            grown: false,
            random,
            mesh,
            client,
            trace: String::new(),
            tally: BTreeMap::new(),
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
        self.trace.push_str(what);
        self.trace.push('\n');
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..EVENTS {
            match self.random.below(20) {
                0 => self.change(),
                1 if self.random.once_in(4) => self.reconnect(),
                2..=10 => self.deliver_request()?,
                _ => self.deliver_response()?,
            }
        }
        self.mesh.heal();
        self.session.update(self.mesh.target(&mut self.random));
        self.pump();
        for _ in 0..SETTLE_MAX {
            if self.up.is_empty() && self.down.is_empty() && self.grown {
                return self.client.converged(&self.mesh.resources());
            }
            self.deliver_request()?;
            self.deliver_response()?;
        }
        Err("it never settles".to_owned())
    }

    fn change(&mut self) {
        self.note("change");
        self.mesh.change(&mut self.random);
        self.session.update(self.mesh.target(&mut self.random));
        self.pump();
    }

    fn reconnect(&mut self) {
        self.note("reconnect");
        self.session = Session::new(self.client.protocol, Arc::new(self.mesh.resources()));
        self.up = self.client.connect().into();
        self.down.clear();
        self.grown = false;
    }

    fn deliver_request(&mut self) -> Result<(), String> {
        if let Some(request) = self.up.pop_front() {
            self.trace.push_str(&format!("-> {request:?}\n"));
            self.session
                .receive(request)
                .map_err(|violation| violation.to_string())?;
        } else if !self.grown {
            self.grown = true;
            self.session.grown();
        }
        self.pump();
        Ok(())
    }

    fn deliver_response(&mut self) -> Result<(), String> {
        let Some(response) = self.down.pop_front() else {
            return Ok(());
        };
        self.trace.push_str(&format!("<- {response:?}\n"));
        let (requests, refused) = self.client.take(&response)?;
        if refused {
            self.note("refused");
        }
        if !response.removed.is_empty() {
            self.note("removed");
        }
        self.up.extend(requests);
        self.client.intact()
    }

    fn pump(&mut self) {
        while let Some(response) = self.session.poll() {
            self.down.push_back(response);
        }
    }
}

fn run(protocol: Protocol) {
    let one = std::env::var("SALLYPORT_SEED").ok();
    let one = one.map(|seed| seed.parse::<u64>().unwrap());
    let mut tally = BTreeMap::<&str, u32>::new();
    for seed in one.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let mut network = Network::new(seed, protocol);
        let result = network.run();
        if one.is_some() || result.is_err() {
            println!("{}", network.trace);
        }
        if let Err(why) = result {
            panic!("{protocol:?} seed {seed}: {why}");
        }
        for (what, count) in network.tally {
            *tally.entry(what).or_default() += count;
        }
    }
    if one.is_none() {
        for what in ["change", "reconnect", "refused"] {
            assert!(tally[what] > 100, "the simulation is blind: {tally:?}");
        }
    }
}

#[test]
fn delta_clients_converge() {
    run(Protocol::Delta);
}

#[test]
fn state_of_the_world_clients_converge() {
    run(Protocol::StateOfTheWorld);
}
