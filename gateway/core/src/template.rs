//! Envoy format strings ready to render: header values and access-log lines.
//!
//! Operators are resolved once, when tables are built; rendering asks [`Facts`] and appends to a
//! caller's buffer, so a request allocates nothing here.

use crate::call::{Call, HeaderLines};
use crate::flags::Flags;
use sallyport_config::ir::{Piece, Template};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

mod field;
mod time;

pub use field::Field;
pub use time::TimeFormat;

/// What is known of a request when a template is rendered.
pub trait Facts {
    /// A request field, lower-case name, pseudo names (`:path` with query) included.
    fn request(&self, name: &str) -> Value<'_>;
    /// A response field, lower-case name; `:status` included.
    fn response(&self, name: &str) -> Value<'_>;
    /// A response trailer, lower-case name.
    fn trailer(&self, name: &str) -> Value<'_>;
    /// When the request's first byte arrived, in microseconds since 1970.
    fn start_us(&self) -> Option<u64>;
    /// Everything else.
    fn field(&self, field: Field) -> Value<'_>;
}

/// What an operator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Nothing: `-` in text, `null` in JSON, empty in a header.
    Missing,
    /// Bytes from anywhere, also from a client.
    Text(&'a [u8]),
    /// Path and query, which are kept apart.
    PathQuery(&'a str, Option<&'a str>),
    /// A number, also in JSON.
    Number(u64),
    /// Address with port.
    Socket(SocketAddr),
    /// Address without port.
    Ip(IpAddr),
    /// Response flags.
    Flags(Flags),
    /// Yes or no, also in JSON.
    Flag(bool),
}

impl<'a> Value<'a> {
    /// A text; empty is missing.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        if text.is_empty() {
            Self::Missing
        } else {
            Self::Text(text.as_bytes())
        }
    }

    /// A field line, if there is one.
    #[must_use]
    pub fn line(line: Option<&'a [u8]>) -> Self {
        line.map_or(Self::Missing, Self::Text)
    }

    /// Appends the value as it is, without escaping.
    fn write(self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _: std::io::Result<()> = match self {
            Self::Missing => Ok(()),
            Self::Text(text) => {
                out.extend_from_slice(text);
                Ok(())
            }
            Self::PathQuery(path, query) => {
                out.extend_from_slice(path.as_bytes());
                if let Some(query) = query {
                    out.push(b'?');
                    out.extend_from_slice(query.as_bytes());
                }
                Ok(())
            }
            Self::Number(number) => write!(out, "{number}"),
            Self::Socket(address) => write!(out, "{address}"),
            Self::Ip(address) => write!(out, "{address}"),
            Self::Flags(flags) => write!(out, "{flags}"),
            Self::Flag(flag) => write!(out, "{flag}"),
        };
    }
}

/// A format string with its operators resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    parts: Box<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    Value(Operator, Option<usize>),
}

/// One operator, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    /// `%REQ(name?or)%`
    Request(Box<str>, Option<Box<str>>),
    /// `%RESP(name?or)%`
    Response(Box<str>, Option<Box<str>>),
    /// `%TRAILER(name?or)%`
    Trailer(Box<str>, Option<Box<str>>),
    /// `%START_TIME(format)%`
    Start(TimeFormat),
    /// All without argument.
    Field(Field),
    /// Known to Envoy, without a value here.
    Unserved,
}

/// What an escaped value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// Not at all: a header value, where the parts are already clean.
    None,
    /// In a line of text: no byte that could end the line or a quoted field.
    Text,
    /// In a JSON string.
    Json,
}

impl Format {
    /// Resolves the operators. One that Envoy does not have renders nothing: the compiler has
    /// said so already.
    #[must_use]
    pub fn new(template: &Template) -> Self {
        let parts = template.0.iter().map(|piece| match piece {
            Piece::Literal(text) => Part::Text(text.as_bytes().into()),
            Piece::Operator {
                name,
                argument,
                max_length,
            } => Part::Value(
                operator(name, argument.as_deref()),
                max_length.and_then(|length| usize::try_from(length).ok()),
            ),
        });
        Self {
            parts: parts.collect(),
        }
    }

