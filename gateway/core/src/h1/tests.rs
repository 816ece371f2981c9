//! Heads written after edits, bodies in pieces, and `httparse` as a second opinion.

use proptest::prelude::*;

use super::*;
use crate::call::Scheme;
use crate::limits::{Http1Profile, MAX_FIELDS};
use crate::method::Method;
use crate::plan::EditSink;

/// A parsed request with its buffer and index.
fn request(text: &str) -> (RequestHead, Vec<u8>, HeaderIndex) {
    let mut buf = text.as_bytes().to_vec();
    let mut index = HeaderIndex::new();
    let profile = Http1Profile::edge(Scheme::Http);
    match parse_request(&mut buf, &mut index, &profile) {
        Ok(Parse::Complete { head, .. }) => (head, buf, index),
        other => panic!("{text:?}: {other:?}"),
    }
}

/// The request as it is forwarded after `edit`.
fn forwarded(text: &str, edit: impl FnOnce(&mut HeaderEditor<'_>)) -> String {
    let (head, buf, index) = request(text);
    let mut edits = HeaderEdits::new();
    edits.begin(head.drop, &index);
    edit(&mut HeaderEditor {
        buf: &buf,
        index: &index,
        edits: &mut edits,
    });
    let line = RequestLine {
        method: head.method_text.of(&buf),
        target: head.target.of(&buf),
        authority: head.authority.of(&buf),
        body: head.body,
        upgrade: head.upgrade,
        te_trailers: head.te_trailers,
        close: false,
    };
    let mut out = Vec::new();
    encode_request(&mut out, &line, &buf, &index, &edits);
    String::from_utf8(out).unwrap()
}

#[test]
fn this_hop_is_written_anew() {
    let sent = "POST http://B.example/x HTTP/1.1\r\nHost: a\r\nX-One:  1 \r\nConnection: X-Two, close, TE\r\n\
        X-Two: 2\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\nContent-Length: 007\r\nX-Three: 3\r\n\
        Proxy-Connection: x\r\nTrailer: y\r\nX-Four: 4\r\n\r\n";
    let expected = "POST /x HTTP/1.1\r\nhost: B.example\r\nx-one: 1\r\nx-three: 3\r\nx-four: 4\r\n\
        content-length: 7\r\nte: trailers\r\n\r\n";
    assert_eq!(forwarded(sent, |_| {}), expected);
    let sent =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n";
    let expected =
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(forwarded(sent, |_| {}), expected);
    let sent = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(forwarded(sent, |_| {}), expected);
    let sent = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\
        HTTP2-Settings: AAM\r\n\r\n";
    assert_eq!(forwarded(sent, |_| {}), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
}

#[test]
fn edits_remove_set_and_add() {
    let sent = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\nx: 3\r\nZ: 4\r\n\r\n";
    let fields = |edit: &dyn Fn(&mut HeaderEditor<'_>)| {
        let text = forwarded(sent, edit);
        let fields = text.strip_prefix("GET / HTTP/1.1\r\nhost: a\r\n").unwrap();
        fields.trim_end().replace("\r\n", "|")
    };
    assert_eq!(fields(&|_| {}), "x: 1|y: 2|x: 3|z: 4");
    assert_eq!(fields(&|e| e.remove("x")), "y: 2|z: 4");
    assert_eq!(fields(&|e| e.set("x", b"5")), "y: 2|z: 4|x: 5");
    assert_eq!(fields(&|e| e.add("x", b"5")), "x: 1|y: 2|x: 3|z: 4|x: 5");
    let undone = fields(&|e| {
        e.add("w", b"6");
        e.add("v", b"7");
        e.remove("w");
    });
    assert_eq!(undone, "x: 1|y: 2|x: 3|z: 4|v: 7");
    for (name, value) in [
        ("w", &b"a\r\nevil: b"[..]),
        ("w", b"a\0"),
        ("w w", b"a"),
        ("", b"a"),
        ("content-length", b"5"),
        ("Transfer-Encoding", b"chunked"),
        ("host", b"b"),
        ("connection", b"x"),
    ] {
        assert_eq!(
            fields(&|e| e.add(name, value)),
            "x: 1|y: 2|x: 3|z: 4",
            "{name}"
        );
    }
}

#[test]
fn rules_see_the_edited_head() {
    let sent = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\nUser-Agent: u\r\nUpgrade: websocket\r\n\
        Connection: upgrade, gone\r\nGone: 3\r\n\r\n";
    let (head, buf, index) = request(sent);
    let mut edits = HeaderEdits::new();
    edits.begin(head.drop, &index);
    edits.add(b"X", b"4");
    edits.set_known(&index, KnownHeader::UserAgent, b"v");
    let view = HeaderView {
        buf: &buf,
        index: &index,
        edits: &edits,
    };
    assert_eq!(
        view.values(b"x").collect::<Vec<_>>(),
        [&b"1"[..], b"2", b"4"]
    );
    assert_eq!(view.value(b"user-agent"), Some(&b"v"[..]));
    assert_eq!(view.known(KnownHeader::Upgrade), Some(&b"websocket"[..]));
    assert_eq!(view.value(b"gone"), None, "nominated by connection");
    assert_eq!(view.iter().count(), 7);
}

/// A response head without fields, lines separated by bars.
fn response(line: ResponseLine<'_>) -> String {
    let mut out = Vec::new();
    encode_response(
        &mut out,
        &line,
        b"",
        &HeaderIndex::new(),
        &HeaderEdits::new(),
    );
    String::from_utf8(out).unwrap().replace("\r\n", "|")
}

const OK: ResponseLine<'_> = ResponseLine {
    status: 200,
    reason: b"OK",
    body: BodyKind::Length(5),
    declared_length: None,
    client: Version::Http11,
    keep_alive: true,
    upgrade: None,
};

#[test]
fn response_framing() {
    let body = |body, keep_alive| {
        response(ResponseLine {
            body,
            keep_alive,
            ..OK
        })
    };
    assert_eq!(
        body(BodyKind::Length(5), true),
        "HTTP/1.1 200 OK|content-length: 5||"
    );
    let closed = "HTTP/1.1 200 OK|content-length: 5|connection: close||";
    assert_eq!(body(BodyKind::Length(5), false), closed);
    assert_eq!(
        body(BodyKind::Chunked, true),
        "HTTP/1.1 200 OK|transfer-encoding: chunked||"
    );
    assert_eq!(
        body(BodyKind::UntilClose, false),
        "HTTP/1.1 200 OK|connection: close||"
    );
    assert_eq!(body(BodyKind::None, true), "HTTP/1.1 200 OK||");
    let head = ResponseLine {
        body: BodyKind::None,
        declared_length: Some(9),
        ..OK
    };
    assert_eq!(response(head), "HTTP/1.1 200 OK|content-length: 9||");
}

#[test]
fn response_connection() {
    let old = ResponseLine {
        client: Version::Http10,
        ..OK
    };
    let expected = "HTTP/1.1 200 OK|content-length: 5|connection: keep-alive||";
    assert_eq!(response(old), expected);
    let none = ResponseLine {
        body: BodyKind::None,
        reason: b"x",
        ..OK
    };
    assert_eq!(
        response(ResponseLine {
            status: 204,
            reason: b"",
            ..none
        }),
        "HTTP/1.1 204 ||"
    );
    let switch = ResponseLine {
        status: 101,
        upgrade: Some(Upgrade::WebSocket),
        ..none
    };
    let expected = "HTTP/1.1 101 x|connection: Upgrade|upgrade: websocket||";
    assert_eq!(response(switch), expected);
    let hints = ResponseLine {
        status: 103,
        keep_alive: false,
        ..none
    };
    assert_eq!(response(hints), "HTTP/1.1 103 x||");
}

#[test]
fn decimal_numbers() {
    for number in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
        assert_eq!(decimal(&mut [0; 20], number), number.to_string().as_bytes());
    }
}

