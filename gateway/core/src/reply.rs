//! Every answer that is not an upstream's.
//!
//! [`reply`] is the one map from what went wrong to what the client is told; statuses, flags,
//! details and bodies are Envoy's, because people's dashboards and clients know them.

mod status;

use crate::exchange::Attempts;
use crate::failure::{Failure, FailureKind};
use crate::flags::Flags;
use smallvec::SmallVec;
use std::borrow::Cow;

pub use status::{grpc_status, grpc_status_name, reason};

/// An answer made here. Header hygiene (`server`, `date`) and framing are the shell's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'t> {
    /// Status, 200..=599.
    pub status: u16,
    /// Why, in short.
    pub flags: Flags,
    /// Why, in Envoy's words (`route_not_found`): `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// Body; `text/plain` when not empty and `headers` say nothing else.
    pub body: Cow<'t, [u8]>,
    /// Fields beside `content-length`, `content-type`, `date` and `server`.
    pub headers: SmallVec<[(Cow<'t, str>, Cow<'t, str>); 2]>,
    /// `grpc-status` for a gRPC request; `None`: what the status maps to.
    pub grpc: Option<u16>,
    /// The connection cannot be used any more.
    pub close: bool,
}

impl Reply<'_> {
    /// An empty answer.
    #[must_use]
    pub fn empty(status: u16, flags: Flags, details: &'static str) -> Self {
        Self {
            status,
            flags,
            details: Cow::Borrowed(details),
            body: Cow::Borrowed(b""),
            headers: SmallVec::new(),
            grpc: None,
            close: false,
        }
    }
}

impl Reply<'_> {
    /// An answer with a text.
    #[must_use]
    pub fn text(status: u16, flags: Flags, details: &'static str, body: &'static str) -> Self {
        Self {
            body: Cow::Borrowed(body.as_bytes()),
            ..Self::empty(status, flags, details)
        }
    }

    fn closing(self) -> Self {
        Self {
            close: true,
            ..self
        }
    }
}

/// What the client is told about a failure. Total: every failure has an answer, also those that
/// nobody will read.
#[must_use]
pub fn reply<'t>(failure: &Failure, attempts: &Attempts) -> Reply<'t> {
    use FailureKind as K;
    let flags = failure.kind.flags();
    let text = |status, details, body| Reply::text(status, flags, details, body);
    let empty = |status, details| Reply::empty(status, flags, details);
    let mut reply = match failure.kind {
        K::NoRoute => empty(404, "route_not_found"),
        K::Misdirected => text(421, "misdirected_request", "Misdirected Request"),
        K::BrokenRoute(status) => text(status, "route_broken", "route configuration is broken"),
        K::MissingCluster => empty(503, "cluster_not_found"),
        K::NoHealthyUpstream => text(503, "no_healthy_upstream", "no healthy upstream"),
        K::HostUnknown => text(503, "dns_resolution_failure", "DNS resolution failure"),
        K::HostRefused => text(403, "host_not_allowed", "host not allowed"),
        K::RouteTimeout => text(504, "response_timeout", "upstream request timeout"),
        K::PerTryTimeout => text(504, "upstream_per_try_timeout", "upstream request timeout"),
        K::HeadTimeout => empty(408, "request_header_timeout").closing(),
        K::RequestTimeout => empty(408, "request_overall_timeout").closing(),
        K::StreamIdle { request_complete } => text(
            late(request_complete),
            "stream_idle_timeout",
            "stream timeout",
        )
        .closing(),
        K::MaxDuration { request_complete } => text(
            late(request_complete),
            "max_duration_timeout",
            "downstream duration timeout",
        )
        .closing(),
        K::Downstream { status, details } => text(status, details, reason(status)).closing(),
        K::MissingHost => empty(400, "missing_host_header").closing(),
        K::LowVersion => text(426, "low_version", "Upgrade Required").closing(),
        K::UpgradeRefused => empty(403, "upgrade_failed"),
        K::BadPath => empty(400, "path_normalization_failed"),
        K::BodyTooLarge => text(413, "request_payload_too_large", "Payload Too Large").closing(),
        // nginx's number for it; nobody is there to read it
        K::ClientGone => empty(499, "downstream_remote_disconnect").closing(),
        K::Overload => text(503, "overload", "envoy overloaded").closing(),
        K::Draining => text(503, "draining", "draining").closing(),
        K::RateLimited => text(429, "request_rate_limited", "rate limited"),
        K::FaultAbort(status) => text(status, "fault_filter_abort", "fault filter abort"),
        K::Internal => text(500, "internal_error", "internal error").closing(),
        K::Overflow => {
            let mut reply = reset(failure, "overflow", attempts);
            reply
                .headers
                .push(("x-envoy-overloaded".into(), "true".into()));
            reply
        }
        K::ConnectRefused | K::ConnectTls | K::UnservedUpstream => {
            reset(failure, "remote connection failure", attempts)
        }
        K::ConnectTimeout => reset(failure, "connection timeout", attempts),
        K::ConnectLocal => reset(failure, "local connection failure", attempts),
        K::UpstreamClosed => reset(failure, "connection termination", attempts),
        K::UpstreamReset => reset(failure, "remote reset", attempts),
        K::UpstreamRefused => reset(failure, "remote refused stream reset", attempts),
        K::UpstreamProtocol => reset(failure, "protocol error", attempts),
    };
    if attempts.exhausted {
        reply.flags = reply.flags.with(Flags::URX);
    }
    reply
}

