//! QUIC as h3spec asks for it: the codes that a server closes with when a rule of RFC 9000 or RFC 9001
//! is broken, packet by packet. The transport is not ours; that its answers get out is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::packets::{
    DATA, HANDSHAKE, INITIAL, Packets, numbers, parameters, raw_parameters, receive,
};
use super::support::{House, Origin, on_each_driver};
use super::tls::{Pair, pair, secured};

const FLOW_CONTROL: u64 = 3;
const STREAM_LIMIT: u64 = 4;
const STREAM_STATE: u64 = 5;
const FRAME_ENCODING: u64 = 7;
const PARAMETER: u64 = 8;
const VIOLATION: u64 = 10;
/// Alerts of TLS (RFC 9001 §4.8).
const UNEXPECTED_MESSAGE: u64 = 0x10a;
const MISSING_EXTENSION: u64 = 0x16d;
const NO_PROTOCOL: u64 = 0x178;

/// Beyond what any number of streams may be.
const STREAMS: u64 = (1 << 60) + 1;

/// A client whose first message fits one datagram.
fn client(trusted: &Pair, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(&trusted.chain);
    roots.add(certificate.unwrap()).unwrap();
    let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(tls)
}

/// Parameters of a client that break a rule.
fn bad_parameters() -> Vec<(&'static str, Vec<u8>)> {
    let address = [&[127, 0, 0, 1, 1, 1][..], &[0; 18], &[1, 1], &[0; 16]].concat();
    vec![
        ("7.3 no initial_source_connection_id", raw_parameters(&[])),
        (
            "18.2 original_destination_connection_id",
            parameters(&[(0, b"first-id")]),
        ),
        ("18.2 preferred_address", parameters(&[(0x0d, &address)])),
        (
            "18.2 retry_source_connection_id",
            parameters(&[(0x10, b"x")]),
        ),
        ("18.2 stateless_reset_token", parameters(&[(2, &[0; 16])])),
        (
            "7.4 max_udp_payload_size",
            parameters(&[(3, &numbers(&[1_199]))]),
        ),
        (
            "7.4 ack_delay_exponent",
            parameters(&[(0x0a, &numbers(&[21]))]),
        ),
        (
            "7.4 max_ack_delay",
            parameters(&[(0x0b, &numbers(&[1 << 14]))]),
        ),
    ]
}

/// NEW_CONNECTION_ID, number 1.
fn new_id(retired: u64, id: &[u8]) -> Vec<u8> {
    let length = u8::try_from(id.len()).unwrap();
    [&numbers(&[0x18, 1, retired])[..], &[length], id, &[0; 16]].concat()
}

/// Frames behind a handshake that break a rule, the reserved bits of their packet, and the code.
fn bad_frames() -> Vec<(&'static str, Vec<u8>, u8, u64)> {
    let stream = |id: u64| [&numbers(&[0x0a, id, 1])[..], b"x"].concat();
    let far = [&numbers(&[0x0e, 0, 100_000_000, 1])[..], b"x"].concat();
    let token = [&numbers(&[7, 3])[..], b"abc"].concat();
    vec![
        ("4.1 a large offset", far, 0, FLOW_CONTROL),
        (
            "4.6 a stream beyond the limit",
            stream(4_000),
            0,
            STREAM_LIMIT,
        ),
        ("12.4 an unknown type", numbers(&[0x3f]), 0, FRAME_ENCODING),
        ("12.4 no frames", Vec::new(), 0, VIOLATION),
        ("17.2 reserved bits, short", numbers(&[1]), 0x18, VIOLATION),
        (
            "19.4 RESET_STREAM of a stream for sending",
            numbers(&[4, 3, 0, 0]),
            0,
            STREAM_STATE,
        ),
        (
            "19.5 STOP_SENDING of no stream",
            numbers(&[5, 1, 0]),
            0,
            STREAM_STATE,
        ),
        ("19.7 NEW_TOKEN", token, 0, VIOLATION),
        (
            "19.8 STREAM of ours, not opened",
            stream(1),
            0,
            STREAM_STATE,
        ),
        ("19.8 STREAM for sending", stream(3), 0, STREAM_STATE),
        (
            "19.10 MAX_STREAM_DATA of no stream",
            numbers(&[0x11, 1, 9]),
            0,
            STREAM_STATE,
        ),
        (
            "19.10 MAX_STREAM_DATA of a stream for receiving",
            numbers(&[0x11, 2, 9]),
            0,
            STREAM_STATE,
        ),
        (
            "19.11 MAX_STREAMS",
            numbers(&[0x12, STREAMS]),
            0,
            FRAME_ENCODING,
        ),
        (
            "19.14 STREAMS_BLOCKED",
            numbers(&[0x16, STREAMS]),
            0,
            FRAME_ENCODING,
        ),
        (
            "19.15 Retire Prior To",
            new_id(2, b"12345678"),
            0,
            FRAME_ENCODING,
        ),
        ("19.15 an id of no bytes", new_id(0, b""), 0, FRAME_ENCODING),
        ("19.20 HANDSHAKE_DONE", numbers(&[0x1e]), 0, VIOLATION),
    ]
}

