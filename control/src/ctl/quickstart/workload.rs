//! A sample workload: says in JSON who it is, who calls and what it was asked. It speaks mutual TLS of
//! the mesh and nothing else, as one behind a sidecar does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::identity::identity_of;

/// Longest request head that a sample workload reads, in bytes.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// A silent connection is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A connection in mutual TLS.
type Stream = StreamOwned<ServerConnection, TcpStream>;

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
    pub(super) fn start(
        name: &'static str,
        version: &'static str,
        tls: Arc<ServerConfig>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tls = Arc::clone(&tls);
                // A failed connection is the client's loss only.
                thread::spawn(move || serve(stream, tls, name, version).ok());
            }
        });
        Ok(Self { name, address })
    }

    /// The Service and its endpoint, as a cluster would have them, and how it is called.
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
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {name}
  namespace: default
spec:
  host: {name}.default.svc.cluster.local
  trafficPolicy:
    tls:
      mode: ISTIO_MUTUAL
      subjectAltNames: [\"spiffe://cluster.local/ns/default/sa/{name}\"]
---
"
        )
    }
}

fn serve(stream: TcpStream, tls: Arc<ServerConfig>, name: &str, version: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut stream = BufReader::new(Stream::new(connection, stream));
    while let Some(request) = read_request(&mut stream)? {
        let shown = stream.get_ref().conn.peer_certificates();
        let caller = shown.and_then(|chain| identity_of(chain.first()?));
        let body = serde_json::json!({
            "service": name, "version": version, "method": request.method,
            "path": request.path, "headers": request.headers,
            "caller": caller.map(|caller| caller.to_string()),
        });
        let body = format!("{body:#}\n");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
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
fn read_request(reader: &mut BufReader<Stream>) -> io::Result<Option<Request>> {
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
