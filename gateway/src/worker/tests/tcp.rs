//! Bytes both ways: what peers on each side of a worker see of each other.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sallyport_config::ir;

use super::super::*;
use super::support::{House, Lines, PATIENCE, on_each_driver, origin, snapshot};

/// A service that goes to these clusters, by their place in the snapshot, with weights.
pub(super) fn service(targets: &[(u32, u32)]) -> ir::Service {
    let target = |(id, weight): &(u32, u32)| (ir::TcpTarget::Cluster(ir::ClusterId(*id)), *weight);
    ir::Service::Tcp(ir::TcpService {
        tunnel: None,
        targets: targets.iter().map(target).collect(),
        idle_timeout: None,
        max_duration: None,
        origin: origin(),
    })
}

/// One cleartext listener whose bytes go to a cluster of these endpoints.
pub(super) fn bytes(endpoints: &[SocketAddr]) -> ir::Snapshot {
    let mut snapshot = snapshot(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    snapshot.listeners[0].kind = ir::ListenerKind::Plain(service(&[(0, 1)]));
    let cluster = &mut snapshot.clusters[0];
    // A crowd may have to send its first packets twice.
    cluster.connect_timeout = ir::Millis(8_000);
    let like = cluster.endpoints[0].clone();
    cluster.endpoints = endpoints
        .iter()
        .map(|address| ir::Endpoint {
            address: *address,
            ..like.clone()
        })
        .collect();
    snapshot
}

/// A server that does this with every connection.
pub(super) fn server(each: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let each = Arc::new(each);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, each) = (stream.unwrap(), Arc::clone(&each));
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            std::thread::spawn(move || each(stream));
        }
    });
    address
}

/// Sends everything back as it comes, and ends when its peer does.
pub(super) fn echo() -> SocketAddr {
    server(|mut stream| {
        let mut back = stream.try_clone().unwrap();
        drop(io::copy(&mut stream, &mut back));
        drop(back.shutdown(Shutdown::Write));
    })
}

/// An address where nobody is.
fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn client(house: &House) -> TcpStream {
    let stream = TcpStream::connect(house.door).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything up to the end; the error when there is no orderly one.
fn rest(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => Ok(all),
        Err(error) => Err(error.kind()),
    }
}

