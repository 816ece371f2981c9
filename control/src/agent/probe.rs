//! The probe of a WorkloadGroup, run where the workload is: Kubernetes' readiness probes.

use std::time::Duration;

use sallyport_config::api::workload_group::{HttpHeader, HttpHealthCheck, ReadinessProbe};
use sallyport_wire::health;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

/// What is known of the workload's health; nothing until enough probes agree.
pub(super) type Health = Option<Result<(), String>>;

/// Where the workload is unless the probe says otherwise.
const HERE: &str = "127.0.0.1";
/// Bytes of an answer that are read: the status line is enough.
const ANSWER_BYTES_MAX: u64 = 1_024;

/// Times and counts of a probe, with Kubernetes' defaults.
struct Pace {
    delay: Duration,
    period: Duration,
    within: Duration,
    successes: u32,
    failures: u32,
}

impl Pace {
    fn of(probe: &ReadinessProbe) -> Self {
        let or = |value: i32, default: u32| match u32::try_from(value) {
            Ok(value) if value > 0 => value,
            _ => default,
        };
        let seconds = |value: i32, default| Duration::from_secs(or(value, default).into());
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            within: seconds(probe.timeout_seconds, 1),
            successes: or(probe.success_threshold, 1),
            failures: or(probe.failure_threshold, 3),
        }
    }
}

/// Probes for ever, whatever the group asks for at the time. `may_run` allows commands, which the
/// control process chooses.
pub(super) async fn run(
    mut probes: watch::Receiver<Option<ReadinessProbe>>,
    health: watch::Sender<Health>,
    may_run: bool,
) {
    loop {
        let probe = probes.borrow_and_update().clone();
        let probing = async {
            match &probe {
                Some(probe) => follow(probe, &health, may_run).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = probing => {}
            changed = probes.changed() => if changed.is_err() { return },
        }
    }
}

/// Probes in intervals, and says when the verdict changes.
async fn follow(probe: &ReadinessProbe, health: &watch::Sender<Health>, may_run: bool) {
    let pace = Pace::of(probe);
    sleep(pace.delay).await;
    let (mut good, mut bad) = (0u32, 0u32);
    loop {
        let looked = timeout(pace.within, look(probe, may_run)).await;
        let looked = looked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        match &looked {
            Ok(()) => (good, bad) = (good.saturating_add(1), 0),
            Err(_) => (good, bad) = (0, bad.saturating_add(1)),
        }
        if good >= pace.successes || bad >= pace.failures {
            health.send_if_modified(|known| {
                let same = known.as_ref().map(Result::is_ok) == Some(looked.is_ok());
                *known = Some(looked);
                !same
            });
        }
        sleep(pace.period).await;
    }
}

/// One look; why it failed.
async fn look(probe: &ReadinessProbe, may_run: bool) -> Result<(), String> {
    if let Some(http) = &probe.http_get {
        return ask(http).await;
    }
    if let Some(tcp) = &probe.tcp_socket {
        return connect(&tcp.host, tcp.port).await.map(drop);
    }
    if let Some(grpc) = &probe.grpc {
        return serves(grpc.port, &grpc.service).await;
    }
    match &probe.exec {
        Some(exec) if may_run => command(&exec.command).await,
        Some(_) => Err("commands are not run here: --exec-probes allows it".to_owned()),
        None => Ok(()),
    }
}

async fn connect(host: &str, port: u32) -> Result<TcpStream, String> {
    let host = if host.is_empty() { HERE } else { host };
    let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
    let connected = TcpStream::connect((host, port)).await;
    connected.map_err(|error| format!("{host}:{port}: {error}"))
}

/// Any status from 200 to 399 is health.
async fn ask(http: &HttpHealthCheck) -> Result<(), String> {
    if http.scheme.eq_ignore_ascii_case("https") {
        return Err("a probe over HTTPS is not run: use tcpSocket or HTTP".to_owned());
    }
    let mut stream = connect(&http.host, http.port).await?;
    let path = if http.path.is_empty() {
        "/"
    } else {
        &http.path
    };
    let host = if http.host.is_empty() {
        HERE
    } else {
        &http.host
    };
    let mut head = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n");
    let names_host = |header: &HttpHeader| header.name.eq_ignore_ascii_case("host");
    if !http.http_headers.iter().any(names_host) {
        head.push_str(&format!("host: {host}\r\n"));
    }
    for header in &http.http_headers {
        head.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    head.push_str("\r\n");
    let mut answer = Vec::new();
    let asked = async {
        stream.write_all(head.as_bytes()).await?;
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await
    };
    asked.await.map_err(|error| error.to_string())?;
    let status = answer.get(9..12).and_then(|s| std::str::from_utf8(s).ok());
    match status.and_then(|status| status.parse::<u16>().ok()) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("{path} answers {status}")),
        None => Err(format!("{path} does not answer as HTTP does")),
    }
}

