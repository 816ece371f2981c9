//! A small HTTP/1.1 server for operators, probes and scrapers: bounded in every direction, and
//! independent of the data path, so that it answers when that does not.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::log::Throttle;

/// Connections at a time and server; further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a request.
const FIELDS_MAX: usize = 64;
/// Bytes of a request body. Bodies are read and ignored: arguments are in the query.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// A request must be complete within this, and so must the wait for the next one.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// An answer must be taken within this.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Wait for a refused peer to stop sending.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after a failed accept: out of descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Method as sent.
    pub(crate) method: String,
    /// Path, undecoded, without query.
    pub(crate) path: String,
    /// Query parameters in order, decoded; a parameter without `=` has an empty value.
    pub(crate) query: Vec<(String, String)>,
    /// It comes from a web page: it has an `origin`, or says that it is cross-site.
    pub(crate) from_page: bool,
    keep_alive: bool,
    body_bytes: usize,
}

impl Request {
    /// The first value of a query parameter.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        pairs.find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether `?format=json` was asked for.
    pub(crate) fn wants_json(&self) -> bool {
        self.argument("format") == Some("json")
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status.
    pub(crate) status: u16,
    /// Content type.
    pub(crate) content_type: &'static str,
    /// Body.
    pub(crate) body: String,
    /// Methods that would be understood, for 405.
    pub(crate) allow: &'static str,
}

impl Answer {
    /// Text.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
            allow: "",
        }
    }

    /// JSON, indented as Envoy does it.
    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self {
            content_type: "application/json",
            // The alternate form is indented, and cannot fail.
            ..Self::text(200, format!("{value:#}\n"))
        }
    }
}

/// What answers requests.
pub(crate) trait Service: 'static {
    /// Answers one request.
    fn answer(&self, request: &Request) -> impl Future<Output = Answer>;
}

static FAILED: Throttle = Throttle::new();

