//! The small words that many kinds share: host names, addresses, header names, durations.
//!
//! Each function judges one value and says what is wrong with it in one clause; where the value
//! stands is the caller's business. The rules are those of Istio's `pkg/config/validation/agent`.

use std::net::IpAddr;
use std::time::Duration;

/// Longest regular expression that Istio accepts, in bytes.
const MAX_REGEX: usize = 1024;
/// Longest host name, in bytes (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 255;
/// Longest label of a host name, in bytes.
const MAX_LABEL: usize = 63;

/// What is wrong with a value, as a clause.
pub(crate) type Judgement = Result<(), String>;

/// A label of a host name; letters of any case, digits and inner dashes.
pub(crate) fn is_label(text: &str) -> bool {
    let inner = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    !text.is_empty()
        && text.len() <= MAX_LABEL
        && inner
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A name of a namespace, subset or similar.
pub(crate) fn label(text: &str) -> Judgement {
    if is_label(text) {
        Ok(())
    } else {
        Err(format!(
            "`{text}` is not a DNS label (letters, digits and inner dashes, at most 63)"
        ))
    }
}

/// A fully qualified or short host name without wildcard.
pub(crate) fn fqdn(text: &str) -> Judgement {
    host_labels(
        text,
        text.strip_suffix('.')
            .unwrap_or(text)
            .split('.')
            .map(is_label),
    )
}

/// A host name, `*`, or a name that begins with `*.` (or `*-`, as Istio has it).
pub(crate) fn wildcard_host(text: &str) -> Judgement {
    if text == "*." {
        return Err("`*.` is not a host name".to_owned());
    }
    if text == "*" {
        return Ok(());
    }
    let labels = text
        .strip_suffix('.')
        .unwrap_or(text)
        .split('.')
        .enumerate()
        .map(|(i, part)| {
            is_label(part)
                || (i == 0
                    && part.strip_prefix('*').is_some_and(|rest| {
                        rest.is_empty() || is_label(rest.trim_start_matches('-'))
                    }))
        });
    host_labels(text, labels)
}

fn host_labels(text: &str, mut labels: impl Iterator<Item = bool>) -> Judgement {
    if text.is_empty() {
        return Err("a host name is missing".to_owned());
    }
    if text.len() > MAX_HOST {
        return Err(format!("the host name is longer than {MAX_HOST} bytes"));
    }
    if text.contains("://") {
        return Err(format!("`{text}` is a URL, not a host name"));
    }
    if let Some((_, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        return Err(format!("`{text}` has a port; a host name has none"));
    }
    if !labels.all(|ok| ok) {
        return Err(format!("`{text}` is not a host name"));
    }
    let top = text
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    if top.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "`{text}` is not a host name: its last label is a number"
        ));
    }
    Ok(())
}

/// Whether the text is an IPv4 or IPv6 address.
pub(crate) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An address, or a range like `10.0.0.0/8`.
pub(crate) fn ip_or_cidr(text: &str) -> Judgement {
    let Some((address, bits)) = text.split_once('/') else {
        return if is_ip(text) {
            Ok(())
        } else {
            Err(format!("`{text}` is not an IP address or CIDR range"))
        };
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => {
            return Err(format!(
                "`{text}` is not a CIDR range: `{address}` is not an IP address"
            ));
        }
    };
    match bits.parse::<u8>() {
        Ok(bits) if bits <= most => Ok(()),
        _ => Err(format!(
            "`{text}` is not a CIDR range: the prefix length is 0 to {most}"
        )),
    }
}

/// A TCP or UDP port.
pub(crate) fn port(number: u32) -> Judgement {
    if (1..=65535).contains(&number) {
        Ok(())
    } else {
        Err(format!("port {number} is not between 1 and 65535"))
    }
}

/// A token of RFC 9110: what a header's name and a method may be.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A header's name.
pub(crate) fn header_name(text: &str) -> Judgement {
    if text.is_empty() {
        Err("a header name is missing".to_owned())
    } else if is_token(text) {
        Ok(())
    } else {
        Err(format!("`{text}` is not a header name"))
    }
}

/// A header's value as a format string of Envoy: `%` begins an operator, `%%` is a per cent sign.
pub(crate) fn header_value(text: &str) -> Judgement {
    if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err("a header value must not contain line breaks or NUL".to_owned());
    }
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(next) = after.strip_prefix('%') {
            rest = next;
            continue;
        }
        let name = after
            .split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
            .next();
        let name = name.unwrap_or_default();
        let tail = after.get(name.len()..).unwrap_or_default();
        rest = match operator_end(tail) {
            Some(next) if !name.is_empty() => next,
            _ => {
                return Err(format!(
                    "`%` in `{text}` begins no operator like %REQ(name)%; write a per cent sign as `%%`"
                ));
            }
        };
    }
    Ok(())
}

/// What follows an operator's arguments, width and closing `%`.
fn operator_end(tail: &str) -> Option<&str> {
    let tail = match tail.strip_prefix('(') {
        Some(arguments) => arguments.split_once(')')?.1,
        None => tail,
    };
    let tail = match tail.strip_prefix(':') {
        Some(width) => width.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => tail,
    };
    tail.strip_prefix('%')
}

