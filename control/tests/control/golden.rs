//! The golden cases on a real Envoy: every snapshot becomes a configuration that it takes, and
//! every call that a client can make is answered as the model says.

#[allow(dead_code, reason = "shared with the gateway's tests")]
#[path = "../../../gateway/tests/gateway/golden/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the gateway's tests")]
#[path = "../../../gateway/tests/gateway/golden/echo.rs"]
mod echo;
#[allow(dead_code, reason = "shared with the gateway's tests")]
#[path = "../../../gateway/tests/gateway/golden/judge.rs"]
mod judge;
#[allow(dead_code, reason = "shared with the gateway's tests")]
#[path = "../../../gateway/tests/gateway/golden/place.rs"]
pub(crate) mod place;
#[path = "../../../gateway/tests/gateway/golden/token.rs"]
mod token;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use sallyport_config::golden::{Vector, decode};
use sallyport_config::ir::{Snapshot, UpstreamProtocol};
use sallyport_config::model::{Call, Verdict, decide};
use sallyport_control::lower::{self, Form, Lowered};

use crate::child::Scratch;
use crate::envoy::{self, Envoy, address, bootstrap, validate};
pub(crate) use client::trust_all;

use client::say;
use echo::Origins;
use judge::{sorted, verdict};
use place::{SHORTER, cases, compile, outcomes, place, texts};

/// Where Envoy answers otherwise, and why that is meant: case, how the id begins, reason.
/// `control/DIFFERENCES.md` says it for people.
const DIFFERENCES: [(&str, &str, &str); 22] = [
    ("authz-operations", "template /y/a//z", MERGED),
    (
        "destinations",
        "upstream TLS",
        "has no endpoints until it is served",
    ),
    ("gateway", "Host of another certificate", MISDIRECTED),
    (
        "gateway",
        "Host of a more specific certificate",
        MISDIRECTED,
    ),
    (
        "gateway-tls",
        "the same certificate and policy",
        MISDIRECTED,
    ),
    ("gateway-tls", "another policy does not", MISDIRECTED),
    ("http-match", "method minds case", REFUSED),
    (
        "http-policy",
        "fault one in a million",
        "is too rare to wait for",
    ),
    ("http-policy", "cors unmatched preflight answered", CORS),
    ("http-policy", "cors regex is whole", CORS),
    (
        "http-redirect",
        "redirect the scheme's own port",
        "is written out: :443",
    ),
    ("http-redirect", "rewrite /v3/x", SLASHES),
    ("http-redirect", "rewrite with a query", SLASHES),
    ("jwt-claim-route", "usage1: token with same header", REFUSED),
    ("jwt-claim-route", "usage2: token with same header", REFUSED),
    (
        "virtualservice",
        "set host header in route and multi destination, first",
        ORIGINAL,
    ),
    (
        "virtualservice",
        "set host header in route and multi destination, second",
        ORIGINAL,
    ),
    (
        "virtualservice",
        "set host header multi destination, first",
        ORIGINAL,
    ),
    (
        "virtualservice",
        "set host header multi destination, second",
        ORIGINAL,
    ),
    ("virtualservice", "weird header matches, with", REFUSED),
    ("virtualservice", "cors, preflight", CORS),
    (
        "virtualservice",
        "fault abort gRPC of a caller",
        "200, although it is an abort",
    ),
];
const MERGED: &str = "an edge merges slashes before rules see them";
const MISDIRECTED: &str = "404: a chain knows its own hosts only, and cannot say 421";
const REFUSED: &str = "is no request that an edge lets in";
const CORS: &str = "answers a preflight with fields that belong to answers";
const SLASHES: &str = "puts prefixes together as bytes: //x";
const ORIGINAL: &str = "a destination's own host leaves no x-envoy-original-host of the request";

/// Least numbers of what must have run.
const CASES_MIN: usize = 40;
const CALLS_MIN: usize = 420;
/// Repetitions of a call that is decided by chance: a share of a tenth is missed once in 10^13.
const SHOTS_MAX: usize = 300;

#[test]
fn envoy_takes_every_golden_snapshot() {
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let scratch = Scratch::new(&format!("validate-{name}"));
        let snapshot = compile(&files(&case, &scratch));
        let lowered = lowered(&snapshot);
        if let Err(why) = validate(&bootstrap(lowered), &scratch) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn envoy_answers_golden_calls_as_the_model_says() {
    let (mut ran, mut wrong, mut seen) = (0, Vec::new(), Vec::new());
    let cases = cases();
    for case in &cases {
        let Some(mut run) = Run::new(case) else {
            continue;
        };
        run.calls();
        ran += run.ran;
        seen.append(&mut run.differences);
        let name = &run.name;
        wrong.extend(run.wrong.iter().map(|why| format!("{name} / {why}")));
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases.len() >= CASES_MIN && ran >= CALLS_MIN, "{ran} calls");
    let stale = (0..DIFFERENCES.len()).find(|entry| !seen.contains(entry));
    assert_eq!(stale.map(|entry| DIFFERENCES[entry]), None, "no such call");
}

#[test]
fn people_can_read_where_envoy_answers_otherwise() {
    let rows = include_str!("../../DIFFERENCES.md").lines();
    let rows: Vec<Vec<&str>> = rows
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let said: Vec<(&str, &str)> = rows.iter().map(|row| (row[1], row[2])).collect();
    let wanted = DIFFERENCES.map(|(case, id, _)| (case, format!("`{id}`")));
    let wanted: Vec<(&str, &str)> = wanted
        .iter()
        .map(|(case, id)| (*case, id.as_str()))
        .collect();
    assert_eq!(said, wanted);
}

/// The files of a case, with an access log and certificates that exist.
pub(crate) fn files(case: &Path, scratch: &Scratch) -> Vec<(String, String)> {
    let own = rcgen::generate_simple_self_signed(["files.test".to_owned()]).unwrap();
    for name in ["tls", "client"] {
        scratch.write(&format!("{name}.crt"), own.cert.pem());
        scratch.write(&format!("{name}.pem"), own.cert.pem());
        scratch.write(&format!("{name}.key"), own.signing_key.serialize_pem());
    }
    scratch.write("ca.pem", own.cert.pem());
    scratch.write("ca.crl", crl());
    let mut texts = texts(case, &scratch.path("access.log"));
    for (_, text) in &mut texts {
        *text = text
            .replace("/etc/certs/", &scratch.path(""))
            .replace(" /certs/", &format!(" {}", scratch.path("")));
    }
    texts
}

/// A list of revoked certificates, with none in it.
fn crl() -> String {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::CrlSign];
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let signed = list.signed_by(&Issuer::new(authority, key)).unwrap();
    signed.pem().unwrap()
}

