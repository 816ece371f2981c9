//! What is known of a connection before its first request, and stays.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use sallyport_core::call::Scheme;
use sallyport_core::decide::Where;
use sallyport_core::proxy_protocol::Ends;

use crate::generation::Generation;
use crate::tls::Peer;
use crate::worker::Worker;

/// Facts of a client connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Name of the listener that it came in by.
    pub(crate) listener: Arc<str>,
    /// The other end of the connection itself.
    pub(crate) peer: SocketAddr,
    /// The client's end, and the one that it connected to: the connection's own, or those that a
    /// proxy announced. What the request itself says of proxies comes on top of it.
    pub(crate) ends: Ends,
    /// The client's address as text.
    pub(crate) source_text: Box<str>,
    /// Our end.
    pub(crate) local: SocketAddr,
    /// Number of the connection on its worker.
    pub(crate) serial: u64,
    /// What the handshake settled; `None` for cleartext.
    pub(crate) tls: Option<Box<TlsFacts>>,
    /// Where it stands in the generation asked last.
    place: Cell<(u64, Option<Where>)>,
}

/// What a handshake settled.
#[derive(Debug)]
pub(crate) struct TlsFacts {
    /// Server name that the client asked for.
    pub(crate) sni: Option<Box<str>>,
    /// `TLSv1.3`
    pub(crate) version: &'static str,
    /// Cipher suite, by its IANA name.
    pub(crate) cipher: &'static str,
    /// The client, if it showed a certificate that was verified.
    pub(crate) peer: Option<Peer>,
}

impl Link {
    /// A cleartext connection.
    pub(crate) fn new(
        listener: Arc<str>,
        peer: SocketAddr,
        local: SocketAddr,
        serial: u64,
    ) -> Self {
        Self {
            listener,
            peer,
            ends: Ends {
                source: peer,
                destination: local,
            },
            source_text: text(peer),
            local,
            serial,
            tls: None,
            place: Cell::new((0, None)),
        }
    }

    /// The peer is a proxy, and this is its client.
    pub(crate) fn announce(&mut self, ends: Ends) {
        self.ends = ends;
        self.source_text = text(ends.source);
    }

    /// The transport's scheme.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    /// The client, if it showed a certificate that was verified.
    pub(crate) fn verified(&self) -> Option<&Peer> {
        self.tls.as_ref()?.peer.as_ref()
    }

    /// The client's SPIFFE identity.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.verified()?.identity.as_deref()
    }

    /// Server name that the client asked for.
    pub(crate) fn sni(&self) -> Option<&str> {
        self.tls.as_ref()?.sni.as_deref()
    }

    /// Where the connection stands in a generation; `None` when its listener or chain is gone.
    pub(crate) fn place(&self, generation: &Generation) -> Option<Where> {
        let (id, place) = self.place.get();
        if id == generation.id {
            return place;
        }
        let place = self.find(generation);
        self.place.set((generation.id, place));
        place
    }

    /// Whether a client that came by TLS over TCP could have come by HTTP/3.
    pub(crate) fn could_be_quic(&self, worker: &Worker, generation: &Generation) -> bool {
        let place = self.place(generation);
        place.is_some_and(|place| generation.quic.serves(place))
            && worker.quic.borrow().contains(&self.listener)
    }

    /// Name of the filter chain, empty for cleartext.
    pub(crate) fn chain<'g>(&self, generation: &'g Generation) -> &'g str {
        let place = self.place(generation);
        let chain =
            place.and_then(|place| generation.tables.filter_chain(place.listener, place.chain?));
        chain.map_or("", |chain| chain.name.as_str())
    }

    fn find(&self, generation: &Generation) -> Option<Where> {
        let listener = generation.tables.listener_named(&self.listener)?;
        let chain = match &self.tls {
            None => None,
            Some(tls) => Some(generation.tables.chain(listener, tls.sni.as_deref())?),
        };
        Some(Where { listener, chain })
    }
}

fn text(address: SocketAddr) -> Box<str> {
    address.ip().to_canonical().to_string().into()
}
