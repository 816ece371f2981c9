//! What the interpreter does to a head: header edits, path rewrites, locations of redirects.
//!
//! Envoy's order inside one set of edits: remove; evaluate every value against what is left;
//! overwrite; append. A value that comes out empty writes nothing.

use super::Call;
use crate::ir::*;
use crate::re2;
use regex::bytes::Captures;

/// Path and query; the query keeps its `?`.
pub(super) fn split_query(path: &str) -> (&str, &str) {
    path.split_at(path.find('?').unwrap_or(path.len()))
}

/// Host and port; the port keeps its `:`. Knows `[::1]:80`.
pub(super) fn split_port(authority: &str) -> (&str, &str) {
    let from = authority.rfind(']').unwrap_or(0);
    let colon = authority
        .get(from..)
        .and_then(|rest| rest.find(':'))
        .map(|i| from + i);
    authority.split_at(colon.unwrap_or(authority.len()))
}

/// Lines of a field or of a pseudo field.
pub(super) fn lines<'c>(call: &'c Call, name: &str, scheme: &'c str) -> Vec<&'c str> {
    match name {
        ":method" => vec![&call.method],
        ":authority" | "host" => vec![&call.authority],
        ":path" => vec![&call.path],
        ":scheme" => vec![scheme],
        _ => call
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .collect(),
    }
}

/// Replaces all lines of a name by one.
pub(super) fn set(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    headers.retain(|(n, _)| n != name);
    headers.push((name.to_owned(), value.to_owned()));
}

fn render(template: &Template, call: &Call, headers: &[(String, String)]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => text.clone(),
        Piece::Operator {
            name,
            argument,
            max_length,
        } if name == "REQ" => {
            let seen = Call {
                headers: headers.to_vec(),
                ..call.clone()
            };
            let names = argument.as_deref().unwrap_or_default().split('?');
            // Envoy looks at the first line only, and takes it even if it is empty
            let found = names.map(str::to_ascii_lowercase).find_map(|n| {
                let first = lines(&seen, &n, "").first().map(|line| (*line).to_owned());
                first.filter(|line| !line.is_empty() || !n.starts_with(':'))
            });
            let limit = max_length.map_or(usize::MAX, |m| usize::try_from(m).unwrap_or(usize::MAX));
            let mut found = found.unwrap_or_default();
            found.truncate(found.floor_char_boundary(limit));
            found
        }
        Piece::Operator { .. } => String::new(),
    };
    template.0.iter().map(piece).collect()
}

/// Applies edits to the request's fields.
pub(super) fn edit_request(headers: &mut Vec<(String, String)>, call: &Call, edits: &HeaderEdits) {
    headers.retain(|(n, _)| !edits.remove.contains(n));
    let seen = headers.clone();
    let values = edits
        .write
        .iter()
        .map(|w| (w, render(&w.value, call, &seen)));
    let values: Vec<_> = values.filter(|(_, value)| !value.is_empty()).collect();
    for (write, value) in values.iter().filter(|(w, _)| !w.append) {
        set(headers, &write.name, value);
    }
    for (write, value) in values.into_iter().filter(|(w, _)| w.append) {
        headers.push((write.name.clone(), value));
    }
}

/// Says which edits the response gets.
pub(super) fn edit_response(call: &Call, edits: &HeaderEdits) -> Vec<String> {
    let mut out: Vec<String> = edits.remove.iter().map(|name| format!("-{name}")).collect();
    for append in [false, true] {
        for write in edits.write.iter().filter(|w| w.append == append) {
            let value = render(&write.value, call, &call.headers);
            if !value.is_empty() {
                out.push(format!(
                    "{}{}{value}",
                    write.name,
                    if append { "+=" } else { "=" }
                ));
            }
        }
    }
    out
}

/// The path that comes out of a rewrite; the query stays.
pub(super) fn rewrite_path(rewrite: &PathRewrite, whole: &str) -> String {
    let (path, query) = split_query(whole);
    let new = match rewrite {
        PathRewrite::Prefix { from, to } => {
            let joined = format!("{to}{}", path.get(from.len()..).unwrap_or_default());
            match joined.strip_prefix("//") {
                Some(rest) => format!("/{rest}"),
                None => joined,
            }
        }
        PathRewrite::Full(to) => to.clone(),
        PathRewrite::Regex { pattern, to } => match re2::part(pattern) {
            Ok(regex) => {
                let new = regex.replace_all(path.as_bytes(), |c: &Captures<'_>| expand(to, c));
                String::from_utf8_lossy(&new).into_owned()
            }
            Err(_) => path.to_owned(),
        },
    };
    // what does not begin with a slash would not be a request
    let slash = if new.starts_with('/') { "" } else { "/" };
    format!("{slash}{new}{query}")
}

/// RE2's rewrite syntax: `\0`..`\9` are groups, `\\` is a backslash.
fn expand(to: &str, groups: &Captures<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = to.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some(d) if d.is_ascii_digit() => {
                    let group = d
                        .to_digit(10)
                        .and_then(|d| groups.get(usize::try_from(d).ok()?));
                    out.extend_from_slice(group.map_or(b"", |g| g.as_bytes()));
                }
                Some(other) => out.extend_from_slice(other.to_string().as_bytes()),
                None => {}
            },
            (c, false) => out.extend_from_slice(c.to_string().as_bytes()),
        }
    }
    out
}

/// `location` of a redirect.
pub(super) fn location(redirect: &Redirect, call: &Call, scheme: &str) -> String {
    let to = redirect.scheme.as_deref().unwrap_or(scheme);
    let default_port = |scheme: &str| if scheme == "https" { 443 } else { 80 };
    let authority = match (&redirect.authority, redirect.port) {
        (Some(given), RedirectPort::Keep | RedirectPort::Default) => given.clone(),
        (given, RedirectPort::Number(port)) => {
            let host = given
                .as_deref()
                .unwrap_or_else(|| split_port(&call.authority).0);
            if port == default_port(to) {
                host.to_owned()
            } else {
                format!("{host}:{port}")
            }
        }
        (None, RedirectPort::Default) => split_port(&call.authority).0.to_owned(),
        // the port that was implied by the old scheme goes when the scheme changes
        (None, RedirectPort::Keep) => match split_port(&call.authority) {
            (host, port) if to != scheme && port == format!(":{}", default_port(scheme)) => {
                host.to_owned()
            }
            _ => call.authority.clone(),
        },
    };
    let path = match &redirect.path {
        // a query in the new path replaces the request's
        Some(PathRewrite::Full(path)) if path.contains('?') => path.clone(),
        Some(rewrite) => rewrite_path(rewrite, &call.path),
        None => call.path.clone(),
    };
    format!("{to}://{authority}{path}")
}

/// HTTP status of a gRPC one, for callers that do not speak gRPC (Envoy `Grpc::Utility`).
pub(super) fn http_of_grpc(code: u8) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
