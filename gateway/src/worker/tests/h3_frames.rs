//! HTTP/3 as h3spec asks for it: what a server must say to frames, streams and sections that break a
//! rule, sent byte by byte.

use quinn::{ReadError, VarInt};
use sallyport_core::h3::{Event, RequestStream, qpack, varint};

use super::h3::{closed_with, endpoint, run};
use super::support::{Act, House, Origin, on_each_driver};
use super::tls::{pair, secured};

pub(super) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(&mut out, kind);
    varint::write(&mut out, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

pub(super) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = Vec::new();
    qpack::encode_prefix(&mut section);
    for (name, value) in fields {
        qpack::encode_line(&mut section, name.as_bytes(), value.as_bytes());
    }
    frame(1, &section)
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.example"),
    (":path", "/"),
];

pub(super) fn get_with(more: &[(&str, &str)]) -> Vec<u8> {
    let fields: Vec<_> = GET.iter().chain(more).copied().collect();
    headers(&fields)
}

/// A control stream that begins as it should.
fn control(more: &[u8]) -> Vec<u8> {
    [&[0], &frame(4, b"")[..], more].concat()
}

/// What the gateway says to one broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// It closed the connection.
    Closed(u64),
    /// It reset the stream.
    Reset(u64),
    /// It answered.
    Status(u16),
}

/// What a client sends.
enum Sent {
    /// On a request stream, ended behind it.
    Request(Vec<u8>),
    /// On a request stream that stays open.
    Open(Vec<u8>),
    /// On unidirectional streams that stay open.
    Uni(Vec<Vec<u8>>),
    /// On a unidirectional stream, ended behind it.
    Ended(Vec<u8>),
}

async fn say(connection: &quinn::Connection, sent: Sent) -> Said {
    let mut answer = match sent {
        Sent::Request(bytes) => {
            let (mut send, receive) = connection.open_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
            Some((send, receive))
        }
        Sent::Open(bytes) => {
            let (mut send, receive) = connection.open_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            Some((send, receive))
        }
        Sent::Uni(all) => {
            let mut open = Vec::new();
            for bytes in all {
                let mut send = connection.open_uni().await.unwrap();
                send.write_all(&bytes).await.unwrap();
                open.push(send);
            }
            let end = connection.closed().await;
            return Said::Closed(closed_with(&end).unwrap());
        }
        Sent::Ended(bytes) => {
            let mut send = connection.open_uni().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
            None
        }
    };
    let Some((_send, receive)) = &mut answer else {
        let end = connection.closed().await;
        return Said::Closed(closed_with(&end).unwrap());
    };
    match receive.read_chunk(64 * 1024, true).await {
        Ok(Some(chunk)) => Said::Status(status(chunk.bytes)),
        Ok(None) => panic!("an answer without a head"),
        Err(ReadError::Reset(code)) => Said::Reset(code.into_inner()),
        Err(ReadError::ConnectionLost(end)) => Said::Closed(closed_with(&end).unwrap()),
        Err(other) => panic!("{other:?}"),
    }
}

/// The status of a head that begins with it; ours all do.
pub(super) fn status(mut bytes: bytes::Bytes) -> u16 {
    let Ok(Some(Event::Head(section))) = RequestStream::new().read(&mut bytes) else {
        panic!("no head");
    };
    match section[2] {
        0xd9 => 200,
        0xff => match section[3] {
            0x04 => 400,
            0x06 => 421,
            0x07 => 425,
            other => panic!("{other:x}"),
        },
        other => panic!("{other:x}"),
    }
}

