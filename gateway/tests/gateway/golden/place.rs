//! Golden cases made ready for a real proxy: their files with endpoints that exist, and everything
//! that chance may make of a call. Whoever runs them, our gateway or another, shares this.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sallyport_config::View;
use sallyport_config::ir::{Action, Listener, ListenerKind, Service, Snapshot};
use sallyport_config::model::{Call, Dice, Verdict, decide};
use sallyport_config::pipeline;
use sallyport_config::retain::LastGood;

use super::echo::Origins;
use super::judge::sorted;

/// What cases write, and what is served instead so that nobody waits: the delay itself is seen in
/// the access log's flag.
pub(super) const SHORTER: [(&str, &str); 2] = [
    ("fixedDelay: 5s", "fixedDelay: 5ms"),
    ("fixedDelay: 1s", "fixedDelay: 1ms"),
];

/// Every case, by name.
pub(crate) fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/golden");
    let entries = fs::read_dir(root).unwrap();
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// As a client sees it: neither delays nor copies.
pub(super) fn visible(verdict: &Verdict) -> Verdict {
    let mut verdict = sorted(verdict);
    if let Verdict::Forward(forwarded) = &mut verdict {
        forwarded.delay = 0;
    }
    verdict
}

/// Whether the bytes of a listener go to several clusters.
fn carries_by_weight(listener: &Listener) -> bool {
    let ListenerKind::Plain(Service::Tcp(tcp)) = &listener.kind else {
        return false;
    };
    tcp.targets.len() > 1
}

/// What may become of a call, whatever the dice say.
pub(super) fn outcomes(snapshot: &Snapshot, call: &Call) -> Vec<Verdict> {
    let mut outcomes = Vec::new();
    let extremes = [0, 999_999];
    let hosts = snapshot.route_tables.iter().flat_map(|table| &table.hosts);
    let mut routes = hosts.flat_map(|host| host.routes.iter());
    let weighted = routes
        .any(|route| matches!(&route.action, Action::Forward(f) if f.targets.len() > 1))
        || snapshot.listeners.iter().any(carries_by_weight);
    let targets = if weighted { 0..=100 } else { 0..=0 };
    for target in targets {
        for (delay, abort, mirror) in extremes.iter().flat_map(|d| {
            extremes
                .iter()
                .flat_map(move |a| extremes.map(|m| (*d, *a, m)))
        }) {
            let dice = Dice {
                target,
                delay,
                abort,
                mirror,
            };
            let verdict = decide(
                snapshot,
                &Call {
                    dice,
                    ..call.clone()
                },
            );
            if !outcomes.contains(&verdict) {
                outcomes.push(verdict);
            }
        }
    }
    outcomes
}

/// The configuration of a case, with an access log at `log`.
pub(super) fn texts(case: &Path, log: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(case).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".yaml") && name != "calls.yaml" {
            files.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    files.sort();
    let lines = format!("    accessLogFile: {log}\n    accessLogEncoding: JSON\n");
    let mesh = "  mesh: |\n";
    let (mut own, mut said) = (false, false);
    for (_, text) in &mut files {
        *text = text
            .replace(
                "accessLogFile: /dev/stdout",
                &format!("accessLogFile: {log}"),
            )
            .replace("    accessLogFile: /var/log/access.log\n", &lines);
        own |= text.contains(mesh);
        said |= text.contains("accessLogFile:");
        if !said {
            *text = text.replace(mesh, &format!("{mesh}{lines}"));
        }
    }
    if !own && !said {
        let name = "metadata: {name: istio, namespace: istio-system}";
        let text = format!("apiVersion: v1\nkind: ConfigMap\n{name}\ndata:\n{mesh}{lines}");
        files.push(("mesh.yaml".to_owned(), text));
    }
    files
}

/// Moves the endpoints of a case to a part of 127.0.0.0/8 where nobody else is, and binds them.
pub(super) fn place(files: &[(String, String)]) -> (Vec<(String, String)>, Origins) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut last = None;
    for _ in 0..64 {
        let serial = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let part = format!("127.{}.", 80 + serial % 170);
        let moved =
            |(name, text): &(String, String)| (name.clone(), text.replace("127.77.", &part));
        let files: Vec<_> = files.iter().map(moved).collect();
        let snapshot = compile(&files);
        let endpoints = snapshot.clusters.iter().flat_map(|c| &c.endpoints);
        let addresses: BTreeSet<_> = endpoints.map(|e| e.address).collect();
        match Origins::start(&addresses) {
            Ok(origins) => return (files, origins),
            Err(error) => last = Some(error),
        }
    }
    panic!("no free addresses for origins: {last:?}");
}

pub(super) fn compile(files: &[(String, String)]) -> Snapshot {
    pipeline::build(files, &View::default(), &mut LastGood::default()).snapshot
}
