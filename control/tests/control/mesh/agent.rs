//! Agents, each with a real Envoy.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use super::door::Door;
use crate::child::{Log, Scratch, eventually, signal, stop};
use crate::envoy;
use crate::process::Control;

/// Ports of an agent at its address.
const ADMIN: u16 = 15_000;
const STATUS: u16 = 15_021;

/// Who joins, and as what.
#[derive(Clone)]
pub(crate) struct Join {
    namespace: String,
    account: String,
    address: String,
    flags: Vec<String>,
}

impl Join {
    /// A workload of a service account at an address, where nobody else is.
    pub(crate) fn new(namespace: &str, account: &str, address: String) -> Self {
        let join = Self {
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            flags: Vec::new(),
            address: address.clone(),
        };
        let labels = format!("app={account}");
        join.with(&["--address", &address, "--outbound-address", &address])
            .with(&["--labels", &labels])
    }

    /// Further flags.
    pub(crate) fn with(mut self, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        self.flags.extend(flags);
        self
    }

    /// An application behind a port of it.
    pub(crate) fn serving(self, port: u16, app: SocketAddr) -> Self {
        let ports = format!("{port}={}", app.port());
        self.with(&["--app-port", &ports])
    }

    /// Joins with a token.
    pub(crate) fn start(self, control: &Control) -> Agent {
        let scratch = Rc::new(Scratch::new(&self.account));
        scratch.write("token", control.token(&self.namespace, &self.account));
        self.again(control, &scratch)
    }

    /// Joins with what is there.
    pub(crate) fn again(self, control: &Control, scratch: &Rc<Scratch>) -> Agent {
        let at = |port: u16| format!("{}:{port}", self.address);
        let url = format!("https://127.0.0.1:{}", control.tls.port());
        let root = format!("{}/root-cert.pem", control.ca_dir());
        let (token, state, run) = (
            scratch.path("token"),
            scratch.path("state"),
            scratch.path("run"),
        );
        let mut child = Command::new(env!("CARGO_BIN_EXE_sallyport-control"))
            .args(["agent", "--control", &url, "--root-cert", &root])
            .args(["--token", &token, "--namespace", &self.namespace])
            .args(["--service-account", &self.account])
            .args(["--state-dir", &state, "--run-dir", &run])
            .args(["--admin", &at(ADMIN), "--status", &at(STATUS)])
            .args(["--drain-time", "100ms"])
            .args(&self.flags)
            .arg("--")
            .arg(envoy::binary())
            .args(["--concurrency", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Agent {
            log: Log::of(child.stderr.take().unwrap()),
            scratch: Rc::clone(scratch),
            child,
            join: self,
        }
    }
}

/// A running agent; it ends with the value, and its Envoy with it.
pub(crate) struct Agent {
    pub(crate) child: Child,
    pub(crate) scratch: Rc<Scratch>,
    join: Join,
    log: Log,
}

impl Drop for Agent {
    fn drop(&mut self) {
        // asked, not killed: it ends its Envoy
        stop(&mut self.child);
        if std::thread::panicking() {
            eprintln!(
                "--- the agent of {}\n{}",
                self.join.account,
                self.log.text()
            );
        }
    }
}

impl Agent {
    fn door(&self, port: u16) -> Door {
        let address = format!("{}:{port}", self.join.address);
        Door::new(address.parse().unwrap(), "agent")
    }

    /// Waits until its Envoy serves.
    pub(crate) fn ready(&self) {
        self.door(STATUS).until("/healthz/ready", Some(200));
    }

    /// A page of Envoy's administration.
    pub(crate) fn page(&self, path: &str) -> String {
        let answer = self.door(ADMIN).get(path);
        answer.map(|answer| answer.body).unwrap_or_default()
    }

    /// Looks at a page until it is as it should be.
    pub(crate) fn until(&self, path: &str, good: impl Fn(&str) -> bool) {
        eventually(path, || good(&self.page(path)).then_some(()));
    }

    /// Asks for a new certificate.
    pub(crate) fn renew(&self) {
        signal(&self.child, "HUP");
    }

    /// Starts it again with what it has kept.
    pub(crate) fn again(&self, control: &Control) -> Self {
        self.join.clone().again(control, &self.scratch)
    }
}
