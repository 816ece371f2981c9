//! A running worker with a snapshot built by hand, origins that follow a script, and clients that
//! see every byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use sallyport_config::ir;
use tokio::sync::oneshot;

use super::super::*;
use crate::listen::{self, BindOptions, BoundAddress};
use crate::load::Load;
use crate::log::LogWriter;
use crate::rt::DriverChoice;
use crate::upstream::Commons;

/// A test ends rather than hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn origin() -> ir::Origin {
    ir::Origin {
        kind: "VirtualService",
        namespace: "test".into(),
        name: "test".into(),
        path: String::new(),
        location: String::new(),
    }
}

/// One cleartext listener that forwards everything to one endpoint.
pub(super) fn snapshot(upstream: SocketAddr) -> ir::Snapshot {
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
                http3: true,
                early_data: false,
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
            endpoints: vec![ir::Endpoint {
                address: upstream,
                workload: "up".to_owned(),
                ..ir::Endpoint::default()
            }],
            balance: ir::Balance::RoundRobin,
            connect_timeout: ir::Millis(1_000),
            idle_timeout: None,
            ..ir::Cluster::default()
        }],
        ..ir::Snapshot::default()
    }
}

/// A running worker, and where it listens.
pub(super) struct House {
    worker: WorkerHandle,
    /// Further workers behind the same door.
    others: Vec<WorkerHandle>,
    pub(super) commons: Arc<Commons>,
    pub(super) load: Arc<Load>,
    pub(super) door: SocketAddr,
    /// Why HTTP/3 is not served there.
    pub(super) without_quic: Option<String>,
}

impl House {
    pub(super) fn open(choice: DriverChoice, snapshot: ir::Snapshot) -> Self {
        Self::open_with(choice, snapshot, 1)
    }

    /// With so many workers.
    pub(super) fn open_with(choice: DriverChoice, snapshot: ir::Snapshot, workers: usize) -> Self {
        let driver = rt::probe(choice).unwrap();
        let options = BindOptions {
            default: vec![Ipv4Addr::LOCALHOST.into()],
            workers,
        };
        let mut bound = listen::bind(&snapshot.listeners[0], &options).unwrap();
        let BoundAddress::Tcp(door) = bound.addresses[0] else {
            panic!("a path instead of an address");
        };
        let (generation, problems) = Generation::build(1, Arc::new(snapshot));
        assert!(problems.is_empty(), "{problems:?}");
        let (writer, _) = LogWriter::start().unwrap();
        let generation = Arc::new(generation);
        let commons = Commons::new();
        let load = Load::new(workers, usize::MAX, None);
        let start = |(index, sockets)| {
            let worker = spawn_worker(WorkerOptions {
                load: Arc::clone(&load),
                index,
                cpu: None,
                driver: driver.clone(),
                seed: 1,
                generation: Arc::clone(&generation),
                access_log: writer.access_log(),
                commons: Arc::clone(&commons),
                news: tokio::sync::mpsc::channel(1).0,
            })
            .unwrap();
            worker.send(Command::Listen(sockets));
            worker
        };
        let mut all: Vec<_> = bound.workers.drain(..).enumerate().map(start).collect();
        WorkerHandle::introduce(&all);
        Self {
            worker: all.remove(0),
            others: all,
            without_quic: bound.without_quic.map(|error| error.to_string()),
            commons,
            load,
            door,
        }
    }

    pub(super) fn client(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.door).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client::new(stream)
    }

    pub(super) fn activate(&self, id: u64, snapshot: ir::Snapshot) {
        let (generation, _) = Generation::build(id, Arc::new(snapshot));
        let (reply, done) = oneshot::channel();
        self.worker
            .send(Command::Activate(Arc::new(generation), reply));
        done.blocking_recv().unwrap();
    }

    /// The counters of all workers.
    pub(super) fn report(&self) -> Report {
        let mut sum = Report::default();
        for worker in std::iter::once(&self.worker).chain(&self.others) {
            let (reply, report) = oneshot::channel();
            worker.send(Command::Collect(reply));
            sum.merge(report.blocking_recv().unwrap());
        }
        sum
    }

    /// Client connections open on each worker.
    pub(super) fn seats(&self) -> Vec<u64> {
        let workers = std::iter::once(&self.worker).chain(&self.others);
        let count = |worker: &WorkerHandle| {
            let (reply, report) = oneshot::channel();
            worker.send(Command::Collect(reply));
            let listeners = report.blocking_recv().unwrap().listeners;
            listeners.values().map(|listener| listener.active()).sum()
        };
        workers.map(count).collect()
    }

    /// The counters, once they are as they should be.
    pub(super) fn report_when(&self, done: impl Fn(&Report) -> bool) -> Report {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            if done(&report) {
                return report;
            }
            assert!(std::time::Instant::now() < end, "{report:?}");
            std::thread::yield_now();
        }
    }

    /// Closes a listener; its connections are to leave.
    pub(super) fn unlisten(&self, name: &str) {
        let (reply, done) = oneshot::channel();
        self.worker.send(Command::Unlisten(name.into(), reply));
        done.blocking_recv().unwrap();
    }

    /// Begins to drain; how many connections were cut is told when that is over.
    pub(super) fn start_drain(&self) -> oneshot::Receiver<usize> {
        let (reply, cut) = oneshot::channel();
        self.worker
            .send(Command::Drain(Duration::from_secs(5), reply));
        cut
    }

    pub(super) fn close(self) -> usize {
        self.drain(Duration::from_secs(5))
    }

    /// Ends the worker within this time; how many connections were cut.
    pub(super) fn drain(self, limit: Duration) -> usize {
        let (reply, cut) = oneshot::channel();
        self.worker.send(Command::Drain(limit, reply));
        let cut = cut.blocking_recv().unwrap();
        self.worker.join();
        cut
    }
}

