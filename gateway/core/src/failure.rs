//! What can go wrong in serving a request: whose fault it is, and how a retry policy sees it.
//!
//! What the client is told about it is [`crate::reply::reply`]'s business.

use crate::flags::Flags;

/// Something went wrong. `Copy`, so that it costs nothing to carry around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What.
    pub kind: FailureKind,
    /// Transport's words without spaces (`delayed_connect_error:_Connection_refused`), or empty:
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub transport: &'static str,
    /// The response head had already gone to the client: nothing can be said any more.
    pub relayed: bool,
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self {
            kind,
            transport: "",
            relayed: false,
        }
    }
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No host or no route matches.
    NoRoute,
    /// The authority belongs to another certificate or TLS policy than the connection's (421).
    Misdirected,
    /// The route is broken; its status, normally 500.
    BrokenRoute(u16),
    /// The route's cluster does not exist.
    MissingCluster,
    /// The cluster has no endpoint.
    NoHealthyUpstream,
    /// The cluster takes its endpoint from the request, whose host has no address.
    HostUnknown,
    /// The cluster takes its endpoint from the request, whose host is not one of those allowed, or
    /// is at an internal address (403).
    HostRefused,
    /// The cluster wants TLS that cannot be served, for want of a certificate or an authority:
    /// refused, never sent in cleartext.
    UnservedUpstream,
    /// A circuit breaker or a full pool.
    Overflow,
    /// The upstream refused, or could not be reached.
    ConnectRefused,
    /// Connecting took longer than the cluster allows.
    ConnectTimeout,
    /// The TLS handshake with the upstream failed.
    ConnectTls,
    /// We could not even try: no descriptor, no local port.
    ConnectLocal,
    /// The upstream closed or reset its connection before its response was complete.
    UpstreamClosed,
    /// The upstream reset the stream (HTTP/2 and 3).
    UpstreamReset,
    /// The upstream refused the stream without looking at it (HTTP/2 and 3).
    UpstreamRefused,
    /// The upstream's response was not HTTP.
    UpstreamProtocol,
    /// The route's time for all tries is over.
    RouteTimeout,
    /// The time of one try is over.
    PerTryTimeout,
    /// The request head did not arrive in time.
    HeadTimeout,
    /// The whole request did not arrive in time.
    RequestTimeout,
    /// Nothing moved for too long; whether the request was complete.
    StreamIdle {
        /// Then the upstream is to blame.
        request_complete: bool,
    },
    /// The stream is too old; whether the request was complete.
    MaxDuration {
        /// Then the upstream is to blame.
        request_complete: bool,
    },
    /// The request is not HTTP, or HTTP that we refuse.
    Downstream {
        /// 400..=599.
        status: u16,
        /// Envoy's words, e.g. `http1.codec_error`.
        details: &'static str,
    },
    /// HTTP/1.1 without `host`.
    MissingHost,
    /// HTTP/1.0 where it is not accepted.
    LowVersion,
    /// An upgrade to something that we do not speak.
    UpgradeRefused,
    /// The path cannot be normalised.
    BadPath,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The client went away.
    ClientGone,
    /// Load is shed.
    Overload,
    /// We are shutting down.
    Draining,
    /// Too many requests.
    RateLimited,
    /// An injected abort, with its HTTP status.
    FaultAbort(u16),
    /// A bug of ours, contained.
    Internal,
}

/// Who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The client.
    Downstream,
    /// The upstream.
    Upstream,
    /// We, or our configuration.
    Gateway,
}

/// How a retry policy sees a failure (semantics of Envoy's `RetryStateImpl::wouldRetryFromReset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retriable {
    /// Under no word.
    Never,
    /// Under `connect-failure`, and all that `Reset` is under.
    Connect,
    /// Under `refused-stream`, and all that `Reset` is under.
    Refused,
    /// Under `reset`, `5xx`, `gateway-error`, and `reset-before-request` if nothing was sent.
    Reset,
}