    /// The value if no operator is in it.
    #[must_use]
    pub fn literal(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends a header value; missing operators are empty.
    pub fn render(&self, facts: &dyn Facts, out: &mut Vec<u8>) {
        self.write(facts, Escape::None, out);
    }

    /// Appends log text: missing operators are `-`, and no byte of a value can end the line or a
    /// quoted field.
    pub(crate) fn render_text(&self, facts: &dyn Facts, out: &mut Vec<u8>) {
        self.write(facts, Escape::Text, out);
    }

    /// Appends a JSON value: a lone operator keeps its type or is `null`, all else is a string.
    pub(crate) fn render_json(&self, facts: &dyn Facts, out: &mut Vec<u8>) {
        if let [Part::Value(operator, None)] = &*self.parts {
            match operator.value(facts) {
                Evaluated::Value(Value::Missing) => return out.extend_from_slice(b"null"),
                Evaluated::Value(value @ (Value::Number(_) | Value::Flag(_))) => {
                    return value.write(out);
                }
                _ => {}
            }
        }
        out.push(b'"');
        self.write(facts, Escape::Json, out);
        out.push(b'"');
    }

    /// Calls `visit` for each request field that the format asks for.
    pub(crate) fn request_names(&self, visit: &mut dyn FnMut(&str)) {
        self.names(visit, |operator| match operator {
            Operator::Request(name, or) => Some((name, or)),
            _ => None,
        });
    }

    /// Calls `visit` for each response field that the format asks for.
    pub(crate) fn response_names(&self, visit: &mut dyn FnMut(&str)) {
        self.names(visit, |operator| match operator {
            Operator::Response(name, or) => Some((name, or)),
            _ => None,
        });
    }

    /// Calls `visit` for each response trailer that the format asks for.
    pub(crate) fn trailer_names(&self, visit: &mut dyn FnMut(&str)) {
        self.names(visit, |operator| match operator {
            Operator::Trailer(name, or) => Some((name, or)),
            _ => None,
        });
    }

    fn names(&self, visit: &mut dyn FnMut(&str), pick: fn(&Operator) -> Option<Named<'_>>) {
        for part in &self.parts {
            if let Part::Value(operator, _) = part
                && let Some((name, or)) = pick(operator)
            {
                visit(name);
                or.as_deref().map(&mut *visit);
            }
        }
    }

    fn write(&self, facts: &dyn Facts, escape: Escape, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) if escape == Escape::Json => {
                    let start = out.len();
                    out.extend_from_slice(text);
                    escape_tail(out, start, escape);
                }
                Part::Text(text) => out.extend_from_slice(text),
                Part::Value(operator, max) => {
                    let start = out.len();
                    match operator.value(facts) {
                        Evaluated::Value(Value::Missing) if escape != Escape::None => {
                            out.push(b'-');
                        }
                        value => value.write(out),
                    }
                    if let Some(max) = max {
                        cut(out, start, *max);
                    }
                    escape_tail(out, start, escape);
                }
            }
        }
    }
}

/// Keeps at most `max` bytes of what was appended since `start`, and no half of a character.
fn cut(out: &mut Vec<u8>, start: usize, max: usize) {
    let end = start.saturating_add(max);
    if out.len() <= end {
        return;
    }
    out.truncate(end);
    let tail = out.get(start..).unwrap_or_default();
    if let Err(error) = std::str::from_utf8(tail)
        && error.error_len().is_none()
    {
        out.truncate(start + error.valid_up_to());
    }
}

type Named<'a> = (&'a str, &'a Option<Box<str>>);

/// A value, or a time with the form that it is wanted in.
enum Evaluated<'a> {
    Value(Value<'a>),
    Time(&'a TimeFormat, u64),
}

impl Evaluated<'_> {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Value(value) => value.write(out),
            Self::Time(format, at_us) => format.write(at_us, out),
        }
    }
}

impl Operator {
    fn value<'a>(&'a self, facts: &'a dyn Facts) -> Evaluated<'a> {
        Evaluated::Value(match self {
            Self::Request(name, or) => either(name, or, |name| facts.request(name)),
            Self::Response(name, or) => either(name, or, |name| facts.response(name)),
            Self::Trailer(name, or) => either(name, or, |name| facts.trailer(name)),
            Self::Start(format) => match facts.start_us() {
                Some(at_us) => return Evaluated::Time(format, at_us),
                None => Value::Missing,
            },
            Self::Field(field) => facts.field(*field),
            Self::Unserved => Value::Missing,
        })
    }
}

fn either<'a>(
    name: &'a str,
    or: &'a Option<Box<str>>,
    ask: impl Fn(&'a str) -> Value<'a>,
) -> Value<'a> {
    match (ask(name), or) {
        (Value::Missing, Some(or)) => ask(or),
        (value, _) => value,
    }
}

