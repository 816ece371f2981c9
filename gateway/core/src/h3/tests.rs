//! Frames in every order and cut at every byte, heads by table, and what we write read back.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::call::Scheme;
use crate::h1::{
    BodyKind, FieldSet, H1Error, HeaderEdits, HeaderIndex, HeaderView, KnownHeader, RequestHead,
    TargetForm, Upgrade,
};
use crate::limits::Http1Profile;

type Fields<'a> = &'a [(&'a str, &'a str)];
/// Type and payload of each frame.
type Frames<'a> = &'a [(u64, &'a [u8])];

fn section(fields: Fields<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    qpack::encode_prefix(&mut out);
    for (name, value) in fields {
        qpack::encode_line(&mut out, name.as_bytes(), value.as_bytes());
    }
    out
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(&mut out, kind);
    varint::write(&mut out, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

struct Parsed {
    head: RequestHead,
    buf: Vec<u8>,
    index: HeaderIndex,
}

impl Parsed {
    fn text(&self, known: KnownHeader) -> Option<&str> {
        let value = self.index.value(&self.buf, known)?;
        Some(str::from_utf8(value).unwrap())
    }
}

fn parse_with(fields: Fields<'_>, ended: bool) -> Result<Parsed, HeadError> {
    let (mut buf, mut index) = (Vec::new(), HeaderIndex::new());
    let profile = Http1Profile::edge(Scheme::Https);
    let beside = Beside {
        profile: &profile,
        ended,
        nonce: [7; 16],
    };
    let mut text = Vec::new();
    let head = parse_head(&section(fields), &mut text, &mut buf, &mut index, beside)?;
    Ok(Parsed { head, buf, index })
}

fn parse(fields: Fields<'_>) -> Result<Parsed, HeadError> {
    parse_with(fields, true)
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.example:8443"),
    (":path", "/x?y=z"),
];

fn get_with<'a>(more: Fields<'a>) -> Vec<(&'a str, &'a str)> {
    GET.iter().chain(more).copied().collect()
}

const MALFORMED: HeadError = HeadError::Fault(Fault::Stream(Code::Message));

#[test]
fn a_head_becomes_what_it_would_have_been_in_http1() {
    let fields = get_with(&[
        ("accept", "*/*"),
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
    ]);
    let parsed = parse(&fields).unwrap();
    let head = &parsed.head;
    assert_eq!(head.method_text.of(&parsed.buf), b"GET");
    assert_eq!(head.target.of(&parsed.buf), b"/x?y=z");
    assert_eq!(head.authority.of(&parsed.buf), b"a.example:8443");
    assert_eq!(head.host.of(&parsed.buf), b"a.example");
    assert_eq!((head.port, head.form), (Some(8443), TargetForm::Origin));
    assert_eq!(head.body, BodyKind::None);
    assert!(head.te_trailers && head.keep_alive);
    assert_eq!(parsed.text(KnownHeader::Cookie), Some("a=1; b=2"));
    assert!(!parsed.index.is_repeated(KnownHeader::Cookie));
    let mut edits = HeaderEdits::new();
    edits.begin(head.drop, &parsed.index);
    let view = HeaderView {
        buf: &parsed.buf,
        index: &parsed.index,
        edits: &edits,
    };
    let forwarded: Vec<_> = view.forwarded().map(|(name, _)| name).collect();
    assert_eq!(forwarded, [&b"accept"[..], b"cookie"]);
}

#[test]
fn the_length_of_the_body() {
    let body = |fields: Fields<'_>, ended| {
        let parsed = parse_with(&get_with(fields), ended);
        parsed.map(|parsed| parsed.head.body).map_err(|_| ())
    };
    assert_eq!(body(&[], false), Ok(BodyKind::Chunked));
    assert_eq!(
        body(&[("content-length", "5")], false),
        Ok(BodyKind::Length(5))
    );
    assert_eq!(body(&[], true), Ok(BodyKind::None));
    assert_eq!(
        body(&[("content-length", "0")], true),
        Ok(BodyKind::Length(0))
    );
    assert_eq!(body(&[("content-length", "5")], true), Err(()));
}

/// RFC 9114 §4.1.2, §4.2 and §4.3, and what would be smuggled into HTTP/1.
#[test]
fn malformed_heads_are_errors_of_the_stream() {
    let more: [Fields<'_>; 24] = [
        &[(":method", "GET")],
        &[(":path", "/other")],
        &[(":status", "200")],
        &[(":protocol", "websocket")],
        &[(":unknown", "x")],
        &[("accept", "x"), (":late", "x")],
        &[("Accept", "x")],
        &[("", "x")],
        &[("a b", "x")],
        &[("a:", "x")],
        &[("a\r\nb", "x")],
        &[("x", "a\r\nb: c")],
        &[("x", "a\nb")],
        &[("x", "a\0b")],
        &[("x", " a")],
        &[("x", "a\t")],
        &[("connection", "close")],
        &[("keep-alive", "x")],
        &[("proxy-connection", "x")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("host", "b.example")],
        &[("content-length", "0"), ("content-length", "0")],
    ];
    for fields in more {
        let error = parse(&get_with(fields)).err();
        assert_eq!(error, Some(MALFORMED), "{fields:?}");
    }
    for missing in 0..4 {
        let mut fields = GET.to_vec();
        fields.remove(missing);
        assert_eq!(parse(&fields).err(), Some(MALFORMED), "without {missing}");
    }
    for (at, value) in [
        (3, ""),
        (3, "x"),
        (3, "*"),
        (3, "/a b"),
        (3, "/\u{e9}"),
        (2, "a/b"),
        (2, "u@a.example"),
        (1, "ftp"),
        (2, ""),
        (0, "G T"),
        (0, ""),
    ] {
        let mut fields = GET.to_vec();
        fields[at].1 = value;
        assert_eq!(parse(&fields).err(), Some(MALFORMED), "{value:?}");
    }
    assert_eq!(
        parse(&get_with(&[("content-length", "1x")])).err(),
        Some(MALFORMED)
    );
}

#[test]
fn heads_that_we_do_not_serve_are_answered() {
    let refused = |fields: Fields<'_>| match parse(fields).err() {
        Some(HeadError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    let with = |at: usize, value| {
        let mut fields = GET.to_vec();
        fields[at].1 = value;
        fields
    };
    assert_eq!(refused(&with(0, "FOO")), H1Error::UnknownMethod);
    assert_eq!(refused(&with(0, "get")), H1Error::UnknownMethod);
    assert_eq!(refused(&with(0, "TRACE")), H1Error::Trace);
    assert_eq!(refused(&with(1, "http")), H1Error::BadScheme);
    assert_eq!(refused(&get_with(&[("x_y", "1")])), H1Error::Underscore);
    assert_eq!(
        refused(&get_with(&[("expect", "cake")])),
        H1Error::BadExpect
    );
    let many = vec![("x", "y"); 101];
    assert_eq!(refused(&get_with(&many)), H1Error::TooManyFields);
    let long = "a".repeat(61 * 1024);
    assert_eq!(refused(&get_with(&[("x", &long)])), H1Error::HeadTooLarge);
    let half = "a".repeat(31 * 1024);
    let pair = [("x", half.as_str()), ("y", half.as_str())];
    let twice = get_with(&pair);
    assert_eq!(refused(&twice), H1Error::HeadTooLarge);
}

#[test]
fn connect_asks_for_a_host_or_for_a_websocket() {
    let tunnel = parse(&[(":method", "CONNECT"), (":authority", "a.example:443")]).unwrap();
    assert_eq!(tunnel.head.form, TargetForm::Authority);
    assert_eq!(tunnel.head.target.of(&tunnel.buf), b"a.example:443");
    let mut fields = get_with(&[]);
    fields[0].1 = "CONNECT";
    assert_eq!(
        parse(&fields).err(),
        Some(MALFORMED),
        "a path without protocol"
    );
    fields.push((":protocol", "websocket"));
    let websocket = parse_with(&fields, false).unwrap();
    assert_eq!(websocket.head.upgrade, Some(Upgrade::WebSocket));
    assert_eq!(websocket.head.method_text.of(&websocket.buf), b"GET");
    assert_eq!(websocket.head.body, BodyKind::None);
    fields[4].1 = "connect-udp";
    assert_eq!(
        parse(&fields).err(),
        Some(HeadError::Refused(H1Error::UnknownUpgrade))
    );
}

#[test]
fn trailers_lose_what_comes_too_late() {
    let read = |fields: Fields<'_>| {
        let mut out = Vec::new();
        parse_trailers(&section(fields), &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(
        read(&[("grpc-status", "0"), ("content-length", "5"), ("x", "y")]).as_deref(),
        Ok("grpc-status: 0\r\nx: y\r\n")
    );
    let malformed = Err(Fault::Stream(Code::Message));
    assert_eq!(read(&[(":path", "/")]), malformed);
    assert_eq!(read(&[("X", "y")]), malformed);
    assert_eq!(read(&[("x", "a\rb")]), malformed);
    let long = "a".repeat(9000);
    assert_eq!(
        read(&[("x", &long)]),
        Err(Fault::Stream(Code::ExcessiveLoad))
    );
}

/// What a request stream says, as far as it goes.
fn events(bytes: &[u8], cuts: &[usize]) -> (String, Result<(), Fault>) {
    let mut stream = RequestStream::new();
    let mut said = String::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        let mut input = Bytes::copy_from_slice(&bytes[from..to]);
        from = to;
        loop {
            match stream.read(&mut input) {
                Ok(Some(Event::Data(data))) => said.push_str(&"d".repeat(data.len())),
                Ok(Some(Event::Head(head))) => said.push_str(&format!("H{}", head.len())),
                Ok(Some(Event::Trailers(t))) => said.push_str(&format!("T{}", t.len())),
                Ok(Some(Event::HeadTooLarge)) => said.push('!'),
                Ok(None) => break,
                Err(fault) => return (said, Err(fault)),
            }
        }
    }
    (said, stream.end())
}

fn stream_of(frames: Frames<'_>) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|(kind, p)| frame(*kind, p))
        .collect()
}

#[test]
fn frames_of_a_request() {
    let unexpected = Err(Fault::Connection(Code::FrameUnexpected));
    let truncated = Err(Fault::Connection(Code::Frame));
    let incomplete = Err(Fault::Stream(Code::RequestIncomplete));
    let table: [(Frames<'_>, &str, Result<(), Fault>); 18] = [
        (&[(1, b"hd")], "H2", Ok(())),
        (&[(1, b"")], "H0", Ok(())),
        (
            &[(1, b"hd"), (0, b"abc"), (0, b""), (0, b"d")],
            "H2dddd",
            Ok(()),
        ),
        (&[(1, b"hd"), (0, b"a"), (1, b"trl")], "H2dT3", Ok(())),
        (
            &[(0x21, b"grease"), (1, b"hd"), (0x1f_ffff, b"")],
            "H2",
            Ok(()),
        ),
        (&[(1, b"hd"), (1, b"t"), (0x40, b"grease")], "H2T1", Ok(())),
        (&[], "", incomplete),
        (&[(0x21, b"grease")], "", incomplete),
        (&[(0, b"abc")], "", unexpected),
        (&[(1, b"hd"), (1, b"t"), (0, b"x")], "H2T1", unexpected),
        (&[(1, b"hd"), (1, b"t"), (1, b"u")], "H2T1", unexpected),
        (&[(3, b"\0")], "", unexpected),
        (&[(1, b"hd"), (4, b"")], "H2", unexpected),
        (&[(5, b"\0")], "", unexpected),
        (&[(7, b"\0")], "", unexpected),
        (&[(0xd, b"\0")], "", unexpected),
        (&[(2, b"")], "", unexpected),
        (&[(1, b"hd"), (9, b"")], "H2", unexpected),
    ];
    for (frames, said, end) in table {
        let bytes = stream_of(frames);
        assert_eq!(events(&bytes, &[]), (said.to_owned(), end), "{frames:?}");
        for cut in 0..bytes.len() {
            assert_eq!(
                events(&bytes, &[cut]),
                (said.to_owned(), end),
                "cut at {cut}"
            );
        }
    }
    let bytes = stream_of(&[(1, b"hd"), (0, b"abc")]);
    for cut in [1, 3, 5, 7] {
        assert_eq!(events(&bytes[..cut], &[]).1, truncated, "ends at {cut}");
    }
}

#[test]
fn a_head_beyond_its_bound_is_not_gathered() {
    let mut bytes = Vec::new();
    varint::write(&mut bytes, 1);
    varint::write(&mut bytes, 1 << 30);
    assert_eq!(events(&bytes, &[]).0, "!");
}

#[test]
fn framing_must_be_worth_its_bytes() {
    let excessive = Err(Fault::Connection(Code::ExcessiveLoad));
    let mut empty = frame(1, b"hd");
    empty.extend(frame(0, b"").repeat(2_000));
    assert_eq!(events(&empty, &[]).1, excessive, "empty data");
    let mut unknown = frame(1, b"hd");
    unknown.extend(frame(0x21, &[0; 1_000]).repeat(20));
    assert_eq!(events(&unknown, &[]).1, excessive, "unknown frames");
    let mut honest = frame(1, b"hd");
    honest.extend(frame(0, &[0; 10]).repeat(10_000));
    assert_eq!(events(&honest, &[]).1, Ok(()), "small frames of data");
}

/// What one control stream, cut into pieces, comes to.
fn control(bytes: &[u8], step: usize) -> Result<Option<u64>, Fault> {
    let (mut peer, mut stream) = (Peer::default(), PeerStream::new());
    for piece in bytes.chunks(step) {
        stream.read(&mut peer, &Bytes::copy_from_slice(piece))?;
    }
    Ok(peer.settings().map(|settings| settings.max_field_section))
}

#[test]
fn the_control_stream() {
    let connection = |code| Err(Fault::Connection(code));
    let table: [(Frames<'_>, Result<Option<u64>, Fault>); 24] = [
        (&[], Ok(None)),
        (&[(4, b"")], Ok(Some(u64::MAX))),
        (&[(4, b"\x06\x44\x00\x01\x00\x40\x5f\x00")], Ok(Some(1024))),
        (
            &[
                (4, b""),
                (0x21, b"x"),
                (0xd, b"\x05"),
                (7, b"\x03"),
                (7, b"\x03"),
            ],
            Ok(Some(u64::MAX)),
        ),
        (&[(0x21, b"")], connection(Code::MissingSettings)),
        (&[(0, b"")], connection(Code::MissingSettings)),
        (&[(7, b"\0")], connection(Code::MissingSettings)),
        (&[(4, b""), (4, b"")], connection(Code::FrameUnexpected)),
        (&[(4, b""), (0, b"x")], connection(Code::FrameUnexpected)),
        (&[(4, b""), (1, b"x")], connection(Code::FrameUnexpected)),
        (&[(4, b""), (5, b"x")], connection(Code::FrameUnexpected)),
        (&[(4, b""), (6, b"")], connection(Code::FrameUnexpected)),
        (&[(4, b"\x02\x00")], connection(Code::Settings)),
        (&[(4, b"\x03\x00")], connection(Code::Settings)),
        (&[(4, b"\x04\x00")], connection(Code::Settings)),
        (&[(4, b"\x05\x00")], connection(Code::Settings)),
        (&[(4, b"\x01\x00\x01\x00")], connection(Code::Settings)),
        (&[(4, b"\x08\x02")], connection(Code::Settings)),
        (&[(4, b"\x01")], connection(Code::Frame)),
        (&[(4, b""), (7, b"")], connection(Code::Frame)),
        (&[(4, b""), (0xd, b"\x01\x01")], connection(Code::Frame)),
        (
            &[(4, b""), (0xd, b"\x05"), (0xd, b"\x04")],
            connection(Code::Id),
        ),
        (
            &[(4, b""), (7, b"\x05"), (7, b"\x06")],
            connection(Code::Id),
        ),
        (&[(4, b""), (3, b"\x00")], connection(Code::Id)),
    ];
    for (frames, expected) in table {
        let mut bytes = vec![0];
        bytes.extend(stream_of(frames));
        for step in 1..=bytes.len() {
            assert_eq!(control(&bytes, step), expected, "{frames:?} by {step}");
        }
    }
    let mut flood = vec![0];
    flood.extend(stream_of(&[(4, b"")]));
    flood.extend(frame(0x21, b"").repeat(2_000));
    assert_eq!(control(&flood, 512), connection(Code::ExcessiveLoad));
    let long = stream_of(&[(4, &[0; 5_000])]);
    assert_eq!(
        control(&[&[0], &long[..]].concat(), 512),
        connection(Code::ExcessiveLoad)
    );
}

#[test]
fn each_kind_of_stream_comes_once_and_stays() {
    let mut peer = Peer::default();
    let mut open = |bytes: &'static [u8]| {
        let mut stream = PeerStream::new();
        let read = stream.read(&mut peer, &Bytes::from_static(bytes));
        read.map(|()| stream)
    };
    let creation = Fault::Connection(Code::StreamCreation);
    for kind in [&b"\x00"[..], b"\x02", b"\x03"] {
        let stream = open(kind).unwrap();
        assert_eq!(
            stream.end(),
            Err(Fault::Connection(Code::ClosedCriticalStream))
        );
        assert_eq!(open(kind).err(), Some(creation));
    }
    assert_eq!(open(b"\x01").err(), Some(creation), "push");
    for _ in 0..3 {
        let unknown = open(b"\x40\x41anything").unwrap();
        assert!(unknown.is_ignored());
        assert_eq!(unknown.end(), Ok(()));
    }
    assert_eq!(open(b"").unwrap().end(), Ok(()));
}

#[test]
fn what_is_said_on_the_qpack_streams() {
    let say = |bytes: &'static [u8]| {
        PeerStream::new().read(&mut Peer::default(), &Bytes::from_static(bytes))
    };
    assert_eq!(say(b"\x02\x20"), Ok(()));
    assert_eq!(say(b"\x03\x44"), Ok(()));
    assert_eq!(
        say(b"\x02\x3f\x01"),
        Err(Fault::Connection(Code::EncoderStream))
    );
    assert_eq!(
        say(b"\x03\x00"),
        Err(Fault::Connection(Code::DecoderStream))
    );
}

#[test]
fn what_we_write_reads_back() {
    let mut index = HeaderIndex::new();
    let mut buf = Vec::new();
    index
        .push(&mut buf, b"content-type", b"text/plain")
        .unwrap();
    index.push(&mut buf, b"x-a", b"b").unwrap();
    let mut edits = HeaderEdits::new();
    edits.begin(FieldSet::NONE, &index);
    edits.add(b"server", b"s");
    let view = HeaderView {
        buf: &buf,
        index: &index,
        edits: &edits,
    };
    let mut out = Vec::new();
    encode_head(&mut out, 404, view, Some(12));
    encode_trailers(&mut out, [(&b"x"[..], &b"y"[..])]);
    data_header(&mut out, 3);
    let mut input = Bytes::from(out);
    let mut stream = RequestStream::new();
    let mut lines = Vec::new();
    while let Some(event) = stream.read(&mut input).unwrap() {
        let (Event::Head(section) | Event::Trailers(section)) = event else {
            panic!("{event:?}")
        };
        let mut text = Vec::new();
        let mut decoder = qpack::Decoder::new(&section).unwrap();
        while decoder.next(&mut text, 1000).unwrap().is_some() {}
        lines.push(String::from_utf8(text).unwrap());
        if lines.len() == 2 {
            break;
        }
    }
    assert_eq!(
        lines,
        [
            ":status: 404\r\ncontent-type: text/plain\r\nx-a: b\r\nserver: s\r\ncontent-length: 12\r\n",
            "x: y\r\n"
        ]
    );
    assert_eq!(&input[..], b"\x00\x03");
    let opening = encode_opening();
    assert_eq!(control(&opening, 1), Ok(Some(60 * 1024)));
    assert_eq!(encode_goaway(8), b"\x07\x01\x08");
}

proptest! {
    #[test]
    fn any_request_stream_ends_the_same_however_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 0..300_usize,
    ) {
        let cut = cut.min(bytes.len());
        prop_assert_eq!(events(&bytes, &[cut]), events(&bytes, &[]));
    }
}
