//! What is asked and what answers mean, without a wire.

use super::proto::{Value, Writer, fields};
use super::*;
use crate::call::{NoHeaders, Scheme};
use crate::plan::EditSink;
use sallyport_config::ir::{CheckProtocol, ClusterId, HttpCheck, Millis, TextMatch};

fn names(all: &[&str]) -> Vec<TextMatch> {
    all.iter().map(|name| TextMatch::parse(name)).collect()
}

fn authorizer(protocol: CheckProtocol) -> Authorizer {
    Authorizer {
        name: "a".to_owned(),
        cluster: ClusterId(0),
        host: "a.test".to_owned(),
        timeout: Millis(1_000),
        fail_open: false,
        status_on_error: 503,
        body: None,
        protocol,
    }
}

fn over_http() -> Authorizer {
    authorizer(CheckProtocol::Http(Box::new(HttpCheck {
        path_prefix: "/check".to_owned(),
        include: names(&["cookie", "x-a-*"]),
        add: vec![("x-from".to_owned(), "gate".to_owned())],
        to_upstream: names(&["x-user*"]),
        on_deny: names(&["x-why"]),
        on_allow: names(&["set-cookie"]),
    })))
}

fn asked<'c>(fields: &'c [(&'c [u8], &'c [u8])], body: Option<Shown<'c>>) -> Asked<'c> {
    Asked {
        call: Call {
            scheme: Scheme::Https,
            method: "POST",
            authority: "a.example",
            path: "/p",
            query: Some("q=1"),
            headers: &NoHeaders,
            client: ([1, 2, 3, 4], 5).into(),
            peer: ([1, 2, 3, 4], 5).into(),
            local: ([5, 6, 7, 8], 443).into(),
            sni: Some("a.example"),
            identity: None,
        },
        fields,
        body,
        version: Version::Http2,
        id: 7,
        unix_micros: 1_500_000,
    }
}

const FIELDS: &[(&[u8], &[u8])] = &[
    (b"Authorization", b"Bearer x"),
    (b"cookie", b"a=b"),
    (b"x-a-1", b"1"),
    (b"x-from", b"client"),
    (b"x-other", b"no"),
    (b"content-length", b"9"),
];

/// Writes changes down.
#[derive(Default)]
struct Notes(Vec<String>);

impl EditSink for Notes {
    fn remove(&mut self, name: &str) {
        self.0.push(format!("-{name}"));
    }
    fn remove_like(&mut self, name: &str) {
        self.0.push(format!("~{name}"));
    }
    fn set(&mut self, name: &str, value: &[u8]) {
        self.0
            .push(format!("={name}:{}", String::from_utf8_lossy(value)));
    }
    fn add(&mut self, name: &str, value: &[u8]) {
        self.0
            .push(format!("+{name}:{}", String::from_utf8_lossy(value)));
    }
}

fn notes(changes: &Changes) -> Vec<String> {
    let mut notes = Notes::default();
    changes.apply(&changes.settle(&NoHeaders), &mut notes);
    notes.0
}

#[test]
fn over_http_only_chosen_fields_are_shown() {
    let authorizer = over_http();
    let question = Question {
        authorizer: &authorizer,
    };
    let shown = Shown {
        bytes: b"abc",
        partial: true,
    };
    let call = question.http(&asked(FIELDS, Some(shown))).unwrap();
    assert_eq!(call.target, "/check/p?q=1");
    let mut lines = Vec::new();
    let line = crate::h1::RequestLine {
        method: b"POST",
        target: call.target.as_bytes(),
        authority: b"a.example",
        body: crate::h1::BodyKind::Length(3),
        upgrade: None,
        te_trailers: false,
        close: false,
    };
    let index = crate::h1::HeaderIndex::new();
    crate::h1::encode_request(&mut lines, &line, &[], &index, &call.fields);
    let want = "POST /check/p?q=1 HTTP/1.1\r\nhost: a.example\r\nauthorization: Bearer x\r\n\
        cookie: a=b\r\nx-a-1: 1\r\nx-from: gate\r\nx-envoy-auth-partial-body: true\r\n\
        content-length: 3\r\n\r\n";
    assert_eq!(String::from_utf8(lines).unwrap(), want);
    assert!(question.grpc(&asked(FIELDS, None)).is_none());
}

