//! The verdict of policies depends neither on how a request is spelled nor on the wire that it comes
//! by: not on the order of fields, the case of their names and of the host, nor on how a path is
//! written down. Random policies and requests; the oracle of the configuration says what is right.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use sallyport_config::ir;
use sallyport_config::model::{self, Verdict};
use sallyport_core::rng::Rng;

use super::support::{Client, House, Origin, on_each_driver, origin, snapshot};
use super::{h3, http2, tls};

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
/// Sets of policies on each driver, requests under each, and spellings of each request.
const WORLDS: u64 = 16;
const REQUESTS: usize = 6;
const SPELLINGS: usize = 3;

const PATHS: [&str; 8] = [
    "/", "/a", "/a/", "/a/b", "/ab", "/admin", "/admin/x", "/a/b/c",
];
const PATTERNS: [&str; 9] = [
    "/a", "/a/b", "/a*", "/a/*", "*/b", "/admin", "/admin*", "*x", "*",
];
const NAMES: [&str; 3] = ["x-a", "x-b", "x-role"];
const VALUES: [&str; 4] = ["1", "2", "10", "root"];
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
const HOST: &str = "a.example";

fn pick<'v>(rng: &mut Rng, of: &[&'v str]) -> &'v str {
    of[usize::try_from(rng.below(of.len() as u64)).unwrap()]
}

fn chance(rng: &mut Rng, percent: u64) -> bool {
    rng.below(100) < percent
}

/// A request as it is meant.
#[derive(Debug)]
struct Meant {
    method: &'static str,
    path: &'static str,
    fields: Vec<(&'static str, &'static str)>,
}

/// A request as it is written.
#[derive(Debug)]
struct Spelled {
    method: &'static str,
    path: String,
    host: String,
    /// Names as HTTP/1 takes them; the others want lower case.
    fields: Vec<(String, &'static str)>,
}

impl Meant {
    fn new(rng: &mut Rng) -> Self {
        let fields = rng.below(4);
        Self {
            method: pick(rng, &METHODS),
            path: pick(rng, &PATHS),
            fields: (0..fields)
                .map(|_| (pick(rng, &NAMES), pick(rng, &VALUES)))
                .collect(),
        }
    }

    /// Whether policies let it pass.
    fn passes(&self, snapshot: &ir::Snapshot) -> bool {
        let tls = matches!(snapshot.listeners[0].kind, ir::ListenerKind::Tls(_));
        let fields = self.fields.iter();
        let call = model::Call {
            sni: tls.then(|| HOST.to_owned()),
            method: self.method.to_owned(),
            authority: HOST.to_owned(),
            path: self.path.to_owned(),
            headers: fields
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..model::Call::default()
        };
        match model::decide(snapshot, &call) {
            Verdict::Forward(_) => true,
            Verdict::Denied { .. } => false,
            other => panic!("{other:?}"),
        }
    }

    fn spelled(&self, rng: &mut Rng) -> Spelled {
        let mut fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| (any_case(rng, name), *value))
            .collect();
        for last in (1..fields.len()).rev() {
            let other = usize::try_from(rng.below(last as u64 + 1)).unwrap();
            fields.swap(last, other);
        }
        Spelled {
            method: self.method,
            path: path(rng, self.path),
            host: any_case(rng, HOST),
            fields,
        }
    }
}

fn any_case(rng: &mut Rng, text: &str) -> String {
    let case = |c: char| match chance(rng, 50) {
        true => c.to_ascii_uppercase(),
        false => c,
    };
    text.chars().map(case).collect()
}

