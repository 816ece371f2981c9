//! A running control process, clients that call it, and an identity to call with.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use sallyport_wire::envoy::envoy::config::core::v3::Node;
use sallyport_wire::envoy::google::protobuf::{Struct, Value, value::Kind};
use sallyport_wire::istio_ca::{IstioCertificateRequest, create_certificate};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::child::{DEADLINE, eventually, signal};
use crate::mesh::Door;
use crate::support::{Dir, files, sallyctl};

/// Whatever is waited for comes within this.
pub(crate) const WITHIN: Duration = DEADLINE;

/// The process; it ends with the value.
pub(crate) struct Control {
    child: Child,
    dir: Dir,
    flags: Vec<String>,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) monitoring: SocketAddr,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Control {
    /// Starts it with a directory of these files, on ports of its own.
    pub(crate) fn start(list: &[(&str, &str)]) -> Self {
        Self::start_flagged(list, &[])
    }

    /// The same with another time of quiet before a change is taken.
    pub(crate) fn start_with(list: &[(&str, &str)], quiet: &str) -> Self {
        Self::start_flagged(list, &["--debounce-after", quiet])
    }

    /// The same with further flags.
    pub(crate) fn start_flagged(list: &[(&str, &str)], flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let dir = files(list);
        let root = dir.path();
        std::fs::create_dir_all(format!("{root}/mesh")).unwrap();
        let (child, (plain, tls, monitoring)) = spawn(root, None, &flags);
        Self {
            child,
            dir,
            flags,
            plain,
            tls,
            monitoring,
        }
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        let ports = (self.plain, self.tls, self.monitoring);
        let (child, found) = spawn(self.dir.path(), Some(ports), &self.flags);
        self.child = child;
        assert_eq!(found, ports);
    }

    /// Tells it to read its files again.
    pub(crate) fn reload(&self) {
        signal(&self.child, "HUP");
    }

    /// Writes a file of the configuration as tools do it: aside, then renamed. Nobody sees half.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let root = self.dir.path();
        let aside = format!("{root}/aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, format!("{root}/mesh/{name}")).unwrap();
    }

    /// Forgets what was good last.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(format!("{}/state", self.dir.path())).unwrap();
    }

    /// Directory of the CA.
    pub(crate) fn ca_dir(&self) -> String {
        format!("{}/ca", self.dir.path())
    }

    /// What it keeps for a restart.
    pub(crate) fn state(&self, name: &str) -> String {
        format!("{}/state/{name}", self.dir.path())
    }

    /// A join token.
    pub(crate) fn token(&self, namespace: &str, account: &str) -> String {
        let ended = sallyctl(&[
            "token",
            "create",
            "--namespace",
            namespace,
            "--service-account",
            account,
            "--ca-dir",
            &self.ca_dir(),
        ]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.trim().to_owned()
    }

    /// A channel to the plaintext port.
    pub(crate) async fn plaintext(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.plain)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// A channel to the encrypted port, with a certificate or without.
    pub(crate) async fn encrypted(&self, identity: Option<&Workload>) -> Channel {
        self.endpoint(identity).connect().await.unwrap()
    }

    /// The same, connected by the first call.
    pub(crate) fn encrypted_lazily(&self, identity: &Workload) -> Channel {
        self.endpoint(Some(identity)).connect_lazy()
    }

    fn endpoint(&self, identity: Option<&Workload>) -> Endpoint {
        let root = std::fs::read_to_string(format!("{}/root-cert.pem", self.ca_dir())).unwrap();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(root))
            .domain_name("localhost");
        let tls = match identity {
            Some(workload) => tls.identity(Identity::from_pem(&workload.chain, &workload.key)),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", self.tls)).unwrap();
        endpoint.tls_config(tls).unwrap()
    }

    /// A certificate by token.
    pub(crate) async fn join(&self, namespace: &str, account: &str) -> Workload {
        let (key, csr) = request();
        let channel = self.encrypted(None).await;
        let chain = certify(channel, &csr, Some(&self.token(namespace, account)))
            .await
            .unwrap();
        let chain = chain[..chain.len() - 1].concat();
        Workload { key, chain }
    }

    /// A page of the monitoring port.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.monitoring)
            .await
            .unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// Looks at a page until it is as it should be, and blocks meanwhile.
    pub(crate) fn wait(&self, path: &str, good: impl Fn(&str) -> bool) -> String {
        let door = Door::new(self.monitoring, "control");
        eventually(path, || {
            let page = door.get(path)?;
            Some(page.body).filter(|page| good(page))
        })
    }

    /// Looks at a page until it is as it should be.
    pub(crate) async fn until(&self, path: &str, good: impl Fn(&str) -> bool) -> String {
        let end = tokio::time::Instant::now() + WITHIN;
        loop {
            let (_, body) = self.get(path).await;
            if good(&body) {
                return body;
            }
            assert!(tokio::time::Instant::now() < end, "{path} stays: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Addresses of xDS, encrypted xDS, and monitoring.
type Ports = (SocketAddr, SocketAddr, SocketAddr);

/// Starts the process in a directory; the line that it prints says where it is.
fn spawn(root: &str, ports: Option<Ports>, flags: &[String]) -> (Child, Ports) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (plain, tls, monitoring) = ports.unwrap_or((any, any, any));
    let mut child = Command::new(env!("CARGO_BIN_EXE_sallyport-control"))
        .args(["run", "--config", &format!("{root}/mesh")])
        .args(["--ca-dir", &format!("{root}/ca")])
        .args(["--state-dir", &format!("{root}/state")])
        .args(["--grpc", &plain.to_string(), "--grpc-tls", &tls.to_string()])
        .args(["--monitoring", &monitoring.to_string()])
        .args(["--workload-entry-grace", "200ms"])
        .env("PILOT_DEBOUNCE_AFTER", "10ms")
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let port = |name: &str| {
        let field = line.split_whitespace().find_map(|f| f.strip_prefix(name));
        assert!(field.is_some(), "it does not start: {line}");
        field.unwrap().parse().unwrap()
    };
    let ports = (port("grpc="), port("grpc-tls="), port("monitoring="));
    (child, ports)
}

/// A key with its certificate.
pub(crate) struct Workload {
    pub(crate) key: String,
    pub(crate) chain: String,
}

/// A new key and its signing request.
pub(crate) fn request() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    (key.serialize_pem(), csr.pem().unwrap())
}

/// Asks for a certificate.
pub(crate) async fn certify(
    channel: Channel,
    csr: &str,
    token: Option<&str>,
) -> Result<Vec<String>, Status> {
    let mut request = Request::new(IstioCertificateRequest {
        csr: csr.to_owned(),
        ..IstioCertificateRequest::default()
    });
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
    }
    Ok(create_certificate(channel, request).await?.cert_chain)
}

/// A node of a workload.
pub(crate) fn node(kind: &str, namespace: &str, account: &str) -> Node {
    let text = |text: &str| Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let fields = [
        ("NAMESPACE", text(namespace)),
        ("SERVICE_ACCOUNT", text(account)),
    ];
    Node {
        id: format!("{kind}~127.0.0.1~{account}-1.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct {
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        }),
        ..Node::default()
    }
}
