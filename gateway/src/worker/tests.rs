//! A worker with a snapshot built by hand, real sockets, on each driver.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use sallyport_config::ir;
use tokio::sync::oneshot;

use super::*;
use crate::listen::{self, BindOptions, BoundAddress};
use crate::log::LogWriter;
use crate::rt::DriverChoice;

/// A test ends rather than hangs.
const PATIENCE: Duration = Duration::from_secs(10);

fn origin() -> ir::Origin {
    ir::Origin {
        kind: "VirtualService",
        namespace: "test".into(),
        name: "test".into(),
        path: String::new(),
        location: String::new(),
    }
}

/// One cleartext listener that forwards everything to one endpoint.
fn snapshot(upstream: SocketAddr) -> ir::Snapshot {
    let forward = ir::Forward {
        targets: vec![ir::Target {
            cluster: ir::ClusterRef::Known(ir::ClusterId(0)),
            weight: 1,
            headers: ir::HeaderOps::default(),
            authority: None,
        }],
        rewrite: ir::Rewrite::default(),
        timeout: None,
        retry: ir::Retry::default(),
        mirrors: Vec::new(),
    };
    let route = ir::Route {
        name: "all".to_owned(),
        origin: origin(),
        matcher: ir::Matcher::default(),
        action: ir::Action::Forward(Box::new(forward)),
        headers: ir::HeaderOps::default(),
        fault: None,
        cors: None,
    };
    ir::Snapshot {
        listeners: vec![ir::Listener {
            name: "door".to_owned(),
            bind: ir::Bind::Ip(Ipv4Addr::LOCALHOST.into()),
            port: 0,
            kind: ir::ListenerKind::Plain(ir::Service::Http(ir::HttpService {
                routes: ir::RouteTableId(0),
                server_port: 80,
                grpc_web: false,
            })),
        }],
        route_tables: vec![ir::RouteTable {
            name: "http.80".to_owned(),
            hosts: vec![ir::VirtualHost {
                domains: vec![ir::HostPattern::Exact("a.example".to_owned())],
                https_redirect: None,
                routes: vec![route].into(),
            }],
        }],
        clusters: vec![ir::Cluster {
            name: "outbound|80||up".to_owned(),
            host: "up".to_owned(),
            port: 80,
            subset: String::new(),
            service_name: "up".to_owned(),
            service_namespace: "test".to_owned(),
            protocol: ir::UpstreamProtocol::Http1,
            endpoints: vec![ir::Endpoint {
                address: upstream,
                weight: 1,
                locality: String::new(),
                workload: "up".to_owned(),
            }],
            balance: ir::Balance::RoundRobin,
            connect_timeout: ir::Millis(1_000),
            idle_timeout: None,
            max_requests_per_connection: 0,
            tls: ir::UpstreamTls::Plain,
        }],
        ..ir::Snapshot::default()
    }
}

/// A running worker, and where it listens.
struct House {
    worker: WorkerHandle,
    door: SocketAddr,
}

impl House {
    fn open(choice: DriverChoice, snapshot: ir::Snapshot) -> Self {
        let driver = rt::probe(choice).unwrap();
        let options = BindOptions {
            default: vec![Ipv4Addr::LOCALHOST.into()],
            workers: 1,
        };
        let mut bound = listen::bind(&snapshot.listeners[0], &options).unwrap();
        let BoundAddress::Tcp(door) = bound.addresses[0] else {
            panic!("a path instead of an address");
        };
        let (generation, problems) = Generation::build(1, Arc::new(snapshot));
        assert!(problems.is_empty(), "{problems:?}");
        let (writer, _) = LogWriter::start().unwrap();
        let worker = spawn_worker(WorkerOptions {
            index: 0,
            workers: 1,
            cpu: None,
            driver,
            seed: 1,
            generation: Arc::new(generation),
            access_log: writer.access_log(),
        })
        .unwrap();
        worker.send(Command::Listen(bound.workers.remove(0)));
        Self { worker, door }
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.door).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn report(&self) -> Report {
        let (reply, report) = oneshot::channel();
        self.worker.send(Command::Collect(reply));
        report.blocking_recv().unwrap()
    }

