//! A request as the rules see it: borrowed, already normalised, the same for every wire protocol.

use std::net::SocketAddr;

/// Scheme of a request: of the connection, or `x-forwarded-proto` from a trusted hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Request or response fields, whatever holds them. Names are asked for in lower case.
pub trait HeaderLines {
    /// Calls `visit` with each line of this name, in order, until it returns `true`; says whether
    /// it did. Each line is a value of its own: they are never joined.
    fn any(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool;

    /// The first line of this name.
    fn first(&self, name: &str) -> Option<&[u8]>;
}

/// No fields at all.
#[derive(Debug, Clone, Copy)]
pub struct NoHeaders;

impl HeaderLines for NoHeaders {
    fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
    fn first(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

/// A request as the rules see it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Scheme.
    pub scheme: Scheme,
    /// Method token, upper-case as sent.
    pub method: &'a str,
    /// Authority as sent, port included; may be empty only for HTTP/1.0.
    pub authority: &'a str,
    /// Path after normalisation, without query; begins with `/`, or is `*`.
    pub path: &'a str,
    /// What stood behind `?`, undecoded.
    pub query: Option<&'a str>,
    /// Request fields as received, hop-by-hop fields included.
    pub headers: &'a dyn HeaderLines,
    /// Client address after trusted hops and PROXY protocol.
    pub client: SocketAddr,
    /// Address of the peer that the connection came from.
    pub peer: SocketAddr,
    /// Our address of the connection.
    pub local: SocketAddr,
    /// Server name of the handshake.
    pub sni: Option<&'a str>,
    /// SPIFFE identity of the peer's verified certificate (`spiffe://cluster.local/ns/x/sa/y`).
    pub identity: Option<&'a str>,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}://{}{}",
            self.method,
            self.scheme.as_str(),
            self.authority,
            self.path
        )
    }
}
