//! `calls.yaml` as [`Vector`]s. Strict: an unknown key is an error, so that no expectation is
//! skipped in silence.
//!
//! ```yaml
//! - id: v2 loses its prefix
//!   port: 8443
//!   tls: api.example.com        # server name; absent for cleartext, "" for TLS without one
//!   alpn: [istio]               # offered in the handshake; absent for http/1.1
//!   method: GET                 # default
//!   host: api.example.com
//!   path: /v2/x
//!   headers: {x-a: 1, x-b: [1, 2]}
//!   claims: {role: [admin]}     # of a verified token, by dotted path
//!   refused: 401                # by whom a CUSTOM policy asks, with this status
//!   identity: spiffe://cluster.local/ns/x/sa/y    # of the peer's verified certificate
//!   peer: 10.0.0.1              # address that the connection comes from
//!   client: 1.2.3.4             # address of the client behind trusted hops
//!   dice: {target: 0, delay: 0, abort: 0, mirror: 0}
//!   expect:
//!     forward: {cluster: outbound|8080||api-v2.default.svc.cluster.local, path: /x}
//! ```

use super::{Expect, ExpectForward, Vector};
use crate::model::{Call, Dice};
use crate::source::FileId;
use crate::yaml::read::read;
use crate::yaml::{Entry, Node};
use std::str::FromStr;

/// Reads calls.
///
/// # Errors
/// Says what is wrong and on which line.
pub fn decode(text: &str) -> Result<Vec<Vector>, String> {
    let documents = read(FileId(0), text);
    if let Some(broken) = documents.broken.first() {
        return Err(format!("calls are not YAML: {}", broken.message));
    }
    let items = documents.list.iter().flat_map(|d| d.node.items());
    items
        .map(|node| vector(node).map_err(|why| format!("line {}: {why}", node.span.line)))
        .collect()
}

fn text(node: &Node) -> Result<String, String> {
    node.scalar()
        .map(str::to_owned)
        .ok_or_else(|| format!("expected text, found {}", node.describe()))
}

fn number<T: FromStr>(node: &Node) -> Result<T, String> {
    let text = text(node)?;
    text.parse()
        .map_err(|_| format!("`{text}` is not a number that fits"))
}

fn texts(node: &Node) -> Result<Vec<String>, String> {
    match node.items() {
        [] if node.scalar().is_some() => Ok(vec![text(node)?]),
        items => items.iter().map(text).collect(),
    }
}

fn unknown<T>(entry: &Entry) -> Result<T, String> {
    Err(format!("unknown key `{}`", entry.key))
}

fn vector(node: &Node) -> Result<Vector, String> {
    let mut id = String::new();
    let mut expect = None;
    let mut call = Call {
        port: 8080,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        ..Call::default()
    };
    for entry in node.entries() {
        let value = &entry.value;
        match &*entry.key {
            "id" => id = text(value)?,
            "port" => call.port = number(value)?,
            "tls" => call.sni = Some(text(value)?),
            "alpn" => call.alpn = texts(value)?,
            "method" => call.method = text(value)?,
            "host" => call.authority = text(value)?,
            "path" => call.path = text(value)?,
            "headers" => {
                for field in value.entries() {
                    let name = field.key.to_ascii_lowercase();
                    call.headers
                        .extend(texts(&field.value)?.into_iter().map(|v| (name.clone(), v)));
                }
            }
            "claims" => {
                for claim in value.entries() {
                    let path = claim.key.split('.').map(str::to_owned).collect();
                    call.claims.push((path, texts(&claim.value)?));
                }
            }
            "spent" => call.spent = text(value)? == "true",
            "refused" => call.refused = Some(number(value)?),
            "identity" => call.identity = Some(text(value)?),
            "peer" => call.peer = Some(number(value)?),
            "client" => call.client = Some(number(value)?),
            "dice" => call.dice = dice(value)?,
            "expect" => expect = Some(outcome(value)?),
            _ => return unknown(entry),
        }
    }
    let expect = expect.ok_or("no `expect`")?;
    Ok(Vector { id, call, expect })
}

fn dice(node: &Node) -> Result<Dice, String> {
    let mut dice = Dice::default();
    for entry in node.entries() {
        match &*entry.key {
            "target" => dice.target = number(&entry.value)?,
            "delay" => dice.delay = number(&entry.value)?,
            "abort" => dice.abort = number(&entry.value)?,
            "mirror" => dice.mirror = number(&entry.value)?,
            _ => return unknown(entry),
        }
    }
    Ok(dice)
}

fn outcome(node: &Node) -> Result<Expect, String> {
    match node.scalar() {
        Some("refused") => return Ok(Expect::Refused),
        Some("closed") => return Ok(Expect::Closed),
        Some("no_certificate") => return Ok(Expect::NoCertificate),
        Some("misdirected") => return Ok(Expect::Misdirected),
        Some("no_route") => return Ok(Expect::NoRoute),
        Some(other) => return Err(format!("unknown outcome `{other}`")),
        None => {}
    }
    let [entry] = node.entries() else {
        return Err("`expect` has one outcome".to_owned());
    };
    let field = |name: &str| entry.value.get(name).map(text).transpose();
    let known = |names: &[&str]| match entry
        .value
        .entries()
        .iter()
        .find(|e| !names.contains(&&*e.key))
    {
        Some(entry) => unknown(entry),
        None => Ok(()),
    };
    let status = || number(entry.value.get("status").ok_or("no `status`")?);
    match &*entry.key {
        "tcp" => Ok(Expect::Tcp(text(&entry.value)?)),
        "redirect" => {
            known(&["status", "location"])?;
            Ok(Expect::Redirect {
                status: status()?,
                location: field("location")?.unwrap_or_default(),
            })
        }
        "direct" => {
            known(&["status", "body", "details"])?;
            Ok(Expect::Direct {
                status: status()?,
                body: field("body")?,
                details: field("details")?,
            })
        }
        "denied" => {
            known(&["status", "details"])?;
            Ok(Expect::Denied {
                status: status()?,
                details: field("details")?,
            })
        }
        "preflight" => {
            let pair = |e: &Entry| Ok((e.key.to_string(), text(&e.value)?));
            Ok(Expect::Preflight(
                entry
                    .value
                    .entries()
                    .iter()
                    .map(pair)
                    .collect::<Result<_, String>>()?,
            ))
        }
        "forward" => Ok(Expect::Forward(Box::new(forward(&entry.value)?))),
        _ => unknown(entry),
    }
}

fn forward(node: &Node) -> Result<ExpectForward, String> {
    let mut out = ExpectForward::default();
    for entry in node.entries() {
        let value = &entry.value;
        match &*entry.key {
            "cluster" => out.cluster = Some(text(value)?),
            "unknown" => out.unknown = text(value)? == "true",
            "route" => out.route = Some(text(value)?),
            "path" => out.path = Some(text(value)?),
            "authority" => out.authority = Some(text(value)?),
            "headers" => {
                for field in value.entries() {
                    out.headers
                        .push((field.key.to_string(), texts(&field.value)?));
                }
            }
            "absent" => out.absent = texts(value)?,
            "response" => out.response = Some(texts(value)?),
            "timeout" => out.timeout = Some(number(value)?),
            "attempts" => out.attempts = Some(number(value)?),
            "mirrors" => out.mirrors = Some(texts(value)?),
            "delay" => out.delay = Some(number(value)?),
            _ => return unknown(entry),
        }
    }
    Ok(out)
}