/// Another way to write a path down that means the same (security.md's table of an edge that
/// decodes and merges slashes).
fn path(rng: &mut Rng, meant: &str) -> String {
    let mut out = String::from("/");
    for (at, segment) in meant[1..].split('/').enumerate() {
        if at > 0 {
            out.push_str(pick(rng, &["/", "/", "//", "%2F", "%2f", "%5C", "%5c"]));
        }
        // a dot at the end would leave a slash behind
        if !segment.is_empty() {
            out.push_str(pick(rng, &["", "", "./", "zz/../", "/", "zz%2f%2E%2e/"]));
        }
        for byte in segment.bytes() {
            match rng.below(6) {
                0 => out.push_str(&format!("%{byte:02X}")),
                1 => out.push_str(&format!("%{byte:02x}")),
                _ => out.push(char::from(byte)),
            }
        }
    }
    out.push_str(pick(rng, &["", "", "?", "?path=/admin"]));
    out
}

/// Policies that nearly match.
fn policies(rng: &mut Rng) -> ir::Policies {
    let count = 1 + rng.below(3);
    let mut authorization: Vec<_> = (0..count).map(|_| policy(rng)).collect();
    authorization.sort_by_key(|policy| policy.action);
    ir::Policies {
        authorization,
        ..ir::Policies::default()
    }
}

fn policy(rng: &mut Rng) -> ir::AuthorizationPolicy {
    let rules = 1 + rng.below(2);
    ir::AuthorizationPolicy {
        action: match chance(rng, 50) {
            true => ir::PolicyAction::Deny,
            false => ir::PolicyAction::Allow,
        },
        dry_run: false,
        authorizer: None,
        rules: (0..rules)
            .map(|_| ir::PolicyRule {
                to: vec![conditions(rng, operation)],
                when: conditions(rng, header),
                ..ir::PolicyRule::default()
            })
            .collect(),
        origin: origin(),
    }
}

fn conditions(rng: &mut Rng, test: fn(&mut Rng) -> ir::PolicyTest) -> ir::Conditions {
    let mut conditions = ir::Conditions::new();
    for _ in 0..=rng.below(2) {
        if chance(rng, 60) {
            conditions.push(ir::PolicyCondition {
                test: test(rng),
                negated: chance(rng, 30),
            });
        }
    }
    conditions
}

fn operation(rng: &mut Rng) -> ir::PolicyTest {
    let text = |rng: &mut Rng, of: &[&str]| ir::TextMatch::parse(pick(rng, of));
    match rng.below(6) {
        0 => ir::PolicyTest::Text(ir::TextOf::Method, vec![text(rng, &METHODS)]),
        1 => {
            let hosts = [HOST, "a.*", "*.example", "b.example"];
            ir::PolicyTest::Text(ir::TextOf::Host, vec![text(rng, &hosts)])
        }
        2 => ir::PolicyTest::Path(vec![ir::PathPattern::Template(vec![
            ir::PathSegment::Literal("a".to_owned()),
            match chance(rng, 50) {
                true => ir::PathSegment::One,
                false => ir::PathSegment::Any,
            },
        ])]),
        _ => ir::PolicyTest::Path(vec![
            ir::PathPattern::Text(text(rng, &PATTERNS)),
            ir::PathPattern::Text(text(rng, &PATTERNS)),
        ]),
    }
}

fn header(rng: &mut Rng) -> ir::PolicyTest {
    let name = pick(rng, &NAMES).to_owned();
    let value = ir::TextMatch::parse(pick(rng, &["1", "1*", "*0", "root", "*"]));
    ir::PolicyTest::Text(ir::TextOf::Header(name), vec![value])
}

/// An edge that decodes slashes instead of sending clients elsewhere.
fn decoding(mut snapshot: ir::Snapshot) -> ir::Snapshot {
    snapshot.settings.path_normalization = ir::PathNormalization::DecodeAndMergeSlashes;
    snapshot.settings.connection.escaped_slashes = ir::EscapedSlashes::UnescapeAndForward;
    snapshot
}

fn over_h1<S: std::io::Read + std::io::Write>(client: &mut Client<S>, ask: &Spelled) -> u16 {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\n",
        ask.method, ask.path, ask.host
    );
    for (name, value) in &ask.fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Content-Length: 0\r\n\r\n");
    client.ask(head.as_bytes()).status
}

