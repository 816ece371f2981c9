//! Requests of HTTP/2 and HTTP/3: what passes, and how each rule is broken.

use super::*;
use crate::call::Scheme;

const GET: RequestParts<'static> = RequestParts {
    method: b"GET",
    scheme: Some(b"https"),
    authority: Some(b"a.example"),
    path: Some(b"/x?q"),
    protocol: None,
    ended: true,
    version: Version::Http2,
    nonce: [0; 16],
};

type Fields = [(&'static str, &'static str)];

fn write(parts: &RequestParts<'_>, fields: &Fields) -> Result<(String, RequestHead), Refusal> {
    let mut buf = Vec::new();
    let mut index = HeaderIndex::new();
    let fields = || fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    let profile = Http1Profile::edge(Scheme::Https);
    let head = write_request(&mut buf, &mut index, parts, fields, &profile)?;
    let lines = index.fields().iter().map(|field| {
        let text = |span: Span| str::from_utf8(span.of(&buf)).unwrap().to_owned();
        text(field.name) + ": " + &text(field.value) + "\n"
    });
    let start = head.method_text.text(&buf).to_owned() + " " + head.target.text(&buf) + "\n";
    Ok((start + &lines.collect::<String>(), head))
}

#[test]
fn a_request_gets_the_shape_that_rules_know() {
    let fields = [
        ("cookie", "a=1"),
        ("x-y", "z"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("host", "A.example"),
    ];
    let (text, head) = write(&GET, &fields).unwrap();
    let expected = "GET /x?q\nhost: a.example\ncookie: a=1; b=2\nx-y: z\nte: trailers\n";
    assert_eq!(text, expected);
    assert!(head.te_trailers && head.keep_alive && head.body == BodyKind::None);
    let open = RequestParts {
        ended: false,
        authority: None,
        ..GET
    };
    let fields = [("host", "b.example:8443"), ("content-length", "3")];
    let (_, head) = write(&open, &fields).unwrap();
    assert_eq!((head.body, head.port), (BodyKind::Length(3), Some(8443)));
    let (_, head) = write(
        &RequestParts {
            ended: false,
            ..GET
        },
        &[],
    )
    .unwrap();
    assert_eq!(head.body, BodyKind::Chunked);
}

#[test]
fn an_extended_connect_becomes_the_upgrade_of_http1() {
    let parts = RequestParts {
        method: b"CONNECT",
        protocol: Some(b"websocket"),
        ended: false,
        nonce: *b"the sample nonce",
        ..GET
    };
    let (text, head) = write(&parts, &[("sec-websocket-version", "13")]).unwrap();
    assert_eq!(head.upgrade, Some(Upgrade::WebSocket));
    assert_eq!(head.body, BodyKind::None);
    // The key of RFC 6455 §1.3.
    let expected = "GET /x?q\nhost: a.example\nsec-websocket-version: 13\nconnection: Upgrade\n\
        upgrade: websocket\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n";
    assert_eq!(text, expected);
}

#[test]
fn what_is_malformed_ends_its_stream() {
    let fields: [&Fields; 20] = [
        &[("X-Upper", "1")],
        &[("", "1")],
        &[("a b", "1")],
        &[("a:", "1")],
        &[("a", " lead")],
        &[("a", "trail\t")],
        &[("a", "cr\rlf")],
        &[("a", "line\nfeed")],
        &[("a", "nul\0")],
        &[("transfer-encoding", "chunked")],
        &[("connection", "close")],
        &[("keep-alive", "1")],
        &[("proxy-connection", "close")],
        &[("upgrade", "h2c")],
        &[("te", "gzip")],
        &[("content-length", "5")],
        &[("content-length", "0"), ("content-length", "0")],
        &[("content-length", "+0")],
        &[("host", "b.example")],
        &[("host", "a.example"), ("host", "a.example")],
    ];
    for fields in fields {
        let refused = write(&GET, fields).unwrap_err();
        assert!(matches!(refused, Refusal::Malformed(_)), "{fields:?}");
    }
}

#[test]
fn pseudo_fields_have_their_own_ways_to_be_malformed() {
    let path = |path| RequestParts {
        path: Some(path),
        ..GET
    };
    let authority = |authority| RequestParts {
        authority: Some(authority),
        ..GET
    };
    let parts = [
        path(b""),
        path(b"x"),
        path(b"http://a.example/"),
        path(b"*"),
        path(b"/ HTTP/1.1\r\nx: y"),
        path("/é".as_bytes()),
        RequestParts { path: None, ..GET },
        authority(b"a b"),
        authority(b"a/b"),
        authority(b"u@a.example"),
        authority(b""),
        RequestParts {
            scheme: Some(b"ftp"),
            ..GET
        },
        RequestParts {
            protocol: Some(b"websocket"),
            ..GET
        },
        RequestParts {
            method: b"GE T",
            ..GET
        },
        RequestParts {
            method: b"CONNECT",
            ..GET
        },
        RequestParts {
            method: b"CONNECT",
            scheme: None,
            path: None,
            ..GET
        },
    ];
    for parts in parts {
        let refused = write(&parts, &[]).unwrap_err();
        assert!(matches!(refused, Refusal::Malformed(_)), "{parts:?}");
    }
}

#[test]
fn what_is_well_formed_and_unwanted_is_answered() {
    let parts = |method| RequestParts { method, ..GET };
    let many = [("a", "1"); MAX_FIELDS];
    let cases: [(RequestParts<'_>, &Fields, u16); 8] = [
        (parts(b"get"), &[], 400),
        (parts(b"TRACE"), &[], 405),
        (
            RequestParts {
                authority: None,
                ..GET
            },
            &[],
            400,
        ),
        (
            RequestParts {
                scheme: Some(b"http"),
                ..GET
            },
            &[],
            400,
        ),
        (GET, &[("x_y", "1")], 400),
        (GET, &[("expect", "a miracle")], 417),
        (GET, &many, 431),
        (
            RequestParts {
                method: b"CONNECT",
                protocol: Some(b"connect-udp"),
                ..GET
            },
            &[],
            403,
        ),
    ];
    for (parts, fields, status) in cases {
        match write(&parts, fields).unwrap_err() {
            Refusal::Answered(error) => assert_eq!(error.status(), status, "{parts:?}"),
            other @ Refusal::Malformed(_) => panic!("{other:?}"),
        }
    }
}

#[test]
fn trailers_keep_what_may_come_late() {
    let mut out = Vec::new();
    let fields = [("grpc-status", "0"), ("host", "evil"), ("x-sum", "1")];
    let fields = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    write_trailers(&mut out, fields).unwrap();
    assert_eq!(out, b"grpc-status: 0\r\nx-sum: 1\r\n");
    let bad = [(&b"x"[..], &b"a\r\nb"[..])];
    assert!(write_trailers(&mut out, bad.into_iter()).is_err());
}
