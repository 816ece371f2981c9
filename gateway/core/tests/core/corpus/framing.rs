//! Where a message ends: lengths, codings, chunks, sizes, and requests in a row.

use super::{CHUNKED, Case, Expect, accept_get, accept_post, case, get, post, reject, seen};

const BAD_LENGTHS: &[(&str, &str)] = &[
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
];

pub(super) fn content_length(cases: &mut Vec<Case>) {
    for (trick, fields) in BAD_LENGTHS {
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

const BAD_CODINGS: &[(&str, &str, u16)] = &[
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
];

pub(super) fn transfer_encoding(cases: &mut Vec<Case>) {
    for &(trick, fields, status) in BAD_CODINGS {
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

const BAD_CHUNKS: &[(&str, &str)] = &[
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
];

pub(super) fn chunked_rejects(cases: &mut Vec<Case>) {
    for (trick, body) in BAD_CHUNKS {
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

pub(super) fn chunked_accepts(cases: &mut Vec<Case>) {
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

pub(super) fn sizes(cases: &mut Vec<Case>) {
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

pub(super) fn pipelines(cases: &mut Vec<Case>) {
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
