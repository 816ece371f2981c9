//! Endpoints that are unix sockets.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sallyport_config::ir;

use super::support::{Client, GET, House, Lines, on_each_driver, snapshot};
use super::tcp::service;

/// A socket that nobody else has, and that goes with this; `@name` is abstract.
struct Path(String);

impl Path {
    fn new(start: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        Self(format!("{start}sallyport-socket-{process}-{serial}"))
    }

    /// Serves each connection with `serve`; how many there were.
    fn listen(&self, serve: fn(UnixStream)) -> Arc<AtomicUsize> {
        let listener = match self.0.strip_prefix('@') {
            Some(name) => UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()),
            None => UnixListener::bind(&self.0),
        };
        let (listener, count) = (listener.unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream));
            }
        });
        count
    }

    /// Everything goes there.
    fn snapshot(&self) -> ir::Snapshot {
        let mut snapshot = snapshot(ir::Endpoint::stand_in(&self.0));
        snapshot.clusters[0].endpoints[0].socket = Some(self.0.as_str().into());
        snapshot
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        // There is none of an abstract name.
        drop(std::fs::remove_file(&self.0));
    }
}

fn directory() -> String {
    format!("{}/", std::env::temp_dir().display())
}

fn answer(stream: UnixStream) {
    let mut client = Client::new(stream);
    while client.head().is_some() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix";
        if client.stream.write_all(answer).is_err() {
            return;
        }
    }
}

fn echo(mut stream: UnixStream) {
    let mut back = stream.try_clone().unwrap();
    drop(std::io::copy(&mut stream, &mut back));
    drop(back.shutdown(std::net::Shutdown::Write));
}

#[test]
fn requests_share_connections_to_a_socket_and_logs_name_its_path() {
    on_each_driver(|driver| {
        for start in [directory(), "@".to_owned()] {
            let path = Path::new(&start);
            let connections = path.listen(answer);
            let lines = Lines::new("sockets");
            let mut snapshot = path.snapshot();
            lines.write_to(
                &mut snapshot,
                "%UPSTREAM_HOST% %UPSTREAM_REMOTE_PORT% %UPSTREAM_LOCAL_ADDRESS%",
            );
            let house = House::open(driver, snapshot);
            let mut client = house.client();
            for _ in 0..3 {
                let seen = client.ask(GET);
                assert_eq!((seen.status, seen.body.as_str()), (200, "unix"));
            }
            assert_eq!(connections.load(Ordering::Relaxed), 1);
            let line = format!("{} - -", path.0);
            assert_eq!(lines.take(3), [line.clone(), line.clone(), line]);
            house.close();
        }
    });
}

#[test]
fn a_socket_that_nobody_listens_on_is_an_endpoint_that_refuses() {
    on_each_driver(|driver| {
        let path = Path::new(&directory());
        let lines = Lines::new("no-socket");
        let mut snapshot = path.snapshot();
        lines.write_to(&mut snapshot, "%RESPONSE_CODE% %RESPONSE_FLAGS%");
        let house = House::open(driver, snapshot);
        assert_eq!(house.client().ask(GET).status, 503);
        let line = lines.take(1).remove(0);
        assert!(line.starts_with("503 ") && line.contains("UF"), "{line}");
        house.close();
    });
}

#[test]
fn bytes_go_to_a_socket_and_come_back() {
    on_each_driver(|driver| {
        let path = Path::new(&directory());
        path.listen(echo);
        let lines = Lines::new("socket-bytes");
        let mut snapshot = path.snapshot();
        snapshot.listeners[0].kind = ir::ListenerKind::Plain(service(&[(0, 1)]));
        lines.write_to(&mut snapshot, "%UPSTREAM_HOST% %BYTES_SENT%");
        let house = House::open(driver, snapshot);
        let mut client = house.client().stream;
        client.write_all(b"there and back").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = String::new();
        client.read_to_string(&mut back).unwrap();
        assert_eq!(back, "there and back");
        assert_eq!(lines.take(1), [format!("{} 14", path.0)]);
        house.close();
    });
}