#[test]
fn bodies_are_ranges_of_the_input() {
    let progress = |consumed, payload, done| {
        Ok(Progress {
            consumed,
            payload,
            done,
        })
    };
    let mut body = BodyReader::new(BodyKind::Length(5));
    assert_eq!(body.advance(b"he"), progress(2, 0..2, false));
    assert_eq!((body.remaining(), body.ends_at_close()), (Some(3), false));
    assert_eq!(body.advance(b"lloGET /"), progress(3, 0..3, true));
    assert_eq!(body.advance(b"GET /"), progress(0, 0..0, true));

    let mut body = BodyReader::new(BodyKind::Chunked);
    let whole = b"5\r\nhello\r\n0\r\n\r\nGET /";
    assert_eq!(
        body.advance(whole),
        progress(15, 3..8, true),
        "one look at a body that is all there"
    );

    let mut body = BodyReader::new(BodyKind::Chunked);
    assert_eq!(body.advance(b"5\r\nhel"), progress(6, 3..6, false));
    assert_eq!(body.advance(b"lo\r\n1\r\n!"), progress(2, 0..2, false));
    assert_eq!(body.advance(b"\r\n1\r\n!"), progress(6, 5..6, false));
    assert_eq!(body.advance(b"\r\n0\r\n\r"), progress(6, 6..6, false));
    assert!(!body.is_done() && !body.ends_at_close());
    assert_eq!(body.advance(b"\nX"), progress(1, 1..1, true));

    let mut body = BodyReader::new(BodyKind::UntilClose);
    assert_eq!(body.advance(b"abc"), progress(3, 0..3, false));
    assert!(body.ends_at_close() && !body.is_done());
    for none in [BodyKind::None, BodyKind::Length(0)] {
        assert!(BodyReader::new(none).is_done());
    }
}

#[test]
fn trailers_leave_out_what_comes_too_late() {
    let mut body = BodyReader::new(BodyKind::Chunked);
    let input =
        b"0\r\nX: y\r\nContent-Length: 5\r\nHOST: z\r\nx-envoy-a: b\r\nGrpc-Status:  0 \r\n\r\n";
    assert!(body.advance(input).unwrap().done);
    let fields: Vec<_> = body.trailers().collect();
    assert_eq!(fields, [(&b"X"[..], &b"y"[..]), (b"Grpc-Status", b"0")]);
}

