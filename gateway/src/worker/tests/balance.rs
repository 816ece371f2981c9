//! Who gets a request: sticky sessions, ejection, failover, on real sockets.

use super::support::{Act, Client, GET, House, Origin, PATIENCE, field, on_each_driver, snapshot};
use crate::rt::DriverChoice;
use sallyport_config::ir;
use std::collections::HashSet;
use std::net::TcpStream;
use std::time::Instant;

/// Origins that say who they are.
fn origins(count: usize) -> Vec<Origin> {
    let names = 0..count;
    names
        .map(|name| {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{name}");
            Origin::answers(&answer)
        })
        .collect()
}

/// All of them as endpoints of the one cluster.
fn cluster(origins: &[Origin], change: impl Fn(&mut ir::Cluster)) -> ir::Snapshot {
    let mut snapshot = snapshot(origins[0].address);
    let cluster = &mut snapshot.clusters[0];
    let like = cluster.endpoints[0].clone();
    let endpoints = origins.iter().map(|origin| ir::Endpoint {
        address: origin.address,
        ..like.clone()
    });
    cluster.endpoints = endpoints.collect();
    change(cluster);
    snapshot
}

fn hashed(driver: DriverChoice, origins: &[Origin], key: ir::HashKey) -> House {
    let table = ir::HashTable::Maglev(65_537);
    let policy = ir::HashPolicy { key, table };
    let balance = ir::Balance::Hash(Box::new(policy));
    House::open(
        driver,
        cluster(origins, |cluster| cluster.balance = balance.clone()),
    )
}

fn get(client: &mut Client<TcpStream>, path: &str, fields: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{fields}\r\n");
    let seen = client.ask(request.as_bytes());
    assert_eq!(seen.status, 200, "{}", seen.head);
    (seen.body, seen.head)
}

#[test]
fn users_meet_their_endpoint_again_by_header_and_by_query() {
    on_each_driver(|driver| {
        let origins = origins(5);
        let by_header = hashed(driver, &origins, ir::HashKey::Header("x-user".to_owned()));
        let by_query = hashed(driver, &origins, ir::HashKey::Query("user".to_owned()));
        let mut met = HashSet::new();
        for user in 0..20 {
            let fields = format!("x-user: {user}\r\n");
            let path = format!("/?a=b&user={user}");
            let ask = || get(&mut by_header.client(), "/", &fields).0;
            let first = ask();
            assert!((0..3).all(|_| ask() == first), "{driver:?} {user}");
            let ask = || get(&mut by_query.client(), &path, "").0;
            // the same hash of the same value, whatever says it
            assert!((0..3).all(|_| ask() == first), "{driver:?} {user}");
            met.insert(first);
        }
        assert!(met.len() >= 3, "{met:?}");
    });
}

#[test]
fn a_client_meets_its_endpoint_again_by_its_address() {
    on_each_driver(|driver| {
        let origins = origins(5);
        let house = hashed(driver, &origins, ir::HashKey::SourceIp);
        let (first, _) = get(&mut house.client(), "/", "");
        for _ in 0..10 {
            assert_eq!(get(&mut house.client(), "/", "").0, first);
        }
        assert_eq!(origins.iter().filter(|o| o.connections() > 0).count(), 1);
        let mut met = HashSet::new();
        for last in 1..=20 {
            let ask = || get(&mut Client::new(from(&house, last)), "/", "").0;
            let first = ask();
            assert_eq!(ask(), first, "{driver:?} {last}");
            met.insert(first);
        }
        assert!(met.len() >= 3, "{driver:?}: {met:?}");
    });
}

