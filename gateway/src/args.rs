//! The command line: every flag, its environment variable, its default, and what is refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use clap::builder::BoolishValueParser;

use sallyport_config::ir::IpBlock;

use crate::log::{Format, Level};
use crate::rt::DriverChoice;
use sallyport_issuers::DnsFamily;

/// Quiet time after a change of files before they are read, unless set otherwise.
const DEBOUNCE_MS: u64 = 50;
/// Most workers; a typo must not start a million threads.
const WORKERS_MAX: usize = 1_024;
/// Where name servers listen.
const DNS_PORT: u16 = 53;

const EXAMPLES: &str = "\
Examples:
  sallyport-gateway --config gateway.yaml --credentials certs/
      serve a file; certificates come from certs/<credentialName>/{tls.crt,tls.key}
  sallyport-gateway --config /etc/sallyport/ --port-map 80=8080,443=8443
      serve all files of a directory without the privilege to bind low ports
  sallyport-gateway --check --config /etc/sallyport/
      only say what is wrong with them
  sallyport-gateway --control https://control:15012 --root-cert root-cert.pem --token edge.token \
      --service-account edge --state-dir /var/lib/sallyport
      be a member of a mesh: configuration, certificates and identity come from its control process

Every flag can be given as an environment variable: --log-level is SALLYPORT_LOG_LEVEL.
Signals: TERM and INT drain and end (twice: end at once), HUP reads the files again and asks a control
process for a new certificate, USR1 opens the access log anew. USR2 is kept for hot restart, which comes
with a later release.
Exit status: 0 fine, 1 could not start or --check found errors, 2 the command line is wrong.";

