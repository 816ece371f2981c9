//! Entry points for fuzzers: each takes any bytes and checks what must hold for all of them.
//!
//! They are ordinary code so that stable tests replay the corpora; a broken promise is a panic,
//! which is what a fuzzer looks for. Nothing else calls them.
#![allow(clippy::panic, reason = "a panic is how a fuzz target reports")]

use crate::analyze::analyze;
use crate::check::check as check_objects;
use crate::diag::render::{Format, render};
use crate::ir::Snapshot;
use crate::parse::parse;
use crate::view::View;
use crate::world::World;
use crate::{compile, print};

/// Any text is read, twice with the same findings; every finding points into the text, and can be
/// written down in every form.
pub fn fuzz_yaml(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let files = [("fuzz.yaml".to_owned(), text)];
    let parsed = parse(&files);
    check(
        parse(&files).diagnostics == parsed.diagnostics,
        "two readings differ",
    );
    for diagnostic in parsed.diagnostics.iter() {
        let labels = diagnostic.labels.iter().map(|(span, _)| *span);
        for span in diagnostic.span.into_iter().chain(labels) {
            let known = parsed.sources.get(span.file).is_some();
            check(known && span.start <= span.end, "a finding nowhere");
        }
    }
    for format in [
        Format::Human { color: true },
        Format::Short,
        Format::Json,
        Format::Sarif,
        Format::Github,
    ] {
        let _ = render(&parsed.diagnostics, &parsed.sources, format);
    }
}

/// Whatever objects a text holds are judged and compiled, twice to the same snapshot, which can
/// be written down. Gives the snapshot to whoever wants to build on it.
#[must_use]
pub fn fuzz_compile(data: &[u8]) -> Snapshot {
    let text = String::from_utf8_lossy(data).into_owned();
    let parsed = parse(&[("fuzz.yaml".to_owned(), text)]);
    let _ = check_objects(&parsed.set);
    let _ = analyze(&parsed.set);
    let view = View::default();
    let world = World::build(&parsed.set, &parsed.sources, &view.domain_suffix);
    let once = compile(&world, &view);
    let again = World::build(&parsed.set, &parsed.sources, &view.domain_suffix);
    check(once == compile(&again, &view), "two compilations differ");
    let tables = once.snapshot.route_tables.len();
    let clusters = once.snapshot.clusters.len();
    let text = print::snapshot(&once.snapshot);
    let empty = tables == 0 && clusters == 0;
    check(empty || !text.is_empty(), "a snapshot without text");
    once.snapshot
}

fn check(holds: bool, broken: &str) {
    if !holds {
        panic!("{broken}");
    }
}
