//! A client that sends QUIC frames as they are told, right or wrong (RFC 9000, RFC 9001).

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::quic::{ClientConnection, DirectionalKeys, KeyChange, Keys, Version};
use rustls::{CipherSuite, ClientConfig, Side};
use rustls_pki_types::ServerName;
use sallyport_core::h3::varint;

use super::support::PATIENCE;

/// The kinds of packets.
pub(super) const INITIAL: usize = 0;
pub(super) const HANDSHAKE: usize = 1;
pub(super) const DATA: usize = 2;

/// Our connection id.
const OURS: &[u8] = b"raw-test";
/// Bytes of a first datagram (RFC 9000 §14.1).
const FIRST_BYTES: usize = 1_200;
const TAG_BYTES: usize = 16;

/// One connection.
pub(super) struct Packets {
    pub(super) socket: UdpSocket,
    tls: ClientConnection,
    keys: [Option<Keys>; 3],
    /// The gateway's connection id.
    pub(super) theirs: Vec<u8>,
    numbers: [u64; 3],
    /// Handshake bytes that were sent and that came.
    sent: [u64; 3],
    came: [u64; 3],
    /// What our side has to say next of the handshake, and was not sent.
    flight: Vec<u8>,
    /// The code that the gateway closed with.
    pub(super) closed: Option<u64>,
    /// Bytes that came.
    pub(super) received: usize,
}

/// Transport parameters, by id; our connection id among them.
pub(super) fn parameters(more: &[(u64, &[u8])]) -> Vec<u8> {
    let mut all = vec![(0x0f, OURS)];
    all.extend(more);
    raw_parameters(&all)
}

pub(super) fn raw_parameters(all: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, value) in all {
        varint::write(&mut out, *id);
        varint::write(&mut out, value.len() as u64);
        out.extend_from_slice(value);
    }
    out
}

/// Integers one after the other, as frames are made of them.
pub(super) fn numbers(all: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    all.iter().for_each(|value| varint::write(&mut out, *value));
    out
}

/// One datagram; `None` if none comes.
pub(super) fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> Option<usize> {
    loop {
        match socket.recv(datagram) {
            // Another test of this process is about signals.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other.ok(),
        }
    }
}

/// Takes an integer from the front.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 << (bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let value = number
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some(value & (u64::MAX >> (66 - 8 * length as u64)))
}

