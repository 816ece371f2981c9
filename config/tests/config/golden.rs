//! Golden cases: text in, snapshot and diagnostics out, and calls with their outcome.
//!
//! `UPDATE=1 cargo test -p sallyport-config --test config` writes what came out; read the diff.

use sallyport_config::diag::render::{Format, render};
use sallyport_config::golden::{Vector, decode};
use sallyport_config::pipeline::{self, Built};
use sallyport_config::retain::LastGood;
use sallyport_config::{View, document, model, print};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    cases.sort();
    cases
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Names and texts of a case.
pub(crate) fn texts(case: &Path) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(case).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") && name(&path) != "calls.yaml" {
            files.push((name(&path), fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

fn build(case: &Path) -> Built {
    pipeline::build(&texts(case), &View::default(), &mut LastGood::default())
}

fn calls(case: &Path) -> Vec<Vector> {
    match fs::read_to_string(case.join("calls.yaml")) {
        Ok(text) => decode(&text).unwrap_or_else(|why| panic!("{}: {why}", case.display())),
        Err(_) => Vec::new(),
    }
}

/// Compares with a file, or writes it when `UPDATE` is set.
fn compare(file: &Path, got: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("UPDATE").is_some() {
        if got.is_empty() {
            let _ = fs::remove_file(file);
        } else {
            fs::write(file, got).unwrap();
        }
        return;
    }
    let want = fs::read_to_string(file).unwrap_or_default();
    if want != got {
        let line = want.lines().zip(got.lines()).position(|(a, b)| a != b);
        let line = line.unwrap_or_else(|| want.lines().count().min(got.lines().count()));
        let at = |text: &str| text.lines().nth(line).unwrap_or("<end>").to_owned();
        let (want, got) = (at(&want), at(got));
        wrong.push(format!(
            "{}:{}:\n  - {want}\n  + {got}",
            file.display(),
            line + 1
        ));
    }
}

#[test]
fn snapshots_and_diagnostics_are_as_written() {
    let mut wrong = Vec::new();
    for case in cases() {
        let built = build(&case);
        compare(
            &case.join("ir.txt"),
            &print::snapshot(&built.snapshot),
            &mut wrong,
        );
        let diagnostics = render(
            &built.diagnostics,
            &built.sources,
            Format::Human { color: false },
        );
        compare(&case.join("diag.txt"), &diagnostics, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "run with UPDATE=1 to accept:\n{}",
        wrong.join("\n")
    );
}

/// What a control process gives to a gateway, as the gateway puts it together.
fn sent(case: &Path) -> Built {
    let view = View::default();
    let mut last_good = LastGood::default();
    let accepted = pipeline::accept(&texts(case), &mut last_good);
    let world = pipeline::world(&accepted, &view.domain_suffix);
    let keys = document::visible(&accepted.set, &world, &view);
    let mut documents = document::apart(last_good.documents(), &accepted.set);
    documents.retain(|one| one.objects.iter().any(|key| keys.contains(key)));
    let files = document::files(documents.iter().map(|one| &one.document));
    pipeline::build(&files, &view, &mut LastGood::default())
}

#[test]
fn a_gateway_compiles_what_it_is_sent_to_the_same() {
    for case in cases() {
        let (whole, sent) = (build(&case).snapshot, sent(&case).snapshot);
        let (whole, sent) = (print::snapshot(&whole), print::snapshot(&sent));
        let mut lines = whole.lines().zip(sent.lines());
        let first = lines.find(|(whole, sent)| whole != sent);
        assert_eq!(first, None, "{}", case.display());
        assert_eq!(whole, sent, "{}", case.display());
    }
}

#[test]
fn the_model_answers_calls_as_written() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases() {
        let snapshot = build(&case).snapshot;
        for vector in calls(&case) {
            count += 1;
            if let Some(why) = vector
                .expect
                .differs(&model::decide(&snapshot, &vector.call))
            {
                wrong.push(format!("{} / {}: {why}", name(&case), vector.id));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} calls:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 150, "only {count} calls");
    println!("{} cases, {count} calls", cases().len());
}

#[test]
fn ids_of_calls_are_unique_in_their_case() {
    for case in cases() {
        let mut ids: Vec<String> = calls(&case).into_iter().map(|v| v.id).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "{}", case.display());
        assert!(ids.iter().all(|id| !id.is_empty()), "{}", case.display());
    }
}
