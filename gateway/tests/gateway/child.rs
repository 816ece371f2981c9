//! A gateway as a child process, an origin behind it, and a client in front of it. Everything is
//! bound to port 0, everything that waits has a deadline.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Bytes of a gateway's log that a failed test shows.
const SHOWN_BYTES: usize = 3_000;

/// A directory of its own, removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sallyport-it-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Replaces a file as configuration tools do it: written aside, then renamed.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let aside = path.with_extension("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, path).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the gateway to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport-gateway"));
    command.args(arguments).output().unwrap()
}

/// Waits until something holds.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        thread::yield_now();
        thread::sleep(Duration::from_micros(500));
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) ready: String,
    log: Arc<Mutex<String>>,
}

impl Gateway {
    /// Starts one on `config`, with ephemeral ports for operators, and waits for its ready line.
    pub(crate) fn start(config: &Path, arguments: &[&str]) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_sallyport-gateway"));
        Self::start_by(command, config, arguments)
    }

    /// Starts one with these arguments alone, and waits for its ready line.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_sallyport-gateway"));
        Self::start_with(command, arguments)
    }

    /// As [`Self::start`], with no more descriptors than this.
    pub(crate) fn start_within(descriptors: u32, config: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""),
        ]);
        command.arg(env!("CARGO_BIN_EXE_sallyport-gateway"));
        Self::start_by(command, config, arguments)
    }

    fn start_by(mut command: Command, config: &Path, arguments: &[&str]) -> Self {
        command.args(["--config", config.to_str().unwrap()]);
        Self::start_with(command, arguments)
    }

    fn start_with(mut command: Command, arguments: &[&str]) -> Self {
        let mut child = command
            .args(["--admin", "127.0.0.1:0", "--status", "127.0.0.1:0"])
            .args(["--metrics", "127.0.0.1:0", "--bind-address", "127.0.0.1"])
            .args(["--debounce", "1"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let collected = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = collected.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let ready = lines.recv_timeout(DEADLINE);
        let ready = ready.unwrap_or_else(|_| panic!("not ready: {}", log.lock().unwrap()));
        assert!(ready.starts_with("ready "), "{ready}");
        Self { child, ready, log }
    }

    /// A word of the ready line.
    pub(crate) fn word(&self, name: &str) -> &str {
        let mut words = self
            .ready
            .split(' ')
            .filter_map(|word| word.split_once('='));
        words.find(|(n, _)| *n == name).unwrap().1
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.word(name).parse().unwrap()
    }

    /// Where the listener of a declared port is bound, as `/listeners` says.
    pub(crate) fn listener(&self, port: u16) -> SocketAddr {
        let name = format!("_{port}::");
        eventually("listener", || {
            let text = self.admin("/listeners");
            let line = text.lines().find(|line| line.contains(&name))?;
            line.split("::").last()?.parse().ok()
        })
    }

    /// Body of an admin page that answers 200.
    pub(crate) fn admin(&self, path: &str) -> String {
        let (status, body) = self.ask("admin", "GET", path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Status and body of a request to one of the operators' servers.
    pub(crate) fn ask(&self, server: &str, method: &str, path: &str) -> (u16, String) {
        Client::connect(self.address(server))
            .ask(&format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
    }

    pub(crate) fn generation(&self) -> serde_json::Value {
        serde_json::from_str(&self.admin("/generation")).unwrap()
    }

    pub(crate) fn generation_id(&self) -> u64 {
        self.generation()["id"].as_u64().unwrap()
    }

    /// The value of the first sample that contains all of `parts`.
    pub(crate) fn sample(&self, parts: &[&str]) -> Option<f64> {
        let (_, text) = self.ask("metrics", "GET", "/stats/prometheus");
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let line = lines.find(|line| parts.iter().all(|part| line.contains(part)))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid()])
            .status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("end of the process", || self.child.try_wait().unwrap())
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(SHOWN_BYTES);
            eprintln!(
                "--- end of the gateway's log\n{}",
                log.get(from..).unwrap_or(&log)
            );
        }
    }
}

/// An HTTP/1.1 client on one connection.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, request: &str) -> std::io::Result<()> {
        self.0.get_mut().write_all(request.as_bytes())
    }

    /// Head and body of the next answer, which must have a content-length.
    pub(crate) fn receive(&mut self) -> std::io::Result<(String, String)> {
        receive(&mut self.0)
    }

    pub(crate) fn ask(&mut self, request: &str) -> (u16, String) {
        self.send(request).unwrap();
        let (head, body) = self.receive().unwrap();
        (status(&head), body)
    }

    /// `GET` of a path at a host.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
    }

    /// Sends bytes through a connection that has left HTTP, and waits for them to come back.
    pub(crate) fn echo(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        self.0.read_exact(&mut back).unwrap();
        assert_eq!(back, bytes);
    }

    /// Whether the peer closes without sending anything more.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

/// Reads an answer from any stream.
pub(crate) fn receive(stream: &mut impl std::io::BufRead) -> std::io::Result<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok((head, String::from_utf8(body).unwrap()))
}

pub(crate) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// An origin that answers every request with its name.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// Gets a message when a request for a path that begins with `/slow` has come.
    pub(crate) arrived: Receiver<()>,
    /// A message lets one such request be answered.
    pub(crate) release: Sender<()>,
}

impl Origin {
    pub(crate) fn start(name: &'static str) -> Self {
        Self::start_at(name, (Ipv4Addr::LOCALHOST, 0).into())
    }

    pub(crate) fn start_at(name: &'static str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (arrive, arrived) = channel();
        let (release, released) = channel::<()>();
        let released = Arc::new(Mutex::new(released));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (arrive, released) = (arrive.clone(), Arc::clone(&released));
                thread::spawn(move || answer_all(stream, name, &arrive, &released));
            }
        });
        Self {
            address,
            arrived,
            release,
        }
    }
}

fn answer_all(stream: TcpStream, name: &str, arrive: &Sender<()>, released: &Mutex<Receiver<()>>) {
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    while let Ok((head, _)) = receive(&mut stream) {
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            return echo(stream);
        }
        if head.contains(" /slow") {
            let _ = arrive.send(());
            let _ = released.lock().unwrap().recv_timeout(DEADLINE);
        }
        let length = name.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}");
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Agrees to leave HTTP, then sends back what comes.
fn echo(mut stream: BufReader<TcpStream>) {
    let agreed =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut bytes = [0; 64];
    let mut length = stream.get_mut().write(agreed).map_or(0, |_| bytes.len());
    while length > 0 {
        length = stream.read(&mut bytes).unwrap_or(0);
        if stream.get_mut().write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

/// A Gateway on port 80 and the routes of `api.example.com`: `/slow` and everything else to
/// `origin`.
pub(crate) fn config(origin: SocketAddr) -> String {
    let port = origin.port();
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 80, name: http, protocol: HTTP}}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api, namespace: default}}
spec:
  hosts: [api.internal]
  ports: [{{number: 8000, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: api, namespace: default}}
spec:
  hosts: [api.example.com]
  gateways: [istio-system/gw]
  http:
  - name: all
    route: [{{destination: {{host: api.internal, port: {{number: 8000}}}}}}]
"
    )
}