#[test]
fn answers_over_http_pass_on_chosen_fields() {
    let authorizer = over_http();
    let question = Question {
        authorizer: &authorizer,
    };
    let lines: &[(&[u8], &[u8])] = &[
        (b"X-User", b"alice"),
        (b"x-user", b"bob"),
        (b"set-cookie", b"s=1"),
        (b"x-envoy-auth-headers-to-remove", b"cookie, host"),
        (b"x-why", b"because"),
        (b"x-inner", b"secret"),
        (b"location", b"/login"),
        (b"transfer-encoding", b"chunked"),
    ];
    let (outcome, cleared) = question.answered(200, lines.iter().copied(), Vec::new());
    let cleared = cleared.unwrap();
    assert_eq!(outcome, Outcome::Ok);
    let request = notes(cleared.request());
    assert_eq!(
        request,
        ["~cookie", "~x-user", "+x-user:alice", "+x-user:bob"]
    );
    let response = notes(&cleared.into_response());
    assert_eq!(response, ["~set-cookie", "+set-cookie:s=1"]);
    let (outcome, denial) = question.answered(302, lines.iter().copied(), b"go".to_vec());
    let denial = denial.unwrap_err();
    assert_eq!((outcome, denial.status), (Outcome::Denied, 302));
    assert_eq!(
        (denial.flags, &*denial.details),
        (Flags::UAEX, "ext_authz_denied")
    );
    let seen: Vec<_> = denial.headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        (seen, &*denial.body),
        (vec!["x-why", "location"], &b"go"[..])
    );
    let (outcome, error) = question.answered(500, lines.iter().copied(), Vec::new());
    let error = error.unwrap_err();
    assert_eq!((outcome, error.status), (Outcome::Error, 503));
    assert_eq!(error.details, "ext_authz_error");
}

#[test]
fn who_fails_open_lets_pass() {
    let authorizer = Authorizer {
        fail_open: true,
        ..over_http()
    };
    let question = Question {
        authorizer: &authorizer,
    };
    let (outcome, cleared) = question.failed();
    assert_eq!(outcome, Outcome::FailedOpen);
    assert!(cleared.unwrap().request().is_empty());
}

/// A framed `CheckResponse`.
fn response(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut message = Writer::default();
    fill(&mut message);
    let message = message.finish();
    let mut out = vec![0];
    out.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    out.extend(message);
    out
}

fn option(out: &mut Writer, field: u32, name: &str, value: &str, more: impl FnOnce(&mut Writer)) {
    out.message(field, |option| {
        option.message(1, |header| {
            header.bytes(1, name.as_bytes());
            header.bytes(2, value.as_bytes());
        });
        more(option);
    });
}

#[test]
fn over_grpc_everything_is_shown() {
    let authorizer = authorizer(CheckProtocol::Grpc);
    let question = Question {
        authorizer: &authorizer,
    };
    let (method, message) = question.grpc(&asked(FIELDS, None)).unwrap();
    assert_eq!(method, "/envoy.service.auth.v3.Authorization/Check");
    let text = String::from_utf8_lossy(&message).into_owned();
    for part in [
        "x-other",
        ":authority",
        "/p?q=1",
        "1.2.3.4",
        "HTTP/2",
        "content-length",
    ] {
        assert!(text.contains(part), "{part} {text:?}");
    }
    assert_eq!(
        u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize,
        message.len() - 5
    );
}

