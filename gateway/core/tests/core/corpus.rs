//! Inputs that an HTTP/1 recipient must accept or refuse, as bytes and verdicts.
//!
//! Written from RFC 9110 and 9112; the ids name the family and the trick. Nothing here depends on
//! the gateway, so that other test binaries include this file by `#[path]` and send the same bytes
//! through sockets.

/// What a case is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// The default listener, cleartext.
    Edge,
    /// Underscores in names pass.
    Sidecar,
    /// HTTP/1.0 is served.
    Http10,
    /// The default listener over TLS.
    EdgeTls,
}

/// A request that the recipient must understand in exactly this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Method.
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: String,
    /// Host and port.
    pub(crate) authority: &'static str,
    /// The body, decoded.
    pub(crate) body: Vec<u8>,
}

/// The one right verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// These requests and nothing else.
    Accept(Vec<Seen>),
    /// These complete requests, then this status, then nothing.
    Reject {
        /// Complete requests in front of the bad one.
        after: Vec<Seen>,
        /// The status of the reply.
        status: u16,
    },
}

/// One input.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Family and trick; unique.
    pub(crate) id: String,
    /// Where it is sent.
    pub(crate) profile: Profile,
    /// The bytes of the whole connection.
    pub(crate) bytes: Vec<u8>,
    /// The verdict.
    pub(crate) expect: Expect,
}

/// All cases.
#[must_use]
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    content_length(&mut cases);
    transfer_encoding(&mut cases);
    chunked_rejects(&mut cases);
    chunked_accepts(&mut cases);
    line_ends(&mut cases);
    field_lines(&mut cases);
    raw_bytes(&mut cases);
    request_line(&mut cases);
    targets(&mut cases);
    hosts(&mut cases);
    hop_by_hop(&mut cases);
    upgrades(&mut cases);
    sizes(&mut cases);
    pipelines(&mut cases);
    http10(&mut cases);
    cases
}

fn seen(method: &'static str, target: &str, authority: &'static str, body: &[u8]) -> Seen {
    Seen {
        method,
        target: target.to_owned(),
        authority,
        body: body.to_vec(),
    }
}

fn case(cases: &mut Vec<Case>, id: &str, bytes: impl AsRef<[u8]>, expect: Expect) {
    let bytes = bytes.as_ref().to_vec();
    cases.push(Case {
        id: id.to_owned(),
        profile: Profile::Edge,
        bytes,
        expect,
    });
}

fn reject(cases: &mut Vec<Case>, id: &str, bytes: impl AsRef<[u8]>, status: u16) {
    case(
        cases,
        id,
        bytes,
        Expect::Reject {
            after: Vec::new(),
            status,
        },
    );
}

/// `GET /` for host `a` with more field lines.
fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// `POST /` for host `a` with more field lines, and what follows the head.
fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

fn accept_get(cases: &mut Vec<Case>, id: &str, fields: &str) {
    case(
        cases,
        id,
        get(fields),
        Expect::Accept(vec![seen("GET", "/", "a", b"")]),
    );
}

fn accept_post(cases: &mut Vec<Case>, id: &str, fields: &str, body: &str, decoded: &str) {
    let expect = Expect::Accept(vec![seen("POST", "/", "a", decoded.as_bytes())]);
    case(cases, id, post(fields, body), expect);
}