/// Serves Istio Gateway and VirtualService configuration at the edge.
#[derive(Debug, Parser)]
#[command(name = "sallyport-gateway", version, after_help = EXAMPLES, max_term_width = 100)]
struct Flags {
    /// File or directory of YAML or JSON, watched; may be repeated
    #[arg(long, env = "SALLYPORT_CONFIG", value_name = "PATH", num_args = 1.., value_delimiter = ',', required_unless_present = "control")]
    config: Vec<PathBuf>,
    /// Take configuration from a control process: https://HOST:15012, or http://HOST:15010 without
    /// identity and secrets
    #[arg(
        long,
        env = "SALLYPORT_CONTROL",
        value_name = "URL",
        conflicts_with = "config"
    )]
    control: Option<String>,
    /// Roots that the control process is verified with, at first
    #[arg(long, env = "SALLYPORT_ROOT_CERT", value_name = "FILE")]
    root_cert: Option<PathBuf>,
    /// Join token (`sallyctl token create`); not needed while a kept certificate is good
    #[arg(long, env = "SALLYPORT_TOKEN", value_name = "FILE")]
    token: Option<PathBuf>,
    /// Name of this gateway, in metrics
    #[arg(
        long,
        env = "SALLYPORT_NAME",
        default_value = "istio-ingressgateway",
        value_name = "NAME"
    )]
    name: String,
    /// Namespace of this gateway: of its credentials, and for Gateways that bind by namespace
    #[arg(
        long,
        env = "SALLYPORT_NAMESPACE",
        default_value = "istio-system",
        value_name = "NS"
    )]
    namespace: String,
    /// Service account of this gateway
    #[arg(
        long,
        env = "SALLYPORT_SERVICE_ACCOUNT",
        default_value = "default",
        value_name = "NAME"
    )]
    service_account: String,
    /// Labels of this gateway: what the selectors of Gateways are compared with
    #[arg(long, env = "SALLYPORT_LABELS", default_value = "istio=ingressgateway", value_delimiter = ',', value_name = "K=V", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Cluster of this gateway, in metrics
    #[arg(
        long,
        env = "SALLYPORT_CLUSTER",
        default_value = "Kubernetes",
        value_name = "NAME"
    )]
    cluster: String,
    /// Network of this gateway
    #[arg(
        long,
        env = "SALLYPORT_NETWORK",
        default_value = "",
        value_name = "NAME"
    )]
    network: String,
    /// Where this gateway runs: region/zone/subzone
    #[arg(
        long,
        env = "SALLYPORT_LOCALITY",
        default_value = "",
        value_name = "R/Z/S"
    )]
    locality: String,
    /// Worker threads [default: one for each CPU of the affinity mask]
    #[arg(long, env = "SALLYPORT_WORKERS", value_name = "N", value_parser = workers)]
    workers: Option<usize>,
    /// What to do I/O with: auto, io_uring or epoll
    #[arg(long, env = "SALLYPORT_DRIVER", default_value = "auto", value_parser = driver, value_name = "DRIVER")]
    driver: DriverChoice,
    /// Address of the admin server, or none
    #[arg(
        long,
        env = "SALLYPORT_ADMIN",
        default_value = "127.0.0.1:15000",
        value_name = "ADDR"
    )]
    admin: Endpoint,
    /// Address of the readiness server, or none
    #[arg(
        long,
        env = "SALLYPORT_STATUS",
        default_value = "0.0.0.0:15021",
        value_name = "ADDR"
    )]
    status: Endpoint,
    /// Address of the metrics server, or none
    #[arg(
        long,
        env = "SALLYPORT_METRICS",
        default_value = "0.0.0.0:15090",
        value_name = "ADDR"
    )]
    metrics: Endpoint,
    /// Address of Gateway servers that name none [default: 0.0.0.0 and ::]
    #[arg(
        long,
        env = "SALLYPORT_BIND_ADDRESS",
        value_name = "IP",
        value_delimiter = ','
    )]
    bind_address: Vec<IpAddr>,
    /// Bind other ports than the Gateways say, e.g. 80=8080,443=8443; port 0 lets the system choose
    #[arg(long, env = "SALLYPORT_PORT_MAP", value_name = "FROM=TO", value_delimiter = ',', value_parser = port_pair)]
    port_map: Vec<(u16, u16)>,
    /// Directory with <credentialName>/{tls.crt,tls.key,ca.crt}, watched
    #[arg(long, env = "SALLYPORT_CREDENTIALS", value_name = "DIR")]
    credentials: Option<PathBuf>,
    /// Directory with cert-chain.pem, key.pem and root-cert.pem of this workload, watched
    #[arg(long, env = "SALLYPORT_IDENTITY", value_name = "DIR")]
    identity: Option<PathBuf>,
    /// Directory in which the last good configuration is kept across restarts
    #[arg(long, env = "SALLYPORT_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Name servers to ask, IP or IP:PORT [default: those of /etc/resolv.conf]
    #[arg(long, env = "SALLYPORT_DNS", value_name = "ADDR", value_delimiter = ',', value_parser = name_server)]
    dns: Vec<SocketAddr>,
    /// Addresses to ask for: v4, v6, all, or auto for the families that this host has routes for
    #[arg(
        long,
        env = "SALLYPORT_DNS_FAMILY",
        default_value = "auto",
        value_name = "FAMILY"
    )]
    dns_family: DnsFamily,
    /// PEM file of authorities that servers of keys (jwksUri) may have, beside the system's
    #[arg(long, env = "SALLYPORT_JWKS_CA", value_name = "FILE")]
    jwks_ca: Option<PathBuf>,
    /// Internal addresses that fetches of keys and DYNAMIC_DNS may reach, e.g. 10.0.0.0/8, or all [default: none]
    #[arg(long, env = "SALLYPORT_ALLOW_PRIVATE", value_name = "CIDR", value_delimiter = ',', value_parser = block)]
    allow_private: Vec<Blocks>,
    /// Memory that may be used, e.g. 512Mi, or none: near it connections are not kept and requests refused [default: the limit of the cgroup]
    #[arg(long, env = "SALLYPORT_MEMORY_LIMIT", value_name = "BYTES", value_parser = bytes)]
    memory_limit: Option<u64>,
    /// Read the configuration, say what is wrong with it, and end
    #[arg(long, env = "SALLYPORT_CHECK", value_parser = BoolishValueParser::new())]
    check: bool,
    /// Least level that is logged: error, warn, info, debug
    #[arg(
        long,
        env = "SALLYPORT_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL"
    )]
    log_level: Level,
    /// Form of log lines: text or json
    #[arg(
        long,
        env = "SALLYPORT_LOG_FORMAT",
        default_value = "text",
        value_name = "FORM"
    )]
    log_format: Format,
    /// Quiet time in milliseconds after a change of files before they are read
    #[arg(long, env = "SALLYPORT_DEBOUNCE", default_value_t = DEBOUNCE_MS, hide = true)]
    debounce: u64,
}

