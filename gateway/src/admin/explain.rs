//! `/explain`: asks the tables that serve the traffic where a request would go, and why.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sallyport_config::ir::{Listener, ListenerKind};
use sallyport_core::call::{Call, HeaderLines, Scheme};
use sallyport_core::decide::Where;
use sallyport_core::explain::explain;
use sallyport_core::path::{PathAction, normalize};
use sallyport_core::tables::ListenerIdx;

use super::http::{Answer, Request};
use crate::generation::Generation;
use crate::listen::BoundAddress;
use crate::process::Addresses;

const USAGE: &str = "usage: /explain?url=https://host[:port]/path[&method=GET][&header=name:value]\
    [&sni=name][&format=text]\n";

/// Fields given by hand.
struct Fields(Vec<(String, String)>);

impl HeaderLines for Fields {
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut lines = self.0.iter().filter(|(n, _)| n == name);
        lines.any(|(_, value)| visit(value.as_bytes()))
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.0.iter();
        lines
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_bytes())
    }
}

/// A URL taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let host_end = authority.rfind(':').filter(|colon| {
            authority
                .get(*colon..)
                .is_some_and(|tail| !tail.contains(']'))
        });
        let (host, port) = match host_end {
            Some(colon) => (
                authority.get(..colon)?,
                authority.get(colon + 1..)?.parse().ok()?,
            ),
            None if scheme == Scheme::Https => (authority, 443),
            None => (authority, 80),
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

/// Answers `/explain`.
pub(super) fn answer(generation: &Generation, addresses: &Addresses, request: &Request) -> Answer {
    let Some(url) = request.argument("url").and_then(Url::parse) else {
        return Answer::text(400, USAGE);
    };
    let Some((listener, chosen)) = listener(generation, addresses, url) else {
        let message = format!("no listener serves port {}\n", url.port);
        return Answer::text(404, message);
    };
    let tables = &generation.tables;
    let sni = request.argument("sni").unwrap_or(url.host);
    let is_tls = matches!(chosen.kind, ListenerKind::Tls(_));
    let chain = tables.chain(listener, Some(sni));
    if is_tls && chain.is_none() {
        let message = format!(
            "listener {} has no server for the name {sni}: handshake refused\n",
            chosen.name
        );
        return Answer::text(200, message);
    }
    let mut scratch = Vec::new();
    let target = match normalize(url.target.as_bytes(), generation.serving.path, &mut scratch) {
        PathAction::Unchanged => url.target.to_owned(),
        PathAction::Rewritten => String::from_utf8_lossy(&scratch).into_owned(),
        PathAction::Redirect => {
            let location = String::from_utf8_lossy(&scratch);
            return Answer::text(
                200,
                format!("307 to {location}: the path has an escaped slash\n"),
            );
        }
        PathAction::Reject { status } => {
            return Answer::text(200, format!("{status}: the path is not acceptable\n"));
        }
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target.as_str(), None),
    };
    let anybody = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let fields = fields(request);
    let call = Call {
        scheme: if is_tls { Scheme::Https } else { url.scheme },
        method: request.argument("method").unwrap_or("GET"),
        authority: url.authority,
        path,
        query,
        headers: &fields,
        client: anybody,
        peer: anybody,
        local: SocketAddr::new(anybody.ip(), chosen.port),
        sni: is_tls.then_some(sni),
        identity: None,
    };
    let explanation = explain(tables, Where { listener, chain }, &call);
    if request.argument("format") == Some("text") {
        return Answer::text(200, explanation.to_string());
    }
    // Plain strings and booleans: serialising them cannot fail.
    Answer::json(&serde_json::to_value(&explanation).unwrap_or_default())
}

/// The listener of a port, as declared or as bound. A URL without a matching port gets the only
/// listener of its scheme, if there is just one.
fn listener<'g>(
    generation: &'g Generation,
    addresses: &Addresses,
    url: Url<'_>,
) -> Option<(ListenerIdx, &'g Listener)> {
    let bound_there = |listener: &Listener| {
        let addresses = addresses
            .get(&*listener.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        addresses
            .iter()
            .any(|address| matches!(address, BoundAddress::Tcp(a) if a.port() == url.port))
    };
    let of_scheme = |listener: &&Listener| {
        matches!(listener.kind, ListenerKind::Tls(_)) == (url.scheme == Scheme::Https)
    };
    let all = &generation.snapshot.listeners;
    let by_port = all.iter().find(|listener| bound_there(listener));
    let declared = || all.iter().find(|listener| listener.port == url.port);
    let only = || {
        let mut of_scheme = all.iter().filter(of_scheme);
        of_scheme.next().filter(|_| of_scheme.next().is_none())
    };
    let chosen = by_port.or_else(declared).or_else(only)?;
    Some((generation.tables.listener_named(&chosen.name)?, chosen))
}

fn fields(request: &Request) -> Fields {
    let given = request.query.iter().filter(|(name, _)| name == "header");
    let lines = given.filter_map(|(_, line)| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    });
    Fields(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |text| {
            let url = Url::parse(text)?;
            Some((
                url.scheme.as_str(),
                url.authority,
                url.host,
                url.port,
                url.target,
            ))
        };
        for (text, expected) in [
            ("http://a", Some(("http", "a", "a", 80, "/"))),
            (
                "https://a:8443/b?c#d",
                Some(("https", "a:8443", "a", 8443, "/b?c")),
            ),
            (
                "https://[::1]/",
                Some(("https", "[::1]", "[::1]", 443, "/")),
            ),
            (
                "https://[::1]:1?x",
                Some(("https", "[::1]:1", "[::1]", 1, "?x")),
            ),
            ("a/b", None),
            ("ftp://a/", None),
            ("http:///a", None),
            ("http://a:port/", None),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }
}
