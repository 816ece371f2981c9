//! Asks name servers: those of the system, or those of the command line.
//!
//! The hosts file comes first. A name with a dot is asked for as it is; the search list is for names
//! without one. What is remembered is remembered by who asks, so nothing is cached here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};
use sallyport_config::ir::Millis;
use sallyport_core::discovery::Answer;
use tokio::time::timeout;

use crate::{Say, Weight};

/// A question ends after this, whatever the servers do.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// One try of one server.
const TRY_WITHIN: Duration = Duration::from_secs(2);
/// Questions under way to one server.
const ACTIVE_MAX: usize = 256;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsFamily {
    /// Those of the families that this host has a route for, as Istio does for its proxies.
    Auto,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    All,
}

impl FromStr for DnsFamily {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "v4" => Ok(Self::V4),
            "v6" => Ok(Self::V6),
            "all" => Ok(Self::All),
            _ => Err("expected auto, v4, v6 or all"),
        }
    }
}

/// A way to ask.
pub struct Resolver {
    inner: Result<TokioResolver, String>,
    v4: bool,
    v6: bool,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("v4", &self.v4)
            .field("v6", &self.v6)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// Asks these servers, or if there are none those of the system. Without any, every question
    /// fails; that is logged here, once.
    #[must_use]
    pub fn new(servers: &[SocketAddr], family: DnsFamily, say: Say) -> Self {
        let inner = build(servers).map_err(|error| error.to_string());
        if let Err(error) = &inner {
            let what = format_args!("no name server can be asked: {error}");
            say(Weight::Warn, "dns", what);
        }
        let (v4, v6) = match family {
            DnsFamily::V4 => (true, false),
            DnsFamily::V6 => (false, true),
            DnsFamily::All => (true, true),
            DnsFamily::Auto => match routes() {
                (false, false) => (true, true),
                found => found,
            },
        };
        Self { inner, v4, v6 }
    }

    /// The addresses of a lower-case name; `last` are those that it had. The second value says what
    /// went wrong, for people.
    pub async fn ask(&self, name: &str, last: &[IpAddr]) -> (Answer, Option<String>) {
        let v4 = async {
            match self.v4 {
                true => self.ask_for(name, RecordType::A).await,
                false => (Answer::Denied, None),
            }
        };
        let v6 = async {
            match self.v6 {
                true => self.ask_for(name, RecordType::AAAA).await,
                false => (Answer::Denied, None),
            }
        };
        let ((v4, why), (v6, why_v6)) = tokio::join!(v4, v6);
        (Answer::both(v4, v6, last), why.or(why_v6))
    }

    async fn ask_for(&self, name: &str, kind: RecordType) -> (Answer, Option<String>) {
        let resolver = match &self.inner {
            Ok(resolver) => resolver,
            Err(error) => return (Answer::Failed, Some(error.clone())),
        };
        let Ok(mut asked) = Name::from_utf8(name) else {
            return (Answer::Denied, Some("this is no name".to_owned()));
        };
        // Only a name without a dot may mean one of the search list.
        asked.set_fqdn(name.contains('.'));
        match timeout(ASK_WITHIN, resolver.lookup(asked, kind)).await {
            Err(_) => (Answer::Failed, Some("no answer in time".to_owned())),
            Ok(Err(error)) => (failed(&error), Some(error.to_string())),
            Ok(Ok(lookup)) => {
                let ttl = lookup.answers().iter().map(|record| record.ttl).min();
                let addresses = lookup.answers().iter();
                let addresses = addresses.filter_map(|record| record.data.ip_addr());
                let answer = Answer::Addresses {
                    addresses: addresses.collect(),
                    ttl: Millis(u64::from(ttl.unwrap_or(0)) * 1_000),
                };
                (answer, None)
            }
        }
    }
}

fn failed(error: &NetError) -> Answer {
    use hickory_resolver::net::DnsError;
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(
                none.response_code,
                ResponseCode::NXDomain | ResponseCode::NoError
            ) =>
        {
            Answer::Denied
        }
        _ => Answer::Failed,
    }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|server| {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            config.connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut config.connections {
                connection.port = server.port();
            }
            config
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = options.timeout.min(TRY_WITHIN);
    options.max_active_requests = ACTIVE_MAX;
    options.try_tcp_on_error = true;
    builder.build()
}

/// Whether the host has a route for IPv4, and for IPv6, to addresses of documentation (RFC 5737,
/// RFC 3849). Connecting a datagram socket sends nothing.
fn routes() -> (bool, bool) {
    let has = |from: SocketAddr, to: SocketAddr| {
        UdpSocket::bind(from).is_ok_and(|socket| socket.connect(to).is_ok())
    };
    let v4 = Ipv4Addr::new(192, 0, 2, 1);
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    (
        has((Ipv4Addr::UNSPECIFIED, 0).into(), (v4, 53).into()),
        has((Ipv6Addr::UNSPECIFIED, 0).into(), (v6, 53).into()),
    )
}
