//! Who gets a request: sticky sessions, on real sockets.

use super::support::{Client, House, Origin, field, on_each_driver, snapshot};
use crate::rt::DriverChoice;
use sallyport_config::ir;
use std::collections::HashSet;
use std::net::TcpStream;

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