/// Cases of h3spec and of RFC 9114, by the rule.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<(&'static str, Sent, Said)> {
    use Said::{Closed, Reset, Status};
    use Sent::{Ended, Open, Request, Uni};
    let message = Reset(0x10e);
    let head = || get_with(&[]);
    let one = |bytes: &[u8]| Uni(vec![bytes.to_vec()]);
    let mut push = head();
    push.extend(frame(5, b"\0"));
    let without = |at: usize| {
        let mut fields = GET.to_vec();
        fields.remove(at);
        Request(headers(&fields))
    };
    vec![
        ("a good request", Request(head()), Status(200)),
        (
            "unknown frames are ignored",
            Request([frame(0x21, b"x"), head()].concat()),
            Status(200),
        ),
        (
            "4.1 DATA before HEADERS",
            Request(frame(0, b"x")),
            Closed(0x105),
        ),
        ("4.1 an empty stream", Request(Vec::new()), Reset(0x10d)),
        (
            "4.1.2 more body than promised",
            Request([get_with(&[("content-length", "1")]), frame(0, b"xy")].concat()),
            message,
        ),
        (
            "4.1.2 less body than promised",
            Request([get_with(&[("content-length", "3")]), frame(0, b"xy")].concat()),
            message,
        ),
        (
            "4.1.2 a promise and no body",
            Request(get_with(&[("content-length", "3")])),
            message,
        ),
        (
            "4.2 upper case",
            Request(get_with(&[("Accept", "x")])),
            message,
        ),
        (
            "4.2 connection",
            Request(get_with(&[("connection", "close")])),
            message,
        ),
        ("4.2 te", Request(get_with(&[("te", "gzip")])), message),
        (
            "4.3 a pseudo-header twice",
            Request(get_with(&[(":method", "GET")])),
            message,
        ),
        ("4.3.1 no method", without(0), message),
        ("4.3.1 no scheme", without(1), message),
        ("4.3.1 no authority", without(2), message),
        ("4.3.1 no path", without(3), message),
        (
            "4.3 a prohibited pseudo-header",
            Request(get_with(&[(":status", "200")])),
            message,
        ),
        (
            "4.3 a pseudo-header after fields",
            Request(get_with(&[("a", "b"), (":x", "y")])),
            message,
        ),
        (
            "10.3 a line break in a value",
            Request(get_with(&[("a", "b\r\nc: d")])),
            message,
        ),
        (
            "6.2.1 no SETTINGS first",
            one(&[&[0], &frame(0xd, b"\0")[..]].concat()),
            Closed(0x10a),
        ),
        (
            "6.2.1 two control streams",
            Uni(vec![control(b""), control(b"")]),
            Closed(0x103),
        ),
        (
            "6.2.1 a control stream that ends",
            Ended(control(b"")),
            Closed(0x104),
        ),
        ("6.2.2 a push stream", one(b"\x01\x00"), Closed(0x103)),
        (
            "7.1 a frame cut short",
            Request(head()[..5].to_vec()),
            Closed(0x106),
        ),
        (
            "7.2.1 DATA on the control stream",
            one(&control(&frame(0, b"x"))),
            Closed(0x105),
        ),
        (
            "7.2.2 HEADERS on the control stream",
            one(&control(&frame(1, b"x"))),
            Closed(0x105),
        ),
        (
            "7.2.3 CANCEL_PUSH on a request",
            Request(frame(3, b"\0")),
            Closed(0x105),
        ),
        (
            "7.2.3 CANCEL_PUSH of nothing",
            one(&control(&frame(3, b"\0"))),
            Closed(0x108),
        ),
        (
            "7.2.4 SETTINGS twice",
            one(&control(&frame(4, b""))),
            Closed(0x105),
        ),
        (
            "7.2.4 a setting twice",
            one(&[&[0], &frame(4, b"\x06\x01\x06\x01")[..]].concat()),
            Closed(0x109),
        ),
        (
            "7.2.4 SETTINGS on a request",
            Open(frame(4, b"")),
            Closed(0x105),
        ),
        (
            "7.2.4.1 a setting of HTTP/2",
            one(&[&[0], &frame(4, b"\x02\x01")[..]].concat()),
            Closed(0x109),
        ),
        ("7.2.5 PUSH_PROMISE of a client", Open(push), Closed(0x105)),
        (
            "7.2.6 GOAWAY on a request",
            Open(frame(7, b"\0")),
            Closed(0x105),
        ),
        (
            "7.2.6 GOAWAY that grows",
            one(&control(&[frame(7, b"\x01"), frame(7, b"\x02")].concat())),
            Closed(0x108),
        ),
        (
            "7.2.7 MAX_PUSH_ID that shrinks",
            one(&control(
                &[frame(0xd, b"\x02"), frame(0xd, b"\x01")].concat(),
            )),
            Closed(0x108),
        ),
        (
            "7.2.7 MAX_PUSH_ID on a request",
            Open(frame(0xd, b"\0")),
            Closed(0x105),
        ),
        (
            "7.2.8 a frame of HTTP/2",
            Open(frame(6, b"")),
            Closed(0x105),
        ),
        (
            "QPACK 3.1 an index outside the static table",
            Request(frame(1, b"\0\0\xff\x24")),
            Closed(0x200),
        ),
        (
            "QPACK 4.5 a reference to the dynamic table",
            Request(frame(1, b"\x02\0\x80")),
            Closed(0x200),
        ),
        (
            "QPACK 4.1.3 a capacity above 0",
            one(b"\x02\x3f\x45"),
            Closed(0x201),
        ),
        (
            "QPACK 4.2 an encoder stream that ends",
            Ended(b"\x02".to_vec()),
            Closed(0x104),
        ),
        (
            "QPACK 4.2 two decoder streams",
            Uni(vec![b"\x03".to_vec(), b"\x03".to_vec()]),
            Closed(0x103),
        ),
        (
            "QPACK 4.3.2 an insertion",
            one(b"\x02\xc0\x01x"),
            Closed(0x201),
        ),
        (
            "QPACK 4.4.1 an acknowledgment of nothing",
            one(b"\x03\x84"),
            Closed(0x202),
        ),
        (
            "QPACK 4.4.3 an increment of 0",
            one(b"\x03\x00"),
            Closed(0x202),
        ),
        (
            "9 empty frames without end",
            Request([head(), frame(0, b"").repeat(3_000)].concat()),
            Closed(0x107),
        ),
        (
            "a method that does not exist",
            Request(headers(&[(":method", "FOO"), GET[1], GET[2], GET[3]])),
            Status(400),
        ),
    ]
}

