//! Circuit breakers: exact counts, waiting in line, and retries that must not storm.

use super::origin_h2::H2Origin;
use super::support::{Act, Client, GET, House, Origin, PATIENCE, field, on_each_driver, snapshot};
use crate::rt::DriverChoice;
use sallyport_config::ir;
use sallyport_core::quota::What;
use std::net::TcpStream;
use std::time::Instant;

const CLUSTER: &str = "outbound|80||up";

/// Reads on and on, and never answers.
fn silent() -> Origin {
    Origin::script(vec![Act::Read(1 << 30)])
}

fn limited(origin: &Origin, change: impl Fn(&mut ir::Traffic)) -> ir::Snapshot {
    let mut snapshot = snapshot(origin.address);
    change(&mut snapshot.clusters[0].traffic);
    snapshot
}

/// Clients that have sent a request each.
fn crowd(house: &House, size: usize) -> Vec<Client<TcpStream>> {
    let clients = (0..size).map(|_| {
        let mut client = house.client();
        std::io::Write::write_all(&mut client.stream, GET).unwrap();
        client
    });
    clients.collect()
}

/// The same, one after the other, each when the one before is served or waits in line: a request
/// whose connection is being made counts among those that wait, so that many at once would be too
/// many. `there` says how many came before.
fn queue(house: &House, origin: &Origin, there: usize, size: usize) -> Vec<Client<TcpStream>> {
    let count = |what| usize::try_from(house.commons.count(CLUSTER, what)).unwrap();
    let clients = (there + 1..=there + size).map(|there| {
        let client = crowd(house, 1).remove(0);
        let settled = || {
            let (served, waiting) = (origin.connections(), count(What::Pending));
            served == count(What::Connections) && served + waiting == there
        };
        until("it is served, or waits", || {
            // A request waits before it asks for a connection: a report comes between two polls of
            // the worker, so that what is so before and after it is not half of a step.
            settled() && {
                house.report();
                settled()
            }
        });
        client
    });
    clients.collect()
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

fn overflows(house: &House) -> [u64; 4] {
    let upstreams = house.report().upstreams;
    upstreams.get(CLUSTER).map_or([0; 4], |u| u.overflows)
}

fn refused(seen: &super::support::Seen) {
    assert_eq!(seen.status, 503);
    assert_eq!(field(&seen.head, "x-envoy-overloaded"), Some("true"));
    let text = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
    assert_eq!(seen.body, text);
}

#[test]
fn connections_and_waiting_requests_are_counted_exactly() {
    on_each_driver(|driver| {
        let origin = silent();
        let house = House::open(
            driver,
            limited(&origin, |traffic| {
                traffic.breakers.max_connections = Some(10);
                traffic.breakers.max_pending = Some(5);
            }),
        );
        let mut clients = queue(&house, &origin, 0, 10);
        assert_eq!(origin.connections(), 10, "{driver:?}");
        clients.extend(queue(&house, &origin, 10, 5));
        for _ in 0..3 {
            refused(&house.client().ask(GET));
        }
        assert_eq!(origin.connections(), 10, "{driver:?}");
        assert_eq!(overflows(&house), [0, 3, 0, 0]);
        assert_eq!(house.commons.count(CLUSTER, What::Connections), 10);
        drop(clients);
        for what in [What::Connections, What::Pending, What::Requests] {
            until("all is given back", || {
                house.commons.count(CLUSTER, what) == 0
            });
        }
    });
}

#[test]
fn two_workers_share_the_limit_but_for_one() {
    on_each_driver(|driver| {
        let origin = silent();
        let snapshot = limited(&origin, |traffic| {
            traffic.breakers.max_connections = Some(16);
            traffic.breakers.max_pending = Some(4);
        });
        let house = House::open_with(driver, snapshot, 2);
        // sixteen are served and four wait; one more if a worker came late
        let mut clients = queue(&house, &origin, 0, 20);
        if origin.connections() > 16 {
            clients.extend(queue(&house, &origin, 20, 1));
        }
        assert_eq!(house.commons.count(CLUSTER, What::Pending), 4, "{driver:?}");
        for _ in 0..10 {
            refused(&house.client().ask(GET));
        }
        assert!((16..=17).contains(&origin.connections()), "{driver:?}");
        drop(clients);
        until("all is given back", || {
            house.commons.count(CLUSTER, What::Connections) == 0
        });
    });
}

#[test]
fn requests_in_flight_have_a_limit_of_their_own() {
    on_each_driver(|driver| {
        let origin = silent();
        let snapshot = limited(&origin, |traffic| traffic.breakers.max_requests = Some(3));
        let house = House::open_with(driver, snapshot, 2);
        let clients = crowd(&house, 3);
        let flying = || house.commons.count(CLUSTER, What::Requests) == 3;
        until("three are in flight", flying);
        for _ in 0..4 {
            refused(&house.client().ask(GET));
        }
        drop(clients);
        until("none is", || {
            house.commons.count(CLUSTER, What::Requests) == 0
        });
    });
}

#[test]
fn who_waits_in_line_gets_the_connection_that_others_give_back() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(
            driver,
            limited(&origin, |traffic| {
                traffic.breakers.max_connections = Some(1);
            }),
        );
        for _ in 0..5 {
            for mut client in crowd(&house, 20) {
                let seen = client.answer(true);
                assert_eq!((seen.status, seen.body.as_str()), (200, "ok"), "{driver:?}");
            }
        }
        assert_eq!(origin.connections(), 1, "{driver:?}");
        assert_eq!(overflows(&house), [0; 4]);
    });
}

