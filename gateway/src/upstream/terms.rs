//! On what terms a connection is shared: requests that would have begun it with other words need
//! another one.

use std::rc::Rc;

use sallyport_config::ir::{Keepalive, ProxyVersion, Traffic};
use sallyport_core::proxy_protocol::Ends;

/// How connections to a cluster's endpoints are set up, beside their TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Manner {
    /// The kernel's probes.
    pub(super) keepalive: Option<Keepalive>,
    /// A header of the PROXY protocol comes before anything else.
    pub(super) announce: Option<ProxyVersion>,
}

impl Manner {
    /// As a cluster's rules say.
    pub(super) fn of(traffic: &Traffic) -> Self {
        Self {
            keepalive: traffic.keepalive,
            announce: traffic.proxy_protocol,
        }
    }
}

/// What a request asks of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms<'a> {
    /// The server name to send, if that is the request's own.
    pub(super) name: Option<&'a str>,
    /// Whose connection it is, if the upstream is told so.
    pub(super) ends: Option<&'a Ends>,
}

impl Terms<'_> {
    /// Kept with a connection that is made.
    pub(super) fn agreed(self) -> Agreed {
        Agreed {
            name: self.name.map(Rc::from),
            ends: self.ends.copied().map(Box::new),
        }
    }
}

/// What a connection was made with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    name: Option<Rc<str>>,
    ends: Option<Box<Ends>>,
}

impl Agreed {
    /// Whether it serves a request with these terms.
    pub(super) fn suits(&self, terms: Terms<'_>) -> bool {
        self.name.as_deref() == terms.name && self.ends.as_deref() == terms.ends
    }
}
