//! Applications: they answer with their name and with what they were asked, or misbehave.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::door::{Wire, head};

/// A running application; it stays until the tests end.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    name: &'static str,
    requests: AtomicUsize,
    failures: AtomicUsize,
    sick: AtomicBool,
}

impl App {
    /// Somewhere on this host.
    pub(crate) fn start(name: &'static str) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), name, None)
    }

    /// At an address, in TLS if there is a configuration.
    pub(crate) fn at(
        address: SocketAddr,
        name: &'static str,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            name,
            requests: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            sick: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                thread::spawn(move || serve(wire(stream, tls), &state));
            }
        });
        Self { address, state }
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// The next requests get 503.
    pub(crate) fn fail_next(&self, requests: usize) {
        self.state.failures.store(requests, Ordering::SeqCst);
    }

    /// What `/health` says from now on.
    pub(crate) fn is_well(&self, well: bool) {
        self.state.sick.store(!well, Ordering::SeqCst);
    }
}

impl State {
    fn fails(&self, path: &str) -> bool {
        if path == "/health" {
            return self.sick.load(Ordering::SeqCst);
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let failures = &self.failures;
        let less = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        less.is_ok()
    }
}

fn wire(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Box<dyn Wire> {
    // what is answered is small, and somebody waits for it
    let _ = stream.set_nodelay(true);
    match tls {
        None => Box::new(stream),
        Some(config) => {
            let connection = ServerConnection::new(config).unwrap();
            Box::new(StreamOwned::new(connection, stream))
        }
    }
}

/// Answers until the caller is gone, which ends with an error that is nobody's concern.
fn serve(stream: Box<dyn Wire>, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let head = head(&mut stream)?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path.starts_with("/slow") {
            // until the caller has had enough
            return stream.read(&mut [0]).map(drop);
        }
        let status = match state.fails(path) {
            true => "503 Service Unavailable",
            false => "200 OK",
        };
        let body = format!("{}\n{head}", state.name);
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
        if head
            .to_ascii_lowercase()
            .contains("\r\nconnection: close\r\n")
        {
            return Ok(());
        }
    }
}
