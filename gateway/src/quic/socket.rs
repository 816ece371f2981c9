//! A UDP socket with what QUIC wants of it: many datagrams a call, marks of congestion, and the
//! local address of each datagram.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

use crate::rt::Readiness;

/// Buffers that one call fills; each holds a train of datagrams where the kernel joins them.
const BATCH: usize = 8;
/// Largest datagram, and so largest train.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Datagrams in one train that we send.
const SEGMENTS_MAX: usize = 10;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    /// Tells when something can be read, or written.
    pub(super) watch: Readiness,
    /// Port that it is bound to.
    pub(super) address: SocketAddr,
}

/// Where datagrams are received to.
#[derive(Debug)]
pub(super) struct Inbox(Vec<u8>);

/// A train of datagrams from one peer.
#[derive(Debug)]
pub(super) struct Train<'a> {
    pub(super) meta: RecvMeta,
    pub(super) bytes: &'a [u8],
}

impl Socket {
    /// Takes over a bound socket.
    ///
    /// # Errors
    /// Its options could not be set, or the driver refused it.
    pub(super) fn adopt(io: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let watch = Readiness::new(io.try_clone()?.into())?;
        Ok(Self {
            address: io.local_addr()?,
            io,
            state,
            watch,
        })
    }

    /// Room for what can come at once.
    pub(super) fn inbox(&self) -> Inbox {
        let train = if self.state.gro_segments() > 1 {
            DATAGRAM_BYTES_MAX
        } else {
            2 * 1024
        };
        Inbox(vec![0; train * BATCH])
    }

    /// Whether packets may be broken up on their way: their size cannot be probed for then.
    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Datagrams that may be sent in one go.
    pub(super) fn segments(&self) -> usize {
        self.state.max_gso_segments().clamp(1, SEGMENTS_MAX)
    }

    /// Receives what is there, without waiting.
    ///
    /// # Errors
    /// Nothing is there, or the socket failed.
    pub(super) fn receive<'a>(
        &self,
        inbox: &'a mut Inbox,
    ) -> io::Result<impl Iterator<Item = Train<'a>>> {
        let train = inbox.0.len() / BATCH;
        let mut metas = [RecvMeta::default(); BATCH];
        let count = {
            let mut chunks = inbox.0.chunks_exact_mut(train).map(IoSliceMut::new);
            let mut slices: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| chunks.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let socket = UdpSockRef::from(&self.io);
            self.state.recv(socket, &mut slices, &mut metas)?
        };
        let filled = inbox.0.chunks_exact(train).zip(metas).take(count);
        Ok(filled.map(|(bytes, meta)| Train {
            bytes: bytes.get(..meta.len).unwrap_or_default(),
            meta,
        }))
    }

    /// Sends one train, without waiting.
    ///
    /// # Errors
    /// The socket's buffer is full. What the network refuses counts as lost on its way.
    pub(super) fn send(&self, transmit: &Transmit, bytes: &[u8]) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: bytes.get(..transmit.size).unwrap_or_default(),
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        match self.state.try_send(UdpSockRef::from(&self.io), &transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The mark of a received train.
pub(super) fn ecn(meta: &RecvMeta) -> Option<EcnCodepoint> {
    EcnCodepoint::from_bits(meta.ecn? as u8)
}