/// The answer to a failure before anything was tried.
pub(crate) fn failed<'t>(kind: FailureKind) -> Reply<'t> {
    reply(&Failure::from(kind), &Attempts::default())
}

/// 408 blames the client, 504 the upstream.
fn late(request_complete: bool) -> u16 {
    if request_complete { 504 } else { 408 }
}

/// The upstream gave no response (Envoy's `Filter::onUpstreamReset`).
fn reset<'t>(failure: &Failure, why: &str, attempts: &Attempts) -> Reply<'t> {
    let status = match failure.kind {
        FailureKind::UpstreamProtocol => 502,
        _ => 503,
    };
    let when = if failure.relayed { "after" } else { "before" };
    let mut details = format!("upstream_reset_{when}_response_started{{");
    details.extend(why.chars().map(|c| if c == ' ' { '_' } else { c }));
    if !failure.transport.is_empty() {
        details.push('|');
        details.push_str(failure.transport);
    }
    details.push('}');
    let retried = if attempts.tried > 1 {
        "retried and the latest "
    } else {
        ""
    };
    let body = format!(
        "upstream connect error or disconnect/reset before headers. {retried}reset reason: {why}"
    );
    Reply {
        details: Cow::Owned(details),
        body: Cow::Owned(body.into_bytes()),
        ..Reply::empty(status, failure.kind.flags(), "")
    }
}

/// The same answer for a gRPC request: HTTP 200, headers only, the text in `grpc-message`.
/// An upstream-made `grpc-status` among the headers is kept.
#[must_use]
pub fn for_grpc(reply: Reply<'_>) -> Reply<'_> {
    let Reply {
        status,
        body,
        grpc,
        mut headers,
        ..
    } = reply;
    if !headers.iter().any(|(name, _)| name == "grpc-status") {
        headers.push(("content-type".into(), "application/grpc".into()));
        let status = grpc.unwrap_or_else(|| u16::from(grpc_status(status)));
        headers.push(("grpc-status".into(), status.to_string().into()));
        if !body.is_empty() {
            headers.push(("grpc-message".into(), percent_encode(&body).into()));
        }
    }
    Reply {
        status: 200,
        body: Cow::Borrowed(b""),
        headers,
        ..reply
    }
}

/// Encoding of `grpc-message` (gRPC over HTTP2, "Percent-Encoded"): all but `%` of `0x20..=0x7e`.
fn percent_encode(text: &[u8]) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or('0');
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            0x20..=0x7e if *byte != b'%' => out.push(char::from(*byte)),
            _ => out.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
    out
}

#[cfg(test)]
mod tests;