/// h3spec has 34 cases about the transport: these, eight in the test of handshakes, and early data.
#[test]
fn no_case_of_the_transport_is_left_out() {
    assert_eq!(bad_parameters().len() + bad_frames().len() + 8 + 1, 34);
}

/// Tries a connection on each driver and collects what was not as it should be.
fn each(test: impl Fn(&House, &Pair, &mut dyn FnMut(&str, Option<u64>, u64))) {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let mut wrong = Vec::new();
        test(&house, &a, &mut |rule, code, wanted| {
            if code != Some(wanted) {
                wrong.push(format!("{rule}: {code:x?} instead of {wanted:x}"));
            }
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn parameters_that_break_a_rule_close_the_connection() {
    each(|house, a, judge| {
        for (rule, bytes) in bad_parameters() {
            let mut packets = Packets::new(house.door, client(a, b"h3"), bytes);
            packets.say(INITIAL);
            judge(rule, packets.code(), PARAMETER);
        }
    });
}

#[test]
fn frames_that_break_a_rule_close_the_connection() {
    each(|house, a, judge| {
        for (rule, frames, reserved, wanted) in bad_frames() {
            let mut packets = Packets::new(house.door, client(a, b"h3"), parameters(&[]));
            packets.say(INITIAL);
            packets.until(DATA);
            packets.say(HANDSHAKE);
            packets.send(DATA, &frames, reserved);
            judge(rule, packets.code(), wanted);
        }
    });
}

/// Messages of TLS where they must not be, and packets of the handshake that break a rule.
#[test]
fn handshakes_that_break_a_rule_are_ended() {
    const KEY_UPDATE: &[u8] = b"\x18\0\0\x01\x01";
    const END_OF_EARLY_DATA: &[u8] = b"\x05\0\0\0";
    each(|house, a, judge| {
        let begin = || {
            let mut packets = Packets::new(house.door, client(a, b"h3"), parameters(&[]));
            packets.say(INITIAL);
            packets.until(DATA);
            packets
        };
        let mut packets = begin();
        packets.send(HANDSHAKE, &numbers(&[1]), 0x0c);
        judge("17.2 reserved bits, long", packets.code(), VIOLATION);
        let mut packets = begin();
        packets.send(HANDSHAKE, &[&[0x1a][..], &[0; 8]].concat(), 0);
        judge("17.2.4 PATH_CHALLENGE", packets.code(), VIOLATION);
        let mut packets = begin();
        packets.flight().extend_from_slice(KEY_UPDATE);
        packets.say(HANDSHAKE);
        judge(
            "TLS 6 KeyUpdate, handshake",
            packets.code(),
            UNEXPECTED_MESSAGE,
        );
        let mut packets = begin();
        packets.flight().splice(..0, END_OF_EARLY_DATA.to_vec());
        packets.say(HANDSHAKE);
        judge("TLS 8.3 EndOfEarlyData", packets.code(), UNEXPECTED_MESSAGE);
        let mut packets = begin();
        packets.say(HANDSHAKE);
        let frame = packets.crypto(DATA, KEY_UPDATE);
        packets.send(DATA, &frame, 0);
        judge("TLS 6 KeyUpdate, 1-RTT", packets.code(), UNEXPECTED_MESSAGE);

        let mut packets = Packets::new(house.door, client(a, b"dummy"), parameters(&[]));
        packets.say(INITIAL);
        judge("TLS 8.1 no protocol", packets.code(), NO_PROTOCOL);
        // The extension under another number: one that means nothing, and the one of a draft.
        for number in [[0x3a, 0x3a], [0xff, 0xa5]] {
            let bytes = parameters(&[(0x2ab2, b"to be found")]);
            let mut packets = Packets::new(house.door, client(a, b"h3"), bytes.clone());
            let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            let begin = [&[0, 0x39][..], &length, &bytes[..4]].concat();
            let flight = packets.flight();
            let at = flight.windows(begin.len()).position(|at| at == begin);
            flight[at.unwrap()..][..2].copy_from_slice(&number);
            packets.say(INITIAL);
            // Ended by the alert, or by who finds nothing to read.
            let code = packets.code();
            assert!(
                matches!(code, Some(MISSING_EXTENSION | PARAMETER)),
                "{code:x?}"
            );
        }
    });
}

/// TLS 8.3, CRYPTO in early data: early data is off, so that nobody has a key to read it, and whatever it
/// is, it changes nothing.
#[test]
fn early_data_is_not_read() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let mut packets = Packets::new(house.door, client(&a, b"h3"), parameters(&[]));
        packets.say(INITIAL);
        let first = packets.theirs.clone();
        let early = [
            &b"\xd3\0\0\0\x01\x08"[..],
            &first,
            b"\x08raw-test\x40\x40",
            &[6; 64],
        ];
        packets.socket.send(&early.concat()).unwrap();
        packets.until(DATA);
        packets.say(HANDSHAKE);
        assert!(packets.receive());
        assert_eq!(packets.closed, None);
        house.report_when(|report| report.handshakes_ok == 1);
    });
}

