//! What of a request is hashed, and the cookie that is made when it is missing.
//!
//! Envoy's hash policies (`source/common/http/hash_policy.cc`), as Istio configures them.

use crate::call::Call;
use crate::hash::xxh64;
use crate::rng::Rng;
use sallyport_config::ir::{Balance, HashCookie, HashKey};
use std::fmt::Write as _;
use std::net::IpAddr;

/// A request's place among the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// It has what is hashed.
    Hash(u64),
    /// It has not: it may go anywhere.
    None,
    /// It has not, but its client shall come back: to this hash, with this `set-cookie`.
    Made(u64, String),
}

impl Key {
    /// The hash, if any.
    #[must_use]
    pub fn hash(&self) -> Option<u64> {
        match self {
            Self::Hash(hash) | Self::Made(hash, _) => Some(*hash),
            Self::None => None,
        }
    }

    /// Of a connection of which nothing but its client's address is known, if that is hashed.
    #[must_use]
    pub fn of_address(balance: &Balance, client: IpAddr) -> Option<u64> {
        match balance {
            Balance::Hash(policy) if policy.key == HashKey::SourceIp => Some(address(client)),
            _ => None,
        }
    }

    /// Of a call, whose fields are as the upstream will see them.
    #[must_use]
    pub fn of(key: &HashKey, call: &Call<'_>, rng: &mut Rng) -> Self {
        let found = match key {
            HashKey::Header(name) => header(name, call),
            HashKey::SourceIp => Some(address(call.client.ip())),
            HashKey::Query(name) => query(name, call.query).map(|v| xxh64(v.as_bytes(), 0)),
            HashKey::Cookie(cookie) => {
                let found = of_cookie(&cookie.name, call);
                if let (None, Some(_)) = (found, cookie.ttl) {
                    return made(cookie, rng);
                }
                found
            }
        };
        found.map_or(Self::None, Self::Hash)
    }
}

/// The sum over the lines, so that their order does not matter.
fn header(name: &str, call: &Call<'_>) -> Option<u64> {
    let pseudo = match name {
        ":authority" | "host" => Some(call.authority),
        ":method" => Some(call.method),
        ":scheme" => Some(call.scheme.as_str()),
        ":path" => Some(call.path),
        _ => None,
    };
    if let Some(value) = pseudo {
        return Some(xxh64(value.as_bytes(), 0));
    }
    let mut sum = None;
    call.headers.any(name, &mut |line| {
        let hash = xxh64(line, 0);
        sum = Some(sum.map_or(hash, |sum: u64| sum.wrapping_add(hash)));
        false
    });
    sum
}

fn address(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => xxh64(&ip.octets(), 0),
        IpAddr::V6(ip) => xxh64(&ip.octets(), 0),
    }
}

/// The first parameter of this name, undecoded; without `=` its value is empty.
fn query<'q>(name: &str, query: Option<&'q str>) -> Option<&'q str> {
    query?.split('&').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (key == name).then_some(value)
    })
}

fn of_cookie(name: &str, call: &Call<'_>) -> Option<u64> {
    let mut hash = None;
    call.headers.any("cookie", &mut |line| {
        hash = line.split(|byte| *byte == b';').find_map(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            let bare = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""));
            Some(xxh64(bare.unwrap_or(value), 0))
        });
        hash.is_some()
    });
    hash
}

