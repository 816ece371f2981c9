//! A connection that begins with a TLS handshake.

use std::rc::Rc;

use rustls::{CipherSuite, ProtocolVersion};
use sallyport_config::ir::{Millis, Service};
use sallyport_core::flags::Flags;
use sallyport_core::tables::{ChainIdx, ListenerIdx, Tables};

use super::link::TlsFacts;
use super::{Link, exchange, h1, h2, tcp};
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::tls::handshake::{self, Hello, Refused};
use crate::tls::session::Session;
use crate::worker::{Entry, Guest, Worker};

/// A handshake must be complete within this.
const HANDSHAKE_TIME: Millis = Millis(10_000);

/// Shakes hands, then speaks what the chain says; or passes all on unread. `received` is what came
/// before anybody looked.
pub(super) async fn serve(
    worker: Rc<Worker>,
    guest: Guest,
    mut socket: Socket,
    mut link: Link,
    received: Vec<u8>,
) {
    let begun = worker.timers.now();
    let mut early = Vec::new();
    // Boxed, so that what only a handshake needs goes with it.
    let shaken = shake(
        &worker,
        &guest,
        &mut socket,
        &mut link,
        received,
        &mut early,
    );
    let shaken = Box::pin(shaken).await;
    match &shaken {
        Ok(Shaken::Through(_)) => {}
        Err(Refused::Shed) => worker.stats.borrow_mut().handshake_shed(),
        shaken => worker.stats.borrow_mut().handshake(shaken.is_ok()),
    }
    let session = match shaken {
        Ok(Shaken::Hands(session)) => session,
        Ok(Shaken::Through(received)) => {
            let stream = Stream::plain(socket, Rc::clone(&worker.buffers));
            return Box::pin(tcp::serve(worker, guest, stream, link, received)).await;
        }
        Err(Refused::NoChain) => {
            let details = "filter_chain_not_found";
            return exchange::log_closed(&worker, &link, begun, Flags::NR, details);
        }
        Err(Refused::Failed | Refused::Shed) => return,
    };
    let speaks_h2 = session.alpn() == Some(b"h2");
    let stream = Stream::tls(socket, session, Rc::clone(&worker.buffers));
    if speaks_http(&worker, &link) {
        let link = Rc::new(link);
        // Boxed: the room for it is not needed while shaking hands, nor the other way round.
        if speaks_h2 {
            Box::pin(h2::serve(worker, guest, stream, link, early)).await;
        } else {
            Box::pin(h1::serve(worker, guest, stream, link, early)).await;
        }
    } else {
        Box::pin(tcp::serve(worker, guest, stream, link, early)).await;
    }
}

/// What became of a first flight.
enum Shaken {
    /// The handshake is done.
    Hands(Box<Session>),
    /// It is for somebody else, who gets all of it.
    Through(Vec<u8>),
}

/// Whether the chain that was chosen speaks HTTP.
fn speaks_http(worker: &Worker, link: &Link) -> bool {
    let active = worker.active();
    let place = link.place(&active.generation);
    let service = place.and_then(|place| active.generation.tables.service(place));
    matches!(service, Some(Service::Http(_)))
}

/// The chain that a client asks for.
fn wanted(tables: &Tables, link: &Link, hello: &Hello) -> Option<(ListenerIdx, ChainIdx)> {
    let listener = tables.listener_named(&link.listener)?;
    Some((listener, tables.chain_for(listener, &hello.message)?))
}

async fn shake(
    worker: &Rc<Worker>,
    guest: &Guest,
    socket: &mut Socket,
    link: &mut Link,
    received: Vec<u8>,
    early: &mut Vec<u8>,
) -> Result<Shaken, Refused> {
    let alarm = worker.timers.alarm();
    alarm.set(Some(worker.timers.now() + HANDSHAKE_TIME));
    let hello = handshake::hello(socket, &alarm, received).await?;
    let sni = hello.message.sni.clone();
    link.tls = Some(Box::new(TlsFacts {
        sni: sni.clone(),
        version: "",
        cipher: "",
        peer: None,
    }));
    let tables = &worker.active().generation.tables;
    let (listener, chain) = wanted(tables, link, &hello).ok_or(Refused::NoChain)?;
    let passes = tables.filter_chain(listener, chain);
    if passes.is_some_and(|chain| chain.tls.is_none()) {
        return Ok(Shaken::Through(hello.received));
    }
    match worker.gate.enter(&worker.timers).await {
        Entry::AtOnce => {}
        Entry::Waited => worker.stats.borrow_mut().handshake_waited(),
        Entry::Shed => return Err(Refused::Shed),
    }
    // Looked up once more: there may be other certificates by now.
    let active = worker.active();
    let generation = &active.generation;
    let (listener, chain) = wanted(&generation.tables, link, &hello).ok_or(Refused::NoChain)?;
    let config = generation.tls.of(listener, chain).ok_or(Refused::NoChain)?;
    let session =
        handshake::complete(socket, &alarm, &worker.buffers, hello, config, early).await?;
    if let Some(shown) = generation.tls.shown(listener, chain, &session) {
        // What was verified when the session began may have expired since.
        if session.is_resumed() && !generation.tls.accepts(listener, chain, &shown) {
            return Err(Refused::Failed);
        }
        guest.shows(shown, sni.clone(), socket.breaker());
    }
    link.tls = Some(Box::new(TlsFacts {
        sni,
        version: match session.version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        },
        cipher: session.cipher().map_or("", cipher_name),
        peer: generation.tls.peer(listener, chain, &session),
    }));
    Ok(Shaken::Hands(Box::new(session)))
}

/// As OpenSSL, and so Envoy, writes it.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}