fn request(ask: &Spelled, scheme: &str) -> http::Request<()> {
    let method = Method::from_bytes(ask.method.as_bytes()).unwrap();
    let uri = format!("{scheme}://{}{}", ask.host, ask.path);
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in &ask.fields {
        request = request.header(name.to_ascii_lowercase(), *value);
    }
    request.body(()).unwrap()
}

fn over_h2(house: &House, all: &[Spelled]) -> Vec<u16> {
    http2::client(house, |send: ::h2::client::SendRequest<Bytes>| async move {
        let mut statuses = Vec::new();
        for ask in all {
            let mut send = send.clone().ready().await.unwrap();
            let (response, _) = send.send_request(request(ask, "http"), true).unwrap();
            let response = response.await.unwrap();
            statuses.push(response.status().as_u16());
            http2::whole(&mut response.into_body()).await.unwrap();
        }
        statuses
    })
}

fn over_h3(door: SocketAddr, trusted: &tls::Pair, all: &[Spelled]) -> Vec<u16> {
    h3::run(async {
        let endpoint = h3::endpoint(trusted);
        let (_connection, mut sender) = h3::connect(&endpoint, door, HOST).await;
        let mut statuses = Vec::new();
        for ask in all {
            let mut stream = sender.send_request(request(ask, "https")).await.unwrap();
            stream.finish().await.unwrap();
            statuses.push(stream.recv_response().await.unwrap().status().as_u16());
            while stream.recv_data().await.unwrap().is_some() {}
        }
        statuses
    })
}

#[test]
fn verdicts_depend_on_no_spelling_and_on_no_wire() {
    let a = tls::pair(HOST);
    let seed = u64::from(std::process::id()) << 32;
    let (mut passed, mut denied) = (0, 0);
    let tally = std::cell::RefCell::new((&mut passed, &mut denied));
    on_each_driver(|driver| {
        let upstream = Origin::answers(HELLO);
        let clear = decoding(snapshot(upstream.address));
        let secured = decoding(tls::secured(upstream.address, &[(HOST, &a)]));
        let open = House::open(driver, clear.clone());
        let sealed = House::open(driver, secured.clone());
        let mut client = open.client();
        for world in 0..WORLDS {
            let rng = &mut Rng::new(seed + world);
            let policies = policies(rng);
            let guarded = |snapshot: &ir::Snapshot| ir::Snapshot {
                policies: policies.clone(),
                ..snapshot.clone()
            };
            let (clear, secured) = (guarded(&clear), guarded(&secured));
            open.activate(world + 2, clear.clone());
            sealed.activate(world + 2, secured.clone());
            let mut wants = Vec::new();
            let mut all = Vec::new();
            for _ in 0..REQUESTS {
                let meant = Meant::new(rng);
                let passes = meant.passes(&clear);
                assert_eq!(passes, meant.passes(&secured));
                for _ in 0..SPELLINGS {
                    all.push(meant.spelled(rng));
                    wants.push(if passes { 200 } else { 403 });
                }
            }
            let h1: Vec<u16> = all.iter().map(|ask| over_h1(&mut client, ask)).collect();
            let h2 = over_h2(&open, &all);
            let h3 = over_h3(sealed.door, &a, &all);
            for (at, ask) in all.iter().enumerate() {
                let seen = [h1[at], h2[at], h3[at]];
                assert_eq!(
                    seen, [wants[at]; 3],
                    "{seed:#x} {world}: {ask:?} {policies:#?}"
                );
            }
            let mut tally = tally.borrow_mut();
            let passed = wants.iter().filter(|want| **want == 200).count();
            *tally.0 += passed;
            *tally.1 += wants.len() - passed;
        }
        drop(client);
        open.close();
        sealed.close();
    });
    assert!(
        passed >= 50 && denied >= 50,
        "{passed} passed, {denied} denied"
    );
}
