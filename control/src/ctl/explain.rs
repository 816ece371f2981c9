//! `sallyctl explain`: where a request goes, and why.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sallyport_config::ir::{EscapedSlashes, Listener, ListenerKind, PathNormalization, Settings};
use sallyport_core::call::{Call, HeaderLines, Scheme};
use sallyport_core::decide::Where;
use sallyport_core::explain::{Explanation, explain};
use sallyport_core::path::{self, PathAction, PathPolicy, normalize};
use sallyport_core::tables::Tables;
use serde_json::Value;

use super::args::{ExplainArgs, Output};
use super::{Outcome, Trouble, admin, offline, say};

/// Runs the command.
pub(super) fn run(args: &ExplainArgs, out: &mut Vec<u8>) -> Result<Outcome, Trouble> {
    let url = Url::parse(&args.url).ok_or_else(|| {
        Trouble::new(format!(
            "`{}` is not a URL like https://host/path",
            args.url
        ))
    })?;
    let fields = Fields::parse(&args.headers)?;
    match &args.source.admin {
        Some(base) => live(base, args, &fields, out),
        None => {
            let tables = Tables::build(offline::snapshot(&args.source.config, &args.identity)?);
            let answer = offline_answer(&tables, args, &url, &fields);
            Ok(write(&answer, args.output, out))
        }
    }
}

/// What is said about a request.
enum Answer {
    /// Rule by rule.
    Explained(Explanation),
    /// It does not come as far as the rules.
    Stopped(String),
}

fn write(answer: &Answer, output: Output, out: &mut Vec<u8>) -> Outcome {
    let json = match answer {
        // plain strings and booleans: serialising them cannot fail
        Answer::Explained(explanation) => serde_json::to_value(explanation).unwrap_or_default(),
        Answer::Stopped(why) => serde_json::json!({ "verdict": why }),
    };
    match (output, answer) {
        (Output::Json, _) => say(out, &format!("{json:#}\n")),
        (Output::Human, Answer::Explained(explanation)) => say(out, &explanation.to_string()),
        (Output::Human, Answer::Stopped(why)) => say(out, &format!("{why}\n")),
    }
    outcome(&json)
}

/// Whether the request is served: a rule takes it, or it is sent to HTTPS.
fn outcome(answer: &Value) -> Outcome {
    let rules = answer.get("rules").and_then(Value::as_array);
    let taken = rules.is_some_and(|list| {
        list.iter()
            .any(|r| r.get("matched") == Some(&Value::Bool(true)))
    });
    let verdict = answer.get("verdict").and_then(Value::as_str);
    if taken || verdict.is_some_and(|v| v.starts_with("redirected")) {
        Outcome::Clean
    } else {
        Outcome::Findings
    }
}

fn live(
    base: &str,
    args: &ExplainArgs,
    fields: &Fields,
    out: &mut Vec<u8>,
) -> Result<Outcome, Trouble> {
    let mut path = format!(
        "/explain?url={}&method={}",
        admin::escaped(&args.url),
        admin::escaped(&args.method)
    );
    for (name, value) in &fields.0 {
        let _ = write!(
            path,
            "&header={}",
            admin::escaped(&format!("{name}:{value}"))
        );
    }
    if let Some(sni) = &args.sni {
        let _ = write!(path, "&sni={}", admin::escaped(sni));
    }
    let (status, body) = admin::get(base, &path)?;
    let answer = serde_json::from_str::<Value>(&body).ok();
    match (status, args.output, &answer) {
        (200, Output::Human, Some(_)) => {
            let (_, text) = admin::get(base, &format!("{path}&format=text"))?;
            say(out, &text);
        }
        (200, _, _) => say(out, &body),
        _ => {
            return Err(Trouble::new(format!(
                "{base} answers {status}: {}",
                body.trim()
            )));
        }
    }
    Ok(answer.as_ref().map_or(Outcome::Findings, outcome))
}

/// The same steps as the gateway: listener, handshake, path, rules.
fn offline_answer(tables: &Tables, args: &ExplainArgs, url: &Url<'_>, fields: &Fields) -> Answer {
    let Some(chosen) = listener(&tables.snapshot().listeners, url) else {
        return Answer::Stopped(format!("no listener serves port {}", url.port));
    };
    let Some(listener) = tables.listener_named(&chosen.name) else {
        return Answer::Stopped(format!("listener {} is not served", chosen.name));
    };
    let is_tls = matches!(chosen.kind, ListenerKind::Tls(_));
    let sni = args.sni.as_deref().unwrap_or(url.host);
    let chain = if is_tls {
        tables.chain(listener, Some(sni))
    } else {
        None
    };
    if is_tls && chain.is_none() {
        return Answer::Stopped(format!(
            "listener {}: no server has the name {sni}, the handshake is refused",
            chosen.name
        ));
    }
    let target = match normalized(url.target, policy(&tables.snapshot().settings)) {
        Ok(target) => target,
        Err(why) => return Answer::Stopped(why),
    };
    let (path, query) = target
        .split_once('?')
        .map_or((target.as_str(), None), |(p, q)| (p, Some(q)));
    let client = SocketAddr::new(args.source_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0);
    let call = Call {
        scheme: if is_tls { Scheme::Https } else { url.scheme },
        method: &args.method,
        authority: fields.first_text("host").unwrap_or(url.authority),
        path,
        query,
        headers: fields,
        client,
        peer: client,
        local: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), chosen.port),
        sni: is_tls.then_some(sni),
        identity: None,
    };
    Answer::Explained(explain(tables, Where { listener, chain }, &call))
}

