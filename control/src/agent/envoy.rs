//! The Envoy that the agent starts, watches and drains.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::args::Options;
use super::bootstrap;
use crate::{log, private};

/// Envoy must say where its administration is within this.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How often that is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A call to the administration must be answered within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Envoy must end within this after it was told to.
const END_WITHIN: Duration = Duration::from_secs(5);

/// The process. It is killed when the agent goes away without draining it.
pub(super) struct Envoy(Child);

impl Envoy {
    /// Starts it.
    pub(super) fn start(options: &Options, bootstrap: &Path) -> Result<Self, String> {
        let (program, own) = options.envoy.split_first().ok_or("no Envoy is named")?;
        let run_dir = bootstrap.parent().unwrap_or_else(|| Path::new("."));
        let admin_file = bootstrap::admin_file(run_dir);
        // one of a run before would be taken for this one's
        let _ = std::fs::remove_file(&admin_file);
        let child = Command::new(program)
            .arg("--config-path")
            .arg(bootstrap)
            .arg("--admin-address-path")
            .arg(admin_file)
            .args(["--use-dynamic-base-id", "--drain-strategy", "immediate"])
            .args(["--log-level", "warning"])
            .args(own)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let child =
            child.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        Ok(Self(child))
    }

    /// Where its administration is, once it says so.
    pub(super) async fn admin(&mut self, run_dir: &Path) -> Result<SocketAddr, String> {
        let file = bootstrap::admin_file(run_dir);
        let end = Instant::now() + START_WITHIN;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(format!("Envoy ended: {status}"));
            }
            if let Some(address) = private::read(&file)
                .ok()
                .and_then(|t| t.trim().parse().ok())
            {
                return Ok(address);
            }
            sleep(LOOK_EVERY).await;
        }
        Err("Envoy does not say where its administration is".to_owned())
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) -> String {
        match self.0.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Lets connections end for a while, then ends it.
    pub(super) async fn drain(
        &mut self,
        within: Duration,
        admin: SocketAddr,
    ) -> Result<(), String> {
        log::info("agent", format_args!("draining for {} s", within.as_secs()));
        for path in ["/healthcheck/fail", "/drain_listeners?graceful"] {
            if let Err(error) = call(admin, "POST", path).await {
                log::warn("agent", format_args!("{path}: {error}"));
            }
        }
        if timeout(within, self.0.wait()).await.is_err() {
            let _ = call(admin, "POST", "/quitquitquit").await;
        }
        if timeout(END_WITHIN, self.0.wait()).await.is_err() {
            let killed = self.0.kill().await;
            killed.map_err(|error| format!("cannot end Envoy: {error}"))?;
        }
        Ok(())
    }
}

/// Calls Envoy's administration: the status of the answer.
pub(super) async fn call(admin: SocketAddr, method: &str, path: &str) -> Result<u16, String> {
    let calling = async {
        let mut stream = TcpStream::connect(admin).await?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(ANSWER_WITHIN, calling).await;
    let answer = answer
        .map_err(|_| "no answer")?
        .map_err(|e| e.to_string())?;
    let status = answer.get(9..12).and_then(|s| std::str::from_utf8(s).ok());
    status
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| "no status".to_owned())
}
