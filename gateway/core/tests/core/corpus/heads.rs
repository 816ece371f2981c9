//! What a head may look like: line ends, fields, request lines, targets, hosts, upgrades.

use super::{
    CHUNKED, Case, Expect, Profile, accept_get, accept_post, case, get, last_profile, post, reject,
    seen,
};

pub(super) fn line_ends(cases: &mut Vec<Case>) {
    for (trick, bytes) in [
        ("all-bare-lf", "GET / HTTP/1.1\nHost: a\n\n"),
        ("request-line-lf", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("field-lf", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        ("final-lf", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        ("field-lf-final-crlf", "GET / HTTP/1.1\r\nHost: a\n\r\n"),
        ("lf-in-name", "GET / HTTP/1.1\r\nHost: a\r\nX\n: y\r\n\r\n"),
        ("bare-cr-line", "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        (
            "bare-cr-in-value",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n",
        ),
        (
            "bare-cr-in-name",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r: y\r\n\r\n",
        ),
        (
            "bare-cr-starts-line",
            "GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n",
        ),
        ("cr-cr-lf", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        (
            "fold-space",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        ),
        (
            "fold-tab",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n",
        ),
        (
            "fold-first-line",
            "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
        ),
        ("fold-only-space", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n"),
        (
            "two-empty-lines",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("leading-lf", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("leading-cr", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("leading-crlf-lf", "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("leading-space", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("leading-nul", "\0GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        reject(cases, &format!("line-ends/{trick}"), bytes, 400);
    }
    let bytes = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let expect = Expect::Accept(vec![seen("GET", "/", "a", b"")]);
    case(cases, "line-ends/one-empty-line", bytes, expect);
}

pub(super) fn field_lines(cases: &mut Vec<Case>) {
    for (trick, field) in [
        ("space-before-colon", "X : y"),
        ("tab-before-colon", "X\t: y"),
        ("empty-name", ": y"),
        ("no-colon", "X"),
        ("space-in-name", "X Y: z"),
        ("paren-in-name", "X(: z"),
        ("slash-in-name", "X/Y: z"),
        ("at-in-name", "X@Y: z"),
        ("quote-in-name", "\"X\": z"),
        ("bracket-in-name", "X[0]: z"),
        ("utf8-in-name", "X\u{e9}: z"),
        ("nul-in-name", "X\0Y: z"),
        ("control-in-name", "X\u{1}: z"),
        ("del-in-name", "X\u{7f}: z"),
        ("nul-in-value", "X: y\0z"),
        ("soh-in-value", "X: y\u{1}z"),
        ("esc-in-value", "X: y\u{1b}[2J"),
        ("vt-in-value", "X: y\u{b}z"),
        ("ff-in-value", "X: y\u{c}z"),
        ("del-in-value", "X: y\u{7f}z"),
        ("underscore", "X_Y: z"),
        ("underscore-forwarded", "X_Forwarded_For: 1.1.1.1"),
    ] {
        reject(
            cases,
            &format!("field/{trick}"),
            get(&format!("{field}\r\n")),
            400,
        );
    }
    for (trick, field) in [
        ("empty-value", "X:"),
        ("spaces-only", "X:   "),
        ("tab-inside", "X: y\tz"),
        ("obs-text", "X: caf\u{e9}"),
        ("every-token-byte", "!#$%&'*+-.^`|~09azAZ: y"),
        ("repeated", "X: 1\r\nX: 2"),
        ("colon-in-value", "X: a:b: c"),
        (
            "long-name",
            "Abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz: y",
        ),
    ] {
        accept_get(cases, &format!("field/{trick}"), &format!("{field}\r\n"));
    }
    accept_get(cases, "field/underscore-sidecar", "X_Y: z\r\n");
    last_profile(cases, Profile::Sidecar);
}

pub(super) fn raw_bytes(cases: &mut Vec<Case>) {
    let with = |before: &str, byte: u8, after: &str| {
        [before.as_bytes(), &[byte], after.as_bytes()].concat()
    };
    let end = "\r\nHost: a\r\n\r\n";
    for byte in [0x80, 0x85, 0xa0, 0xe9, 0xff] {
        let ok = Expect::Accept(vec![seen("GET", "/", "a", b"")]);
        let bytes = with("GET / HTTP/1.1\r\nX: y", byte, end);
        case(cases, &format!("raw/{byte:x}-in-value"), bytes, ok);
        let bytes = with("GET / HTTP/1.1\r\nX", byte, &format!(": y{end}"));
        reject(cases, &format!("raw/{byte:x}-in-name"), bytes, 400);
        let bytes = with("GET /", byte, &format!(" HTTP/1.1{end}"));
        reject(cases, &format!("raw/{byte:x}-in-target"), bytes, 400);
        let bytes = with("GET / HTTP/1.1\r\nHost: a", byte, "\r\n\r\n");
        reject(cases, &format!("raw/{byte:x}-in-host"), bytes, 400);
        let bytes = with(
            "POST / HTTP/1.1\r\nTransfer-Encoding: ",
            byte,
            &format!("chunked{end}"),
        );
        reject(cases, &format!("raw/{byte:x}-in-coding"), bytes, 400);
    }
}

pub(super) fn request_line(cases: &mut Vec<Case>) {
    for (trick, line, status) in [
        ("two-spaces", "GET  / HTTP/1.1", 400),
        ("two-spaces-version", "GET /  HTTP/1.1", 400),
        ("tab", "GET\t/ HTTP/1.1", 400),
        ("tab-version", "GET /\tHTTP/1.1", 400),
        ("trailing-space", "GET / HTTP/1.1 ", 400),
        ("trailing-tab", "GET / HTTP/1.1\t", 400),
        ("trailing-text", "GET / HTTP/1.1 x", 400),
        ("no-target", "GET HTTP/1.1", 400),
        ("empty-target", "GET  HTTP/1.1", 400),
        ("no-version", "GET /", 400),
        ("no-version-space", "GET / ", 400),
        ("method-only", "GET", 400),
        ("method-lower", "get / HTTP/1.1", 400),
        ("method-mixed", "Get / HTTP/1.1", 400),
        ("method-unknown", "FOO / HTTP/1.1", 400),
        ("method-pri", "PRI * HTTP/1.1", 400),
        ("method-paren", "GE(T / HTTP/1.1", 400),
        ("method-utf8", "G\u{c9}T / HTTP/1.1", 400),
        ("trace", "TRACE / HTTP/1.1", 405),
        ("space-in-target", "GET /a b HTTP/1.1", 400),
        ("nul-in-target", "GET /a\0b HTTP/1.1", 400),
        ("utf8-in-target", "GET /\u{e9} HTTP/1.1", 400),
        ("control-in-target", "GET /a\u{1}b HTTP/1.1", 400),
        ("del-in-target", "GET /a\u{7f}b HTTP/1.1", 400),
        ("version-lower", "GET / http/1.1", 400),
        ("version-long", "GET / HTTP/1.10", 400),
        ("version-short", "GET / HTTP/1", 400),
        ("version-leading-zero", "GET / HTTP/01.1", 400),
        ("version-comma", "GET / HTTP/1,1", 400),
        ("version-no-slash", "GET / HTTP1.1", 400),
        ("version-other-name", "GET / HTCPCP/1.1", 400),
        ("version-space", "GET / HTTP/1. 1", 400),
        ("version-0.9", "GET / HTTP/0.9", 426),
        ("version-1.0", "GET / HTTP/1.0", 426),
        ("version-1.2", "GET / HTTP/1.2", 505),
        ("version-2.0", "GET / HTTP/2.0", 505),
        ("version-3.0", "GET / HTTP/3.0", 505),
        ("version-9.9", "GET / HTTP/9.9", 505),
    ] {
        let bytes = format!("{line}\r\nHost: a\r\n\r\n");
        reject(cases, &format!("request-line/{trick}"), bytes, status);
    }
    for method in [
        "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "QUERY",
    ] {
        let bytes = format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n");
        let expect = Expect::Accept(vec![seen(method, "/x", "a", b"")]);
        case(cases, &format!("request-line/{method}"), bytes, expect);
    }
}

const BAD_TARGETS: &[(&str, &str)] = &[
    ("relative", "GET a HTTP/1.1"),
    ("query-only", "GET ?a HTTP/1.1"),
    ("fragment-only", "GET #a HTTP/1.1"),
    ("backslash", "GET \\a HTTP/1.1"),
    ("asterisk-get", "GET * HTTP/1.1"),
    ("asterisk-more", "OPTIONS ** HTTP/1.1"),
    ("authority-get", "GET a:80 HTTP/1.1"),
    ("scheme-ftp", "GET ftp://a/ HTTP/1.1"),
    ("scheme-https", "GET https://a/ HTTP/1.1"),
    ("scheme-empty", "GET ://a/ HTTP/1.1"),
    ("scheme-no-slashes", "GET http:a HTTP/1.1"),
    ("absolute-empty-host", "GET http:///x HTTP/1.1"),
    ("absolute-userinfo", "GET http://u@a/ HTTP/1.1"),
    ("absolute-userinfo-password", "GET http://u:p@a/ HTTP/1.1"),
    ("absolute-port", "GET http://a:65536/ HTTP/1.1"),
    ("absolute-comma", "GET http://a,b/ HTTP/1.1"),
    ("absolute-percent", "GET http://a%2eb/ HTTP/1.1"),
    ("absolute-backslash", "GET http://a\\b/ HTTP/1.1"),
    ("connect-path", "CONNECT /x HTTP/1.1"),
    ("connect-no-port", "CONNECT a HTTP/1.1"),
    ("connect-empty-port", "CONNECT a: HTTP/1.1"),
    ("connect-absolute", "CONNECT http://a:80/ HTTP/1.1"),
    ("connect-userinfo", "CONNECT u@a:80 HTTP/1.1"),
];

type Read = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// Trick, request line, and how method, target and authority must be read (`Host` is `h`).
const GOOD_TARGETS: &[Read] = &[
    ("query", "GET /a?b=c&d HTTP/1.1", "GET", "/a?b=c&d", "h"),
    (
        "odd-bytes",
        "GET /a[]{}|^\"<>`\\%zz HTTP/1.1",
        "GET",
        "/a[]{}|^\"<>`\\%zz",
        "h",
    ),
    ("asterisk", "OPTIONS * HTTP/1.1", "OPTIONS", "*", "h"),
    (
        "absolute",
        "GET http://b.example/x?y HTTP/1.1",
        "GET",
        "/x?y",
        "b.example",
    ),
    (
        "absolute-case",
        "GET HTTP://b.example:81/ HTTP/1.1",
        "GET",
        "/",
        "b.example:81",
    ),
    (
        "absolute-no-path",
        "GET http://b.example HTTP/1.1",
        "GET",
        "/",
        "b.example",
    ),
    (
        "absolute-query",
        "GET http://b.example?y HTTP/1.1",
        "GET",
        "/?y",
        "b.example",
    ),
    (
        "absolute-options",
        "OPTIONS http://b.example HTTP/1.1",
        "OPTIONS",
        "*",
        "b.example",
    ),
    (
        "absolute-ipv6",
        "GET http://[::1]:8080/x HTTP/1.1",
        "GET",
        "/x",
        "[::1]:8080",
    ),
    (
        "connect",
        "CONNECT b.example:443 HTTP/1.1",
        "CONNECT",
        "b.example:443",
        "b.example:443",
    ),
    ("double-slash", "GET //x HTTP/1.1", "GET", "//x", "h"),
];

pub(super) fn targets(cases: &mut Vec<Case>) {
    for (trick, line) in BAD_TARGETS {
        let bytes = format!("{line}\r\nHost: a\r\n\r\n");
        reject(cases, &format!("target/{trick}"), bytes, 400);
    }
    let body = "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    reject(cases, "target/connect-body", body, 400);
    for &(trick, line, method, target, authority) in GOOD_TARGETS {
        let bytes = format!("{line}\r\nHost: h\r\n\r\n");
        let expect = Expect::Accept(vec![seen(method, target, authority, b"")]);
        case(cases, &format!("target/{trick}"), bytes, expect);
    }
    let bytes = "GET https://b.example/ HTTP/1.1\r\nHost: h\r\n\r\n";
    case(
        cases,
        "target/https-over-tls",
        bytes,
        Expect::Accept(vec![seen("GET", "/", "b.example", b"")]),
    );
    last_profile(cases, Profile::EdgeTls);
    reject(
        cases,
        "target/http-over-tls",
        "GET http://b/ HTTP/1.1\r\nHost: h\r\n\r\n",
        400,
    );
    last_profile(cases, Profile::EdgeTls);
}

const BAD_HOSTS: &[(&str, &str)] = &[
    ("missing", ""),
    ("empty", "Host:\r\n"),
    ("twice-equal", "Host: a\r\nHost: a\r\n"),
    ("twice-differing", "Host: a\r\nHost: b\r\n"),
    ("comma", "Host: a,b\r\n"),
    ("space", "Host: a b\r\n"),
    ("slash", "Host: a/b\r\n"),
    ("backslash", "Host: a\\b\r\n"),
    ("userinfo", "Host: u@a\r\n"),
    ("percent", "Host: a%2e\r\n"),
    ("query", "Host: a?b\r\n"),
    ("fragment", "Host: a#b\r\n"),
    ("scheme", "Host: http://a\r\n"),
    ("port-only", "Host: :80\r\n"),
    ("port-65536", "Host: a:65536\r\n"),
    ("port-negative", "Host: a:-1\r\n"),
    ("port-letters", "Host: a:http\r\n"),
    ("port-twice", "Host: a:80:80\r\n"),
    ("port-space", "Host: a: 80\r\n"),
    ("ipv6-bare", "Host: ::1\r\n"),
    ("ipv6-open", "Host: [::1\r\n"),
    ("ipv6-zone", "Host: [fe80::1%25eth0]\r\n"),
    ("ipv6-garbage", "Host: [::g]\r\n"),
    ("ipv6-tail", "Host: [::1]a\r\n"),
    ("nul", "Host: a\0\r\n"),
    ("utf8", "Host: b\u{fc}cher\r\n"),
    ("quote", "Host: \"a\"\r\n"),
    ("folded", "Host:\r\n a\r\n"),
    ("name-space", "Host : a\r\n"),
];

pub(super) fn hosts(cases: &mut Vec<Case>) {
    for (trick, fields) in BAD_HOSTS {
        let bytes = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        reject(cases, &format!("host/{trick}"), bytes, 400);
    }
    let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(300));
    reject(cases, "host/300-bytes", long, 400);
    for (trick, field) in [
        ("bad-beside-absolute", "Host: a,b"),
        ("two-beside-absolute", "Host: a\r\nHost: b"),
    ] {
        let bytes = format!("GET http://a/ HTTP/1.1\r\n{field}\r\n\r\n");
        reject(cases, &format!("host/{trick}"), bytes, 400);
    }
    for (trick, host) in [
        ("port", "a.example:8080"),
        ("empty-port", "a.example:"),
        ("trailing-dot", "a.example."),
        ("ipv4", "10.0.0.1"),
        ("ipv6", "[2001:db8::1]"),
        ("ipv6-port", "[::1]:65535"),
        ("upper-case", "A.EXAMPLE"),
        ("underscore", "a_b.example"),
        ("punycode", "xn--bcher-kva.example"),
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let expect = Expect::Accept(vec![seen("GET", "/", host, b"")]);
        case(cases, &format!("host/{trick}"), bytes, expect);
    }
    let bytes = "GET http://b/ HTTP/1.1\r\nHost:\r\n\r\n";
    case(
        cases,
        "host/empty-beside-absolute",
        bytes,
        Expect::Accept(vec![seen("GET", "/", "b", b"")]),
    );
    let bytes = "GET http://b/ HTTP/1.1\r\n\r\n";
    reject(cases, "host/missing-beside-absolute", bytes, 400);
}

pub(super) fn hop_by_hop(cases: &mut Vec<Case>) {
    for (trick, fields, status) in [
        ("names-authorization", "Connection: authorization\r\n", 400),
        ("names-host", "Connection: close, Host\r\n", 400),
        ("names-length", "Connection: content-length\r\n", 400),
        ("names-encoding", "Connection: transfer-encoding\r\n", 400),
        (
            "names-second-line",
            "Connection: close\r\nConnection: Host\r\n",
            400,
        ),
        ("not-a-token", "Connection: a b\r\n", 400),
        ("quoted", "Connection: \"close\"\r\n", 400),
        ("expect-other", "Expect: 200-ok\r\n", 417),
        ("expect-empty", "Expect:\r\n", 417),
        (
            "expect-twice",
            "Expect: 100-continue\r\nExpect: 100-continue\r\n",
            417,
        ),
        ("expect-list", "Expect: 100-continue, x\r\n", 417),
    ] {
        reject(cases, &format!("hop-by-hop/{trick}"), get(fields), status);
    }
    let many = format!("Connection: {}\r\n", "a,".repeat(100));
    reject(cases, "hop-by-hop/100-options", get(&many), 400);
    for (trick, fields) in [
        (
            "keep-alive",
            "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
        ),
        ("empty-members", "Connection: , keep-alive, ,\r\n"),
        ("nominates", "Connection: X-A\r\nX-A: 1\r\n"),
        ("proxy-connection", "Proxy-Connection: keep-alive\r\n"),
        ("te-trailers", "TE: trailers\r\nConnection: TE\r\n"),
        ("te-gzip", "TE: gzip;q=0.5\r\n"),
    ] {
        accept_get(cases, &format!("hop-by-hop/{trick}"), fields);
    }
    let fields = "Expect: 100-Continue\r\nContent-Length: 2\r\n";
    accept_post(cases, "hop-by-hop/expect", fields, "ok", "ok");
}

pub(super) fn upgrades(cases: &mut Vec<Case>) {
    let asks = "Connection: Upgrade\r\nUpgrade: ";
    reject(
        cases,
        "upgrade/unknown",
        get(&format!("{asks}foo\r\n")),
        403,
    );
    reject(
        cases,
        "upgrade/tls",
        get(&format!("{asks}TLS/1.0\r\n")),
        403,
    );
    reject(
        cases,
        "upgrade/list-unknown",
        get(&format!("{asks}websocket, foo\r\n")),
        403,
    );
    let with_length = format!("{asks}websocket\r\nContent-Length: 5\r\n");
    reject(cases, "upgrade/length", get(&with_length) + "hello", 400);
    let with_chunks = format!("{asks}websocket\r\n{CHUNKED}");
    reject(
        cases,
        "upgrade/chunked",
        get(&with_chunks) + "0\r\n\r\n",
        400,
    );
    reject(
        cases,
        "upgrade/post",
        post(&format!("{asks}websocket\r\n"), ""),
        400,
    );
    let unknown = format!("{asks}foo\r\nContent-Length: 5\r\n");
    reject(
        cases,
        "upgrade/unknown-length",
        post(&unknown, "hello"),
        400,
    );
    accept_get(
        cases,
        "upgrade/websocket",
        &format!("{asks}websocket\r\nSec-WebSocket-Version: 13\r\n"),
    );
    accept_get(
        cases,
        "upgrade/h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    );
    accept_get(cases, "upgrade/not-connection", "Upgrade: foo\r\n");
    accept_get(cases, "upgrade/connection-only", "Connection: Upgrade\r\n");
    let h2c = "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n";
    accept_post(cases, "upgrade/h2c-body", h2c, "hello", "hello");
}

pub(super) fn http10(cases: &mut Vec<Case>) {
    let mut add = |id: &str, bytes: &str, expect: Expect| {
        case(cases, id, bytes, expect);
        last_profile(cases, Profile::Http10);
    };
    let rejected = |status| Expect::Reject {
        after: Vec::new(),
        status,
    };
    let accepted = |authority| Expect::Accept(vec![seen("GET", "/", authority, b"")]);
    add(
        "http10/plain",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        accepted("a"),
    );
    add("http10/no-host", "GET / HTTP/1.0\r\n\r\n", accepted(""));
    let upgrade = "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    add("http10/upgrade-ignored", upgrade, accepted(""));
    let chunked = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    add("http10/chunked", chunked, rejected(400));
    add(
        "http10/version-0.9",
        "GET / HTTP/0.9\r\n\r\n",
        rejected(426),
    );
    let twice = "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n";
    add("http10/two-hosts", twice, rejected(400));
}
