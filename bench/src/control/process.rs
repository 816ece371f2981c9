//! The control process as a child.

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The process; it ends with the value.
pub(super) struct Process {
    child: Child,
    grpc: SocketAddr,
    tls: SocketAddr,
    bin: PathBuf,
    authority: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it on `directory/mesh`, on ports of its own.
    pub(super) fn start(bin: &Path, directory: &Path) -> Result<Self, Box<dyn Error>> {
        let authority = directory.join("ca");
        let mut child = Command::new(bin.join("sallyport-control"))
            .arg("run")
            .arg("--config")
            .arg(directory.join("mesh"))
            .arg("--ca-dir")
            .arg(&authority)
            .args(["--grpc", "127.0.0.1:0", "--grpc-tls", "127.0.0.1:0"])
            .args(["--monitoring", "none", "--streams-per-second", "10000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = child.stdout.take().ok_or("it has no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let port = |name: &str| {
            let field = line.split_whitespace().find_map(|f| f.strip_prefix(name));
            field.and_then(|text| text.parse().ok())
        };
        let (grpc, tls) = (port("grpc="), port("grpc-tls="));
        let (grpc, tls) = grpc.zip(tls).ok_or("it does not start")?;
        Ok(Self {
            child,
            grpc,
            tls,
            bin: bin.to_owned(),
            authority,
        })
    }

    pub(super) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    pub(super) fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// The root of its authority, as PEM.
    pub(super) fn root(&self) -> Result<String, Box<dyn Error>> {
        Ok(fs::read_to_string(self.authority.join("root-cert.pem"))?)
    }

    /// A join token.
    pub(super) fn token(&self) -> Result<String, Box<dyn Error>> {
        let output = Command::new(self.bin.join("sallyctl"))
            .args(["token", "create", "--namespace", "ns0"])
            .args(["--service-account", "s0", "--ca-dir"])
            .arg(&self.authority)
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Resident memory, in millions of bytes.
    pub(super) fn rss_mb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024 / 1_000_000
    }
}