/// An address to serve at, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint(pub(crate) Option<SocketAddr>);

impl FromStr for Endpoint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(address) => Ok(Self(Some(address))),
            Err(_) => Err("expected IP:PORT, [IP]:PORT or none".to_owned()),
        }
    }
}

/// What the user asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Files and directories to read and watch.
    pub(crate) config: Vec<PathBuf>,
    /// Where configuration comes from instead.
    pub(crate) control: Option<ControlOptions>,
    /// Who this gateway is.
    pub(crate) node: Node,
    /// Worker threads; `None` is one for each CPU of the affinity mask.
    pub(crate) workers: Option<usize>,
    /// What to do I/O with.
    pub(crate) driver: DriverChoice,
    /// Admin server.
    pub(crate) admin: Endpoint,
    /// Readiness server.
    pub(crate) status: Endpoint,
    /// Metrics server.
    pub(crate) metrics: Endpoint,
    /// Addresses of listeners that name none.
    pub(crate) bind: Vec<IpAddr>,
    /// Ports to bind instead of those that the Gateways say.
    pub(crate) port_map: BTreeMap<u16, u16>,
    /// Directory of credentials.
    pub(crate) credentials: Option<PathBuf>,
    /// Directory of the workload's identity in the mesh.
    pub(crate) identity: Option<PathBuf>,
    /// Where the last good configuration is kept.
    pub(crate) state_dir: Option<PathBuf>,
    /// Name servers; none for the system's.
    pub(crate) dns: Vec<SocketAddr>,
    /// Which addresses are asked for.
    pub(crate) dns_family: DnsFamily,
    /// Authorities of servers of keys, beside the system's.
    pub(crate) jwks_ca: Option<PathBuf>,
    /// Internal addresses that may be reached where strangers choose the name.
    pub(crate) allow_private: Vec<IpBlock>,
    /// Bytes of memory that may be used; 0 for no limit, `None` for that of the cgroup.
    pub(crate) memory_limit: Option<u64>,
    /// Only validate.
    pub(crate) check: bool,
    /// Least level that is logged.
    pub(crate) log_level: Level,
    /// Form of log lines.
    pub(crate) log_format: Format,
    /// Quiet time after a change of files before they are read.
    pub(crate) debounce: Duration,
}

/// A control process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlOptions {
    /// Its URL.
    pub(crate) url: String,
    /// What it is verified with at first; none where it is spoken to without encryption.
    pub(crate) root_cert: Option<PathBuf>,
    /// Join token.
    pub(crate) token: Option<PathBuf>,
}

/// Who this gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Name, in metrics.
    pub(crate) name: String,
    /// Namespace.
    pub(crate) namespace: String,
    /// Service account; with the namespace it is the identity.
    pub(crate) service_account: String,
    /// Labels, which selectors of Gateways are compared with.
    pub(crate) labels: BTreeMap<String, String>,
    /// Cluster, in metrics.
    pub(crate) cluster: String,
    /// Network, empty when unknown.
    pub(crate) network: String,
    /// `region/zone/subzone`, empty when unknown.
    pub(crate) locality: String,
}

impl Options {
    /// Reads the command line and the environment. Ends the process on `--help`, `--version`
    /// (status 0) and usage errors (status 2).
    pub(crate) fn parse() -> Self {
        match Self::from_words(std::env::args_os()) {
            Ok(options) => options,
            Err(error) => error.exit(),
        }
    }