async fn serves(port: u32, service: &str) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{HERE}:{port}"));
    let endpoint = endpoint.map_err(|error| error.to_string())?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| error.to_string())?;
    match health::serves(channel, service).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{service:?} does not serve")),
        Err(status) => Err(format!("{}: {}", status.code(), status.message())),
    }
}

async fn command(words: &[String]) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    let ended = command.status().await;
    let ended = ended.map_err(|error| format!("{program}: {error}"))?;
    match ended.success() {
        true => Ok(()),
        false => Err(format!("{program}: {ended}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_config::api::workload_group::{ExecHealthCheck, GrpcHealthCheck, TcpHealthCheck};
    use tokio::net::TcpListener;

    fn http(port: u16, path: &str) -> ReadinessProbe {
        ReadinessProbe {
            http_get: Some(HttpHealthCheck {
                port: port.into(),
                path: path.to_owned(),
                ..HttpHealthCheck::default()
            }),
            ..ReadinessProbe::default()
        }
    }

    /// A server that answers `/good` with 204 and all else with 503.
    async fn server() -> u16 {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 512];
                let length = stream.read(&mut head).await.unwrap();
                let good = head[..length].starts_with(b"GET /good ");
                let answer = if good { "204 No Content" } else { "503 No" };
                let text = format!("HTTP/1.1 {answer}\r\n\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn every_kind_of_probe_tells_health_from_its_absence() {
        let port = server().await;
        let closed = TcpListener::bind((HERE, 0)).await.unwrap();
        let free = closed.local_addr().unwrap().port();
        drop(closed);
        assert_eq!(look(&http(port, "/good"), false).await, Ok(()));
        let sick = look(&http(port, "/sick"), false).await.unwrap_err();
        assert_eq!(sick, "/sick answers 503");
        let tcp = |port: u16| ReadinessProbe {
            tcp_socket: Some(TcpHealthCheck {
                port: port.into(),
                ..TcpHealthCheck::default()
            }),
            ..ReadinessProbe::default()
        };
        assert_eq!(look(&tcp(port), false).await, Ok(()));
        assert!(look(&tcp(free), false).await.is_err());
        let grpc = ReadinessProbe {
            grpc: Some(GrpcHealthCheck {
                port: free.into(),
                ..GrpcHealthCheck::default()
            }),
            ..ReadinessProbe::default()
        };
        assert!(look(&grpc, false).await.is_err());
        let exec = |word: &str| ReadinessProbe {
            exec: Some(ExecHealthCheck {
                command: vec![word.to_owned()],
            }),
            ..ReadinessProbe::default()
        };
        assert_eq!(look(&exec("true"), true).await, Ok(()));
        assert!(look(&exec("false"), true).await.is_err());
        let forbidden = look(&exec("true"), false).await.unwrap_err();
        assert!(forbidden.contains("--exec-probes"), "{forbidden}");
    }

    #[tokio::test]
    async fn a_verdict_needs_as_many_looks_as_the_probe_says() {
        let port = server().await;
        let probe = |path: &str| ReadinessProbe {
            period_seconds: 1,
            failure_threshold: 1,
            ..http(port, path)
        };
        let (probes, receiver) = watch::channel(Some(probe("/good")));
        let (sender, mut health) = watch::channel(None);
        tokio::spawn(run(receiver, sender, false));
        health.changed().await.unwrap();
        assert_eq!(*health.borrow_and_update(), Some(Ok(())));
        probes.send_replace(Some(probe("/sick")));
        health.changed().await.unwrap();
        assert!(matches!(*health.borrow_and_update(), Some(Err(_))));
    }
}
