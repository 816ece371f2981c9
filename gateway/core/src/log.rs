//! Access-log lines: a format compiled once, rendered from a [`Record`] into a caller's buffer.

use crate::call::HeaderLines;
use crate::flags::Flags;
use crate::reply::grpc_status_name;
use crate::template::{Facts, Field, Format, Value};
use sallyport_config::ir::LogFormat;
use sallyport_config::model::{Observed, Shadow};
use sallyport_config::template;
use std::net::SocketAddr;

mod capture;

pub use capture::{CAPTURED_VALUE_BYTES_MAX, Capture};

/// Everything that a line may say about a request. Borrowed facts and numbers: building one
/// allocates nothing. Empty texts are missing. Durations are in microseconds.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// When the first byte of the request arrived, in microseconds since 1970.
    pub start_us: u64,
    /// From first byte in to last byte out.
    pub duration_us: u64,
    /// From first to last byte of the request.
    pub request_us: Option<u64>,
    /// From first byte in to last byte sent upstream.
    pub request_tx_us: Option<u64>,
    /// From first byte in to first byte of the upstream's response.
    pub response_us: Option<u64>,
    /// Method.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Authority as the upstream saw it, else the client's.
    pub authority: &'a str,
    /// Path with query as the upstream saw it, else the client's.
    pub path: &'a str,
    /// Path with query before a rewrite; empty without one.
    pub original_path: &'a str,
    /// `HTTP/1.1`, `HTTP/2`, `HTTP/3`.
    pub protocol: &'a str,
    /// Request fields that the format asks for.
    pub request: &'a dyn HeaderLines,
    /// Response fields that the format asks for.
    pub response: &'a dyn HeaderLines,
    /// Response trailers that the format asks for.
    pub trailers: &'a dyn HeaderLines,
    /// Status that the client got, 0 for none.
    pub status: u16,
    /// Response flags.
    pub flags: Flags,
    /// `%RESPONSE_CODE_DETAILS%`
    pub details: &'a str,
    /// `%CONNECTION_TERMINATION_DETAILS%`
    pub termination: &'a str,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`
    pub transport_failure: &'a str,
    /// Bytes of the request body.
    pub bytes_received: u64,
    /// Bytes of the response body.
    pub bytes_sent: u64,
    /// gRPC status of the answer, if it has one.
    pub grpc_status: Option<u16>,
    /// Address of the endpoint.
    pub upstream_host: Option<SocketAddr>,
    /// Path of the endpoint's unix socket, if it is one; else empty.
    pub upstream_socket: &'a str,
    /// Our address of the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// Name of the cluster.
    pub upstream_cluster: &'a str,
    /// Protocol spoken to the upstream.
    pub upstream_protocol: &'a str,
    /// Tries, the first included.
    pub attempts: u32,
    /// Client after trusted hops.
    pub client: SocketAddr,
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// Our address of the client's connection.
    pub local: SocketAddr,
    /// Server name of the handshake.
    pub sni: &'a str,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the filter chain.
    pub chain: &'a str,
    /// `TLSv1.3`
    pub tls_version: &'a str,
    /// Cipher suite.
    pub tls_cipher: &'a str,
    /// Subject of the client's certificate.
    pub peer_subject: &'a str,
    /// URI names of the client's certificate.
    pub peer_uri: &'a str,
    /// Name of this machine.
    pub hostname: &'a str,
    /// Number of the connection.
    pub connection: u64,
    /// What policies say that decide nothing.
    pub observed: &'a Observed,
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.method, self.path, self.status)
    }
}

impl Record<'_> {
    fn grpc_number(&self) -> Value<'static> {
        let status = self.grpc_status;
        status.map_or(Value::Missing, |status| Value::Number(status.into()))
    }
}

/// Microseconds as whole milliseconds.
fn millis(us: u64) -> Value<'static> {
    Value::Number(us / 1_000)
}

fn socket(address: Option<SocketAddr>) -> Value<'static> {
    address.map_or(Value::Missing, Value::Socket)
}

fn ip(address: Option<SocketAddr>) -> Value<'static> {
    address.map_or(Value::Missing, |address| Value::Ip(address.ip()))
}

fn port(address: Option<SocketAddr>) -> Value<'static> {
    address.map_or(Value::Missing, |address| {
        Value::Number(address.port().into())
    })
}