    /// As [`Self::parse`], from given words.
    ///
    /// # Errors
    /// What to print, and whether it is help or a usage error.
    fn from_words(
        words: impl IntoIterator<Item = std::ffi::OsString>,
    ) -> Result<Self, clap::Error> {
        // `run` is the only thing to do and may be left out.
        let mut words: Vec<_> = words.into_iter().collect();
        if words.get(1).is_some_and(|word| word == "run") {
            words.remove(1);
        }
        Self::from_flags(Flags::try_parse_from(words)?)
    }

    fn from_flags(flags: Flags) -> Result<Self, clap::Error> {
        let usage = |message: &str| {
            use clap::CommandFactory;
            Flags::command().error(clap::error::ErrorKind::ValueValidation, message)
        };
        let control = control(flags.control, flags.root_cert, flags.token);
        let control = control.map_err(usage)?;
        if control.is_some() && flags.check {
            return Err(usage("--check looks at files: give them with --config"));
        }
        let mut port_map = BTreeMap::new();
        for (from, to) in flags.port_map {
            if port_map.insert(from, to).is_some() {
                return Err(usage(&format!("--port-map names port {from} twice")));
            }
        }
        let bind = if flags.bind_address.is_empty() {
            vec![
                IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED),
                IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED),
            ]
        } else {
            flags.bind_address
        };
        Ok(Self {
            config: flags.config,
            control,
            node: Node {
                name: flags.name,
                namespace: flags.namespace,
                service_account: flags.service_account,
                labels: flags.labels.into_iter().collect(),
                cluster: flags.cluster,
                network: flags.network,
                locality: flags.locality,
            },
            workers: flags.workers,
            driver: flags.driver,
            admin: flags.admin,
            status: flags.status,
            metrics: flags.metrics,
            bind,
            port_map,
            credentials: flags.credentials,
            identity: flags.identity,
            state_dir: flags.state_dir,
            dns: flags.dns,
            dns_family: flags.dns_family,
            jwks_ca: flags.jwks_ca,
            allow_private: flags.allow_private.into_iter().flat_map(|b| b.0).collect(),
            memory_limit: flags.memory_limit,
            check: flags.check,
            log_level: flags.log_level,
            log_format: flags.log_format,
            debounce: Duration::from_millis(flags.debounce),
        })
    }
}

/// Where configuration comes from, if not from files.
fn control(
    url: Option<String>,
    root_cert: Option<PathBuf>,
    token: Option<PathBuf>,
) -> Result<Option<ControlOptions>, &'static str> {
    let Some(url) = url else {
        return match root_cert.is_some() || token.is_some() {
            true => Err("--root-cert and --token are for --control"),
            false => Ok(None),
        };
    };
    let encrypted = url.starts_with("https://");
    if !encrypted && !url.starts_with("http://") {
        return Err("--control is http://HOST:PORT or https://HOST:PORT");
    }
    if encrypted && root_cert.is_none() {
        return Err("--control https://… needs --root-cert FILE: the mesh's root");
    }
    if !encrypted && (root_cert.is_some() || token.is_some()) {
        return Err("--root-cert and --token are for --control https://…");
    }
    Ok(Some(ControlOptions {
        url,
        root_cert,
        token,
    }))
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

fn port_pair(text: &str) -> Result<(u16, u16), String> {
    let pair = text.split_once('=');
    match pair.map(|(from, to)| (from.parse(), to.parse())) {
        Some((Ok(from), Ok(to))) => Ok((from, to)),
        _ => Err("expected FROM=TO, two ports".to_owned()),
    }
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=WORKERS_MAX) => Ok(n),
        _ => Err(format!("expected 1..={WORKERS_MAX}")),
    }
}

/// A number of bytes, with the suffixes that Kubernetes has for memory; `none` is 0.
fn bytes(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];
    let unit = units
        .iter()
        .find_map(|(suffix, size)| Some((text.strip_suffix(suffix)?, *size)));
    let (number, size) = unit.unwrap_or((text, 1));
    let number: Option<u64> = number.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(size));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected bytes like 268435456, 256Mi or 1Gi, or none".to_owned())
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse().ok();
    let address = with_port.or_else(|| Some((text.parse::<IpAddr>().ok()?, DNS_PORT).into()));
    address.ok_or_else(|| "expected IP, IP:PORT or [IP]:PORT".to_owned())
}