#[test]
fn a_cookie_is_made_once_and_leads_back() {
    on_each_driver(|driver| {
        let origins = origins(5);
        let cookie = ir::HashCookie {
            name: "where".to_owned(),
            path: "/".to_owned(),
            ttl: Some(ir::Millis(60_000)),
            attributes: vec![("SameSite".to_owned(), "Strict".to_owned())],
        };
        let house = hashed(driver, &origins, ir::HashKey::Cookie(cookie));
        let mut met = HashSet::new();
        for _ in 0..20 {
            let (first, head) = get(&mut house.client(), "/", "");
            let cookie = field(&head, "set-cookie").unwrap();
            let (pair, rest) = cookie.split_once("; ").unwrap();
            assert_eq!(rest, "Max-Age=60; Path=/; SameSite=Strict; HttpOnly");
            for _ in 0..3 {
                let fields = format!("cookie: a=b; {pair}\r\n");
                let (again, head) = get(&mut house.client(), "/", &fields);
                assert_eq!(again, first, "{driver:?} {pair}");
                assert_eq!(field(&head, "set-cookie"), None);
            }
            met.insert(first);
        }
        assert!(met.len() >= 3, "{met:?}");
    });
}

#[test]
fn a_cookie_without_a_lifetime_is_never_made_but_leads_to_its_endpoint() {
    on_each_driver(|driver| {
        let origins = origins(5);
        let cookie = ir::HashCookie {
            name: "where".to_owned(),
            path: String::new(),
            ttl: None,
            attributes: Vec::new(),
        };
        let house = hashed(driver, &origins, ir::HashKey::Cookie(cookie));
        let mut met = HashSet::new();
        for user in 0..10 {
            let fields = format!("cookie: where={user}\r\n");
            let (first, head) = get(&mut house.client(), "/", &fields);
            assert_eq!(field(&head, "set-cookie"), None);
            for _ in 0..3 {
                assert_eq!(get(&mut house.client(), "/", &fields).0, first);
            }
            met.insert(first);
        }
        assert!(met.len() >= 2, "{driver:?}: {met:?}");
        let anybody = (0..40).map(|_| get(&mut house.client(), "/", ""));
        let anybody: HashSet<_> = anybody.map(|(body, _)| body).collect();
        assert!(
            anybody.len() >= 2,
            "{driver:?}: without it there is none to hash"
        );
    });
}

#[test]
fn without_a_hash_a_client_meets_several() {
    on_each_driver(|driver| {
        let origins = origins(3);
        let least = |cluster: &mut ir::Cluster| cluster.balance = ir::Balance::LeastRequest;
        let house = House::open(driver, cluster(&origins, least));
        let met = (0..60).map(|_| get(&mut house.client(), "/", "x-user: me\r\n").0);
        assert_eq!(met.collect::<HashSet<_>>().len(), 3, "{driver:?}");
    });
}