/// An access log of a test, in a file of its own.
pub(super) struct Lines(std::path::PathBuf);

impl Lines {
    pub(super) fn new(name: &str) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("sallyport-{name}-{}-{serial}.log", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// Has the lines of a snapshot written there, in this format.
    pub(super) fn write_to(&self, snapshot: &mut ir::Snapshot, format: &str) {
        snapshot.settings.access_log = Some(ir::AccessLog {
            path: self.0.to_str().unwrap().to_owned(),
            format: ir::LogFormat::Text(format.to_owned()),
        });
    }

    /// The lines, once there are so many.
    pub(super) fn take(&self, count: usize) -> Vec<String> {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&self.0).unwrap_or_default();
            if text.lines().count() >= count {
                return text.lines().map(str::to_owned).collect();
            }
            assert!(std::time::Instant::now() < end, "{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Nothing was written when there is none.
        drop(std::fs::remove_file(&self.0));
    }
}

/// A client that reads one response after the other.
pub(super) struct Client<S> {
    pub(super) stream: S,
    seen: Vec<u8>,
    trailers: String,
}

/// What a client saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) status: u16,
    /// Status line and fields.
    pub(super) head: String,
    pub(super) body: String,
    /// The body came whole.
    pub(super) whole: bool,
}

impl<S: Read + Write> Client<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            seen: Vec::new(),
            trailers: String::new(),
        }
    }

    /// Sends a request and reads its response.
    pub(super) fn ask(&mut self, request: &[u8]) -> Seen {
        self.stream.write_all(request).unwrap();
        self.answer(!request.starts_with(b"HEAD"))
    }

    /// Reads more; `false` at the end.
    pub(super) fn more(&mut self) -> bool {
        let mut chunk = [0; 16_384];
        loop {
            match self.stream.read(&mut chunk) {
                // Another test of this process is about signals.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing came"),
                Ok(0) | Err(_) => return false,
                Ok(count) => {
                    self.seen.extend_from_slice(&chunk[..count]);
                    return true;
                }
            }
        }
    }

    /// Reads up to and including these bytes; `None` if the end comes first.
    pub(super) fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.seen.windows(end.len()).position(|w| w == end) {
                let bytes: Vec<u8> = self.seen.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn exactly(&mut self, count: usize) -> (String, bool) {
        while self.seen.len() < count && self.more() {}
        let there = count.min(self.seen.len());
        let bytes: Vec<u8> = self.seen.drain(..there).collect();
        (String::from_utf8_lossy(&bytes).into_owned(), there == count)
    }

    /// Reads one response.
    pub(super) fn answer(&mut self, with_body: bool) -> Seen {
        let head = self.until(b"\r\n\r\n").unwrap_or_default();
        let status = head.get(9..12).map_or(0, |code| code.parse().unwrap());
        let length = field(&head, "content-length").map(|text| text.parse().unwrap());
        let chunked = field(&head, "transfer-encoding").is_some();
        let bodiless = !with_body || status < 200 || status == 204 || status == 304;
        let (body, whole) = match length {
            _ if bodiless => (String::new(), true),
            Some(length) => self.exactly(length),
            None if chunked => self.chunks(),
            None => {
                while self.more() {}
                let rest = std::mem::take(&mut self.seen);
                (String::from_utf8_lossy(&rest).into_owned(), true)
            }
        };
        Seen {
            status,
            head,
            body,
            whole,
        }
    }

    fn chunks(&mut self) -> (String, bool) {
        let mut body = String::new();
        loop {
            let Some(line) = self.until(b"\r\n") else {
                return (body, false);
            };
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                return (body, self.read_trailers());
            }
            let (data, whole) = self.exactly(size + 2);
            body.push_str(data.get(..size).unwrap_or(&data));
            if !whole {
                return (body, whole);
            }
        }
    }

    fn read_trailers(&mut self) -> bool {
        self.trailers.clear();
        while let Some(line) = self.until(b"\r\n") {
            if line == "\r\n" {
                return true;
            }
            self.trailers.push_str(&line);
        }
        false
    }

    /// The trailer lines of the last response in chunks.
    pub(super) fn trailers(&self) -> &str {
        &self.trailers
    }

    /// A head, its empty line included.
    pub(super) fn head(&mut self) -> Option<String> {
        self.until(b"\r\n\r\n")
    }

    /// So many bytes; `None` if the end comes first.
    pub(super) fn whole(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.seen.len() < count {
            if !self.more() {
                return None;
            }
        }
        Some(self.seen.drain(..count).collect())
    }

    /// A chunked body of the plainest form.
    pub(super) fn whole_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            let size = usize::from_str_radix(line.strip_suffix("\r\n")?, 16).ok()?;
            let mut data = self.whole(size + 2)?;
            assert!(data.ends_with(b"\r\n"));
            data.truncate(size);
            if size == 0 {
                return Some(body);
            }
            body.append(&mut data);
        }
    }

    /// Reads the body that a head announces, trailers included; `false` if the end comes first.
    fn skip_body(&mut self, head: &str) -> bool {
        if field(head, "transfer-encoding").is_none() {
            let length = field(head, "content-length").map_or(0, |text| text.parse().unwrap());
            return self.exactly(length).1;
        }
        loop {
            let Some(size) = self.until(b"\r\n") else {
                return false;
            };
            match usize::from_str_radix(size.trim_end(), 16).unwrap() {
                0 => break,
                size if !self.exactly(size + 2).1 => return false,
                _ => {}
            }
        }
        loop {
            match self.until(b"\r\n").as_deref() {
                Some("\r\n") => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// So many bytes, whatever they are.
    pub(super) fn take(&mut self, count: usize) -> String {
        self.exactly(count).0
    }

    /// Whether the connection has been closed, with nothing left to read.
    pub(super) fn is_closed(&mut self) -> bool {
        !self.more() && self.seen.is_empty()
    }
}

/// The value of a field in a head.
pub(super) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// What an origin does after it has read a head.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Send(Vec<u8>),
    /// Closes properly.
    Close,
    /// Closes so that the peer sees a reset.
    Reset,
    /// Reads a body of this many bytes.
    Read(usize),
    /// Reads the body that the head announces, trailers included.
    Whole,
    /// Reads until the end, and answers with what was read.
    Echo,
}

/// An origin that follows a script, the same for every request.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    /// For each connection, the heads that came on it.
    pub(super) heads: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Origin {
    pub(super) fn script(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (acts, seen) = (acts.clone(), Arc::clone(&seen));
                let connection = seen.lock().unwrap().len();
                seen.lock().unwrap().push(Vec::new());
                std::thread::spawn(move || follow(stream.unwrap(), &acts, connection, &seen));
            }
        });
        Self { address, heads }
    }

    pub(super) fn answers(bytes: &str) -> Self {
        Self::script(vec![Act::Send(bytes.into())])
    }

    pub(super) fn connections(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn follow(stream: TcpStream, acts: &[Act], connection: usize, seen: &Mutex<Vec<Vec<String>>>) {
    let mut client = Client::new(stream);
    while let Some(head) = client.until(b"\r\n\r\n") {
        seen.lock().unwrap()[connection].push(head.clone());
        for act in acts {
            match act {
                Act::Send(bytes) => {
                    if client.stream.write_all(bytes).is_err() {
                        return;
                    }
                }
                Act::Close => return,
                Act::Reset => {
                    let socket = socket2::SockRef::from(&client.stream);
                    socket.set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                Act::Read(count) => {
                    client.exactly(*count);
                }
                Act::Whole if !client.skip_body(&head) => return,
                Act::Whole => {}
                Act::Echo => loop {
                    let bytes = std::mem::take(&mut client.seen);
                    if client.stream.write_all(&bytes).is_err() || !client.more() {
                        return;
                    }
                },
            }
        }
    }
}

/// Runs a test on each driver.
pub(super) fn on_each_driver(test: impl Fn(DriverChoice)) {
    for choice in [DriverChoice::Auto, DriverChoice::Epoll] {
        test(choice);
    }
}

/// A request that the rules send to the origin.
pub(super) const GET: &[u8] = b"GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n";