#[test]
fn a_connection_to_another_endpoint_makes_room_and_who_leaves_the_line_blocks_nobody() {
    on_each_driver(|driver| {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let (a, b) = (Origin::answers(ok), Origin::answers(ok));
        let mut snapshot = limited(&a, |traffic| {
            traffic.breakers.max_connections = Some(1);
        });
        let other = ir::Endpoint {
            address: b.address,
            ..snapshot.clusters[0].endpoints[0].clone()
        };
        snapshot.clusters[0].endpoints.push(other);
        let house = House::open(driver, snapshot);
        for _ in 0..10 {
            assert_eq!(house.client().ask(GET).status, 200, "{driver:?}");
            let mut crowd = crowd(&house, 10);
            crowd.truncate(5);
            for mut client in crowd {
                assert_eq!(client.answer(true).status, 200, "{driver:?}");
            }
        }
        assert!(house.commons.count(CLUSTER, What::Connections) <= 1);
    });
}

#[test]
fn a_retry_beyond_the_budget_is_not_made() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
        let mut snapshot = limited(&origin, |traffic| {
            traffic.retry_budget = Some(ir::RetryBudget {
                share: ir::Ppm(0),
                min_concurrency: 1,
                interval: ir::Millis(0),
            });
        });
        let routes = &mut snapshot.route_tables[0].hosts[0].routes;
        let mut route = routes[0].clone();
        if let ir::Action::Forward(forward) = &mut route.action {
            forward.retry.on.five_xx = true;
            // a back-off that lasts as long as the test
            forward.retry.backoff_base = ir::Millis(86_400_000);
        }
        *routes = vec![route].into();
        let house = House::open(driver, snapshot);
        let waiting = crowd(&house, 1);
        until("one is to be tried again", || {
            house.commons.count(CLUSTER, What::Retries) == 1
        });
        for _ in 0..5 {
            let seen = house.client().ask(GET);
            assert_eq!((seen.status, seen.body.as_str()), (503, ""), "{driver:?}");
        }
        assert_eq!(overflows(&house), [0, 0, 0, 5]);
        let flags = house
            .report()
            .series
            .into_keys()
            .map(|l| l.flags().to_string());
        assert_eq!(flags.collect::<Vec<_>>(), ["UO"]);
        drop(waiting);
        until("it is given up", || {
            house.commons.count(CLUSTER, What::Retries) == 0
        });
        let heads: usize = origin.heads.lock().unwrap().iter().map(Vec::len).sum();
        assert_eq!(heads, 6, "one try each");
    });
}

#[test]
fn a_connection_ends_at_its_age() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(
            driver,
            limited(&origin, |traffic| {
                traffic.max_connection_duration = Some(ir::Millis(20));
            }),
        );
        until("a second connection", || {
            assert_eq!(house.client().ask(GET).status, 200);
            origin.connections() > 1
        });
    });
}