fn content_length(cases: &mut Vec<Case>) {
    for (trick, fields) in [
        ("plus", "Content-Length: +5\r\n"),
        ("minus", "Content-Length: -5\r\n"),
        ("underscore", "Content-Length: 1_0\r\n"),
        ("hex", "Content-Length: 0x5\r\n"),
        ("hex-digits", "Content-Length: a\r\n"),
        ("inner-space", "Content-Length: 5 5\r\n"),
        ("list-equal", "Content-Length: 5, 5\r\n"),
        ("list-differing", "Content-Length: 5, 6\r\n"),
        ("list-empty-member", "Content-Length: 5,\r\n"),
        ("empty", "Content-Length:\r\n"),
        ("spaces-only", "Content-Length:   \r\n"),
        ("decimal-point", "Content-Length: 5.0\r\n"),
        ("exponent", "Content-Length: 5e0\r\n"),
        ("quoted", "Content-Length: \"5\"\r\n"),
        ("semicolon", "Content-Length: 5;a=b\r\n"),
        ("overflow-u64", "Content-Length: 18446744073709551616\r\n"),
        (
            "overflow-far",
            "Content-Length: 99999999999999999999999999999999999999\r\n",
        ),
        (
            "duplicate-equal",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
        ),
        (
            "duplicate-differing",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
        ),
        (
            "duplicate-case",
            "Content-Length: 5\r\ncontent-LENGTH: 5\r\n",
        ),
        ("arabic-digits", "Content-Length: \u{665}\r\n"),
        ("nul", "Content-Length: 5\0\r\n"),
        ("vt-before", "Content-Length: \u{b}5\r\n"),
        ("ff-after", "Content-Length: 5\u{c}\r\n"),
        ("name-space", "Content-Length : 5\r\n"),
        ("name-tab", "Content-Length\t: 5\r\n"),
        ("folded", "Content-Length:\r\n 5\r\n"),
        ("underscore-alias", "Content_Length: 5\r\n"),
    ] {
        reject(
            cases,
            &format!("content-length/{trick}"),
            post(fields, "hello"),
            400,
        );
    }
    accept_post(
        cases,
        "content-length/plain",
        "Content-Length: 5\r\n",
        "hello",
        "hello",
    );
    accept_post(
        cases,
        "content-length/leading-zeros",
        "Content-Length: 005\r\n",
        "hello",
        "hello",
    );
    accept_post(
        cases,
        "content-length/no-space",
        "Content-Length:5\r\n",
        "hello",
        "hello",
    );
    accept_post(
        cases,
        "content-length/ows",
        "Content-Length: \t 5\t \r\n",
        "hello",
        "hello",
    );
    accept_post(
        cases,
        "content-length/zero",
        "Content-Length: 0\r\n",
        "",
        "",
    );
    accept_post(cases, "content-length/absent", "", "", "");
    accept_post(
        cases,
        "content-length/upper-case",
        "CONTENT-LENGTH: 5\r\n",
        "hello",
        "hello",
    );
    let with_body = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let expect = Expect::Accept(vec![seen("GET", "/", "a", b"abc")]);
    case(cases, "content-length/get-with-body", with_body, expect);
}

