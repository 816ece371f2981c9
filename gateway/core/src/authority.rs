//! The authority of a request (`Host`, `:authority`, the authority of an absolute target): its
//! grammar and how two of them compare.
//!
//! Stricter than RFC 3986 where that is ambiguous on the wire: no userinfo, no percent-encoding,
//! no comma (two hosts folded into one field), nothing outside ASCII.

use std::net::Ipv6Addr;

use crate::limits::MAX_HOST_BYTES;

/// A host and the port that may follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authority<'a> {
    /// Name, IPv4 address or bracketed IPv6 address, as sent; never empty.
    pub host: &'a [u8],
    /// The port, if one was given.
    pub port: Option<u16>,
}

/// The text is not an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAuthority;

impl std::fmt::Display for BadAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a host with an optional port")
    }
}

impl std::error::Error for BadAuthority {}

/// Parses `uri-host [":" port]` (RFC 9110 §7.2). A colon without digits behind it is legal and
/// means no port.
///
/// # Errors
/// For an empty or overlong host, a byte that a host cannot have, or a port above 65535.
pub fn parse(text: &[u8]) -> Result<Authority<'_>, BadAuthority> {
    let host_len = match text {
        [b'[', ..] => ipv6_len(text)?,
        _ => text
            .iter()
            .position(|b| !is_name_byte(*b))
            .unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(host_len).ok_or(BadAuthority)?;
    if host.is_empty() || host.len() > MAX_HOST_BYTES {
        return Err(BadAuthority);
    }
    let port = match rest {
        [] | [b':'] => None,
        [b':', digits @ ..] => Some(parse_port(digits)?),
        _ => return Err(BadAuthority),
    };
    Ok(Authority { host, port })
}

/// Whether two hosts are the same: letters compare without case (RFC 9110 §4.2.3), a trailing dot
/// counts (it names the same node, but no certificate and no rule is written that way).
#[must_use]
pub fn same_host(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Whether two authorities address the same origin when `default_port` fills a missing port.
#[must_use]
pub fn same(a: Authority<'_>, b: Authority<'_>, default_port: u16) -> bool {
    same_host(a.host, b.host) && a.port.unwrap_or(default_port) == b.port.unwrap_or(default_port)
}

/// Length of the bracketed IPv6 literal at the front. Zones and future versions have no meaning
/// between two hosts.
fn ipv6_len(text: &[u8]) -> Result<usize, BadAuthority> {
    let close = text.iter().position(|b| *b == b']').ok_or(BadAuthority)?;
    let inner = text
        .get(1..close)
        .and_then(|inner| str::from_utf8(inner).ok());
    inner
        .and_then(|inner| inner.parse::<Ipv6Addr>().ok())
        .ok_or(BadAuthority)?;
    Ok(close + 1)
}

fn parse_port(digits: &[u8]) -> Result<u16, BadAuthority> {
    digits.iter().try_fold(0_u16, |port, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(BadAuthority);
        }
        let port = port
            .checked_mul(10)
            .and_then(|port| port.checked_add(u16::from(digit)));
        port.ok_or(BadAuthority)
    })
}

/// unreserved and sub-delims of RFC 3986, without the comma.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'')
        || matches!(byte, b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        let long = "a".repeat(256);
        let good: [(&str, &str, Option<u16>); 12] = [
            ("a.example", "a.example", None),
            ("A.Example:80", "A.Example", Some(80)),
            ("a.example.", "a.example.", None),
            ("a.example:", "a.example", None),
            ("a.example:65535", "a.example", Some(65535)),
            ("a.example:00080", "a.example", Some(80)),
            ("10.0.0.1:8080", "10.0.0.1", Some(8080)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
            ("[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]", None),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
            ("a_b", "a_b", None),
        ];
        for (text, host, port) in good {
            let expected = Authority {
                host: host.as_bytes(),
                port,
            };
            assert_eq!(parse(text.as_bytes()), Ok(expected), "{text}");
        }
        let bad = [
            "",
            ":80",
            "a:b",
            "a:65536",
            "a:-1",
            "a:+1",
            "a:80:80",
            "a:8 0",
            "a b",
            "a,b",
            "a/b",
            "a\\b",
            "user@a",
            "u:p@a",
            "a%2eb",
            "a?b",
            "a#b",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%eth0]",
            "[v1.a]",
            "[]",
            "[1.2.3.4]",
            "a\0",
            "bücher",
            "a\"b",
            "<a>",
            "http://a",
            &long,
        ];
        for text in bad {
            assert_eq!(parse(text.as_bytes()), Err(BadAuthority), "{text}");
        }
    }

    #[test]
    fn comparison_ignores_case_and_fills_the_port() {
        let parse = |text: &'static str| parse(text.as_bytes()).unwrap();
        assert!(same(parse("A.example"), parse("a.EXAMPLE:80"), 80));
        assert!(!same(parse("a.example"), parse("a.example:80"), 443));
        assert!(!same(parse("a.example"), parse("a.example."), 80));
    }
}
