//! Origins that keep what reached them, exactly as it came: each address of a case is one.

#[path = "referee.rs"]
mod referee;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sallyport_core::proxy_protocol::parse;

use crate::child::DEADLINE;

/// Fields of every answer, beside the framing. Response rules are told from what becomes of them.
pub(super) const FIELDS: [(&str, &str); 2] = [("server", "echo"), ("x-echo", "kept")];

/// Where an authorizer over HTTP is asked: an origin that is asked there is one.
const CHECK: &str = "/check/";
/// Field by which a call says with which status it shall be refused.
pub(super) const REFUSE: &str = "x-refuse";
/// What authorizers say to whom they refuse.
pub(super) const REFUSAL: &str = "refused";

/// The answer of an authorizer over HTTP.
fn judged(refuse: Option<&str>) -> String {
    match refuse {
        None => "HTTP/1.1 200 OK\r\nx-judged: yes\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Some(status) => format!(
            "HTTP/1.1 {status} No\r\nx-why: said so\r\ncontent-length: {}\r\n\r\n{REFUSAL}",
            REFUSAL.len()
        ),
    }
}

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

/// HTTP, behind TLS when the peer begins with a handshake.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Arrival>>) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let at = stream.local_addr().unwrap();
    let Some(stream) = behind_header(stream) else {
        return;
    };
    let mut first = [0; 3];
    while first[0] == 0 || first.starts_with(b"P") && first[2] == 0 {
        if !matches!(stream.peek(&mut first), Ok(1..)) {
            return;
        }
    }
    if first == *b"PRI" {
        http2(at, stream, seen);
    } else if first[0] == 22 {
        let connection = ServerConnection::new(tls()).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        answer_all(at, &mut stream, seen);
        let mut stream = stream.into_inner();
        stream.conn.send_close_notify();
        // The peer may have gone already.
        drop(stream.flush());
    } else {
        answer_all(at, &mut BufReader::new(stream), seen);
    }
}

/// The connection without the PROXY header that it may begin with.
fn behind_header(mut stream: TcpStream) -> Option<TcpStream> {
    let mut bytes = [0; 512];
    loop {
        let count = stream.peek(&mut bytes).ok().filter(|count| *count > 0)?;
        match parse(&bytes[..count]) {
            Ok(None) => thread::yield_now(),
            Ok(Some(header)) => {
                assert!(header.ends.is_some(), "a client that is not named");
                stream.read_exact(&mut bytes[..header.len]).ok()?;
                return Some(stream);
            }
            Err(_) => return Some(stream),
        }
    }
}

/// HTTP/2, by prior knowledge.
fn http2(at: SocketAddr, stream: TcpStream, seen: &Mutex<Vec<Arrival>>) {
    stream.set_nonblocking(true).unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    // A peer that goes away in the middle is no news.
    let _: Result<(), h2::Error> = runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let mut connection = h2::server::handshake(stream).await?;
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request?;
            if request.uri().path() == referee::METHOD {
                // its body comes by the connection, which must be driven on
                tokio::spawn(referee::answer(request, respond));
                continue;
            }
            seen.lock().unwrap().push(arrival(at, &request));
            let mut answer = http::Response::builder();
            for (name, value) in FIELDS {
                answer = answer.header(name, value);
            }
            let body = at.to_string();
            let answer = answer
                .header("content-length", body.len())
                .body(())
                .unwrap();
            let head = request.method() == http::Method::HEAD;
            let mut send = respond.send_response(answer, head)?;
            if !head {
                send.send_data(body.into(), true)?;
            }
        }
        Ok(())
    });
}

fn arrival<B>(at: SocketAddr, request: &http::Request<B>) -> Arrival {
    let uri = request.uri();
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let mut lines: Vec<_> = request.headers().iter().map(field).collect();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    lines.push(("host".to_owned(), authority.to_owned()));
    Arrival {
        at,
        method: request.method().to_string(),
        target: uri.path_and_query().unwrap().to_string(),
        lines,
    }
}

/// A certificate that nobody trusts.
fn tls() -> Arc<ServerConfig> {
    static MADE: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let make = || {
        let made = rcgen::generate_simple_self_signed(["echo.test".to_owned()]).unwrap();
        let key = made.signing_key.serialize_der();
        let key = PrivateKeyDer::Pkcs8(key.into());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key);
        Arc::new(config.unwrap())
    };
    Arc::clone(MADE.get_or_init(make))
}

fn answer_all<S: Read + Write>(
    at: SocketAddr,
    stream: &mut BufReader<S>,
    seen: &Mutex<Vec<Arrival>>,
) {
    while let Some(arrival) = receive(at, stream) {
        let head = arrival.method == "HEAD";
        let last = arrival.values("connection") == ["close"];
        if arrival.target.starts_with(CHECK) {
            let said = judged(arrival.values(REFUSE).first().copied());
            if stream.get_mut().write_all(said.as_bytes()).is_err() {
                return;
            }
            continue;
        }
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
        let sent = stream.get_mut().write_all(answer.as_bytes());
        if sent.is_err() || last {
            return;
        }
    }
}

/// The next request, without judging it: what a proxy made of it is what the test is about.
fn receive<S: Read>(at: SocketAddr, stream: &mut BufReader<S>) -> Option<Arrival> {
    let line = |stream: &mut BufReader<S>| {
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
