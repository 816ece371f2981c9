//! Connection ids that say which worker they belong to, to us and to nobody else.
//!
//! An id is a nonce, the worker's number under a mask, and a tag; mask and tag are keyed hashes of
//! the nonce, so that ids of one connection cannot be told to belong together (RFC 9000 §5.1) and
//! few of the ids that clients make up pass for ours.

use std::hash::{BuildHasher, RandomState};

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

/// Bytes of an id.
pub(super) const CID_BYTES: usize = 10;

/// The key of the process. Workers hold copies of it.
#[derive(Debug, Clone)]
pub(super) struct CidKey(RandomState);

impl CidKey {
    /// A random key.
    pub(super) fn random() -> Self {
        Self(RandomState::new())
    }

    fn id(&self, nonce: u32, worker: u16) -> [u8; CID_BYTES] {
        let [m0, m1, ..] = self.0.hash_one((0_u8, nonce)).to_le_bytes();
        let [t0, t1, t2, t3, ..] = self.0.hash_one((1_u8, nonce, worker)).to_le_bytes();
        let [n0, n1, n2, n3] = nonce.to_le_bytes();
        let [w0, w1] = worker.to_le_bytes();
        [n0, n1, n2, n3, w0 ^ m0, w1 ^ m1, t0, t1, t2, t3]
    }

    /// The worker that made an id; `None` for ids that are not ours.
    pub(super) fn owner(&self, id: &[u8]) -> Option<u16> {
        let id: [u8; CID_BYTES] = id.try_into().ok()?;
        let [n0, n1, n2, n3, w0, w1, ..] = id;
        let nonce = u32::from_le_bytes([n0, n1, n2, n3]);
        let [m0, m1, ..] = self.0.hash_one((0_u8, nonce)).to_le_bytes();
        let worker = u16::from_le_bytes([w0 ^ m0, w1 ^ m1]);
        (self.id(nonce, worker) == id).then_some(worker)
    }
}

/// Makes the ids of one endpoint.
#[derive(Debug)]
pub(super) struct Cids {
    pub(super) key: CidKey,
    pub(super) worker: u16,
    /// Nonces are hashes of a serial number and of when the endpoint was made.
    pub(super) salt: u64,
    pub(super) serial: u64,
}

impl ConnectionIdGenerator for Cids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.serial = self.serial.wrapping_add(1);
        let hash = self.key.0.hash_one((2_u8, self.salt, self.serial));
        let nonce = u32::try_from(hash >> 32).unwrap_or(0);
        ConnectionId::new(&self.key.id(nonce, self.worker))
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.key.owner(id).map(drop).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// The destination id of a packet (RFC 8999): with its length in a long header, of our length in a
/// short one.
pub(super) fn destination(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    if first & 0x80 == 0 {
        return packet.get(1..1 + CID_BYTES);
    }
    let len = usize::from(*packet.get(5)?);
    packet.get(6..6 + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_whose_they_are_and_nothing_else() {
        let key = CidKey::random();
        let mut ids = Cids {
            key: key.clone(),
            worker: 7,
            salt: 1,
            serial: 0,
        };
        let (one, other) = (ids.generate_cid(), ids.generate_cid());
        assert_eq!((key.owner(&one), key.owner(&other)), (Some(7), Some(7)));
        assert_ne!(one[..4], other[..4]);
        assert!(CidKey::random().owner(&one).is_none(), "another process");
        let mut forged = one.to_vec();
        forged[4] ^= 1;
        assert!(key.owner(&forged).is_none());
        assert!(key.owner(&one[..8]).is_none());
    }

    #[test]
    fn destinations_of_long_and_short_headers() {
        let long = [&[0xc0, 0, 0, 0, 1, 3][..], b"abc", &[0]].concat();
        assert_eq!(destination(&long), Some(&b"abc"[..]));
        let short = [&[0x40][..], b"0123456789", b"rest"].concat();
        assert_eq!(destination(&short), Some(&b"0123456789"[..]));
        assert_eq!(destination(&[0xc0, 0, 0, 0, 1, 30, 0]), None);
        assert_eq!(destination(&[0x40, 1]), None);
        assert_eq!(destination(&[]), None);
    }
}