fn ping(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

#[test]
fn bytes_go_there_and_back_and_are_counted() {
    on_each_driver(|driver| {
        let origin = echo();
        let lines = Lines::new("tcp-counted");
        let mut snapshot = bytes(&[origin]);
        lines.write_to(
            &mut snapshot,
            "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT%",
        );
        let house = House::open(driver, snapshot);
        let mut stream = client(&house);
        for text in [&b"a"[..], b"hello", &[7; 100_000]] {
            ping(&mut stream, text);
        }
        drop(stream);
        let report = house.report_when(|report| report.tcp.values().any(|tcp| tcp.closed == 1));
        let (labels, tcp) = report.tcp.first_key_value().unwrap();
        assert_eq!((&*labels.service, &*labels.workload), ("up", "up"));
        assert_eq!((tcp.opened, tcp.closed), (1, 1));
        assert_eq!((tcp.received, tcp.sent), (100_006, 100_006));
        assert_eq!(lines.take(1), [format!("127.0.0.1 {}", origin.port())]);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn either_side_can_end_first_and_still_hear_the_other() {
    on_each_driver(|driver| {
        let patient = server(|mut stream| {
            let asked = rest(&mut stream).unwrap();
            stream
                .write_all(&[&b"heard "[..], &asked].concat())
                .unwrap();
        });
        let house = House::open(driver, bytes(&[patient]));
        let mut stream = client(&house);
        stream.write_all(b"a question").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream).unwrap(), b"heard a question");
        house.close();

        let (heard, hears) = std::sync::mpsc::channel();
        let hasty = server(move |mut stream| {
            stream.write_all(b"bye").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            heard.send(rest(&mut stream)).unwrap();
        });
        let house = House::open(driver, bytes(&[hasty]));
        let mut stream = client(&house);
        assert_eq!(rest(&mut stream).unwrap(), b"bye");
        stream.write_all(b"wait").unwrap();
        drop(stream);
        let end = hears.recv_timeout(PATIENCE).unwrap();
        assert_eq!(end.unwrap(), b"wait");
        house.close();
    });
}

#[test]
fn a_break_is_passed_on_as_a_break() {
    on_each_driver(|driver| {
        let (heard, hears) = std::sync::mpsc::channel();
        let breaking = server(move |mut stream| {
            let mut word = [0; 5];
            stream.read_exact(&mut word).unwrap();
            stream.write_all(b"heard").unwrap();
            if &word == b"break" {
                let socket = socket2::SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            } else {
                heard.send(rest(&mut stream)).unwrap();
            }
        });
        let house = House::open(driver, bytes(&[breaking]));
        let mut stream = client(&house);
        stream.write_all(b"break").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(rest(&mut stream), Err(ErrorKind::ConnectionReset));

        let mut stream = client(&house);
        stream.write_all(b"stay ").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        let end = hears.recv_timeout(PATIENCE).unwrap();
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        house.close();
    });
}

#[test]
fn a_slow_reader_holds_the_writer_up_and_nothing_is_lost() {
    const SENT: usize = 32 * 1024 * 1024;
    on_each_driver(|driver| {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let gone = std::sync::Mutex::new(gone);
        let slow = server(move |mut stream| {
            gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            let read = rest(&mut stream).unwrap();
            let sum: u64 = read.iter().map(|byte| u64::from(*byte)).sum();
            write!(stream, "{} {sum}", read.len()).unwrap();
        });
        let house = House::open(driver, bytes(&[slow]));
        let stream = client(&house);
        let chunk: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
        let mut writer = stream.try_clone().unwrap();
        writer
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let mut sent = 0;
        let mut held = false;
        while sent < SENT {
            match writer.write(&chunk[sent % chunk.len()..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    held = true;
                    let _: Result<(), _> = go.send(());
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(held, "{SENT} bytes went into nowhere");
        writer.shutdown(Shutdown::Write).unwrap();
        let mut stream = stream;
        let sum = u64::try_from(SENT / 256).unwrap() * (255 * 256 / 2);
        assert_eq!(
            rest(&mut stream).unwrap(),
            format!("{SENT} {sum}").into_bytes()
        );
        house.close();
    });
}

#[test]
fn weights_decide_and_a_dead_endpoint_is_stepped_over() {
    on_each_driver(|driver| {
        let counts = [0; 2].map(|_| Arc::new(AtomicUsize::new(0)));
        let [first, second] = counts.clone().map(|count| {
            server(move |mut stream| {
                count.fetch_add(1, Ordering::Relaxed);
                stream.write_all(b"x").unwrap();
            })
        });
        let mut snapshot = bytes(&[first, nowhere()]);
        let mut other = snapshot.clusters[0].clone();
        other.name = "outbound|80||other".to_owned();
        other.endpoints.truncate(1);
        other.endpoints[0].address = second;
        snapshot.clusters.push(other);
        snapshot.listeners[0].kind = ir::ListenerKind::Plain(service(&[(0, 3), (1, 1)]));
        let house = House::open(driver, snapshot);
        for _ in 0..80 {
            assert_eq!(rest(&mut client(&house)).unwrap(), b"x");
        }
        let [many, few] = counts.map(|count| count.load(Ordering::Relaxed));
        assert!((45..75).contains(&many) && many + few == 80, "{many} {few}");
        let failures: u64 = house.report().upstreams.values().map(|u| u.failures).sum();
        assert!(failures > 10, "{failures}");
        house.close();
    });
}

#[test]
fn what_cannot_be_reached_is_broken_and_logged() {
    on_each_driver(|driver| {
        let lines = Lines::new("tcp-unreached");
        let mut snapshot = bytes(&[nowhere()]);
        lines.write_to(
            &mut snapshot,
            "%RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %UPSTREAM_REQUEST_ATTEMPT_COUNT% \
             %UPSTREAM_TRANSPORT_FAILURE_REASON% %RESPONSE_CODE%",
        );
        let house = House::open(driver, snapshot.clone());
        let broken = |house: &House| {
            let mut stream = client(house);
            let wrote = stream.write_all(b"hello").map_err(|error| error.kind());
            let read = rest(&mut stream).map(drop);
            // A break is told once, to whoever asks first.
            assert!(wrote.and(read).is_err());
        };
        broken(&house);
        snapshot.clusters[0].endpoints.clear();
        house.activate(2, snapshot.clone());
        broken(&house);
        let missing = ir::TcpTarget::Missing("gone".to_owned());
        snapshot.listeners[0].kind = ir::ListenerKind::Plain(ir::Service::Tcp(ir::TcpService {
            tunnel: None,
            targets: vec![(missing, 1)],
            idle_timeout: None,
            max_duration: None,
            origin: origin(),
        }));
        house.activate(3, snapshot.clone());
        broken(&house);
        snapshot.listeners[0].kind = ir::ListenerKind::Plain(ir::Service::Close);
        house.activate(4, snapshot);
        broken(&house);
        assert_eq!(
            lines.take(4),
            [
                "URX,UF outbound|80||up 1 delayed_connect_error:_Connection_refused 0",
                "UH outbound|80||up 0 - 0",
                "NC - 0 - 0",
                "NR - 0 - 0",
            ]
        );
        let report = house.report();
        let closed: u64 = report.tcp.values().map(|tcp| tcp.closed).sum();
        assert_eq!(closed, 4);
        house.close();
    });
}

#[test]
fn policies_ask_what_is_known_of_a_connection() {
    on_each_driver(|driver| {
        let lines = Lines::new("tcp-policies");
        let mut snapshot = bytes(&[echo()]);
        lines.write_to(
            &mut snapshot,
            "%RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS%",
        );
        let policy = |action, tests: Vec<ir::PolicyTest>| ir::AuthorizationPolicy {
            action,
            dry_run: false,
            authorizer: None,
            rules: vec![ir::PolicyRule {
                when: tests
                    .into_iter()
                    .map(|test| ir::PolicyCondition {
                        test,
                        negated: false,
                    })
                    .collect(),
                ..ir::PolicyRule::default()
            }],
            origin: origin(),
        };
        let here = ir::IpBlock::parse("127.0.0.1").unwrap();
        let from = ir::PolicyTest::Address(ir::AddressOf::Peer, vec![here]);
        let get = ir::TextMatch::Exact("GET".to_owned());
        let method = ir::PolicyTest::Text(ir::TextOf::Method, vec![get]);
        // What HTTP tells is not known: an ALLOW rule with it lets nothing pass, a DENY rule
        // applies without it.
        let cases = [
            (policy(ir::PolicyAction::Allow, vec![from.clone()]), true),
            (
                policy(ir::PolicyAction::Allow, vec![from.clone(), method.clone()]),
                false,
            ),
            (policy(ir::PolicyAction::Deny, vec![from, method]), false),
        ];
        let house = House::open(driver, snapshot.clone());
        for (id, (policy, passes)) in (2..).zip(cases) {
            snapshot.policies.authorization = vec![policy];
            house.activate(id, snapshot.clone());
            let mut stream = client(&house);
            if passes {
                ping(&mut stream, b"hello");
            } else {
                assert_eq!(rest(&mut stream), Err(ErrorKind::ConnectionReset));
            }
        }
        let mut seen = lines.take(3);
        seen.sort();
        let denied = |id: &str| format!("- rbac_access_denied_matched_policy[{id}]");
        assert_eq!(
            seen,
            [
                "- -".to_owned(),
                denied("none"),
                denied("ns[test]-policy[test]-rule[0]")
            ]
        );
        house.close();
    });
}

#[test]
fn what_is_idle_or_has_lost_its_listener_is_ended() {
    on_each_driver(|driver| {
        let lines = Lines::new("tcp-idle");
        let mut snapshot = bytes(&[echo()]);
        lines.write_to(
            &mut snapshot,
            "%CONNECTION_TERMINATION_DETAILS% %BYTES_RECEIVED%",
        );
        snapshot.settings.drain = ir::Millis(100);
        let house = House::open(driver, snapshot.clone());
        let mut stays = client(&house);
        ping(&mut stays, b"hello");
        let ir::ListenerKind::Plain(ir::Service::Tcp(tcp)) = &mut snapshot.listeners[0].kind else {
            panic!("no bytes");
        };
        tcp.idle_timeout = Some(ir::Millis(50));
        house.activate(2, snapshot);
        let mut idle = client(&house);
        ping(&mut idle, b"x");
        assert_eq!(rest(&mut idle).unwrap(), b"");
        // A generation later it still has its own time.
        ping(&mut stays, b"hello");
        house.unlisten("door");
        assert_eq!(rest(&mut stays).unwrap(), b"");
        assert_eq!(
            lines.take(2),
            ["tcp_session_idle_timeout 1", "listener_removed 10"]
        );
        house.close();
    });
}

#[test]
fn a_connection_ends_when_it_is_old_however_busy() {
    on_each_driver(|driver| {
        let lines = Lines::new("tcp-old");
        let mut snapshot = bytes(&[echo()]);
        lines.write_to(
            &mut snapshot,
            "%RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS%",
        );
        let ir::ListenerKind::Plain(ir::Service::Tcp(tcp)) = &mut snapshot.listeners[0].kind else {
            panic!("no bytes");
        };
        tcp.max_duration = Some(ir::Millis(200));
        let house = House::open(driver, snapshot);
        let mut stream = client(&house);
        let mut byte = [0];
        while stream.write_all(b"x").is_ok() && matches!(stream.read(&mut byte), Ok(1)) {}
        assert_eq!(lines.take(1), ["DT max_connection_duration_reached"]);
        house.close();
    });
}

#[test]
fn the_kernel_probes_upstreams_as_the_rule_says() {
    on_each_driver(|driver| {
        let origin = echo();
        let mut snapshot = bytes(&[origin]);
        snapshot.clusters[0].traffic.keepalive = Some(ir::Keepalive {
            probes: Some(3),
            time: Some(100_000),
            interval: Some(10),
        });
        let house = House::open(driver, snapshot);
        let mut stream = client(&house);
        ping(&mut stream, b"hello");
        // Our end of the upstream's connection, as the kernel has it: kind of timer, and its ticks
        // of 10 ms.
        let remote = format!("0100007F:{:04X}", origin.port());
        let end = std::time::Instant::now() + PATIENCE;
        let left = loop {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let mut rows = table
                .lines()
                .map(|l| l.split_whitespace().collect::<Vec<_>>());
            let row = rows.find(|row| row[2] == remote && row[3] == "01").unwrap();
            if let Some(left) = row[5].strip_prefix("02:") {
                break u32::from_str_radix(left, 16).unwrap();
            }
            assert!(std::time::Instant::now() < end, "{row:?}");
            std::thread::yield_now();
        };
        // As much as the kernel takes, which is more than its own two hours.
        assert!((3_200_000..=3_276_700).contains(&left), "{left}");
        house.close();
    });
}

#[test]
fn a_thousand_connections_outlive_reloads_and_are_cut_by_the_drain() {
    const MANY: usize = 1_000;
    on_each_driver(|driver| {
        let origin = echo();
        let house = House::open(driver, bytes(&[origin]));
        let mut streams: Vec<_> = (0..MANY).map(|_| client(&house)).collect();
        for (id, stream) in (2..).zip(&mut streams) {
            ping(stream, b"one");
            if id % 100 == 0 {
                house.activate(id, bytes(&[origin]));
            }
        }
        for stream in &mut streams {
            ping(stream, b"two");
        }
        for stream in streams.drain(1..) {
            drop(stream);
        }
        let report = house
            .report_when(|report| report.tcp.values().map(|tcp| tcp.closed).sum::<u64>() == 999);
        let open: u64 = report.upstreams.values().map(|u| u.active()).sum();
        assert_eq!(open, 1);
        assert_eq!(house.drain(Duration::from_millis(200)), 1);
        assert_eq!(rest(&mut streams[0]).unwrap_or_default(), b"");
    });
}