/// RFC 9000 §8.1 and §14.1: who has not shown where it is gets three times what it sent, and nothing
/// for a first datagram that is too short.
#[test]
fn who_says_little_is_told_little() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let mut packets = Packets::new(house.door, client(&a, b"h3"), parameters(&[]));
        packets.say(INITIAL);
        // Retransmissions of an unanswered flight come after one second at the latest.
        packets
            .socket
            .set_read_timeout(Some(Duration::from_millis(1_500)))
            .unwrap();
        while packets.receive() && packets.received <= 3_600 {}
        assert!(
            (1_200..=3_600).contains(&packets.received),
            "{}",
            packets.received
        );
        assert_eq!(packets.closed, None);

        // Short by one byte: dropped. Its end is known by the answer to the next.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(super::support::PATIENCE))
            .unwrap();
        let mut odd = vec![0; 1_199];
        odd[..18].copy_from_slice(b"\xc0\x0a\x0a\x0a\x0a\x08dcid5678\x03one");
        socket.send_to(&odd, house.door).unwrap();
        odd.push(0);
        odd[15..18].copy_from_slice(b"two");
        socket.send_to(&odd, house.door).unwrap();
        let mut answer = [0; 2_000];
        let length = receive(&socket, &mut answer).unwrap();
        assert_eq!(&answer[5..9], b"\x03two");
        assert!(length < 100, "one answer, and a small one");
    });
}

/// RFC 9000 §10.3: a packet of a connection that is forgotten gets a reset, always shorter than it, so
/// that two who forgot do not talk for ever. An id that we never gave gets nothing: nobody can find out
/// what tokens are like.
#[test]
fn packets_of_no_connection_are_reset() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        let mut packets = Packets::new(house.door, client(&a, b"h3"), parameters(&[]));
        packets.say(INITIAL);
        packets.until(DATA);
        packets.say(HANDSHAKE);
        packets.send(DATA, &numbers(&[0x1c, 0, 0, 0]), 0);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let short = Duration::from_millis(100);
        socket.set_read_timeout(Some(short)).unwrap();
        let mut answer = [0; 2_000];
        let mut ask = |id: &[u8], length: usize| {
            let mut packet = [&[0x40], id].concat();
            packet.resize(length, 7);
            socket.send_to(&packet, house.door).unwrap();
            let came = receive(&socket, &mut answer)?;
            assert!(came < length && answer[0] & 0xc0 == 0x40);
            Some(answer[came - 16..came].to_vec())
        };
        // It is remembered for a while, and says nothing; and resets are few.
        let end = Instant::now() + super::support::PATIENCE;
        let mut reset = |length| loop {
            assert!(Instant::now() < end, "no reset");
            if let Some(token) = ask(&packets.theirs, length) {
                return token;
            }
        };
        assert_eq!(reset(100), reset(60), "the token is the id's");
        assert_eq!(ask(&[7; 20], 100), None);
    });
}
