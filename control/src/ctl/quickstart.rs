//! `sallyctl quickstart`: the guide's public gateway on this host, in one command.
//!
//! Writes the example's own YAML, a certificate, a mesh with two sample workloads and a path that
//! asks for a token into a temporary directory, starts the gateway on it, and prints what to try.
//! Everything it made goes away with it.

mod certificates;
mod mesh;
mod visitor;
mod workload;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Outcome, Trouble};
use mesh::Mesh;
use visitor::Visitor;
use workload::Workload;

/// The guide's example, as it is.
const EXAMPLE: &str = include_str!("../../../deploy/examples/gateway-and-virtualservice.yaml");
/// Hosts of the example.
const HOSTS: [&str; 2] = ["api.example.com", "app.example.com"];
/// How long the gateway may take to say that it serves.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the gateway may take to finish its requests and to write its log.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Ports tried first; any free port if taken.
const PORTS_WANTED: (u16, u16) = (8080, 8443);

/// Arguments of `quickstart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Quickstart {
    /// Port for HTTP on 127.0.0.1 (default: 8080, or any free port if taken)
    #[arg(long, value_name = "PORT")]
    http: Option<u16>,
    /// Port for HTTPS on 127.0.0.1 (default: 8443, or any free port if taken)
    #[arg(long, value_name = "PORT")]
    https: Option<u16>,
    /// The gateway's program (default: the one beside sallyctl)
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
    /// Directory for the files; it must not exist yet (default: a temporary one)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs until interrupted. Writes to standard output as things happen, not at the end.
pub(super) fn run(arguments: &Quickstart) -> Result<Outcome, Trouble> {
    let played = Stage::set_up(arguments).and_then(Stage::play);
    played.map_err(|error| Trouble::new(format!("quickstart: {error}")))
}

/// A directory that goes away with its owner.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // Nothing to be done if it fails: the directory may be gone already.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Everything that runs: dropped in this order, the gateway first.
struct Stage {
    gateway: Running,
    directory: Directory,
    ready: String,
    ports: (u16, u16),
    token: String,
}

