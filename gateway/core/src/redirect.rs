//! `location`: what a rule's redirect says, and the request for what it does not say.

use crate::call::{Call, Scheme};
use crate::flags::Flags;
use crate::reply::Reply;
use crate::rewrite::{Path, PathRule};
use crate::tables::split_port;
use sallyport_config::ir::{Redirect, RedirectPort};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The answer of a redirecting rule.
pub(crate) fn redirect<'t>(rule: &Redirect, path: Option<&PathRule>, call: &Call<'_>) -> Reply<'t> {
    let scheme = rule.scheme.as_deref().unwrap_or(call.scheme.as_str());
    let mut location = format!("{scheme}://");
    authority(rule, scheme, call, &mut location);
    let kept = Path::Kept;
    let new = path.map_or(kept, |rule| rule.apply(call.path));
    new.parts(call.path)
        .iter()
        .for_each(|part| location.push_str(part));
    if !path.is_some_and(PathRule::has_query) {
        query(call, &mut location);
    }
    reply(rule.status, location)
}

/// The answer of `tls.httpsRedirect`: everything as it was, but over TLS.
pub(crate) fn to_https<'t>(status: u16, call: &Call<'_>) -> Reply<'t> {
    let mut location = format!("https://{}{}", call.authority, call.path);
    query(call, &mut location);
    reply(status, location)
}

fn reply<'t>(status: u16, location: String) -> Reply<'t> {
    let mut reply = Reply::empty(status, Flags::NONE, "direct_response");
    let name = Cow::Borrowed("location");
    reply.headers.push((name, Cow::Owned(location)));
    reply
}

fn authority(rule: &Redirect, scheme: &str, call: &Call<'_>, out: &mut String) {
    let (host, port) = split_port(call.authority);
    match (&rule.authority, rule.port) {
        (Some(given), RedirectPort::Keep | RedirectPort::Default) => out.push_str(given),
        (given, RedirectPort::Number(number)) => {
            out.push_str(given.as_deref().unwrap_or(host));
            if number != default_port(scheme) {
                // Writing to a string cannot fail.
                let _ = write!(out, ":{number}");
            }
        }
        (None, RedirectPort::Default) => out.push_str(host),
        (None, RedirectPort::Keep) => {
            out.push_str(host);
            // A port that only spelled out the old scheme does not fit the new one.
            let implied = port.strip_prefix(':').and_then(|port| port.parse().ok());
            let stale = scheme != call.scheme.as_str()
                && implied == Some(default_port(call.scheme.as_str()));
            if !stale {
                out.push_str(port);
            }
        }
    }
}

fn default_port(scheme: &str) -> u16 {
    if scheme == Scheme::Https.as_str() {
        443
    } else {
        80
    }
}

fn query(call: &Call<'_>, out: &mut String) {
    if let Some(query) = call.query {
        out.push('?');
        out.push_str(query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::NoHeaders;
    use crate::tables::Patterns;
    use RedirectPort::{Default as NoPort, Keep, Number};
    use sallyport_config::ir::PathRewrite;

    fn call(authority: &'static str) -> Call<'static> {
        Call {
            scheme: Scheme::Http,
            method: "GET",
            authority,
            path: "/foo",
            query: Some("k=v"),
            headers: &NoHeaders,
            client: ([127, 0, 0, 1], 1).into(),
            peer: ([127, 0, 0, 1], 1).into(),
            local: ([127, 0, 0, 1], 80).into(),
            sni: None,
            identity: None,
        }
    }

    fn location(reply: &Reply<'_>) -> String {
        reply.headers[0].1.clone().into_owned()
    }

    /// Path, authority, scheme and port of a rule, the request's authority, and the location.
    type Case = (
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        RedirectPort,
        &'static str,
        &'static str,
    );

    #[rustfmt::skip]
    const CASES: &[Case] = &[
        (Some("/new"), Some("foo.com"), None, Keep, "b:85", "http://foo.com/new?k=v"),
        (Some("/new?z"), None, None, Keep, "b:85", "http://b:85/new?z"),
        (Some("new"), None, None, Keep, "b", "http://b/new?k=v"),
        (None, None, Some("https"), Number(80), "h:81", "https://h:80/foo?k=v"),
        (None, None, None, Number(85), "b", "http://b:85/foo?k=v"),
        (None, Some("c:1"), None, Number(85), "b", "http://c:1:85/foo?k=v"),
        (None, None, Some("https"), Keep, "b:80", "https://b/foo?k=v"),
        (None, None, Some("https"), Keep, "b:8080", "https://b:8080/foo?k=v"),
        (None, None, Some("http"), Keep, "b:80", "http://b:80/foo?k=v"),
        (None, None, Some("https"), NoPort, "[::1]:8080", "https://[::1]/foo?k=v"),
        (None, None, Some("https"), Number(443), "b:80", "https://b/foo?k=v"),
    ];

    #[test]
    fn a_location_keeps_what_the_rule_does_not_say() {
        for (path, authority, scheme, port, host, want) in CASES {
            let rule = Redirect {
                status: 301,
                path: path.map(|path| PathRewrite::Full(path.to_owned())),
                authority: authority.map(str::to_owned),
                scheme: scheme.map(str::to_owned),
                port: *port,
            };
            let mut patterns = Patterns::default();
            let path = rule.path.as_ref().map(|p| PathRule::new(p, &mut patterns));
            let reply = redirect(&rule, path.as_ref(), &call(host));
            assert_eq!(location(&reply), *want, "{rule:?}");
        }
    }

    #[test]
    fn https_redirects_change_nothing_but_the_scheme() {
        let reply = to_https(308, &call("a.com:8080"));
        assert_eq!(reply.status, 308);
        assert_eq!(location(&reply), "https://a.com:8080/foo?k=v");
    }
}
