//! A place to call, in cleartext or TLS, and what comes back.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::child::{DEADLINE, eventually};

/// Bytes both ways.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A place to call under a name.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    host: String,
    tls: Option<Arc<ClientConfig>>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Who answered: applications say their name first.
    pub(crate) fn by(&self) -> &str {
        self.body.lines().next().unwrap_or_default()
    }
}

impl Door {
    pub(crate) fn new(address: SocketAddr, host: &str) -> Self {
        Self {
            address,
            host: host.to_owned(),
            tls: None,
        }
    }

    /// The same in TLS.
    pub(crate) fn tls(self, config: Arc<ClientConfig>) -> Self {
        Self {
            tls: Some(config),
            ..self
        }
    }

    pub(crate) fn connect(&self) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&self.address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Wire> = match &self.tls {
            None => Box::new(stream),
            Some(config) => {
                let name = self.host.clone().try_into().map_err(io::Error::other)?;
                let connection = ClientConnection::new(Arc::clone(config), name);
                Box::new(StreamOwned::new(
                    connection.map_err(io::Error::other)?,
                    stream,
                ))
            }
        };
        Ok(Client {
            host: self.host.clone(),
            stream: BufReader::new(stream),
        })
    }

    /// The answer to a request on a connection of its own, if there is one.
    pub(crate) fn get(&self, path: &str) -> Option<Answer> {
        self.get_with(path, "")
    }

    /// The same with further fields, a line each.
    pub(crate) fn get_with(&self, path: &str, fields: &str) -> Option<Answer> {
        let fields = format!("{fields}connection: close\r\n");
        self.connect().ok()?.ask(path, &fields).ok()
    }

    /// The status of an answer; none if there is no answer.
    pub(crate) fn status(&self, path: &str) -> Option<u16> {
        self.get(path).map(|answer| answer.status)
    }

    /// Calls until it is answered like this; `None` is no answer at all.
    pub(crate) fn until(&self, path: &str, status: Option<u16>) {
        let mut last = None;
        eventually(&format!("{status:?} for {}{path}", self.host), || {
            last = self.status(path);
            (last == status).then_some(())
        });
    }

    /// Calls until somebody answers.
    pub(crate) fn until_by(&self, name: &str) {
        eventually(&format!("{} answers for {}", name, self.host), || {
            let answer = self.get("/")?;
            (answer.status == 200 && answer.by() == name).then_some(())
        });
    }
}

/// A connection that stays.
pub(crate) struct Client {
    host: String,
    stream: BufReader<Box<dyn Wire>>,
}

impl Client {
    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, path: &str, fields: &str) -> io::Result<Answer> {
        let host = &self.host;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.stream.get_mut().flush()?;
        let head = head(&mut self.stream)?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let body = body(&mut self.stream, &head.to_ascii_lowercase())?;
        Ok(Answer {
            status: status.ok_or_else(|| io::Error::other(head.clone()))?,
            head,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// A head with its empty line.
pub(crate) fn head(stream: &mut BufReader<Box<dyn Wire>>) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// The body that belongs to a head in small letters.
fn body(stream: &mut BufReader<Box<dyn Wire>>, head: &str) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
    if let Some(length) = length.and_then(|length| length.trim().parse().ok()) {
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
        return Ok(body);
    }
    if !head.contains("\r\ntransfer-encoding: chunked\r\n") {
        stream.read_to_end(&mut body)?;
        return Ok(body);
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..length]);
        if length == 0 {
            return Ok(body);
        }
    }
}
