//! The golden calls against the gateway itself: a process, sockets, origins that echo. What a
//! client, the origins, the access log and the metrics show is held against each case's
//! expectations and against the model.

#[path = "golden/client.rs"]
mod client;
#[path = "golden/echo.rs"]
mod echo;
#[path = "golden/judge.rs"]
mod judge;
#[path = "golden/place.rs"]
mod place;
#[path = "golden/token.rs"]
pub(crate) mod token;

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sallyport_config::golden::{Vector, decode};
use sallyport_config::ir::{ListenerKind, Snapshot};
use sallyport_config::model::{Call, Verdict, decide};
use serde_json::Value;

use crate::child::{DEADLINE, Gateway, Scratch};
use client::{Answer, Seen, say};
use echo::{Arrival, Origins};
use judge::{copies, line_differs, sorted, unasked, verdict};
use place::{SHORTER, cases, compile, outcomes, place, texts, visible};

/// Calls that are not made: case, how the id begins, why.
const EXCLUDED: [(&str, &str, &str); 10] = [
    ("authz-operations", "ports.test 8081", PORTS),
    ("authz-operations", "notports.test 8081", PORTS),
    (
        "envoyfilter-local-ratelimit",
        "the first at the port",
        PORTS,
    ),
    (
        "envoyfilter-local-ratelimit",
        "the second at the port",
        PORTS,
    ),
    ("http-policy", "fault one in a million", RARE),
    ("http-policy", "mirror to two", RARE),
    (
        "http-match",
        "method minds case",
        "a method in the wrong case is refused before any rule",
    ),
    (
        "virtualservice",
        "weird header matches, with",
        "an edge refuses names with underscores",
    ),
    ("jwt-claim-route", "usage1: token with same header", NO_NAME),
    ("jwt-claim-route", "usage2: token with same header", NO_NAME),
];
const RARE: &str = "a share of a hundredth or less is too rare to wait for";
const NO_NAME: &str = "HTTP allows no such field name";
const PORTS: &str = "a policy names the port, and the system has chosen another";
/// Most calls that may be left out by [`EXCLUDED`], and by [`beyond`].
const EXCLUDED_MAX: usize = 15;
const BEYOND_MAX: usize = 60;

/// What a client on this host cannot bring with it, or the edge does not let through as it is.
fn beyond(call: &Call) -> Option<&'static str> {
    let path = call.path.split('?').next().unwrap_or_default();
    let checks = [
        (call.identity.is_some(), "an identity of the mesh"),
        (call.peer.is_some(), "an address of another host"),
        (call.client.is_some(), "a client behind another host"),
        (path.contains("//"), "two slashes, which an edge merges"),
    ];
    checks.iter().find(|(is, _)| *is).map(|(_, why)| *why)
}

/// Least numbers of what must have run, so that no case is lost in silence.
const CASES_MIN: usize = 40;
const CALLS_MIN: usize = 410;

/// Repetitions of a call that is decided by chance: a share of a tenth is missed once in 10^13.
const SHOTS_MAX: usize = 300;
/// Repetitions where the client cannot see what was chosen: a half is missed once in 10^12.
const SHOTS_UNSEEN: usize = 40;

#[test]
fn golden_calls_are_served_as_written_on_io_uring() {
    let scratch = Scratch::new("golden-probe");
    scratch.write("empty.yaml", "");
    let probe = Gateway::start(&scratch.0, &["--driver", "auto", "--workers", "1"]);
    if probe.word("driver") == "epoll" {
        eprintln!("the kernel refuses io_uring: {}", probe.log());
        return;
    }
    drop(probe);
    run("io_uring");
}

#[test]
fn golden_calls_are_served_as_written_on_epoll() {
    run("epoll");
}