/// A snapshot in one piece, with an identity for the gateway.
fn lowered(snapshot: &Snapshot) -> Lowered {
    let mut lowered = lower::gateway(snapshot, Form::Inline);
    let own = rcgen::generate_simple_self_signed(["mesh.test".to_owned()]).unwrap();
    let (chain, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    lowered.secrets = envoy::identity(&chain, &key, &chain);
    lowered
}

/// A loopback address where nobody else listens.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(
        127,
        64 + high % 8,
        low,
        NEXT.fetch_add(1, Ordering::Relaxed),
    )
}

/// What a client on this host cannot bring with it.
fn beyond(call: &Call) -> bool {
    call.identity.is_some() || call.peer.is_some() || call.client.is_some()
}

/// A case on an Envoy.
struct Run {
    name: String,
    snapshot: Snapshot,
    vectors: Vec<Vector>,
    origins: Origins,
    envoy: Envoy,
    _scratch: Scratch,
    ran: usize,
    differences: Vec<usize>,
    wrong: Vec<String>,
}

impl Run {
    /// Starts everything; nothing for a case without calls.
    fn new(case: &Path) -> Option<Self> {
        let calls = fs::read_to_string(case.join("calls.yaml")).ok()?;
        let vectors = decode(&calls).unwrap();
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let scratch = Scratch::new(&format!("golden-{name}"));
        let mut texts = files(case, &scratch);
        texts.extend(token::rules(&vectors).map(|text| ("tokens.yaml".to_owned(), text)));
        let (mut files, origins) = place(&texts);
        for (_, text) in &mut files {
            for (long, short) in SHORTER {
                *text = text.replace(long, short);
            }
        }
        let mut snapshot = compile(&files);
        for cluster in &mut snapshot.clusters {
            // the origins speak nothing else
            cluster.protocol = UpstreamProtocol::Http1;
        }
        let mut lowered = lowered(&snapshot);
        let host = own_address();
        for (listener, socket) in lowered.listeners.iter_mut().zip(&snapshot.listeners) {
            // policies name ports, of which the lower ones are not everybody's
            let port = if socket.port < 1024 { 0 } else { socket.port };
            listener.address = Some(address(host, port));
        }
        let envoy = Envoy::start(&bootstrap(lowered), &scratch);
        Some(Self {
            name,
            snapshot,
            vectors,
            origins,
            envoy,
            _scratch: scratch,
            ran: 0,
            differences: Vec::new(),
            wrong: Vec::new(),
        })
    }

    fn calls(&mut self) {
        for (at, vector) in std::mem::take(&mut self.vectors).iter().enumerate() {
            if beyond(&vector.call) {
                continue;
            }
            let model = decide(&self.snapshot, &vector.call);
            self.ran += 1;
            let mut listeners = self.snapshot.listeners.iter();
            let Some(listener) = listeners.find(|l| l.port == vector.call.port) else {
                assert_eq!(model, Verdict::Refused);
                continue;
            };
            let door = self.envoy.listener(&listener.name);
            // shown when the client gives up
            eprintln!("{} / {}", self.name, vector.id);
            let Some(why) = self.call(door, &vector.call, &model, at) else {
                continue;
            };
            match self.difference(vector) {
                Some(entry) => self.differences.push(entry),
                None => self.wrong.push(format!("{}: {why}", vector.id)),
            }
        }
    }

    /// Entry of [`DIFFERENCES`] that a call falls under.
    fn difference(&self, vector: &Vector) -> Option<usize> {
        let mut list = DIFFERENCES.iter();
        list.position(|(case, id, _)| *case == self.name && vector.id.starts_with(id))
    }

    /// Makes a call, as often as it takes when chance decides; says how the answer differs.
    fn call(&self, door: SocketAddr, call: &Call, model: &Verdict, at: usize) -> Option<String> {
        let allowed = outcomes(&self.snapshot, call);
        for shot in 0..SHOTS_MAX {
            let mark = format!("golden/{at}/{shot}");
            let seen = say(door, call, &mark);
            let arrivals = self.origins.arrivals(&mark);
            let got = |model| verdict(&self.snapshot, call, model, &seen, &arrivals);
            if sorted(&got(model)) == sorted(model) {
                return None;
            }
            if !allowed
                .iter()
                .any(|other| sorted(&got(other)) == sorted(other))
            {
                return Some(format!("got {:?}, not {model:?}", got(model)));
            }
        }
        Some(format!("never {model:?}"))
    }
}