fn normalized(target: &str, how: PathPolicy) -> Result<String, String> {
    let mut scratch = Vec::new();
    match normalize(target.as_bytes(), how, &mut scratch) {
        PathAction::Unchanged => Ok(target.to_owned()),
        PathAction::Rewritten => Ok(String::from_utf8_lossy(&scratch).into_owned()),
        PathAction::Redirect => Err(format!(
            "307 to {}: the path has an escaped slash",
            String::from_utf8_lossy(&scratch)
        )),
        PathAction::Reject { status } => Err(format!("{status}: the path is not acceptable")),
    }
}

/// How the gateway normalises paths: `pathNormalization`, and more where the profile asks for it.
fn policy(settings: &Settings) -> PathPolicy {
    let asked = match settings.path_normalization {
        PathNormalization::None => PathPolicy::NONE,
        PathNormalization::Base => PathPolicy::BASE,
        PathNormalization::MergeSlashes => PathPolicy::MERGE_SLASHES,
        PathNormalization::DecodeAndMergeSlashes => PathPolicy::DECODE_AND_MERGE_SLASHES,
    };
    let profile = match settings.connection.escaped_slashes {
        EscapedSlashes::Keep => asked.escaped_slashes,
        EscapedSlashes::Reject => path::EscapedSlashes::Reject,
        EscapedSlashes::UnescapeAndRedirect => path::EscapedSlashes::Redirect,
        EscapedSlashes::UnescapeAndForward => path::EscapedSlashes::Unescape,
    };
    PathPolicy {
        merge_slashes: asked.merge_slashes || settings.connection.merge_slashes,
        escaped_slashes: profile,
        refuse_dot_parameters: settings.connection.escaped_slashes != EscapedSlashes::Keep,
        ..asked
    }
}

/// The listener of the URL's port; else the only one of its scheme.
fn listener<'s>(all: &'s [Listener], url: &Url<'_>) -> Option<&'s Listener> {
    let secure = url.scheme == Scheme::Https;
    let mut of_scheme = all
        .iter()
        .filter(|l| matches!(l.kind, ListenerKind::Tls(_)) == secure);
    all.iter()
        .find(|l| l.port == url.port)
        .or_else(|| of_scheme.next().filter(|_| of_scheme.next().is_none()))
}

/// A URL taken apart.
struct Url<'a> {
    scheme: Scheme,
    authority: &'a str,
    host: &'a str,
    port: u16,
    target: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://")? {
            ("http", rest) => (Scheme::Http, rest),
            ("https", rest) => (Scheme::Https, rest),
            _ => return None,
        };
        let rest = rest.split('#').next()?;
        let (authority, target) =
            rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
        // the colons of an IPv6 address are inside brackets
        let colon = authority
            .rfind(':')
            .filter(|at| authority.get(*at..).is_some_and(|t| !t.contains(']')));
        let (host, port) = match colon {
            Some(at) => (authority.get(..at)?, authority.get(at + 1..)?.parse().ok()?),
            None => (authority, if scheme == Scheme::Https { 443 } else { 80 }),
        };
        let target = if target.is_empty() { "/" } else { target };
        (!host.is_empty()).then_some(Self {
            scheme,
            authority,
            host,
            port,
            target,
        })
    }
}

/// Headers given by hand, names in lower case.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(lines: &[String]) -> Result<Self, Trouble> {
        let one = |line: &String| {
            let (name, value) = line.split_once(':').filter(|(n, _)| !n.trim().is_empty())?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        let all = lines.iter().map(|l| {
            one(l).ok_or_else(|| Trouble::new(format!("`{l}` is not a header like `x-user: 7`")))
        });
        all.collect::<Result<Vec<_>, _>>().map(Self)
    }

    fn first_text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

impl HeaderLines for Fields {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0
            .iter()
            .filter(|(n, _)| n == name)
            .any(|(_, value)| visit(value.as_bytes()))
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.first_text(name).map(str::as_bytes)
    }
}