impl FailureKind {
    /// Who is to blame.
    #[must_use]
    pub fn origin(self) -> Origin {
        match self {
            Self::Misdirected
            | Self::NoRoute
            | Self::HeadTimeout
            | Self::RequestTimeout
            | Self::Downstream { .. }
            | Self::MissingHost
            | Self::LowVersion
            | Self::UpgradeRefused
            | Self::BadPath
            | Self::BodyTooLarge
            | Self::RateLimited
            | Self::HostRefused
            | Self::ClientGone => Origin::Downstream,
            Self::NoHealthyUpstream
            | Self::HostUnknown
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectTls
            | Self::UpstreamClosed
            | Self::UpstreamReset
            | Self::UpstreamRefused
            | Self::UpstreamProtocol
            | Self::RouteTimeout
            | Self::PerTryTimeout => Origin::Upstream,
            Self::StreamIdle { request_complete } | Self::MaxDuration { request_complete } => {
                if request_complete {
                    Origin::Upstream
                } else {
                    Origin::Downstream
                }
            }
            Self::BrokenRoute(_)
            | Self::MissingCluster
            | Self::UnservedUpstream
            | Self::Overflow
            | Self::ConnectLocal
            | Self::Overload
            | Self::Draining
            | Self::FaultAbort(_)
            | Self::Internal => Origin::Gateway,
        }
    }

    /// Whether, and how, a retry policy may try again.
    #[must_use]
    pub fn retriable(self) -> Retriable {
        match self {
            Self::ConnectRefused | Self::ConnectTimeout | Self::ConnectTls | Self::ConnectLocal => {
                Retriable::Connect
            }
            Self::UpstreamRefused => Retriable::Refused,
            Self::UpstreamClosed
            | Self::UpstreamReset
            | Self::UpstreamProtocol
            | Self::PerTryTimeout => Retriable::Reset,
            // Envoy never retries an overflow: more load is what it cannot have
            Self::Overflow
            | Self::NoRoute
            | Self::Misdirected
            | Self::BrokenRoute(_)
            | Self::MissingCluster
            | Self::NoHealthyUpstream
            | Self::HostUnknown
            | Self::HostRefused
            | Self::UnservedUpstream
            | Self::RouteTimeout
            | Self::HeadTimeout
            | Self::RequestTimeout
            | Self::StreamIdle { .. }
            | Self::MaxDuration { .. }
            | Self::Downstream { .. }
            | Self::MissingHost
            | Self::LowVersion
            | Self::UpgradeRefused
            | Self::BadPath
            | Self::BodyTooLarge
            | Self::ClientGone
            | Self::Overload
            | Self::Draining
            | Self::RateLimited
            | Self::FaultAbort(_)
            | Self::Internal => Retriable::Never,
        }
    }

    /// Envoy's response flag.
    #[must_use]
    pub fn flags(self) -> Flags {
        match self {
            Self::NoRoute | Self::Misdirected => Flags::NR,
            Self::MissingCluster => Flags::NC,
            Self::NoHealthyUpstream => Flags::UH,
            Self::HostUnknown | Self::HostRefused => Flags::DF,
            Self::Overflow => Flags::UO,
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectTls
            | Self::ConnectLocal
            | Self::UnservedUpstream => Flags::UF,
            Self::UpstreamClosed => Flags::UC,
            Self::UpstreamReset | Self::UpstreamRefused => Flags::UR,
            Self::UpstreamProtocol => Flags::UPE,
            Self::RouteTimeout | Self::PerTryTimeout => Flags::UT,
            Self::StreamIdle { .. } => Flags::SI,
            Self::MaxDuration { .. } => Flags::DT,
            Self::Downstream { .. } => Flags::DPE,
            Self::ClientGone => Flags::DC,
            Self::Overload => Flags::OM,
            Self::RateLimited => Flags::RL,
            Self::FaultAbort(_) => Flags::FI,
            Self::BrokenRoute(_)
            | Self::HeadTimeout
            | Self::RequestTimeout
            | Self::MissingHost
            | Self::LowVersion
            | Self::UpgradeRefused
            | Self::BadPath
            | Self::BodyTooLarge
            | Self::Draining
            | Self::Internal => Flags::NONE,
        }
    }
}
