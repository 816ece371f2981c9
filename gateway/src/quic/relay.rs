//! Packets that came to a worker whose connection they do not belong to.
//!
//! For each worker there is a pair of local sockets that keep packets apart and in order. The
//! kernel bounds what waits in it; what does not fit is lost, as packets are.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn_proto::EcnCodepoint;
use socket2::{Domain, Socket, Type};

use crate::rt::Readiness;

/// Bytes that may wait for one worker.
const QUEUE_BYTES: usize = 256 * 1024;
/// Largest datagram that is passed on.
const DATAGRAM_BYTES_MAX: usize = 2 * 1024;
/// Addresses and mark in front of each datagram.
const HEADER_BYTES: usize = 36;

/// Ways to all workers, by number.
pub(super) type Relays = Arc<[Sender]>;

/// The way to one worker.
#[derive(Debug)]
pub(super) struct Sender(Socket);

/// The end of the way.
#[derive(Debug)]
pub(super) struct Receiver(Socket);

/// A datagram, wherever it came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    pub(super) peer: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: &'a [u8],
}

/// Ways to so many workers.
///
/// # Errors
/// No descriptor is left.
pub(super) fn ways(workers: usize) -> io::Result<(Relays, Vec<Receiver>)> {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let (near, far) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        near.set_send_buffer_size(QUEUE_BYTES)?;
        senders.push(Sender(near));
        receivers.push(Receiver(far));
    }
    Ok((senders.into(), receivers))
}

impl Sender {
    /// Passes a datagram on, or loses it when too many wait.
    pub(super) fn pass(&self, datagram: &Datagram<'_>) {
        if datagram.bytes.len() > DATAGRAM_BYTES_MAX {
            return;
        }
        let mut message = Vec::with_capacity(HEADER_BYTES + datagram.bytes.len());
        put_ip(&mut message, datagram.peer.ip());
        message.extend_from_slice(&datagram.peer.port().to_be_bytes());
        put_ip(&mut message, datagram.local.unwrap_or(NO_IP));
        message.push(u8::from(datagram.local.is_some()));
        message.push(datagram.ecn.map_or(0, |ecn| ecn as u8));
        message.extend_from_slice(datagram.bytes);
        // Lost is what a packet may be.
        drop(self.0.send(&message));
    }
}

impl Receiver {
    /// Tells when something can be received.
    ///
    /// # Errors
    /// The driver refused the socket.
    pub(super) fn watch(&self) -> io::Result<Readiness> {
        Readiness::new(self.0.try_clone()?.into())
    }

    /// Hands the next datagram over, without waiting; `false` when there is none.
    pub(super) fn next(&self, each: impl FnOnce(Datagram<'_>)) -> bool {
        let mut message = [0; HEADER_BYTES + DATAGRAM_BYTES_MAX];
        let Ok(count) = (&self.0).read(&mut message) else {
            return false;
        };
        if let Some(datagram) = message.get(..count).and_then(parse) {
            each(datagram);
        }
        count > 0
    }
}

/// What stands for no address.
const NO_IP: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn put_ip(message: &mut Vec<u8>, ip: IpAddr) {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    message.extend_from_slice(&ip.octets());
}

/// IPv4 addresses travel mapped; a socket of IPv6 never has mapped ones, it is for IPv6 only.
fn ip(bytes: &[u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical()
}

fn parse(message: &[u8]) -> Option<Datagram<'_>> {
    let (peer, rest) = message.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (local, rest) = rest.split_first_chunk::<16>()?;
    let ([has_local, ecn], bytes) = rest.split_first_chunk::<2>()?;
    Some(Datagram {
        peer: SocketAddr::new(ip(peer), u16::from_be_bytes(*port)),
        local: (*has_local == 1).then(|| ip(local)),
        ecn: EcnCodepoint::from_bits(*ecn),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_arrive_as_they_were_sent_and_the_queue_is_bounded() {
        let (senders, receivers) = ways(2).unwrap();
        let datagram = Datagram {
            peer: "192.0.2.1:4433".parse().unwrap(),
            local: Some("2001:db8::1".parse().unwrap()),
            ecn: Some(EcnCodepoint::Ce),
            bytes: b"packet",
        };
        senders[1].pass(&datagram);
        assert!(!receivers[0].next(|_| panic!("for the other")));
        assert!(receivers[1].next(|came| assert_eq!(came, datagram)));
        let plain = Datagram {
            local: None,
            ecn: None,
            bytes: &[1; 1200],
            ..datagram
        };
        for _ in 0..10_000 {
            senders[0].pass(&plain);
        }
        let mut count = 0;
        while receivers[0].next(|came| assert_eq!(came, plain)) {
            count += 1;
        }
        assert!((16..10_000).contains(&count), "{count}");
    }
}