/// A duration that Istio accepts: at least a millisecond, and whole milliseconds.
pub(crate) fn duration(value: Duration) -> Judgement {
    if value < Duration::from_millis(1) {
        Err("the duration must be at least 1ms".to_owned())
    } else if !value.subsec_nanos().is_multiple_of(1_000_000) {
        Err("the duration must be a whole number of milliseconds".to_owned())
    } else {
        Ok(())
    }
}

/// A regular expression in RE2's syntax.
pub(crate) fn regex(text: &str) -> Judgement {
    if text.len() > MAX_REGEX {
        return Err(format!(
            "the regular expression is longer than {MAX_REGEX} characters"
        ));
    }
    match crate::re2::whole(text) {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(limit)) => Err(format!(
            "the regular expression needs more than {limit} bytes when compiled"
        )),
        Err(error) => {
            let text_of = error.to_string();
            let cause = text_of
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            Err(format!("`{text}` is not a regular expression: {cause}"))
        }
    }
}

/// A share of requests.
pub(crate) fn percentage(value: f64) -> Judgement {
    if (0.0..=100.0).contains(&value) {
        Ok(())
    } else {
        Err(format!("a percentage is between 0 and 100, not {value}"))
    }
}

/// The name of a label's key: an optional DNS prefix, a slash, and a name of at most 63 characters.
pub(crate) fn label_key(text: &str) -> Judgement {
    let (prefix, name) = text
        .rsplit_once('/')
        .map_or((None, text), |(p, n)| (Some(p), n));
    let prefix_ok =
        prefix.is_none_or(|p| p.len() <= 253 && !p.is_empty() && p.split('.').all(is_label));
    if prefix_ok && is_qualified_name(name) && !name.is_empty() {
        Ok(())
    } else {
        Err(format!("`{text}` is not a label key"))
    }
}

/// A label's value.
pub(crate) fn label_value(text: &str) -> Judgement {
    if is_qualified_name(text) {
        Ok(())
    } else {
        Err(format!("`{text}` is not a label value"))
    }
}

fn is_qualified_name(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= MAX_LABEL
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
}

/// Whether a host is outside the cluster, as far as its name tells.
pub(crate) fn is_external(host: &str) -> bool {
    host.contains('.')
        && !host.contains(".svc.")
        && !host.ends_with(".svc")
        && !host.ends_with(".local")
}

/// A status that a response can end with.
pub(crate) fn is_http_status(status: u32) -> bool {
    (200..=599).contains(&status)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        duration, fqdn, header_value, ip_or_cidr, label_key, label_value, regex, wildcard_host,
    };

    #[test]
    fn host_names() {
        for good in [
            "a",
            "shop.example.com",
            "A-1.b",
            "shop.example.com.",
            "reviews",
        ] {
            assert_eq!(fqdn(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.com",
            "a..b",
            "-a.b",
            "a_b",
            "10.0.0.1",
            "a.b:80",
            "http://a.b",
            "a/b",
            "ü.de",
        ] {
            assert!(fqdn(bad).is_err(), "{bad}");
        }
        for good in ["*", "*.example.com", "*-a.example.com", "shop.example.com"] {
            assert_eq!(wildcard_host(good), Ok(()), "{good}");
        }
        for bad in ["", "a.*.com", "**.com", "*.", "a.*", "*.1"] {
            assert!(wildcard_host(bad).is_err(), "{bad}");
        }
        assert!(fqdn(&"a".repeat(64)).is_err());
        assert!(fqdn(&"a.".repeat(128)).is_err());
    }

    #[test]
    fn addresses() {
        for good in [
            "10.0.0.1",
            "::1",
            "10.0.0.0/8",
            "2001:db8::/32",
            "0.0.0.0/0",
        ] {
            assert_eq!(ip_or_cidr(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "a/8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
        ] {
            assert!(ip_or_cidr(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn header_values_are_format_strings() {
        for good in [
            "",
            "x",
            "100%%",
            "%REQ(x-a?x-b)%",
            "%REQ(x):12%",
            "a-%DOWNSTREAM_REMOTE_ADDRESS%-b",
        ] {
            assert_eq!(header_value(good), Ok(()), "{good}");
        }
        for bad in ["%", "50%", "%req(x)%", "%REQ(x%", "a\nb", "%%%", "%REQ(x)"] {
            assert!(header_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_regexes_and_labels() {
        assert!(duration(Duration::ZERO).is_err());
        assert!(duration(Duration::from_micros(1500)).is_err());
        assert_eq!(duration(Duration::from_millis(1)), Ok(()));
        assert_eq!(regex("a{1,3}|b"), Ok(()));
        assert!(regex("a(").is_err());
        assert!(regex(r"(a)\1").is_err());
        assert!(regex("(?=a)").is_err());
        assert!(regex(&"a".repeat(1025)).is_err());
        assert_eq!(label_key("app.kubernetes.io/name"), Ok(()));
        assert!(label_key("").is_err());
        assert!(label_key("a/b/c d").is_err());
        assert_eq!(label_value(""), Ok(()));
        assert!(label_value("a b").is_err());
    }
}