#[test]
fn answers_over_grpc_replace_unless_they_say_append() {
    let authorizer = authorizer(CheckProtocol::Grpc);
    let question = Question {
        authorizer: &authorizer,
    };
    let body = response(|out| {
        out.message(1, |_| {});
        out.message(3, |ok| {
            option(ok, 2, "X-User", "alice", |_| {});
            option(ok, 2, "x-more", "1", |option| {
                option.message(2, |b| b.number(1, 1))
            });
            option(ok, 2, "x-fill", "1", |option| option.number(3, 1));
            option(ok, 2, "x-there", "1", |option| option.number(3, 3));
            option(ok, 2, ":path", "/root", |_| {});
            option(ok, 2, "host", "other", |_| {});
            ok.bytes(5, b"cookie");
            option(ok, 6, "x-seen", "1", |_| {});
        });
    });
    let (outcome, cleared) = question.grpc_answered(200, Some(b"0"), &body);
    let cleared = cleared.unwrap();
    assert_eq!(outcome, Outcome::Ok);
    let want = [
        "~x-user",
        "+x-user:alice",
        "+x-more:1",
        "~x-fill",
        "+x-fill:1",
        "~cookie",
    ];
    assert_eq!(notes(cleared.request()), want);
    assert_eq!(notes(&cleared.into_response()), ["~x-seen", "+x-seen:1"]);
}

#[test]
fn refusals_over_grpc_have_a_status_of_their_own() {
    let authorizer = authorizer(CheckProtocol::Grpc);
    let question = Question {
        authorizer: &authorizer,
    };
    let refusal = |status| {
        response(|out| {
            out.message(1, |rpc| rpc.number(1, 7));
            out.message(2, |denied| {
                denied.message(1, |http| http.number(1, status));
                option(denied, 2, "x-why", "no", |_| {});
                denied.bytes(3, b"go away");
            });
        })
    };
    for (sent, told) in [(401, 401), (0, 403), (100, 403), (70_000, 403)] {
        let (outcome, denial) = question.grpc_answered(200, Some(b"0"), &refusal(sent));
        let denial = denial.unwrap_err();
        assert_eq!((outcome, denial.status), (Outcome::Denied, told), "{sent}");
        assert_eq!(&*denial.body, b"go away");
    }
    let bare = response(|out| out.message(1, |rpc| rpc.number(1, 7)));
    let (_, denial) = question.grpc_answered(200, Some(b"0"), &bare);
    assert_eq!(denial.unwrap_err().status, 403);
}

#[test]
fn nonsense_is_a_failure() {
    let authorizer = authorizer(CheckProtocol::Grpc);
    let question = Question {
        authorizer: &authorizer,
    };
    let fine = response(|out| out.message(1, |_| {}));
    let error = response(|out| {
        out.message(1, |rpc| rpc.number(1, 13));
        out.message(5, |_| {});
    });
    for (status, grpc, body) in [
        (500, Some(&b"0"[..]), &fine[..]),
        (200, None, &fine),
        (200, Some(b"14"), &fine),
        (200, Some(b"0"), b""),
        (200, Some(b"0"), &fine[..fine.len() - 1]),
        (200, Some(b"0"), b"\x01\0\0\0\0"),
        (200, Some(b"0"), b"\0\0\0\0\x02\xff\xff"),
        (200, Some(b"0"), &error),
    ] {
        let (outcome, _) = question.grpc_answered(status, grpc, body);
        assert_eq!(outcome, Outcome::Error, "{status} {grpc:?} {body:?}");
    }
}

#[test]
fn messages_that_end_early_are_none() {
    let mut writer = Writer::default();
    writer.number(1, 300);
    writer.bytes(2, b"abc");
    let bytes = writer.finish();
    let whole = vec![(1, Value::Number(300)), (2, Value::Bytes(&b"abc"[..]))];
    assert_eq!(fields(&bytes), Some(whole));
    for end in [1, 2, 4, 5, 7] {
        assert_eq!(fields(&bytes[..end]), None, "{end}");
    }
    assert_eq!(fields(&[8; 1]), None);
    assert_eq!(fields(&[0xff; 11]), None);
}
