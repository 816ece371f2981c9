//! Endpoints with names: what answers of DNS mean for clusters, and when to ask again.
//!
//! As Envoy's STRICT_DNS and LOGICAL_DNS, with two differences that keep traffic flowing: a failed
//! question is asked again after a second, then less and less often; and "no such name" must be said
//! several times before addresses that worked are given up.

use sallyport_config::ir::{Cluster, Discovery, Endpoint, Millis};
use std::net::{IpAddr, SocketAddr};

/// Addresses of one name that are used; an answer with more is cut.
pub const ADDRESSES_MAX: usize = 1_024;
/// An answer is good for at least this, whatever it says itself: a name server must not be able to
/// keep the gateway busy.
pub const TTL_MIN: Millis = Millis(1_000);
/// An answer is good for at most this: a mistake must end on its own.
pub const TTL_MAX: Millis = Millis(3_600_000);
/// The first question after a failure; each further failure doubles it, up to the refresh rate.
pub const RETRY_FIRST: Millis = Millis(1_000);
/// So many answers in a row must deny a name before its last good addresses are given up.
pub const DENIALS: u32 = 3;
/// Longest name, and longest part of one (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// Waits are longer by up to this share, so that names do not fall into step: one in so many.
const JITTER: u64 = 10;

/// What DNS says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has addresses.
    Addresses {
        /// In the order given.
        addresses: Vec<IpAddr>,
        /// How long they are good; zero when that is not said.
        ttl: Millis,
    },
    /// There is no such name, or it has no address: NXDOMAIN, NODATA.
    Denied,
    /// Nothing is known: SERVFAIL, refusal, no answer in time.
    Failed,
}

impl Answer {
    /// The answers of the two families as one. The addresses of a family that could not be asked
    /// now are taken from `last`.
    #[must_use]
    pub fn both(v4: Self, v6: Self, last: &[IpAddr]) -> Self {
        let had = |is_v4: bool| last.iter().filter(move |ip| ip.is_ipv4() == is_v4);
        match (v4, v6) {
            (Self::Denied, other) | (other, Self::Denied) => other,
            (Self::Failed, Self::Failed) => Self::Failed,
            (Self::Failed, Self::Addresses { addresses, ttl }) => Self::Addresses {
                addresses: had(true).copied().chain(addresses).collect(),
                ttl,
            },
            (Self::Addresses { mut addresses, ttl }, Self::Failed) => {
                addresses.extend(had(false));
                Self::Addresses { addresses, ttl }
            }
            (
                Self::Addresses { mut addresses, ttl },
                Self::Addresses {
                    addresses: more,
                    ttl: other,
                },
            ) => {
                addresses.extend(more);
                let ttl = ttl.min(other);
                Self::Addresses { addresses, ttl }
            }
        }
    }
}

/// What is known about one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Name {
    addresses: Vec<IpAddr>,
    answered: bool,
    denials: u32,
    failures: u32,
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The addresses are other ones now.
    pub changed: bool,
    /// Ask again after this.
    pub wait: Millis,
}

impl Name {
    /// Addresses that are used now, in the order of the last answer.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Whether there was any answer yet, even a failure.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Questions in a row that gave no address.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes an answer. `refresh` is the wait where the answer says none, `die` is thrown in
    /// `0..1_000_000`.
    pub fn on(&mut self, answer: Answer, refresh: Millis, die: u32) -> Next {
        self.answered = true;
        let before = std::mem::take(&mut self.addresses);
        let wait = match answer {
            Answer::Addresses { mut addresses, ttl } if !addresses.is_empty() => {
                addresses.truncate(ADDRESSES_MAX);
                self.addresses = addresses;
                (self.denials, self.failures) = (0, 0);
                let said = Some(ttl).filter(|ttl| ttl.0 > 0);
                said.unwrap_or(refresh).clamp(TTL_MIN, TTL_MAX)
            }
            Answer::Addresses { .. } | Answer::Denied => {
                self.denials = self.denials.saturating_add(1);
                self.failures = self.failures.saturating_add(1);
                if self.denials < DENIALS {
                    self.addresses.clone_from(&before);
                }
                self.backoff(refresh)
            }
            Answer::Failed => {
                self.denials = 0;
                self.failures = self.failures.saturating_add(1);
                self.addresses.clone_from(&before);
                self.backoff(refresh)
            }
        };
        let jitter = wait.0 / JITTER * u64::from(die.min(1_000_000)) / 1_000_000;
        Next {
            changed: before != self.addresses,
            wait: Millis(wait.0.saturating_add(jitter)),
        }
    }

    fn backoff(&self, refresh: Millis) -> Millis {
        let doubled = 1_u64
            .checked_shl(self.failures.saturating_sub(1))
            .unwrap_or(u64::MAX);
        let wait = Millis(RETRY_FIRST.0.saturating_mul(doubled));
        wait.min(refresh.clamp(RETRY_FIRST, TTL_MAX))
    }
}

/// All endpoints of a cluster, given the addresses of names: without duplicates, in a stable order.
#[must_use]
pub fn endpoints<'n>(cluster: &Cluster, addresses: impl Fn(&str) -> &'n [IpAddr]) -> Vec<Endpoint> {
    let mut all = cluster.endpoints.clone();
    let most = match cluster.discovery {
        Discovery::LogicalDns(_) => 1,
        _ => ADDRESSES_MAX,
    };
    for named in cluster.discovery.names() {
        let port = named.like.address.port();
        let found = addresses(&named.name).iter().take(most);
        all.extend(found.map(|ip| Endpoint {
            address: SocketAddr::new(*ip, port),
            ..named.like.clone()
        }));
    }
    all.sort_by_key(|endpoint| endpoint.address);
    all.dedup_by_key(|endpoint| endpoint.address);
    all
}

/// A cluster whose only endpoints are these addresses of the host that a request names; itself if it
/// does not take them from requests. Outlier detection counts endpoints of one list, and here every
/// host has its own: it is off.
#[must_use]
pub fn at(cluster: &Cluster, addresses: &[IpAddr]) -> Cluster {
    let mut cluster = cluster.clone();
    if let Discovery::OnDemand { like, .. } = &cluster.discovery {
        let port = like.address.port();
        let endpoints = addresses.iter().take(ADDRESSES_MAX).map(|ip| Endpoint {
            address: SocketAddr::new(*ip, port),
            ..like.clone()
        });
        cluster.endpoints = endpoints.collect();
        cluster.traffic.outlier = None;
    }
    cluster
}

/// The lower-case host of an authority or a server name without port, if it is a name under this
/// domain: what may be looked up because a stranger says so.
#[must_use]
pub fn host_under(authority: &str, domain: &str) -> Option<String> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let under = host.strip_suffix(domain)?.strip_suffix('.')?;
    let label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_MAX).contains(&label.len()) && label.bytes().all(known)
    };
    (host.len() <= NAME_MAX && under.split('.').all(label)).then_some(host)
}

#[cfg(test)]
mod tests;