/// A snapshot whose only route tries failures again so often, after so long at most.
fn retrying(origin: &Origin, attempts: u32, backoff: u64) -> ir::Snapshot {
    let mut snapshot = snapshot(origin.address);
    let routes = &mut snapshot.route_tables[0].hosts[0].routes;
    let mut route = routes[0].clone();
    if let ir::Action::Forward(forward) = &mut route.action {
        forward.retry.attempts = attempts;
        forward.retry.on.five_xx = true;
        forward.retry.backoff_base = ir::Millis(backoff);
    }
    *routes = vec![route].into();
    snapshot
}

fn tries(origin: &Origin) -> usize {
    origin.heads.lock().unwrap().iter().map(Vec::len).sum()
}

#[test]
fn retries_under_way_have_a_limit_of_their_own() {
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
        // a back-off that lasts as long as the test
        let mut snapshot = retrying(&origin, 2, 86_400_000);
        snapshot.clusters[0].traffic.breakers.max_retries = Some(3);
        let house = House::open_with(driver, snapshot, 2);
        let waiting = crowd(&house, 3);
        let under_way = || house.commons.count(CLUSTER, What::Retries);
        until("three are to be tried again", || under_way() == 3);
        for _ in 0..7 {
            assert_eq!(house.client().ask(GET).status, 503, "{driver:?}");
        }
        assert_eq!(overflows(&house), [0, 0, 0, 7]);
        drop(waiting);
        until("they are given up", || under_way() == 0);
        assert_eq!(tries(&origin), 10, "{driver:?}: one try each");
    });
}

#[test]
fn streams_in_flight_are_counted_exactly() {
    on_each_driver(|driver| {
        let origin = H2Origin::start(100, usize::MAX);
        let mut snapshot = origin.snapshot();
        snapshot.clusters[0].traffic.breakers.max_requests = Some(20);
        let house = House::open_with(driver, snapshot, 2);
        let hang = b"GET /hang HTTP/1.1\r\nhost: a.example\r\n\r\n";
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let mut client = house.client();
                std::io::Write::write_all(&mut client.stream, hang).unwrap();
                client
            })
            .collect();
        let flying = || house.commons.count(CLUSTER, What::Requests);
        until("twenty are in flight", || flying() == 20);
        for _ in 0..5 {
            refused(&house.client().ask(GET));
        }
        assert_eq!(overflows(&house), [0, 0, 5, 0]);
        drop(clients);
        until("none is", || flying() == 0);
    });
}

/// Requests of ten clients, one after the other each, to an upstream that fails them all; how
/// many tries the upstream sees for each hundred of them.
fn storm(driver: DriverChoice, budget: Option<ir::RetryBudget>) -> usize {
    const EACH: usize = 40;
    const CLIENTS: usize = 10;
    let origin = Origin::answers("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
    let mut snapshot = retrying(&origin, 2, 25);
    snapshot.clusters[0].traffic.retry_budget = budget;
    let house = House::open_with(driver, snapshot, 2);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = house.client();
                for _ in 0..EACH {
                    assert_eq!(client.ask(GET).status, 503);
                }
            });
        }
    });
    tries(&origin) * 100 / (EACH * CLIENTS)
}

#[test]
fn a_storm_of_failures_costs_the_budget_and_no_more() {
    on_each_driver(|driver| {
        let budget = ir::RetryBudget {
            share: ir::Ppm(200_000),
            min_concurrency: 1,
            interval: ir::Millis(0),
        };
        let tries = storm(driver, Some(budget));
        assert!((100..=120).contains(&tries), "{driver:?}: {tries} per 100");
        assert_eq!(storm(driver, None), 300, "{driver:?}: without a budget");
    });
}

#[test]
fn what_may_have_been_processed_is_not_sent_again() {
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Whole, Act::Reset]);
        // the default policy: nothing in it covers a reset after the request was sent
        let house = House::open(driver, snapshot(origin.address));
        let post = b"POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 3\r\n\r\nabc";
        for asked in 1..=5 {
            assert_eq!(house.client().ask(post).status, 503);
            assert_eq!(tries(&origin), asked, "{driver:?}");
        }
    });
}