fn run(driver: &str) {
    let (mut ran, mut beyond) = (0, 0);
    let (mut excluded, mut wrong) = (Vec::new(), Vec::new());
    let cases = cases();
    for case in &cases {
        let mut run = Run::new(case, driver);
        run.calls();
        run.copies_and_lines();
        run.metrics();
        ran += run.ran;
        excluded.append(&mut run.excluded);
        beyond += run.beyond;
        let name = &run.name;
        wrong.extend(run.wrong.iter().map(|why| format!("{name} / {why}")));
    }
    eprintln!(
        "{driver}: {} cases, {ran} calls, {} left out, {beyond} beyond a client",
        cases.len(),
        excluded.len()
    );
    assert!(
        wrong.is_empty(),
        "{} on {driver}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cases.len() >= CASES_MIN && ran >= CALLS_MIN, "{ran} calls");
    assert!(excluded.len() <= EXCLUDED_MAX && beyond <= BEYOND_MAX);
    let stale = (0..EXCLUDED.len()).find(|entry| !excluded.contains(entry));
    assert_eq!(stale.map(|entry| EXCLUDED[entry]), None, "no such call");
}

/// A request that was made, and what came of it.
struct Shot {
    mark: String,
    seen: Seen,
}

/// A call with all its repetitions.
struct Told {
    vector: Vector,
    /// What the model says for the call's own dice, and for any.
    model: Verdict,
    allowed: Vec<Verdict>,
    shots: Vec<Shot>,
}

/// A case on a driver.
struct Run {
    name: String,
    snapshot: Snapshot,
    vectors: Vec<Vector>,
    origins: Origins,
    gateway: Gateway,
    scratch: Scratch,
    told: Vec<Told>,
    ran: usize,
    excluded: Vec<usize>,
    beyond: usize,
    wrong: Vec<String>,
}

impl Run {
    fn new(case: &Path, driver: &str) -> Self {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let scratch = Scratch::new(&format!("golden-{driver}-{name}"));
        let log = scratch.path("access.log");
        let calls = fs::read_to_string(case.join("calls.yaml"));
        let vectors = calls.map_or_else(|_| Vec::new(), |text| decode(&text).unwrap());
        let mut texts = texts(case, &log);
        texts.extend(token::rules(&vectors).map(|text| ("tokens.yaml".to_owned(), text)));
        let (files, origins) = place(&texts);
        for (file, text) in &files {
            let text = SHORTER.iter().fold(text.clone(), |text, (long, short)| {
                text.replace(long, short)
            });
            scratch.write(&format!("config/{file}"), &text);
        }
        let snapshot = compile(&files);
        let ports = snapshot.listeners.iter().map(|l| format!("{}=0", l.port));
        let ports = ports.collect::<Vec<_>>().join(",");
        let mut arguments = vec!["--driver", driver, "--workers", "2"];
        if !ports.is_empty() {
            arguments.extend(["--port-map", &ports]);
        }
        let gateway = Gateway::start(Path::new(&scratch.path("config")), &arguments);
        assert_eq!(gateway.word("driver"), driver);
        let bound = gateway.word("listeners").split(',');
        let bound = bound.filter(|listener| listener.contains('=')).count();
        assert_eq!(bound, snapshot.listeners.len(), "{}", gateway.ready);
        Self {
            name,
            snapshot,
            vectors,
            origins,
            gateway,
            scratch,
            told: Vec::new(),
            ran: 0,
            excluded: Vec::new(),
            beyond: 0,
            wrong: Vec::new(),
        }
    }

    fn calls(&mut self) {
        let mut doors: HashMap<u16, Option<SocketAddr>> = HashMap::new();
        for vector in std::mem::take(&mut self.vectors) {
            if let Some(entry) = self.excluded(&vector) {
                self.excluded.push(entry);
                continue;
            }
            if beyond(&vector.call).is_some() {
                self.beyond += 1;
                continue;
            }
            self.ran += 1;
            let port = vector.call.port;
            let open = self.snapshot.listeners.iter().any(|l| l.port == port);
            let gateway = &self.gateway;
            let door = doors
                .entry(port)
                .or_insert_with(|| open.then(|| gateway.listener(port)));
            let model = decide(&self.snapshot, &vector.call);
            match *door {
                Some(door) => self.call(door, vector, model),
                // the ready line has counted the listeners: nothing is bound for this port
                None => {
                    let why = vector.expect.differs(&Verdict::Refused);
                    self.wrong.extend(why);
                }
            }
        }
    }

    /// Entry of [`EXCLUDED`] that a call falls under.
    fn excluded(&self, vector: &Vector) -> Option<usize> {
        let mut list = EXCLUDED.iter();
        list.position(|(case, id, _)| *case == self.name && vector.id.starts_with(id))
    }

    /// Makes a call, as often as it takes when chance decides.
    fn call(&mut self, door: SocketAddr, vector: Vector, model: Verdict) {
        let allowed = outcomes(&self.snapshot, &vector.call);
        let unseen = allowed
            .iter()
            .any(|other| *other != model && visible(other) == visible(&model));
        let least = if unseen { SHOTS_UNSEEN } else { 1 };
        let mut shots = Vec::new();
        let mut observed = None;
        while shots.len() < SHOTS_MAX && (observed.is_none() || shots.len() < least) {
            let mark = format!("golden/{}/{}", self.told.len(), shots.len());
            let seen = say(door, &vector.call, &mark);
            let arrivals = self.origins.arrivals(&mark);
            let said = |model| self.said(&vector.call, &seen, &arrivals, model);
            let got = said(&model);
            if got.is_none() && !allowed.iter().any(|other| said(other).is_some()) {
                let got = verdict(&self.snapshot, &vector.call, &model, &seen, &arrivals);
                let why = format!("{}: got {got:?}, not {model:?}", vector.id);
                self.wrong.push(why);
                shots.push(Shot { mark, seen });
                break;
            }
            observed = observed.or(got);
            shots.push(Shot { mark, seen });
        }
        if let Some(mut observed) = observed {
            // copies are counted when the case ends
            if let (Verdict::Forward(got), Verdict::Forward(want)) = (&mut observed, &model) {
                got.mirrors.clone_from(&want.mirrors);
            }
            let why = vector.expect.differs(&observed);
            self.wrong
                .extend(why.map(|why| format!("{}: {why}", vector.id)));
        }
        self.told.push(Told {
            vector,
            model,
            allowed,
            shots,
        });
    }

    /// What was seen, when it is what a model says.
    fn said(
        &self,
        call: &Call,
        seen: &Seen,
        arrivals: &[Arrival],
        model: &Verdict,
    ) -> Option<Verdict> {
        let got = verdict(&self.snapshot, call, model, seen, arrivals);
        (sorted(&got) == sorted(model)).then_some(got)
    }

    /// Waits for what follows an answer: copies, and the line of the access log.
    fn copies_and_lines(&mut self) {
        let mut wrong = Vec::new();
        let mut lines = self.lines();
        for told in &self.told {
            let mut last = None;
            let found = patiently(|| {
                last = self.wrong_after(told, &lines);
                if last.is_some() {
                    lines = self.lines();
                }
                last.is_none()
            });
            if let (false, Some(why)) = (found, last) {
                wrong.push(format!("{}: {why}", told.vector.id));
            }
        }
        self.wrong.extend(wrong);
    }

    /// Every shot of a call must be as some dice make it, and one as the call's own dice do.
    fn wrong_after(&self, told: &Told, lines: &HashMap<String, Value>) -> Option<String> {
        let mut last = None;
        let mut exact = told
            .shots
            .iter()
            .all(|s| matches!(s.seen, Seen::Closed | Seen::NoHandshake));
        if matches!(told.model, Verdict::Tcp(_)) {
            // a connection has a line, but not one of its request
            return None;
        }
        for shot in &told.shots {
            let Seen::Answer(answer) = &shot.seen else {
                continue;
            };
            let Some(line) = lines.get(&shot.mark) else {
                return Some("no line in the access log".to_owned());
            };
            let differs = |model| self.differs(told, model, shot, answer, line);
            match differs(&told.model) {
                None => exact = true,
                Some(why) if told.allowed.iter().all(|other| differs(other).is_some()) => {
                    return Some(why);
                }
                why => last = why,
            }
        }
        if exact { None } else { last }
    }

    fn differs(
        &self,
        told: &Told,
        model: &Verdict,
        shot: &Shot,
        answer: &Answer,
        line: &Value,
    ) -> Option<String> {
        let call = &told.vector.call;
        let arrivals = self.origins.arrivals(&shot.mark);
        if self.said(call, &shot.seen, &arrivals, model).is_none() {
            return Some("another outcome".to_owned());
        }
        let mut mirrors = match model {
            Verdict::Forward(f) if unasked(&self.snapshot, f).is_none() => f.mirrors.clone(),
            _ => Vec::new(),
        };
        mirrors.sort();
        let copies = copies(&self.snapshot, model, &arrivals);
        if copies != mirrors {
            return Some(format!("copies to {copies:?}, not {mirrors:?}"));
        }
        line_differs(&self.snapshot, call, model, answer, line)
    }

    /// Lines of the access log by the mark of their request.
    fn lines(&self) -> HashMap<String, Value> {
        let text = fs::read_to_string(self.scratch.path("access.log")).unwrap_or_default();
        let whole = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        whole
            .filter_map(|line: Value| Some((line["user_agent"].as_str()?.to_owned(), line)))
            .collect()
    }

    /// Every answer was counted once; so was the one to a handshake where HTTP is spoken, which
    /// the client cannot read.
    fn metrics(&mut self) {
        let plain = |port| {
            let mut listeners = self.snapshot.listeners.iter();
            listeners.any(|l| l.port == port && matches!(l.kind, ListenerKind::Plain(_)))
        };
        let answered = |told: &&Told, shot: &Shot| match shot.seen {
            Seen::Answer(_) => !matches!(told.model, Verdict::Tcp(_)),
            Seen::NoHandshake => plain(told.vector.call.port),
            Seen::Closed => false,
        };
        let counted = self.told.iter().map(|told| {
            let shots = told.shots.iter();
            shots.filter(|shot| answered(&told, shot)).count()
        });
        let want = u64::try_from(counted.sum::<usize>()).unwrap();
        let mut got = 0;
        if !patiently(|| {
            got = self.requests_total();
            got == want
        }) {
            self.wrong
                .push(format!("{got} requests were counted, {want} answered"));
        }
    }

    fn requests_total(&self) -> u64 {
        let (_, text) = self.gateway.ask("metrics", "GET", "/stats/prometheus");
        let samples = text
            .lines()
            .filter(|l| l.starts_with("istio_requests_total{"));
        let values = samples.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }
}

/// Whether something becomes true soon; a failed call must not hide those after it.
fn patiently(mut check: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + DEADLINE / 2;
    loop {
        if check() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
