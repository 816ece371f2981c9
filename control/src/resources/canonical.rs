//! One encoding for one content: map fields of an encoded message, sorted by key.
//!
//! Protobuf leaves the order of a map's entries open, and the generated types draw it anew each
//! time. Equal content would have different bytes, so it would be pushed again and again. The
//! message is reordered as bytes: a table of shapes says which fields are maps and where to look
//! for more of them. A map that the table does not know costs pushes, never correctness.

/// What a message has inside that may have to be sorted.
enum Shape {
    /// Nothing.
    Plain,
    /// Fields by number.
    Message(&'static [(u32, Field)]),
    /// `google.protobuf.Any`: it says itself what it holds.
    Any,
}

enum Field {
    /// A message, or several.
    Of(&'static Shape),
    /// A map from strings; the shape is that of the values.
    Map(&'static Shape),
}

use Field::{Map, Of};
use Shape::{Any, Message, Plain};

static PLAIN: Shape = Plain;
static ANY: Shape = Any;
static STRUCT: Shape = Message(&[(1, Map(&VALUE))]);
static VALUE: Shape = Message(&[(5, Of(&STRUCT)), (6, Of(&LIST))]);
static LIST: Shape = Message(&[(1, Of(&VALUE))]);
static METADATA: Shape = Message(&[(1, Map(&STRUCT)), (2, Map(&ANY))]);

static CLUSTER: Shape = Message(&[
    (24, Of(&TRANSPORT_SOCKET)),
    (25, Of(&METADATA)),
    (33, Of(&ASSIGNMENT)),
    (36, Map(&ANY)),
    (43, Of(&SOCKET_MATCH)),
]);
static SOCKET_MATCH: Shape = Message(&[(2, Of(&STRUCT)), (3, Of(&TRANSPORT_SOCKET))]);
static TRANSPORT_SOCKET: Shape = Message(&[(3, Of(&ANY))]);
static ASSIGNMENT: Shape = Message(&[(2, Of(&LOCALITY)), (5, Map(&PLAIN))]);
static LOCALITY: Shape = Message(&[(2, Of(&ENDPOINT)), (9, Of(&METADATA))]);
static ENDPOINT: Shape = Message(&[(3, Of(&METADATA))]);

static LISTENER: Shape = Message(&[
    (3, Of(&CHAIN)),
    (6, Of(&METADATA)),
    (9, Of(&LISTENER_FILTER)),
    (22, Of(&TYPED)),
    (25, Of(&CHAIN)),
]);
static CHAIN: Shape = Message(&[
    (3, Of(&TYPED)),
    (5, Of(&METADATA)),
    (6, Of(&TRANSPORT_SOCKET)),
]);
static LISTENER_FILTER: Shape = Message(&[(3, Of(&ANY))]);
/// Network filters, HTTP filters and access logs: `typed_config` is the fourth field of each.
static TYPED: Shape = Message(&[(4, Of(&ANY))]);
static EXTENSION: Shape = Message(&[(2, Of(&ANY))]);

static CONNECTION: Shape = Message(&[(4, Of(&ROUTES)), (5, Of(&TYPED)), (13, Of(&TYPED))]);
static TCP_PROXY: Shape = Message(&[(5, Of(&TYPED)), (9, Of(&METADATA))]);
static ROUTES: Shape = Message(&[(2, Of(&HOST)), (16, Map(&ANY)), (17, Of(&METADATA))]);
static HOST: Shape = Message(&[(3, Of(&ROUTE)), (15, Map(&ANY)), (24, Of(&METADATA))]);
static ROUTE: Shape = Message(&[(2, Of(&ACTION)), (4, Of(&METADATA)), (13, Map(&ANY))]);
static ACTION: Shape = Message(&[(3, Of(&WEIGHTED)), (4, Of(&METADATA))]);
static WEIGHTED: Shape = Message(&[(1, Of(&WEIGHT))]);
static WEIGHT: Shape = Message(&[(3, Of(&METADATA)), (10, Map(&ANY))]);

static POLICIES: Shape = Message(&[(2, Map(&PLAIN))]);
static RBAC: Shape = Message(&[(1, Of(&POLICIES)), (2, Of(&POLICIES))]);
static RBAC_PER_ROUTE: Shape = Message(&[(2, Of(&RBAC))]);
static JWT: Shape = Message(&[(1, Map(&PLAIN)), (3, Of(&JWT_STATE)), (5, Map(&PLAIN))]);
static JWT_STATE: Shape = Message(&[(3, Map(&PLAIN))]);
static FILE_LOG: Shape = Message(&[(3, Of(&STRUCT)), (4, Of(&STRUCT)), (5, Of(&LOG_FORMAT))]);
static STREAM_LOG: Shape = Message(&[(1, Of(&LOG_FORMAT))]);
static LOG_FORMAT: Shape = Message(&[(2, Of(&STRUCT))]);
static TYPED_STRUCT: Shape = Message(&[(2, Of(&STRUCT))]);

/// The shape of a type, by the name after the last slash of its URL.
fn shape_of(name: &str) -> &'static Shape {
    match name {
        "envoy.config.cluster.v3.Cluster" => &CLUSTER,
        "envoy.config.endpoint.v3.ClusterLoadAssignment" => &ASSIGNMENT,
        "envoy.config.listener.v3.Listener" => &LISTENER,
        "envoy.config.route.v3.RouteConfiguration" => &ROUTES,
        "envoy.config.core.v3.TypedExtensionConfig" => &EXTENSION,
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => {
            &CONNECTION
        }
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" => &TCP_PROXY,
        "envoy.extensions.filters.http.rbac.v3.RBAC"
        | "envoy.extensions.filters.network.rbac.v3.RBAC" => &RBAC,
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute" => &RBAC_PER_ROUTE,
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication" => &JWT,
        "envoy.extensions.access_loggers.file.v3.FileAccessLog" => &FILE_LOG,
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
        | "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" => &STREAM_LOG,
        "udpa.type.v1.TypedStruct" | "xds.type.v3.TypedStruct" => &TYPED_STRUCT,
        "google.protobuf.Struct" => &STRUCT,
        _ => &PLAIN,
    }
}

/// Messages inside messages that are looked into; deeper ones stay as they are.
const DEPTH_MAX: u32 = 64;

/// The same message of a type, its maps in order. Bytes that are not a message stay as they are.
pub(crate) fn canonical(url: &str, bytes: Vec<u8>) -> Vec<u8> {
    let name = url.rsplit('/').next().unwrap_or_default();
    let mut out = Vec::with_capacity(bytes.len());
    match sorted(&bytes, shape_of(name), DEPTH_MAX, &mut out) {
        Some(()) => out,
        None => bytes,
    }
}

/// Appends the sorted message. Sorting keeps all lengths, so prefixes stay true.
fn sorted(bytes: &[u8], shape: &'static Shape, depth: u32, out: &mut Vec<u8>) -> Option<()> {
    if depth == 0 || matches!(shape, Plain) {
        out.extend_from_slice(bytes);
        return Some(());
    }
    let mut rest = bytes;
    let mut name = "";
    // entries of the map that is being read: key, and the entry with its tag and length
    let mut entries: Vec<(&[u8], Vec<u8>)> = Vec::new();
    let mut map = 0;
    while !rest.is_empty() {
        let field = Part::read(&mut rest)?;
        if field.number != map {
            flush(&mut entries, out);
        }
        let inner = match shape {
            Message(fields) => fields.iter().find(|(number, _)| *number == field.number),
            Any if field.number == 1 => {
                let url = std::str::from_utf8(field.value?).ok()?;
                name = url.rsplit('/').next().unwrap_or_default();
                None
            }
            Any | Plain => None,
        };
        match (inner, field.value) {
            (Some((_, Of(shape))), Some(value)) => {
                out.extend_from_slice(field.head);
                sorted(value, shape, depth - 1, out)?;
            }
            (Some((number, Map(shape))), Some(value)) => {
                map = *number;
                let mut entry = field.head.to_vec();
                let key = entry_of(value, shape, depth - 1, &mut entry)?;
                entries.push((key, entry));
            }
            (None, Some(value)) if matches!(shape, Any) && field.number == 2 => {
                out.extend_from_slice(field.head);
                sorted(value, shape_of(name), depth - 1, out)?;
            }
            _ => out.extend_from_slice(field.whole),
        }
    }
    flush(&mut entries, out);
    Some(())
}

fn flush(entries: &mut Vec<(&[u8], Vec<u8>)>, out: &mut Vec<u8>) {
    entries.sort();
    for (_, entry) in entries.drain(..) {
        out.extend_from_slice(&entry);
    }
}

/// Appends a map's entry and returns its key.
fn entry_of<'b>(
    bytes: &'b [u8],
    shape: &'static Shape,
    depth: u32,
    out: &mut Vec<u8>,
) -> Option<&'b [u8]> {
    let mut rest = bytes;
    let mut key: &[u8] = &[];
    while !rest.is_empty() {
        let field = Part::read(&mut rest)?;
        match (field.number, field.value) {
            (2, Some(value)) => {
                out.extend_from_slice(field.head);
                sorted(value, shape, depth, out)?;
            }
            (number, value) => {
                if number == 1 {
                    key = value.unwrap_or_default();
                }
                out.extend_from_slice(field.whole);
            }
        }
    }
    Some(key)
}

