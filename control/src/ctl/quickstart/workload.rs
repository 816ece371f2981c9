//! A sample workload: says in JSON who it is and what it was asked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Longest request head that a sample workload reads, in bytes.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// A silent connection is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A running workload.
pub(super) struct Workload {
    name: &'static str,
    address: SocketAddr,
}

impl Workload {
    /// Serves on a free port of this host until the program ends.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(super) fn start(name: &'static str, version: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A failed connection is the client's loss only.
                thread::spawn(move || serve(stream, name, version).ok());
            }
        });
        Ok(Self { name, address })
    }

    /// The Service and its endpoint, as a cluster would have them.
    pub(super) fn yaml(&self) -> String {
        let Self { name, address } = self;
        let (ip, port) = (address.ip(), address.port());
        format!(
            "apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default
spec:
  ports:
    - name: http
      port: 8080
      targetPort: {port}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: default
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
  - name: http
    port: {port}
endpoints:
  - addresses: [\"{ip}\"]
    conditions:
      ready: true
---
"
        )
    }
}

fn serve(stream: TcpStream, name: &str, version: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader)? {
        let body = serde_json::json!({
            "service": name, "version": version, "method": request.method,
            "path": request.path, "headers": request.headers,
        });
        let body = format!("{body:#}\n");
        write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    headers: serde_json::Map<String, serde_json::Value>,
}

/// One request, its body dropped; `None` at the end of the connection. The gateway in front has
/// already refused what is malformed, so this reads in the simplest way.
fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(HEAD_BYTES_MAX);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let mut headers = serde_json::Map::new();
    loop {
        let mut field = String::new();
        if head.read_line(&mut field)? == 0 || field.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = field.trim_end().split_once(':') {
            headers.insert(name.to_owned(), value.trim().into());
        }
    }
    let length = headers
        .get("content-length")
        .and_then(|value| value.as_str());
    if let Some(length) = length.and_then(|text| text.parse().ok()) {
        io::copy(&mut reader.take(length), &mut io::sink())?;
    }
    Ok(Some(Request {
        method,
        path,
        headers,
    }))
}