/// The gateway's process; stopped when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has had its chance to drain; errors mean that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stage {
    fn set_up(arguments: &Quickstart) -> io::Result<Self> {
        let path = arguments.dir.clone().unwrap_or_else(|| {
            std::env::temp_dir().join(format!("sallyport-quickstart-{}", std::process::id()))
        });
        fs::create_dir(&path).map_err(|error| at(&path, &error))?;
        let directory = Directory(path);
        let ports = (
            choose(arguments.http, PORTS_WANTED.0)?,
            choose(arguments.https, PORTS_WANTED.1)?,
        );
        let token = write_configuration(&directory.0)?;
        let (gateway, ready) = start(arguments, &directory.0, ports)?;
        Ok(Self {
            gateway,
            directory,
            ready,
            ports,
            token,
        })
    }

    /// Says what to try, then waits for an interrupt or for the gateway's end.
    fn play(mut self) -> io::Result<Outcome> {
        let mut out = io::stdout();
        write!(out, "{}", self.instructions())?;
        out.flush()?;
        let (sender, interrupted) = mpsc::channel();
        let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
        let mut signals = signal_hook::iterator::Signals::new(signals)?;
        thread::spawn(move || {
            for _ in signals.forever() {
                // The receiver is gone only when the program is ending anyway.
                let _ = sender.send(());
            }
        });
        loop {
            if interrupted.recv_timeout(Duration::from_millis(200)).is_ok() {
                self.stop();
                writeln!(out, "\nstopped; nothing is left behind")?;
                return Ok(Outcome::Clean);
            }
            if let Some(status) = self.gateway.0.try_wait()? {
                return Err(io::Error::other(format!("the gateway has ended: {status}")));
            }
        }
    }

    /// Asks the gateway to end and gives it a while; what is left is killed when dropped.
    fn stop(&mut self) {
        const QUIT: &[u8] = b"POST /quitquitquit HTTP/1.1\r\nhost: localhost\r\n\
            content-length: 0\r\nconnection: close\r\n\r\n";
        let admin = field(&self.ready, "admin").map(TcpStream::connect);
        let asked = admin.is_some_and(|stream| stream.and_then(|mut s| s.write_all(QUIT)).is_ok());
        let end = Instant::now() + STOP_TIMEOUT;
        while asked && Instant::now() < end && matches!(self.gateway.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn instructions(&self) -> String {
        let (http, https) = self.ports;
        let directory = self.directory.0.display();
        let curl =
            format!("curl --cacert {directory}/ca.pem --resolve api.example.com:{https}:127.0.0.1");
        let admin = field(&self.ready, "admin").unwrap_or("none");
        format!(
            "The public gateway of the guide serves on this host ({driver}).\n\n\
             Try, in another terminal:\n\n\
             # /v2/ is rewritten to / and goes to api-v2\n  {curl} https://api.example.com:{https}/v2/x\n\n\
             # /v1/ goes to api-v1 as it is\n  {curl} https://api.example.com:{https}/v1/x\n\n\
             # everything else goes to api-v2\n  {curl} https://api.example.com:{https}/other\n\n\
             # /v1/private asks for a token: 403 without, and the workload's answer with this one\n  \
             {curl} -i https://api.example.com:{https}/v1/private\n  \
             {curl} -H 'authorization: Bearer {token}' https://api.example.com:{https}/v1/private/x\n\n\
             # HTTP is redirected to HTTPS\n  curl -i -H 'host: api.example.com' http://127.0.0.1:{http}/v2/x\n\n\
             # a host that nobody serves: 404, flag NR in the log below\n  curl -i --cacert {directory}/ca.pem \
             --resolve app.example.com:{https}:127.0.0.1 https://app.example.com:{https}/\n\n\
             # why a request goes where it goes\n  curl -s 'http://{admin}/explain?method=GET&url=https://api.example.com/v2/x'\n\n\
             The workloads speak mutual TLS and nothing else: `caller` in their answers is the gateway's identity.\n\
             Configuration: {directory}/config (edit a file: the change is live at once)\n\
             Administration: http://{admin}/help\n\
             Ctrl-C stops everything and leaves nothing behind. The access log follows.\n\n",
            driver = field(&self.ready, "driver").unwrap_or("unknown driver"),
            token = self.token,
        )
    }
}

/// A port that was asked for, or the wanted one if it is free, or any.
fn choose(asked: Option<u16>, wanted: u16) -> io::Result<u16> {
    if let Some(port) = asked {
        return Ok(port);
    }
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr();
    let address = free(wanted).or_else(|_| free(0))?;
    Ok(address.port())
}

/// Writes all files; gives the token that a path asks for.
fn write_configuration(directory: &Path) -> io::Result<String> {
    let config = directory.join("config");
    fs::create_dir(&config)?;
    let issued = certificates::issue(&HOSTS).map_err(io::Error::other)?;
    fs::write(directory.join("ca.pem"), issued.root)?;
    fs::write(config.join("gateway-and-virtualservice.yaml"), EXAMPLE)?;
    fs::write(config.join("mesh.yaml"), MESH)?;
    let secret = secret_yaml(&issued.chain, &issued.key);
    write_private(&config.join("secret.yaml"), &secret)?;
    let mesh = Mesh::new(&directory.join("ca"))?;
    mesh.write_gateway(&directory.join("identity"))?;
    let mut workloads = String::new();
    for (name, version) in [("api-v1", "v1"), ("api-v2", "v2")] {
        let workload = Workload::start(name, version, mesh.server(name)?)?;
        workloads.push_str(&workload.yaml());
    }
    fs::write(config.join("workloads.yaml"), workloads)?;
    let visitor = Visitor::new()?;
    fs::write(config.join("visitors.yaml"), visitor.yaml)?;
    Ok(visitor.token)
}

/// The access log goes to standard output, as the guide's installation asks for.
const MESH: &str = "apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata:
  name: quickstart
spec:
  meshConfig:
    accessLogFile: /dev/stdout
";

fn secret_yaml(chain: &str, key: &str) -> String {
    let indent = |pem: &str| {
        pem.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: tls-cert-secret\n  namespace: istio-system\n\
         type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indent(chain),
        indent(key)
    )
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// Starts the gateway and waits for its `ready` line; later lines go to standard output.
fn start(
    arguments: &Quickstart,
    directory: &Path,
    ports: (u16, u16),
) -> io::Result<(Running, String)> {
    let program = match &arguments.gateway {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("sallyport-gateway"),
    };
    let mut child = Command::new(&program)
        .arg("--config")
        .arg(directory.join("config"))
        .arg("--identity")
        .arg(directory.join("identity"))
        .args(["--port-map", &format!("80={},443={}", ports.0, ports.1)])
        .args(["--bind-address", "127.0.0.1", "--admin", "127.0.0.1:0"])
        .args(["--status", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| at(&program, &error))?;
    let output = child.stdout.take();
    let running = Running(child);
    let (sender, ready) = mpsc::channel();
    thread::spawn(move || relay(output, &sender));
    match ready.recv_timeout(START_TIMEOUT) {
        Ok(line) => Ok((running, line)),
        Err(_) => Err(io::Error::other(
            "the gateway did not say that it is ready; see its messages above",
        )),
    }
}

/// Passes the gateway's output on, the `ready` line to `sender` and the rest to standard output.
fn relay(output: Option<std::process::ChildStdout>, sender: &mpsc::Sender<String>) {
    let Some(output) = output else { return };
    let mut stdout = io::stdout();
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        let passed = if line.starts_with("ready ") {
            sender.send(line).map_err(io::Error::other)
        } else {
            writeln!(stdout, "{line}")
        };
        if passed.is_err() {
            return;
        }
    }
}

/// `value` of `name=value` in the ready line.
fn field<'a>(ready: &'a str, name: &str) -> Option<&'a str> {
    ready
        .split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