/// What h3spec tries above the transport.
const SPEC: [&str; 16] = [
    "4.1 DATA before HEADERS",
    "4.3 a pseudo-header twice",
    "4.3.1 no method",
    "4.3 a prohibited pseudo-header",
    "4.3 a pseudo-header after fields",
    "6.2.1 no SETTINGS first",
    "7.2.1 DATA on the control stream",
    "7.2.2 HEADERS on the control stream",
    "7.2.4 SETTINGS twice",
    "7.2.4 a setting twice",
    "7.2.4.1 a setting of HTTP/2",
    "7.2.3 CANCEL_PUSH on a request",
    "QPACK 3.1 an index outside the static table",
    "QPACK 4.1.3 a capacity above 0",
    "6.2.1 a control stream that ends",
    "QPACK 4.4.3 an increment of 0",
];

#[test]
fn no_case_of_h3spec_is_left_out() {
    let rules: Vec<_> = cases().into_iter().map(|(rule, ..)| rule).collect();
    for rule in SPEC {
        let times = rules.iter().filter(|tried| **tried == rule).count();
        assert_eq!(times, 1, "{rule}");
    }
}

#[test]
fn broken_rules_get_the_code_of_their_rule() {
    let a = pair("a.example");
    on_each_driver(|driver| {
        let origin = Origin::answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let client = endpoint(&a);
            let mut wrong = Vec::new();
            for (rule, sent, expected) in cases() {
                let connecting = client.connect(house.door, "a.example").unwrap();
                let connection = connecting.await.unwrap();
                let said = say(&connection, sent).await;
                if said != expected {
                    wrong.push(format!("{rule}: {said:x?} instead of {expected:x?}"));
                }
                connection.close(VarInt::from_u32(0x100), b"");
            }
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        });
        let report = house.report_when(|report| report.in_flight == 0);
        assert_eq!(report.handshakes_failed, 0);
        assert_eq!(house.close(), 0);
    });
}

#[test]
fn a_websocket_is_tunnelled_to_an_http1_origin() {
    let a = pair("a.example");
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";
    on_each_driver(|driver| {
        let origin = Origin::script(vec![Act::Send(switch.to_vec()), Act::Echo]);
        let house = House::open(driver, secured(origin.address, &[("a.example", &a)]));
        run(async {
            let connecting = endpoint(&a).connect(house.door, "a.example").unwrap();
            let connection = connecting.await.unwrap();
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            let mut fields = GET.to_vec();
            fields[0].1 = "CONNECT";
            fields.push((":protocol", "websocket"));
            fields.push(("sec-websocket-version", "13"));
            send.write_all(&headers(&fields)).await.unwrap();
            let chunk = receive.read_chunk(64 * 1024, true).await.unwrap().unwrap();
            assert_eq!(status(chunk.bytes), 200);
            for text in [&b"hello"[..], b"again"] {
                send.write_all(&frame(0, text)).await.unwrap();
                let echo = receive.read_chunk(64 * 1024, true).await.unwrap().unwrap();
                assert_eq!(echo.bytes, frame(0, text));
            }
            send.finish().unwrap();
        });
        let head = origin.heads.lock().unwrap()[0][0].clone();
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        assert!(head.contains("sec-websocket-key: "), "{head}");
    });
}