/// One field of an encoded message.
struct Part<'b> {
    number: u32,
    /// Tag and, for what has a length, the length.
    head: &'b [u8],
    /// All of it.
    whole: &'b [u8],
    /// The content of what has a length.
    value: Option<&'b [u8]>,
}

impl<'b> Part<'b> {
    /// Takes the next field; `None` when the bytes are no message.
    fn read(rest: &mut &'b [u8]) -> Option<Self> {
        let all = *rest;
        let tag = varint(rest)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let (length, has_length) = match tag & 7 {
            0 => {
                varint(rest)?;
                (0, false)
            }
            1 => (8, false),
            2 => (usize::try_from(varint(rest)?).ok()?, true),
            5 => (4, false),
            _ => return None,
        };
        let head = all.get(..all.len() - rest.len())?;
        let value = rest.get(..length)?;
        *rest = rest.get(length..)?;
        Some(Self {
            number,
            head,
            whole: all.get(..all.len() - rest.len())?,
            value: has_length.then_some(value),
        })
    }
}

/// Takes a number in base 128.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::{Message as _, Name};
    use sallyport_wire::envoy::envoy::config::core::v3::Metadata;
    use sallyport_wire::envoy::envoy::config::route::v3::{Route, RouteConfiguration, VirtualHost};
    use sallyport_wire::envoy::google::protobuf::{self, Struct, Value, value::Kind};
    use std::collections::{BTreeSet, HashMap};

    fn numbers(depth: u32) -> Struct {
        let value = |n: u32| match depth {
            0 => Kind::NumberValue(f64::from(n)),
            _ => Kind::StructValue(numbers(depth - 1)),
        };
        let entry = |n| {
            let kind = Some(value(n));
            (format!("key-{n}"), Value { kind })
        };
        Struct {
            fields: (0..9).map(entry).collect(),
        }
    }

    fn routes() -> RouteConfiguration {
        let any = protobuf::Any {
            type_url: Struct::type_url(),
            value: numbers(1).encode_to_vec(),
        };
        let per_filter: HashMap<_, _> = (0..9).map(|n| (format!("f{n}"), any.clone())).collect();
        let route = Route {
            name: "r".to_owned(),
            metadata: Some(Metadata {
                filter_metadata: (0..9).map(|n| (n.to_string(), numbers(1))).collect(),
                ..Metadata::default()
            }),
            typed_per_filter_config: per_filter.clone(),
            ..Route::default()
        };
        RouteConfiguration {
            name: "80".to_owned(),
            virtual_hosts: vec![VirtualHost {
                routes: vec![route.clone(), route],
                typed_per_filter_config: per_filter,
                ..VirtualHost::default()
            }],
            ..RouteConfiguration::default()
        }
    }

    #[test]
    fn equal_content_has_equal_bytes() {
        let url = RouteConfiguration::type_url();
        let encodings: Vec<Vec<u8>> = (0..20).map(|_| routes().encode_to_vec()).collect();
        let drawn: BTreeSet<_> = encodings.iter().cloned().collect();
        assert!(drawn.len() > 1, "the maps had one order by chance");
        let sorted = encodings.into_iter().map(|e| canonical(&url, e));
        let sorted: BTreeSet<_> = sorted.collect();
        assert_eq!(sorted.len(), 1);
        let bytes = sorted.first().unwrap();
        let read = RouteConfiguration::decode(&bytes[..]).unwrap();
        assert_eq!(read.virtual_hosts[0].routes.len(), 2);
        assert_eq!(canonical(&url, read.encode_to_vec()), *bytes);
    }

    #[test]
    fn bytes_that_are_no_message_stay() {
        for bytes in [&b"\xff\xff"[..], b"\x12\x7f\x00", b"\x13"] {
            let url = RouteConfiguration::type_url();
            assert_eq!(canonical(&url, bytes.to_vec()), bytes);
        }
    }
}