/// Serves until the task is dropped. Belongs into a `LocalSet`.
pub(crate) async fn serve<S: Service>(listener: TcpListener, service: Rc<S>) {
    let places = Rc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Rc::clone(&places).acquire_owned_local().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = Rc::clone(&service);
                tokio::task::spawn_local(async move {
                    // A peer that breaks off is its own affair.
                    let _ = connection(stream, &*service).await;
                    drop(place);
                });
            }
            Err(error) => {
                FAILED.warn("admin", format_args!("cannot accept: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A semaphore whose permits live in one thread.
trait LocalAcquire {
    async fn acquire_owned_local(self) -> Result<Place, tokio::sync::AcquireError>;
}

/// A place among the connections; free again when dropped.
struct Place(Rc<Semaphore>);

impl LocalAcquire for Rc<Semaphore> {
    async fn acquire_owned_local(self) -> Result<Place, tokio::sync::AcquireError> {
        self.acquire().await?.forget();
        Ok(Place(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

async fn connection<S: Service>(mut stream: TcpStream, service: &S) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let read = timeout(READ_WITHIN, read_request(&mut stream, &mut buffer)).await;
        let request = match read {
            Err(_) | Ok(Ok(None)) => return Ok(()),
            Ok(Err(Refusal::Lost(error))) => return Err(error),
            Ok(Err(Refusal::Answer(status))) => {
                write(&mut stream, &Answer::text(status, ""), false, false).await?;
                return linger(stream).await;
            }
            Ok(Ok(Some(request))) => request,
        };
        let answer = service.answer(&request).await;
        let head_only = request.method == "HEAD";
        write(&mut stream, &answer, head_only, request.keep_alive).await?;
        if !request.keep_alive {
            break;
        }
    }
    stream.shutdown().await
}

/// Closes so that the peer gets the answer: bytes that nobody reads would reset the connection.
async fn linger(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut chunk = [0; 4096];
    let drain = async { while stream.read(&mut chunk).await.is_ok_and(|length| length > 0) {} };
    // A peer that goes on for longer has had its answer.
    let _ = timeout(LINGER, drain).await;
    Ok(())
}

/// Why there is no request.
#[derive(Debug)]
enum Refusal {
    /// The connection broke.
    Lost(io::Error),
    /// Say this and close.
    Answer(u16),
}

/// Reads a head and skips its body. `None`: the peer closed between two requests.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Result<Option<Request>, Refusal> {
    let (head_bytes, request) = loop {
        if let Some(parsed) = parse(buffer)? {
            break parsed;
        }
        if buffer.len() >= HEAD_BYTES_MAX {
            return Err(Refusal::Answer(431));
        }
        if !read_more(stream, buffer).await? {
            return Ok(None);
        }
    };
    let total = head_bytes + request.body_bytes;
    while buffer.len() < total {
        if !read_more(stream, buffer).await? {
            return Ok(None);
        }
    }
    buffer.drain(..total);
    Ok(Some(request))
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<bool, Refusal> {
    let mut chunk = [0; 4096];
    let length = stream.read(&mut chunk).await.map_err(Refusal::Lost)?;
    buffer.extend_from_slice(chunk.get(..length).unwrap_or_default());
    Ok(length > 0)
}

/// A complete head and its length; `None` when more bytes are needed.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Request)>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::Answer(431)),
        Err(_) => return Err(Refusal::Answer(400)),
    };
    let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or("/"));
    let value = |name: &str| {
        let mut fields = head.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| field.value.trim_ascii())
    };
    if value("transfer-encoding").is_some() {
        return Err(Refusal::Answer(411));
    }
    let body_bytes = match value("content-length") {
        None => 0,
        Some(digits) => match std::str::from_utf8(digits).map(str::parse) {
            Ok(Ok(length @ 0..=BODY_BYTES_MAX)) => length,
            Ok(Ok(_)) => return Err(Refusal::Answer(413)),
            _ => return Err(Refusal::Answer(400)),
        },
    };
    let says = |name, words: &[&[u8]]| {
        value(name).is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
    };
    let keep_alive = if head.version == Some(1) {
        !says("connection", &[b"close"])
    } else {
        says("connection", &[b"keep-alive"])
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.split('&').filter_map(parameter).collect(),
        from_page: value("origin").is_some() || says("sec-fetch-site", &[b"cross-site"]),
        keep_alive,
        body_bytes,
    };
    Ok(Some((length, request)))
}

fn parameter(text: &str) -> Option<(String, String)> {
    if text.is_empty() {
        return None;
    }
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some((decode(name), decode(value)))
}

/// Form decoding: `+` is a space, `%XX` an octet; what is not UTF-8 then is replaced.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octet = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = octet {
            bytes.push(high << 4 | low);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

async fn write(
    stream: &mut TcpStream,
    answer: &Answer,
    head_only: bool,
    keep_alive: bool,
) -> io::Result<()> {
    let Answer {
        status,
        content_type,
        body,
        allow,
    } = answer;
    let length = body.len();
    let reason = reason(*status);
    let mut message = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\
         cache-control: no-cache, max-age=0\r\nx-content-type-options: nosniff\r\n"
    );
    if !allow.is_empty() {
        message.push_str("allow: ");
        message.push_str(allow);
        message.push_str("\r\n");
    }
    if !keep_alive {
        message.push_str("connection: close\r\n");
    }
    message.push_str("\r\n");
    if !head_only {
        message.push_str(body);
    }
    match timeout(WRITE_WITHIN, stream.write_all(message.as_bytes())).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;
    impl Service for Echo {
        async fn answer(&self, request: &Request) -> Answer {
            Answer::text(
                200,
                format!("{} {} {:?}", request.method, request.path, request.query),
            )
        }
    }

    /// Sends bytes, then half-closes, and gives everything that comes back.
    fn talk(bytes: &[u8]) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let exchange = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            tokio::task::spawn_local(serve(listener, Rc::new(Echo)));
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut out = Vec::new();
            timeout(READ_WITHIN, stream.read_to_end(&mut out))
                .await
                .unwrap()
                .unwrap();
            String::from_utf8(out).unwrap()
        };
        tokio::task::LocalSet::new().block_on(&runtime, exchange)
    }

    #[test]
    fn requests_follow_each_other_on_a_connection() {
        let out = talk(
            b"GET /a?x=1&y=%2F+b&z HTTP/1.1\r\nHost: a\r\n\r\n\
              POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
              HEAD /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(out.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{out}");
        assert!(out.contains(r#"GET /a [("x", "1"), ("y", "/ b"), ("z", "")]"#));
        assert!(out.contains("POST /b []"));
        assert!(
            out.ends_with("connection: close\r\n\r\n"),
            "HEAD has no body"
        );
    }

    #[test]
    fn bad_requests_are_refused_and_the_connection_closed() {
        for (bytes, status) in [
            ("GARBAGE\r\n\r\n".to_owned(), 400),
            (
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                411,
            ),
            (
                "GET / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n".to_owned(),
                413,
            ),
            (
                "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(),
                400,
            ),
            (
                format!(
                    "GET / HTTP/1.1\r\nA: {}\r\n\r\n",
                    "x".repeat(HEAD_BYTES_MAX + 5_000)
                ),
                431,
            ),
            (
                format!(
                    "GET / HTTP/1.1\r\n{}\r\n",
                    "a: b\r\n".repeat(FIELDS_MAX + 1)
                ),
                431,
            ),
        ] {
            let out = talk(bytes.as_bytes());
            assert!(out.starts_with(&format!("HTTP/1.1 {status} ")), "{out}");
            assert!(out.contains("connection: close"), "{out}");
        }
        assert_eq!(talk(b"GET / HT"), "");
    }

    #[test]
    fn percent_signs_that_mean_nothing_stay() {
        assert_eq!(decode("%2fa%zz%4"), "/a%zz%4");
        assert_eq!(decode("%ff"), "\u{fffd}");
    }
}