#[test]
fn chunk_heads() {
    for length in [1, 9, 10, 15, 16, 255, 4096, u64::MAX] {
        let expected = format!("{length:x}\r\n");
        assert_eq!(ChunkHead::new(length).as_bytes(), expected.as_bytes());
    }
}

#[test]
fn the_http2_preface_is_told_apart() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(is_http2_preface(preface), Some(true));
    assert_eq!(is_http2_preface(&preface[..5]), None);
    assert_eq!(is_http2_preface(b"PUT / HTTP/1.1\r\n"), Some(false));
}

#[test]
fn a_head_from_another_protocol_takes_the_same_shape() {
    let (mut buf, mut index) = (Vec::new(), HeaderIndex::new());
    index.push(&mut buf, b"user-agent", b"u").unwrap();
    index.push(&mut buf, b"x", b"").unwrap();
    assert_eq!(index.value(&buf, KnownHeader::UserAgent), Some(&b"u"[..]));
    for _ in 2..MAX_FIELDS {
        index.push(&mut buf, b"y", b"z").unwrap();
    }
    assert_eq!(
        index.push(&mut buf, b"y", b"z"),
        Err(H1Error::TooManyFields)
    );
    index.clear();
    assert_eq!(
        index.push(&mut buf, b"y", &[b'z'; 61_000]),
        Err(H1Error::HeadTooLarge)
    );
}

/// Every refusal has a status that HTTP knows and that the log can name.
#[test]
fn refusals_are_complete() {
    for error in [
        H1Error::Trace,
        H1Error::HeadTimeout,
        H1Error::BodyTooLarge,
        H1Error::LowVersion,
        H1Error::MissingHost,
        H1Error::UnknownUpgrade,
        H1Error::BareLf,
    ] {
        assert!((400..600).contains(&error.status()));
        assert!(!error.detail().is_empty() && !error.detail().contains(' '));
    }
    assert_eq!(
        (H1Error::LowVersion.status(), H1Error::LowVersion.body()),
        (426, "Upgrade Required")
    );
    assert_eq!(
        (H1Error::MissingHost.body(), H1Error::MissingHost.flag()),
        ("", "-")
    );
    assert_eq!(
        (H1Error::BareLf.body(), H1Error::BareLf.flag()),
        ("Bad Request", "DPE")
    );
    assert_eq!(
        H1Error::TooManyFields.body(),
        "Request Header Fields Too Large"
    );
}

/// What `httparse` makes of a head, in our terms: method, target, lower-case fields.
type Reading = (String, String, Vec<(String, Vec<u8>)>);

fn httparse_reading(data: &[u8]) -> Option<Reading> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    if !request.parse(data).is_ok_and(|status| status.is_complete()) {
        return None;
    }
    let fields = request.headers.iter();
    let fields = fields.map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    Some((
        request.method?.to_owned(),
        request.path?.to_owned(),
        fields.collect(),
    ))
}

fn our_reading(data: &[u8]) -> Option<Reading> {
    let (mut buf, mut index) = (data.to_vec(), HeaderIndex::new());
    let profile = Http1Profile::sidecar(Scheme::Http);
    let Ok(Parse::Complete { head, .. }) = parse_request(&mut buf, &mut index, &profile) else {
        return None;
    };
    let text = |span: Span| span.text(&buf).to_owned();
    let fields = index.fields().iter();
    let fields = fields
        .map(|f| (text(f.name), f.value.of(&buf).to_vec()))
        .collect();
    Some((text(head.method_text), text(head.target), fields))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever we accept, `httparse` accepts too and reads the same way.
    #[test]
    fn httparse_agrees_with_what_we_accept(
        line in "(GET|POST|OPTIONS|get) (/[a-z?#%]{0,6}|\\*)( | x)HTTP/1\\.[012]",
        fields in prop::collection::vec(
            "[A-Za-z_-]{1,9}[ ]?:[ \t]{0,2}[ -~\t\u{e9}\u{0}]{0,9}(\r\n|\r\n|\r\n|\n|\r)", 0..6),
    ) {
        let data = format!("{line}\r\nHost: a\r\n{}\r\n", fields.concat());
        if let Some(ours) = our_reading(data.as_bytes()) {
            prop_assert_eq!(httparse_reading(data.as_bytes()), Some(ours), "{:?}", data);
        }
    }
}

/// The places where `httparse` by itself would not do; if one of these changes, say so here.
#[test]
fn httparse_is_more_lenient_in_known_places() {
    for (data, lenient) in [
        ("GET / HTTP/1.1\nHost: a\n\n", true),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", false),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", false),
    ] {
        assert_eq!(
            httparse_reading(data.as_bytes()).is_some(),
            lenient,
            "{data:?}"
        );
        assert_eq!(our_reading(data.as_bytes()), None, "{data:?}");
    }
}

#[test]
fn names_of_methods_survive() {
    let (head, buf, _) = request("PROPFIND /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        (head.method, head.method_text.of(&buf)),
        (Method::Other, &b"PROPFIND"[..])
    );
}