fn transfer_encoding(cases: &mut Vec<Case>) {
    for (trick, fields, status) in [
        (
            "with-length",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        (
            "with-length-after",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            400,
        ),
        (
            "with-length-zero",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            400,
        ),
        (
            "with-bad-length",
            "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
            400,
        ),
        (
            "identity-with-length",
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            400,
        ),
        ("identity", "Transfer-Encoding: identity\r\n", 501),
        ("gzip", "Transfer-Encoding: gzip\r\n", 501),
        ("gzip-chunked", "Transfer-Encoding: gzip, chunked\r\n", 501),
        ("xchunked", "Transfer-Encoding: xchunked\r\n", 501),
        ("chunkedx", "Transfer-Encoding: chunkedx\r\n", 501),
        ("chunk", "Transfer-Encoding: chunk\r\n", 501),
        ("chunked-gzip", "Transfer-Encoding: chunked, gzip\r\n", 400),
        (
            "chunked-identity",
            "Transfer-Encoding: chunked, identity\r\n",
            400,
        ),
        (
            "chunked-twice",
            "Transfer-Encoding: chunked, chunked\r\n",
            400,
        ),
        (
            "two-lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        (
            "two-lines-gzip",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        (
            "two-lines-identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            400,
        ),
        ("quoted", "Transfer-Encoding: \"chunked\"\r\n", 400),
        ("single-quoted", "Transfer-Encoding: 'chunked'\r\n", 501),
        ("parameter", "Transfer-Encoding: chunked;q=1\r\n", 400),
        (
            "parameter-space",
            "Transfer-Encoding: chunked ; foo=bar\r\n",
            400,
        ),
        ("empty", "Transfer-Encoding:\r\n", 400),
        ("empty-member-after", "Transfer-Encoding: chunked,\r\n", 400),
        (
            "empty-member-before",
            "Transfer-Encoding: ,chunked\r\n",
            400,
        ),
        ("space-inside", "Transfer-Encoding: chun ked\r\n", 400),
        ("vt-before", "Transfer-Encoding: \u{b}chunked\r\n", 400),
        ("ff-before", "Transfer-Encoding: \u{c}chunked\r\n", 400),
        ("nul-after", "Transfer-Encoding: chunked\0\r\n", 400),
        ("nbsp", "Transfer-Encoding: \u{a0}chunked\r\n", 400),
        ("bare-cr-before", "Transfer-Encoding: \rchunked\r\n", 400),
        ("name-space", "Transfer-Encoding : chunked\r\n", 400),
        ("name-tab", "Transfer-Encoding\t: chunked\r\n", 400),
        ("name-nul", "Transfer-Encoding\0: chunked\r\n", 400),
        (
            "name-lead-space",
            "X: y\r\n Transfer-Encoding: chunked\r\n",
            400,
        ),
        ("folded", "Transfer-Encoding:\r\n chunked\r\n", 400),
        ("folded-tab", "Transfer-Encoding:\r\n\tchunked\r\n", 400),
        ("underscore-alias", "Transfer_Encoding: chunked\r\n", 400),
        ("bare-lf-hides", "X: y\nTransfer-Encoding: chunked\r\n", 400),
        ("bare-cr-hides", "X: y\rTransfer-Encoding: chunked\r\n", 400),
    ] {
        let bytes = post(fields, "0\r\n\r\n");
        reject(cases, &format!("transfer-encoding/{trick}"), bytes, status);
    }
    let zero = "0\r\n\r\n";
    for (trick, fields) in [
        ("chunked", "Transfer-Encoding: chunked\r\n"),
        ("mixed-case", "tRANSFER-eNCODING: ChUnKeD\r\n"),
        ("ows", "Transfer-Encoding: \t chunked \t\r\n"),
        ("no-space", "Transfer-Encoding:chunked\r\n"),
    ] {
        accept_post(
            cases,
            &format!("transfer-encoding/{trick}"),
            fields,
            zero,
            "",
        );
    }
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn chunked_rejects(cases: &mut Vec<Case>) {
    for (trick, body) in [
        ("size-empty", "\r\nhello\r\n0\r\n\r\n"),
        ("size-plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("size-minus", "-5\r\nhello\r\n0\r\n\r\n"),
        ("size-0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("size-underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
        ("size-space-before", " 5\r\nhello\r\n0\r\n\r\n"),
        ("size-space-after", "5 \r\nhello\r\n0\r\n\r\n"),
        ("size-tab-after", "5\t\r\nhello\r\n0\r\n\r\n"),
        ("size-space-semicolon", "5 ;a=b\r\nhello\r\n0\r\n\r\n"),
        ("size-g", "5g\r\nhello\r\n0\r\n\r\n"),
        ("size-comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("size-nul", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("size-overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        (
            "size-overflow-far",
            "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        ),
        ("size-bare-lf", "5\nhello\r\n0\r\n\r\n"),
        ("size-bare-cr", "5\rhello\r\n0\r\n\r\n"),
        ("size-cr-cr-lf", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("data-longer", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("data-shorter", "7\r\nhello\r\n0\r\n\r\n"),
        ("data-bare-lf", "5\r\nhello\n0\r\n\r\n"),
        ("data-bare-cr", "5\r\nhello\r0\r\n\r\n"),
        ("data-no-crlf", "5\r\nhello0\r\n\r\n"),
        ("data-two-spilled-bytes", "5\r\nhelloXX0\r\n\r\n"),
        ("last-bare-lf", "5\r\nhello\r\n0\n\r\n"),
        ("end-bare-lf", "5\r\nhello\r\n0\r\n\n"),
        ("end-bare-cr", "5\r\nhello\r\n0\r\n\rX"),
        ("extension-empty-name", "5;\r\nhello\r\n0\r\n\r\n"),
        ("extension-bare-lf", "5;a\nhello\r\n0\r\n\r\n"),
        (
            "extension-bare-lf-inside",
            "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        ),
        ("extension-bare-cr", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("extension-quoted-cr", "5;a=\"\r\"\r\nhello\r\n0\r\n\r\n"),
        ("extension-nul", "5;a=\0\r\nhello\r\n0\r\n\r\n"),
        ("extension-no-value", "5;a=\r\nhello\r\n0\r\n\r\n"),
        ("extension-open-quote", "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
        ("extension-after-quote", "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"),
        ("extension-trailing-space", "5;a=b \r\nhello\r\n0\r\n\r\n"),
        ("trailer-bare-lf", "0\r\nX: y\n\r\n"),
        ("trailer-bare-cr", "0\r\nX: y\rZ: w\r\n\r\n"),
        ("trailer-folded", "0\r\nX: y\r\n z\r\n\r\n"),
        ("trailer-no-colon", "0\r\nX\r\n\r\n"),
        ("trailer-space-colon", "0\r\nX : y\r\n\r\n"),
        ("trailer-nul", "0\r\nX: y\0\r\n\r\n"),
        ("trailer-empty-name", "0\r\n: y\r\n\r\n"),
        (
            "trailer-next-request",
            "0\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    ] {
        reject(cases, &format!("chunked/{trick}"), post(CHUNKED, body), 400);
    }
    let long = "x".repeat(5000);
    let body = format!("5;{long}\r\nhello\r\n0\r\n\r\n");
    reject(cases, "chunked/extension-5000", post(CHUNKED, &body), 400);
    let zeros = "0".repeat(5000);
    let body = format!("{zeros}5\r\nhello\r\n0\r\n\r\n");
    reject(cases, "chunked/size-5000-zeros", post(CHUNKED, &body), 400);
    let mean = format!("1;{}\r\nx\r\n", "y".repeat(1000)).repeat(20) + "0\r\n\r\n";
    reject(cases, "chunked/overhead", post(CHUNKED, &mean), 400);
    let trailer = format!("0\r\nX: {}\r\n\r\n", "y".repeat(9000));
    reject(cases, "chunked/trailer-9000", post(CHUNKED, &trailer), 431);
    let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(101));
    reject(cases, "chunked/trailers-101", post(CHUNKED, &trailers), 431);
}

fn chunked_accepts(cases: &mut Vec<Case>) {
    for (trick, body, decoded) in [
        ("one", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        (
            "two",
            "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
            "hello world",
        ),
        ("empty", "0\r\n\r\n", ""),
        ("upper-hex", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("lower-hex", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("leading-zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"),
        ("extension", "5;a\r\nhello\r\n0\r\n\r\n", "hello"),
        (
            "extension-value",
            "5;a=b\r\nhello\r\n0;c=d\r\n\r\n",
            "hello",
        ),
        (
            "extension-quoted",
            "5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n",
            "hello",
        ),
        ("extension-two", "5;a;b=c\r\nhello\r\n0\r\n\r\n", "hello"),
        ("extension-bws", "5; a = b\r\nhello\r\n0\r\n\r\n", "hello"),
        ("trailer", "5\r\nhello\r\n0\r\nX: y\r\n\r\n", "hello"),
        ("trailers", "0\r\nX: y\r\nZ:\r\n\r\n", ""),
        (
            "trailer-framing",
            "0\r\nContent-Length: 99\r\nHost: evil\r\n\r\n",
            "",
        ),
        ("crlf-in-data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
        ("looks-like-end", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
    ] {
        accept_post(cases, &format!("chunked/{trick}"), CHUNKED, body, decoded);
    }
    let body = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(4000));
    accept_post(cases, "chunked/extension-4000", CHUNKED, &body, "hello");
    let drops = "1\r\nx\r\n".repeat(3000) + "0\r\n\r\n";
    accept_post(
        cases,
        "chunked/byte-sized",
        CHUNKED,
        &drops,
        &"x".repeat(3000),
    );
}

fn line_ends(cases: &mut Vec<Case>) {
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

fn field_lines(cases: &mut Vec<Case>) {
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

/// Bytes above 0x7F as they are, not as UTF-8.
fn raw_bytes(cases: &mut Vec<Case>) {
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

fn last_profile(cases: &mut [Case], profile: Profile) {
    if let Some(last) = cases.last_mut() {
        last.profile = profile;
    }
}

fn request_line(cases: &mut Vec<Case>) {
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

fn targets(cases: &mut Vec<Case>) {
    for (trick, line) in [
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
    ] {
        let bytes = format!("{line}\r\nHost: a\r\n\r\n");
        reject(cases, &format!("target/{trick}"), bytes, 400);
    }
    let body = "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    reject(cases, "target/connect-body", body, 400);
    for (trick, line, method, target, authority) in [
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
    ] {
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

fn hosts(cases: &mut Vec<Case>) {
    for (trick, fields) in [
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
    ] {
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

fn hop_by_hop(cases: &mut Vec<Case>) {
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

fn upgrades(cases: &mut Vec<Case>) {
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

fn sizes(cases: &mut Vec<Case>) {
    let line = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes));
    let path = format!("/{}", "x".repeat(8000));
    case(
        cases,
        "size/line-8000",
        line(8000),
        Expect::Accept(vec![seen("GET", &path, "a", b"")]),
    );
    let path = format!("/{}", "x".repeat(61_000));
    case(
        cases,
        "size/line-61000",
        line(61_000),
        Expect::Accept(vec![seen("GET", &path, "a", b"")]),
    );
    reject(cases, "size/line-62000", line(62_000), 414);
    reject(cases, "size/method-62000", "G".repeat(62_000), 414);
    let fields = |count: usize| "x: y\r\n".repeat(count - 1);
    accept_get(cases, "size/fields-100", &fields(100));
    reject(cases, "size/fields-101", get(&fields(101)), 431);
    let value = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    accept_get(cases, "size/value-60000", &value(60_000));
    reject(cases, "size/value-62000", get(&value(62_000)), 431);
    reject(cases, "size/name-62000", get(&"x".repeat(62_000)), 431);
    let frame = get("x: \r\n").len();
    accept_get(cases, "size/head-61440", &value(61_440 - frame));
    reject(cases, "size/head-61441", get(&value(61_441 - frame)), 431);
}

fn pipelines(cases: &mut Vec<Case>) {
    let one = seen("POST", "/", "a", b"hello");
    let two = seen("GET", "/", "a", b"");
    let first = post("Content-Length: 5\r\n", "hello");
    let chunked = post(CHUNKED, "5\r\nhello\r\n0\r\n\r\n");
    let both = Expect::Accept(vec![one.clone(), two.clone()]);
    case(
        cases,
        "pipeline/length",
        first.clone() + &get(""),
        both.clone(),
    );
    case(
        cases,
        "pipeline/chunked",
        chunked.clone() + &get(""),
        both.clone(),
    );
    case(
        cases,
        "pipeline/crlf-between",
        first.clone() + "\r\n" + &get(""),
        both,
    );
    let three = Expect::Accept(vec![two.clone(), two.clone(), two.clone()]);
    case(cases, "pipeline/three", get("").repeat(3), three);
    let broken = |after| Expect::Reject { after, status: 400 };
    let bytes = first.clone() + "X" + &get("");
    case(
        cases,
        "pipeline/longer-than-length",
        bytes,
        broken(vec![one.clone()]),
    );
    case(
        cases,
        "pipeline/two-crlf-between",
        first + "\r\n\r\n" + &get(""),
        broken(vec![one.clone()]),
    );
    case(
        cases,
        "pipeline/after-last-chunk",
        chunked + "0\r\n\r\n",
        broken(vec![one]),
    );
    let smuggle = post(
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
    ) + &get("");
    case(
        cases,
        "pipeline/cl-te",
        get("") + &smuggle,
        broken(vec![two]),
    );
}

fn http10(cases: &mut Vec<Case>) {
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