fn result(shadow: Option<&Shadow>) -> Value<'_> {
    match shadow {
        Some(Shadow { allowed: true, .. }) => Value::of("allowed"),
        Some(_) => Value::of("denied"),
        None => Value::Missing,
    }
}

fn policy(shadow: Option<&Shadow>) -> Value<'_> {
    Value::of(shadow.and_then(|s| s.policy.as_deref()).unwrap_or_default())
}

impl Facts for Record<'_> {
    fn request(&self, name: &str) -> Value<'_> {
        match name {
            ":method" => Value::of(self.method),
            ":path" => Value::of(self.path),
            ":authority" | "host" => Value::of(self.authority),
            ":scheme" => Value::of(self.scheme),
            "x-envoy-original-path" => Value::of(self.original_path),
            name => Value::line(self.request.first(name)),
        }
    }

    fn response(&self, name: &str) -> Value<'_> {
        match name {
            ":status" => self.field(Field::ResponseCode),
            name => Value::line(self.response.first(name)),
        }
    }

    fn trailer(&self, name: &str) -> Value<'_> {
        Value::line(self.trailers.first(name))
    }

    fn start_us(&self) -> Option<u64> {
        Some(self.start_us)
    }

    fn field(&self, field: Field) -> Value<'_> {
        let optional = |us: Option<u64>| us.map_or(Value::Missing, millis);
        match field {
            Field::Protocol => Value::of(self.protocol),
            Field::ResponseCode => Value::Number(self.status.into()),
            Field::ResponseFlags => Value::Flags(self.flags),
            Field::ResponseCodeDetails => Value::of(self.details),
            Field::ConnectionTerminationDetails => Value::of(self.termination),
            Field::UpstreamTransportFailureReason => Value::of(self.transport_failure),
            Field::BytesReceived => Value::Number(self.bytes_received),
            Field::BytesSent => Value::Number(self.bytes_sent),
            Field::Duration => millis(self.duration_us),
            Field::RequestDuration => optional(self.request_us),
            Field::RequestTxDuration => optional(self.request_tx_us),
            Field::ResponseDuration => optional(self.response_us),
            Field::ResponseTxDuration => optional(
                self.response_us
                    .map(|us| self.duration_us.saturating_sub(us)),
            ),
            Field::UpstreamHost
            | Field::UpstreamRemoteAddress
            | Field::UpstreamRemoteAddressWithoutPort
                if !self.upstream_socket.is_empty() =>
            {
                Value::of(self.upstream_socket)
            }
            Field::UpstreamRemotePort if !self.upstream_socket.is_empty() => Value::Missing,
            Field::UpstreamHost | Field::UpstreamRemoteAddress => socket(self.upstream_host),
            Field::UpstreamRemoteAddressWithoutPort => ip(self.upstream_host),
            Field::UpstreamRemotePort => port(self.upstream_host),
            Field::UpstreamCluster | Field::UpstreamClusterRaw => Value::of(self.upstream_cluster),
            Field::UpstreamLocalAddress => socket(self.upstream_local),
            Field::UpstreamLocalAddressWithoutPort => ip(self.upstream_local),
            Field::UpstreamLocalPort => port(self.upstream_local),
            Field::UpstreamProtocol => Value::of(self.upstream_protocol),
            Field::UpstreamRequestAttemptCount => Value::Number(self.attempts.into()),
            Field::DownstreamLocalAddress => socket(Some(self.local)),
            Field::DownstreamLocalAddressWithoutPort => ip(Some(self.local)),
            Field::DownstreamLocalPort => port(Some(self.local)),
            Field::DownstreamRemoteAddress => socket(Some(self.client)),
            Field::DownstreamRemoteAddressWithoutPort => ip(Some(self.client)),
            Field::DownstreamRemotePort => port(Some(self.client)),
            Field::DownstreamDirectRemoteAddress => socket(Some(self.peer)),
            Field::DownstreamDirectRemoteAddressWithoutPort => ip(Some(self.peer)),
            Field::DownstreamDirectRemotePort => port(Some(self.peer)),
            Field::RequestedServerName => Value::of(self.sni),
            Field::RouteName => Value::of(self.route),
            Field::Hostname => Value::of(self.hostname),
            Field::DownstreamTlsVersion => Value::of(self.tls_version),
            Field::DownstreamTlsCipher => Value::of(self.tls_cipher),
            Field::DownstreamPeerSubject => Value::of(self.peer_subject),
            Field::DownstreamPeerUriSan => Value::of(self.peer_uri),
            Field::ConnectionId => Value::Number(self.connection),
            Field::FilterChainName => Value::of(self.chain),
            Field::AccessLogHint => match self.observed.audited {
                Some(audited) => Value::Flag(audited),
                None => Value::Missing,
            },
            Field::DryDenyResult => result(self.observed.deny.as_ref()),
            Field::DryDenyPolicy => policy(self.observed.deny.as_ref()),
            Field::DryAllowResult => result(self.observed.allow.as_ref()),
            Field::DryAllowPolicy => policy(self.observed.allow.as_ref()),
            Field::GrpcStatus => self.grpc_number(),
            Field::GrpcStatusName => match self.grpc_status.and_then(grpc_status_name) {
                Some(name) => Value::of(name),
                // Envoy writes what it does not know as a number.
                None => self.grpc_number(),
            },
        }
    }
}

