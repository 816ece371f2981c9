//! More clients than there is room for: who is served, who is turned away, and on which worker.

use std::net::TcpStream;

use sallyport_config::ir;

use super::http2;
use super::support::{Client, GET, House, Lines, Origin, field, on_each_driver, snapshot};
use crate::load::{Pressure, descriptors};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Clients of which each has either been answered, and stays, or has been closed.
fn crowd(house: &House, size: usize) -> Vec<Client<TcpStream>> {
    // The clients are this process's, too.
    descriptors::room(1);
    let mut clients: Vec<_> = (0..size).map(|_| house.client()).collect();
    for client in &mut clients {
        // One that was closed already may not even take it.
        drop(std::io::Write::write_all(&mut client.stream, GET));
    }
    clients.retain_mut(|client| client.answer(true).status == 200);
    clients
}

/// Counters of the only listener: accepted, open, refused.
fn counts(house: &House) -> (u64, u64, u64) {
    let report = house.report();
    let listener = report.listeners.values().next().unwrap();
    (listener.opened, listener.active(), listener.refused)
}

#[test]
fn a_limit_on_connections_is_exact_over_all_workers() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        for global in [true, false] {
            let mut snapshot = snapshot(origin.address);
            let limits = &mut snapshot.settings.connection;
            let limit = if global {
                &mut limits.global_connection_limit
            } else {
                &mut limits.listener_connection_limit
            };
            *limit = Some(100);
            let house = House::open_with(driver, snapshot, 2);
            let mut clients = crowd(&house, 300);
            assert_eq!(clients.len(), 100, "{driver:?}");
            assert_eq!(counts(&house), (100, 100, 200), "{driver:?}");
            clients.truncate(50);
            house.report_when(|report| {
                report.listeners.values().map(|l| l.active()).sum::<u64>() == 50
            });
            clients.extend(crowd(&house, 60));
            assert_eq!(clients.len(), 100, "{driver:?}");
        }
    });
}

#[test]
fn connections_are_spread_evenly_over_workers() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let house = House::open_with(driver, snapshot(origin.address), 2);
        let clients = crowd(&house, 400);
        let seats = house.seats();
        let (least, most) = (seats.iter().min().unwrap(), seats.iter().max().unwrap());
        assert_eq!(least + most, 400);
        assert!(most * 10 <= least * 12, "{driver:?}: {seats:?}");
        drop(clients);
    });
}

#[test]
fn a_worker_that_has_no_time_gives_new_connections_away() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let house = House::open_with(driver, snapshot(origin.address), 2);
        let mut clients = Vec::new();
        for _ in 0..60 {
            // It finds out by itself that this is not so, four times a second.
            house.load.set_busy(0, 1_000);
            clients.extend(crowd(&house, 1));
        }
        assert_eq!(clients.len(), 60);
        let seats = house.seats();
        assert!(seats[0] <= 10, "{driver:?}: {seats:?}");
    });
}

#[test]
fn near_the_end_of_memory_connections_are_not_kept_and_then_requests_are_refused() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let lines = Lines::new("overload");
        let mut snapshot = snapshot(origin.address);
        let format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%";
        lines.write_to(&mut snapshot, format);
        let house = House::open(driver, snapshot);
        let (mut kept, mut early) = (house.client(), house.client());
        assert_eq!(field(&kept.ask(GET).head, "connection"), None);
        assert_eq!(early.ask(GET).status, 200);

        house.load.set_pressure(Pressure::Tight, 0);
        let seen = early.ask(GET);
        assert_eq!(
            (seen.status, field(&seen.head, "connection")),
            (200, Some("close"))
        );
        assert!(early.is_closed());

        house.load.set_pressure(Pressure::Full, 0);
        let seen = kept.ask(GET);
        assert_eq!((seen.status, &*seen.body), (503, "envoy overloaded"));
        assert!(kept.is_closed(), "{driver:?}");
        assert!(house.client().is_closed(), "{driver:?}");
        assert_eq!(counts(&house).2, 1, "{driver:?}");

        house.load.set_pressure(Pressure::None, 0);
        assert_eq!(house.client().ask(GET).status, 200);
        let overloaded = "503 OM overload";
        assert_eq!(lines.take(5)[3], overloaded);
    });
}

#[test]
fn streams_are_refused_as_well() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let house = House::open(driver, snapshot(origin.address));
        let load = &house.load;
        http2::client(&house, |send| async move {
            assert_eq!(http2::get(&send).await.status(), 200);
            load.set_pressure(Pressure::Full, 0);
            assert_eq!(http2::get(&send).await.status(), 503);
            load.set_pressure(Pressure::None, 0);
            assert_eq!(http2::get(&send).await.status(), 200);
        });
    });
}

#[test]
fn limits_that_change_count_for_the_next_connection() {
    on_each_driver(|driver| {
        let origin = Origin::answers(HELLO);
        let mut snapshot: ir::Snapshot = snapshot(origin.address);
        let house = House::open(driver, snapshot.clone());
        let clients = crowd(&house, 20);
        snapshot.settings.connection.listener_connection_limit = Some(5);
        house.activate(2, snapshot.clone());
        assert_eq!((clients.len(), crowd(&house, 3).len()), (20, 0));
        snapshot.settings.connection.listener_connection_limit = Some(30);
        house.activate(3, snapshot);
        assert_eq!(crowd(&house, 10).len(), 10);
        drop(clients);
    });
}
