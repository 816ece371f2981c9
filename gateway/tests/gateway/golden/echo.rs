//! Origins that keep what reached them, exactly as it came: each address of a case is one.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::child::DEADLINE;

/// Fields of every answer, beside the framing. Response rules are told from what becomes of them.
pub(super) const FIELDS: [(&str, &str); 2] = [("server", "echo"), ("x-echo", "kept")];

/// A request as an origin received it.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// The origin that was reached.
    pub(super) at: SocketAddr,
    pub(super) method: String,
    pub(super) target: String,
    /// Field lines in order, names in lower case.
    pub(super) lines: Vec<(String, String)>,
}

impl Arrival {
    /// Values of a field, one for each line.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter(|(n, _)| n == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }
}

/// The origins of a case.
pub(super) struct Origins(Arc<Mutex<Vec<Arrival>>>);

impl Origins {
    /// Binds all addresses, or none.
    pub(super) fn start(addresses: &BTreeSet<SocketAddr>) -> std::io::Result<Self> {
        let bound: Result<Vec<_>, _> = addresses.iter().map(TcpListener::bind).collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for listener in bound? {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let seen = Arc::clone(&seen);
                    thread::spawn(move || serve(stream, &seen));
                }
            });
        }
        Ok(Self(seen))
    }

    /// What came with a mark, in order.
    pub(super) fn arrivals(&self, mark: &str) -> Vec<Arrival> {
        let seen = self.0.lock().unwrap();
        let marked = seen
            .iter()
            .filter(|a| a.values("user-agent").contains(&mark));
        marked.cloned().collect()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Arrival>>) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let at = stream.local_addr().unwrap();
    let mut stream = BufReader::new(stream);
    while let Some(arrival) = receive(at, &mut stream) {
        let head = arrival.method == "HEAD";
        let body = at.to_string();
        seen.lock().unwrap().push(arrival);
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in FIELDS {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str("\r\n");
        if !head {
            answer.push_str(&body);
        }
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request, without judging it: what a proxy made of it is what the test is about.
fn receive(at: SocketAddr, stream: &mut BufReader<TcpStream>) -> Option<Arrival> {
    let line = |stream: &mut BufReader<TcpStream>| {
        let mut text = String::new();
        stream.read_line(&mut text).ok()?;
        text.strip_suffix("\r\n").map(str::to_owned)
    };
    let first = line(stream)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut lines = Vec::new();
    loop {
        let text = line(stream)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':')?;
        lines.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = lines.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some(Arrival {
        at,
        method,
        target,
        lines,
    })
}