/// An access-log format with its operators resolved.
#[derive(Debug, Clone)]
pub struct Line {
    form: Form,
    request: Box<[Box<str>]>,
    response: Box<[Box<str>]>,
    trailers: Box<[Box<str>]>,
}

#[derive(Debug, Clone)]
enum Form {
    Text(Format),
    /// Each member as `"key":`, ready to copy, and its value.
    Json(Box<[(Box<[u8]>, Format)]>),
}

impl Line {
    /// Compiles a format. A template that does not parse is a literal: the compiler has reported
    /// it and put the default in its place.
    #[must_use]
    pub fn new(format: &LogFormat) -> Self {
        let compile = |text: &str| {
            let literal = || {
                let piece = sallyport_config::ir::Piece::Literal(text.to_owned());
                sallyport_config::ir::Template(vec![piece])
            };
            Format::new(&template::parse(text).unwrap_or_else(|_| literal()))
        };
        let form = match format {
            LogFormat::Text(text) if text.ends_with('\n') => Form::Text(compile(text)),
            LogFormat::Text(text) => Form::Text(compile(&format!("{text}\n"))),
            LogFormat::Json(members) => Form::Json(
                members
                    .iter()
                    .map(|(key, value)| (json_key(key), compile(value)))
                    .collect(),
            ),
        };
        Self {
            request: names(&form, Format::request_names),
            response: names(&form, Format::response_names),
            trailers: names(&form, Format::trailer_names),
            form,
        }
    }

    /// Request fields that must be kept until the line is written; lower-case.
    #[must_use]
    pub fn request_names(&self) -> &[Box<str>] {
        &self.request
    }

    /// Response fields that must be kept until the line is written; lower-case.
    #[must_use]
    pub fn response_names(&self) -> &[Box<str>] {
        &self.response
    }

    /// Response trailers that must be kept until the line is written; lower-case.
    #[must_use]
    pub fn trailer_names(&self) -> &[Box<str>] {
        &self.trailers
    }

    /// Appends one line with its newline.
    pub fn write(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        match &self.form {
            Form::Text(format) => format.render_text(record, out),
            Form::Json(members) => {
                let mut separator = b'{';
                for (key, value) in members {
                    out.push(separator);
                    out.extend_from_slice(key);
                    value.render_json(record, out);
                    separator = b',';
                }
                if members.is_empty() {
                    out.push(b'{');
                }
                out.extend_from_slice(b"}\n");
            }
        }
    }
}

fn json_key(key: &str) -> Box<[u8]> {
    let mut out = vec![b'"'];
    crate::template::escape_json(key.as_bytes(), &mut out);
    out.extend_from_slice(b"\":");
    out.into()
}

/// Lists the names of one kind that a format asks for.
type List = fn(&Format, &mut dyn FnMut(&str));

/// What a format asks for through `list`, pseudo names excluded: those are never looked up.
fn names(form: &Form, list: List) -> Box<[Box<str>]> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut take = |format: &Format| {
        list(format, &mut |name| {
            if !name.starts_with(':') && !names.iter().any(|known| **known == *name) {
                names.push(name.into());
            }
        });
    };
    match form {
        Form::Text(format) => take(format),
        Form::Json(members) => members.iter().for_each(|(_, format)| take(format)),
    }
    names.into()
}

#[cfg(test)]
mod tests;