/// One word of `--allow-private`.
#[derive(Debug, Clone)]
struct Blocks(Vec<IpBlock>);

fn block(text: &str) -> Result<Blocks, String> {
    let words = if text == "all" {
        vec!["0.0.0.0/0", "::/0"]
    } else {
        vec![text]
    };
    let blocks: Option<Vec<IpBlock>> = words.into_iter().map(IpBlock::parse).collect();
    blocks
        .map(Blocks)
        .ok_or_else(|| "expected a block like 10.0.0.0/8, or all".to_owned())
}

fn driver(text: &str) -> Result<DriverChoice, String> {
    match text {
        "auto" => Ok(DriverChoice::Auto),
        "io_uring" => Ok(DriverChoice::IoUring),
        "epoll" => Ok(DriverChoice::Epoll),
        _ => Err("expected auto, io_uring or epoll".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("sallyport-gateway").chain(line.split_whitespace());
        Options::from_words(words.map(Into::into)).map_err(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })
    }

    #[test]
    fn the_command_is_sound() {
        use clap::CommandFactory;
        Flags::command().debug_assert();
        for argument in Flags::command().get_arguments() {
            let flag = argument.get_long().unwrap();
            let variable = format!("SALLYPORT_{}", flag.to_uppercase().replace('-', "_"));
            if !["help", "version"].contains(&flag) {
                assert_eq!(argument.get_env(), Some(variable.as_ref()), "--{flag}");
            }
        }
    }

    #[test]
    fn run_may_be_left_out_and_lists_may_be_long() {
        for line in [
            "run --config a b --port-map 80=0,443=0 --config c",
            "--config a --config b,c --port-map 80=0 --port-map 443=0",
        ] {
            let options = parse(line).unwrap();
            assert_eq!(options.config, ["a", "b", "c"].map(PathBuf::from));
            assert_eq!(options.port_map, BTreeMap::from([(80, 0), (443, 0)]));
            assert_eq!(options.bind.len(), 2);
            assert_eq!(options.admin.0, Some("127.0.0.1:15000".parse().unwrap()));
        }
        let options = parse("--config a --admin none --status [::1]:0").unwrap();
        assert_eq!(options.admin.0, None);
        assert_eq!(options.memory_limit, None);
        for (text, bytes) in [("256Mi", 256 << 20), ("7", 7), ("none", 0)] {
            let options = parse(&format!("--config a --memory-limit {text}")).unwrap();
            assert_eq!(options.memory_limit, Some(bytes));
        }
        assert_eq!(options.status.0, Some("[::1]:0".parse().unwrap()));
    }

    #[test]
    fn usage_errors_say_what_was_expected() {
        for (line, said) in [
            ("", "--config"),
            ("--config a --workers 0", "expected 1..="),
            ("--config a --driver kqueue", "io_uring or epoll"),
            ("--config a --admin 15000", "expected IP:PORT"),
            ("--config a --port-map 80", "expected FROM=TO"),
            ("--config a --port-map 80=1,80=2", "names port 80 twice"),
            ("--config a --labels istio", "expected KEY=VALUE"),
            ("--config a --log-level loud", "debug"),
            ("--config a --dns localhost", "expected IP"),
            ("--config a --allow-private 10", "expected a block"),
            ("--config a --memory-limit 0", "expected bytes"),
            ("--config a --memory-limit 1GB", "expected bytes"),
            ("--config a --dns-family v5", "auto, v4, v6 or all"),
            ("--control c:15010", "http://HOST:PORT"),
            ("--control https://c:15012", "needs --root-cert"),
            ("--control http://c:15010 --token a", "https://"),
            ("--config a --root-cert a", "for --control"),
            (
                "--control http://c:15010 --check",
                "give them with --config",
            ),
            ("--control http://c:15010 --config a", "cannot be used with"),
            ("--config a --sulphur", "--sulphur"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