/// A cookie that nobody has yet, in Envoy's words.
fn made(cookie: &HashCookie, rng: &mut Rng) -> Key {
    let value = format!("{:016x}", rng.next_u64());
    let mut line = format!("{}=\"{value}\"", cookie.name);
    // Writing to a string cannot fail.
    if let Some(ttl) = cookie.ttl.filter(|ttl| ttl.0 >= 1_000) {
        let _ = write!(line, "; Max-Age={}", ttl.0 / 1_000);
    }
    if !cookie.path.is_empty() {
        let _ = write!(line, "; Path={}", cookie.path);
    }
    for (name, value) in &cookie.attributes {
        let _ = write!(line, "; {name}");
        if !value.is_empty() {
            let _ = write!(line, "={value}");
        }
    }
    line.push_str("; HttpOnly");
    Key::Made(xxh64(value.as_bytes(), 0), line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{HeaderLines, Scheme};
    use sallyport_config::ir::Millis;

    struct Lines(Vec<(&'static str, &'static str)>);

    impl HeaderLines for Lines {
        fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            let mut lines = self.0.iter().filter(|(key, _)| *key == name);
            lines.any(|(_, value)| visit(value.as_bytes()))
        }
        fn first(&self, name: &str) -> Option<&[u8]> {
            let found = self.0.iter().find(|(key, _)| *key == name)?;
            Some(found.1.as_bytes())
        }
    }

    fn of(key: &HashKey, lines: &[(&'static str, &'static str)], query: &str) -> Key {
        let call = Call {
            scheme: Scheme::Http,
            method: "GET",
            authority: "a.test",
            path: "/",
            query: Some(query),
            headers: &Lines(lines.to_vec()),
            client: ([192, 0, 2, 1], 5).into(),
            peer: ([192, 0, 2, 1], 5).into(),
            local: ([192, 0, 2, 2], 80).into(),
            sni: None,
            identity: None,
        };
        Key::of(key, &call, &mut Rng::new(1))
    }

    fn cookie(ttl: Option<u64>) -> HashKey {
        HashKey::Cookie(HashCookie {
            name: "user".to_owned(),
            path: "/app".to_owned(),
            ttl: ttl.map(Millis),
            attributes: vec![
                ("SameSite".to_owned(), "Lax".to_owned()),
                ("Secure".to_owned(), String::new()),
            ],
        })
    }

    #[test]
    fn each_kind_of_key_is_read_where_it_stands() {
        let hash = |text: &str| Key::Hash(xxh64(text.as_bytes(), 0));
        let header = HashKey::Header("x-user".to_owned());
        assert_eq!(of(&header, &[("x-user", "jason")], ""), hash("jason"));
        assert_eq!(of(&header, &[("x-other", "jason")], ""), Key::None);
        let host = HashKey::Header(":authority".to_owned());
        assert_eq!(of(&host, &[], ""), hash("a.test"));
        let parameter = HashKey::Query("u".to_owned());
        assert_eq!(of(&parameter, &[], "uu=1&u=a%20b&u=2"), hash("a%20b"));
        assert_eq!(of(&parameter, &[], "uu=1"), Key::None);
        let jar = [("cookie", "a=1; user=\"jason\""), ("cookie", "user=x")];
        assert_eq!(of(&cookie(None), &jar, ""), hash("jason"));
        assert_eq!(of(&cookie(None), &[("cookie", "xuser=1")], ""), Key::None);
        assert!(matches!(of(&HashKey::SourceIp, &[], ""), Key::Hash(_)));
    }

    #[test]
    fn the_order_of_lines_does_not_matter() {
        let header = HashKey::Header("x".to_owned());
        let one = of(&header, &[("x", "a"), ("x", "b")], "");
        let other = of(&header, &[("x", "b"), ("x", "a")], "");
        assert_eq!(one, other);
        assert_ne!(one, of(&header, &[("x", "a")], ""));
    }

    #[test]
    fn a_missing_cookie_is_made_and_leads_back_to_the_same_hash() {
        let Key::Made(hash, line) = of(&cookie(Some(90_000)), &[], "") else {
            panic!("no cookie");
        };
        let (pair, rest) = line.split_once("; ").unwrap();
        assert_eq!(
            rest,
            "Max-Age=90; Path=/app; SameSite=Lax; Secure; HttpOnly"
        );
        let pair: &'static str = pair.to_owned().leak();
        assert_eq!(
            of(&cookie(Some(90_000)), &[("cookie", pair)], ""),
            Key::Hash(hash)
        );
        let Key::Made(_, session) = of(&cookie(Some(0)), &[], "") else {
            panic!("no cookie");
        };
        assert!(!session.contains("Max-Age"), "{session}");
        assert_eq!(of(&cookie(None), &[], ""), Key::None, "never made");
    }
}
