//! The command line and the environment of the control process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use sallyport_config::ir::IpBlock;
use sallyport_issuers::DnsFamily;

/// Streams that may begin in a second when nothing is said.
const STREAMS_PER_SECOND: u32 = 500;
/// Istio's bound for `PILOT_PUSH_THROTTLE` when it is automatic.
const THROTTLE_MAX: usize = 100;

/// An address, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port(Option<SocketAddr>);

impl Port {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        self.0
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            text => match text.parse() {
                Ok(address) => Ok(Self(Some(address))),
                Err(_) => Err("give ADDRESS:PORT or `none`".to_owned()),
            },
        }
    }
}

/// Flags of `sallyport-control run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Files or directories of Istio configuration, watched
    #[arg(long, env = "SALLYPORT_CONFIG", num_args = 1.., required = true, value_name = "PATH")]
    pub(crate) config: Vec<PathBuf>,
    /// Keeps what was good last, for a restart with broken files
    #[arg(long, env = "SALLYPORT_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem; made there if there are none
    #[arg(
        long,
        env = "SALLYPORT_CA_DIR",
        value_name = "DIR",
        default_value = "/var/lib/sallyport/ca"
    )]
    pub(crate) ca_dir: PathBuf,
    /// Trust domain of all identities
    #[arg(
        long,
        env = "SALLYPORT_TRUST_DOMAIN",
        value_name = "NAME",
        default_value = "cluster.local"
    )]
    pub(crate) trust_domain: String,
    /// Suffix of the names of services
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    pub(crate) domain_suffix: String,
    /// A further name or address of this host that proxies connect to; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_name: Vec<String>,
    /// xDS without encryption or identity; without secrets
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15010")]
    pub(crate) grpc: Port,
    /// xDS and certificates, encrypted, by certificate or join token
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:15012")]
    pub(crate) grpc_tls: Port,
    /// Metrics, readiness, and debug pages for this host
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:15014")]
    pub(crate) monitoring: Port,
    /// Readiness alone
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "none")]
    pub(crate) ready: Port,
    /// A change is pushed when it has been quiet for this
    #[arg(long, env = "PILOT_DEBOUNCE_AFTER", value_name = "TIME", default_value = "100ms", value_parser = duration)]
    pub(crate) debounce_after: Duration,
    /// A change is pushed after this at the latest
    #[arg(long, env = "PILOT_DEBOUNCE_MAX", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) debounce_max: Duration,
    /// The WorkloadEntry of a registered workload stays this long without its proxy
    #[arg(long, env = "PILOT_WORKLOAD_ENTRY_GRACE_PERIOD", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) workload_entry_grace: Duration,
    #[command(flatten)]
    pub(crate) fetching: Fetching,
    /// Streams that may begin in a second
    #[arg(long, env = "PILOT_MAX_REQUESTS_PER_SECOND", value_name = "COUNT", default_value_t = STREAMS_PER_SECOND)]
    pub(crate) streams_per_second: u32,
    /// Results that are made at a time; 0 chooses by the CPUs
    #[arg(
        long,
        env = "PILOT_PUSH_THROTTLE",
        value_name = "COUNT",
        default_value_t = 0
    )]
    push_throttle: usize,
}

/// How keys of token issuers are fetched.
#[derive(Debug, Clone, Args)]
pub(crate) struct Fetching {
    /// Name servers to ask for hosts of `jwksUri`, IP:PORT [default: those of /etc/resolv.conf]
    #[arg(
        long,
        env = "SALLYPORT_DNS",
        value_name = "ADDRESS:PORT",
        value_delimiter = ','
    )]
    pub(crate) dns: Vec<SocketAddr>,
    /// Addresses to ask for: v4, v6, all, or auto for the families that this host has routes for
    #[arg(
        long,
        env = "SALLYPORT_DNS_FAMILY",
        default_value = "auto",
        value_name = "FAMILY"
    )]
    pub(crate) dns_family: DnsFamily,
    /// PEM file of authorities that servers of keys (jwksUri) may have, beside the system's
    #[arg(long, env = "SALLYPORT_JWKS_CA", value_name = "FILE")]
    pub(crate) jwks_ca: Option<PathBuf>,
    /// Internal addresses that fetches of keys may reach, e.g. 10.0.0.0/8, or all [default: none]
    #[arg(
        long,
        env = "SALLYPORT_ALLOW_PRIVATE",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    allow_private: Vec<Blocks>,
}

impl Fetching {
    /// Internal addresses that may be reached.
    pub(crate) fn allowed(&self) -> Vec<IpBlock> {
        self.allow_private
            .iter()
            .flat_map(|b| b.0.clone())
            .collect()
    }
}

/// Addresses that one word means.
#[derive(Debug, Clone)]
struct Blocks(Vec<IpBlock>);

impl FromStr for Blocks {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = match text {
            "all" => vec!["0.0.0.0/0", "::/0"],
            one => vec![one],
        };
        let blocks: Option<Vec<IpBlock>> = words.into_iter().map(IpBlock::parse).collect();
        blocks
            .map(Self)
            .ok_or("expected a block like 10.0.0.0/8, or all")
    }
}

impl Options {
    /// Results that are made at a time. Istio's rule for 0 counts requests that wait; here they
    /// compute, so more than there are CPUs would only take turns.
    pub(crate) fn push_throttle(&self) -> usize {
        match self.push_throttle {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count.min(THROTTLE_MAX),
        }
    }
}

/// A time as Istio's environment has it: `100ms`, `10s`, `1m`, `24h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(digits.len());
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("give a time such as 100ms, 10s, 5m or 24h".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} has no number"))?;
    let millis = number.checked_mul(scale).ok_or("too long")?;
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "10", "s", "1d", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!("none".parse(), Ok(Port(None)));
        assert!("15010".parse::<Port>().is_err());
    }
}