fn operator(name: &str, argument: Option<&str>) -> Operator {
    let named = || {
        let argument = argument.unwrap_or_default().to_ascii_lowercase();
        match argument.split_once('?') {
            Some((name, or)) => (name.into(), Some(or.into())),
            None => (argument.into_boxed_str(), None),
        }
    };
    match name {
        "REQ" => {
            let (name, or) = named();
            Operator::Request(name, or)
        }
        "RESP" => {
            let (name, or) = named();
            Operator::Response(name, or)
        }
        "TRAILER" => {
            let (name, or) = named();
            Operator::Trailer(name, or)
        }
        "START_TIME" => Operator::Start(TimeFormat::new(argument)),
        "GRPC_STATUS" => match argument {
            None | Some("CAMEL_STRING") => Operator::Field(Field::GrpcStatusName),
            Some("NUMBER") => Operator::Field(Field::GrpcStatus),
            Some(_) => Operator::Unserved,
        },
        "DYNAMIC_METADATA" => {
            let argument = argument.unwrap_or_default();
            // what is known of a connection has the same names under another filter
            let argument = argument.replacen("filters.network.rbac", "filters.http.rbac", 1);
            let named = Field::named(&format!("{name}({argument})"));
            named.map_or(Operator::Unserved, Operator::Field)
        }
        _ => Field::named(name).map_or(Operator::Unserved, Operator::Field),
    }
}

/// Escapes what was appended since `start`, in place. Clean values, the common case, cost one scan.
fn escape_tail(out: &mut Vec<u8>, start: usize, escape: Escape) {
    let dirty = |byte: &u8| match escape {
        Escape::None => false,
        Escape::Text => *byte < 0x20 || *byte == b'"' || *byte == b'\\' || *byte >= 0x7f,
        Escape::Json => *byte < 0x20 || *byte == b'"' || *byte == b'\\' || *byte >= 0x7f,
    };
    let tail = out.get(start..).unwrap_or_default();
    let Some(first) = tail.iter().position(dirty) else {
        return;
    };
    let from = start + first;
    let held: smallvec::SmallVec<[u8; 256]> = out.get(from..).unwrap_or_default().into();
    out.truncate(from);
    escape_into(&held, escape, out);
}

/// Appends with escapes: valid UTF-8 stays, control characters, quotes, backslashes and stray
/// bytes do not.
fn escape_into(text: &[u8], escape: Escape, out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                char if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
                    let code = u32::from(char);
                    // Writing to a vector cannot fail.
                    let _: std::io::Result<()> = write!(out, "\\u{code:04x}");
                }
                char => {
                    let mut bytes = [0; 4];
                    out.extend_from_slice(char.encode_utf8(&mut bytes).as_bytes());
                }
            }
        }
        for byte in chunk.invalid() {
            // JSON has no escape for a byte; U+FFFD is what its readers expect.
            let _: std::io::Result<()> = match escape {
                Escape::Json => write!(out, "\\ufffd"),
                _ => write!(out, "\\x{byte:02x}"),
            };
        }
    }
}

/// Appends the inside of a JSON string.
pub(crate) fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    escape_into(text, Escape::Json, out);
}

/// What is known before anything was sent upstream: for request header values.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    /// The request.
    pub call: &'a Call<'a>,
    /// `HTTP/1.1`, `HTTP/2` …
    pub protocol: &'a str,
    /// When its first byte arrived, in microseconds since 1970.
    pub start_us: u64,
    /// Name of the route.
    pub route: &'a str,
}

impl Facts for CallFacts<'_> {
    fn request(&self, name: &str) -> Value<'_> {
        call_value(self.call, name)
    }
    fn response(&self, _: &str) -> Value<'_> {
        Value::Missing
    }
    fn trailer(&self, _: &str) -> Value<'_> {
        Value::Missing
    }
    fn start_us(&self) -> Option<u64> {
        Some(self.start_us)
    }
    fn field(&self, field: Field) -> Value<'_> {
        match field {
            Field::Protocol => Value::of(self.protocol),
            Field::RouteName => Value::of(self.route),
            Field::DownstreamRemoteAddress => Value::Socket(self.call.client),
            Field::DownstreamRemoteAddressWithoutPort => Value::Ip(self.call.client.ip()),
            Field::DownstreamRemotePort => Value::Number(self.call.client.port().into()),
            Field::DownstreamDirectRemoteAddress => Value::Socket(self.call.peer),
            Field::DownstreamDirectRemoteAddressWithoutPort => Value::Ip(self.call.peer.ip()),
            Field::DownstreamDirectRemotePort => Value::Number(self.call.peer.port().into()),
            Field::DownstreamLocalAddress => Value::Socket(self.call.local),
            Field::DownstreamLocalAddressWithoutPort => Value::Ip(self.call.local.ip()),
            Field::DownstreamLocalPort => Value::Number(self.call.local.port().into()),
            Field::RequestedServerName => self.call.sni.map_or(Value::Missing, Value::of),
            _ => Value::Missing,
        }
    }
}

/// A field of a call, pseudo names included.
pub(crate) fn call_value<'a>(call: &Call<'a>, name: &str) -> Value<'a> {
    match name {
        ":method" => Value::of(call.method),
        ":authority" | "host" => Value::of(call.authority),
        ":scheme" => Value::of(call.scheme.as_str()),
        ":path" => Value::PathQuery(call.path, call.query),
        name => Value::line(HeaderLines::first(call.headers, name)),
    }
}

#[cfg(test)]
mod tests;
