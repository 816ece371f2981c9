//! Request methods: the few that change how a message is framed or retried have a name, the rest
//! of the IANA registry is known as a set.
//!
//! A method outside the registry (or in the wrong case: methods are case-sensitive, RFC 9110 §9.1)
//! is refused unless the listener lists it, because policies are written against method names and
//! servers disagree about unknown ones.

/// A request method as far as the gateway cares; the text itself stays in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 9110 §9.3.1.
    Get,
    /// RFC 9110 §9.3.2: the response has no body, whatever its fields say.
    Head,
    /// RFC 9110 §9.3.3.
    Post,
    /// RFC 9110 §9.3.4.
    Put,
    /// RFC 9110 §9.3.5.
    Delete,
    /// RFC 9110 §9.3.6: asks for a tunnel.
    Connect,
    /// RFC 9110 §9.3.7: the only one that may address `*`.
    Options,
    /// RFC 9110 §9.3.8: always refused, it echoes credentials.
    Trace,
    /// RFC 5789.
    Patch,
    /// Any other registered or configured method.
    Other,
}

impl Method {
    /// Recognises a method token; `None` for one that is neither registered nor in `extra`.
    #[must_use]
    pub fn parse(token: &[u8], extra: &[Box<str>]) -> Option<Self> {
        Some(match token {
            b"GET" => Self::Get,
            b"POST" => Self::Post,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            _ => return Self::parse_rare(token, extra),
        })
    }

    fn parse_rare(token: &[u8], extra: &[Box<str>]) -> Option<Self> {
        let known = REGISTERED.contains(&token) || extra.iter().any(|m| m.as_bytes() == token);
        known.then_some(Self::Other)
    }

    /// Whether a retry after an unknown outcome is harmless (RFC 9110 §9.2.2). Methods that the
    /// gateway does not know by name are not retried blindly.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options
        )
    }

    /// Whether the method only reads (RFC 9110 §9.2.1).
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options)
    }
}

/// The IANA HTTP Method Registry without the ones above and without `PRI`, which exists only to
/// make an HTTP/1 server fail on an HTTP/2 preface (RFC 9113 §3.4).
const REGISTERED: [&[u8]; 30] = [
    b"ACL",
    b"BASELINE-CONTROL",
    b"BIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"COPY",
    b"LABEL",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MKREDIRECTREF",
    b"MKWORKSPACE",
    b"MOVE",
    b"ORDERPATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"UNBIND",
    b"UNCHECKOUT",
    b"UNLINK",
    b"UNLOCK",
    b"UPDATE",
    b"UPDATEREDIRECTREF",
    b"VERSION-CONTROL",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_registered_tokens_in_their_own_case() {
        let none: &[Box<str>] = &[];
        assert_eq!(Method::parse(b"GET", none), Some(Method::Get));
        assert_eq!(Method::parse(b"PROPFIND", none), Some(Method::Other));
        for bad in [&b"get"[..], b"Get", b"PRI", b"FOO", b"", b"GETT"] {
            assert_eq!(Method::parse(bad, none), None, "{bad:?}");
        }
        assert_eq!(Method::parse(b"FOO", &["FOO".into()]), Some(Method::Other));
    }
}
