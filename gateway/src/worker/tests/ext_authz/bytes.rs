//! Who says whether a connection that carries bytes may pass.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;

use sallyport_config::ir;
use sallyport_wire::envoy::envoy::config::core::v3::{address, socket_address};
use sallyport_wire::envoy::envoy::service::auth::v3::attribute_context::Peer;

use super::super::support::{House, Lines, PATIENCE, on_each_driver};
use super::super::tcp::{bytes, echo, server};
use super::authorizers::{over_grpc, referee};
use super::guard;

/// Bytes behind an authorizer, and a log of how they end.
fn guarded(lines: &Lines, at: SocketAddr, policies: ir::Policies) -> ir::Snapshot {
    let mut snapshot = guard(bytes(&[echo()]), at, policies);
    let format = "%RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS%";
    lines.write_to(&mut snapshot, format);
    snapshot
}

fn client(house: &House) -> TcpStream {
    let mut stream = TcpStream::connect(house.door).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // before anybody has said anything
    stream.write_all(b"hello").unwrap();
    stream
}

/// Whether what was sent comes back.
fn passes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 5];
    stream.read_exact(&mut back).is_ok() && back == *b"hello"
}

fn at(peer: Option<Peer>) -> SocketAddr {
    let address = peer.unwrap().address.unwrap().address.unwrap();
    let address::Address::SocketAddress(socket) = address else {
        panic!("no socket");
    };
    let Some(socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else {
        panic!("no port");
    };
    SocketAddr::new(socket.address.parse().unwrap(), port.try_into().unwrap())
}

#[test]
fn an_authorizer_over_grpc_decides_about_bytes() {
    on_each_driver(|driver| {
        let (referee, lines) = (referee(), Lines::new("authz-bytes"));
        let house = House::open(driver, guarded(&lines, referee.address, over_grpc()));
        let mut stream = client(&house);
        assert!(passes(&mut stream));
        let told = referee.connection();
        assert_eq!(at(told.source), stream.local_addr().unwrap());
        assert_eq!(at(told.destination), house.door);
        drop(stream);
        referee.stern.store(true, Ordering::Relaxed);
        assert!(!passes(&mut client(&house)));
        assert_eq!(lines.take(2)[1], "UAEX ext_authz_denied");
        let report = house.report();
        assert_eq!(report.authorizers["judge"], [1, 1, 0, 0]);
        assert_eq!(report.upstreams["outbound|80||judge"].failures, 0);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn bytes_wait_for_nobody_who_does_not_answer() {
    on_each_driver(|driver| {
        for (fail_open, hangs) in [(false, false), (true, false), (false, true), (true, true)] {
            let lines = Lines::new("authz-bytes-failing");
            let judge = match hangs {
                true => server(|mut stream| drop(stream.read_to_end(&mut Vec::new()))),
                // a port that was given back
                false => std::net::TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap(),
            };
            let mut policies = over_grpc();
            policies.authorizers[0].fail_open = fail_open;
            policies.authorizers[0].timeout = ir::Millis(200);
            let house = House::open(driver, guarded(&lines, judge, policies));
            assert_eq!(passes(&mut client(&house)), fail_open);
            let want = if fail_open {
                "- -"
            } else {
                "UAEX ext_authz_error"
            };
            assert_eq!(lines.take(1), [want], "{hangs}");
            let failed = house.report().authorizers["judge"];
            assert_eq!(failed, [0, 0, 1, u64::from(fail_open)]);
            house.close();
        }
    });
}

#[test]
fn a_client_that_leaves_ends_the_question_about_its_bytes() {
    on_each_driver(|driver| {
        let lines = Lines::new("authz-bytes-left");
        let judge = server(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
        let house = House::open(driver, guarded(&lines, judge, over_grpc()));
        let stream = TcpStream::connect(house.door).unwrap();
        let cluster = "outbound|80||judge";
        house.report_when(|r| r.upstreams.get(cluster).is_some_and(|u| u.active() == 1));
        socket2::SockRef::from(&stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(stream);
        assert_eq!(lines.take(1), ["DC -"]);
        assert!(house.report().authorizers.is_empty());
        assert_eq!(house.close(), 0);
    });
}
