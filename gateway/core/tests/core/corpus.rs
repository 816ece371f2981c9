//! Inputs that an HTTP/1 recipient must accept or refuse, as bytes and verdicts.
//!
//! Written from RFC 9110 and 9112; the ids name the family and the trick. Nothing here depends on
//! the gateway, so that other test binaries include this file by `#[path]` and send the same bytes
//! through sockets.

#[path = "corpus/framing.rs"]
mod framing;
#[path = "corpus/heads.rs"]
mod heads;

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
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    framing::content_length(&mut cases);
    framing::transfer_encoding(&mut cases);
    framing::chunked_rejects(&mut cases);
    framing::chunked_accepts(&mut cases);
    heads::line_ends(&mut cases);
    heads::field_lines(&mut cases);
    heads::raw_bytes(&mut cases);
    heads::request_line(&mut cases);
    heads::targets(&mut cases);
    heads::hosts(&mut cases);
    heads::hop_by_hop(&mut cases);
    heads::upgrades(&mut cases);
    framing::sizes(&mut cases);
    framing::pipelines(&mut cases);
    heads::http10(&mut cases);
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

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

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

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn last_profile(cases: &mut [Case], profile: Profile) {
    if let Some(last) = cases.last_mut() {
        last.profile = profile;
    }
}
