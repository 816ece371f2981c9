//! A gateway that is started to be attacked.

use crate::args::{Load, Siege, Wire};
use rcgen::{CertifiedKey, KeyPair};
use std::error::Error;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The only host.
pub(super) const HOST: &str = "bench.example.com";
/// What is waited for comes within this.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A running gateway.
pub(super) struct House {
    child: Child,
    directory: PathBuf,
    /// Where it is asked in clear.
    pub(super) plain: SocketAddr,
    /// The same over TLS.
    pub(super) secure: SocketAddr,
    pub(super) admin: SocketAddr,
    /// The same as URLs.
    pub(super) http: String,
    pub(super) https: String,
}

impl House {
    /// Starts one with these `connectionSettings`, and no more descriptors than this.
    pub(super) fn open(
        args: &Siege,
        driver: &str,
        origin: u16,
        settings: &str,
        descriptors: Option<u32>,
    ) -> Result<Self, Box<dyn Error>> {
        let directory = std::env::temp_dir().join(format!("siege-{}", std::process::id()));
        fs::create_dir_all(directory.join("config"))?;
        fs::write(directory.join("config/a.yaml"), config(origin, settings))?;
        let pair = pair()?;
        show(&directory, &pair)?;
        let limit = descriptors.map_or_else(String::new, |n| format!("ulimit -n {n} && "));
        let credentials = directory.join("credentials");
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
            .arg(args.bin.join("sallyport-gateway"))
            .arg("--config")
            .arg(directory.join("config"))
            .arg("--credentials")
            .arg(&credentials)
            .args(["--workers", "1", "--driver", driver, "--debounce", "1"])
            .args(["--port-map", "80=0,443=0", "--bind-address", "127.0.0.1"])
            .args([
                "--admin",
                "127.0.0.1:0",
                "--status",
                "none",
                "--metrics",
                "none",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut ready = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut ready)?;
        let word = |name: &str| {
            let mut words = ready.split_whitespace().filter_map(|w| w.split_once('='));
            words.find(|(n, _)| *n == name).map(|(_, value)| value)
        };
        let admin: SocketAddr = word("admin").ok_or("it did not start")?.parse()?;
        let listeners = ask(admin, "/listeners")?;
        let door = |port: &str| {
            let line = listeners.lines().find(|line| line.contains(port))?;
            line.rsplit("::").next()?.parse::<SocketAddr>().ok()
        };
        let plain = door("_80::").ok_or("no listener")?;
        let secure = door("_443::").ok_or("no listener")?;
        Ok(Self {
            child,
            directory,
            plain,
            secure,
            admin,
            http: format!("http://{plain}/"),
            https: format!("https://{secure}/"),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Puts another certificate in place.
    pub(super) fn rotate(&self, pair: &CertifiedKey<KeyPair>) -> io::Result<()> {
        show(&self.directory, pair)
    }

    /// Load on it, in clear.
    pub(super) fn load(&self, seconds: f64) -> Load {
        Load {
            url: self.http.clone(),
            host: Some(HOST.to_owned()),
            wire: Wire::H1,
            rate: None,
            connections: 64,
            streams: 1,
            seconds,
            warm_up: 0.3,
            fresh: false,
            resume: false,
            abandon: None,
            idle: 0,
            json: None,
        }
    }

    /// A good client that asks so often, in clear.
    pub(super) fn good(&self, rate: f64, seconds: f64) -> Load {
        Load {
            rate: Some(rate),
            connections: 8,
            ..self.load(seconds)
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// A certificate of the host.
pub(super) fn pair() -> Result<CertifiedKey<KeyPair>, rcgen::Error> {
    rcgen::generate_simple_self_signed([HOST.to_owned()])
}

/// Writes a certificate and its key, each aside and then in its place.
fn show(directory: &Path, pair: &CertifiedKey<KeyPair>) -> io::Result<()> {
    let place = directory.join("credentials/own");
    fs::create_dir_all(&place)?;
    let (chain, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    for (name, text) in [("tls.crt", chain), ("tls.key", key)] {
        let aside = directory.join(name);
        fs::write(&aside, text)?;
        fs::rename(aside, place.join(name))?;
    }
    Ok(())
}

/// Asks an administrator's page.
pub(super) fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn config(origin: u16, settings: &str) -> String {
    format!(
        "apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {{name: install, namespace: istio-system}}
spec:
  meshConfig:
    defaultConfig: {{connectionSettings: {{{settings}}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw, namespace: istio-system}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}
  - port: {{number: 443, name: https, protocol: HTTPS}}
    tls: {{mode: SIMPLE, credentialName: own}}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api, namespace: default}}
spec:
  hosts: [api.internal]
  ports: [{{number: 8000, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {origin}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: api, namespace: default}}
spec:
  hosts: [{HOST}]
  gateways: [istio-system/gw]
  http:
  - route: [{{destination: {{host: api.internal, port: {{number: 8000}}}}}}]
"
    )
}