impl Packets {
    /// That has said nothing.
    pub(super) fn new(door: SocketAddr, config: Arc<ClientConfig>, parameters: Vec<u8>) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(door).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let provider = config.crypto_provider();
        // RFC 9001 §5.2: first packets are of this suite, whatever is agreed later.
        let first = CipherSuite::TLS13_AES_128_GCM_SHA256;
        let mut suites = provider.cipher_suites.iter();
        let suite = suites.find(|suite| suite.suite() == first).unwrap();
        let suite = suite.tls13().unwrap().quic_suite().unwrap();
        // An id that was used is known to the gateway for a while.
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let theirs = format!("{serial:08}").into_bytes();
        let initial = suite.keys(&theirs, Side::Client, Version::V1);
        let name = ServerName::try_from("a.example").unwrap();
        let tls = ClientConnection::new(config, Version::V1, name, parameters).unwrap();
        let mut packets = Self {
            socket,
            tls,
            keys: [Some(initial), None, None],
            theirs,
            numbers: [0; 3],
            sent: [0; 3],
            came: [0; 3],
            flight: Vec::new(),
            closed: None,
            received: 0,
        };
        packets.advance();
        packets
    }

    /// What is to be said of the handshake, for a change before it is.
    pub(super) fn flight(&mut self) -> &mut Vec<u8> {
        &mut self.flight
    }

    /// Sends it.
    pub(super) fn say(&mut self, kind: usize) {
        let flight = std::mem::take(&mut self.flight);
        let frame = self.crypto(kind, &flight);
        self.send(kind, &frame, 0);
    }

    /// Handshake bytes in a frame.
    pub(super) fn crypto(&mut self, kind: usize, bytes: &[u8]) -> Vec<u8> {
        let mut frame = numbers(&[6, self.sent[kind], bytes.len() as u64]);
        self.sent[kind] += bytes.len() as u64;
        frame.extend_from_slice(bytes);
        frame
    }

    /// Sends frames in one packet of this kind, with these reserved bits in its first byte.
    pub(super) fn send(&mut self, kind: usize, frames: &[u8], reserved: u8) {
        let mut payload = frames.to_vec();
        let mut packet = match kind {
            DATA => vec![0x43 | reserved],
            _ => vec![if kind == INITIAL { 0xc3 } else { 0xe3 } | reserved],
        };
        if kind != DATA {
            packet.extend_from_slice(&1_u32.to_be_bytes());
            packet.push(u8::try_from(self.theirs.len()).unwrap());
        }
        packet.extend_from_slice(&self.theirs);
        if kind != DATA {
            packet.push(u8::try_from(OURS.len()).unwrap());
            packet.extend_from_slice(OURS);
            if kind == INITIAL {
                packet.push(0);
                // Length, number and tag are still to come.
                let rest = packet.len() + 2 + 4 + TAG_BYTES;
                payload.resize(payload.len().max(FIRST_BYTES - rest), 0);
            }
            let length = u16::try_from(4 + payload.len() + TAG_BYTES).unwrap();
            packet.extend_from_slice(&(0x4000 | length).to_be_bytes());
        }
        let number = self.numbers[kind];
        self.numbers[kind] += 1;
        let at = packet.len();
        packet.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
        let keys = &self.keys[kind].as_ref().unwrap().local;
        let tag = keys.packet.encrypt_in_place(number, &packet, &mut payload);
        packet.extend_from_slice(&payload);
        packet.extend_from_slice(tag.unwrap().as_ref());
        let (head, sample) = packet.split_at_mut(at + 4);
        let (first, rest) = head.split_first_mut().unwrap();
        let number = &mut rest[at - 1..];
        let protect = &keys.header;
        let sample = &sample[..protect.sample_len()];
        protect.encrypt_in_place(sample, first, number).unwrap();
        // Who has closed may not be there any more.
        drop(self.socket.send(&packet));
    }

    /// Receives until these keys are there; then what comes next of the handshake is in the flight.
    pub(super) fn until(&mut self, kind: usize) {
        while self.keys[kind].is_none() {
            assert_eq!(self.closed, None);
            assert!(self.receive(), "nothing came");
        }
    }

    /// The code that the connection is closed with; `None` if nothing more comes.
    pub(super) fn code(&mut self) -> Option<u64> {
        while self.closed.is_none() && self.receive() {}
        self.closed
    }

    /// One datagram; `false` if none comes.
    pub(super) fn receive(&mut self) -> bool {
        let mut datagram = vec![0; 2_000];
        let Some(length) = receive(&self.socket, &mut datagram) else {
            return false;
        };
        datagram.truncate(length);
        self.received += length;
        let mut rest = &mut datagram[..];
        while !rest.is_empty() {
            let (kind, number, end) = self.shape(rest);
            let (packet, next) = rest.split_at_mut(end);
            rest = next;
            if let Some(keys) = &self.keys[kind] {
                let frames = open(&keys.remote, packet, number);
                self.read(kind, &frames);
                // The next packet of the datagram may be of keys that this one has brought.
                self.advance();
            }
        }
        true
    }

    /// Kind, place of the number, and end of the packet at the front.
    fn shape(&mut self, bytes: &[u8]) -> (usize, usize, usize) {
        if bytes[0] & 0x80 == 0 {
            return (DATA, 1 + OURS.len(), bytes.len());
        }
        let kind = usize::from(bytes[0] >> 5 & 1);
        let ours = usize::from(bytes[5]);
        let theirs = usize::from(bytes[6 + ours]);
        let mut rest = &bytes[7 + ours..];
        self.theirs = rest[..theirs].to_vec();
        rest = &rest[theirs..];
        if kind == INITIAL {
            let token = take(&mut rest).unwrap();
            rest = &rest[usize::try_from(token).unwrap()..];
        }
        let length = usize::try_from(take(&mut rest).unwrap()).unwrap();
        let number = bytes.len() - rest.len();
        (kind, number, number + length)
    }

    /// What matters of the frames of a packet.
    fn read(&mut self, kind: usize, mut frames: &[u8]) {
        while let Some(frame) = take(&mut frames) {
            let mut next = || take(&mut frames).unwrap();
            match frame {
                0 | 1 | 0x1e => {}
                2 | 3 => {
                    next();
                    next();
                    let ranges = next();
                    for _ in 0..=2 * ranges {
                        next();
                    }
                }
                6 => {
                    let (offset, length) = (next(), next());
                    let (bytes, rest) = frames.split_at(usize::try_from(length).unwrap());
                    frames = rest;
                    if offset == self.came[kind] {
                        self.came[kind] += length;
                        self.tls.read_hs(bytes).unwrap();
                    }
                }
                0x1c | 0x1d => {
                    self.closed = Some(next());
                    return;
                }
                // What follows is of no interest here.
                _ => return,
            }
        }
    }

    /// Lets the handshake go on.
    fn advance(&mut self) {
        loop {
            let mut out = Vec::new();
            let change = self.tls.write_hs(&mut out);
            let done = out.is_empty() && change.is_none();
            self.flight.append(&mut out);
            match change {
                Some(KeyChange::Handshake { keys }) => self.keys[HANDSHAKE] = Some(keys),
                Some(KeyChange::OneRtt { keys, .. }) => self.keys[DATA] = Some(keys),
                None if done => return,
                None => {}
            }
        }
    }
}

/// The frames of a packet.
fn open(keys: &DirectionalKeys, packet: &mut [u8], at: usize) -> Vec<u8> {
    let (head, sample) = packet.split_at_mut(at + 4);
    let (first, rest) = head.split_first_mut().unwrap();
    let sample = &sample[..keys.header.sample_len()];
    let number = &mut rest[at - 1..];
    keys.header.decrypt_in_place(sample, first, number).unwrap();
    let end = at + usize::from(packet[0] & 3) + 1;
    let (head, payload) = packet.split_at_mut(end);
    let number = head[at..]
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let frames = keys.packet.decrypt_in_place(number, head, payload).unwrap();
    frames.to_vec()
}