/// A connection to the door from this address of the loopback network.
fn from(house: &House, last: u8) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let here = std::net::SocketAddr::from(([127, 0, 9, last], 0));
    socket.bind(&here.into()).unwrap();
    socket.connect(&house.door.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

#[test]
fn clients_of_bytes_meet_their_endpoint_again_by_their_address() {
    on_each_driver(|driver| {
        // who it is says the one that serves, and closes
        let names = (0..5_u8).map(|name| {
            super::tcp::server(move |mut stream| {
                drop(std::io::Write::write_all(&mut stream, &[name]))
            })
        });
        let addresses: Vec<_> = names.collect();
        let mut snapshot = super::tcp::bytes(&addresses);
        for cluster in &mut snapshot.clusters {
            let policy = ir::HashPolicy {
                key: ir::HashKey::SourceIp,
                table: ir::HashTable::Ring(1_024),
            };
            cluster.balance = ir::Balance::Hash(Box::new(policy));
        }
        let house = House::open(driver, snapshot);
        let ask = |last| {
            let mut name = [0];
            std::io::Read::read_exact(&mut from(&house, last), &mut name).unwrap();
            name[0]
        };
        let mut met = HashSet::new();
        for last in 1..=20 {
            let first = ask(last);
            assert_eq!([ask(last), ask(last)], [first; 2], "{driver:?} {last}");
            met.insert(first);
        }
        assert!(met.len() >= 3, "{driver:?}: {met:?}");
    });
}

/// Ejects after three errors; all may be ejected.
fn outlier(ejection_ms: u64) -> ir::Outlier {
    ir::Outlier {
        consecutive_5xx: 3,
        consecutive_gateway: 0,
        consecutive_local: None,
        error_codes: Vec::new(),
        interval: ir::Millis(50),
        base_ejection: ir::Millis(ejection_ms),
        max_ejection: ir::Millis(300_000),
        max_ejection_percent: 100,
    }
}

fn failing() -> Origin {
    Origin::answers("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
}

/// Endpoints in the order given, in turn, the second half in a later priority if `spread`.
fn ejecting(origins: &[Origin], ejection_ms: u64, spread: bool) -> ir::Snapshot {
    let half = origins.len().div_ceil(2);
    cluster(origins, |cluster| {
        cluster.traffic.outlier = Some(outlier(ejection_ms));
        cluster.traffic.panic_threshold = 0;
        for endpoint in cluster.endpoints.iter_mut().skip(half).filter(|_| spread) {
            endpoint.priority = 1;
        }
    })
}

fn statuses(house: &House, count: usize) -> Vec<u16> {
    let mut client = house.client();
    (0..count).map(|_| client.ask(GET).status).collect()
}

#[test]
fn a_failing_endpoint_is_left_out_and_comes_back() {
    on_each_driver(|driver| {
        let good = origins(1).remove(0);
        let both = [good, failing()];
        let house = House::open(driver, ejecting(&both, 1, false));
        let seen = statuses(&house, 6);
        assert_eq!(seen.iter().filter(|s| **s == 500).count(), 3, "{seen:?}");
        // back after a millisecond, at the next interval; each time it fails it is out for longer
        let begun = Instant::now();
        let mut failed = 0;
        while house
            .commons
            .facts()
            .first()
            .is_none_or(|f| f.ejections < 3)
        {
            failed += statuses(&house, 1).iter().filter(|s| **s == 500).count();
            assert!(begun.elapsed() < PATIENCE, "{driver:?} {failed}");
        }
        assert_eq!(failed, 6, "three errors for each ejection");
    });
}

#[test]
fn the_ejected_are_seen_and_a_reload_does_not_forgive_them() {
    on_each_driver(|driver| {
        let good = origins(1).remove(0);
        let both = [good, failing()];
        let snapshot = ejecting(&both, 60_000, false);
        let name = snapshot.clusters[0].name.clone();
        let house = House::open(driver, snapshot.clone());
        statuses(&house, 6);
        assert_eq!(house.commons.ejected(&name), [both[1].address]);
        assert_eq!(statuses(&house, 20), [200; 20], "{driver:?}");
        house.activate(2, snapshot);
        assert_eq!(statuses(&house, 20), [200; 20], "{driver:?}");
        let facts = house.commons.facts();
        assert_eq!((facts[0].ejected, facts[0].ejections), (1, 1));
    });
}

#[test]
fn traffic_fails_over_to_the_next_priority_and_then_to_nobody() {
    on_each_driver(|driver| {
        let mut all = vec![failing()];
        all.extend(origins(1));
        let house = House::open(driver, ejecting(&all, 60_000, true));
        assert_eq!(statuses(&house, 3), [500; 3]);
        assert_eq!(statuses(&house, 10), [200; 10], "{driver:?}");
        let none = House::open(driver, ejecting(&[failing()], 60_000, false));
        assert_eq!(statuses(&none, 4), [500, 500, 500, 503], "{driver:?}");
        let seen = none.client().ask(GET);
        assert_eq!(seen.body, "no healthy upstream");
    });
}

#[test]
fn refused_connections_and_cut_ones_eject_as_well() {
    on_each_driver(|driver| {
        let cutting = Origin::script(vec![Act::Close]);
        let mut gone = origins(1).remove(0);
        // nothing listens there: a port that was given back
        gone.address = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|socket| socket.local_addr())
            .unwrap();
        for bad in [cutting, gone] {
            let both = [origins(1).remove(0), bad];
            let mut snapshot = ejecting(&both, 60_000, false);
            let name = snapshot.clusters[0].name.clone();
            snapshot.clusters[0].balance = ir::Balance::Random;
            let house = House::open(driver, snapshot);
            statuses(&house, 60);
            assert_eq!(house.commons.ejected(&name), [both[1].address]);
            assert_eq!(statuses(&house, 20), [200; 20], "{driver:?}");
        }
    });
}
