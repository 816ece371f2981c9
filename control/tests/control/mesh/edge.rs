//! Our gateway as a client of the control process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread;

use super::door::Door;
use crate::child::{DEADLINE, Log, Scratch, eventually, signal};
use crate::process::Control;

/// The gateway's program, beside ours. Tests of this crate alone do not build it.
fn binary() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own = PathBuf::from(env!("CARGO_BIN_EXE_sallyport-control"));
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "sallyport-gateway"]);
        build.args(["--bin", "sallyport-gateway"]);
        assert!(
            build.status().unwrap().success(),
            "the gateway is not built"
        );
        own.with_file_name("sallyport-gateway")
    })
}

/// A running gateway; it ends with the value.
pub(crate) struct Edge {
    child: Child,
    pub(crate) scratch: Rc<Scratch>,
    flags: Vec<String>,
    admin: SocketAddr,
    pub(crate) ready: String,
    log: Log,
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.log.text());
        }
    }
}

impl Edge {
    /// One without an identity, told over the plaintext port.
    pub(crate) fn plain(control: &Control) -> Self {
        let url = format!("http://{}", control.plain);
        Self::start(
            Rc::new(Scratch::new("edge")),
            vec!["--control".to_owned(), url],
        )
    }

    /// A member of the mesh: `role` is its service account, and its label `istio` with `gateway`.
    pub(crate) fn member(control: &Control, role: &str) -> Self {
        let scratch = Rc::new(Scratch::new(role));
        let token = scratch.write("token", control.token("istio-system", role));
        let url = format!("https://127.0.0.1:{}", control.tls.port());
        let root = format!("{}/root-cert.pem", control.ca_dir());
        let labels = format!("istio={role}gateway");
        let flags = [
            ("--control", url.as_str()),
            ("--root-cert", &root),
            ("--token", &token),
            ("--service-account", role),
            ("--labels", &labels),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag, value]);
        Self::start(scratch, flags.map(str::to_owned).collect())
    }

    /// Ends, and starts again with what was kept.
    pub(crate) fn again(self) -> Self {
        let (scratch, flags) = (Rc::clone(&self.scratch), self.flags.clone());
        drop(self);
        Self::start(scratch, flags)
    }

    fn start(scratch: Rc<Scratch>, flags: Vec<String>) -> Self {
        let mut child = Command::new(binary())
            .args(&flags)
            .args(["--state-dir", &scratch.path("state")])
            .args(["--admin", "127.0.0.1:0", "--status", "none"])
            .args(["--metrics", "none", "--workers", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let ready = lines.recv_timeout(DEADLINE);
        let ready = ready.unwrap_or_else(|_| panic!("not ready: {}", log.text()));
        let mut words = ready.split(' ').filter_map(|word| word.split_once('='));
        let admin = words.find(|(name, _)| *name == "admin").unwrap().1;
        Self {
            admin: admin.parse().unwrap(),
            child,
            scratch,
            flags,
            ready,
            log,
        }
    }

    /// A page of its administration.
    pub(crate) fn page(&self, path: &str) -> String {
        Door::new(self.admin, "admin").get(path).unwrap().body
    }

    /// Looks at a page until it is as it should be.
    pub(crate) fn until(&self, path: &str, good: impl Fn(&str) -> bool) -> String {
        eventually(path, || Some(self.page(path)).filter(|page| good(page)))
    }

    /// Waits until it hears the control process.
    pub(crate) fn hears(&self) {
        self.until("/control", |page| page.contains("\"connected\": true"));
    }

    /// Asks for a new certificate.
    pub(crate) fn renew(&self) {
        signal(&self.child, "HUP");
    }

    pub(crate) fn log(&self) -> String {
        self.log.text()
    }
}
