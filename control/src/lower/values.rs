//! Small protobuf values: durations, wrappers, matchers, packed extensions.

use prost::{Message, Name};
use sallyport_config::ir::{Endpoint, Millis, Ppm, TextMatch, ValueMatch};
use sallyport_wire::envoy::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, CidrRange, ConfigSource, DataSource, Pipe,
    RuntimeFractionalPercent, SocketAddress, TypedExtensionConfig, address, config_source,
    data_source, socket_address,
};
use sallyport_wire::envoy::envoy::r#type::matcher::v3::{
    RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use sallyport_wire::envoy::envoy::r#type::v3::{
    FractionalPercent, fractional_percent::DenominatorType,
};
use sallyport_wire::envoy::google::protobuf::{
    Any, BoolValue, Duration, ListValue, Struct, UInt32Value, Value, value::Kind,
};
use std::net::{IpAddr, SocketAddr};

/// A message in an [`Any`].
pub(super) fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// A message as a named extension.
pub(super) fn extension<M: Message + Name>(name: &str, message: &M) -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(any(message)),
    }
}

/// Milliseconds; more than protobuf can say is as long as it can say.
#[expect(
    clippy::unnecessary_wraps,
    reason = "every field that takes one is optional"
)]
pub(super) fn duration(millis: Millis) -> Option<Duration> {
    /// Greatest number of seconds of a protobuf duration: 10,000 years.
    const MOST: u64 = 315_576_000_000;
    let seconds = i64::try_from((millis.0 / 1000).min(MOST)).unwrap_or(0);
    let rest = i32::try_from(millis.0 % 1000).unwrap_or(0);
    Some(Duration {
        seconds,
        nanos: rest * 1_000_000,
    })
}

/// A limit, where 0 says that there is none.
pub(super) fn limit(millis: Option<Millis>) -> Option<Duration> {
    duration(millis.unwrap_or_default())
}

/// A wrapped flag.
#[expect(
    clippy::unnecessary_wraps,
    reason = "every field that takes one is optional"
)]
pub(super) fn flag(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

/// A wrapped number.
#[expect(
    clippy::unnecessary_wraps,
    reason = "every field that takes one is optional"
)]
pub(super) fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

/// RE2 syntax, always on the whole value.
pub(super) fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher {
        regex: pattern.to_owned(),
        engine_type: None,
    }
}

/// A matcher of one kind.
pub(super) fn matcher(pattern: MatchPattern) -> StringMatcher {
    StringMatcher {
        ignore_case: false,
        match_pattern: Some(pattern),
    }
}

/// The whole value by RE2.
pub(super) fn full(pattern: &str) -> StringMatcher {
    matcher(MatchPattern::SafeRegex(regex(pattern)))
}

/// Equal.
pub(super) fn exact(text: &str) -> StringMatcher {
    matcher(MatchPattern::Exact(text.to_owned()))
}

/// A value matcher; none where presence is all that is asked for. Envoy refuses an empty prefix,
/// which asks for nothing more.
pub(super) fn value(value: &ValueMatch) -> Option<StringMatcher> {
    match value {
        ValueMatch::Present => None,
        ValueMatch::Prefix(prefix) if prefix.is_empty() => None,
        ValueMatch::Exact(text) => Some(exact(text)),
        ValueMatch::Prefix(prefix) => Some(matcher(MatchPattern::Prefix(prefix.clone()))),
        ValueMatch::Regex(pattern) => Some(full(pattern)),
    }
}

/// A policy's wildcard.
pub(super) fn wildcard(text: &TextMatch) -> StringMatcher {
    match text {
        TextMatch::Exact(text) => exact(text),
        TextMatch::Prefix(prefix) if prefix.is_empty() => full(".*"),
        TextMatch::Suffix(suffix) if suffix.is_empty() => full(".*"),
        TextMatch::Prefix(prefix) => matcher(MatchPattern::Prefix(prefix.clone())),
        TextMatch::Suffix(suffix) => matcher(MatchPattern::Suffix(suffix.clone())),
        TextMatch::Present => full(".+"),
    }
}

/// Text as RE2 that matches it and nothing else.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A share, by no runtime key.
pub(super) fn share(share: Ppm) -> FractionalPercent {
    FractionalPercent {
        numerator: share.0,
        denominator: DenominatorType::Million.into(),
    }
}

/// A share as routes and CORS want it.
pub(super) fn runtime_share(ppm: Ppm) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent {
        default_value: Some(share(ppm)),
        runtime_key: String::new(),
    }
}

/// A block of addresses.
pub(super) fn block(address: IpAddr, bits: u8) -> CidrRange {
    CidrRange {
        address_prefix: address.to_string(),
        prefix_len: number(u32::from(bits)),
    }
}

/// A TCP socket's address.
pub(super) fn socket(address: SocketAddr) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(
                address.port(),
            ))),
            ..SocketAddress::default()
        })),
    }
}

/// Where an endpoint is.
pub(super) fn place(endpoint: &Endpoint) -> Address {
    match &endpoint.socket {
        Some(path) => Address {
            address: Some(address::Address::Pipe(Pipe {
                path: path.to_string(),
                ..Pipe::default()
            })),
        },
        None => socket(endpoint.address),
    }
}

/// A port of whatever addresses a name has.
pub(super) fn host(name: &str, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: name.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(port))),
            ..SocketAddress::default()
        })),
    }
}

/// Bytes in place.
pub(super) fn bytes(bytes: &[u8]) -> DataSource {
    DataSource {
        watched_directory: None,
        specifier: Some(data_source::Specifier::InlineBytes(bytes.to_vec())),
    }
}

/// Bytes in a file of the proxy's host.
pub(super) fn file(path: &str) -> DataSource {
    DataSource {
        watched_directory: None,
        specifier: Some(data_source::Specifier::Filename(path.to_owned())),
    }
}

/// "Ask the stream that this came by."
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        initial_fetch_timeout: limit(None),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource {},
        )),
        ..ConfigSource::default()
    }
}

/// A text value of a [`Struct`].
pub(super) fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

/// A list of values.
pub(super) fn list(values: Vec<Value>) -> Value {
    Value {
        kind: Some(Kind::ListValue(ListValue { values })),
    }
}

/// An object of values.
pub(super) fn object(structure: Struct) -> Value {
    Value {
        kind: Some(Kind::StructValue(structure)),
    }
}

/// Members by name.
pub(super) fn structure<const N: usize>(members: [(&str, Value); N]) -> Struct {
    Struct {
        fields: members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}