    fn close(self) -> usize {
        let (reply, cut) = oneshot::channel();
        self.worker
            .send(Command::Drain(Duration::from_secs(5), reply));
        let cut = cut.blocking_recv().unwrap();
        self.worker.join();
        cut
    }
}

/// An origin that answers each head it sees with `answer`, on as many connections as come.
fn upstream(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                let mut chunk = [0; 4096];
                loop {
                    match stream.read(&mut chunk) {
                        Ok(0) | Err(_) => return,
                        Ok(count) => seen.extend_from_slice(&chunk[..count]),
                    }
                    while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        seen.drain(..end + 4);
                        stream.write_all(answer).unwrap();
                    }
                }
            });
        }
    });
    address
}

/// Reads until so many bytes have come.
fn read(client: &mut TcpStream, want: &str) -> String {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    while !text.ends_with(want.as_bytes()) {
        let count = match client.read(&mut chunk) {
            // Another test of this process is about signals.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result.unwrap(),
        };
        assert_ne!(
            count,
            0,
            "closed after {:?}",
            String::from_utf8_lossy(&text)
        );
        text.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(text).unwrap()
}

const DRIVERS: [DriverChoice; 2] = [DriverChoice::Auto, DriverChoice::Epoll];
const GET: &[u8] = b"GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n";

#[test]
fn requests_pass_and_connections_are_kept_on_both_sides() {
    for choice in DRIVERS {
        let up = upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let house = House::open(choice, snapshot(up));
        let mut client = house.client();
        for _ in 0..100 {
            client.write_all(GET).unwrap();
            let text = read(&mut client, "hello");
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(text.contains("server: istio-envoy\r\n"), "{text}");
        }
        let report = house.report();
        assert_eq!(report.upstreams["outbound|80||up"].connects, 1);
        assert_eq!(report.in_flight, 0);
        drop(client);
        assert_eq!(house.close(), 0);
    }
}

#[test]
fn chunked_and_unframed_bodies_arrive_whole() {
    for choice in DRIVERS {
        for answer in [
            &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"[..],
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        ] {
            let house = House::open(choice, snapshot(upstream(answer)));
            let mut client = house.client();
            for _ in 0..3 {
                client.write_all(GET).unwrap();
                let text = read(&mut client, "0\r\n\r\n");
                assert!(text.ends_with("\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"), "{text}");
            }
            drop(client);
            house.close();
        }
    }
}

#[test]
fn what_no_rule_wants_is_answered_here() {
    for choice in DRIVERS {
        let house = House::open(choice, snapshot(SocketAddr::from(([127, 0, 0, 1], 1))));
        let cases: [(&[u8], &str, &str); 4] = [
            (
                b"GET / HTTP/1.1\r\nhost: b.example\r\n\r\n",
                "404",
                "\r\n\r\n",
            ),
            (GET, "503", "remote connection failure"),
            (
                b"GET / HTTP/1.1\nhost: a.example\r\n\r\n",
                "400",
                "Bad Request",
            ),
            (b"GET / HTTP/1.0\r\n\r\n", "426", "Upgrade Required"),
        ];
        for (request, status, end) in cases {
            let mut client = house.client();
            client.write_all(request).unwrap();
            let text = read(&mut client, end);
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        }
        house.close();
    }
}

#[test]
fn draining_lets_idle_connections_go() {
    for choice in DRIVERS {
        let house = House::open(choice, snapshot(upstream(b"")));
        let mut client = house.client();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: b.example\r\n\r\n")
            .unwrap();
        read(&mut client, "\r\n\r\n");
        assert_eq!(house.close(), 0);
        assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    }
}
